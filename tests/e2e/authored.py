"""Streams of four protocols as their APIs send them, written for these tests: text, thinking, tools, usage.

Each is a list of chunks as the upstream writes them. Cuts do not follow events everywhere:
`ragged` makes chunks of a few hundred bytes out of whatever it is given.
"""

import json
from typing import Any


def event(name: str | None, data: Any) -> bytes:
    """One SSE frame."""
    head = "" if name is None else f"event: {name}\n"
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"{head}data: {text}\n\n".encode()


def typed(*items: dict[str, Any]) -> list[bytes]:
    """Frames whose name is their type, as Anthropic and the Responses API send them."""
    return [event(item["type"], item) for item in items]


def ragged(chunks: list[bytes], size: int) -> list[bytes]:
    """The same bytes in pieces of `size`, through the middle of events and characters."""
    data = b"".join(chunks)
    return [data[at : at + size] for at in range(0, len(data), size)]


# -- Anthropic Messages ---------------------------------------------------------------------------


def _block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


MESSAGES = typed(
    {
        "type": "message_start",
        "message": {
            "id": "msg_test_0001",
            "type": "message",
            "role": "assistant",
            "model": "claude-test-1",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 21,
                "cache_creation_input_tokens": 5,
                "cache_read_input_tokens": 300,
                "output_tokens": 1,
            },
        },
    },
    *_block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "The user wants the weather. "},
        {"type": "thinking_delta", "thinking": "A tool knows it."},
        {"type": "signature_delta", "signature": "c2lnbmF0dXJl"},
    ),
    {"type": "ping"},
    *_block(
        1,
        {"type": "text", "text": ""},
        {"type": "text_delta", "text": "Ich schaue nach: "},
        {"type": "text_delta", "text": "Zürich, 晴れ? 🌦"},
    ),
    *_block(
        2,
        {"type": "tool_use", "id": "toolu_test_1", "name": "get_weather", "input": {}},
        {"type": "input_json_delta", "partial_json": ""},
        {"type": "input_json_delta", "partial_json": '{"city": "Zür'},
        {"type": "input_json_delta", "partial_json": 'ich", "days": [1, 2]}'},
    ),
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 87},
    },
    {"type": "message_stop"},
)

# -- OpenAI Chat Completions ----------------------------------------------------------------------


def _chat(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    head = {"id": "chatcmpl-test-1", "object": "chat.completion.chunk", "created": 1_770_000_000}
    return event(None, {**head, "model": "gpt-test-1", "choices": choices, **more})


def _call(index: int, **fields: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, **fields}]}


CHAT = [
    _chat({"role": "assistant", "content": "", "refusal": None}),
    _chat({"content": "I look "}),
    _chat({"content": "it up: 🌦"}),
    _chat(_call(0, id="call_1", type="function", function={"name": "weather", "arguments": ""})),
    _chat(_call(0, function={"arguments": '{"city":'})),
    _chat(_call(0, function={"arguments": ' "Oslo"}'})),
    _chat(_call(1, id="call_2", type="function", function={"name": "clock", "arguments": "{}"})),
    _chat({}, "tool_calls"),
    _chat(
        None,
        usage={
            "prompt_tokens": 40,
            "completion_tokens": 30,
            "total_tokens": 70,
            "prompt_tokens_details": {"cached_tokens": 32},
            "completion_tokens_details": {"reasoning_tokens": 12},
        },
    ),
    event(None, "[DONE]"),
]

# -- OpenAI Responses -----------------------------------------------------------------------------

_SUMMARY = {"type": "summary_text", "text": "Look it up first."}
_REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [_SUMMARY],
}
_TEXT_PART = {"type": "output_text", "text": "One moment, Zürich …", "annotations": []}
_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [_TEXT_PART],
}
_FUNCTION = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "call_9",
    "name": "get_weather",
    "arguments": '{"city":"Zürich"}',
    "status": "completed",
}


def _response(status: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_test_1",
        "object": "response",
        "created_at": 1_770_000_000,
        "status": status,
        "model": "gpt-test-5",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        **more,
    }


def _numbered(*items: dict[str, Any]) -> list[bytes]:
    return typed(*(item | {"sequence_number": number} for number, item in enumerate(items)))


def _part(kind: str, **fields: Any) -> dict[str, Any]:
    """An event of the item and the part that `fields` name."""
    return {"type": f"response.{kind}", **fields}


_R = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
_M = {"item_id": "msg_1", "output_index": 1, "content_index": 0}
_F = {"item_id": "fc_1", "output_index": 2}

RESPONSES = _numbered(
    _part("created", response=_response("in_progress")),
    _part("in_progress", response=_response("in_progress")),
    _part("output_item.added", output_index=0, item=_REASONING | {"summary": []}),
    _part("reasoning_summary_part.added", **_R, part={"type": "summary_text", "text": ""}),
    _part("reasoning_summary_text.delta", **_R, delta="Look it "),
    _part("reasoning_summary_text.delta", **_R, delta="up first."),
    _part("reasoning_summary_text.done", **_R, text="Look it up first."),
    _part("reasoning_summary_part.done", **_R, part=_SUMMARY),
    _part("output_item.done", output_index=0, item=_REASONING),
    _part(
        "output_item.added",
        output_index=1,
        item=_MESSAGE | {"status": "in_progress", "content": []},
    ),
    _part("content_part.added", **_M, part=_TEXT_PART | {"text": ""}),
    _part("output_text.delta", **_M, delta="One moment, ", logprobs=[]),
    _part("output_text.delta", **_M, delta="Zürich …", logprobs=[]),
    _part("output_text.done", **_M, text="One moment, Zürich …", logprobs=[]),
    _part("content_part.done", **_M, part=_TEXT_PART),
    _part("output_item.done", output_index=1, item=_MESSAGE),
    _part(
        "output_item.added",
        output_index=2,
        item=_FUNCTION | {"status": "in_progress", "arguments": ""},
    ),
    _part("function_call_arguments.delta", **_F, delta='{"city":'),
    _part("function_call_arguments.delta", **_F, delta='"Zürich"}'),
    _part("function_call_arguments.done", **_F, arguments='{"city":"Zürich"}', name="get_weather"),
    _part("output_item.done", output_index=2, item=_FUNCTION),
    _part(
        "completed",
        response=_response(
            "completed",
            output=[_REASONING, _MESSAGE, _FUNCTION],
            usage={
                "input_tokens": 50,
                "input_tokens_details": {"cached_tokens": 48, "cache_write_tokens": 0},
                "output_tokens": 44,
                "output_tokens_details": {"reasoning_tokens": 20},
                "total_tokens": 94,
            },
        ),
    ),
)

# -- Gemini ---------------------------------------------------------------------------------------


def _gemini(*parts: dict[str, Any], finish: str | None = None, output: int) -> bytes:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return event(
        None,
        {
            "candidates": [candidate],
            "usageMetadata": {
                "promptTokenCount": 12,
                "candidatesTokenCount": output,
                "thoughtsTokenCount": 6,
                "totalTokenCount": 18 + output,
            },
            "modelVersion": "gemini-test-3",
            "responseId": "gemini-response-1",
        },
    )


GEMINI = [
    _gemini({"text": "They ask for weather.", "thought": True}, output=0),
    _gemini({"text": "Gleich: "}, output=2),
    _gemini({"text": "Zürich 🌦", "thoughtSignature": "c2ln"}, output=5),
    _gemini(
        {"functionCall": {"name": "get_weather", "args": {"city": "Zürich", "days": 2}}},
        output=11,
    ),
    _gemini({"text": ""}, finish="STOP", output=11),
]
