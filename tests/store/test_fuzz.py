"""Any bytes in the store's files: reading them ends, raises only what is told, and allocates within bounds.

The files are real ones, of every kind of frame, harmed in two ways: bytes changed wherever they
are (what a disk does), and frames whose check sums are right but which say whatever they like
(what somebody does who can write a body that is stored as it is).
"""

import hashlib
import itertools
import json
import random
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.codec import pack_json, unpack_json
from store.delta import NOWHERE, body_of
from store.errors import BodyMissing
from store.frames import (
    MAGIC,
    MAX_RAW,
    FrameError,
    Kind,
    frame_at,
    pack,
    pack_stored,
    scan,
    unbroken,
    unpack_arrivals,
)
from store.layout import FileView
from store.parts import LivePart, PartChunks, PartCounter, PartReading, part_key, read_part
from store.record import id_bytes
from store.segments import Content, Place, SegmentWriter, read_record, scan_segment, segment_owner
from tests.faults.length import reach
from tests.store.agentic import session
from tests.store.builders import WIRE, meta, request_head, response_head

EMPTY_HASH = hashlib.sha256().hexdigest()
KEY = "k" * 16
IDS = [f"01{number:024d}" for number in range(6)]
EXAMPLES = reach(25, 2_000)

fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# Raised by whatever reads a frame, and told by it.
TOLD = (FrameError, ValueError)


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A segment of whole bodies, deltas, arrivals and records."""
    folder = tmp_path_factory.mktemp("made")
    writer = SegmentWriter(folder, KEY, "w" * 16, "01" + "Z" * 24, 1)
    for number, (each, body) in enumerate(zip(IDS, session(7, 6, 4_000, 6_000, 600), strict=True)):
        noise = random.Random(number).randbytes(300)  # noqa: S311 - a body
        writer.append(
            Content(
                meta(each, KEY),
                request_head(),
                response_head() if number % 3 else None,
                [(0, body)],
                [(5, noise), (6, b"data: {}\n\n" * 20)] if number % 2 else [],
                WIRE,
            )
        )
    writer.close()
    return (folder / writer.name).read_bytes()


@pytest.fixture(scope="module")
def part() -> bytes:
    """A part with every kind of its frames."""
    record_id = id_bytes(IDS[0])
    begin = {
        "id": IDS[0],
        "key": KEY,
        "started_ms": 5,
        "protocol": "messages",
        "request": json.loads(pack_json({"request": _request()}))["request"],
    }
    head = {"status": 200, "reason": "OK", "http_version": "HTTP/1.1", "headers": [["a", "b"]]}
    end = {"transport": "complete", "error": None, "lost_bytes": 3, "wire": None}
    return b"".join(
        (
            pack(Kind.BEGIN, record_id, pack_json(begin)),
            pack(Kind.REQUEST, record_id, b'{"model":"m"}', aux=1),
            pack(Kind.REQUEST_END, record_id, b"", aux=2),
            pack(Kind.RESPONSE_HEAD, record_id, pack_json(head), aux=3),
            *(pack(Kind.RESPONSE, record_id, b"data: %d\n\n" % n, aux=n) for n in range(4, 9)),
            pack(Kind.END, record_id, pack_json(end), aux=9),
        )
    )


def _request() -> dict[str, Any]:
    return {
        "method": "POST",
        "scheme": "https",
        "host": "h",
        "port": 443,
        "path": "/",
        "http_version": "HTTP/1.1",
        "headers": [["a", "b"]],
    }


# -- harm ---------------------------------------------------------------------------------------

type Harm = Callable[[bytes], bytes]


def _flip(at: float, value: int) -> Harm:
    def harm(data: bytes) -> bytes:
        place = int(at * len(data))
        if place == len(data):
            return data
        return data[:place] + bytes([data[place] ^ value]) + data[place + 1 :]

    return harm


def _cut(at: float) -> Harm:
    return lambda data: data[: int(at * len(data))]


def _insert(at: float, what: bytes) -> Harm:
    return lambda data: data[: int(at * len(data))] + what + data[int(at * len(data)) :]


def _zeros(at: float, size: int) -> Harm:
    def harm(data: bytes) -> bytes:
        place = int(at * len(data))
        return data[:place] + bytes(min(size, len(data) - place)) + data[place + size :]

    return harm


def _say(number: int, changes: dict[str, int], payload: bytes | None) -> Harm:
    """A frame of the file says something else, and its check sum agrees."""

    def harm(data: bytes) -> bytes:
        frames = list(scan(data))
        if not frames:
            return data
        frame = frames[number % len(frames)]
        values: dict[str, int] = {
            "kind": frame.kind,
            "codec": frame.codec,
            "raw_length": frame.raw_length,
            "aux": frame.aux,
        } | changes
        stored = frame.payload if payload is None else payload
        said = pack_stored(
            values["kind"],
            frame.id,
            stored,
            values["codec"],
            len(stored)
            if payload is not None and "raw_length" not in changes
            else values["raw_length"],
            values["aux"],
        )
        return data[: frame.offset] + said + data[frame.end :]

    return harm


_places = st.floats(0, 1, exclude_max=True)
_u32 = st.sampled_from([0, 1, 7, 8, MAX_RAW, MAX_RAW + 1, 2**31, 2**32 - 1]) | st.integers(0, 9_000)
_u64 = st.sampled_from([0, 1, NOWHERE, 2**63, 2**63 - 1]) | st.integers(0, 30_000)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([2**70, "complete", "live", KEY, IDS[0], "\ud800", "POST"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
_headers = (
    st.lists(st.lists(st.text(max_size=3) | _json, min_size=1, max_size=3), max_size=2) | _json
)
_NAMES = (
    *("meta", "request", "response", "sha256", "wire", "key", "headers", "status", "method"),
    *("transport", "error", "lost_bytes", "started_ms", "protocol", "writer", "host", "id"),
)


@st.composite
def _documents(draw: st.DrawFn) -> bytes:
    """JSON that may be what a frame holds, or nearly, or nothing like it."""
    value: Any = {name: draw(_json) for name in draw(st.lists(st.sampled_from(_NAMES), max_size=6))}
    if draw(st.booleans()):
        value["request"] = _request() | {
            draw(st.sampled_from([*_request()])): draw(_json),
            "headers": draw(_headers),
        }
    if draw(st.booleans()):
        value["meta"] = {"id": IDS[0], "key_id": KEY, "client": draw(_json)}
    if draw(st.integers(0, 9)) == 0:
        return b"[" * draw(st.sampled_from([10, 2_000, 25_000]))
    return json.dumps(value).encode()


_payloads = st.none() | _documents() | st.binary(max_size=60)
_said = st.builds(
    _say,
    st.integers(0, 60),
    st.fixed_dictionaries(
        {},
        optional={
            "kind": st.integers(0, 255),
            "codec": st.sampled_from([0, 1, 2, 3, 255]),
            "raw_length": _u32,
            "aux": _u64,
        },
    ),
    _payloads,
)
harms = st.lists(
    st.one_of(
        st.builds(_flip, _places, st.integers(1, 255)),
        st.builds(_cut, _places),
        st.builds(_insert, _places, st.binary(max_size=80) | st.just(MAGIC * 3)),
        st.builds(_zeros, _places, st.integers(1, 3_000)),
        _said,
        _said,
    ),
    min_size=1,
    max_size=4,
)


def harmed(data: bytes, by: list[Harm]) -> bytes:
    for each in by:
        data = each(data)
    return data


@contextmanager
def bounded(data: bytes) -> Iterator[None]:
    """No more memory at once than the file, what frames may decode to, and what goes with it."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A frame decodes to MAX_RAW at most, whatever it claims, and a delta needs its base beside it.
    assert peak < 20 * len(data) + 3 * MAX_RAW


# -- what reads -----------------------------------------------------------------------------------


def told(call: Callable[[], object]) -> None:
    """It comes back, or raises what is documented."""
    with suppress(*TOLD):
        call()


@fuzzed
@given(by=harms)
def test_frames_of_a_segment(segment: bytes, by: list[Harm]) -> None:
    """scan and unbroken raise nothing; decode, body_of and unpack_arrivals FrameError alone."""
    data = harmed(segment, by)
    with bounded(data):
        frames = list(scan(data))
        first = list(unbroken(data))
        assert first == frames[: len(first)]
        for before, after in itertools.pairwise(frames):
            assert before.end <= after.offset
        for frame in frames:
            assert data[frame.offset : frame.end].endswith(frame.payload)
            for read in (frame.decode, lambda each=frame: body_of(data, each)):
                with suppress(FrameError):
                    assert len(read()) == frame.raw_length <= MAX_RAW
            told(lambda each=frame: unpack_arrivals(each))  # type: ignore[misc]


@fuzzed
@given(by=harms)
def test_a_segment_file(segment: bytes, by: list[Harm], tmp_path: Path) -> None:
    """What is found in it can be read or is said to be missing; nothing else comes of it."""
    name = f"{KEY}/{'01' + 'Z' * 24}.seg"
    write(tmp_path / name, harmed(segment, by))
    good = list(scan_good(segment))
    with bounded(segment):
        found = list(scan_segment(tmp_path, name))
        assert isinstance(segment_owner(tmp_path, name), str)
        assert all(each.meta.key_id == KEY for each in found)
        for each in found:
            reading(tmp_path, each.place, each.meta.id)
        for start, record_at, record_id in good:
            reading(tmp_path, Place(name, start, record_at), record_id)


def reading(folder: Path, place: Place, record_id: str) -> None:
    said = ""
    try:
        record = read_record(folder, place, meta(record_id, KEY))
        assert record.meta.id == record_id
        assert all(isinstance(value, bytes) for pair in record.request.headers for value in pair)
    except BodyMissing as exc:
        said = str(exc)
    assert said == "" or record_id in said
    assert "\n" not in said


def scan_good(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Where a segment's records are while it is whole: (start, record_at, id)."""
    start = 0
    ids = iter(IDS)
    for frame in scan(data):
        if frame.kind == Kind.SEGMENT:
            start = frame.end
        elif frame.kind == Kind.RECORD:
            yield start, frame.offset, next(ids)
            start = frame.end


@fuzzed
@given(by=harms)
def test_a_part_file(part: bytes, by: list[Harm], tmp_path: Path) -> None:
    """All that reads a part takes whatever is in it."""
    path = tmp_path / f"{IDS[0]}.part"
    data = harmed(part, by)
    write(path, data)
    with bounded(data):
        taken = PartReading()
        for frame in scan(data):
            taken.take(frame)
        whole = read_part(path)
        key = part_key(path)
        assert key is None or isinstance(key, str)
        response = b"".join(chunk for _, chunk in PartChunks(path, Kind.RESPONSE))
        PartCounter(path).count()
        live = LivePart(path, meta(IDS[0], KEY))
        try:
            live.poll()
            record = live.snapshot()
        finally:
            live.close()
        assert response == record.response_body.data
        if whole.request is not None:
            headers = whole.request.headers
            assert all(isinstance(value, bytes) for pair in headers for value in pair)


@fuzzed
@given(by=harms, at=st.lists(_places, max_size=8))
def test_a_file_is_read_as_the_bytes_it_is(
    segment: bytes, by: list[Harm], at: list[float], tmp_path: Path
) -> None:
    """However a window lies over it: the same frames from the file as from memory."""
    data = harmed(segment, by)
    path = tmp_path / "file"
    write(path, data)
    window = FileView.WINDOW
    try:
        FileView.WINDOW = 1_000
        with FileView(path) as view:
            assert list(scan(view)) == list(scan(data))
            for each in at:
                place = int(each * len(data))
                assert view.find(MAGIC, place) == data.find(MAGIC, place)
                assert frame_at(view, place) == frame_at(data, place)
    finally:
        FileView.WINDOW = window


@fuzzed
@given(data=st.binary(max_size=400) | _documents())
def test_any_bytes_as_json(data: bytes) -> None:
    """ValueError alone, also of what is nested deeper than Python goes."""
    told(lambda: unpack_json(data))


@pytest.mark.parametrize("length", [2**32 - 1, 2**31, 2**20])
def test_a_length_that_is_a_lie_is_not_allocated(tmp_path: Path, length: int) -> None:
    """In a process that may have no more memory than it has: the length is of the header, which is right."""
    data = pack(Kind.RESPONSE, id_bytes(IDS[0]), b"x" * 100)
    lie = bytearray(data)
    lie[36:40] = length.to_bytes(4, "little")
    assert lie[:4] == MAGIC
    path = tmp_path / "lie"
    write(path, bytes(lie) + data)
    with FileView(path) as view, bounded(b""):
        assert frame_at(view, 0) is None
        assert [len(lie)] == [frame.offset for frame in scan(view)]


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


FORGED = {
    "deep": b"[" * 200_000,
    "no header": pack_json({"key": KEY, "request": _request() | {"headers": [["a", 5]]}}),
    "no pair": pack_json({"key": KEY, "request": _request() | {"headers": [["a"]]}}),
    "no list": pack_json({"key": KEY, "request": _request() | {"headers": 5}}),
    "no latin-1": pack_json({"key": KEY, "request": _request() | {"headers": [["\u20ac", ""]]}}),
    "no head": pack_json({"key": KEY, "request": []}),
}


@pytest.mark.parametrize("says", FORGED.values(), ids=FORGED)
def test_what_a_forged_frame_says_is_not_believed(says: bytes, tmp_path: Path) -> None:
    record_id = id_bytes(IDS[0])
    path = tmp_path / f"{IDS[0]}.part"
    write(path, pack(Kind.BEGIN, record_id, says))
    assert read_part(path).request is None
    name = f"{KEY}/{'01' + 'Z' * 24}.seg"
    hashes = {"sha256": {"request": EMPTY_HASH, "response": EMPTY_HASH}, "response": None}
    value = says if says[:1] == b"[" else pack_json(unpack_json(says) | hashes)
    write(tmp_path / name, pack(Kind.RECORD, record_id, value))
    with pytest.raises(BodyMissing, match=IDS[0]):
        read_record(tmp_path, Place(name, 0, 0), meta(IDS[0], KEY))
    assert [] == list(scan_segment(tmp_path, name))
