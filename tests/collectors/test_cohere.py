"""Cohere's Chat, version 2."""

from typing import Any

import pytest

from collectors.cohere import _EVENTS
from collectors.facts import Facts, body_facts, request_model, stream_facts
from collectors.protocol import EVENT_STREAM, LlmProtocol, detect, sniff
from collectors.usage import Usage
from tests.collectors.folding import Row, events_of, folded, warned
from tests.collectors.streams import check_cut_at_every_event, check_every_split, sse

CO = LlmProtocol.COHERE


def ev(kind: str, index: int | None = None, **message: Any) -> dict[str, Any]:
    event: dict[str, Any] = {"type": kind}
    if index is not None:
        event["index"] = index
    if message:
        event["delta"] = {"message": message}
    return event


START = {"type": "message-start", "id": "i1", "delta": {"message": {
    "role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}}}  # fmt: skip
USED = {"billed_units": {"input_tokens": 2, "output_tokens": 3},
        "tokens": {"input_tokens": 70, "output_tokens": 9, "reasoning_tokens": 4}, "cached_tokens": 64}  # fmt: skip


def end(reason: str = "COMPLETE", **rest: Any) -> dict[str, Any]:
    return {"type": "message-end", "delta": {"finish_reason": reason, "usage": USED, **rest}}


def text(*pieces: str, index: int = 0, kind: str = "text") -> list[Any]:
    return [
        ev("content-start", index, content={"type": kind, kind: ""}),
        *(ev("content-delta", index, content={kind: piece}) for piece in pieces),
        ev("content-end", index),
    ]


def call(index: int, name: str, *pieces: str) -> list[Any]:
    function = {"name": name, "arguments": ""}
    return [
        ev("tool-call-start", index, tool_calls={"id": f"c{index}", "type": "function", "function": function}),
        *(ev("tool-call-delta", index, tool_calls={"function": {"arguments": piece}}) for piece in pieces),
        ev("tool-call-end", index),
    ]  # fmt: skip


def called(index: int, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"c{index}", "type": "function", "function": function}


CITED = {"start": 0, "end": 5, "text": "Héllo", "type": "TEXT_CONTENT", "content_index": 0,
         "sources": [{"type": "document", "id": "d1", "document": {"id": "d1", "title": "t"}}]}  # fmt: skip
PLAN = [ev("tool-plan-delta", tool_plan="I "), ev("tool-plan-delta", tool_plan="will.")]
STREAM = [START, *text("Hm", "m", kind="thinking"), *text("Hé", "llo", index=1),
          ev("citation-start", 0, citations=CITED), ev("citation-end", 0), end(), "[DONE]"]  # fmt: skip
TOOLS = [START, *PLAN, *call(0, "f", '{"x"', ": 1}"), *call(1, "g"), end("TOOL_CALL")]
HELLO = {"content": [{"type": "text", "text": "Hello"}]}

ROWS = [
    Row("thinking, text, a citation", STREAM, {"citations": [CITED], "content": [
        {"type": "thinking", "thinking": "Hmm"}, {"type": "text", "text": "Héllo"}]}),
    Row("a plan and tool calls, one without arguments", TOOLS, {"tool_plan": "I will.",
        "tool_calls": [called(0, "f", '{"x": 1}'), called(1, "g", "")]}),
    Row("a piece that is all that came before", [START, *text("x" * 20, "x" * 20), end()],
        {"content": [{"type": "text", "text": "x" * 40}]}),
    Row("by the event's name alone", [("message-start", {"id": "i1"}), ("message-end", {"delta": {}})], {}),
    Row("no end", [START, *text("Hel", "lo")], HELLO, truncated=True),
    Row("no start", [*text("Hello"), end()], HELLO),
    Row("a debug event", [START, {"type": "debug", "prompt": "<p>"}, *text("Hello"), end()], HELLO),
    Row("content that never started", [START, ev("content-delta", 0, content={"text": "Hello"}), end()],
        {"content": [{"text": "Hello"}]}, warning="never started"),
    Row("an index twice", [START, *text("a"), *text("b"), end()],
        {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, warning="started twice"),
    Row("no index", [START, ev("content-start", content={"text": "a"}), ev("content-delta", content={"text": "a"}), end()],
        {}, warning="invalid index"),
    Row("a plan without its text", [START, ev("tool-plan-delta"), end()], {}, warning="without its text"),
    Row("content of another kind", [START, ev("content-start", 0, content=7), end()], {"content": [{}]},
        warning="content is no object"),
    Row("a start that says more", [{"type": "message-start", "delta": {"message": {"content": [1]}}}, end()], {},
        warning="not kept"),
    Row("unknown", [START, {"type": "message-hum"}, *text("Hello"), end()], HELLO,
        warning="of unknown type message-hum"),
    Row("no type", [START, {"x": 1}, *text("Hello"), end()], HELLO, warning="without a type"),
    Row("failed", [START, *text("Hello"), end("ERROR")], HELLO, error="finish_reason ERROR", truncated=True),
    Row("failed, and why", [START, *text("Hello"), end("ERROR", error="boom")], HELLO, error="boom", truncated=True),
    Row("too slow", [START, *text("Hello"), end("TIMEOUT")], HELLO, error="finish_reason TIMEOUT", truncated=True),
    Row("cut at its limit", [START, *text("Hello"), end("MAX_TOKENS")], HELLO),
    Row("an error event", [START, *text("Hello"), {"type": "error", "message": "m"}], HELLO, error="m", truncated=True),
    Row("an error in place of an answer", [{"id": "i", "message": "invalid api token"}], None,
        error="invalid api token", truncated=True),
    Row("nothing", [], None, error="no message in the stream", truncated=True),
]  # fmt: skip


@pytest.mark.check(97, 98, 99)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_table(row: Row) -> None:
    outcome = folded(CO, row.events)
    assert (row.error, row.truncated) == (outcome.error, outcome.truncated)
    shown = None
    if outcome.result is not None:
        message = outcome.result["message"]
        assert "assistant" == message["role"]
        shown = {key: value for key, value in message.items() if key != "role"}
    assert row.result == shown
    assert warned(outcome, row.warning), outcome.warnings


def test_the_result_is_the_response_unstreamed() -> None:
    logprobs = {"token_ids": [1], "text": "a", "logprobs": [-0.5]}
    stream = [START, *text("a"), end("STOP_SEQUENCE")]
    stream[2]["logprobs"] = logprobs
    assert {
        "id": "i1",
        "finish_reason": "STOP_SEQUENCE",
        "message": {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
        "usage": USED,
        "logprobs": [logprobs],
    } == folded(CO, stream).result


@pytest.mark.check(97)
def test_every_event_type_has_a_row() -> None:
    """All that the v2 reference names are in the table, and no other."""
    seen = {item.get("type") for row in ROWS for item in row.events if isinstance(item, dict)}
    assert set(_EVENTS) <= seen
    assert {
        *("message-start", "message-end", "content-start", "content-delta", "content-end"),
        *("tool-plan-delta", "tool-call-start", "tool-call-delta", "tool-call-end"),
        *("citation-start", "citation-end", "debug"),
    } == set(_EVENTS)


@pytest.mark.check(97, 98)
@pytest.mark.parametrize("stream", [STREAM[:-1], TOOLS], ids=["text", "tools"])
def test_cut_and_split(stream: list[Any]) -> None:
    check_cut_at_every_event(CO, stream)
    check_every_split(CO, sse([START, *stream[-4:]]), EVENT_STREAM)


@pytest.mark.check(33)
def test_facts() -> None:
    """Also of streams of which only both ends are looked at; Cohere never says the model."""
    used = Usage(70, 9, 64, None, 4)
    long = [START, *text(*["word " * 9] * 2000), end()]
    for stream in (STREAM, TOOLS, long):
        assert Facts(None, used, True) == stream_facts(CO, sse(stream), b"", True, EVENT_STREAM)
    assert Facts() == stream_facts(CO, sse(STREAM[:3]), b"", True, EVENT_STREAM)
    whole = b'{"id":"i","finish_reason":"COMPLETE","message":{},"usage":{"billed_units":{"input_tokens":1}}}'
    assert Facts(None, Usage(1), True) == body_facts(CO, whole)
    assert Facts(error="invalid api token") == body_facts(
        CO, b'{"id":"i","message":"invalid api token"}'
    )


def test_told_apart() -> None:
    assert CO is detect("POST", "/v2/chat")
    assert detect("POST", "/v1/chat") is None
    for stream in (STREAM, TOOLS):
        assert CO is sniff(events_of(stream))
    assert "command-a" == request_model("/v2/chat", CO, b'{"model":"command-a","messages":[]}')
