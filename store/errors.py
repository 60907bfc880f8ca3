"""Everything the store raises on purpose. Each message is one line: what, where, what to do.

    StoreError
    +-- BadInput          the caller asked for what cannot be: unknown key, bad duration, bad path
    +-- StoreUnavailable  the store is there but cannot be used now: locked, full, read-only
    |   +-- StoreOutdated     an older flowtap made it: opening its writing side brings it up to date
    +-- BodyMissing       the record is indexed but its bytes are gone or corrupt

Builtins first: OSError from the file system is let through below this line only
inside the store; at the contract it becomes StoreUnavailable.
"""


class StoreError(Exception):
    """The base: `str()` is one line fit for stderr."""


class BadInput(StoreError):
    """The request itself is wrong; nothing was changed. The command line exits with 2."""


class StoreUnavailable(StoreError):
    """The store cannot be opened, read or written at the moment."""


class StoreOutdated(StoreUnavailable):
    """The tables are an older version's; readers do not change them."""


class BodyMissing(StoreError):
    """A row is there, its frames are not: names record and file."""


_DAMAGED = ("malformed", "file is not a database", "no such table", "no such column", "disk image")


def unusable(database: object, exc: Exception) -> StoreUnavailable:
    """What SQLite says of a database (its path), with what to do where it is damaged."""
    text = " ".join(str(exc).split())
    if not any(sign in text for sign in _DAMAGED):
        return StoreUnavailable(f"{database}: {text}.")
    if str(database).endswith("index.db"):
        return StoreUnavailable(
            f"{database}: {text}; `flowtap rebuild` makes the index anew from the segments."
        )
    return StoreUnavailable(f"{database}: {text}; restore it from a copy.")
