"""The keys: names, retentions, keyed hashes of the secrets, and rules. Never a secret itself.

A credential is looked up by its BLAKE2b keyed with the store's own random bytes: API keys
have entropy enough that a fast hash is safe, and a copied keys.db answers no guesses.
"""

import hashlib
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sqlite_utils import Database
from sqlite_utils.db import NotFoundError

from store.asks import LEFT_MS, NewAsks
from store.codec import KEY_COLUMNS, key_from_row
from store.errors import BadInput, StoreUnavailable, unusable
from store.key_input import checked_name, checked_secret
from store.key_rules import Rules, checked_rule, describe
from store.layout import Layout
from store.record import Ask, Headers, Key, KeyKind, KeyRule
from store.retention import checked_retention
from store.schema import writing

_RULE_DOMAIN = b"flowtap rule"
"""Keeps the hashes of rules apart from those of credentials: a client may send any bytes as one."""

_ALL = f"SELECT hash, {', '.join(KEY_COLUMNS)} FROM keys ORDER BY name"  # noqa: S608 - constants


def credential_hash(secret: bytes, credential: bytes) -> str:
    """What stands for a credential in the store; 64 hex digits."""
    hashing = _hashing(secret)
    hashing.update(credential)
    return hashing.hexdigest()


def _hashing(secret: bytes) -> "hashlib.blake2b":
    return hashlib.blake2b(key=secret, digest_size=32)


def rule_hash(secret: bytes, rule: KeyRule) -> str:
    """What stands for a rule, so that no two keys go by the same; 64 hex digits."""
    text = "\0".join((rule.kind, rule.name, rule.pattern))
    return hashlib.blake2b(
        text.encode(), key=secret, digest_size=32, person=_RULE_DOMAIN
    ).hexdigest()


class HashedKeys:
    """An immutable snapshot of the keys for the proxy's loop (store.contract.KeyRing)."""

    def __init__(self, secret: bytes, rows: Iterable[Sequence[Any]]) -> None:
        # Copied for each credential: half the time of a new one that takes the key in again.
        self._hashing = _hashing(secret)
        self._by_hash: dict[str, Key] = {}
        self._by_id: dict[str, Key] = {}
        rules: list[tuple[KeyRule, Key]] = []
        for hashed, *row in rows:
            key = key_from_row(row)
            self._by_id[key.id] = key
            if key.kind is KeyKind.SECRET:
                self._by_hash[hashed] = key
            elif key.rule is not None:
                rules.append((key.rule, key))
        self._rules = Rules(rules)
        self._on = sum(
            key.retention_s is not None and key.kind is not KeyKind.KEPT
            for key in self._by_id.values()
        )

    def match(self, credentials: Sequence[bytes], headers: Headers) -> Key | None:
        """The key that decides over a request, off or on, or None; see store.contract."""
        off: Key | None = None
        for credential in credentials:
            key = self._by_hash.get(self.hash_of(credential))
            if key is not None:
                if key.retention_s is not None:
                    return key
                off = off or key
        if off is not None or not self._rules:
            return off
        for key in self._rules.matching(credentials, headers):
            if key.retention_s is not None:
                return key
            off = off or key
        return off

    def hash_of(self, credential: bytes) -> str:
        """What stands for a credential in the store."""
        hashing = self._hashing.copy()
        hashing.update(credential)
        return hashing.hexdigest()

    def by_id(self, key_id: str) -> Key | None:
        """The key of that id, or None once it was removed."""
        return self._by_id.get(key_id)

    @property
    def on(self) -> int:
        """How many keys that can match have a retention."""
        return self._on


def read_keys(connection: sqlite3.Connection) -> list[Sequence[Any]]:
    """Every row, by name: the hash, then KEY_COLUMNS."""
    return connection.execute(_ALL).fetchall()


class Keys:
    """The table of keys, for the managing side."""

    def __init__(self, db: Database, path: Path, secret: bytes) -> None:
        self._db = db
        self._path = path
        self._secret = secret

    def all(self) -> list[Key]:
        """Every key, by name."""
        rows = self._read(lambda: read_keys(self._db.conn))
        try:
            return [key_from_row(row) for _, *row in rows]
        except ValueError as exc:
            raise StoreUnavailable(f"{self._path}: a key makes no sense ({exc}).") from exc

    def _read[T](self, query: Callable[[], T]) -> T:
        try:
            return query()
        except sqlite3.Error as exc:
            raise unusable(self._path, exc) from exc

    def named(self, name: str) -> Key:
        """The key of that name, else BadInput that names those there are."""
        keys = self.all()
        for key in keys:
            if key.name == name:
                return key
        known = ", ".join(key.name for key in keys) or "none yet; `flowtap keys add NAME`"
        raise BadInput(f"No key is named {name!r}. Keys: {known}.")

    def add(self, name: str, secret: str, retention_s: int | None, now_ms: int) -> Key:
        """A new key, off unless given a retention."""
        self._check_name(name)
        credential = checked_secret(secret)
        hashed = credential_hash(self._secret, credential.encode())
        for taken in self._with_hash(hashed):
            raise BadInput(f"This secret is already the key {taken!r}.")
        # The last four tell keys apart; of a short secret they would be too much of it.
        last4 = credential[-4:] if len(credential) >= 16 else ""
        return self._insert(Key(_new_id(), name, last4, retention_s, now_ms), hashed)

    def add_hash(
        self, name: str, hashed: str, last4: str, retention_s: int | None, now_ms: int
    ) -> Key:
        """A new key of a credential that is known by its hash alone."""
        self._check_name(name)
        for taken in self._with_hash(hashed):
            raise BadInput(
                f"This credential is already the key {taken!r}; `flowtap keys set` gives it a retention."
            )
        return self._insert(Key(_new_id(), name, last4, retention_s, now_ms), hashed)

    def add_rule(self, name: str, rule: KeyRule, retention_s: int | None, now_ms: int) -> Key:
        """A new key that goes by a rule, off unless given a retention."""
        self._check_name(name)
        rule = checked_rule(rule)
        hashed = rule_hash(self._secret, rule)
        for taken in self._with_hash(hashed):
            raise BadInput(f"The key {taken!r} goes by this already: {describe(rule)}.")
        key = Key(_new_id(), name, "", retention_s, now_ms, rule.kind, rule)
        return self._insert(key, hashed)

    def _with_hash(self, hashed: str) -> list[str]:
        """The name of the key that has it, if one does."""
        return [row["name"] for row in self._db.table("keys").rows_where("hash = ?", [hashed])]

    def _insert(self, key: Key, hashed: str) -> Key:
        if key.retention_s is not None:
            checked_retention(key.retention_s)
        self._write(lambda: self._db.table("keys").insert(_row(key, hashed)))
        return key

    def rename(self, name: str, new_name: str) -> Key:
        """The key under its new name."""
        key = self.named(name)
        if name != new_name:
            self._check_name(new_name)
            self._write(lambda: self._db.table("keys").update(key.id, {"name": new_name}))
        return self.named(new_name)

    def set_retention(self, name: str, retention_s: int | None) -> tuple[Key, Key]:
        """The key (before, after) the change."""
        if retention_s is not None:
            checked_retention(retention_s)

        def change() -> Key:
            # Read inside: another process may be changing it as well.
            key = self.named(name)
            self._db.table("keys").update(key.id, {"retention_s": retention_s})
            if retention_s is None:
                # Of a key that is off nothing is kept, and so no pin outlives its record.
                self._db.table("pins").delete_where("key_id = ?", [key.id])
            return key

        before = self._write(change)
        return before, replace(before, retention_s=retention_s)

    def check_kept(self, name: str) -> None:
        """BadInput if what is kept cannot be under that name."""
        checked_name(name)
        for key in self.all():
            if key.name == name and key.kind is not KeyKind.KEPT:
                raise BadInput(f"The key {name!r} records traffic of its own; name another.")

    def ask(
        self, name: str, since_ms: int, retention_s: int, fingerprint: str | None, now_ms: int
    ) -> Ask:
        """Ask running proxies to keep what they hold, under a key of kind KEPT, made or raised."""
        checked_retention(retention_s)

        def change() -> Ask:
            # Read inside: another process may be asking, or making a key of that name.
            self.check_kept(name)
            ask = Ask(_new_id(), self._kept(name, retention_s, now_ms), since_ms, fingerprint)
            self._db.execute("DELETE FROM asks WHERE created_ms < ?", [now_ms - LEFT_MS])
            self._db.table("asks").insert({**asdict(ask), "created_ms": now_ms})
            return ask

        return self._write(change)

    def _kept(self, name: str, retention_s: int, now_ms: int) -> str:
        """The id of the key of kind KEPT of that name, its retention at least this; in a transaction."""
        for key in self.all():
            if key.name == name:
                if key.retention_s is None or key.retention_s < retention_s:
                    self._db.table("keys").update(key.id, {"retention_s": retention_s})
                return key.id
        key = Key(_new_id(), name, "", retention_s, now_ms, KeyKind.KEPT)
        # It matches nothing; the column wants something of its own.
        hashed = rule_hash(self._secret, KeyRule(KeyKind.KEPT, "", key.id))
        self._db.table("keys").insert(_row(key, hashed))
        return key.id

    def forget_ask(self, ask_id: str, now_ms: int) -> None:
        """Who asked has heard; and what others left behind. Nothing is written where nothing is left."""
        old = "id = ? OR created_ms < ?"
        left = [ask_id, now_ms - LEFT_MS]
        if self._read(lambda: [*self._db.table("asks").rows_where(old, left)]):
            self._write(lambda: self._db.table("asks").delete_where(old, left))

    def remove(self, key_id: str) -> None:
        """Forget a key; its records must be gone already."""
        self._write(lambda: self._db.table("keys").delete(key_id))

    def _check_name(self, name: str) -> None:
        checked_name(name)
        if any(key.name == name for key in self.all()):
            raise BadInput(f"There is already a key named {name!r}.")

    def _write[T](self, change: Callable[[], T]) -> T:
        try:
            with writing(self._db.conn):
                result = change()
        except sqlite3.IntegrityError as exc:
            raise BadInput(
                "Another process just added a key of that name, secret or rule."
            ) from exc
        except NotFoundError as exc:
            raise BadInput("Another process just removed that key.") from exc
        except sqlite3.Error as exc:
            raise unusable(self._path, exc) from exc
        return result


def _new_id() -> str:
    return secrets.token_hex(8)


def _row(key: Key, hashed: str) -> dict[str, str | int | None]:
    return {
        "id": key.id,
        "name": key.name,
        "hash": hashed,
        "last4": key.last4,
        "retention_s": key.retention_s,
        "created_ms": key.created_ms,
        "kind": str(key.kind),
        "rule_name": None if key.rule is None else key.rule.name,
        "rule_pattern": None if key.rule is None else key.rule.pattern,
    }


class WatchedKeys:
    """The keys in memory, read again when another process changed them; for the writer's thread alone."""

    def __init__(self, layout: Layout) -> None:
        self._secret = layout.read_secret()
        # Made by the thread that opens the store, used by the writer's.
        self._connection = sqlite3.connect(
            f"{layout.keys.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        self._version = -1
        self.keys = HashedKeys(self._secret, ())
        """An immutable snapshot; another thread may read it at any time."""
        self.asks = NewAsks(self._connection)
        """What users asked since this began."""
        self.refresh()

    def refresh(self) -> bool:
        """Read them again if they changed; True if they did. Two microseconds if not."""
        version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        if version == self._version:
            return False
        # Before the keys: an ask and its key come at once, and whoever has the one has the other.
        asks = self.asks.read()
        self.keys = HashedKeys(self._secret, read_keys(self._connection))
        self.asks.put(asks)
        self._version = version
        return True

    def is_on(self, key_id: str) -> bool:
        """The key is there and has a retention."""
        key = self.keys.by_id(key_id)
        return key is not None and key.retention_s is not None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
