"""Changing the store from the UI: one thread that opens its managing side, changes one thing, and closes it.

What writes is imported with the first change (`open_store` does it), so a start that changes
nothing stays light, and between two changes nothing of the store is held open. Keys go by
their ids here: another process may have renamed, changed or removed one since it was painted.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from store.contract import Store
from store.errors import BadInput, StoreError, StoreUnavailable
from store.record import Key, KeyRule
from store.retention import change_warning, format_retention
from tui import key_words as words
from tui.format import plural

KEPT = "kept"
"""The key that what was in memory is kept under."""

KEPT_RETENTION_S = 86_400
"""A day: kept because something just went wrong, and looked at soon."""

type OpenStore = Callable[[], Store]


@dataclass(frozen=True, slots=True)
class Said:
    """What a change came to, one line."""

    text: str
    ok: bool = True
    """False: nothing was done, for a reason that is no error."""


type Change = Callable[[Store], Said]


class Managing:
    """Changes, one after the other, away from the screen's thread."""

    def __init__(self, open_store: OpenStore) -> None:
        """Nothing is opened before the first change."""
        self._open_store = open_store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flowtap-keys")

    async def change(self, change: Change) -> Said:
        """What `change` makes of the store; StoreError, one line, if it could not be made."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._change, change)

    def _change(self, change: Change) -> Said:
        # Of the standard library, but not of the first paint (tests/tui/test_start.py).
        import sqlite3

        try:
            store = self._open_store()
            try:
                return change(store)
            finally:
                store.close()
        except StoreError:
            raise
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailable(" ".join(str(error).split())) from error

    def close(self) -> None:
        """After what is being changed now; nothing waits here."""
        self._thread.shutdown(wait=False)


# -- the changes, each on that thread --------------------------------------------------------


def add_secret(store: Store, name: str, secret: str, retention_s: int | None) -> Said:
    """A key by its secret."""
    return _added(store.add_key(name, secret, retention_s))


def add_rule(store: Store, name: str, rule: KeyRule, retention_s: int | None) -> Said:
    """A key by a rule."""
    return _added(store.add_rule(name, rule, retention_s))


def add_seen(store: Store, name: str, fingerprint: str, retention_s: int | None) -> Said:
    """A key for a caller whose requests passed."""
    return _added(store.add_seen(name, fingerprint, retention_s))


def set_retention(store: Store, key: Key, retention_s: int | None) -> Said:
    """Another retention for `key`, as it was when the user was warned of what that deletes."""
    now = current(store, key)
    warning = change_warning(now.retention_s, retention_s)
    if warning is not None and warning != change_warning(key.retention_s, retention_s):
        raise BadInput(
            f"{now.name} was set to {format_retention(now.retention_s)} meanwhile;"
            " nothing was changed. Look again."
        )
    deleted = store.set_retention(now.name, retention_s)
    return Said(words.changed_words(current(store, key), deleted))


def rename(store: Store, key: Key, name: str) -> Said:
    """Another name for `key`."""
    now = current(store, key)
    return Said(f"{now.name} is now {store.rename_key(now.name, name).name}")


def purge(store: Store, key: Key) -> Said:
    """Delete what `key`'s retention no longer covers."""
    now = current(store, key)
    deleted = store.purge(now.name)
    if not deleted:
        return Said(f"{now.name}: nothing has expired", ok=False)
    return Said(words.changed_words(now, deleted))


def remove(store: Store, key: Key) -> Said:
    """Delete `key`'s records, then `key`."""
    now = current(store, key)
    deleted = store.remove_key(now.name)
    return Said(f"{now.name}: removed, {plural(deleted, 'record')} deleted")


def keep(store: Store, since_ms: int, window: str, fingerprint: str | None) -> Said:
    """Ask the proxies to record what their memory holds; may take seconds."""
    kept = store.keep(KEPT, since_ms, KEPT_RETENTION_S, fingerprint)
    retention_s = KEPT_RETENTION_S
    if kept.records:
        # Its owner may have given it a longer one.
        retention_s = _named(store, KEPT).retention_s or retention_s
    text, ok = words.kept_words(kept, KEPT, retention_s, window)
    return Said(text, ok)


def current(store: Store, key: Key) -> Key:
    """`key` as it is now, under whatever name; BadInput if it was removed."""
    with contextlib.closing(store.reader()) as reader:
        for now in reader.keys():
            if now.id == key.id:
                return now
    raise BadInput(f"{key.name} is no longer there: another process removed it.")


def _named(store: Store, name: str) -> Key:
    with contextlib.closing(store.reader()) as reader:
        return reader.key(name)


def _added(key: Key) -> Said:
    return Said(f"{key.name}: {words.state_words(key)}")
