"""Who passed unmatched: counted and told, opted in by the fingerprint, and never a secret on the disk."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from store.errors import BadInput, StoreUnavailable
from store.index import Index, SeenRow
from store.key_rules import glob_rule
from store.keys import HashedKeys
from store.local import LocalStore
from store.reader import LocalReader
from store.record import Key, Seen
from store.seen import CLIENT_LIMIT, ENTRIES, HOST_LIMIT, SEEN_DAYS, Senders
from tests.store.builders import files_with, now_ms, record, until, writing

CREDENTIAL = b"sk-ant-test-canary-51e2-0007"
PRINT = "sk-ant-t…0007"
OTHER = b"sk-ant-test-canary-9a3c-0008"
CLIENT = "claude-cli/2.1.197"

type Line = tuple[str | None, str, str | None, int, str | None]


def lines(reader: LocalReader) -> list[Line]:
    return [
        (each.fingerprint, each.host, each.client, each.count, each.key_id)
        for each in reader.seen()
    ]


def total(reader: LocalReader) -> int:
    return sum(each.count for each in reader.seen())


@pytest.fixture
def passed(store: LocalStore, reader: LocalReader) -> Callable[..., list[Seen]]:
    """Calls that passed one after the other, as they are told."""

    def tell(*calls: tuple[bytes | None, str, str | None]) -> list[Seen]:
        before = total(reader)
        with writing(store) as writer:
            for call in calls:
                writer.unmatched(*call)
            until(lambda: total(reader) >= before + len(calls))
        return reader.seen()

    return tell


def test_who_passed_is_told_within_a_second_by_fingerprint_host_and_client(
    store: LocalStore, reader: LocalReader
) -> None:
    begun = now_ms()
    with writing(store) as writer:
        writer.unmatched(CREDENTIAL, "api.test", CLIENT)
        until(lambda: total(reader) == 1)
        version = reader.version()
        for _ in range(3):
            writer.unmatched(CREDENTIAL, "api.test", CLIENT)
        writer.unmatched(None, "other.test", None)
        until(lambda: total(reader) == 5)
        assert version < reader.version()
        assert [
            (None, "other.test", None, 1, None),
            (PRINT, "api.test", CLIENT, 4, None),
        ] == sorted(lines(reader), key=lambda line: line[3])
    for each in reader.seen():
        assert begun <= each.first_ms <= each.last_ms <= now_ms()


def test_nothing_new_is_no_commit(store: LocalStore, reader: LocalReader) -> None:
    with writing(store) as writer:
        writer.unmatched(CREDENTIAL, "api.test", CLIENT)
        until(lambda: total(reader) == 1)
        version = reader.version()
        rounds: list[object] = []
        writer._senders.tell(rounds.append)
        assert not writer._senders
        assert [[]] == rounds
        assert version == reader.version()


def test_the_latest_comes_first_and_proxies_add_up(
    store: LocalStore, reader: LocalReader, root: Path
) -> None:
    with writing(store) as one, writing(store) as two:
        one.unmatched(CREDENTIAL, "api.test", CLIENT)
        until(lambda: total(reader) == 1)
        two.unmatched(OTHER, "api.test", CLIENT)
        until(lambda: total(reader) == 2)
        assert ["sk-ant-t…0008", PRINT] == [each.fingerprint for each in reader.seen()]
        two.unmatched(CREDENTIAL, "api.test", CLIENT)
        until(lambda: total(reader) == 3)
        assert [PRINT, "sk-ant-t…0008"] == [each.fingerprint for each in reader.seen()]
    assert [2, 1] == [each.count for each in reader.seen()]


def test_what_is_counted_last_is_told_by_a_writer_that_closes(
    store: LocalStore, reader: LocalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.writer.SEEN_S", 3_600.0)
    with writing(store) as writer:
        writer.unmatched(CREDENTIAL, "api.test", CLIENT)
        until(lambda: total(reader) == 1)
        for _ in range(6):
            writer.unmatched(CREDENTIAL, "api.test", CLIENT)
        assert 1 == total(reader)
    assert [(PRINT, "api.test", CLIENT, 7, None)] == lines(reader)


@pytest.mark.check(2)
def test_neither_the_secret_nor_anything_of_the_call_is_in_the_store(
    passed: Callable[..., list[Seen]], store: LocalStore, root: Path
) -> None:
    assert passed((CREDENTIAL, "api.test", CLIENT))
    store.close()

    for piece in (CREDENTIAL, CREDENTIAL[8:-4], b"canary"):
        assert [] == files_with(root, piece)
    assert files_with(root, b"api.test")


@pytest.mark.parametrize(
    ("host", "client", "told_host", "told_client"),
    [
        ("h" * 1_000, "c" * 1_000, "h" * HOST_LIMIT, "c" * CLIENT_LIMIT),
        ("a\x1b[31mb", "c\n\0", "a?[31mb", "c??"),
        ("\ud800", "\u202ex", "?", "?x"),
        ("", "", "", None),
        ("ключ.test", "Zoë/1", "ключ.test", "Zoë/1"),
    ],
)
def test_texts_are_bounded_and_printable(
    passed: Callable[..., list[Seen]], host: str, client: str, told_host: str, told_client: str
) -> None:
    (each,) = passed((CREDENTIAL, host, client))

    assert (told_host, told_client) == (each.host, each.client)


def test_a_proxy_counts_a_bounded_number_and_forgets_the_least_recent() -> None:
    senders, keys = Senders(3), HashedKeys(b"s", ())
    for number in (1, 2, 3, 1, 4):
        senders.count(keys, None, f"h{number}", None)
    assert {"h1", "h3", "h4"} == {host for _, host, _ in senders._senders}
    for number in range(1_000):
        senders.count(keys, None, f"x{number}", None)
    rows: list[SeenRow] = []
    senders.tell(rows.extend)
    assert ["x997", "x998", "x999"] == [row.host for row in rows]


def test_a_row_that_could_not_be_told_is_told_later_whole() -> None:
    senders, keys = Senders(), HashedKeys(b"s", ())
    senders.count(keys, None, "a", None)
    senders.count(keys, None, "a", None)

    def refuse(_: list[SeenRow]) -> None:
        senders.count(keys, None, "a", None)
        raise sqlite3.OperationalError("database is locked")

    for _ in range(3):
        with pytest.raises(sqlite3.OperationalError):
            senders.tell(refuse)
    rows: list[SeenRow] = []
    senders.tell(rows.extend)
    senders.tell(rows.extend)
    assert [5] == [row.calls for row in rows]


def test_counting_and_telling_at_once_loses_nothing() -> None:
    senders, keys = Senders(10), HashedKeys(b"s", ())
    told: list[SeenRow] = []

    def count() -> None:
        for number in range(20_000):
            senders.count(keys, None, f"h{number % 7}", None)

    counting = threading.Thread(target=count)
    counting.start()
    while counting.is_alive():
        senders.tell(told.extend)
    senders.tell(told.extend)

    assert 20_000 == sum(row.calls for row in told)


# -- who is in the list ----------------------------------------------------------------------


def test_a_credential_that_is_a_key_that_is_on_is_not_in_it(
    passed: Callable[..., list[Seen]], store: LocalStore, reader: LocalReader
) -> None:
    passed((CREDENTIAL, "api.test", CLIENT), (OTHER, "api.test", CLIENT))
    key = store.add_key("one", CREDENTIAL.decode())

    assert {PRINT: key.id, "sk-ant-t…0008": None} == {
        each.fingerprint: each.key_id for each in reader.seen()
    }
    store.set_retention("one", 60)
    assert ["sk-ant-t…0008"] == [each.fingerprint for each in reader.seen()]
    store.set_retention("one", None)
    assert 2 == len(reader.seen())
    store.remove_key("one")
    assert {None} == {each.key_id for each in reader.seen()}


def test_a_credential_of_a_rule_that_is_off_is_told_with_its_key(
    store: LocalStore, reader: LocalReader
) -> None:
    with writing(store) as writer:
        writer.unmatched(CREDENTIAL, "api.test", CLIENT)
        until(lambda: total(reader) == 1)
        key = store.add_rule("glob", glob_rule("sk-ant-test-*"))
        until(lambda: writer.keys.by_id(key.id))
        writer.unmatched(CREDENTIAL, "api.test", CLIENT)
        until(lambda: [each.key_id for each in reader.seen()] == [key.id])
        store.set_retention("glob", 60)
        assert [] == reader.seen()
        store.set_retention("glob", None)
        assert [key.id] == [each.key_id for each in reader.seen()]
        named = store.add_key("secret", CREDENTIAL.decode())
        assert [named.id] == [each.key_id for each in reader.seen()]
        store.set_retention("glob", 60)
        assert [named.id] == [each.key_id for each in reader.seen()], "the secret decides"


def test_two_credentials_that_look_alike_are_one_line(
    passed: Callable[..., list[Seen]], reader: LocalReader
) -> None:
    passed((b"short", "a.test", None), (b"other", "a.test", None), (b"short", "b.test", None))

    assert {("…", "a.test", 2), ("…", "b.test", 1)} == {
        (each.fingerprint, each.host, each.count) for each in reader.seen()
    }


# -- opting in -------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", [PRINT, "sk-ant-t...0007", f" {PRINT}\n"])
def test_who_passed_becomes_a_key_without_its_secret(
    passed: Callable[..., list[Seen]],
    store: LocalStore,
    reader: LocalReader,
    root: Path,
    typed: str,
) -> None:
    passed((CREDENTIAL, "api.test", CLIENT), (CREDENTIAL, "b.test", None), (OTHER, "b.test", None))
    key = store.add_seen("one", typed, 60)

    assert ("one", "0007", 60, None) == (key.name, key.last4, key.retention_s, key.rule)
    assert key == reader.key("one")
    with writing(store) as writer:
        assert key == writer.keys.match([CREDENTIAL], ())
        assert writer.keys.match([OTHER], ()) is None
    assert ["sk-ant-t…0008"] == [each.fingerprint for each in reader.seen()]
    with pytest.raises(BadInput, match="This secret is already the key 'one'"):
        store.add_key("two", CREDENTIAL.decode())
    with pytest.raises(BadInput, match=r"already the key 'one'.*flowtap keys set"):
        store.add_seen("two", typed)
    store.close()
    assert [] == files_with(root, b"canary")


def test_a_fingerprint_nobody_has_is_told_with_those_there_are(
    passed: Callable[..., list[Seen]], store: LocalStore, reader: LocalReader
) -> None:
    with pytest.raises(BadInput, match=r"No call of 'sk-none…' has passed. Seen: none yet[.]"):
        store.add_seen("one", "sk-none…")
    passed((CREDENTIAL, "api.test", CLIENT), (None, "other.test", CLIENT))
    with pytest.raises(BadInput, match=rf"Seen: {PRINT} \(api.test\)[.]$"):
        store.add_seen("one", "sk-none…")
    with pytest.raises(BadInput, match="No call of ''"):
        store.add_seen("one", "")
    with pytest.raises(BadInput, match="name is 1 to 64"):
        store.add_seen("", PRINT)
    with pytest.raises(BadInput, match="from 1 second"):
        store.add_seen("one", PRINT, 0)
    assert [] == reader.keys()


def test_a_fingerprint_that_several_have_is_refused_with_their_hosts(
    passed: Callable[..., list[Seen]], store: LocalStore, reader: LocalReader
) -> None:
    passed((b"short", "a.test", None), (b"other", "b.test", None))
    with pytest.raises(BadInput, match=r"2 credentials look like '…' \(sent to b.test, a.test\)"):
        store.add_seen("one", "…")
    assert [] == reader.keys()


def test_a_short_credential_shows_nothing_of_itself(
    passed: Callable[..., list[Seen]], store: LocalStore
) -> None:
    passed((b"short", "a.test", None))

    assert "" == store.add_seen("one", "…").last4


# -- upkeep ----------------------------------------------------------------------------------


def rows(index: Index) -> list[str]:
    return [host for (host,) in index.connection.execute("SELECT host FROM seen ORDER BY last_ms")]


def test_a_sweep_forgets_who_has_not_been_seen_for_a_week(
    store: LocalStore, reader: LocalReader
) -> None:
    now, week = now_ms(), SEEN_DAYS * 24 * 3_600_000
    index = Index(store.layout)
    index.put_seen(
        SeenRow("a" * 64, host, "", PRINT, None, 1, 0, now - age)
        for host, age in (("old", week + 60_000), ("young", week - 60_000))
    )
    store.sweep()
    assert ["young"] == rows(index)
    version = reader.version()
    store.sweep()
    assert version == reader.version(), "no commit where there is nothing to forget"
    index.close()


def test_a_sweep_keeps_the_latest_of_too_many(store: LocalStore) -> None:
    now = now_ms()
    index = Index(store.layout)
    index.put_seen(
        SeenRow("a" * 64, f"h{each}", "", PRINT, None, 1, 0, now - 1_000 + each)
        for each in range(ENTRIES + 5)
    )
    store.sweep()
    assert [f"h{each}" for each in range(5, ENTRIES + 5)] == rows(index)
    index.forget_seen(now + 1, ENTRIES)
    assert [] == rows(index)
    index.close()


def test_a_locked_index_costs_no_count_and_no_record(
    store: LocalStore, reader: LocalReader, key: Key, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.writer.INDEX_PATIENCE_S", 0.01)
    with writing(store) as writer:
        with closing(sqlite3.connect(root / "index.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            writer.unmatched(CREDENTIAL, "api.test", CLIENT)
            one = record(writer, key)
            until(lambda: writer.trouble)
            writer.unmatched(CREDENTIAL, "api.test", CLIENT)
        until(lambda: reader.meta(one.id))
        until(lambda: total(reader) == 2)


def test_seen_of_a_damaged_index_is_said(
    store: LocalStore, reader: LocalReader, root: Path
) -> None:
    with closing(sqlite3.connect(root / "index.db")) as connection, connection:
        connection.execute("DROP TABLE seen")
    with pytest.raises(StoreUnavailable, match="no such table"):
        reader.seen()
