"""A store in memory that notes every call, for testing what the addon says to a real one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

from store.contract import Counters, KeyRing, Recording, Store, Writer
from store.record import Ask, Headers, Key, RequestHead, ResponseHead, Transport, Wire

KEY = b"sk-ant-test-0000"
OFF = b"sk-ant-test-off0"
OTHER = b"sk-ant-test-nobody-knows-1111"

KEYS = {
    KEY: Key("00000000000000aa", "work", "0000", 3600, 0),
    OFF: Key("00000000000000bb", "idle", "off0", None, 0),
}


@dataclass
class FakeRecording:
    """One exchange as it was told; `ends` shows whether it was ended once."""

    id: str
    key: Key
    request: RequestHead
    protocol: str | None
    request_chunks: list[bytes] = field(default_factory=list)
    request_ended: bool = False
    head: ResponseHead | None = None
    response_chunks: list[bytes] = field(default_factory=list)
    ends: list[tuple[Transport, str | None]] = field(default_factory=list)
    wires: list[Wire | None] = field(default_factory=list)
    """What each end said had passed."""
    started_ms: int = 0
    times: list[int] = field(default_factory=list)
    broken: bool = False
    discarded: bool = False

    def _note(self, at_ms: int) -> None:
        if self.broken:
            raise OSError("the fake store is broken")
        self.times.append(at_ms)

    def request_chunk(self, at_ms: int, data: bytes) -> None:
        self._note(at_ms)
        if not self.ends:
            self.request_chunks.append(data)

    def request_end(self, at_ms: int) -> None:
        self._note(at_ms)
        self.request_ended = True

    def response_head(self, at_ms: int, head: ResponseHead) -> None:
        self._note(at_ms)
        assert self.head is None, "the head was recorded twice"
        self.head = head

    def response_chunk(self, at_ms: int, data: bytes) -> None:
        self._note(at_ms)
        if not self.ends:
            self.response_chunks.append(data)

    def end(
        self, at_ms: int, transport: Transport, error: str | None = None, wire: Wire | None = None
    ) -> None:
        self._note(at_ms)
        self.ends.append((transport, error))
        self.wires.append(wire)

    @property
    def request_body(self) -> bytes:
        return b"".join(self.request_chunks)

    @property
    def response_body(self) -> bytes:
        return b"".join(self.response_chunks)


@dataclass
class FakeKeyRing:
    """Keys by their secrets."""

    by_secret: Mapping[bytes, Key]

    def match(self, credentials: Sequence[bytes], headers: Headers) -> Key | None:
        keys = [self.by_secret[each] for each in credentials if each in self.by_secret]
        return min(keys, key=lambda key: key.retention_s is None, default=None)

    def by_id(self, key_id: str) -> Key | None:
        return next((key for key in self.by_secret.values() if key.id == key_id), None)

    @property
    def on(self) -> int:
        return sum(key.retention_s is not None for key in self.by_secret.values())


class FakeWriter:
    """Notes what is begun, announced and closed, and who passed by."""

    def __init__(self, keys: Mapping[bytes, Key] = KEYS, broken: str = "") -> None:
        self.counters = Counters()
        self.keys: KeyRing = FakeKeyRing(keys)
        self.broken = broken
        """`begin`: that raises; `recording`: everything of a recording raises."""
        self.trouble: str | None = None
        self.room = 1 << 28
        self.recordings: list[FakeRecording] = []
        self.passed_by: list[tuple[bytes | None, str, str | None]] = []
        """Credential, host and client of each unmatched call."""
        self.asked: list[Ask] = []
        """What the next look at `asks` gives."""
        self.answers: list[tuple[str, int]] = []
        """The id of each ask and how many records were begun for it."""
        self.addresses: list[str] = []
        self.closed = 0
        self._ids = 0

    def new_id(self, started_ms: int) -> str:
        self._ids += 1
        return f"{started_ms}-{self._ids}"

    def begin(
        self,
        key: Key,
        started_ms: int,
        request: RequestHead,
        protocol: str | None,
        record_id: str | None = None,
    ) -> Recording:
        if self.broken == "begin":
            raise OSError("the fake store is broken")
        self.counters.recorded += 1
        recording = FakeRecording(
            record_id or self.new_id(started_ms),
            key,
            request,
            protocol,
            started_ms=started_ms,
            broken=self.broken == "recording",
        )
        self.recordings.append(recording)
        return recording

    def unmatched(self, credential: bytes | None, host: str, client: str | None) -> None:
        if self.broken == "unmatched":
            raise OSError("the fake store is broken")
        self.passed_by.append((credential, host, client))

    def asks(self) -> list[Ask]:
        asked, self.asked = self.asked, []
        return asked

    def answer(self, ask: Ask, records: int) -> None:
        self.answers.append((ask.id, records))

    def announce(self, address: str) -> None:
        self.addresses.append(address)

    def close(self, timeout_s: float = 10.0) -> None:
        self.closed += 1

    @property
    def only(self) -> FakeRecording:
        """The one record there must be."""
        assert 1 == len(self.recordings)
        return self.recordings[0]


class FakeStore:
    """Gives out one writer."""

    layout = SimpleNamespace(root="/fake")

    def __init__(self, writer: FakeWriter) -> None:
        self._writer = writer
        self.closed = 0

    def writer(self, log: Callable[[str], None]) -> Writer:
        return self._writer

    def close(self) -> None:
        self.closed += 1


class Opener:
    """An `open_store` that plays a script: each call raises the next exception, or opens."""

    def __init__(self, writer: FakeWriter, *script: Exception | None) -> None:
        self.store = FakeStore(writer)
        self._script = list(script)
        self.locations: list[str | None] = []

    def __call__(self, location: str | None) -> Store:
        self.locations.append(location)
        trouble = self._script.pop(0) if self._script else None
        if trouble is not None:
            raise trouble
        # The addon uses the two methods that are there.
        return cast(Store, self.store)
