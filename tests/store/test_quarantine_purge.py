"""Corrupt pieces and purges: put aside before their file goes, never shown as good, gone with their retention."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from store import purge as purge_module
from store import quarantine as quarantine_module
from store.errors import BodyMissing, StoreUnavailable
from store.frames import Kind, frame_at
from store.local import LocalStore, rebuild_store
from store.purge_index import PurgeIndex
from store.quarantine import Extent, damage, merged, pieces
from store.reader import LocalReader
from store.record import Key
from store.segments import scan_segment
from tests.store.builders import (
    SECRET,
    done,
    files_with,
    now_ms,
    record,
    segment_files,
    writing,
)
from tests.store.test_local import HOUR_MS
from tests.store.test_recovery import ID
from tests.store.test_sweep import Killed

GONE = b"canary-expired-5d1e"
KEPT = b"canary-unexpired-77aa"


# -- a purge that rewrites ------------------------------------------------------------------------


@dataclass(slots=True)
class Boundary:
    """A segment of records two hours old and fresh ones, by turns."""

    store: LocalStore
    root: Path
    key: Key
    gone: list[str]
    kept: list[str]
    where: dict[str, tuple[int, int, int]]
    """(start, record_at, end) of each."""

    @property
    def file(self) -> Path:
        (path,) = segment_files(self.root)
        return path

    def flip(self, record_id: str, kind: Kind | None = None) -> bytes:
        """Damage one of its frames, by default the first; what its bytes are now."""
        start, _, behind = self.where[record_id]
        data = bytearray(self.file.read_bytes())
        at = start
        while kind is not None:
            frame = frame_at(bytes(data), at)
            assert frame is not None
            if frame.kind == kind:
                break
            at = frame.end
        data[at + 47] ^= 0x10
        stamp = self.file.stat().st_mtime_ns
        self.file.write_bytes(data)
        os.utime(self.file, ns=(stamp, stamp))
        return bytes(data[start:behind])


def old_body(number: int) -> bytes:
    return b'{"n":%d,"x":"' % number + GONE + b'"}'


@pytest.fixture
def boundary(store: LocalStore, reader: LocalReader, root: Path) -> Boundary:
    key = store.add_key("one", SECRET, 24 * 3600)
    gone, kept = [], []
    with writing(store) as writer:
        for number in range(4):
            before = now_ms() - 2 * HOUR_MS
            gone.append(record(writer, key, started_ms=before, request=[old_body(number)]).id)
            body = b'{"n":%d,"x":"' % number + KEPT + b'"}'
            kept.append(record(writer, key, request=[body]).id)
        for each in (*gone, *kept):
            done(reader, each)
    rows = reader._all("SELECT id, start, record_at FROM records")
    (file,) = segment_files(root)
    data = file.read_bytes()
    where = {}
    for record_id, start, record_at in rows:
        last = frame_at(data, record_at)
        assert last is not None
        where[record_id] = (start, record_at, last.end)
    return Boundary(store, root, key, gone, kept, where)


def said(reader: LocalReader, record_id: str) -> str:
    """What is said of a record that cannot be read."""
    with pytest.raises(BodyMissing) as caught:
        reader.get(record_id)
    assert record_id in str(caught.value)
    return str(caught.value)


KINDS = [Kind.REQUEST, Kind.RESPONSE, Kind.RESPONSE_ARRIVALS, Kind.RECORD]


@pytest.mark.check(50, 64)
@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_a_damaged_record_outlives_the_rewriting_of_its_segment(
    boundary: Boundary, reader: LocalReader, root: Path, kind: Kind
) -> None:
    """And one that is expired does not, however damaged."""
    victim = boundary.kept[1]
    bytes_of_it = boundary.flip(victim, kind)
    boundary.flip(boundary.gone[2], kind)
    source = boundary.file.stem
    stamp = boundary.file.stat().st_mtime_ns

    assert 4 == boundary.store.set_retention("one", 3600)
    assert boundary.kept[::-1] == [row.id for row in reader.records()]
    for each in boundary.kept:
        if each == victim:
            assert ".seg" in said(reader, each)
        else:
            assert reader.get(each) is not None
    assert [] == files_with(root, GONE)
    (piece,) = pieces(boundary.store.layout)
    assert (boundary.key.id, source) == (piece.key_id, piece.source)
    start, _, behind = boundary.where[victim]
    assert start <= piece.start < behind
    assert bytes_of_it[piece.start - start :].startswith(piece.path.read_bytes())
    assert 0o600 == piece.path.stat().st_mode & 0o777
    assert {0o700} == {folder.stat().st_mode & 0o777 for folder in piece.path.parents[:2]}
    assert stamp == piece.path.stat().st_mtime_ns
    # The rewritten segment is as old as what is in it.
    assert stamp == boundary.file.stat().st_mtime_ns
    if kind == Kind.RECORD:
        assert bytes_of_it == piece.path.read_bytes()
        assert str(piece.path) in said(reader, victim)


@pytest.mark.check(50)
def test_the_row_of_a_damaged_record_outlives_start_and_rebuild(
    boundary: Boundary, reader: LocalReader, root: Path
) -> None:
    victims = boundary.kept[1:3]
    for each in victims:
        boundary.flip(each, Kind.RECORD)
    before = [said(reader, each) for each in victims]
    assert 8 == boundary.store.rebuild()
    assert before == [said(reader, each) for each in victims]
    boundary.store.set_retention("one", 3600)
    after = [said(reader, each) for each in victims]
    assert all("quarantine" in each for each in after)
    assert 4 == boundary.store.rebuild()
    boundary.store.writer().close()
    assert after == [said(reader, each) for each in victims]
    assert 4 == rebuild_store(root)
    assert after == [said(reader, each) for each in victims]


def test_a_rebuild_keeps_no_row_of_a_file_that_is_gone(
    boundary: Boundary, reader: LocalReader
) -> None:
    boundary.file.unlink()
    assert 0 == boundary.store.rebuild()
    assert [] == reader.records()


def test_a_rebuild_keeps_no_row_behind_the_end_of_its_file(
    boundary: Boundary, reader: LocalReader
) -> None:
    start, _, _ = boundary.where[boundary.kept[2]]
    os.truncate(boundary.file, start)
    assert 5 == boundary.store.rebuild()


@pytest.mark.parametrize(
    "change",
    [
        "id = '01JX4000000000000000000000'",
        "id = '01JX4000000000000000000000', start = start + 1",
        "id = '01JX4000000000000000000000', verdict = 'wonderful', record_at = record_at + 1",
        "id = '01JX4000000000000000000000', segment = NULL",
        "id = '01JX4000000000000000000000', start = 'x', record_at = 'y'",
        "verdict = 'wonderful'",
        "record_at = 1 << 60",
    ],
)
def test_a_rebuild_keeps_no_nonsense(boundary: Boundary, reader: LocalReader, change: str) -> None:
    """What was a row of nothing is gone, and every record has its own again."""
    with boundary.store._managed() as index, index.transaction() as connection:
        connection.execute(f"UPDATE records SET {change} WHERE id = ?", (boundary.kept[1],))  # noqa: S608
    assert 8 == boundary.store.rebuild()
    rows = {row.id for row in reader.records()}
    assert {*boundary.kept, *boundary.gone} == rows
    assert all(reader.get(each) is not None for each in rows)


def test_what_no_row_knows_is_kept_too(boundary: Boundary, reader: LocalReader, root: Path) -> None:
    """An index made anew knows nothing of a damaged record; it may not be expired."""
    bytes_of_it = boundary.flip(boundary.kept[1], Kind.RECORD)
    boundary.store.close()
    (root / "index.db").unlink()
    again = LocalStore(root)
    assert 7 == again.rebuild()
    again.set_retention("one", 3600)
    (piece,) = pieces(again.layout)
    assert bytes_of_it == piece.path.read_bytes()
    again.close()


def test_whole_segments_go_with_what_is_damaged_in_them(
    boundary: Boundary, reader: LocalReader, root: Path
) -> None:
    """Nothing in a file ended later than it was last written."""
    boundary.flip(boundary.kept[1])
    boundary.store.close()
    (root / "index.db").unlink()
    again = LocalStore(root)
    again.rebuild()
    before = now_ms() - 3 * HOUR_MS
    os.utime(boundary.file, ns=(before * 1_000_000, before * 1_000_000))
    again.set_retention("one", 3600)
    assert [] == pieces(again.layout)
    again.close()


# -- a kill in between ----------------------------------------------------------------------------


STEPS: list[tuple[object, str]] = [
    (purge_module, "scan_segment"),
    (purge_module, "set_aside"),
    (quarantine_module, "_copy"),
    (quarantine_module, "sync_folder"),
    (Path, "rename"),
    (PurgeIndex, "doom"),
    (purge_module, "_rewrite"),
    (PurgeIndex, "move"),
    (Path, "unlink"),
    (PurgeIndex, "buried"),
    (purge_module, "drop_pieces"),
]


@pytest.mark.check(69)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("finisher", ["start", "sweep", "rebuild"])
@pytest.mark.parametrize(("owner", "step"), STEPS, ids=[name for _, name in STEPS])
def test_a_purge_killed_anywhere_loses_no_damaged_record(
    boundary: Boundary,
    reader: LocalReader,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    step: str,
    after: bool,
    finisher: str,
) -> None:
    victim = boundary.kept[1]
    bytes_of_it = boundary.flip(victim, Kind.RECORD)
    boundary.flip(boundary.gone[2], Kind.RECORD)
    original = getattr(owner, step)

    def killing(*args: object, **kwargs: object) -> object:
        if not after:
            raise Killed
        original(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, killing)
        with pytest.raises(Killed):
            boundary.store.set_retention("one", 3600)
    match finisher:
        case "start":
            boundary.store.writer().close()
        case "rebuild":
            boundary.store.rebuild()
    boundary.store.sweep()

    assert boundary.kept[::-1] == [row.id for row in reader.records()]
    assert str(boundary.store.layout.quarantine) in said(reader, victim)
    assert [bytes_of_it] == [each.path.read_bytes() for each in pieces(boundary.store.layout)]
    assert [] == list(root.rglob("*.tmp"))
    assert [] == files_with(root, GONE)
    for each in boundary.kept:
        assert each == victim or reader.get(each) is not None


def test_a_full_disk_holds_the_file_back(
    boundary: Boundary, reader: LocalReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The purge fails and says so; the next one finds what it needs."""
    bytes_of_it = boundary.flip(boundary.kept[1], Kind.RECORD)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(quarantine_module, "write_all", full)
        with pytest.raises(StoreUnavailable, match="No space left"):
            boundary.store.set_retention("one", 3600)
    assert boundary.file.exists()
    boundary.store.sweep()
    assert [bytes_of_it] == [each.path.read_bytes() for each in pieces(boundary.store.layout)]
    assert [] == files_with(root, GONE)


# -- they go --------------------------------------------------------------------------------------


@pytest.fixture
def put_aside(boundary: Boundary) -> Boundary:
    boundary.flip(boundary.kept[1])
    boundary.store.set_retention("one", 3600)
    assert 1 == len(pieces(boundary.store.layout))
    return boundary


@pytest.mark.check(65, 74)
@pytest.mark.parametrize("how", ["off", "remove", "an older retention's sweep"])
def test_off_and_removed_leave_no_piece(put_aside: Boundary, root: Path, how: str) -> None:
    match how:
        case "off":
            put_aside.store.set_retention("one", None)
        case "remove":
            put_aside.store.remove_key("one")
        case _:
            put_aside.store._keys.set_retention("one", None)
            put_aside.store.sweep()
    assert [] == pieces(put_aside.store.layout)
    assert [] == list((root / "quarantine").iterdir())
    assert [] == files_with(root, KEPT)


@pytest.mark.check(70)
@pytest.mark.parametrize("how", ["sweep", "purge"])
def test_a_piece_expires(put_aside: Boundary, reader: LocalReader, how: str) -> None:
    """As old as its segment: the records of it go with the same sweep."""
    (piece,) = pieces(put_aside.store.layout)
    for age_s, left in ((3500, 1), (3700, 0)):
        before = now_ms() - age_s * 1000
        os.utime(piece.path, ns=(before * 1_000_000, before * 1_000_000))
        put_aside.store.sweep() if how == "sweep" else put_aside.store.purge()
        assert left == len(pieces(put_aside.store.layout))
    assert put_aside.kept[::-1] == [row.id for row in reader.records()]
    assert ".seg" in said(reader, put_aside.kept[1])


def test_another_key_s_pieces_stay(put_aside: Boundary) -> None:
    put_aside.store.add_key("two", SECRET + "2", 3600)
    put_aside.store.set_retention("two", None)
    put_aside.store.sweep()
    assert 1 == len(pieces(put_aside.store.layout))


# -- what is planted ------------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / f"{ID}-0.bad").write_bytes(b"mine")
    (folder / "mine.tmp").write_bytes(b"mine")
    yield folder
    assert {f"{ID}-0.bad", "mine.tmp"} == {each.name for each in folder.iterdir()}


def _link_for_a_key(root: Path, key_id: str, outside: Path) -> None:
    (root / "quarantine").mkdir()
    (root / "quarantine" / key_id).symlink_to(outside)


PLANTS: dict[str, Callable[[Path, str, Path], None]] = {
    "the folder": lambda root, key_id, outside: (root / "quarantine").symlink_to(outside.parent),
    "the key's": _link_for_a_key,
    "a file": lambda root, key_id, outside: (root / "quarantine").touch(),
}


@pytest.mark.check(95)
@pytest.mark.parametrize("what", list(PLANTS))
def test_a_link_planted_there_is_not_followed(
    boundary: Boundary, root: Path, outside: Path, what: str
) -> None:
    outside.rename(outside.with_name(boundary.key.id) if what == "the folder" else outside)
    PLANTS[what](root, boundary.key.id, outside)
    assert [] == pieces(boundary.store.layout)
    boundary.store.sweep()
    boundary.flip(boundary.kept[1])
    with pytest.raises(StoreUnavailable):
        boundary.store.set_retention("one", 3600)
    # What was doomed is doomed, and the file waits.
    assert boundary.file.exists()
    boundary.store.set_retention("one", None)
    outside.with_name(boundary.key.id).exists() and outside.with_name(boundary.key.id).rename(
        outside
    )


def test_a_scan_and_the_pieces_make_the_whole_file(boundary: Boundary) -> None:
    """No byte is in both or in neither, wherever one is flipped."""
    layout = boundary.store.layout
    whole = boundary.file.read_bytes()
    name = f"{boundary.key.id}/{boundary.file.name}"
    rows = [Extent(start, at, 1) for start, at, _ in boundary.where.values()]
    head = frame_at(whole, 0)
    assert head is not None
    for at in range(head.end, len(whole), 23):
        boundary.file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        found = list(scan_segment(layout.segments, name))
        ranges = [(each.place.start, each.end) for each in found]
        ranges += [(gap.start, gap.end) for gap in damage(boundary.file.read_bytes(), found, rows)]
        assert [(0, len(whole))] == merged(sorted([(0, head.end), *ranges]))
        assert any(start <= at < behind for start, behind in ranges[len(found) :])
