"""Strings of a JSON object's outermost keys, found from its start or from its end, unparsed.

Pure, and as cheap as the window of bytes it is given. A window may say less than a parser would
of the whole, never other: what stands inside a string or a nested object is not taken.
"""

import json
import re

from collectors.json_view import parse

# A lone quote, last, is a string that the window cuts: the scan ends there.
_FORWARD = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]:,]|"', re.DOTALL)

# The same read from its end. A quote that an odd number of backslashes precedes is escaped; read
# backwards they follow it.
_BACKWARD = re.compile(rb'"(?:[^"]++|"\\(?:\\\\)*+(?!\\))*+"|[{}\[\]:,]|"', re.DOTALL)


def string_from_start(head: bytes, key: str) -> str | None:
    """The string under that key of the outermost object, from the object's start."""
    wanted = json.dumps(key).encode()
    depth = 0
    before = last = b""
    for match in _FORWARD.finditer(head):
        token = match[0]
        first = token[0]
        if first == 0x22:
            if len(token) == 1:
                return None
            if depth == 1 and last == b":" and before == wanted:
                return _string(token)
        elif first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
            if depth <= 0:
                return None
        before, last = last, token
    return None


def string_from_end(tail: bytes, key: str) -> str | None:
    """The string under that key of the outermost object, from the object's end backwards."""
    text = tail.rstrip()
    if not text.endswith(b"}"):
        return None
    wanted = json.dumps(key).encode()[::-1]
    depth = 0
    before = last = b""
    for match in _BACKWARD.finditer(text[::-1]):
        token = match[0]
        first = token[0]
        if first == 0x22:
            if len(token) == 1:
                return None
            if depth == 1 and token == wanted and last == b":" and before[:1] == b'"':
                return _string(before[::-1])
        elif first in b"}]":
            depth += 1
        elif first in b"{[":
            depth -= 1
            if depth <= 0:
                return None
        before, last = last, token
    return None


def _string(token: bytes) -> str | None:
    value = parse(token.decode("utf-8", "replace"))
    return value if isinstance(value, str) and value else None
