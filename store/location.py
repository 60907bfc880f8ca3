"""From what the user names to a store: a directory, or a URL for a scale-out backend.

The default is the user's data folder; FLOWTAP_STORE and `--store` override it. What writes
is imported only when a writing side is asked for.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from store.errors import BadInput, StoreOutdated
from store.reader import LocalReader

if TYPE_CHECKING:
    from store.local import LocalStore

VARIABLE = "FLOWTAP_STORE"


def store_path(location: str | None) -> Path:
    """The directory meant: `location`, else FLOWTAP_STORE, else the user's data folder."""
    named = location or os.environ.get(VARIABLE) or str(platformdirs.user_data_path("flowtap"))
    if "://" in named:
        scheme = named.partition("://")[0]
        raise BadInput(f"Store {scheme}://…: no backend of this version speaks {scheme!r}.")
    if "\0" in named:
        raise BadInput("The store's path has a NUL character in it.")
    try:
        # A link of the user's own is followed here, once; below this none is (store.layout).
        return Path(named).expanduser().resolve()
    except (RuntimeError, OSError) as exc:
        raise BadInput(f"Store {named}: {exc}") from exc


def open_reader(location: str | None = None) -> LocalReader:
    """A reading side; StoreUnavailable if there is no store yet, BadInput if there cannot be one.

    A store that an older flowtap made is brought up to date first: a user who reads after an
    update should not have to start a proxy for it.
    """
    path = store_path(location)
    try:
        return LocalReader(path)
    except StoreOutdated:
        open_store(str(path)).close()
        return LocalReader(path)


def open_store(location: str | None = None) -> "LocalStore":
    """The managing side, made if absent; BadInput or StoreUnavailable where that cannot be."""
    from store.local import LocalStore

    return LocalStore(store_path(location))
