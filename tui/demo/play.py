"""A play: one exchange of the demonstration, and how plays are written. Pure.

Its pieces are (seconds to wait, bytes to send), so that the timing on screen is the stream's own.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

LAPTOP_SECRET = "sk-ant-demo-0000000000000000-laptop"  # noqa: S105 - nobody's key
CI_SECRET = "sk-demo-0000000000000000000000000-ci"  # noqa: S105 - nobody's key
STRANGER_SECRET = "sk-demo-1111111111111111-not-opted-in"  # noqa: S105 - nobody's key

ANTHROPIC = "api.anthropic.com"
OPENAI = "api.openai.com"
GOOGLE = "generativelanguage.googleapis.com"

type Piece = tuple[float, bytes]
type Json = dict[str, Any]


class Ending(StrEnum):
    """How a play ends."""

    WHOLE = "whole"
    CUT = "cut"
    """The upstream closes in mid-stream."""
    LEFT = "left"
    """The client leaves in mid-stream."""


@dataclass(frozen=True, slots=True)
class Play:
    """One exchange: what the client sends and what the upstream answers."""

    name: str
    host: str
    path: str
    headers: tuple[tuple[str, str], ...]
    request: Json
    pieces: tuple[Piece, ...]
    verdict: str | None
    """What the record must say; None: no record, its key is not opted in."""
    status: int = 200
    content_type: str = "text/event-stream; charset=utf-8"
    ending: Ending = Ending.WHOLE
    answer: tuple[tuple[str, str], ...] = field(default=())
    """More response headers."""


SYSTEM = "You are a careful engineer. Read before you write, test before you say done."


def words(text: str) -> Iterator[str]:
    """The text in token-sized pieces; joined they are the text."""
    word = ""
    for character in text:
        word += character
        if character in " \n":
            yield word
            word = ""
    if word:
        yield word


def named(pause_s: float, data: Json) -> Piece:
    """One event with its type on the `event:` line too, after a pause."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return pause_s, f"event: {data['type']}\ndata: {text}\n\n".encode()


def plain(pause_s: float, data: Json, newline: str = "\n") -> Piece:
    """One event of data alone, after a pause."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return pause_s, f"data: {text}{newline}{newline}".encode()


def anthropic(secret: str) -> tuple[tuple[str, str], ...]:
    """Headers as Anthropic's clients send them."""
    return (
        ("User-Agent", "flowtap-demo/1.0"),
        ("x-api-key", secret),
        ("anthropic-version", "2023-06-01"),
        ("Content-Type", "application/json"),
        ("Accept", "text/event-stream"),
    )


def bearer(secret: str) -> tuple[tuple[str, str], ...]:
    """Headers as OpenAI's clients send them."""
    return (
        ("User-Agent", "flowtap-demo/1.0"),
        ("Authorization", f"Bearer {secret}"),
        ("Content-Type", "application/json"),
    )


def google(secret: str) -> tuple[tuple[str, str], ...]:
    """Headers as Google's clients send them."""
    return (("x-goog-api-key", secret), ("Content-Type", "application/json"))
