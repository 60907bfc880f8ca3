"""Whatever comes, no collector raises, and the same events give the same outcome."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.event import Event
from collectors.protocol import LlmProtocol, sniff
from collectors.registry import fold, fold_body, new_collector
from collectors.usage import usage_of
from tests.collectors.corpus import PROTOCOLS, files, needs_corpus, read
from tests.collectors.folding import event

# Words that the collectors look for, so that random objects get past the first check.
KEYS = sorted(
    {
        "type",
        "index",
        "delta",
        "content",
        "content_block",
        "message",
        "usage",
        "error",
        "id",
        "name",
    }
    | {"text", "thinking", "signature", "citations", "citation", "partial_json", "input", "object"}
    | {"choices", "finish_reason", "tool_calls", "function", "custom", "arguments", "logprobs"}
    | {"reasoning", "reasoning_details", "reasoning_items", "audio", "data", "role", "refusal"}
    | {"response", "item", "item_id", "output_index", "content_index", "summary_index", "part"}
    | {"status", "output", "annotation", "sequence_number", "partial_image_b64", "operation"}
    | {"action", "commands", "command_index", "command", "diff", "summary", "candidates", "parts"}
    | {"functionCall", "partialArgs", "jsonPath", "stringValue", "numberValue", "willContinue"}
    | {"args", "thought", "thoughtSignature", "finishReason", "promptFeedback", "blockReason"}
    | {"usageMetadata", "citationMetadata", "function_call", "annotations", "code", "stop_reason"}
)
TYPES = sorted(
    {"message_start", "content_block_start", "content_block_delta", "content_block_stop"}
    | {"message_delta", "message_stop", "message", "ping", "error", "text", "thinking", "tool_use"}
    | {"text_delta", "input_json_delta", "signature_delta", "citations_delta", "compaction_delta"}
    | {"response.created", "response.completed", "response.failed", "response.output_item.added"}
    | {"response.output_item.done", "response.content_part.added", "response.content_part.done"}
    | {"response.output_text.delta", "response.output_text.done", "response.mcp_call.completed"}
    | {"response.output_text.annotation.added", "response.function_call_arguments.delta"}
    | {"response.reasoning_summary_text.delta", "response.reasoning_summary_part.added"}
    | {"response.image_generation_call.partial_image", "response.audio.delta", "function"}
    | {"response.apply_patch_call_operation_diff.delta", "response.shell_call_command.delta"}
    | {"response.audio.transcript.delta", "chat.completion.chunk", "chat.completion", "STOP"}
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([2**60, 1.5, float("nan"), float("inf")]),
    st.sampled_from(["", "$.a[0].b", "$.a", '{"q":', "{}", "\ud83d", "assistant", *TYPES]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=14,
)
OBJECTS = st.builds(
    lambda kind, rest: {**rest, **({"type": kind} if kind else {})},
    st.one_of(st.none(), st.sampled_from(TYPES)),
    st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6),
)
EVENTS = st.lists(
    st.builds(
        lambda name, data: event(data, name),
        st.one_of(st.none(), st.sampled_from([*TYPES, "error"])),
        st.one_of(OBJECTS, OBJECTS, VALUES, st.text(max_size=8)),
    ),
    max_size=8,
)

MESSAGES_START = event({"type": "message_start", "message": {"content": []}})


@pytest.mark.check(97)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(events=EVENTS)
def test_random_events_never_raise(protocol: str, events: list[Event]) -> None:
    """Folding twice is equal, asking in between changes nothing, and the outcome is plain JSON."""
    if protocol == "messages":
        # Without a start little of it would be reached.
        events = [MESSAGES_START, *events]
    asked = new_collector(LlmProtocol(protocol))
    assert asked is not None
    for item in events:
        asked.feed(item)
        asked.outcome()
    outcome = fold(LlmProtocol(protocol), events)
    assert repr(outcome) == repr(asked.outcome())
    json.dumps(outcome.result).encode()
    "\n".join((outcome.error or "", *outcome.warnings)).encode()
    usage_of(LlmProtocol(protocol), outcome.result)
    sniff(events)


@pytest.mark.check(97)
@given(body=st.one_of(st.binary(max_size=40), VALUES.map(lambda value: json.dumps(value).encode())))
def test_random_bodies_never_raise(body: bytes) -> None:
    for protocol in LlmProtocol:
        outcome = fold_body(protocol, body)
        usage_of(protocol, outcome.result)
    sniff(body)


@needs_corpus
@pytest.mark.check(97, 98)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_any_collector_takes_any_stream(protocol: str) -> None:
    """Every recorded stream through every collector, also the wrong one."""
    for path in files():
        events = read(path.read_bytes())
        outcome = fold(LlmProtocol(protocol), events)
        assert outcome.result is not None or outcome.error is not None, path.name
        json.dumps(outcome.result, allow_nan=False)


@needs_corpus
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_small_streams_fold_alike_however_they_are_cut(protocol: str) -> None:
    """Byte by byte, and in two at every byte, the smallest recorded streams give one outcome."""
    for path in sorted(files(protocol), key=lambda path: path.stat().st_size)[:3]:
        data = path.read_bytes()
        whole = fold(LlmProtocol(protocol), read(data))
        assert whole == fold(LlmProtocol(protocol), read(data, step=1))
        for step in range(2, min(len(data), 400)):
            assert whole == fold(LlmProtocol(protocol), read(data, step=step))


@needs_corpus
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_all_streams_fold_alike_in_network_sized_pieces(protocol: str) -> None:
    for path in files(protocol):
        data = path.read_bytes()
        whole = fold(LlmProtocol(protocol), read(data))
        assert whole == fold(LlmProtocol(protocol), read(data, step=1380)), path.name


LONG: dict[str, tuple[list[Any], Any]] = {
    # protocol: (what opens the stream, one of its many deltas)
    "messages": (
        [
            {"type": "message_start", "message": {"content": []}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        ],
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x" * 50}},
    ),
    "responses": (
        [{"type": "response.created", "response": {}}],
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "x" * 50,
         "logprobs": [{"token": "x"}]},
    ),
    "chat": (
        [],
        {"choices": [{"index": 0, "delta": {"content": "x" * 50, "unknown": "y" * 50},
                      "logprobs": {"content": [{"token": "x"}]}}]},
    ),
    "gemini": ([], {"candidates": [{"content": {"parts": [{"text": "x" * 50}]}}]}),
}  # fmt: skip


MANY: dict[str, Any] = {
    # protocol: the n-th of many different things in one stream
    "messages": lambda n: {"type": "content_block_start", "index": n, "content_block": {"type": "text", "text": "x"}},
    "responses": lambda n: {"type": "response.output_item.added", "item": {"id": str(n), "type": "message"}},
    "chat": lambda n: {"x": {str(n): n}, "choices": [{"index": 0, "delta": {
        "tool_calls": [{"id": str(n), "function": {"name": str(n)}}], "reasoning_items": [{"id": str(n)}]}}]},
    "gemini": lambda n: {"candidates": [{"content": {"parts": [{"functionCall": {"name": str(n)}}]},
        "citationMetadata": {"citationSources": [{"n": n}]}}]},
}  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_many_different_things_are_linear(protocol: str) -> None:
    """Twenty thousand calls, items or blocks in one stream: quadratic, this would take minutes."""
    collector = new_collector(LlmProtocol(protocol))
    assert collector is not None
    for item in LONG[protocol][0]:
        collector.feed(event(item))
    begin = time.thread_time()
    for number in range(20_000):
        collector.feed(event(MANY[protocol](number)))
    outcome = collector.outcome()
    assert outcome.result is not None
    assert time.thread_time() - begin < 10
    assert len(json.dumps(outcome.result)) > 20_000


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_folding_is_linear(protocol: str) -> None:
    """Eight times the events take about eight times as long; quadratic would be sixty-four."""
    opening, delta = LONG[protocol]
    delta_event = event(delta)

    def seconds(count: int) -> float:
        collector = new_collector(LlmProtocol(protocol))
        assert collector is not None
        for item in opening:
            collector.feed(event(item))
        begin = time.thread_time()
        for number in range(count):
            collector.feed(delta_event)
            if number % 1000 == 0:
                collector.outcome()
        return time.thread_time() - begin

    # CPU time of this thread, the best of three: what else runs here does not count.
    small = min(seconds(2_000) for _ in range(3))
    large = min(seconds(16_000) for _ in range(3))
    assert large < 30 * small
