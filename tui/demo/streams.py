"""What the demonstration plays: exchanges of the four protocols, whole, slow, cut and erring. Pure.

All of it is written for this purpose; ids, keys and prices are obviously not real. A play's
pieces are (seconds to wait, bytes to send), so that the timing on screen is the stream's own.
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


def plays() -> list[Play]:
    """Every exchange of the demonstration, in the order they are begun."""
    return [
        _messages_text(),
        _chat_text(),
        _gemini_thought(),
        _responses_reasoning(),
        _messages_tool(),
        _messages_whole(),
        _chat_tools(),
        _responses_failed(),
        _messages_overloaded(),
        _gemini_array(),
        _messages_cut(),
        _rate_limited(),
        _chat_left(),
        _stranger(),
    ]


# -- how they are written ------------------------------------------------------------------


def _words(text: str) -> Iterator[str]:
    """The text in token-sized pieces; joined they are the text."""
    word = ""
    for character in text:
        word += character
        if character in " \n":
            yield word
            word = ""
    if word:
        yield word


def _named(pause_s: float, data: Json) -> Piece:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return pause_s, f"event: {data['type']}\ndata: {text}\n\n".encode()


def _plain(pause_s: float, data: Json, newline: str = "\n") -> Piece:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return pause_s, f"data: {text}{newline}{newline}".encode()


def _anthropic(secret: str) -> tuple[tuple[str, str], ...]:
    return (
        ("User-Agent", "flowtap-demo/1.0"),
        ("x-api-key", secret),
        ("anthropic-version", "2023-06-01"),
        ("Content-Type", "application/json"),
        ("Accept", "text/event-stream"),
    )


def _bearer(secret: str) -> tuple[tuple[str, str], ...]:
    return (
        ("User-Agent", "flowtap-demo/1.0"),
        ("Authorization", f"Bearer {secret}"),
        ("Content-Type", "application/json"),
    )


def _google(secret: str) -> tuple[tuple[str, str], ...]:
    return (("x-goog-api-key", secret), ("Content-Type", "application/json"))


# -- Anthropic Messages --------------------------------------------------------------------

_SYSTEM = "You are a careful engineer. Read before you write, test before you say done."


def _ask(model: str, question: str, **more: Any) -> Json:
    return {
        "model": model,
        "max_tokens": 1024,
        "stream": True,
        "system": [
            {"type": "text", "text": _SYSTEM, "cache_control": {"type": "ephemeral"}},
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
    return _named(0.35, {"type": "message_start", "message": message})


def _block(index: int, block: Json, deltas: list[Json], pace_s: float) -> Iterator[Piece]:
    yield _named(0.02, {"type": "content_block_start", "index": index, "content_block": block})
    for delta in deltas:
        yield _named(pace_s, {"type": "content_block_delta", "index": index, "delta": delta})
    yield _named(0.01, {"type": "content_block_stop", "index": index})


def _text(index: int, text: str, pace_s: float = 0.03) -> Iterator[Piece]:
    deltas = [{"type": "text_delta", "text": word} for word in _words(text)]
    yield from _block(index, {"type": "text", "text": ""}, deltas, pace_s)


def _thinking(index: int, text: str, pace_s: float = 0.03) -> Iterator[Piece]:
    deltas = [{"type": "thinking_delta", "thinking": word} for word in _words(text)]
    deltas.append({"type": "signature_delta", "signature": "ZGVtby1zaWduYXR1cmU="})
    yield from _block(index, {"type": "thinking", "thinking": "", "signature": ""}, deltas, pace_s)


def _stop(reason: str, output_tokens: int) -> Iterator[Piece]:
    yield _named(
        0.02,
        {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": {"output_tokens": output_tokens},
        },
    )
    yield _named(0.01, {"type": "message_stop"})


def _messages_text() -> Play:
    model = "claude-opus-4-5"
    pieces = (
        _start(model, cache_read_input_tokens=18_204, cache_creation_input_tokens=310),
        *_thinking(0, "The sweep keeps what equals the cutoff. The test expects it gone. "),
        _named(0.6, {"type": "ping"}),
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
        _anthropic(LAPTOP_SECRET),
        _ask(model, question, thinking={"type": "enabled", "budget_tokens": 1024}),
        pieces,
        "complete",
        answer=(("request-id", "req_demo_0001"),),
    )


def _messages_tool() -> Play:
    model = "claude-sonnet-4-5"
    parts = ['{"comm', 'and": "py', "test -q ", "tests/store", '"}']
    deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    tool = {"type": "tool_use", "id": "toolu_demo_01", "name": "Bash", "input": {}}
    pieces = (
        _start(model, cache_read_input_tokens=18_514),
        *_text(0, "I will run the tests of the store first. ", 0.12),
        # A pause as of a model that writes a long argument: the stall is seen in the events.
        _named(1.8, {"type": "ping"}),
        *_block(1, tool, deltas, 0.35),
        *_stop("tool_use", 54),
    )
    tools = [{"name": "Bash", "description": "Run a command.", "input_schema": {"type": "object"}}]
    return Play(
        "messages, slow, with a tool call",
        ANTHROPIC,
        "/v1/messages?beta=true",
        _anthropic(LAPTOP_SECRET),
        _ask(model, "Does the store still pass?", tools=tools),
        pieces,
        "complete",
    )


def _messages_whole() -> Play:
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
        _anthropic(LAPTOP_SECRET),
        request,
        ((0.4, json.dumps(body).encode()),),
        "complete",
        content_type="application/json",
    )


def _messages_overloaded() -> Play:
    model = "claude-opus-4-5"
    error = {"type": "overloaded_error", "message": "Overloaded"}
    pieces = (
        _start(model),
        *list(_text(0, "Here is the plan. First I would look at the "))[:-1],
        _named(0.5, {"type": "error", "error": error}),
    )
    return Play(
        "messages, an error in mid-stream",
        ANTHROPIC,
        "/v1/messages?beta=true",
        _anthropic(LAPTOP_SECRET),
        _ask(model, "Plan the migration."),
        pieces,
        "failed",
    )


def _messages_cut() -> Play:
    model = "claude-sonnet-4-5"
    whole = list(
        _text(0, "A record is kept from its completion on, so a long request is not born ")
    )
    return Play(
        "messages, cut by the upstream",
        ANTHROPIC,
        "/v1/messages?beta=true",
        _anthropic(LAPTOP_SECRET),
        _ask(model, "From when on does a retention count?"),
        (_start(model), *whole[:-1]),
        "upstream_closed",
        ending=Ending.CUT,
    )


def _rate_limited() -> Play:
    error = {"type": "rate_limit_error", "message": "This request would exceed your rate limit."}
    body = {"type": "error", "error": error, "request_id": "req_demo_0429"}
    return Play(
        "messages, refused",
        ANTHROPIC,
        "/v1/messages?beta=true",
        _anthropic(LAPTOP_SECRET),
        _ask("claude-opus-4-5", "And once more."),
        ((0.15, json.dumps(body).encode()),),
        "failed",
        status=429,
        content_type="application/json",
        answer=(("retry-after", "12"),),
    )


def _stranger() -> Play:
    body = {"type": "error", "error": {"type": "authentication_error", "message": "demo"}}
    return Play(
        "a key that is not opted in: passes, not recorded",
        ANTHROPIC,
        "/v1/messages",
        _anthropic(STRANGER_SECRET),
        _ask("claude-opus-4-5", "This stays between us."),
        ((0.1, json.dumps(body).encode()),),
        None,
        status=401,
        content_type="application/json",
    )


# -- Chat Completions ----------------------------------------------------------------------


def _chunk(pause_s: float, model: str, choices: list[Json], **more: Any) -> Piece:
    base = {
        "id": "chatcmpl-demo",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": model,
        "system_fingerprint": "fp_demo",
    }
    return _plain(pause_s, base | {"choices": choices, "usage": None} | more)


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
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": question},
        ],
        **more,
    }


def _chat_text() -> Play:
    model = "gpt-4.1-mini"
    text = (
        "A segment is an append-only file of frames. Each frame says what it is, how long it is"
        " and whose it is, and carries a checksum, so a reader can start anywhere and a torn"
        " tail is seen for what it is."
    )
    pieces = (
        _delta(0.3, model, {"role": "assistant", "content": "", "refusal": None}),
        *(_delta(0.03, model, {"content": word}) for word in _words(text)),
        _delta(0.02, model, {}, "stop"),
        *_chat_end(model, 37, 48),
    )
    return Play(
        "chat, text",
        OPENAI,
        "/v1/chat/completions",
        _bearer(CI_SECRET),
        _chat_request(model, "What is a segment?"),
        pieces,
        "complete",
    )


def _chat_tools() -> Play:
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
        _bearer(CI_SECRET),
        _chat_request(model, "Show me the sweep.", tools=tools),
        pieces,
        "complete",
    )


def _chat_left() -> Play:
    model = "gpt-4.1"
    text = "There are three ways to do this, and I would like to go through all of them at length. "
    pieces = (
        _delta(0.3, model, {"role": "assistant", "content": ""}),
        *(_delta(0.06, model, {"content": word}) for word in _words(text * 4)),
        _delta(0.02, model, {}, "stop"),
        *_chat_end(model, 29, 80),
    )
    return Play(
        "chat, the client leaves",
        OPENAI,
        "/v1/chat/completions",
        _bearer(CI_SECRET),
        _chat_request(model, "How could I do this?"),
        pieces,
        "client_closed",
        ending=Ending.LEFT,
    )


# -- Responses -----------------------------------------------------------------------------


def _response(model: str, status: str, output: list[Json], **more: Any) -> Json:
    return {
        "id": "resp_demo_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "model": model,
        "output": output,
        "error": None,
        "incomplete_details": None,
        "usage": None,
        **more,
    }


def _numbered(pieces: list[tuple[float, Json]]) -> tuple[Piece, ...]:
    return tuple(
        _named(pause_s, data | {"sequence_number": number})
        for number, (pause_s, data) in enumerate(pieces)
    )


def _responses_request(question: str) -> Json:
    return {
        "model": "gpt-5.2",
        "stream": True,
        "instructions": _SYSTEM,
        "input": [{"role": "user", "content": [{"type": "input_text", "text": question}]}],
        "reasoning": {"effort": "medium", "summary": "auto"},
    }


def _responses_reasoning() -> Play:
    model = "gpt-5.2"
    thought = "**Comparing the two locks**\n\nOne is held for a life, one for a commit."
    answer = (
        "Hold the writer's own lock for its whole life: whoever finds it free knows that the"
        " writer is dead. Hold the folder's lock only from append to commit, so that a purge"
        " never waits longer than one sync."
    )
    reasoning: Json = {"type": "reasoning", "id": "rs_demo_1", "summary": []}
    summary_part = {"type": "summary_text", "text": ""}
    message: Json = {
        "type": "message",
        "id": "msg_demo_9",
        "status": "in_progress",
        "role": "assistant",
        "content": [],
    }
    part: Json = {"type": "output_text", "text": "", "annotations": []}
    done_reasoning = reasoning | {"summary": [summary_part | {"text": thought}]}
    done_message = message | {"status": "completed", "content": [part | {"text": answer}]}
    usage = {
        "input_tokens": 64,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 118,
        "output_tokens_details": {"reasoning_tokens": 64},
        "total_tokens": 182,
    }
    summary = {"item_id": "rs_demo_1", "output_index": 0, "summary_index": 0}
    text = {"item_id": "msg_demo_9", "output_index": 1, "content_index": 0}
    whole = _response(model, "completed", [done_reasoning, done_message], usage=usage)
    kind = "response."
    pieces: list[tuple[float, Json]] = [
        (0.3, {"type": f"{kind}created", "response": _response(model, "in_progress", [])}),
        (0.0, {"type": f"{kind}in_progress", "response": _response(model, "in_progress", [])}),
        (0.2, {"type": f"{kind}output_item.added", "output_index": 0, "item": reasoning}),
        (0.1, {"type": f"{kind}reasoning_summary_part.added", "part": summary_part} | summary),
        *(
            (0.05, {"type": f"{kind}reasoning_summary_text.delta", "delta": word} | summary)
            for word in _words(thought)
        ),
        (0.0, {"type": f"{kind}reasoning_summary_text.done", "text": thought} | summary),
        (0.0, {"type": f"{kind}output_item.done", "output_index": 0, "item": done_reasoning}),
        (0.4, {"type": f"{kind}output_item.added", "output_index": 1, "item": message}),
        (0.0, {"type": f"{kind}content_part.added", "part": part} | text),
        *(
            (0.03, {"type": f"{kind}output_text.delta", "delta": word} | text)
            for word in _words(answer)
        ),
        (0.0, {"type": f"{kind}output_text.done", "text": answer} | text),
        (0.0, {"type": f"{kind}output_item.done", "output_index": 1, "item": done_message}),
        (0.05, {"type": f"{kind}completed", "response": whole}),
    ]
    return Play(
        "responses, reasoning and text",
        OPENAI,
        "/v1/responses",
        _bearer(CI_SECRET),
        _responses_request("Which lock should be held for how long?"),
        _numbered(pieces),
        "complete",
    )


def _responses_failed() -> Play:
    error = {"code": "server_error", "message": "The model had an error. Please try again."}
    failed = _response("gpt-5.2", "failed", [], error=error)
    pieces: list[tuple[float, Json]] = [
        (0.3, {"type": "response.created", "response": _response("gpt-5.2", "in_progress", [])}),
        (1.1, {"type": "response.failed", "response": failed}),
    ]
    return Play(
        "responses, failed",
        OPENAI,
        "/v1/responses",
        _bearer(CI_SECRET),
        _responses_request("Try this."),
        _numbered(pieces),
        "failed",
    )


# -- Gemini --------------------------------------------------------------------------------

_GEMINI_MODEL = "gemini-3-pro"


def _gemini(parts: list[Json], finish: str | None = None, **more: Any) -> Json:
    candidate: Json = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": _GEMINI_MODEL, **more}


def _gemini_usage(prompt: int, answer: int, thoughts: int) -> Json:
    return {
        "promptTokenCount": prompt,
        "candidatesTokenCount": answer,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": prompt + answer + thoughts,
    }


def _gemini_request(question: str) -> Json:
    return {
        "contents": [{"role": "user", "parts": [{"text": question}]}],
        "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
    }


def _gemini_thought() -> Play:
    thoughts = "Weighing both: one scans, one asks an index. "
    answer = "Keyset paging asks for what is below the last id, so page one thousand costs what page one costs."
    chunks = [
        _gemini([{"text": thoughts, "thought": True}]),
        *(_gemini([{"text": word}]) for word in _words(answer)),
        _gemini([{"text": ""}], "STOP", usageMetadata=_gemini_usage(22, 24, 31)),
    ]
    return Play(
        "gemini, a thought and text",
        GOOGLE,
        f"/v1beta/models/{_GEMINI_MODEL}:streamGenerateContent?alt=sse",
        _google(CI_SECRET),
        _gemini_request("Offset or keyset paging?"),
        # Google frames with CRLF.
        tuple(_plain(0.09, chunk, "\r\n") for chunk in chunks),
        "complete",
    )


def _gemini_array() -> Play:
    answer = "Without alt=sse the stream is one JSON array, an item at a time."
    chunks = [
        *(_gemini([{"text": word}]) for word in _words(answer)),
        _gemini([{"text": ""}], "STOP", usageMetadata=_gemini_usage(15, 14, 0)),
    ]
    texts = [json.dumps(chunk, indent=1).encode() for chunk in chunks]
    pieces = [(0.1, b"[" + texts[0]), *((0.1, b"\n,\r\n" + text) for text in texts[1:])]
    return Play(
        "gemini, a JSON array",
        GOOGLE,
        f"/v1beta/models/{_GEMINI_MODEL}:streamGenerateContent",
        _google(CI_SECRET),
        _gemini_request("What if I leave alt=sse away?"),
        (*pieces, (0.0, b"\n]")),
        "complete",
        content_type="application/json; charset=UTF-8",
    )
