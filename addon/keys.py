"""Whose exchange it is: the key of a request's credentials, if one is on; else that is counted."""

import time

from addon.credential import fingerprint
from store.contract import Writer
from store.record import Key


def key_of(writer: Writer, found: list[bytes]) -> Key | None:
    """The key of the first credential that has one which is on; in memory, asked anew each time."""
    keys = writer.keys
    for credential in found:
        key = keys.match(credential)
        if key is not None and key.retention_s is not None:
            return key
    return None


def count_unmatched(writer: Writer, host: str, found: list[bytes]) -> None:
    """Count it and say whose it was: how a user finds out why a call is not recorded."""
    counters = writer.counters
    counters.unmatched += 1
    counters.last_unmatched_ms = time.time_ns() // 1_000_000
    counters.last_unmatched_host = host
    counters.last_unmatched_fingerprint = fingerprint(found[0]) if found else None
