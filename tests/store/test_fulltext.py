"""The index of texts: what it rules out, that it never rules out too much, and that purges leave none of it."""

import contextlib
import sqlite3
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from store.errors import StoreUnavailable
from store.fulltext import (
    Fulltext,
    _Day,
    day_file,
    day_of,
    day_start_ms,
    drop_all,
    drop_days,
    match_of,
    open_day,
    why_not,
)
from store.fulltext_build import Building, _Doc, _put
from store.key_folder import seize
from store.layout import Layout
from store.local import LocalStore
from store.needle import Needle
from store.purge import finish_purges
from store.reader import LocalReader
from store.record import Key, Transport
from store.search import Hit, Where, search
from store.writer import LocalWriter
from tests.store.builders import (
    files_with,
    now_ms,
    request_head,
    response_head,
    segment_files,
    until,
    writing,
)
from tests.store.test_search import asked, streamed

DAY_MS = 24 * 60 * 60 * 1000
WEEK_S = 7 * 24 * 60 * 60

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture
def key(store: LocalStore) -> Key:
    """Kept for a week: all of today is covered."""
    return store.add_key("one", "sk-ant-test-0000000000000000", WEEK_S)


@pytest.fixture
def writer(store: LocalStore, key: Key) -> Iterator[LocalWriter]:
    with writing(store) as made:
        yield made


def put(
    writer: LocalWriter, key: Key, body: bytes, said: str = "ok", *, at_ms: int | None = None
) -> str:
    recording = writer.begin(key, at_ms or now_ms(), request_head(), "messages")
    recording.request_chunk(0, body)
    recording.request_end(1)
    recording.response_head(2, response_head())
    recording.response_chunk(3, streamed(said))
    recording.end(50, Transport.COMPLETE)
    return recording.id


def settle(reader: LocalReader, count: int) -> None:
    until(lambda: reader.counts().records == count and reader.counts().live == 0)


def build(reader: LocalReader, root: Path) -> Building:
    with Building(Layout(root), reader) as building:
        for _ in building.catch_up():
            pass
    return building


def found_in(reader: LocalReader, store: LocalStore, wanted: str, **options: Any) -> list[str]:
    with contextlib.closing(Fulltext(store.layout)) as narrowing:
        found = search(reader, Needle(wanted), narrowing=narrowing, **options)
        return [hit.meta.id for hit in found if isinstance(hit, Hit)]


def read_for(reader: LocalReader, store: LocalStore, wanted: str) -> int:
    """How many records were read for it."""
    with contextlib.closing(Fulltext(store.layout)) as narrowing:
        *_, last = search(reader, Needle(wanted), narrowing=narrowing)
        return last.read  # type: ignore[union-attr]


def day_files(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "fulltext").glob("*/*"))


# -- building and narrowing -----------------------------------------------------------------------


def test_only_what_may_have_it_is_read(
    store: LocalStore, writer: LocalWriter, reader: LocalReader, root: Path, key: Key
) -> None:
    first = put(writer, key, asked(("user", "the Deadline")))
    put(writer, key, asked(("user", "nothing of it")))
    third = put(writer, key, asked(("user", "hi")), "no deadline")
    settle(reader, 3)
    assert build(reader, root).told.indexed == 3
    assert found_in(reader, store, "deadline") == [third, first]
    assert read_for(reader, store, "deadline") == 2
    assert found_in(reader, store, "Deadline") == [first]
    assert found_in(reader, store, "deadline", where=(Where.IN,)) == [first]
    # What came later is searched itself, as is what is too short to be told.
    fourth = put(writer, key, asked(("user", "deadline!")))
    settle(reader, 4)
    assert found_in(reader, store, "deadline") == [fourth, third, first]
    assert read_for(reader, store, "de") == 4
    assert build(reader, root).told.indexed == 1
    assert read_for(reader, store, "deadline!") == 1


def test_a_text_is_found_in_the_turn_that_brought_it(
    store: LocalStore, writer: LocalWriter, reader: LocalReader, root: Path, key: Key
) -> None:
    """And in the first of the day that sent it, where the turn itself is not there."""
    turns = [("user", "zebra one"), ("assistant", "ok"), ("user", "zebra two")]
    begun_before = [("user", "giraffe"), ("assistant", "ok"), *turns]
    ids = [
        put(writer, key, asked(*turns[:1])),
        put(writer, key, asked(*turns)),
        put(writer, key, asked(*turns, ("assistant", "ok"), ("user", "go on"))),
        put(writer, key, asked(*begun_before)),
        put(writer, key, asked(*begun_before, ("assistant", "ok"), ("user", "go on"))),
        put(writer, key, asked(*turns[:1])),
    ]
    settle(reader, len(ids))
    build(reader, root)
    assert set(found_in(reader, store, "zebra one")) == {ids[0], ids[5]}
    assert set(found_in(reader, store, "zebra two")) == {ids[1], ids[3]}
    assert found_in(reader, store, "giraffe") == [ids[3]]
    scanned = [one.meta.id for one in search(reader, Needle("giraffe")) if isinstance(one, Hit)]
    assert scanned == [ids[4], ids[3]]


def test_files_are_the_users_own(
    writer: LocalWriter, reader: LocalReader, root: Path, key: Key
) -> None:
    put(writer, key, asked(("user", "word")))
    settle(reader, 1)
    assert not (root / "fulltext").exists()
    build(reader, root)
    (file,) = (root / "fulltext").glob("*/*")
    assert [path.stat().st_mode & 0o777 for path in (file, file.parent, file.parent.parent)] == [
        0o600,
        0o700,
        0o700,
    ]
    # Pieces, no text: what is in it cannot be read off.
    assert b"the text" not in file.read_bytes()


def test_one_builds_at_a_time(reader: LocalReader, store: LocalStore) -> None:
    second = Building(store.layout, reader)
    with (
        Building(store.layout, reader),
        pytest.raises(StoreUnavailable, match="another flowtap index"),
    ):
        second.__enter__()
    with Building(store.layout, reader):
        pass


@pytest.mark.parametrize("damage", ["noise", "cut", "another format"])
def test_a_damaged_file_costs_time_alone(
    store: LocalStore,
    writer: LocalWriter,
    reader: LocalReader,
    root: Path,
    key: Key,
    damage: str,
) -> None:
    wanted = put(writer, key, asked(("user", "word")))
    put(writer, key, asked(("user", "another")))
    settle(reader, 2)
    build(reader, root)
    (file,) = (root / "fulltext").glob("*/*")
    if damage == "another format":
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA user_version=99")
    else:
        data = file.read_bytes()
        file.write_bytes(b"\xa5" * len(data) if damage == "noise" else data[:5000])
    assert found_in(reader, store, "word") == [wanted]
    assert read_for(reader, store, "word") == 2
    build(reader, root)
    build(reader, root)
    assert found_in(reader, store, "word") == [wanted]
    assert read_for(reader, store, "word") == 1


def test_what_is_damaged_or_too_large_is_left_to_the_scan(
    store: LocalStore,
    writer: LocalWriter,
    reader: LocalReader,
    root: Path,
    key: Key,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("store.fulltext_build.LARGEST", 1000)
    large = put(writer, key, asked(("user", "word " * 1000)))
    settle(reader, 1)
    assert build(reader, root).told.too_large == 1
    assert found_in(reader, store, "word") == [large]
    writer.close()
    (file,) = segment_files(root)
    data = bytearray(file.read_bytes())
    data[150] ^= 0xFF
    file.write_bytes(bytes(data))
    assert build(reader, root).told.unreadable == 1


# -- what is purged -------------------------------------------------------------------------------


def two_days(writer: LocalWriter, reader: LocalReader, key: Key) -> tuple[str, str]:
    """A record of three days ago, and one of now."""
    old = put(writer, key, asked(("user", "canaryold")), at_ms=now_ms() - 3 * DAY_MS)
    new = put(writer, key, asked(("user", "canarynew")))
    settle(reader, 2)
    return old, new


@pytest.mark.check(64)
def test_a_lowered_retention_leaves_no_file_that_it_does_not_cover(
    store: LocalStore, writer: LocalWriter, reader: LocalReader, root: Path, key: Key
) -> None:
    _, new = two_days(writer, reader, key)
    build(reader, root)
    assert day_files(root) == [f"{day_of(now_ms() - n * DAY_MS)}.db" for n in (3, 0)]
    store.set_retention("one", 2 * 24 * 60 * 60)
    assert day_files(root) == [f"{day_of(now_ms())}.db"]
    assert found_in(reader, store, "canary") == [new]
    # An hour: of today a part is outside, so no file may be, unless the day is younger than that.
    store.set_retention("one", 3600)
    young = now_ms() - day_start_ms(day_of(now_ms())) < 3_600_000
    assert (day_files(root) == []) is not young
    build(reader, root)
    assert (day_files(root) == []) is not young
    assert found_in(reader, store, "canary") == [new]


@pytest.mark.check(65)
@pytest.mark.parametrize("how", ["off", "removed"])
def test_a_key_that_goes_takes_its_files_with_it(
    store: LocalStore, writer: LocalWriter, reader: LocalReader, root: Path, key: Key, how: str
) -> None:
    other = store.add_key("two", "sk-ant-test-0002-0002-0002", WEEK_S)
    until(lambda: writer.keys.by_id(other.id) is not None)
    put(writer, key, asked(("user", "quagmire secret")), "quagmire answer")
    kept = put(writer, other, asked(("user", "another")))
    settle(reader, 2)
    build(reader, root)
    assert len(day_files(root)) == 2
    assert files_with(root / "fulltext", b"uag") != []
    # An unfinished transaction of a killed builder has old pages beside the file.
    left = day_file(store.layout, key.id, day_of(now_ms())).with_suffix(".db-journal")
    left.write_bytes(b"quagmire")
    if how == "off":
        store.set_retention("one", None)
    else:
        store.remove_key("one")
    assert not (root / "fulltext" / key.id).exists()
    assert len(day_files(root)) == 1
    # Neither the text nor a piece of it.
    assert files_with(root, b"quagmire") == []
    assert files_with(root, b"uag") == []
    assert found_in(reader, store, "another") == [kept]


def test_a_purge_cut_short_is_finished_with_its_files(
    store: LocalStore,
    writer: LocalWriter,
    reader: LocalReader,
    root: Path,
    key: Key,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However a purge hides its records: what tombstones ask for goes from the index of texts too."""
    old, _ = two_days(writer, reader, key)
    build(reader, root)
    with store._managed() as index:
        meta = reader.meta(old)
        assert meta is not None
        assert meta.completed_ms is not None
        names = [row[0] for row in reader.select("SELECT DISTINCT segment FROM records")]
        index.doom(key.id, meta.completed_ms + 1, names)
        assert len(day_files(root)) == 2
        finish_purges(store.layout, index, store._pins.of_key)
    assert day_files(root) == [f"{day_of(now_ms())}.db"]


def test_nothing_purged_comes_back(
    store: LocalStore,
    writer: LocalWriter,
    reader: LocalReader,
    root: Path,
    key: Key,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A purge between the reading of a record and its writing into the index."""
    put(writer, key, asked(("user", "canary")))
    settle(reader, 1)
    get = reader.get

    def purged_behind(record_id: str) -> Any:
        record = get(record_id)
        store.set_retention("one", None)
        store.set_retention("one", WEEK_S)
        return record

    monkeypatch.setattr(reader, "get", purged_behind)
    assert build(reader, root).told.indexed == 0
    assert day_files(root) in ([], [f"{day_of(now_ms())}.db"])
    assert files_with(root / "fulltext", b"can") == []


def test_a_purge_waits_for_what_is_being_written(
    store: LocalStore,
    writer: LocalWriter,
    reader: LocalReader,
    root: Path,
    key: Key,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(writer, key, asked(("user", "canary")))
    settle(reader, 1)
    held: list[bool] = []

    def watched(connection: sqlite3.Connection, doc: Any) -> None:
        held.append(seize(store.layout, key.id, timeout_s=0.05) is None)

    monkeypatch.setattr("store.fulltext_build._put", watched)
    build(reader, root)
    assert held == [True]


def test_what_is_not_ours_in_the_folder_goes_too(store: LocalStore, key: Key) -> None:
    open_day(store.layout, key.id, "2026-01-02").close()
    folder = store.layout.fulltext / key.id
    (folder / "notes.txt").write_text("canary")
    (folder / "2026-13-45.db").write_text("canary")
    drop_days(store.layout, key.id, day_start_ms("2026-01-02"))
    assert [path.name for path in folder.iterdir()] == ["2026-01-02.db"]
    drop_days(store.layout, key.id, day_start_ms("2026-01-02") + 1)
    assert not folder.exists()
    drop_days(store.layout, key.id, None)
    open_day(store.layout, key.id, "2026-01-02").close()
    drop_all(store.layout)
    assert not store.layout.fulltext.exists()


@pytest.mark.parametrize(
    ("at_ms", "day"),
    [(0, "1970-01-01"), (DAY_MS - 1, "1970-01-01"), (DAY_MS, "1970-01-02"), (1 << 62, "")],
)
def test_days(at_ms: int, day: str) -> None:
    assert day_of(at_ms) == day
    assert not day or day_start_ms(day) <= at_ms < day_start_ms(day) + DAY_MS


# -- queries --------------------------------------------------------------------------------------

HOSTILE = [
    '"',
    '"""',
    "'; DROP TABLE docs; --",
    'x" OR "y',
    "text:hello",
    "hello*",
    "^hello",
    "-hello",
    "NEAR(a b, 3)",
    "a AND b OR NOT c",
    "(((((",
    "{text} : x",
    "%_%",
    "\x00",
    "abc\x00def",
    "\x01\x02\x03",
    "a\nb\nc",
    "日本語テキスト",
    "\U0001f600\U0001f601\U0001f602",
    "ß" * 300,
    "\ufffe\uffff\ufdd0",
    "x" * 1000,
    string.printable,
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStore]:
    """A store for files of its own."""
    made = LocalStore(tmp_path_factory.mktemp("bench") / "store")
    yield made
    made.close()


def rules_out(store: LocalStore, text: str, needle: Needle) -> bool:
    """Whether the index of that one text says that it has not the needle."""
    drop_days(store.layout, "k", None)
    with contextlib.closing(open_day(store.layout, "k", "2026-01-02")) as connection:
        connection.execute("BEGIN")
        _put(connection, _Doc("01JX4000000000000000000000", [], [text], 0, 0))
        connection.execute("COMMIT")
    match = match_of(needle)
    if match is None:
        return False
    day = _Day(day_file(store.layout, "k", "2026-01-02"), match)
    try:
        return bool(list(day.without(["01JX4000000000000000000000"])))
    finally:
        day.close()


@pytest.mark.parametrize("wanted", HOSTILE)
def test_no_query_is_anything_but_text(bench: LocalStore, wanted: str) -> None:
    needle = Needle(wanted)
    assert rules_out(bench, f"before {wanted} after", needle) is False
    assert rules_out(bench, "hello", needle) is (match_of(needle) is not None)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(max_size=20), st.text(min_size=1, max_size=12), st.text(max_size=20))
@example("a\x00", "b\x00cde", "")
@example("", "İı\u0130\u017f", "K")
def test_what_is_there_is_never_ruled_out(
    bench: LocalStore, before: str, wanted: str, after: str
) -> None:
    text = (before + wanted + after).encode("utf-8", "replace").decode()
    wanted = wanted.encode("utf-8", "replace").decode()
    if not wanted.strip():
        return
    for needle in (Needle(wanted), Needle(wanted.casefold()), Needle(wanted.upper())):
        if needle.find(text) is not None:
            assert not rules_out(bench, text, needle)
