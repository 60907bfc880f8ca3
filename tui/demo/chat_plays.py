"""Plays of Chat Completions, written for this purpose; ids, keys and prices are obviously not real. Pure."""

from collections.abc import Iterator
from typing import Any

from tui.demo.play import CI_SECRET, OPENAI, SYSTEM, Ending, Json, Piece, Play, bearer, plain, words


def _chunk(pause_s: float, model: str, choices: list[Json], **more: Any) -> Piece:
    base = {
        "id": "chatcmpl-demo",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": model,
        "system_fingerprint": "fp_demo",
    }
    return plain(pause_s, base | {"choices": choices, "usage": None} | more)


def _delta(pause_s: float, model: str, delta: Json, finish: str | None = None) -> Piece:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _chunk(pause_s, model, [choice])


def _chat_end(model: str, prompt: int, completion: int) -> Iterator[Piece]:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
    yield _chunk(0.02, model, [], usage=usage)
    yield 0.0, b"data: [DONE]\n\n"


def _chat_request(model: str, question: str, **more: Any) -> Json:
    return {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": question},
        ],
        **more,
    }


def text() -> Play:
    """Text, with the usage on a chunk of its own."""
    model = "gpt-4.1-mini"
    text = (
        "A segment is an append-only file of frames. Each frame says what it is, how long it is"
        " and whose it is, and carries a checksum, so a reader can start anywhere and a torn"
        " tail is seen for what it is."
    )
    pieces = (
        _delta(0.3, model, {"role": "assistant", "content": "", "refusal": None}),
        *(_delta(0.03, model, {"content": word}) for word in words(text)),
        _delta(0.02, model, {}, "stop"),
        *_chat_end(model, 37, 48),
    )
    return Play(
        "chat, text",
        OPENAI,
        "/v1/chat/completions",
        bearer(CI_SECRET),
        _chat_request(model, "What is a segment?"),
        pieces,
        "complete",
    )


def tools() -> Play:
    """One tool call, its arguments in pieces."""
    model = "gpt-4.1"
    function = {"name": "read_file", "arguments": ""}
    call = {"index": 0, "id": "call_demo_1", "type": "function", "function": function}
    parts = ['{"path"', ': "store/', 'sweep.py"}']
    pieces = (
        _delta(0.4, model, {"role": "assistant", "content": None, "tool_calls": [call]}),
        *(
            _delta(0.15, model, {"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
            for part in parts
        ),
        _delta(0.02, model, {}, "tool_calls"),
        *_chat_end(model, 112, 19),
    )
    function_tool = {"name": "read_file", "parameters": {"type": "object"}}
    tools = [{"type": "function", "function": function_tool}]
    return Play(
        "chat, a tool call",
        OPENAI,
        "/v1/chat/completions",
        bearer(CI_SECRET),
        _chat_request(model, "Show me the sweep.", tools=tools),
        pieces,
        "complete",
    )


def left() -> Play:
    """The client has had enough in mid-answer."""
    model = "gpt-4.1"
    text = "There are three ways to do this, and I would like to go through all of them at length. "
    pieces = (
        _delta(0.3, model, {"role": "assistant", "content": ""}),
        *(_delta(0.06, model, {"content": word}) for word in words(text * 4)),
        _delta(0.02, model, {}, "stop"),
        *_chat_end(model, 29, 80),
    )
    return Play(
        "chat, the client leaves",
        OPENAI,
        "/v1/chat/completions",
        bearer(CI_SECRET),
        _chat_request(model, "How could I do this?"),
        pieces,
        "client_closed",
        ending=Ending.LEFT,
    )
