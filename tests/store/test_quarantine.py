"""Corrupt pieces: what is one and what is not, and those a start meets."""

import os
from pathlib import Path

import pytest

from store import quarantine as quarantine_module
from store.frames import MAGIC, NO_RECORD, Kind, pack
from store.index import Index
from store.layout import Layout
from store.local import LocalStore
from store.quarantine import Extent, Gap, damage, gaps, merged, owned, pieces, unfinished
from store.reader import LocalReader
from store.record import Key, id_bytes
from tests.store.test_recovery import CHUNK, HEAD, ID, RAW, end, part_of
from tests.store.test_sweep import Killed

# -- judging --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "covered", "left"),
    [
        (0, [], []),
        (9, [], [(0, 9)]),
        (9, [(0, 9)], []),
        (9, [(0, 4), (4, 9)], []),
        (9, [(2, 4), (6, 9)], [(0, 2), (4, 6)]),
        (9, [(0, 4)], [(4, 9)]),
        (9, [(0, 6), (2, 4)], [(6, 9)]),
    ],
)
def test_what_nothing_covers(
    length: int, covered: list[tuple[int, int]], left: list[tuple[int, int]]
) -> None:
    assert left == gaps(length, covered)


A, B, C = Extent(10, 18, 1_000), Extent(20, 28, 2_000), Extent(30, 38, 3_000)


@pytest.mark.parametrize(
    ("ranges", "rows", "found"),
    [
        ([(0, 50)], [], [Gap(0, 50, None)]),
        ([(20, 30)], [A, B, C], [Gap(20, 30, B)]),
        ([(10, 30)], [B, A, C], [Gap(10, 20, A), Gap(20, 30, B)]),
        ([(0, 30)], [A, B], [Gap(0, 10, None), Gap(10, 20, A), Gap(20, 30, B)]),
        # Inside a record: its request alone is damaged.
        ([(14, 17)], [A, B], [Gap(14, 17, A)]),
        ([(14, 25)], [A, B], [Gap(14, 20, A), Gap(20, 25, B)]),
        # Behind a record's last frame nobody's bytes begin.
        ([(29, 30)], [A, B, C], [Gap(29, 30, None)]),
        ([(40, 50)], [A, B, C], [Gap(40, 50, None)]),
        ([(12, 14), (40, 50)], [A], [Gap(12, 14, A), Gap(40, 50, None)]),
    ],
)
def test_whose_bytes_they_are(
    ranges: list[tuple[int, int]], rows: list[Extent], found: list[Gap]
) -> None:
    assert found == list(owned(ranges, rows))


@pytest.mark.parametrize(
    ("ranges", "found"),
    [
        ([], []),
        ([(0, 3)], [(0, 3)]),
        ([(0, 3), (3, 5), (5, 6)], [(0, 6)]),
        ([(0, 3), (4, 5), (5, 6)], [(0, 3), (4, 6)]),
    ],
)
def test_what_touches_is_one(ranges: list[tuple[int, int]], found: list[tuple[int, int]]) -> None:
    assert found == merged(ranges)


OTHER = id_bytes("01JX4000000000000000000001")
REQUEST = pack(Kind.REQUEST, RAW, b"request")
LAST = pack(Kind.RECORD, RAW, b"{}")
FLIPPED = REQUEST[:-1] + bytes([REQUEST[-1] ^ 1])


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        (b"", True),
        (REQUEST, True),
        (REQUEST + REQUEST, True),
        *((REQUEST + REQUEST[:cut], True) for cut in range(1, len(REQUEST))),
        (REQUEST + bytes(5), True),
        (REQUEST + bytes(5_000), True),
        (bytes(5_000), True),
        (REQUEST + bytes(4_999) + b"x", False),
        (REQUEST + pack(Kind.REQUEST, OTHER, b"x"), False),
        (REQUEST + pack(Kind.REQUEST, OTHER, b"x")[:-1], False),
        (LAST, False),
        (REQUEST + LAST, False),
        (FLIPPED, False),
        (REQUEST + b"garbage", False),
        (REQUEST + MAGIC * 50, False),
        (os.urandom(300), False),
    ],
)
def test_a_record_s_beginning_as_a_kill_leaves_it(rest: bytes, said: bool) -> None:
    assert said == unfinished(b"12345" + rest, 5)


HEAD_FRAME = pack(Kind.SEGMENT, NO_RECORD, b"{}")


@pytest.mark.parametrize(
    ("data", "rows", "found"),
    [
        (HEAD_FRAME, [], []),
        (b"", [], []),
        (HEAD_FRAME + REQUEST, [], []),
        (HEAD_FRAME + REQUEST, [(0, 1)], [(0, len(REQUEST))]),
        (HEAD_FRAME + bytes(90), [(0, 1)], []),
        (HEAD_FRAME + FLIPPED + LAST, [], [(0, len(FLIPPED + LAST))]),
        (b"x" * 300, [], [(-len(HEAD_FRAME), 300 - len(HEAD_FRAME))]),
    ],
    ids=["a head", "nothing", "unfinished", "known", "zeros", "damaged", "no head"],
)
def test_what_is_damaged(
    data: bytes, rows: list[tuple[int, int]], found: list[tuple[int, int]]
) -> None:
    """Offsets from behind the head on; no whole record is in it."""
    begin = len(HEAD_FRAME)
    extents = [Extent(begin + start, begin + at, 1) for start, at in rows]
    told = [(gap.start - begin, gap.end - begin) for gap in damage(data, [], extents)]
    assert found == told


# -- a start --------------------------------------------------------------------------------------


def damaged_segment(layout: Layout, key_id: str, data: bytes) -> Path:
    path = layout.key_folder(key_id) / "01JX4000000000000000000002.seg"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


HARMED = HEAD_FRAME + FLIPPED + LAST


@pytest.mark.parametrize(
    ("data", "state", "left"),
    [
        (HARMED, "on", HARMED[len(HEAD_FRAME) :]),
        (os.urandom(3_000), "on", ...),
        (HARMED, "off", None),
        (HARMED, "removed", None),
        (b"", "on", None),
        (HEAD_FRAME, "on", None),
        (HEAD_FRAME[:-3], "on", None),
        (HEAD_FRAME + REQUEST + REQUEST[:20], "on", None),
        (bytes(4096), "on", None),
    ],
    ids=["damaged", "noise", "off", "removed", "empty", "head", "torn head", "unfinished", "zeros"],
)
@pytest.mark.parametrize("by", ["start", "rebuild"])
def test_a_segment_with_nothing_whole_goes_and_what_is_damaged_in_it_does_not(
    store: LocalStore, root: Path, key: Key, data: bytes, state: str, left: object, by: str
) -> None:
    if state == "off":
        store._keys.set_retention("one", None)
    path = damaged_segment(store.layout, "0" * 16 if state == "removed" else key.id, data)
    for _ in range(2):
        store.writer().close() if by == "start" else store.rebuild()
        assert not path.exists()
        found = [piece.path.read_bytes() for piece in pieces(store.layout)]
        assert found == ([] if left is None else [data if left is ... else left])


@pytest.mark.parametrize("step", ["set_aside", "_copy", "forget_segment", "unlink"])
def test_a_start_killed_there_is_made_good_by_the_next(
    store: LocalStore, root: Path, key: Key, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = damaged_segment(store.layout, key.id, HARMED)
    owner: object = {"forget_segment": Index, "unlink": Path}.get(step, quarantine_module)

    def killing(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, killing)
        with pytest.raises(Killed):
            store.writer().close()
    assert path.exists()
    store.writer().close()
    assert not path.exists()
    assert 1 == len(pieces(store.layout))


def test_a_full_disk_stops_no_start(
    store: LocalStore, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = damaged_segment(store.layout, key.id, HARMED)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(quarantine_module, "write_all", full)
        store.writer().close()
    assert path.exists()
    assert [] == pieces(store.layout)
    store.writer().close()
    assert not path.exists()
    assert 1 == len(pieces(store.layout))


@pytest.mark.parametrize(
    ("behind", "left"),
    [
        (b"", None),
        (CHUNK[:-4], None),
        (bytes(5_000), None),
        (CHUNK[:-1] + b"\xff" + CHUNK, CHUNK[:-1] + b"\xff" + CHUNK),
        (b"noise" + end("complete", None), b"noise" + end("complete", None)),
    ],
    ids=["whole", "torn", "zeros", "a flipped byte", "noise"],
)
def test_what_is_behind_the_damage_of_a_part(
    store: LocalStore, root: Path, key: Key, behind: bytes, left: bytes | None
) -> None:
    """The record is as far as the part is whole; the rest of it is put aside."""
    store.set_retention("one", 315_360_000)
    folder = root / "live" / ("d" * 16)
    folder.mkdir()
    (folder / "lock").touch()
    whole = part_of(key.id, HEAD, CHUNK)
    (folder / f"{ID}.part").write_bytes(whole + behind)
    lines: list[str] = []
    store.writer(lines.append).close()

    found = pieces(store.layout)
    assert ([] if left is None else [(ID, len(whole), left)]) == [
        (each.source, each.start, each.path.read_bytes()) for each in found
    ]
    assert (left is not None) == any("is damaged" in line for line in lines)
    reading = LocalReader(root, lambda: 1_000)
    stored = reading.get(ID)
    assert stored is not None
    assert b"data: 1\n\n" == stored.response_body.data
    reading.close()
