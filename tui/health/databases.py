"""Locks and databases: whether they can be used, and who is in the way."""

from collections.abc import Sequence

from store.health import (
    DatabaseSeen,
    Holder,
    LockSeen,
    LogSeen,
)
from tui.format import size
from tui.health.finding import SHOWN, Detail, Finding, Level

LOG_ALARM = 256 * 1024 * 1024
"""A write-ahead log beyond this is kept from being emptied by a reader that does not end."""


def _who(holders: Sequence[Holder]) -> str:
    names = [f"{each.name or 'process'} (pid {each.pid})" for each in holders[:SHOWN]]
    more = len(holders) - len(names)
    return ", ".join([*names, *([f"{more} more"] if more else [])])


def locks(seen: Sequence[LockSeen]) -> Finding:
    """Whether files can be locked here at all, and whether somebody keeps a lock."""
    broken = [each for each in seen if each.error is not None]
    if broken:
        return Finding(
            "locks",
            Level.PROBLEM,
            f"{broken[0].name} cannot be locked: {broken[0].error}",
            "Several processes on one store need locks (flock): put it on a local disk",
        )
    missing = [each for each in seen if each.missing]
    if missing:
        names = ", ".join(each.name for each in missing)
        return Finding("locks", Level.WARNING, f"{names} not there", "The next proxy makes it")
    stuck = [each for each in seen if each.stuck]
    if stuck:
        by = f" by {_who(stuck[0].holders)}" if stuck[0].holders else ""
        return Finding(
            "locks",
            Level.WARNING,
            f"{stuck[0].name} is kept{by}, and others wait for it",
            "Look again in a while; if it stays like that, end that process",
        )
    held = [each.name for each in seen if each.held]
    return Finding(
        "locks", Level.OK, f"the file system has them; held now: {', '.join(held) or 'none'}"
    )


def database(seen: DatabaseSeen, *, new: bool = False) -> Finding:
    """Whether one of the two can be read and is whole. `new`: there is nothing in the store yet."""
    name = seen.path.rpartition("/")[2]
    index = name == "index.db"
    mend = (
        "Stop the proxies, then: flowtap rebuild makes it anew from the segments"
        if index
        else "Restore it from a copy; what is recorded is not lost without it, but its keys are"
    )
    if seen.missing:
        if new:
            advice = "The next proxy makes it: flowtap proxy"
            return Finding(name, Level.WARNING, f"{seen.path} is not there yet", advice)
        return Finding(name, Level.PROBLEM, f"{seen.path} is not there", mend)
    if seen.locked:
        return Finding(
            name,
            Level.WARNING,
            f"{seen.path} is locked by another process",
            "Look again in a while",
        )
    if seen.error is not None:
        return Finding(name, Level.PROBLEM, f"{seen.path} cannot be read: {seen.error}", mend)
    if seen.damage:
        details = tuple(Detail(text, seen.path) for text in seen.damage)
        return Finding(name, Level.PROBLEM, f"{seen.path} is damaged", mend, details)
    return Finding(name, Level.OK, "whole, as far as SQLite's quick check tells")


def schema(seen: Sequence[DatabaseSeen]) -> Finding:
    """Of which version the tables are."""
    newer = [name for each in seen for name in each.newer]
    if newer:
        return Finding(
            "schema",
            Level.PROBLEM,
            f"made by a newer flowtap ({', '.join(newer[:SHOWN])})",
            "Update this one",
        )
    readable = [each for each in seen if each.error is None and not each.missing]
    older = [name for each in readable for name in each.older]
    if older:
        return Finding(
            "schema",
            Level.WARNING,
            f"made by an older flowtap; it has not seen {', '.join(older[:SHOWN])}",
            "Nothing: the next command that opens the store brings it up to date (flowtap ls)",
        )
    if len(readable) < len(seen):
        return Finding("schema", Level.WARNING, "cannot be told of what cannot be read")
    return Finding("schema", Level.OK, "of this version")


def sqlite(version: tuple[int, int, int]) -> Finding:
    """SQLite before 3.51.3 can corrupt a log that two processes reset at the wrong moment
    (sqlite.org/wal.html#walresetbug); mended in 3.44.6 and 3.50.7 too."""
    text = f"SQLite {'.'.join(map(str, version))}"
    mended = (
        version >= (3, 51, 3)
        or (3, 50, 7) <= version < (3, 51)
        or (3, 44, 6) <= version < (3, 45)
        or version < (3, 7, 0)
    )
    if mended:
        return Finding("sqlite", Level.OK, f"{text}, without the fault in resetting a log")
    return Finding(
        "sqlite",
        Level.WARNING,
        f"{text} can corrupt an index whose log two processes reset at once; flowtap's own lock"
        " keeps its processes from that",
        "Let no other program write to index.db, or use a Python with SQLite 3.51.3 or later",
    )


def log(seen: LogSeen) -> Finding:
    """The size of the write-ahead log."""
    by = f"; open in {_who(seen.holders)}" if seen.holders else ""
    if seen.size <= LOG_ALARM:
        return Finding("log", Level.OK, f"{size(seen.size)} of write-ahead log{by}")
    return Finding(
        "log",
        Level.PROBLEM,
        f"{size(seen.size)} of write-ahead log, which nobody can empty{by}",
        "Somebody reads without an end: stop what hangs; what was purged may still be in the log",
    )
