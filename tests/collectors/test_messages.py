"""Messages: the design's table, one row each."""

import json
from typing import Any

import pytest

from collectors.protocol import LlmProtocol
from tests.collectors.folding import Row, folded, warned

USAGE = {"input_tokens": 3, "output_tokens": 1}


def start(**more: Any) -> dict[str, Any]:
    return {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": USAGE,
            **more,
        },
    }


def block(index: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": fields}


def delta(index: Any, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stop(index: Any) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ends(reason: str | None = "end_turn", usage: Any = None, **more: Any) -> dict[str, Any]:
    event = {"type": "message_delta", "delta": {"stop_reason": reason, **more}}
    return event if usage is None else {**event, "usage": usage}


END = {"type": "message_stop"}
PING = {"type": "ping"}
OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


def text(index: int = 0) -> list[Any]:
    return [block(index, type="text", text=""), delta(index, "text_delta", text="Hi"), stop(index)]


def tool(
    *pieces: str, given: Any = None, stopped: bool = True, kind: str = "tool_use"
) -> list[Any]:
    deltas = [delta(0, "input_json_delta", partial_json=piece) for piece in pieces]
    opened = block(0, type=kind, id="t", name="f", input={} if given is None else given)
    return [opened, *deltas, *([stop(0)] if stopped else [])]


def use(value: Any, **more: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": "t", "name": "f", "input": value, **more}


HI = {"type": "text", "text": "Hi"}

CONTENT = [
    # result: the content
    Row("happy", [start(), *text(), ends(), END], [HI]),
    Row(
        "two deltas",
        [
            start(),
            block(0, type="text", text=""),
            delta(0, "text_delta", text="a"),
            delta(0, "text_delta", text="b"),
            stop(0),
            ends(),
            END,
        ],
        [{"type": "text", "text": "ab"}],
    ),
    Row(
        "text that its start begins",
        [start(), block(0, type="text", text="a"), delta(0, "text_delta", text="b"), stop(0), END],
        [{"type": "text", "text": "ab"}],
    ),
    Row("tool input in pieces", [start(), *tool('{"q"', ': "h', 'e"}'), END], [use({"q": "he"})]),
    Row("tool input of empty deltas", [start(), *tool("", ""), END], [use({})]),
    Row("tool input of its start", [start(), *tool(given={"a": 1}), END], [use({"a": 1})]),
    Row(
        "no input at its start",
        [
            start(),
            block(0, type="tool_use", id="t", name="f"),
            delta(0, "input_json_delta", partial_json=""),
            stop(0),
            END,
        ],
        [use({})],
    ),
    Row(
        "malformed tool input",
        [start(), *tool('{"q": "he'), END],
        [use({}, partial_json='{"q": "he')],
        warning='the input of f is not whole JSON: {"q": "he',
    ),
    Row(
        "tool input cut",
        [start(), *tool('{"q": "he', stopped=False)],
        [use({}, partial_json='{"q": "he')],
        truncated=True,
        warning="not whole JSON",
    ),
    Row(
        "tool input whole, not stopped",
        [start(), *tool('{"q": 1} ', stopped=False)],
        [use({"q": 1})],
        truncated=True,
    ),
    Row("tool input null", [start(), *tool("null"), END], [use(None)], warning="no object: null"),
    Row("tool input a list", [start(), *tool("[1]"), END], [use([1])], warning="no object: [1]"),
    *(
        Row(
            f"{kind} has an input too",
            [start(), *tool('{"q":1}', kind=kind), END],
            [{**use({"q": 1}), "type": kind}],
        )
        for kind in ("server_tool_use", "mcp_tool_use")
    ),
    Row(
        "two signatures: the last",
        [
            start(),
            block(0, type="thinking", thinking="", signature=""),
            delta(0, "thinking_delta", thinking="t"),
            delta(0, "signature_delta", signature="s1"),
            delta(0, "signature_delta", signature="s2"),
            stop(0),
            END,
        ],
        [{"type": "thinking", "thinking": "t", "signature": "s2"}],
    ),
    Row(
        "no signature, no key",
        [
            start(),
            block(0, type="thinking", thinking=""),
            delta(0, "thinking_delta", thinking="t"),
            stop(0),
            END,
        ],
        [{"type": "thinking", "thinking": "t"}],
    ),
    Row(
        "a signature in the start",
        [start(), block(0, type="thinking", thinking="t", signature="s"), stop(0), END],
        [{"type": "thinking", "thinking": "t", "signature": "s"}],
    ),
    Row(
        "redacted thinking",
        [start(), block(0, type="redacted_thinking", data="x"), stop(0), END],
        [{"type": "redacted_thinking", "data": "x"}],
    ),
    Row(
        "citations on text deltas",
        [
            start(),
            block(0, type="text", text=""),
            delta(0, "text_delta", text="a", citations=[{"n": 1}]),
            delta(0, "text_delta", text="b", citations=[{"n": 2}]),
            stop(0),
            END,
        ],
        [{"type": "text", "text": "ab", "citations": [{"n": 1}, {"n": 2}]}],
    ),
    Row(
        "citations of every kind stay as they are",
        [
            start(),
            block(0, type="text", text="", citations=[]),
            delta(0, "citations_delta", citation={"type": "search_result_location", "source": "s"}),
            delta(0, "citations_delta", citation={"type": "char_location", "x": None}),
            stop(0),
            END,
        ],
        [
            {
                "type": "text",
                "text": "",
                "citations": [
                    {"type": "search_result_location", "source": "s"},
                    {"type": "char_location", "x": None},
                ],
            }
        ],
    ),
    Row(
        "results arrive whole",
        [
            start(),
            block(0, type="web_search_tool_result", tool_use_id="t", content=[{"url": "u"}]),
            stop(0),
            ends("pause_turn"),
            END,
        ],
        [{"type": "web_search_tool_result", "tool_use_id": "t", "content": [{"url": "u"}]}],
    ),
    Row(
        "fallback block",
        [start(), block(0, type="fallback", **{"from": "a", "to": "b"}), stop(0), END],
        [{"type": "fallback", "from": "a", "to": "b"}],
    ),
    Row(
        "compaction",
        [
            start(),
            block(0, type="compaction", content=None),
            delta(0, "compaction_delta", content="a"),
            delta(0, "compaction_delta", content="b"),
            stop(0),
            END,
        ],
        [{"type": "compaction", "content": "ab"}],
    ),
    Row(
        "unknown block",
        [start(), block(0, type="hologram", beam=[1]), stop(0), END],
        [{"type": "hologram", "beam": [1]}],
    ),
    Row(
        "unknown delta",
        [
            start(),
            block(0, type="hologram", beam=""),
            delta(0, "beam_delta", beam="a"),
            delta(0, "beam_delta", beam="b"),
            stop(0),
            END,
        ],
        [{"type": "hologram", "beam": "ab"}],
        warning="2 events with a delta of unknown type beam_delta",
    ),
    Row(
        "unknown fields of a block",
        [start(), block(0, type="text", text="Hi", mood="glad"), stop(0), END],
        [{**HI, "mood": "glad"}],
    ),
    Row("a gap closes", [start(), *text(2), END], [HI], warning="gaps"),
    *(
        Row(
            f"index {index!r}",
            [
                start(),
                block(index, type="text", text="x"),
                delta(index, "text_delta", text="y"),
                END,
            ],
            [],
            warning="with an invalid index",
        )
        for index in (-1, 1.5, "0", None, True)
    ),
    Row(
        "a huge index allocates nothing",
        [start(), block(2**60, type="text", text="Hi"), stop(2**60), END],
        [HI],
        warning="gaps",
    ),
    Row(
        "orphan delta",
        [start(), delta(0, "text_delta", text="x"), END],
        [],
        warning="1 event for a block that never started",
    ),
    Row("orphan stop", [start(), stop(3), END], [], warning="for a block that never started"),
    Row(
        "delta of another type",
        [
            start(),
            block(0, type="text", text=""),
            delta(0, "thinking_delta", thinking="x"),
            stop(0),
            END,
        ],
        [{"type": "text", "text": ""}],
        warning="1 event with a thinking_delta for a text block, ignored",
    ),
    Row(
        "delta that is no text",
        [start(), block(0, type="text", text=""), delta(0, "text_delta", text=7), stop(0), END],
        [{"type": "text", "text": ""}],
        warning="no text",
    ),
    Row(
        "delta without a delta",
        [start(), *text(), {"type": "content_block_delta", "index": 0}, END],
        [HI],
        warning="without a delta",
    ),
    Row(
        "a start without its block",
        [start(), {"type": "content_block_start", "index": 0}, END],
        [{}],
        warning="content_block_start without a block",
    ),
    Row(
        "unknown fields of a known delta",
        [start(), *text()[:1], delta(0, "text_delta", text="Hi", mood="glad"), stop(0), END],
        [{**HI, "mood": "glad"}],
    ),
    Row("never stopped", [start(), *text()[:2], END], [HI], warning="a block never stopped"),
    Row("cut", [start(), *text()[:2]], [HI], truncated=True),
    Row("cut after its stop reason", [start(), *text(), ends()], [HI], truncated=True),
    Row(
        "error after a part",
        [start(), *text()[:2], OVERLOADED],
        [HI],
        error="overloaded_error: Overloaded",
        truncated=True,
    ),
    Row(
        "error, then the end",
        [start(), OVERLOADED, *text(), END],
        [HI],
        error="overloaded_error: Overloaded",
        truncated=True,
    ),
    Row(
        "the first error counts",
        [start(), OVERLOADED, {"type": "error", "error": {"message": "2"}}],
        [],
        error="overloaded_error: Overloaded",
        truncated=True,
    ),
    Row("ping anywhere", [PING, start(), PING, *text(), PING, END, PING], [HI]),
    Row(
        "the event line decides where data has no type",
        [("message_start", {"message": start()["message"]}), *text(), ("message_stop", {})],
        [HI],
    ),
    Row(
        "the event line is not believed",
        [("wrong", item) for item in (start(), *text(), END)],
        [HI],
    ),
    Row("[DONE] at the end", [start(), *text(), END, "[DONE]"], [HI]),
    Row("blank data", [start(), "", " ", *text(), END], [HI]),
    Row("not JSON", [start(), "{cut", *text(), END], [HI], warning="1 event not in JSON"),
    Row(
        "unknown event",
        [start(), {"type": "x"}, {"type": "x"}, *text(), END],
        [HI],
        warning="2 events of unknown type x",
    ),
    Row(
        "a second start",
        [start(), *text(), start(id="msg_2"), *text(), END],
        [HI, HI],
        warning="another message_start",
    ),
    Row(
        "a block started twice", [start(), *text(), *text(), END], [HI, HI], warning="started twice"
    ),
    Row(
        "half a surrogate pair in each delta",
        [
            start(),
            block(0, type="text", text=""),
            '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\ud83d"}}',
            '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\ude00"}}',
            stop(0),
            END,
        ],
        [{"type": "text", "text": "😀"}],
    ),
    Row("a message that was not streamed", [{**start()["message"], "content": [HI]}], [HI]),
]


@pytest.mark.check(97, 98, 99, 100, 101, 102)
@pytest.mark.parametrize("row", CONTENT, ids=str)
def test_table(row: Row) -> None:
    outcome = folded(LlmProtocol.MESSAGES, row.events)
    assert outcome.result is not None
    assert row.result == outcome.result["content"]
    assert (row.error, row.truncated) == (outcome.error, outcome.truncated)
    assert warned(outcome, row.warning), outcome.warnings


@pytest.mark.check(98, 102)
@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([OVERLOADED], "overloaded_error: Overloaded"),
        ([], "no message_start in the stream"),
        ([PING], "no message_start in the stream"),
        (text(), "unexpected 'content_block_start' before message_start"),
        ([END], "unexpected 'message_stop' before message_start"),
        ([("error", {"type": "error", "error": {"message": "no"}})], "no"),
        ([{"error": {"type": "t", "message": "m"}}], "t: m"),
        ([("error", "plain words")], "plain words"),
        ([{"type": "error"}], "error without a message"),
    ],
)
def test_nothing_to_fold(events: list[Any], error: str) -> None:
    """Without a message_start there is no result, and the error says why."""
    outcome = folded(LlmProtocol.MESSAGES, events)
    assert (None, error, True) == (outcome.result, outcome.error, outcome.truncated)


@pytest.mark.check(101)
@pytest.mark.parametrize(
    ("events", "field", "value"),
    [
        ([ends()], "stop_reason", "end_turn"),
        ([ends("stop_sequence", stop_sequence="X")], "stop_sequence", "X"),
        ([ends(None)], "stop_reason", None),
        ([ends("end_turn"), ends(None)], "stop_reason", "end_turn"),
        ([ends(container={"id": "c"})], "container", {"id": "c"}),
        ([ends(stop_details={"x": 1})], "stop_details", {"x": 1}),
        ([{**ends(), "context_management": {"e": []}}], "context_management", {"e": []}),
        (
            [{**END, "amazon-bedrock-invocationMetrics": {"n": 1}}],
            "amazon-bedrock-invocationMetrics",
            {"n": 1},
        ),
        ([ends(usage={"output_tokens": 5})], "usage", {"input_tokens": 3, "output_tokens": 5}),
        ([ends(usage={"output_tokens": None})], "usage", USAGE),
        (
            [ends(usage={"input_tokens": 9, "output_tokens": 5})],
            "usage",
            {"input_tokens": 9, "output_tokens": 5},
        ),
        (
            [
                ends(usage={"server_tool_use": {"web_search_requests": 0}}),
                ends(
                    usage={
                        "server_tool_use": {"web_search_requests": 1},
                        "service_tier": "standard",
                    }
                ),
            ],
            "usage",
            {**USAGE, "server_tool_use": {"web_search_requests": 1}, "service_tier": "standard"},
        ),
    ],
)
def test_message_fields(events: list[Any], field: str, value: Any) -> None:
    """Everything beside the content: deltas and unknown keys are taken, null erases nothing."""
    outcome = folded(LlmProtocol.MESSAGES, [start(), *events, END])
    assert outcome.result is not None
    assert value == outcome.result[field]
    assert "msg_1" == outcome.result["id"]


def test_unknown_fields_of_the_message_stay() -> None:
    outcome = folded(LlmProtocol.MESSAGES, [start(mood="glad"), END])
    assert outcome.result is not None
    assert {**start(mood="glad")["message"]} == outcome.result


def test_the_whole_fragment_stays_in_the_block() -> None:
    """A warning shows the beginning of a cut tool input, the block all of it."""
    raw = '{"text": "' + "x" * 5000
    outcome = folded(LlmProtocol.MESSAGES, [start(), *tool(raw, stopped=False)])
    assert outcome.result is not None
    assert raw == outcome.result["content"][0]["partial_json"]
    assert all(len(line) < 200 for line in outcome.warnings)
    assert json.dumps(outcome.result)
