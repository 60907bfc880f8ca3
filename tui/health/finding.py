"""What `flowtap doctor` makes of what it saw: one finding a check. Pure, as everything in this folder:
values in, findings out.

A problem is what loses records, shows them to others, or has damaged them; a warning what may
come to that, or what the next start mends. Everything has a sentence, and where something is to be
done, one that says what.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

SHOWN = 5
"""Names that a line has at most; details have all."""


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Detail:
    """One of the things a finding is about."""

    text: str
    file: str | None = None
    record: str | None = None
    start: int | None = None
    """First byte of the file's that it is about, and the one behind the last."""
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check came to."""

    check: str
    level: Level
    text: str
    """What is, without a full stop."""
    advice: str | None = None
    """What to do, a sentence."""
    details: tuple[Detail, ...] = ()


def worst(levels: Iterable[Level]) -> Level:
    """The worst of them."""
    order = list(Level)
    return max(levels, key=order.index, default=Level.OK)


def unchecked(check: str, why: str, *, level: Level = Level.PROBLEM) -> Finding:
    """It could not be looked at."""
    return Finding(check, level, f"cannot be looked at: {why}")
