"""Damage on the disk: what is whole stays readable, what is not is said so, rows are made again."""

import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from store.codec import pack_json, record_json
from store.errors import BodyMissing, StoreUnavailable
from store.frames import MAGIC, Kind, frame_at, pack
from store.local import LocalStore, rebuild_store
from store.location import open_store
from store.reader import LocalReader
from store.record import Key, id_bytes
from tests.store.builders import (
    SECRET,
    done,
    meta,
    parts,
    record,
    request_head,
    segment_files,
    until,
    writing,
)

COUNT = 30


@pytest.fixture
def made(store: LocalStore, key: Key, reader: LocalReader) -> list[str]:
    """Records of one segment, in its order."""
    with writing(store) as writer:
        ids = [
            record(writer, key, request=[b'{"n":%d}' % each], response=[os.urandom(200)]).id
            for each in range(COUNT)
        ]
        for each in ids:
            done(reader, each)
    return ids


def readable(reader: LocalReader, ids: list[str]) -> list[bool]:
    found = []
    told: list[tuple[bool, bool, bool]] = []
    for each in ids:
        try:
            stored = reader.get(each)
        except BodyMissing as exc:
            said = str(exc)
            found.append(False)
            told.append((each in said, ".seg" in said, "\n" in said))
        else:
            assert stored is not None
            assert b'{"n":%d}' % ids.index(each) == stored.request_body.data
            found.append(True)
    assert set(told) <= {(True, True, False)}, "record and file, in one line"
    return found


def test_a_flipped_byte_costs_exactly_its_record(
    reader: LocalReader, root: Path, made: list[str]
) -> None:
    (segment,) = segment_files(root)
    whole = segment.read_bytes()
    places = reader._all("SELECT id, start, record_at FROM records ORDER BY start")
    flips = random.Random(7)  # noqa: S311 - places, no secrets
    for record_id, start, record_at in places[::5]:
        last = frame_at(whole, record_at)
        assert last is not None
        for at in [
            start,
            record_at,
            last.end - 1,
            *(flips.randrange(start, last.end) for _ in "123"),
        ]:
            segment.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])

            assert [each != record_id for each in made] == readable(reader, made)
    segment.write_bytes(whole)
    assert all(readable(reader, made))


@pytest.mark.parametrize(
    "harm",
    [
        lambda data, at: data[:at],
        lambda data, at: data[:at] + os.urandom(300),
        lambda data, at: data[:at] + bytes(len(data) - at),
        lambda data, at: data[:at] + MAGIC * 50,
    ],
    ids=["torn", "garbage", "zeros", "magic"],
)
@pytest.mark.parametrize("index", ["kept", "deleted"])
def test_a_damaged_tail_costs_the_records_in_it(
    store: LocalStore,
    reader: LocalReader,
    root: Path,
    made: list[str],
    harm: Callable[[bytes, int], bytes],
    index: str,
) -> None:
    (segment,) = segment_files(root)
    (at,) = reader._all("SELECT record_at FROM records WHERE id = ?", [made[20]])[0]
    segment.write_bytes(harm(segment.read_bytes(), at + 10))
    store.close()
    if index == "deleted":
        (root / "index.db").unlink()
    again = LocalStore(root)
    again.writer().close()
    reader.version()
    rows = {row.id for row in reader.records(limit=200)}

    assert set(made[:20]) <= rows
    assert [True] * 20 == readable(reader, made[:20])
    for each in rows - set(made[:20]):
        with pytest.raises(BodyMissing):
            reader.get(each)
    assert index == "kept" or set(made[:20]) == rows
    with writing(again) as writer:
        done(reader, record(writer, reader.key("one")).id)
    again.close()


def test_a_deleted_segment_is_said_by_its_records_alone(
    store: LocalStore, reader: LocalReader, root: Path, made: list[str]
) -> None:
    (segment,) = segment_files(root)
    segment.unlink()

    assert made[::-1] == [row.id for row in reader.records()]
    with pytest.raises(BodyMissing, match=f"{made[0]}.*{segment.name} is not on the disk"):
        reader.get(made[0])
    with writing(store) as writer:
        after = record(writer, reader.key("one")).id
        done(reader, after)
    assert [after, *made[::-1]] == [row.id for row in reader.records()]
    assert COUNT == store.set_retention("one", None) - 1


@pytest.mark.parametrize("again", ["a writer", "rebuild"])
def test_a_deleted_index_is_made_anew(
    store: LocalStore, reader: LocalReader, root: Path, made: list[str], again: str
) -> None:
    store.close()
    reader.close()
    for path in root.glob("index.db*"):
        path.unlink()
    if again == "rebuild":
        assert COUNT == rebuild_store(root)
    opened = open_store(str(root))
    if again == "a writer":
        opened.writer().close()
    anew = opened.reader()

    assert made[::-1] == [row.id for row in anew.records()]
    assert all(readable(anew, made))
    anew.close()
    opened.close()


def test_a_deleted_log_costs_no_record(
    store: LocalStore, key: Key, root: Path, reader: LocalReader
) -> None:
    child = os.fork()
    if child == 0:
        try:
            writer = LocalStore(root).writer()
            found = writer.keys.match([SECRET.encode()], ())
            assert found is not None
            ids = [record(writer, found).id for _ in range(5)]
            with closing(LocalReader(root)) as watching:
                for each in ids:
                    done(watching, each)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert 5 == len(reader.records())
    reader.close()
    store.close()
    for suffix in ("-wal", "-shm"):
        (root / f"index.db{suffix}").unlink(missing_ok=True)
    opened = LocalStore(root)
    opened.writer().close()
    anew = opened.reader()
    assert 5 == len(anew.records())
    assert all(anew.get(row.id) for row in anew.records())
    anew.close()
    opened.close()


def damage_page(root: Path, page: int) -> None:
    with (root / "index.db").open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(os.urandom(4096))


@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_damaged_index_is_told_and_made_anew(
    store: LocalStore, reader: LocalReader, root: Path, made: list[str], page: int
) -> None:
    store.close()
    reader.close()
    damage_page(root, page)

    def used() -> None:
        opened = LocalStore(root)
        try:
            opened.writer().close()
            with closing(opened.reader()) as reading:
                for row in reading.records(limit=200):
                    reading.get(row.id)
                reading.news(0)
        finally:
            opened.close()

    with pytest.raises(StoreUnavailable) as caught:
        used()
    assert "index.db" in str(caught.value)
    assert "flowtap rebuild" in str(caught.value)
    assert "\n" not in str(caught.value)

    assert COUNT == rebuild_store(root)
    used()
    with closing(LocalReader(root)) as anew:
        assert made[::-1] == [row.id for row in anew.records()]
        assert all(readable(anew, made))
    assert {"index.db", "keys.db", "secret", "segments", "live"} | {
        "lock.schema",
        "lock.ckpt",
        "lock.sweep",
    } == {path.name for path in root.iterdir()} - {"index.db-wal", "index.db-shm"}


def test_a_damaged_index_is_not_taken_from_under_a_proxy(
    store: LocalStore, reader: LocalReader, root: Path, made: list[str]
) -> None:
    with writing(store):
        damage_page(root, 1)
        with pytest.raises(StoreUnavailable, match="stop the proxy, then rebuild"):
            rebuild_store(root)
        assert (root / "index.db").exists()
    for path in root.glob("index.db*"):
        path.unlink()


def test_damaged_keys_are_not_blamed_on_the_index(store: LocalStore, root: Path) -> None:
    store.close()
    (root / "keys.db").write_bytes(os.urandom(8192))
    for refused in (LocalStore, rebuild_store, LocalReader):
        with pytest.raises(StoreUnavailable) as caught:
            refused(root)
        assert refused is LocalReader or "keys.db" in str(caught.value)
        assert refused is LocalReader or "restore it from a copy" in str(caught.value)
    assert (root / "index.db").exists()


def test_an_older_index_is_rolled_forward(
    store: LocalStore, reader: LocalReader, root: Path, made: list[str]
) -> None:
    older = (root / "index.db").read_bytes()
    with writing(store) as writer:
        after = [record(writer, reader.key("one")).id for _ in range(3)]
        for each in after:
            done(reader, each)
    reader.close()
    store.close()
    for path in root.glob("index.db-*"):
        path.unlink()
    (root / "index.db").write_bytes(older)
    opened = LocalStore(root)
    opened.writer().close()
    anew = opened.reader()
    assert [*after[::-1], *made[::-1]] == [row.id for row in anew.records()]
    anew.close()
    opened.close()


def test_bytes_that_pretend_to_be_a_record_become_none(
    store: LocalStore, reader: LocalReader, root: Path, key: Key
) -> None:
    """A body is anybody's: what it holds must not become another key's record where its frame is torn."""
    other = store.add_key("two", SECRET + "2", 3600)
    forged_id = "01" + "0" * 24
    value = record_json(meta(forged_id, other.id, completed_ms=2**60), request_head(), None, {})
    forged = pack(Kind.RECORD, id_bytes(forged_id), pack_json(value), compress=True)
    with writing(store) as writer:
        one = record(writer, key, response=[os.urandom(5_000) + forged + os.urandom(5_000)])
        done(reader, one.id)
    (segment,) = segment_files(root)
    whole = segment.read_bytes()
    at = whole.find(forged)
    assert at > 0
    segment.write_bytes(whole[: at - 1] + b"\0" + whole[at:])
    assert 1 == store.rebuild()
    assert [one.id] == [row.id for row in reader.records()]


@pytest.mark.parametrize("what", ["link", "folder", "empty", "garbage", "no lock", "stray files"])
def test_what_is_planted_or_left_among_the_parts_stops_no_start(
    store: LocalStore, reader: LocalReader, root: Path, key: Key, tmp_path: Path, what: str
) -> None:
    folder = root / "live" / ("d" * 16)
    part = folder / ("01" + "0" * 24 + ".part")
    folder.mkdir()
    if what != "no lock":
        (folder / "lock").touch()
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    match what:
        case "link":
            part.symlink_to(outside)
        case "folder":
            part.mkdir()
        case "empty":
            part.touch()
        case "garbage":
            part.write_bytes(os.urandom(5_000))
        case "no lock":
            part.write_bytes(MAGIC)
        case _:
            (root / "live" / "stray").touch()
            (root / "segments" / "stray").touch()
            (folder / "notes.txt").touch()
            (folder / ("8" * 26 + ".part")).touch()
    lines: list[str] = []
    with writing(store, lines.append) as writer:
        done(reader, record(writer, key).id)

    assert b"mine" == outside.read_bytes()
    if what in ("empty", "garbage", "no lock"):
        assert [] == parts(root)
        assert any("no readable beginning" in line for line in lines)
    if what in ("link", "folder"):
        assert any("could not be recovered" in line for line in lines)


def test_a_link_planted_for_a_segment_is_not_followed(
    store: LocalStore, reader: LocalReader, root: Path, made: list[str], tmp_path: Path
) -> None:
    (segment,) = segment_files(root)
    moved = tmp_path / "elsewhere"
    segment.rename(moved)
    segment.symlink_to(moved)
    with pytest.raises(BodyMissing, match=made[0]):
        reader.get(made[0])
    segment.unlink()
    moved.rename(segment)
    assert all(readable(reader, made))


def test_a_part_that_cannot_be_opened_is_told(
    store: LocalStore, reader: LocalReader, root: Path, key: Key, tmp_path: Path
) -> None:
    with writing(store) as writer:
        one = record(writer, key, end=False)
        until(lambda: reader.meta(one.id))
        (part,) = parts(root)
        part.rename(tmp_path / "part")
        part.symlink_to(tmp_path / "part")
        with pytest.raises(BodyMissing, match=f"{one.id}.*cannot be read"):
            reader.get(one.id)
        assert reader.live(one.id) is None


def test_an_old_reader_is_told_when_the_store_goes_away(
    store: LocalStore, reader: LocalReader, root: Path, made: list[str]
) -> None:
    with closing(sqlite3.connect(root / "index.db")) as connection, connection:
        connection.execute("ALTER TABLE records RENAME TO gone")
    with pytest.raises(StoreUnavailable, match=r"index\.db.*no such table"):
        reader.records()
