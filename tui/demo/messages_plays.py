"""Plays of Anthropic Messages, written for this purpose; ids, keys and prices are obviously not real. Pure."""

import json
from collections.abc import Iterator
from typing import Any

from tui.demo.play import (
    ANTHROPIC,
    LAPTOP_SECRET,
    STRANGER_SECRET,
    SYSTEM,
    Ending,
    Json,
    Piece,
    Play,
    anthropic,
    named,
    words,
)


def _ask(model: str, question: str, **more: Any) -> Json:
    return {
        "model": model,
        "max_tokens": 1024,
        "stream": True,
        "system": [
            {"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}},
        ],
        "messages": [{"role": "user", "content": question}],
        **more,
    }


def _start(model: str, **usage: int) -> Piece:
    message: Json = {
        "id": "msg_demo_0001",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 1, **usage},
    }
    return named(0.35, {"type": "message_start", "message": message})


def _block(index: int, block: Json, deltas: list[Json], pace_s: float) -> Iterator[Piece]:
    yield named(0.02, {"type": "content_block_start", "index": index, "content_block": block})
    for delta in deltas:
        yield named(pace_s, {"type": "content_block_delta", "index": index, "delta": delta})
    yield named(0.01, {"type": "content_block_stop", "index": index})


def _text(index: int, text: str, pace_s: float = 0.03) -> Iterator[Piece]:
    deltas = [{"type": "text_delta", "text": word} for word in words(text)]
    yield from _block(index, {"type": "text", "text": ""}, deltas, pace_s)


def _thinking(index: int, text: str, pace_s: float = 0.03) -> Iterator[Piece]:
    deltas = [{"type": "thinking_delta", "thinking": word} for word in words(text)]
    deltas.append({"type": "signature_delta", "signature": "ZGVtby1zaWduYXR1cmU="})
    yield from _block(index, {"type": "thinking", "thinking": "", "signature": ""}, deltas, pace_s)


def _stop(reason: str, output_tokens: int) -> Iterator[Piece]:
    yield named(
        0.02,
        {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": {"output_tokens": output_tokens},
        },
    )
    yield named(0.01, {"type": "message_stop"})


def text() -> Play:
    """Thinking, a ping, then text, with most of the prompt from the cache."""
    model = "claude-opus-4-5"
    pieces = (
        _start(model, cache_read_input_tokens=18_204, cache_creation_input_tokens=310),
        *_thinking(0, "The sweep keeps what equals the cutoff. The test expects it gone. "),
        named(0.6, {"type": "ping"}),
        *_text(
            1,
            "The off-by-one is in `purge_expired`: it keeps the record whose completion equals"
            " the cutoff, and the test was written the other way round.\n\nThe rule says an"
            " expiry is strict, so a record exactly at the cutoff stays. I changed the test,"
            " not the sweep, and added the two neighbours on either side of the instant.",
        ),
        *_stop("end_turn", 96),
    )
    question = "Why does test_sweep fail at the boundary?"
    return Play(
        "messages, thinking and text",
        ANTHROPIC,
        "/v1/messages?beta=true",
        anthropic(LAPTOP_SECRET),
        _ask(model, question, thinking={"type": "enabled", "budget_tokens": 1024}),
        pieces,
        "complete",
        answer=(("request-id", "req_demo_0001"),),
    )


def tool() -> Play:
    """A slow start, a long silence, then a tool call."""
    model = "claude-sonnet-4-5"
    parts = ['{"comm', 'and": "py', "test -q ", "tests/store", '"}']
    deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    tool = {"type": "tool_use", "id": "toolu_demo_01", "name": "Bash", "input": {}}
    pieces = (
        _start(model, cache_read_input_tokens=18_514),
        *_text(0, "I will run the tests of the store first. ", 0.12),
        # A pause as of a model that writes a long argument: the stall is seen in the events.
        named(1.8, {"type": "ping"}),
        *_block(1, tool, deltas, 0.35),
        *_stop("tool_use", 54),
    )
    tools = [{"name": "Bash", "description": "Run a command.", "input_schema": {"type": "object"}}]
    return Play(
        "messages, slow, with a tool call",
        ANTHROPIC,
        "/v1/messages?beta=true",
        anthropic(LAPTOP_SECRET),
        _ask(model, "Does the store still pass?", tools=tools),
        pieces,
        "complete",
    )


def whole() -> Play:
    """Not streamed."""
    body = {
        "id": "msg_demo_0002",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5",
        "content": [{"type": "text", "text": "Retention: how long records live"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 41, "output_tokens": 9},
    }
    request = _ask("claude-haiku-4-5", "A title for this chat, five words.")
    request["stream"] = False
    return Play(
        "messages, not streamed",
        ANTHROPIC,
        "/v1/messages",
        anthropic(LAPTOP_SECRET),
        request,
        ((0.4, json.dumps(body).encode()),),
        "complete",
        content_type="application/json",
    )


def overloaded() -> Play:
    """An error event in mid-stream of a 200."""
    model = "claude-opus-4-5"
    error = {"type": "overloaded_error", "message": "Overloaded"}
    pieces = (
        _start(model),
        *list(_text(0, "Here is the plan. First I would look at the "))[:-1],
        named(0.5, {"type": "error", "error": error}),
    )
    return Play(
        "messages, an error in mid-stream",
        ANTHROPIC,
        "/v1/messages?beta=true",
        anthropic(LAPTOP_SECRET),
        _ask(model, "Plan the migration."),
        pieces,
        "failed",
    )


def cut() -> Play:
    """The upstream closes without a terminal event."""
    model = "claude-sonnet-4-5"
    whole = list(
        _text(0, "A record is kept from its completion on, so a long request is not born ")
    )
    return Play(
        "messages, cut by the upstream",
        ANTHROPIC,
        "/v1/messages?beta=true",
        anthropic(LAPTOP_SECRET),
        _ask(model, "From when on does a retention count?"),
        (_start(model), *whole[:-1]),
        "upstream_closed",
        ending=Ending.CUT,
    )


def rate_limited() -> Play:
    """Refused with 429."""
    error = {"type": "rate_limit_error", "message": "This request would exceed your rate limit."}
    body = {"type": "error", "error": error, "request_id": "req_demo_0429"}
    return Play(
        "messages, refused",
        ANTHROPIC,
        "/v1/messages?beta=true",
        anthropic(LAPTOP_SECRET),
        _ask("claude-opus-4-5", "And once more."),
        ((0.15, json.dumps(body).encode()),),
        "failed",
        status=429,
        content_type="application/json",
        answer=(("retry-after", "12"),),
    )


def stranger() -> Play:
    """A key that is not opted in: it passes, and nothing of it is stored."""
    body = {"type": "error", "error": {"type": "authentication_error", "message": "demo"}}
    return Play(
        "a key that is not opted in: passes, not recorded",
        ANTHROPIC,
        "/v1/messages",
        anthropic(STRANGER_SECRET),
        _ask("claude-opus-4-5", "This stays between us."),
        ((0.1, json.dumps(body).encode()),),
        None,
        status=401,
        content_type="application/json",
    )
