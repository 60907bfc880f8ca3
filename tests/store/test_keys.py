"""Keys: names and secrets that can be, hashes instead of secrets, news of changes elsewhere."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from store.errors import BadInput, StoreUnavailable
from store.key_rules import claim_rule, glob_rule, header_rule
from store.keys import HashedKeys, WatchedKeys, credential_hash, rule_hash
from store.local import LocalStore
from store.reader import LocalReader
from store.record import Headers, Key, KeyKind, KeyRule
from tests.store.builders import SECRET, files_with
from tests.store.test_key_rules import jwt


@pytest.mark.check(1, 4, 5, 6)
def test_a_key_is_off_until_it_has_a_retention(store: LocalStore, reader: LocalReader) -> None:
    added = store.add_key("one", SECRET)

    assert added.retention_s is None
    for retention_s in (60, None, 60, 3600, 30, None):
        store.set_retention("one", retention_s)
        assert retention_s == reader.key("one").retention_s == reader.keys()[0].retention_s
        ring = WatchedKeys(store.layout)
        found = ring.keys.match([SECRET.encode()], ())
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


def test_a_key_that_makes_no_sense_is_said(store: LocalStore, root: Path) -> None:
    store.add_key("one", SECRET)
    with closing(sqlite3.connect(root / "keys.db")) as connection, connection:
        connection.execute("UPDATE keys SET kind = 'odd'")
    with closing(store.reader()) as reader:
        for ask in (reader.keys, lambda: store.set_retention("one", 60)):
            with pytest.raises(StoreUnavailable, match=r"keys.db: a key makes no sense .*odd"):
                ask()


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

    def match(*credentials: bytes) -> Key | None:
        return ring.keys.match(credentials, ())

    assert on == match(SECRET.encode())
    assert off == match(SECRET.encode() + b"1")
    assert on == match(b"x", SECRET.encode() + b"1", SECRET.encode())
    assert match() is None
    assert match(b"") is None
    assert match(SECRET.upper().encode()) is None
    assert match(b"\xff" * 10_000) is None
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


# -- keys that go by a rule ------------------------------------------------------------------

GLOB = glob_rule("sk-ant-oat01-*")
HEADER = header_rule("ChatGPT-Account-Id", "acct_1")
CLAIM = claim_rule("sub", "user-7")


@pytest.mark.parametrize("rule", [GLOB, HEADER, CLAIM], ids=lambda rule: rule.kind)
def test_a_rule_is_a_key_like_another(
    store: LocalStore, reader: LocalReader, rule: KeyRule
) -> None:
    added = store.add_rule("one", rule)

    assert (rule.kind, rule, "", None) == (added.kind, added.rule, added.last4, added.retention_s)
    assert [added] == reader.keys()
    assert 0 == store.set_retention("one", 60)
    assert 60 == reader.key("one").retention_s
    assert "uno" == store.rename_key("one", "uno").name
    ring = WatchedKeys(store.layout)
    assert 1 == ring.keys.on
    assert reader.key("uno") == ring.keys.by_id(added.id)
    ring.close()
    assert 0 == store.remove_key("uno")
    assert [] == reader.keys()


@pytest.mark.parametrize(
    ("name", "rule", "retention_s", "says"),
    [
        ("one", GLOB, None, "already a key named 'one'"),
        ("", HEADER, None, "name is 1 to 64"),
        ("two", GLOB, None, "The key 'one' goes by this already: credential sk-ant-oat01-[*]."),
        ("two", HEADER, 0, "from 1 second"),
        ("two", KeyRule(KeyKind.GLOB, "", "*"), None, "nearly anything"),
        ("two", KeyRule(KeyKind.GLOB, "", SECRET), None, "give the secret to"),
        ("two", KeyRule(KeyKind.HEADER, "Authorization", "x"), None, "carries a secret"),
        ("two", KeyRule(KeyKind.CLAIM, "", "user-7"), None, "A claim is named by"),
        ("two", KeyRule(KeyKind.SECRET, "", SECRET), None, "kind secret goes by no rule"),
        ("two", KeyRule(KeyKind.KEPT, "", "x"), None, "kind kept goes by no rule"),
    ],
)
def test_what_is_no_rule_changes_nothing(
    store: LocalStore,
    reader: LocalReader,
    name: str,
    rule: KeyRule,
    retention_s: int | None,
    says: str,
) -> None:
    one = store.add_rule("one", GLOB, 60)
    with pytest.raises(BadInput, match=says) as caught:
        store.add_rule(name, rule, retention_s)

    assert SECRET not in str(caught.value)
    assert [one] == reader.keys()


def test_rules_that_differ_in_anything_are_two(store: LocalStore, reader: LocalReader) -> None:
    for each, rule in enumerate(
        (header_rule("x-a", "user-7"), header_rule("x-b", "user-7"), claim_rule("x-a", "user-7"))
    ):
        store.add_rule(f"k{each}", rule)
    assert 3 == len(reader.keys())


OAT, JWT = b"sk-ant-oat01-test-0000", jwt({"sub": "user-7"})
ACCOUNT: Headers = ((b"x-first", b"1"), (b"chatgpt-account-id", b"acct_1"))


@pytest.mark.parametrize(
    ("on", "off", "credentials", "headers", "whose"),
    [
        ("secret glob header claim", "", [SECRET.encode(), OAT, JWT], ACCOUNT, "secret"),
        ("secret glob header claim", "", [OAT, JWT, SECRET.encode()], ACCOUNT, "secret"),
        ("glob header claim", "", [OAT, JWT], ACCOUNT, "glob"),
        ("header claim", "", [OAT, JWT], ACCOUNT, "header"),
        ("claim", "", [OAT, JWT], ACCOUNT, "claim"),
        ("glob", "", [JWT], ACCOUNT, None),
        ("", "glob header claim", [OAT, JWT], ACCOUNT, "glob"),
        ("claim", "glob header", [OAT, JWT], ACCOUNT, "claim"),
        ("header", "glob claim", [OAT, JWT], ACCOUNT, "header"),
        ("glob header claim", "secret", [OAT, JWT, SECRET.encode()], ACCOUNT, "secret"),
        ("secret", "", [], ACCOUNT, None),
        ("secret glob header claim", "", [], ((b"chatgpt-account-id", b"acct_2"),), None),
    ],
)
def test_the_secret_decides_then_globs_then_headers_then_claims(
    store: LocalStore,
    on: str,
    off: str,
    credentials: list[bytes],
    headers: Headers,
    whose: str | None,
) -> None:
    rules = {"glob": GLOB, "header": HEADER, "claim": CLAIM}
    for names, retention_s in ((on, 60), (off, None)):
        for name in names.split():
            if name == "secret":
                store.add_key(name, SECRET, retention_s)
            else:
                store.add_rule(name, rules[name], retention_s)
    ring = WatchedKeys(store.layout)
    found = ring.keys.match(credentials, headers)

    assert whose == (None if found is None else found.name)
    ring.close()


def test_of_two_secrets_the_one_that_is_on_decides(store: LocalStore) -> None:
    store.add_key("off", SECRET)
    store.add_key("on", SECRET + "1", 60)
    ring = WatchedKeys(store.layout)
    for credentials in ([SECRET, SECRET + "1"], [SECRET + "1", SECRET]):
        found = ring.keys.match([each.encode() for each in credentials], ())
        assert found is not None
        assert "on" == found.name
    ring.close()


def test_a_client_that_sends_what_a_rule_is_hashed_from_is_not_its_key(store: LocalStore) -> None:
    store.add_rule("one", GLOB, 60)
    secret = store.layout.read_secret()
    ring = WatchedKeys(store.layout)
    sent = "\0".join((GLOB.kind, GLOB.name, GLOB.pattern)).encode()

    assert rule_hash(secret, GLOB) != credential_hash(secret, sent)
    assert ring.keys.match([sent, b"\0", b"glob"], ()) is None
    ring.close()
