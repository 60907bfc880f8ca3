"""Reading others' JSON: a wrong shape is absence, never an exception.

Pure. What comes off the wire may be nested a million deep, hold a number of a million digits, or
half a surrogate pair; everything here returns a value or says "absent" (None, or INVALID where
null is a value).
"""

import json
import re
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder
from typing import Any, Final

MAX_DEPTH = 200
"""Deeper JSON is refused: copying, comparing and printing values recurse in Python, whose stack
is 1000 frames. Recorded bodies reach 24; OpenAI's own schemas are capped at 10."""

MAX_COUNT = 2**63 - 1
"""Counts above it are no counts; SQLite's INTEGER ends here."""


class _Invalid:
    """The type of INVALID."""

    def __repr__(self) -> str:
        return "INVALID"


INVALID: Final = _Invalid()
"""What `parse` gives for text that is not JSON; None would be JSON's null."""


def _constant(name: str) -> str:
    """NaN and the infinities, which JSON does not have, read as their names."""
    return name


def _integer(digits: str) -> int | str:
    """An integer, or its digits where Python refuses to convert that many."""
    try:
        return int(digits)
    except ValueError:
        return digits


# strict=False: some servers send raw newlines and tabs inside strings.
_DECODER = JSONDecoder(parse_constant=_constant, strict=False)
_HUGE_DECODER = JSONDecoder(parse_constant=_constant, parse_int=_integer, strict=False)


def parse(text: str) -> Any:
    """The JSON value that is the whole of `text`, or INVALID."""
    try:
        try:
            value, end = _DECODER.raw_decode(text)
        except JSONDecodeError:
            # Only leading blanks (or a second byte order mark) earn another try.
            if not text or (text[0] not in " \t\r\n\ufeff"):
                return INVALID
            text = text.lstrip(" \t\r\n\ufeff")
            value, end = _DECODER.raw_decode(text)
    except JSONDecodeError:
        return INVALID
    except ValueError:
        # An integer of more than 4300 digits.
        try:
            text = text.lstrip(" \t\r\n\ufeff")
            value, end = _HUGE_DECODER.raw_decode(text)
        except (ValueError, RecursionError):
            return INVALID
    except RecursionError:
        return INVALID
    if end != len(text) and text[end:].strip():
        return INVALID
    # Counting brackets is a memchr; only a text with many can be deep.
    if text.count("[") + text.count("{") > MAX_DEPTH and _too_deep(value):
        return INVALID
    return value


def parse_bytes(data: bytes) -> Any:
    """As `parse`, of UTF-8 bytes (a byte order mark is skipped, bad bytes read as U+FFFD)."""
    return parse(data.decode("utf-8", "replace").removeprefix("\ufeff"))


def _too_deep(value: Any) -> bool:
    """Whether containers nest beyond MAX_DEPTH; walks level by level, without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if type(item) is dict:
                below.extend(item.values())
            elif type(item) is list:
                below.extend(item)
        if not below:
            return False
        level = below
    return True


def as_dict(value: Any) -> dict[str, Any] | None:
    """The value if it is an object."""
    return value if isinstance(value, dict) else None


def get_dict(value: Any, key: str) -> dict[str, Any]:
    """The object under `key`, else an empty one."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def get_list(value: Any, key: str) -> list[Any]:
    """The array under `key`, else an empty one."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def get_str(value: Any, key: str) -> str | None:
    """The non-empty string under `key`, else None."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) and found else None


def dicts(value: Any, key: str) -> Iterator[dict[str, Any]]:
    """The objects of the array under `key`; what is none is passed over."""
    for item in get_list(value, key):
        if isinstance(item, dict):
            yield item


def as_index(value: Any) -> int | None:
    """The value if it can be an index: a whole number, not negative."""
    if type(value) is int and value >= 0:
        return value
    return None


def as_count(value: Any) -> int | None:
    """The value if it counts something: a whole number from 0 to MAX_COUNT (12.0 is 12)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < MAX_COUNT:
        value = int(value)
    if isinstance(value, int) and 0 <= value <= MAX_COUNT:
        return value
    return None


def compact(value: Any) -> str:
    """JSON text of a value out of `parse`, without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_BLANKS = re.compile(r"\s+")


def one_line(text: str, limit: int = 500) -> str:
    """The text on one line, mended, cut at `limit` characters with an ellipsis."""
    # Ten times the limit is enough to fill it, however many blanks there are to join.
    text = _BLANKS.sub(" ", mend_text(text[: 10 * limit])).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def error_text(error: Any) -> str:
    """`type: message` of an error in any of the shapes they come in, one line.

    The type is `type` (OpenAI, Anthropic), else `status` (Google), else `code` (OpenRouter: a
    number). Without a message it is the JSON text.
    """
    if isinstance(error, str):
        return one_line(error) or "error without a message"
    if not isinstance(error, dict):
        return one_line(compact(error))
    message = get_str(error, "message")
    if message is None:
        nested = error.get("error")
        if isinstance(nested, (dict, str)) and nested:
            return error_text(nested)
        message = get_str(error, "detail")
    if message is None:
        return one_line(compact(error)) if error else "error without a message"
    kind = error_type(error)
    return one_line(f"{kind}: {message}" if kind is not None else message)


def error_type(error: dict[str, Any]) -> str | None:
    """What sort of error it says it is."""
    for key in ("type", "status", "code"):
        found = error.get(key)
        if isinstance(found, str) and found and found != "error":
            return found
        if type(found) is int:
            return str(found)
    return None


def mend_text(text: str) -> str:
    """The text with split surrogate pairs joined and lone halves as U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def mend(value: Any) -> Any:
    """A copy of the value with every string mended."""
    if isinstance(value, str):
        return mend_text(value)
    if isinstance(value, dict):
        return {mend_text(key): mend(item) for key, item in value.items()}
    if isinstance(value, list):
        return [mend(item) for item in value]
    return value
