"""What every backend does, a sentence a method. The local store and the scale-out store keep it alike.

A reader never blocks a writer and never changes the store. A writer's side never raises
into the proxy's traffic: what cannot be kept is counted. Lists are newest first by id.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from store.record import (
    Ask,
    Headers,
    Kept,
    Key,
    KeyRule,
    Limits,
    ProxyStatus,
    Record,
    RecordMeta,
    RequestHead,
    ResponseHead,
    Seen,
    Transport,
    Wire,
)

PAGE = 100
"""Records of a page when nobody says otherwise."""

PAGE_CAP = 200
"""A page is never longer: a UI's fetch stays under 2 ms and one packet of memory."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the status bar says of a key, or of all."""

    records: int
    errors: int
    live: int


class LiveRecord(Protocol):
    """A record in flight, read incrementally from where its writer appends."""

    def poll(self) -> bool:
        """Take in what has been appended since the last call; True if there was anything."""

    def snapshot(self) -> Record:
        """The record as far as it has been taken in."""

    @property
    def request_chunks(self) -> Sequence[tuple[int, bytes]]:
        """Every request chunk taken in so far, (at_ms, bytes); grows at its end only."""

    @property
    def response_chunks(self) -> Sequence[tuple[int, bytes]]:
        """The same of the response."""

    @property
    def gone(self) -> bool:
        """The part is no longer there: the record is done (get it) or was discarded."""

    def close(self) -> None:
        """Free the descriptor."""


class Reader(Protocol):
    """The reading side: another process than the writers', any number at once."""

    def keys(self) -> list[Key]:
        """Every key, by name; with its current retention."""

    def key(self, name: str) -> Key:
        """The key of that name, else BadInput."""

    def records(
        self,
        *,
        key_id: str | None = None,
        before: str | None = None,
        limit: int = PAGE,
        pinned: bool = False,
    ) -> list[RecordMeta]:
        """Newest first, ids strictly below `before`, at most min(limit, PAGE_CAP); those of keys that
        are off are not in it, nor the expired, unless they are pinned. `pinned`: only those that are."""

    def pinned(self, key_id: str | None = None) -> int:
        """How many records are pinned, of a key or of all; quick."""

    def meta(self, record_id: str) -> RecordMeta | None:
        """One row, or None if there is none that may be shown."""

    def get(self, record_id: str) -> Record | None:
        """A record with its bodies, done or in flight, or None; BodyMissing if its bytes are gone."""

    def live(self, record_id: str) -> LiveRecord | None:
        """The record in flight, to be polled; None if it is not in flight."""

    def live_bytes(self, record_id: str) -> int | None:
        """How many bytes of its response a record in flight has, cheaply, or None if it is not in flight."""

    def news(
        self, after_seq: int, *, key_id: str | None = None, limit: int = PAGE_CAP
    ) -> list[RecordMeta]:
        """Rows committed after `after_seq`, in commit order; a row appears again each time it changed."""

    def last_seq(self) -> int:
        """The newest commit; where following starts."""

    def version(self) -> int:
        """A number that changes when another process committed; two microseconds, so poll it."""

    def generation(self) -> int:
        """A number that changes when records were purged or keys changed: read the list again."""

    def counts(self, key_id: str | None = None) -> Counts:
        """Totals for the status bar; slow on a large store (call it from a worker)."""

    def proxies(self) -> list[ProxyStatus]:
        """The proxies that write here, living ones first."""

    def limits(self) -> Limits:
        """The size cap, if a running proxy sets one, and what it came to."""

    def seen(self) -> list[Seen]:
        """Who sent LLM calls that no key that is on matches, the latest first; bounded."""

    def close(self) -> None:
        """Free everything."""


class Recording(Protocol):
    """One exchange being recorded. Every method appends to memory, returns at once and never raises.

    `at_ms` counts from the begin. Chunks are `bytes` and are kept as they are.
    """

    @property
    def id(self) -> str:
        """The record's ULID, minted at the begin."""

    @property
    def discarded(self) -> bool:
        """Nothing of it stays, and of what comes nothing is kept: its key was switched off."""

    def request_chunk(self, at_ms: int, data: bytes) -> None:
        """Bytes of the request body, as on the wire."""

    def request_end(self, at_ms: int) -> None:
        """The request body is whole: its model can be told from now on."""

    def response_head(self, at_ms: int, head: ResponseHead) -> None:
        """The response began."""

    def response_chunk(self, at_ms: int, data: bytes) -> None:
        """Bytes of the response body, as on the wire."""

    def end(
        self, at_ms: int, transport: Transport, error: str | None = None, wire: Wire | None = None
    ) -> None:
        """The exchange is over, and `wire` is what passed. The first call counts, every later call
        on this recording is ignored."""


class KeyRing(Protocol):
    """The keys in memory, an immutable snapshot."""

    def match(self, credentials: Sequence[bytes], headers: Headers) -> Key | None:
        """The key that decides over a request, off or on, or None; no I/O, microseconds.

        A key that has the secret of one of the credentials decides, the first that is on before
        those that are off; only without any the rules do: globs, then headers, then claims, again
        the first that is on before those that are off.
        """

    def by_id(self, key_id: str) -> Key | None:
        """The key of that id, or None."""

    @property
    def on(self) -> int:
        """How many keys that can match have a retention."""


@dataclass(slots=True)
class Counters:
    """What the addon counts, written to the status row by the writer; plain fields, one thread writes."""

    seen: int = 0
    recorded: int = 0
    unmatched: int = 0
    lost: int = 0
    """Of those seen, the ones of which no record could be begun, for a bug of the addon's."""
    refused: int = 0
    """Of those seen, the ones that were answered 503, for they could not be recorded (flowtap_required)."""
    ring_exchanges: int = 0
    ring_bytes: int = 0
    ring_since_ms: int | None = None
    """See ProxyStatus."""
    has_ring: bool = False
    """Asks are answered by this proxy."""
    max_bytes: int | None = None
    """What segments and parts may take (flowtap_max_size); the minute's sweep holds the store to it."""
    last_unmatched_ms: int | None = None
    last_unmatched_host: str | None = None
    last_unmatched_fingerprint: str | None = None


class Writer(Protocol):
    """The recording side: a thread of its own behind a bounded queue."""

    counters: Counters

    @property
    def keys(self) -> KeyRing:
        """The current snapshot; a change by another process is in it within a second."""

    @property
    def trouble(self) -> str | None:
        """Why a record begun now would not be kept whole, one line: the disk refuses, or the queue
        is full; None: all is well. No I/O; what `flowtap_required` asks before each call."""

    @property
    def room(self) -> int:
        """How many more bytes of bodies the queue would take now; no I/O. What is replayed from
        the ring is given no faster than there is room."""

    def new_id(self, started_ms: int) -> str:
        """A record id of a record that may be begun later, in the order of `started_ms`."""

    def begin(
        self,
        key: Key,
        started_ms: int,
        request: RequestHead,
        protocol: str | None,
        record_id: str | None = None,
    ) -> Recording:
        """Start a record; the key's retention is asked again at its end. `record_id`: of `new_id`."""

    def unmatched(self, credential: bytes | None, host: str, client: str | None) -> None:
        """An LLM call of no key that is on passed: count it by who sent it where, in memory at
        once, for other processes (Reader.seen) within a second. The credential is not kept, only
        its keyed hash and its fingerprint, so that it can be opted in. `counters` are the caller's."""

    def asks(self) -> list[Ask]:
        """What users have asked of proxies since the last call, each once; no I/O."""

    def answer(self, ask: Ask, records: int) -> None:
        """Say how many records were begun for it."""

    def announce(self, address: str) -> None:
        """Say where the proxy listens; the status row appears with it."""

    def close(self, timeout_s: float = 10.0) -> None:
        """End what still lives as PROXY_SHUTDOWN, write everything, stop; idempotent."""


class Store(Protocol):
    """The managing side: keys, purges, upkeep. Reads are the reader's."""

    def writer(self, log: Callable[[str], None] = ...) -> Writer:
        """A recording side, after recovering what dead writers left; `log` takes warnings, one line each."""

    def reader(self) -> Reader:
        """A reading side."""

    def add_key(self, name: str, secret: str, retention_s: int | None = None) -> Key:
        """A new key; BadInput if the name or the secret is taken or empty."""

    def add_rule(self, name: str, rule: KeyRule, retention_s: int | None = None) -> Key:
        """A new key that goes by a rule; BadInput if the name or the rule is taken."""

    def add_seen(self, name: str, fingerprint: str, retention_s: int | None = None) -> Key:
        """A new key for a credential that passed (Reader.seen), whose secret nobody has to give;
        BadInput if none has that fingerprint, or several do, or it is a key already."""

    def keep(
        self,
        name: str,
        since_ms: int,
        retention_s: int,
        fingerprint: str | None = None,
        timeout_s: float = 5.0,
    ) -> Kept:
        """Ask every running proxy to record what its ring holds since then, under the key `name`,
        of kind KEPT, which is made if it is not there and whose retention becomes `retention_s`
        where that is longer; returns once all have answered or `timeout_s` has passed. BadInput
        if that name is a key of another kind. Exchanges still in flight are recorded on to
        their ends."""

    def rename_key(self, name: str, new_name: str) -> Key:
        """The key under its new name; records stay with it."""

    def set_retention(self, name: str, retention_s: int | None) -> int:
        """Change it and return how many records that deleted; lowering and switching off delete before
        this returns. Lowering leaves the pinned ones, switching off deletes them too."""

    def remove_key(self, name: str) -> int:
        """Purge its records, then the key; a failed purge leaves the key. Returns how many were deleted."""

    def pin(self, record_ids: Iterable[str]) -> int:
        """Keep records past their retention, and past the size cap, as long as their key is on; how
        many were not pinned before. One in flight may be pinned as well, which counts once it has
        ended. BadInput, and nothing is pinned, if one of them is not to be shown."""

    def unpin(self, record_ids: Iterable[str]) -> int:
        """Let them expire as others do; returns how many records that deleted, and those whose
        retention has passed are gone before this returns. BadInput as of `pin`."""

    def purge(self, name: str | None = None) -> int:
        """Delete what the retention no longer covers, of one key or of all."""

    def sweep(self) -> int:
        """As purge, but skipped (0) where another process sweeps; one key's failure does not stop the
        others. Above the size cap of a running proxy (Counters.max_bytes) the oldest records of all
        keys go as well, but none that is pinned or in flight."""

    def rebuild(self) -> int:
        """Throw the index away and make it anew from the segments; returns the number of records."""

    def close(self) -> None:
        """Free everything."""
