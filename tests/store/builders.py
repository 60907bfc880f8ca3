"""Exchanges, stores and patience for the store's tests."""

import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from store.contract import Recording, Writer
from store.local import LocalStore
from store.reader import LocalReader
from store.record import (
    Headers,
    Key,
    Passed,
    Record,
    RecordMeta,
    RequestHead,
    ResponseHead,
    State,
    Transport,
    Verdict,
    Wire,
)
from store.writer import LocalWriter

SECRET = "sk-ant-test-0000000000000000"
PATIENCE_S = 20.0
"""How long a test waits for what a thread or process does in milliseconds, on a busy machine."""

REQUEST_HEADERS: Headers = (
    (b"Host", b"api.test"),
    (b"X-Api-Key", b"sk-ant-test-0000"),
    (b"x-twice", b"1"),
    (b"X-TWICE", b"\xff\x80 2"),
)
EVENTS = ((b"content-type", b"text/event-stream"),)
WIRE = Wire(Passed(3, "a" * 64), Passed(1 << 40, "0" * 64))
JSON = ((b"Content-Type", b"application/json"),)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def request_head(path: str = "/v1/messages", headers: Headers = REQUEST_HEADERS) -> RequestHead:
    return RequestHead("POST", "https", "api.test", 443, path, "HTTP/1.1", headers)


def response_head(status: int = 200, headers: Headers = EVENTS) -> ResponseHead:
    return ResponseHead(status, "OK", "HTTP/1.1", headers)


def meta(record_id: str, key_id: str = "k" * 16, **changes: object) -> RecordMeta:
    """A finished record's row."""
    values: dict[str, object] = {
        "seq": 0,
        "state": State.DONE,
        "started_ms": 1_000,
        "completed_ms": 2_000,
        "method": "POST",
        "scheme": "https",
        "host": "api.test",
        "port": 443,
        "path": "/v1/messages",
        "protocol": "messages",
        "model": "m",
        "status": 200,
        "content_type": "text/event-stream",
        "streamed": True,
        "verdict": Verdict.COMPLETE,
        "transport": Transport.COMPLETE,
        "error": None,
        "input_tokens": 1,
        "output_tokens": None,
        "cache_read_tokens": None,
        "cache_write_tokens": None,
        "reasoning_tokens": None,
        "request_bytes": 3,
        "response_bytes": 4,
        "lost_bytes": 0,
        "ttft_ms": 5,
        "duration_ms": 6,
    }
    return RecordMeta(id=record_id, key_id=key_id, **(values | changes))  # type: ignore[arg-type]


def until[T](ask: Callable[[], T], timeout_s: float = PATIENCE_S) -> T:
    """The first true answer; the test fails if there is none in time."""
    give_up = time.monotonic() + timeout_s
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < give_up, "nothing came in time"
        time.sleep(0.01)


def record(
    writer: Writer,
    key: Key,
    *,
    started_ms: int | None = None,
    request: Iterable[bytes] = (b'{"model":"m-1"}',),
    response: Iterable[bytes] = (b"data: 1\n\n", b"data: 2\n\n"),
    path: str = "/v1/messages",
    end: bool = True,
) -> Recording:
    """One exchange as the proxy would tell of it."""
    started = now_ms() if started_ms is None else started_ms
    recording = writer.begin(key, started, request_head(path), "messages")
    for chunk in request:
        recording.request_chunk(0, chunk)
    recording.request_end(1)
    recording.response_head(2, response_head())
    for at_ms, chunk in enumerate(response, 3):
        recording.response_chunk(at_ms, chunk)
    if end:
        recording.end(50, Transport.COMPLETE)
    return recording


def done(reader: LocalReader, record_id: str) -> Record:
    """The record, once it is stored."""
    until(lambda: (found := reader.meta(record_id)) is not None and found.state is State.DONE)
    stored = reader.get(record_id)
    assert stored is not None
    return stored


@contextmanager
def opened(root: Path) -> Iterator[tuple[LocalStore, LocalReader]]:
    """A store and a reader on it, freed at the end."""
    store = LocalStore(root)
    reader = store.reader()
    try:
        yield store, reader
    finally:
        reader.close()
        store.close()


@contextmanager
def writing(
    store: LocalStore, log: Callable[[str], None] = lambda _: None
) -> Iterator[LocalWriter]:
    """A writer of a store, closed at the end."""
    writer = store.writer(log)
    try:
        yield writer
    finally:
        writer.close()


def files_with(root: Path, canary: bytes) -> list[str]:
    """The store's files that hold these bytes.

    By another process: opening and closing a database here would drop SQLite's locks on it.
    """
    found = subprocess.run(  # noqa: S603 - fixed arguments
        ["/usr/bin/env", "grep", "-rlaF", "-e", canary.decode("ascii"), str(root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode in (0, 1), found.stderr
    return sorted(found.stdout.split("\n")[:-1])


def segment_files(root: Path) -> list[Path]:
    return sorted((root / "segments").glob("*/*.seg"))


def parts(root: Path) -> list[Path]:
    return sorted((root / "live").glob("*/*.part"))
