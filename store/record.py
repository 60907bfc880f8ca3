"""The values: what an exchange is, stored or in flight. No I/O, no clock, no mitmproxy.

Times: `*_at_ms` fields of a record are epoch milliseconds (`started_ms`, `completed_ms`);
`at_ms` inside an exchange counts milliseconds since it began. Header names and values are
the bytes on the wire, in their order.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

type Headers = tuple[tuple[bytes, bytes], ...]

RECORD_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}\Z")
"""A ULID in Crockford's alphabet. Anything else is refused before it comes near a path."""

_CROCKFORD = str.maketrans("ABCDEFGHJKMNPQRSTVWXYZ", "abcdefghijklmnopqrstuv")
"""Crockford's digits to those of `int(…, 32)`: readers start without python-ulid, which costs 60 ms."""


@lru_cache(maxsize=1024)
def id_bytes(record_id: str) -> bytes:
    """A record id's 16 bytes, as frames carry them. ValueError if it is none."""
    if RECORD_ID.match(record_id) is None or record_id > "7ZZZZZZZZZZZZZZZZZZZZZZZZZ":
        raise ValueError(f"{record_id!r} is not a record id")
    return int(record_id.translate(_CROCKFORD), 32).to_bytes(16, "big")


class State(StrEnum):
    """Where a record is in its life."""

    LIVE = "live"
    DONE = "done"


class Transport(StrEnum):
    """How the connection side of an exchange ended."""

    COMPLETE = "complete"
    CLIENT_CLOSED = "client_closed"
    UPSTREAM_CLOSED = "upstream_closed"
    UPSTREAM_ERROR = "upstream_error"
    KILLED = "killed"
    PROXY_SHUTDOWN = "proxy_shutdown"
    RECORDER_FAILED = "recorder_failed"
    """A bug of ours: the exchange went on, its record did not."""
    RECOVERED = "recovered"


class Verdict(StrEnum):
    """How an exchange ended, the protocol's word first (store.verdict)."""

    COMPLETE = "complete"
    TRUNCATED = "truncated"
    FAILED = "failed"
    CLIENT_CLOSED = "client_closed"
    UPSTREAM_CLOSED = "upstream_closed"
    INTERRUPTED = "interrupted"


class KeyKind(StrEnum):
    """How a key is matched to a request."""

    SECRET = "secret"  # noqa: S105 - a word, no secret
    """By a credential's keyed hash. Decides over the other kinds: who names a secret means it."""
    GLOB = "glob"
    """By the text of a credential, `sk-ant-oat01-*`: for tokens that rotate under one prefix."""
    HEADER = "header"
    """By the value of a request header that is no secret, `chatgpt-account-id`."""
    CLAIM = "claim"
    """By a claim of a JSON Web Token, decoded and *not verified*: who can send can claim."""
    KEPT = "kept"
    """By nothing: it holds what was kept from the ring (store.contract.Store.keep)."""


@dataclass(frozen=True, slots=True)
class KeyRule:
    """What a key that goes by no secret matches. Made and read by store.key_rules."""

    kind: KeyKind
    name: str
    """The header's name in lower case, the claim's path; "" for a glob."""
    pattern: str
    """A glob (`*`, `?`) over the whole value, case-sensitive."""


@dataclass(frozen=True, slots=True)
class Key:
    """An API key under a name. The secret itself is never kept, only its keyed hash."""

    id: str
    """16 hex digits, random; names the key's folder."""
    name: str
    last4: str
    """The credential's last four characters, to tell keys apart on screen."""
    retention_s: int | None
    """Whole seconds a record is kept after its completion; None: the key is off."""
    created_ms: int
    kind: KeyKind = KeyKind.SECRET
    rule: KeyRule | None = None
    """What it matches, of kinds GLOB, HEADER and CLAIM."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What the client asked, before the body."""

    method: str
    scheme: str
    host: str
    """The host the client asked for, without port."""
    port: int
    path: str
    """Path with query, exactly as sent (non-ASCII bytes as latin-1)."""
    http_version: str
    headers: Headers


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What the upstream answered, before the body."""

    status: int
    reason: str
    http_version: str
    headers: Headers


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of one direction as on the wire, and when each chunk arrived."""

    data: bytes
    arrivals: tuple[tuple[int, int], ...] = ()
    """(at_ms, length) of each chunk in order; the lengths sum to len(data)."""

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """Yield (at_ms, bytes) as they arrived."""
        at = 0
        for at_ms, length in self.arrivals:
            yield at_ms, self.data[at : at + length]
            at += length


EMPTY = Body(b"")


@dataclass(frozen=True, slots=True)
class RecordMeta:
    """A record's index row: everything the list shows, nothing of the bodies."""

    id: str
    seq: int
    """Commit order over all writers of a store; grows each time the row changes."""
    key_id: str
    state: State
    started_ms: int
    completed_ms: int | None
    method: str
    scheme: str
    host: str
    port: int
    path: str
    protocol: str | None
    """A `collectors.protocol.LlmProtocol` value, or None where the path told nothing."""
    model: str | None
    status: int | None
    """None: the upstream gave no response."""
    content_type: str | None
    """The response's, as sent."""
    streamed: bool
    """The response is events, by its media type."""
    verdict: Verdict | None
    """None while in flight; INTERRUPTED while still `live` where the proxy that wrote it is gone."""
    transport: Transport | None
    error: str | None
    """One line, at most 500 characters."""
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    request_bytes: int
    response_bytes: int
    lost_bytes: int
    """Bytes that passed but could not be kept (full queue, full disk)."""
    ttft_ms: int | None
    """To the first byte of the response's body."""
    duration_ms: int | None
    client: str | None = None
    """The product of its user-agent, `claude-cli/2.1.197` (store.client)."""
    pinned: bool = False
    """Kept past its retention (store.pins); what a reader says of it, and no other side knows."""


@dataclass(frozen=True, slots=True)
class Passed:
    """One body as it passed the proxy, counted and hashed where it was handed on, apart from what
    was kept of it: what `flowtap verify` holds a record against."""

    bytes: int
    sha256: str
    """Lower-case hex."""


@dataclass(frozen=True, slots=True)
class Wire:
    """Both bodies of an exchange as they passed."""

    request: Passed
    response: Passed


@dataclass(frozen=True, slots=True)
class Ending:
    """What is told when an exchange is over."""

    at_ms: int
    """Since its begin."""
    transport: Transport
    error: str | None = None
    wire: Wire | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record, stored or in flight (then: what had arrived when it was read)."""

    meta: RecordMeta
    request: RequestHead
    request_body: Body
    response: ResponseHead | None
    """None: no response was produced; then `meta.error` says why."""
    response_body: Body
    file: str = ""
    """Where the bytes lie, for messages."""
    wire: Wire | None = None
    """What passed, told at the end; None while in flight, and where the proxy did not live to tell."""


@dataclass(frozen=True, slots=True)
class ProxyStatus:
    """What one proxy says of itself, at most five seconds old while it lives."""

    writer: str
    pid: int
    address: str
    """Where it listens, comma-separated if several: `host:port` of an HTTP proxy, `mode@host:port` of a
    listener in another mode, as `reverse:https://api.anthropic.com@127.0.0.1:8081`."""
    started_ms: int
    heartbeat_ms: int
    seen: int = 0
    """Model-invoking requests that came, matched or not."""
    recorded: int = 0
    unmatched: int = 0
    lost_records: int = 0
    lost_bytes: int = 0
    last_unmatched_ms: int | None = None
    last_unmatched_host: str | None = None
    last_unmatched_fingerprint: str | None = None
    """First eight and last four characters of a credential, never more."""
    error: str | None = None
    """Why records are being lost right now, one line; None: all is well."""
    alive: bool = True
    """The process still holds its lock."""
    ring_exchanges: int = 0
    """Exchanges of keys that are off or unknown that its memory holds (flowtap_ring)."""
    ring_bytes: int = 0
    ring_since_ms: int | None = None
    """When the oldest of them began."""
    refused: int = 0
    """Calls answered 503, for they could not be recorded (flowtap_required)."""
    max_bytes: int | None = None
    """What it lets segments and parts take (flowtap_max_size); None: it sets no limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The size cap (flowtap_max_size), and what it came to when it was last looked at."""

    max_bytes: int | None
    """The smallest of those that running proxies set; None: there is no cap, and the rest is of
    when there was one."""
    bytes: int | None = None
    """What segments and parts took after that look; None: nobody has looked yet."""
    looked_ms: int | None = None
    deleted: int = 0
    """Records deleted for it, of all time (of the index: a rebuild of a damaged one begins anew)."""
    deleted_ms: int | None = None
    """When it last deleted any."""
    stuck_bytes: int = 0
    """Beyond the cap at that look with nothing left to delete: pinned, or in flight."""


@dataclass(frozen=True, slots=True)
class Seen:
    """LLM calls of no key that is on, counted by who sent them where: what can be opted in. Nothing
    of the calls themselves is kept."""

    fingerprint: str | None
    """First eight and last four characters of the credential; None where there was none."""
    host: str
    client: str | None
    """The product of its user-agent, `claude-cli/2.1.197`."""
    count: int
    first_ms: int
    last_ms: int
    key_id: str | None = None
    """The key it belongs to, which is off; None: no key has it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a user asks of running proxies: keep what your memory holds."""

    id: str
    key_id: str
    """Under which key it is to be recorded."""
    since_ms: int
    """Exchanges that had not ended before then."""
    fingerprint: str | None = None
    """Of this credential alone."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What proxies answered to an Ask."""

    records: int
    answered: int
    """Proxies that have a ring and answered."""
    without_ring: int
    """Proxies that run and have none."""
    silent: int
    """Proxies that did not answer in time."""


def header(headers: Headers, name: bytes) -> bytes | None:
    """The first value of `name` (given in lower case), or None."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None
