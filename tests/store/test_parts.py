"""Parts: what is told of a record in flight is a prefix of what passed."""

import errno
import os
from pathlib import Path

import pytest

from store import parts as parts_module
from store.codec import pack_json, request_json, response_json
from store.frames import Kind, pack
from store.parts import LivePart, PartChunks, PartFiles, part_key, read_part
from store.record import Ending, State, Transport, id_bytes
from tests.store.builders import meta, request_head, response_head

ID = "01JX4000000000000000000000"
RAW = id_bytes(ID)
BEGIN = pack(
    Kind.BEGIN,
    RAW,
    pack_json({"id": ID, "key": "k", "started_ms": 5, "request": request_json(request_head())}),
)
HEAD = pack(Kind.RESPONSE_HEAD, RAW, pack_json(response_json(response_head())), aux=3)
END = pack(Kind.END, RAW, pack_json({"transport": "complete", "error": None}), aux=9)


def chunk(kind: Kind, at_ms: int, data: bytes) -> bytes:
    return pack(kind, RAW, data, aux=at_ms)


FRAMES = [
    BEGIN,
    chunk(Kind.REQUEST, 1, b"{}"),
    pack(Kind.REQUEST_END, RAW, b"", aux=2),
    HEAD,
    chunk(Kind.RESPONSE, 4, b"one"),
    chunk(Kind.RESPONSE, 6, b"two"),
    END,
]


def live(path: Path) -> LivePart:
    return LivePart(path, meta(ID, state=State.LIVE, status=None))


def test_a_part_says_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}.part"
    path.write_bytes(b"".join(FRAMES))
    reading = read_part(path)

    assert "k" == part_key(path)
    assert request_head() == reading.request
    assert response_head() == reading.response
    assert reading.request_ended
    assert Ending(9, Transport.COMPLETE) == reading.end
    assert (2, 6, 4, 9) == (
        reading.request_bytes,
        reading.response_bytes,
        reading.ttft_ms,
        reading.last_at_ms,
    )
    chunks = PartChunks(path, Kind.RESPONSE)
    for _ in range(2):
        assert [(4, b"one"), (6, b"two")] == list(chunks)


def test_every_cut_of_a_part_is_a_prefix(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}.part"
    whole = b"".join(FRAMES)
    ends = [sum(map(len, FRAMES[: count + 1])) for count in range(len(FRAMES))]
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        frames = sum(end <= cut for end in ends)

        assert ["one", "two"][: max(0, frames - 4)] == [
            data.decode() for _, data in PartChunks(path, Kind.RESPONSE)
        ]
        assert ("k" if frames else None) == part_key(path)


def test_what_lies_behind_damage_is_not_told(tmp_path: Path) -> None:
    """Neither a body with a hole, nor frames that somebody wrote into a body."""
    path = tmp_path / f"{ID}.part"
    forged = chunk(Kind.RESPONSE, 5, b"forged") + END
    torn = chunk(Kind.RESPONSE, 4, b"x" + forged + b"y")
    path.write_bytes(BEGIN + HEAD + torn[:-1] + chunk(Kind.RESPONSE, 6, b"later"))
    reading = read_part(path)

    assert [] == list(PartChunks(path, Kind.RESPONSE))
    assert reading.end is None
    part = live(path)
    part.poll()
    assert [] == part.response_chunks
    part.close()


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b'{"request": 3}', b'{"request": {}}', b'{"transport": "no"}', b"\xff"],
)
@pytest.mark.parametrize("kind", [Kind.BEGIN, Kind.RESPONSE_HEAD, Kind.END, 77])
def test_a_frame_that_says_nonsense_says_nothing(
    tmp_path: Path, kind: Kind, payload: bytes
) -> None:
    path = tmp_path / f"{ID}.part"
    path.write_bytes(pack(kind, RAW, payload) + chunk(Kind.RESPONSE, 4, b"one"))
    reading = read_part(path)

    assert (None, None, None) == (reading.begin, reading.response, reading.end)
    assert 3 == reading.response_bytes


@pytest.mark.parametrize("content", [None, b"", b"garbage" * 100, chunk(Kind.REQUEST, 1, b"x")])
def test_a_part_without_a_beginning_is_nobody_s(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / f"{ID}.part"
    if content is not None:
        path.write_bytes(content)

    assert part_key(path) is None


def test_a_part_in_flight_is_read_as_it_grows_byte_by_byte(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}.part"
    whole = b"".join(FRAMES)
    path.write_bytes(b"")
    part = live(path)
    seen = []
    with path.open("ab", buffering=0) as file:
        for at in range(len(whole)):
            file.write(whole[at : at + 1])
            if part.poll():
                seen.append(at + 1)
            assert not part.poll()
    record = part.snapshot()

    assert [sum(map(len, FRAMES[: count + 1])) for count in range(len(FRAMES))] == seen
    assert (b"{}", b"onetwo") == (record.request_body.data, record.response_body.data)
    assert ((4, 3), (6, 3)) == record.response_body.arrivals
    assert (State.LIVE, 200, 6, 4) == (
        record.meta.state,
        record.meta.status,
        record.meta.response_bytes,
        record.meta.ttft_ms,
    )
    assert not part.gone
    path.unlink()
    assert part.gone
    part.close()
    part.close()


def test_half_a_frame_that_its_writer_took_back_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / f"{ID}.part"
    path.write_bytes(BEGIN + chunk(Kind.RESPONSE, 4, b"x" * 50)[:-20])
    part = live(path)
    part.poll()
    os.truncate(path, len(BEGIN))
    assert not part.poll()
    with path.open("ab") as file:
        file.write(chunk(Kind.RESPONSE, 5, b"one") + chunk(Kind.RESPONSE, 6, b"two" * 40))
    part.poll()

    assert [(5, b"one"), (6, b"two" * 40)] == part.response_chunks
    part.close()


def test_more_parts_than_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts_module, "OPEN_PARTS", 3)
    files = PartFiles(tmp_path)
    ids = [f"{number:026d}" for number in range(10)]
    for each in ids:
        files.create(each, b"a")
    for _ in range(2):
        for each in ids:
            files.append(each, b"b")
            assert len(files._open) <= 3
    assert [b"abb"] * 10 == [files.path(each).read_bytes() for each in ids]
    files.remove(ids[9])
    files.remove(ids[0])
    files.close()
    assert 8 == len(list(tmp_path.iterdir()))


@pytest.mark.parametrize("is_open", [True, False])
def test_a_purged_part_never_comes_back(tmp_path: Path, is_open: bool) -> None:
    files = PartFiles(tmp_path)
    files.create(ID, b"a")
    if not is_open:
        files.release(ID)
    files.path(ID).unlink()
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            files.append(ID, b"b")
    assert [] == list(tmp_path.iterdir())
    files.close()


def test_a_full_disk_leaves_whole_frames_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = PartFiles(tmp_path)
    whole = os.write
    room = [5]

    def write(fd: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = whole(fd, bytes(data)[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"):
        files.create(ID, b"0123456789")
    assert [] == list(tmp_path.iterdir())
    room[0] = 15
    files.create(ID, b"0123456789")
    with pytest.raises(OSError, match="No space"):
        files.append(ID, b"abcdefghij")
    room[0] = 100
    files.append(ID, b"ABC")
    files.close()

    assert b"0123456789ABC" == (tmp_path / f"{ID}.part").read_bytes()
