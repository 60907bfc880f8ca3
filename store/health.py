"""What an examination of a store sees, before anybody judges it. Values alone: no I/O, no opinion.

Times are epoch milliseconds, sizes bytes, paths as text.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder of the store, by its own name and not what it may lead to."""

    path: str
    kind: str
    """folder, file, link or other."""
    mode: int
    """The permission bits."""
    uid: int


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds something."""

    pid: int
    name: str
    """What the system calls it; "" where that cannot be told."""


@dataclass(frozen=True, slots=True)
class LockSeen:
    """One of the store's lock files."""

    name: str
    stuck: bool = False
    """It was not to be had for as long as was waited."""
    held: bool = False
    """It was held when it was looked at first."""
    error: str | None = None
    """The system cannot lock it, and why."""
    missing: bool = False
    holders: tuple[Holder, ...] = ()


@dataclass(frozen=True, slots=True)
class DatabaseSeen:
    """keys.db or index.db."""

    path: str
    missing: bool = False
    error: str | None = None
    """It cannot be read, and why."""
    locked: bool = False
    """Another process keeps it to itself."""
    damage: tuple[str, ...] = ()
    """What SQLite's quick check found."""
    older: tuple[str, ...] = ()
    """Migrations it has not seen."""
    newer: tuple[str, ...] = ()
    """Migrations that this version does not know."""


@dataclass(frozen=True, slots=True)
class KeysSeen:
    """The keys, as far as they could be read."""

    ids: frozenset[str]
    on: int
    secret_bytes: int | None
    """How long the file is that keys the credentials' hashes; None: it is not there."""


@dataclass(frozen=True, slots=True)
class WriterSeen:
    """A folder of records in flight."""

    name: str
    alive: bool
    parts: int
    recoverable: int = 0
    """Of a dead one: parts that the next start makes records of."""
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class ProxySeen:
    """What a proxy says of itself."""

    pid: int
    address: str
    alive: bool
    heartbeat_ms: int
    error: str | None = None
    lost_records: int = 0
    lost_bytes: int = 0
    refused: int = 0
    has_ring: bool = False
    ring_exchanges: int = 0
    ring_bytes: int = 0


@dataclass(frozen=True, slots=True)
class SegmentSeen:
    """A segment on the disk, in the index, or both."""

    name: str
    """`<key id>/<ulid>.seg`."""
    size: int | None
    """None: it is not on the disk."""
    indexed: int | None
    """How far its rows go; None: the index does not know it."""
    rows: int
    """Records that the index says are in it."""
    alive: bool = False
    """Its writer is running, so it may be ahead of the index."""
    put_aside: bool = False
    """Pieces of it are in the quarantine."""

    @property
    def odd(self) -> bool:
        """The index and the disk do not say the same of it, and no writer is about to mend that."""
        if self.size is None:
            return self.rows > 0
        return not self.alive and self.size != self.indexed


@dataclass(frozen=True, slots=True)
class SegmentsSeen:
    """The segments, and how the index goes with them."""

    segments: tuple[SegmentSeen, ...] = ()
    tombstones: int = 0
    """Segments that a purge still has to delete."""
    strangers: tuple[tuple[str, int], ...] = ()
    """Folders of keys that are not there, and how many segments are in each."""


@dataclass(frozen=True, slots=True)
class PieceSeen:
    """A corrupt piece that was put aside."""

    path: str
    source: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class DamageSeen:
    """What cannot be read: a record, or a range of a file."""

    text: str
    record: str | None = None
    file: str | None = None
    start: int | None = None
    end: int | None = None
    untold: bool = False
    """It may be well: it could not be looked at."""


@dataclass(frozen=True, slots=True)
class DeepSeen:
    """All records, read."""

    records: int = 0
    damage: tuple[DamageSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class SpaceSeen:
    """What the file system has, and what the store takes of it."""

    free: int | None
    total: int | None
    taken: int


@dataclass(frozen=True, slots=True)
class LogSeen:
    """The index's write-ahead log."""

    size: int
    holders: tuple[Holder, ...] = field(default=())
    """Who has the index open."""
