"""JSON as indented lines, coloured a line at a time. Pure.

Pretty printing loses what JSON does not define (two equal keys, the spelling of a number);
the raw view has the bytes.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from collectors.json_view import INVALID, parse
from tui.document.lines import Span, TextBlock
from tui.safe_text import escape_lines

INDENT = 2

_TOKEN = re.compile(
    r'(?P<string>"(?:[^"\\]|\\.)*+")(?P<key>\s*+:)?'
    r"|(?P<number>-?\d++(?:\.\d++)?+(?:[eE][+-]?+\d++)?+)"
    r"|(?P<literal>true|false|null)\b"
)


def highlight(text: str) -> tuple[Span, ...]:
    """Keys, strings, numbers and literals of one line."""
    return tuple(_spans(text))


def _spans(text: str) -> Iterator[Span]:
    for match in _TOKEN.finditer(text):
        if match["string"] is not None:
            yield Span(*match.span("string"), "key" if match["key"] is not None else "string")
        elif match["number"] is not None:
            yield Span(*match.span("number"), "number")
        else:
            yield Span(*match.span("literal"), "literal")


def pretty(value: Any) -> str:
    """A parsed value as indented text."""
    return json.dumps(value, indent=INDENT, ensure_ascii=False)


def pretty_text(text: str) -> str | None:
    """JSON text indented, or None if it is not JSON."""
    value = parse(text)
    return None if value is INVALID else pretty(value)


def block(text: str, indent: int = 2) -> TextBlock:
    """Lines of JSON text."""
    return TextBlock(escape_lines(text), highlight, indent=indent, hang=2 * INDENT)
