"""What a start makes of what dead writers left; the killing itself is in tests/faults."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from store.codec import end_json, pack_json, request_json, response_json
from store.frames import Kind, pack
from store.layout import Lock
from store.local import LocalStore
from store.reader import LocalReader
from store.record import Ending, Key, Transport, Verdict, id_bytes
from store.recovery import INTERRUPTED, dead_writers, living
from tests.store.builders import (
    WIRE,
    done,
    parts,
    record,
    request_head,
    response_head,
    until,
    writing,
)

ID = "01JX4000000000000000000000"
RAW = id_bytes(ID)


def part_of(key_id: str, *more: bytes) -> bytes:
    begin = {
        "id": ID,
        "key": key_id,
        "started_ms": 5,
        "protocol": "messages",
        "request": request_json(request_head()),
    }
    return b"".join((pack(Kind.BEGIN, RAW, pack_json(begin)), *more))


HEAD = pack(Kind.RESPONSE_HEAD, RAW, pack_json(response_json(response_head())), aux=3)
CHUNK = pack(Kind.RESPONSE, RAW, b"data: 1\n\n", aux=40)
STOP = pack(Kind.RESPONSE, RAW, b'data: {"type":"message_start","message":{"content":[]}}\n\n')
STOP += pack(Kind.RESPONSE, RAW, b'data: {"type":"message_stop"}\n\n', aux=50)


def end(transport: str, error: str | None) -> bytes:
    told = end_json(Ending(90, Transport(transport), error, WIRE), 0)
    return pack(Kind.END, RAW, pack_json(told), aux=90)


@pytest.fixture
def left(root: Path, store: LocalStore) -> Callable[[bytes], Path]:
    """Leaves a part as a killed writer would."""

    def leave(content: bytes) -> Path:
        folder = root / "live" / ("d" * 16)
        folder.mkdir()
        (folder / "lock").touch()
        part = folder / f"{ID}.part"
        part.write_bytes(content)
        return part

    return leave


@pytest.mark.parametrize(
    ("frames", "verdict", "transport", "error", "duration_ms"),
    [
        ((), Verdict.INTERRUPTED, Transport.RECOVERED, INTERRUPTED, 0),
        ((HEAD, CHUNK), Verdict.INTERRUPTED, Transport.RECOVERED, INTERRUPTED, 40),
        ((HEAD, CHUNK[:-1]), Verdict.INTERRUPTED, Transport.RECOVERED, INTERRUPTED, 3),
        ((HEAD, STOP), Verdict.COMPLETE, Transport.RECOVERED, None, 50),
        (
            (HEAD, CHUNK, end("client_closed", "it left")),
            Verdict.CLIENT_CLOSED,
            Transport.CLIENT_CLOSED,
            "it left",
            90,
        ),
    ],
    ids=["begun", "a chunk", "a torn chunk", "its last event", "its end"],
)
def test_a_part_becomes_the_record_it_is(
    store: LocalStore,
    reader: LocalReader,
    root: Path,
    key: Key,
    left: Callable[[bytes], Path],
    frames: tuple[bytes, ...],
    verdict: Verdict,
    transport: Transport,
    error: str | None,
    duration_ms: int,
) -> None:
    store.set_retention("one", 315_360_000)
    part = left(part_of(key.id, *frames))
    # Completed in 1970: shown by a reader of that time.
    reading = LocalReader(root, lambda: 1_000)
    lines: list[str] = []
    store.writer(lines.append).close()
    stored = reading.get(ID)

    assert stored is not None
    assert (verdict, transport, error, duration_ms) == (
        stored.meta.verdict,
        stored.meta.transport,
        stored.meta.error,
        stored.meta.duration_ms,
    )
    assert request_head() == stored.request
    assert (WIRE if duration_ms == 90 else None) == stored.wire
    assert not part.parent.exists()
    assert ["recovered 1 record(s) of a proxy that died"] == lines
    store.writer(lines.append).close()
    assert 1 == len(lines)
    reading.close()


@pytest.mark.check(37, 65)
@pytest.mark.parametrize("state", ["off", "removed"])
def test_a_part_of_a_key_that_is_off_is_dropped(
    store: LocalStore,
    reader: LocalReader,
    root: Path,
    key: Key,
    left: Callable[[bytes], Path],
    state: str,
) -> None:
    store.remove_key("one") if state == "removed" else store.set_retention("one", None)
    left(part_of(key.id, HEAD, CHUNK))
    store.writer().close()

    assert [] == parts(root)
    assert [] == list((root / "live").iterdir())
    assert [] == list((root / "segments").glob("*/*"))


def test_a_living_writer_s_parts_are_its_own(
    store: LocalStore, reader: LocalReader, root: Path, key: Key
) -> None:
    with writing(store) as writer:
        live = record(writer, key, end=False)
        until(lambda: reader.meta(live.id))
        store.writer().close()
        assert 1 == len(parts(root))
        live.response_chunk(60, b"more")
        live.end(61, Transport.COMPLETE)
        assert done(reader, live.id).response_body.data.endswith(b"more")


def test_one_part_that_cannot_be_read_waits_and_keeps_no_other(
    store: LocalStore,
    reader: LocalReader,
    root: Path,
    key: Key,
    left: Callable[[bytes], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part = left(part_of(key.id, HEAD, CHUNK))
    other = part.with_name("01JX4000000000000000000001.part")
    other.write_bytes(part.read_bytes())
    pread = os.pread

    def failing(fd: int, size: int, at: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{fd}") == str(part):
            raise OSError(5, "Input/output error")
        return pread(fd, size, at)

    lines: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", failing)
        store.writer(lines.append).close()
    assert [part] == parts(root)
    assert ["could not be recovered" in line for line in lines] == [True, False]
    store.writer(lines.append).close()
    assert [] == parts(root)
    reading = LocalReader(root, lambda: 1_000)
    assert 2 == len(reading.records())
    reading.close()


def test_who_is_dead(store: LocalStore, root: Path) -> None:
    (root / "live" / "dead").mkdir()
    (root / "live" / "dead" / "lock").touch()
    (root / "live" / "unlocked").mkdir()
    (root / "live" / "stray").touch()
    (root / "live" / "link").symlink_to(root / "live" / "dead")
    (root / "live" / "alive").mkdir()
    (root / "live" / "alive" / "lock").touch()
    held = Lock(root / "live" / "alive" / "lock")
    held.take()
    dead = dead_writers(store.layout)

    assert ["dead", "unlocked"] == [name for name, _ in dead]
    for _, lock in dead:
        lock.release()
    assert [True, False, False] == [living(store.layout, each) for each in ("alive", "dead", "no")]
    held.release()
