"""Keys, callers and what was kept, in words: what the Keys screen says. Pure.

A name, a rule, a host or a user-agent is somebody else's text and is returned as it is:
`tui.safe_text` is the exit.
"""

import re
from collections.abc import Iterable

from store.key_rules import describe
from store.record import Kept, Key, KeyKind, ProxyStatus, Seen
from store.retention import format_retention
from tui.format import clock, plural, size

RING_COMMAND = "flowtap proxy --set flowtap_ring=64m"
"""How a proxy is started that keeps the last exchanges in memory."""

KEEP_WINDOWS: tuple[tuple[str, int | None], ...] = (
    ("1m", 60_000),
    ("5m", 300_000),
    ("15m", 900_000),
    ("all", None),
)
"""How far back is kept: (name, milliseconds); None is as far as the memory goes."""

KEEP_DEFAULT = "5m"

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z")


def match_words(key: Key) -> str:
    """What requests a key stands for: its secret's end, its rule, or that it is filled by keeping."""
    if key.kind is KeyKind.KEPT:
        return "kept from memory"
    if key.rule is not None:
        return describe(key.rule)
    return f"secret …{key.last4}" if key.last4 else "secret"


def state_words(key: Key) -> str:
    """`recorded, kept 24h`, or that it is off."""
    if key.retention_s is None:
        return "off, nothing is recorded"
    if key.kind is KeyKind.KEPT:
        return f"kept {format_retention(key.retention_s)}"
    return f"recorded, kept {format_retention(key.retention_s)}"


def changed_words(key: Key, deleted: int) -> str:
    """What a change of retention, or a purge, came to."""
    if not deleted:
        return f"{key.name}: {state_words(key)}"
    why = "off" if key.retention_s is None else f"retention {format_retention(key.retention_s)}"
    return f"{key.name}: {plural(deleted, 'record')} purged ({why})"


def caller_words(seen: Seen, keys: Iterable[Key] = ()) -> str:
    """Who called: the key it belongs to, which is off; else the credential's fingerprint."""
    if seen.key_id is not None:
        for key in keys:
            if key.id == seen.key_id:
                return f"{key.name} (off)"
    return seen.fingerprint or "no credential"


def name_for(seen: Seen, keys: Iterable[Key]) -> str:
    """A name to offer for a caller: its client's, if that is plain and free; else nothing."""
    name = (seen.client or "").partition("/")[0]
    if _PLAIN_NAME.match(name) is None or any(key.name == name for key in keys):
        return ""
    return name


def ring_words(proxies: Iterable[ProxyStatus]) -> str:
    """What living proxies hold in memory: `12 exchanges (3.1 MB) since 09:38`, or nothing."""
    holding = [proxy for proxy in proxies if proxy.alive and proxy.ring_exchanges]
    if not holding:
        return ""
    count = sum(proxy.ring_exchanges for proxy in holding)
    amount = size(sum(proxy.ring_bytes for proxy in holding))
    since = [proxy.ring_since_ms for proxy in holding if proxy.ring_since_ms is not None]
    began = f" since {clock(min(since))}" if since else ""
    return f"{plural(count, 'exchange')} ({amount}){began}"


def kept_words(kept: Kept, name: str, retention_s: int, window: str) -> tuple[str, bool]:
    """(what keeping came to, whether anything was kept): how many, or why none."""
    silent = f"; {plural(kept.silent, 'proxy', 'proxies')} did not answer" if kept.silent else ""
    if kept.records:
        count = plural(kept.records, "exchange")
        return f"{count} kept as {name}, for {format_retention(retention_s)}{silent}", True
    if kept.answered:
        since = "" if window == "all" else f" of the last {window}"
        return f"Nothing to keep: no exchange{since} is in memory{silent}.", False
    if kept.silent:
        return f"Nothing kept: {plural(kept.silent, 'proxy', 'proxies')} did not answer.", False
    if kept.without_ring:
        return f"Nothing kept: the proxy has no ring. Start it with one: {RING_COMMAND}", False
    return f"Nothing kept: no proxy is running. Start one with a ring: {RING_COMMAND}", False
