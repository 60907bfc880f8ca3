"""Reading: pages, cursors, what is hidden, news, and plans that stay fast on any table."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from store.contract import PAGE, PAGE_CAP
from store.errors import BadInput, BodyMissing, StoreUnavailable
from store.index import Index, Row
from store.local import LocalStore
from store.reader import LocalReader
from store.record import RecordMeta, State, Transport, Verdict
from store.segments import Place
from tests.store.builders import SECRET, done, meta, now_ms, record, until, writing


def ids(rows: list[RecordMeta]) -> list[str]:
    return [row.id for row in rows]


def number(count: int) -> str:
    return f"01{count:024d}"


def fill(
    store: LocalStore, key_id: str, numbers: range, *, completed_ms: int | None = None
) -> None:
    """Rows without bodies."""
    index = Index(store.layout)
    index.put(
        Row(
            meta(
                number(each),
                key_id,
                completed_ms=now_ms() if completed_ms is None else completed_ms,
            ),
            "w",
            Place(f"{key_id}/none.seg", 0, 0),
        )
        for each in numbers
    )
    index.close()


@pytest.mark.check(53, 96)
@pytest.mark.parametrize(
    ("limit", "length"), [(1, 1), (99, 99), (200, 200), (201, 200), (1000, 200), (10**30, 200)]
)
def test_a_page_is_never_longer_than_the_cap(
    store: LocalStore, reader: LocalReader, limit: int, length: int
) -> None:
    key = store.add_key("one", SECRET, 3600)
    fill(store, key.id, range(205))

    assert length == len(reader.records(limit=limit)) == len(reader.news(0, limit=limit))
    assert length == len(reader.records(key_id=key.id, limit=limit))


@pytest.mark.check(96)
def test_a_page_s_default_and_what_is_no_limit(store: LocalStore, reader: LocalReader) -> None:
    key = store.add_key("one", SECRET, 3600)
    fill(store, key.id, range(205))

    assert (PAGE, 100, 200) == (len(reader.records()), PAGE, PAGE_CAP)
    for limit in (0, -1, True, False):
        with pytest.raises(BadInput, match="1 to 200"):
            reader.records(limit=limit)
        with pytest.raises(BadInput, match="1 to 200"):
            reader.news(0, limit=limit)


@pytest.mark.check(50, 51, 52)
@pytest.mark.parametrize("page", [1, 7, 200])
def test_pages_are_the_whole_list_newest_first_without_repeats(
    store: LocalStore, reader: LocalReader, page: int
) -> None:
    one, two = store.add_key("one", SECRET, 3600), store.add_key("two", SECRET + "1", 3600)
    fill(store, one.id, range(0, 60, 2))
    fill(store, two.id, range(1, 60, 2))
    for key_id, expected in (
        (None, range(60)),
        (one.id, range(0, 60, 2)),
        (two.id, range(1, 60, 2)),
    ):
        found: list[str] = []
        before = None
        while rows := reader.records(key_id=key_id, before=before, limit=page):
            found += ids(rows)
            before = rows[-1].id
        assert [number(each) for each in reversed(expected)] == found


@pytest.mark.check(54)
@pytest.mark.parametrize("call", ["records", "page", "key", "key page", "news", "key news"])
def test_lists_run_on_one_index_in_its_own_order(
    store: LocalStore, reader: LocalReader, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    key = store.add_key("one", SECRET, 3600)
    asked: list[tuple[str, object]] = []
    answer = reader._all

    def noted(sql: str, parameters: object = ()) -> list[object]:
        asked.append((sql, parameters))
        return answer(sql, parameters)

    monkeypatch.setattr(reader, "_all", noted)
    {
        "records": lambda: reader.records(),
        "page": lambda: reader.records(before=number(5)),
        "key": lambda: reader.records(key_id=key.id),
        "key page": lambda: reader.records(key_id=key.id, before=number(5)),
        "news": lambda: reader.news(5),
        "key news": lambda: reader.news(5, key_id=key.id),
    }[call]()
    sql, parameters = next(each for each in asked if "FROM records" in each[0])
    plan = " | ".join(row[3] for row in answer(f"EXPLAIN QUERY PLAN {sql}", parameters))

    assert "TEMP B-TREE" not in plan
    if "news" in call:
        assert "INTEGER PRIMARY KEY (rowid>?)" in plan
    elif "key" in call:
        assert "records_key_id (key_id=?" in plan
    else:
        assert "autoindex" in plan


@pytest.mark.check(62, 63, 68)
def test_the_expired_are_hidden_at_once_and_shown_again_when_the_retention_is_raised(
    store: LocalStore, root: Path
) -> None:
    key = store.add_key("one", SECRET, 60)
    now = 1_000_000_000
    reader = LocalReader(root, lambda: now)
    for each, age_ms in enumerate((60_001, 60_000, 59_999, 0)):
        fill(store, key.id, range(each, each + 1), completed_ms=now - age_ms)
    kept = [number(3), number(2), number(1)]

    assert kept == ids(reader.records()) == ids(reader.records(key_id=key.id))
    assert [*reversed(kept)] == ids(reader.news(0))
    assert reader.meta(number(0)) is None
    assert reader.get(number(0)) is None
    assert 3 == reader.counts().records == reader.counts(key.id).records
    assert 0 == store.set_retention("one", 61)
    assert [*kept, number(0)] == ids(reader.records())
    assert reader.meta(number(0)) is not None
    reader.close()


def test_of_a_key_that_is_off_or_unknown_nothing_is_shown(
    store: LocalStore, reader: LocalReader
) -> None:
    off = store.add_key("off", SECRET)
    fill(store, off.id, range(3))
    fill(store, "removed", range(3, 6))
    for key_id in (None, off.id, "removed", "../..", "' OR 1=1 --"):
        assert [] == reader.records(key_id=key_id) == reader.news(0, key_id=key_id)
        assert 0 == reader.counts(key_id).records
    assert reader.meta(number(0)) is None


@pytest.mark.check(84)
def test_rows_in_flight_do_not_expire(store: LocalStore, root: Path) -> None:
    key = store.add_key("one", SECRET, 1)
    index = Index(store.layout)
    live = meta(number(1), key.id, state=State.LIVE, completed_ms=None, verdict=None)
    index.put([Row(live, "gone")])
    index.close()
    reader = LocalReader(root, lambda: 10**15)

    (row,) = reader.records()
    assert (State.LIVE, Verdict.INTERRUPTED) == (row.state, row.verdict)
    assert [row] == reader.records(key_id=key.id)
    assert (1, 0, 1) == (reader.counts().records, reader.counts().errors, reader.counts().live)
    with pytest.raises(BodyMissing, match=f"{row.id}.*part"):
        reader.get(row.id)
    assert reader.live(row.id) is None
    assert reader.live_bytes(row.id) is None
    reader.close()


@pytest.mark.parametrize(
    "record_id",
    [
        "",
        ".",
        "../" * 9,
        "/etc/passwd",
        "\0" * 26,
        "I" * 26,
        "0" * 25,
        "0" * 27,
        "x" * 300,
        "0" * 25 + "\n",
    ],
)
def test_what_is_no_id_is_refused(store: LocalStore, reader: LocalReader, record_id: str) -> None:
    for ask in (reader.get, reader.meta, reader.live, reader.live_bytes):
        with pytest.raises(BadInput, match="not a record id"):
            ask(record_id)
    with pytest.raises(BadInput, match="not a record id"):
        reader.records(before=record_id)


@pytest.mark.parametrize("record_id", ["Z" * 26, "0" * 26])
def test_an_id_of_no_record_is_none(reader: LocalReader, record_id: str) -> None:
    for ask in (reader.get, reader.meta, reader.live):
        assert ask(record_id) is None
    assert reader.live_bytes(record_id) is None


def test_a_row_that_makes_no_sense_is_the_store_s_fault(
    store: LocalStore, root: Path, reader: LocalReader
) -> None:
    key = store.add_key("one", SECRET, 3600)
    fill(store, key.id, range(1))
    with closing(sqlite3.connect(root / "index.db")) as connection, connection:
        connection.execute("UPDATE records SET verdict = 'fine'")
    with pytest.raises(StoreUnavailable, match="flowtap rebuild"):
        reader.records()


@pytest.mark.check(78, 80, 82)
def test_news_is_in_commit_order_and_each_can_be_read_in_full(
    store: LocalStore, reader: LocalReader
) -> None:
    one, two = store.add_key("one", SECRET, 3600), store.add_key("two", SECRET + "1", 3600)
    start = reader.last_seq()
    with writing(store) as writer:
        slow = record(writer, one, end=False)
        until(lambda: reader.meta(slow.id))
        quick = record(writer, two)
        done(reader, quick.id)
        slow.end(100, Transport.COMPLETE)
        done(reader, slow.id)
    news = reader.news(start)

    assert sorted(row.seq for row in news) == [row.seq for row in news]
    assert [quick.id, slow.id] == ids([row for row in news if row.state is State.DONE])
    assert {slow.id} == set(ids(reader.news(start, key_id=one.id)))
    assert [slow.id, quick.id] == sorted([slow.id, quick.id])
    assert [quick.id, slow.id] == ids(reader.records())
    assert [] == reader.news(reader.last_seq())
    for row in news:
        assert reader.get(row.id) is not None


def test_a_version_changes_with_each_commit_elsewhere_and_a_generation_with_each_purge(
    store: LocalStore, reader: LocalReader
) -> None:
    version, generation = reader.version(), reader.generation()
    key = store.add_key("one", SECRET, 3600)
    assert version < reader.version()
    assert generation < reader.generation()
    version, generation = reader.version(), reader.generation()
    fill(store, key.id, range(3))
    assert version < reader.version()
    assert generation == reader.generation()
    assert version + 1 >= reader.version()
    assert 3 == store.purge() + 3
    store.set_retention("one", None)
    assert generation < reader.generation()


def test_a_reader_follows_to_an_index_made_anew(
    store: LocalStore, root: Path, reader: LocalReader
) -> None:
    key = store.add_key("one", SECRET, 3600)
    fill(store, key.id, range(3))
    version, generation = reader.version(), reader.generation()
    assert 3 == len(reader.records())
    store.close()
    (root / "index.db").unlink()
    again = LocalStore(root)

    assert version < reader.version()
    assert generation < reader.generation()
    assert [] == reader.records()
    again.close()
