"""How long a key's records live: parse it, say it, and tell the instant before which they die.

Whole seconds; None is "off". No clock: the present is an argument.
"""

import re

from store.errors import BadInput

MAX_S = 315_360_000
"""Ten years of 365 days: beyond it a retention is a typing error, not a wish."""

PRESETS: tuple[tuple[str, int | None], ...] = (
    ("Off", None),
    ("1h", 3_600),
    ("6h", 21_600),
    ("24h", 86_400),
    ("7d", 604_800),
)
"""What an editor offers before "Custom…"."""

RULE = "Retention must be an integer number of seconds, or a value like 30m / 2h / 3d."
RANGE_RULE = f"Retention must be from 1 second to 10 years ({MAX_S} seconds)."

OFF_WARNING = "Saving will immediately delete the records of this key."
LOWER_WARNING = "Saving will immediately delete records older than the new window."

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,12})\s*([smhd]?)", re.IGNORECASE | re.ASCII)


def parse_retention(text: str) -> int:
    """Seconds from `3600`, `45s`, `30m`, `2h`, `3d` (any case, blanks allowed around and before the unit).

    Raises BadInput naming the rule for anything else, for zero, and beyond MAX_S.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise BadInput(f"{RULE} Got {text!r}.")
    return checked_retention(int(match[1]) * _UNITS[match[2].lower()])


def checked_retention(seconds: int) -> int:
    """`seconds` itself if it is a retention, else BadInput naming the rule."""
    # bool is an int to Python; True is no retention.
    if isinstance(seconds, bool) or not 1 <= seconds <= MAX_S:
        raise BadInput(f"{RANGE_RULE} Got {seconds}.")
    return seconds


def format_retention(seconds: int | None) -> str:
    """`off`, or the largest exact unit: 7200 is `2h`, 45 is `45s`."""
    if seconds is None:
        return "off"
    for unit in ("d", "h", "m"):
        if seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"


def preset_of(seconds: int | None) -> str:
    """The preset's name, or `Custom…` if it is none of them."""
    for name, preset in PRESETS:
        if preset == seconds:
            return name
    return "Custom…"


def change_warning(old: int | None, new: int | None, pinned: int = 0) -> str | None:
    """What to tell before a change that deletes, where the key has so many pinned records; None where
    it deletes nothing."""
    if old is None or old == new:
        return None
    if new is None:
        return with_pinned(OFF_WARNING, pinned)
    if new > old:
        return None
    stay = "1 pinned record stays" if pinned == 1 else f"{pinned} pinned records stay"
    return f"{LOWER_WARNING[:-1]}; {stay}." if pinned else LOWER_WARNING


def with_pinned(warning: str, pinned: int) -> str:
    """A sentence that says what is deleted, with how many pinned records are among it."""
    some = "1 pinned record" if pinned == 1 else f"{pinned} pinned records"
    return f"{warning.removesuffix('.')}, including {some}." if pinned else warning


def cutoff_ms(now_ms: int, retention_s: int) -> int:
    """Records completed strictly before this instant are expired; at it they are kept."""
    return now_ms - retention_s * 1000
