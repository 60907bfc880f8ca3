"""What the upstream of the client tests answers: one text in the words of each API. Pure.

An answer holds nothing but text, so that an agent prints it and stops: no tool is called, no
second turn asked for.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from collectors.protocol import LlmProtocol, clean_path, detect
from tests.e2e.authored import event, typed

EVENTS = "text/event-stream; charset=utf-8"
JSON = "application/json"
CREATED = 1_770_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; the body as the chunks that are written, one at a time."""

    status: int
    content_type: str
    chunks: list[bytes]


def answer(method: str, path: str, body: bytes, text: str) -> Answer:
    """`text` as the API at `path` says it; 404 for what asks no model."""
    protocol = detect(method, path)
    tell = _TELL.get(protocol) if protocol is not None else None
    if tell is None:
        error = {"type": "error", "error": {"type": "not_found_error", "message": "not here"}}
        return Answer(404, JSON, [json.dumps(error).encode()])
    asked = json.loads(body)
    streamed = asked.get("stream") or clean_path(path).endswith(":streamGenerateContent")
    schema = wanted_schema(asked)
    if schema is not None:
        text = json.dumps(instance(schema))
    chunks = list(tell(asked.get("model") or "test-model", text, bool(streamed)))
    return Answer(200, EVENTS if streamed else JSON, chunks)


def wanted_schema(asked: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON Schema that a Gemini request wants its answer in: Gemini CLI asks a small model so
    which large one to take."""
    config = asked.get("generationConfig") or {}
    return config.get("responseJsonSchema") or config.get("responseSchema")


def instance(schema: dict[str, Any]) -> Any:
    """Something of that schema, of its required properties alone."""
    if "enum" in schema:
        return schema["enum"][0]
    match str(schema.get("type")).lower():
        case "object":
            properties = schema.get("properties", {})
            return {name: instance(properties[name]) for name in schema.get("required", [])}
        case "array":
            return []
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return False
        case _:
            return "so"


def words(text: str) -> list[str]:
    """The pieces a text is streamed in."""
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]


def whole(value: Any) -> list[bytes]:
    """A body that is not streamed."""
    return [json.dumps(value, ensure_ascii=False).encode()]


# -- Anthropic Messages ---------------------------------------------------------------------------


def messages(model: str, text: str, streamed: bool) -> list[bytes]:
    """Of Anthropic's Messages API."""
    message: dict[str, Any] = {
        "id": "msg_test_0001",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 1},
    }
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    if not streamed:
        return whole(message | ended | {"content": [{"type": "text", "text": text}]})
    block = {"type": "text", "text": ""}
    deltas = [{"type": "text_delta", "text": word} for word in words(text)]
    return typed(
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": 12}},
        {"type": "message_stop"},
    )


# -- OpenAI ---------------------------------------------------------------------------------------


def chat(model: str, text: str, streamed: bool) -> list[bytes]:
    """Of Chat Completions."""
    usage = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
    head = {"id": "chatcmpl-test-1", "created": CREATED, "model": model}
    if not streamed:
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return whole({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": word}, None) for word in words(text)]
    deltas.append(({}, "stop"))
    head |= {"object": "chat.completion.chunk"}
    return [
        *(
            event(None, {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]})
            for delta, end in deltas
        ),
        event(None, {**head, "choices": [], "usage": usage}),
        event(None, "[DONE]"),
    ]


def response_events(model: str, text: str | None, number: int = 1) -> list[dict[str, Any]]:
    """The events of the Responses API; text None is the answer to a warm-up, which says nothing."""
    place = {"item_id": f"msg_{number}", "output_index": 0, "content_index": 0}
    part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
    item = {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
    response = {
        "id": f"resp_test_{number}",
        "object": "response",
        "created_at": CREATED,
        "status": "in_progress",
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    said: list[dict[str, Any]] = []
    if text is not None:
        begun = item | {"status": "in_progress", "content": []}
        deltas = [{"delta": word, "logprobs": []} for word in words(text)]
        said = [
            {"type": "response.output_item.added", "output_index": 0, "item": begun},
            {"type": "response.content_part.added", **place, "part": part | {"text": ""}},
            *({"type": "response.output_text.delta", **place, **delta} for delta in deltas),
            {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
            {"type": "response.content_part.done", **place, "part": part},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
        ]
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 12 if said else 0,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 21 if said else 9,
    }
    ended = response | {"status": "completed", "output": [item] if said else [], "usage": usage}
    events = [
        {"type": "response.created", "response": response},
        {"type": "response.in_progress", "response": response},
        *said,
        {"type": "response.completed", "response": ended},
    ]
    return [each | {"sequence_number": place} for place, each in enumerate(events)]


def responses(model: str, text: str, streamed: bool) -> list[bytes]:
    """Of the Responses API over HTTP."""
    events = response_events(model, text)
    return typed(*events) if streamed else whole(events[-1]["response"])


def socket_messages(create: bytes, text: str, number: int) -> list[bytes]:
    """Of the Responses API over a WebSocket: the messages after a `response.create`; none else."""
    asked = json.loads(create)
    if asked.get("type") != "response.create":
        return []
    said = None if asked.get("generate") is False else text
    return [
        json.dumps(each, ensure_ascii=False).encode()
        for each in response_events(asked.get("model") or "test-model", said, number)
    ]


# -- Gemini ---------------------------------------------------------------------------------------


def gemini(_: str, text: str, streamed: bool) -> Iterator[bytes]:
    """Of generateContent and streamGenerateContent; the model is in the path."""
    said = words(text) if streamed else [text]
    for number, word in enumerate(said, 1):
        candidate: dict[str, Any] = {
            "content": {"role": "model", "parts": [{"text": word}]},
            "index": 0,
        }
        if number == len(said):
            candidate["finishReason"] = "STOP"
        usage = {
            "promptTokenCount": 9,
            "candidatesTokenCount": number,
            "totalTokenCount": 9 + number,
        }
        value = {
            "candidates": [candidate],
            "usageMetadata": usage,
            "modelVersion": "gemini-test-3",
            "responseId": "gemini-response-1",
        }
        yield event(None, value) if streamed else whole(value)[0]


_TELL = {
    LlmProtocol.MESSAGES: messages,
    LlmProtocol.CHAT: chat,
    LlmProtocol.RESPONSES: responses,
    LlmProtocol.GEMINI: gemini,
}


# -- and back -------------------------------------------------------------------------------------


def text_of(protocol: str | None, result: dict[str, Any] | None) -> str:
    """All the text in a final message of that API, as a fold or a body that is not streamed has it."""
    if result is None:
        return ""
    match protocol:
        case LlmProtocol.MESSAGES:
            parts = result["content"]
        case LlmProtocol.CHAT:
            return "".join(choice["message"]["content"] or "" for choice in result["choices"])
        case LlmProtocol.RESPONSES:
            parts = [part for item in result["output"] for part in item["content"]]
        case LlmProtocol.GEMINI:
            parts = [part for each in result["candidates"] for part in each["content"]["parts"]]
        case _:
            raise ValueError(f"no text in an answer of {protocol}")
    return "".join(part["text"] for part in parts)
