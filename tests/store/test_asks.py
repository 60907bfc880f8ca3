"""Asking running proxies to keep what they hold: who is asked, who answers, and what is left of it."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from store.asks import FRESH_S
from store.errors import BadInput
from store.keys import WatchedKeys
from store.local import LocalStore
from store.reader import LocalReader
from store.record import Ask, Kept, Key, KeyKind, State
from store.writer import LocalWriter
from tests.store.builders import PATIENCE_S, SECRET, now_ms, record, until, writing

NOBODY = Kept(0, 0, 0, 0)


def records_of(writer: LocalWriter, ask: Ask, count: int) -> list[str]:
    """What a ring that holds `count` exchanges does when it is asked."""
    key = writer.keys.by_id(ask.key_id)
    assert key is not None, "an ask comes with its key"
    assert key.retention_s is not None
    return [record(writer, key, started_ms=ask.since_ms).id for _ in range(count)]


@contextmanager
def proxies(
    store: LocalStore, *held: int | None, answering: bool = True
) -> Iterator[list[LocalWriter]]:
    """Proxies that hold so many exchanges each; None: one without a ring."""
    stop = threading.Event()
    met: list[Ask] = []

    def answer(writer: LocalWriter, count: int) -> None:
        while not stop.wait(0.01):
            for ask in writer.asks():
                met.append(ask)
                writer.answer(ask, len(records_of(writer, ask, count)))

    with ExitStack() as stack:
        writers = [stack.enter_context(writing(store)) for _ in held]
        with closing(store.reader()) as reader:
            for writer, count in zip(writers, held, strict=True):
                writer.counters.has_ring = count is not None
                writer.announce("127.0.0.1:8080")
            named = {writer.name for writer in writers}
            until(lambda: named <= {status.writer for status in reader.proxies()})
        threads = [
            threading.Thread(target=answer, args=(writer, count))
            for writer, count in zip(writers, held, strict=True)
            if count is not None and answering
        ]
        for thread in threads:
            thread.start()
        try:
            yield writers
        finally:
            stop.set()
            for thread in threads:
                thread.join(PATIENCE_S)
    assert len(met) == len(set(met)) * len(threads), "each is given once"


def left(root: Path) -> list[int]:
    """Asks and answers that are in the store."""
    found = []
    for database, table in (("keys.db", "asks"), ("index.db", "answers")):
        with closing(sqlite3.connect(root / database)) as connection:
            found += connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    return found


def test_every_running_proxy_is_asked_and_its_records_are_there_when_it_has_answered(
    store: LocalStore, reader: LocalReader, root: Path
) -> None:
    since = now_ms() - 60_000
    with proxies(store, 3, 2, None):
        kept = store.keep("kept", since, 3600)

        assert Kept(records=5, answered=2, without_ring=1, silent=0) == kept
        key = reader.key("kept")
        assert (KeyKind.KEPT, None, "", 3600) == (key.kind, key.rule, key.last4, key.retention_s)
        rows = reader.records(key_id=key.id)
        assert [State.DONE] * 5 == [row.state for row in rows]
        assert {since} == {row.started_ms for row in rows}
        assert all(reader.get(row.id) for row in rows)
        assert [0, 0] == left(root)
        assert Kept(5, 2, 1, 0) == store.keep("kept", since, 60)
        assert 10 == len(reader.records(key_id=key.id))
    assert 3600 == reader.key("kept").retention_s


def test_an_ask_says_what_is_asked(store: LocalStore, reader: LocalReader) -> None:
    met: list[Ask] = []

    def answer() -> None:
        (ask,) = until(writer.asks)
        met.append(ask)
        writer.answer(ask, 0)

    with proxies(store, 1, answering=False) as (writer,):
        answering = threading.Thread(target=answer)
        answering.start()
        assert Kept(0, 1, 0, 0) == store.keep("kept", 12_345, 60, " sk-ant-t...0000")
        answering.join(PATIENCE_S)
        assert [] == writer.asks()
    (ask,) = met
    assert (reader.key("kept").id, 12_345, "sk-ant-t…0000") == (
        ask.key_id,
        ask.since_ms,
        ask.fingerprint,
    )


@pytest.mark.parametrize("running", [[], [None], [None, None]])
def test_where_no_proxy_has_a_ring_nobody_is_asked_and_nothing_changes(
    store: LocalStore, reader: LocalReader, running: list[None]
) -> None:
    begun = time.monotonic()
    with proxies(store, *running):
        assert Kept(0, 0, len(running), 0) == store.keep("kept", 0, 60, timeout_s=60.0)
    assert [] == reader.keys()
    assert time.monotonic() - begun < 60.0


def test_a_proxy_that_is_gone_is_not_asked(store: LocalStore, reader: LocalReader) -> None:
    with proxies(store, 1):
        pass
    assert 1 == len(reader.proxies())
    assert NOBODY == store.keep("kept", 0, 60, timeout_s=60.0)


def test_one_that_does_not_answer_is_waited_for_and_told(
    store: LocalStore, reader: LocalReader, root: Path
) -> None:
    with proxies(store, 1, answering=False) as (writer,):
        assert Kept(0, 0, 0, 1) == store.keep("kept", 0, 60, timeout_s=1.5)
        assert [0, 0] == left(root)
        # It comes round only now; nobody listens any more, and the next sweep takes it away.
        for ask in until(writer.asks):
            writer.answer(ask, 0)
        until(lambda: left(root) == [0, 1])
        store.sweep()
        assert [0, 1] == left(root), "not before it is old"
        with closing(sqlite3.connect(root / "index.db")) as connection, connection:
            connection.execute("UPDATE answers SET at_ms = at_ms - 120000")
        store.sweep()
        assert [0, 0] == left(root)


def test_one_that_dies_in_between_is_not_waited_for(
    store: LocalStore, reader: LocalReader, root: Path
) -> None:
    begun = time.monotonic()
    with proxies(store, 1, answering=False) as (dying,), proxies(store, 2):

        def die() -> None:
            until(dying.asks)
            dying._lock.release()

        killing = threading.Thread(target=die)
        killing.start()
        assert Kept(2, 1, 0, 1) == store.keep("kept", 0, 60, timeout_s=60.0)
        killing.join(PATIENCE_S)
    assert time.monotonic() - begun < 60.0
    assert [0, 0] == left(root)


# -- the key ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before_s", "asked_s", "after_s"), [(None, 60, 60), (30, 60, 60), (60, 60, 60), (90, 60, 90)]
)
def test_the_key_keeps_at_least_as_long_as_was_asked(
    store: LocalStore, reader: LocalReader, before_s: int | None, asked_s: int, after_s: int
) -> None:
    with proxies(store, 0):
        store.keep("kept", 0, 60)
        before = reader.key("kept")
        store._keys.set_retention("kept", before_s)
        assert 1 == store.keep("kept", 0, asked_s).answered
    assert (before.id, after_s) == (reader.key("kept").id, reader.key("kept").retention_s)


@pytest.mark.check(2)
def test_a_key_of_what_was_kept_matches_nothing(store: LocalStore, reader: LocalReader) -> None:
    with proxies(store, 0):
        store.keep("kept", 0, 60)
    key = reader.key("kept")
    ring = WatchedKeys(store.layout)
    assert key == ring.keys.by_id(key.id)
    assert 0 == ring.keys.on
    for credential in (b"", b"kept", key.id.encode(), b"kept\0\0" + key.id.encode()):
        assert ring.keys.match([credential], ((b"kept", credential),)) is None
    ring.close()
    assert 0 == store.set_retention("kept", None)
    assert "past" == store.rename_key("kept", "past").name
    assert 0 == store.remove_key("past")


@pytest.mark.parametrize(
    ("name", "retention_s", "says"),
    [
        ("one", 60, "The key 'one' records traffic of its own; name another"),
        ("", 60, "name is 1 to 64"),
        ("a\nb", 60, "printable"),
        ("kept", 0, "from 1 second"),
        ("kept", 315_360_001, "from 1 second"),
    ],
)
@pytest.mark.parametrize("running", [0, 1])
def test_what_cannot_be_asked_changes_nothing(
    store: LocalStore,
    reader: LocalReader,
    root: Path,
    name: str,
    retention_s: int,
    says: str,
    running: int,
) -> None:
    one = store.add_key("one", SECRET)
    with proxies(store, *[0] * running), pytest.raises(BadInput, match=says):
        store.keep(name, 0, retention_s)
    assert [one] == reader.keys()
    assert [0, 0] == left(root)


def test_two_that_ask_at_once_share_the_key(
    store: LocalStore, reader: LocalReader, root: Path
) -> None:
    answers: list[Kept] = []

    def ask() -> None:
        with closing(LocalStore(root)) as other:
            answers.append(other.keep("kept", now_ms(), 60, timeout_s=PATIENCE_S))

    with proxies(store, 1, 1):
        asking = [threading.Thread(target=ask) for _ in range(3)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join(PATIENCE_S)
    assert [Kept(2, 2, 0, 0)] * 3 == answers
    (key,) = reader.keys()
    assert 6 == len(reader.records(key_id=key.id))


def test_a_name_taken_between_the_look_and_the_ask_is_bad_input(
    store: LocalStore, reader: LocalReader, root: Path
) -> None:
    """The lost race: another process makes a key of that name just before."""
    with proxies(store, 1), closing(LocalStore(root)) as other:
        look = other._keys.check_kept

        def look_and_lose(name: str) -> None:
            look(name)
            other._keys.check_kept = look  # type: ignore[method-assign]
            store.add_key(name, SECRET)

        other._keys.check_kept = look_and_lose  # type: ignore[method-assign]
        with pytest.raises(BadInput, match="'kept' records traffic of its own"):
            other.keep("kept", 0, 60)
    (key,) = reader.keys()
    assert KeyKind.SECRET is key.kind
    assert [0, 0] == left(root)


# -- the writer's side -----------------------------------------------------------------------


def ask_by_hand(root: Path, key: Key, created_ms: int, ask_id: str = "a" * 16) -> None:
    with closing(sqlite3.connect(root / "keys.db")) as connection, connection:
        connection.execute(
            "INSERT INTO asks (id, key_id, since_ms, created_ms) VALUES (?, ?, 0, ?)",
            (ask_id, key.id, created_ms),
        )


def test_a_proxy_does_not_answer_what_was_asked_before_it_or_long_ago(
    store: LocalStore, key: Key, root: Path
) -> None:
    ask_by_hand(root, key, now_ms(), "before")
    with writing(store) as writer:
        ask_by_hand(root, key, now_ms() - int(FRESH_S * 1000) - 1_000, "old")
        ask_by_hand(root, key, now_ms(), "new")
        assert ["new"] == [ask.id for ask in until(writer.asks)]
        ask_by_hand(root, key, now_ms(), "newer")
        assert ["newer"] == [ask.id for ask in until(writer.asks)]
        assert [] == writer.asks()


def test_what_a_killed_one_asked_goes_with_the_next_ask_or_sweep(
    store: LocalStore, reader: LocalReader, key: Key, root: Path
) -> None:
    for clean in (lambda: store.sweep(), lambda: store.keep("kept", 0, 60)):
        ask_by_hand(root, key, now_ms() - 120_000)
        with proxies(store, 0):
            clean()
        assert [0, 0] == left(root)
    version = reader.version()
    store.sweep()
    assert version == reader.version(), "nothing is written where nothing is left"


def test_looking_for_asks_costs_nothing_while_nothing_changes(store: LocalStore, key: Key) -> None:
    ring = WatchedKeys(store.layout)
    asked: list[str] = []
    ring._connection.set_trace_callback(asked.append)
    for _ in range(3):
        ring.refresh()
        assert [] == ring.asks.take()
    assert ["PRAGMA data_version"] * 3 == asked
    ring.close()


def test_an_answer_waits_for_the_rows_of_what_was_kept_but_not_for_ever(
    store: LocalStore, key: Key, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that refuses must not leave who asked without an answer."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("store.writer.ANSWER_S", 0.1)
    with writing(store) as writer:
        ask_by_hand(root, key, now_ms())
        (ask,) = until(writer.asks)
        with monkeypatch.context() as patch:
            patch.setattr("store.segments.SegmentWriter._append", refuse)
            records_of(writer, ask, 1)
            writer.answer(ask, 1)
            until(lambda: left(root)[1] == 1)


def test_what_is_answered_last_is_told_by_a_writer_that_closes(
    store: LocalStore, key: Key, root: Path
) -> None:
    with writing(store) as writer:
        ask_by_hand(root, key, now_ms())
        (ask,) = until(writer.asks)
        records_of(writer, ask, 2)
        writer.answer(ask, 2)
    assert [1, 1] == left(root)


def test_answers_that_could_not_be_written_are_written_later(
    store: LocalStore, key: Key, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.writer.INDEX_PATIENCE_S", 0.01)
    with writing(store) as writer:
        ask_by_hand(root, key, now_ms())
        (ask,) = until(writer.asks)
        with closing(sqlite3.connect(root / "index.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            writer.answer(ask, 7)
            until(lambda: writer.trouble)
        until(lambda: left(root) == [1, 1])
    wanted: Callable[[], list[tuple[str, int]]]
    with closing(sqlite3.connect(root / "index.db")) as connection:
        wanted = connection.execute("SELECT ask, records FROM answers").fetchall
        assert [(ask.id, 7)] == wanted()
