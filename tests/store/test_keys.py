"""Keys: names and secrets that can be, hashes instead of secrets, news of changes elsewhere."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from store.errors import BadInput, StoreUnavailable
from store.keys import HashedKeys, WatchedKeys, credential_hash
from store.local import LocalStore
from store.reader import LocalReader
from tests.store.builders import SECRET, files_with


@pytest.mark.check(1, 4, 5, 6)
def test_a_key_is_off_until_it_has_a_retention(store: LocalStore, reader: LocalReader) -> None:
    added = store.add_key("one", SECRET)

    assert added.retention_s is None
    for retention_s in (60, None, 60, 3600, 30, None):
        store.set_retention("one", retention_s)
        assert retention_s == reader.key("one").retention_s == reader.keys()[0].retention_s
        ring = WatchedKeys(store.layout)
        found = ring.keys.match(SECRET.encode())
        ring.close()
        assert found == reader.key("one")


def test_no_secret_is_in_the_store(store: LocalStore, root: Path) -> None:
    store.add_key("one", SECRET, 60)
    store.close()

    assert [] == files_with(root, SECRET.encode())
    with closing(sqlite3.connect(root / "keys.db")) as connection:
        (row,) = connection.execute("SELECT * FROM keys").fetchall()
    assert credential_hash((root / "secret").read_bytes(), SECRET.encode()) in row
    assert SECRET[-4:] in row


@pytest.mark.parametrize(
    ("name", "secret", "retention_s", "says"),
    [
        ("", "sk-test", None, "name is 1 to 64"),
        ("x" * 65, "sk-test", None, "name is 1 to 64"),
        (" x", "sk-test", None, "without blanks"),
        ("a\nb", "sk-test", None, "printable"),
        ("\x1b[31m", "sk-test", None, "printable"),
        ("one", "sk-test", None, "already a key named 'one'"),
        ("two", "", None, "secret is empty"),
        ("two", "  ", None, "secret is empty"),
        ("two", "Bearer sk-test", None, "without `Bearer`"),
        ("two", SECRET, None, "already the key 'one'"),
        ("two", f" {SECRET}\n", None, "already the key 'one'"),
        ("two", "sk-test", 0, "from 1 second"),
        ("two", "sk-test", -1, "from 1 second"),
        ("two", "sk-test", 315_360_001, "from 1 second"),
    ],
)
def test_what_is_no_key_changes_nothing(
    store: LocalStore, name: str, secret: str, retention_s: int | None, says: str
) -> None:
    one = store.add_key("one", SECRET, 60)
    with pytest.raises(BadInput, match=says) as caught:
        store.add_key(name, secret, retention_s)

    assert SECRET not in str(caught.value)
    reader = store.reader()
    assert [one] == reader.keys()
    reader.close()


@pytest.mark.parametrize("name", ["../../etc", "/", "a/b", "ключ", "x" * 64, "';--", "%"])
def test_a_key_s_name_never_names_a_file(store: LocalStore, root: Path, name: str) -> None:
    key = store.add_key(name, SECRET, 60)

    assert 16 == len(key.id)
    assert set(key.id) <= set("0123456789abcdef")
    assert 0 == store.remove_key(name)
    assert [] == list((root / "segments").iterdir())


@pytest.mark.parametrize(
    ("secret", "last4"), [("sk-ant-test-0000", "0000"), ("sk-ant-test-000", ""), ("x", "")]
)
def test_of_a_short_secret_nothing_is_shown(store: LocalStore, secret: str, last4: str) -> None:
    assert last4 == store.add_key("one", secret).last4


def test_an_unknown_name_is_told_with_the_known(store: LocalStore, reader: LocalReader) -> None:
    for change in (
        lambda: store.set_retention("none", 60),
        lambda: store.rename_key("none", "x"),
        lambda: store.remove_key("none"),
        lambda: store.purge("none"),
        lambda: reader.key("none"),
    ):
        with pytest.raises(BadInput, match="No key is named 'none'"):
            change()
    store.add_key("b", SECRET)
    store.add_key("a", SECRET + "1")
    with pytest.raises(BadInput, match="Keys: a, b"):
        reader.key("none")


def test_a_key_is_renamed_and_keeps_its_id(store: LocalStore, reader: LocalReader) -> None:
    key = store.add_key("one", SECRET, 60)
    store.add_key("two", SECRET + "1")

    assert key.id == store.rename_key("one", "uno").id
    assert key.id == store.rename_key("uno", "uno").id
    with pytest.raises(BadInput, match="already a key"):
        store.rename_key("uno", "two")
    assert ["two", "uno"] == [each.name for each in reader.keys()]


def test_two_that_add_the_same_at_once(store: LocalStore, root: Path) -> None:
    other = LocalStore(root)
    original = other._keys._check_name
    other._keys._check_name = lambda name: (original(name), store.add_key(name, "sk-first"))[0]  # type: ignore[method-assign]
    with pytest.raises(BadInput, match="just added"):
        other.add_key("one", "sk-second")
    other.close()


def test_keys_that_are_locked_are_unavailable_not_an_sqlite_error(
    store: LocalStore, root: Path
) -> None:
    store.add_key("one", SECRET)
    store._db.execute("PRAGMA busy_timeout=10")
    with closing(sqlite3.connect(root / "keys.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable, match="database is locked"):
            store.set_retention("one", 60)
    assert 0 == store.set_retention("one", 60)


@pytest.mark.check(7)
def test_a_ring_of_keys_answers_by_the_secret_alone(store: LocalStore) -> None:
    on = store.add_key("on", SECRET, 60)
    off = store.add_key("off", SECRET + "1")
    ring = WatchedKeys(store.layout)

    assert on == ring.keys.match(SECRET.encode())
    assert off == ring.keys.match(SECRET.encode() + b"1")
    assert ring.keys.match(b"") is None
    assert ring.keys.match(SECRET.upper().encode()) is None
    assert ring.keys.match(b"\xff" * 10_000) is None
    assert 1 == ring.keys.on
    assert ring.is_on(on.id)
    assert not ring.is_on(off.id)
    assert not ring.is_on("none")
    assert HashedKeys(b"", ()).by_id(on.id) is None
    ring.close()


@pytest.mark.check(7)
def test_a_ring_reads_again_only_what_changed(store: LocalStore) -> None:
    store.add_key("one", SECRET)
    ring = WatchedKeys(store.layout)
    before = ring.keys

    assert not ring.refresh()
    assert before is ring.keys
    store.set_retention("one", 60)
    assert ring.refresh()
    assert (0, 1) == (before.on, ring.keys.on)
    ring.close()
