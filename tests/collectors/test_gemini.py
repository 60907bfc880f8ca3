"""Gemini: the design's table, one row each."""

from typing import Any

import pytest

from collectors.protocol import LlmProtocol
from tests.collectors.folding import Row, folded, warned


def chunk(*parts: Any, finish: Any = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, **more}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate]}


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"text": text, **more}


def calls(finish: Any = None, /, **call: Any) -> dict[str, Any]:
    return chunk({"functionCall": call}, finish=finish)


def piece(path: str, **value: Any) -> dict[str, Any]:
    return calls(partialArgs=[{"jsonPath": path, **value}], willContinue=True)


STOP = chunk(finish="STOP")
ERROR = {"error": {"code": 503, "message": "no", "status": "UNAVAILABLE"}}
THOUGHT = said("t", thought=True)

PARTS = [
    # result: the first candidate's parts
    Row(
        "three texts, one part",
        [chunk(said("a")), chunk(said("b")), chunk(said("c"), finish="STOP")],
        [said("abc")],
    ),
    Row("no finishReason", [chunk(said("a"))], [said("a")], truncated=True),
    Row(
        "finish unspecified",
        [chunk(said("a"), finish="FINISH_REASON_UNSPECIFIED")],
        [said("a")],
        truncated=True,
    ),
    Row("finish by number", [chunk(said("a"), finish=1)], [said("a")]),
    Row("finish again, null", [chunk(said("a"), finish="STOP"), chunk(said("b"))], [said("ab")]),
    Row(
        "error after a part",
        [chunk(said("a")), ERROR],
        [said("a")],
        error="UNAVAILABLE: no",
        truncated=True,
    ),
    Row(
        "error without a message",
        [chunk(said("a")), {"error": {"x": 1}}],
        [said("a")],
        error='{"x":1}',
        truncated=True,
    ),
    Row(
        "error beside a candidate",
        [{**chunk(said("a"), finish="STOP"), **ERROR}],
        [said("a")],
        error="UNAVAILABLE: no",
        truncated=True,
    ),
    Row(
        "the first error counts",
        [chunk(said("a")), ERROR, {"error": "two"}, STOP],
        [said("a")],
        error="UNAVAILABLE: no",
        truncated=True,
    ),
    Row("a thought, then text", [chunk(THOUGHT), chunk(said("a")), STOP], [THOUGHT, said("a")]),
    Row(
        "both in one chunk, then text",
        [chunk(THOUGHT, said("a")), chunk(said("b")), STOP],
        [THOUGHT, said("ab")],
    ),
    Row("thoughts join", [chunk(THOUGHT), chunk(THOUGHT), STOP], [said("tt", thought=True)]),
    Row(
        "thought false is text",
        [chunk(said("a")), chunk(said("b", thought=False)), STOP],
        [said("ab")],
    ),
    Row(
        "a signature keeps its part apart",
        [chunk(said("a")), chunk(said("b", thoughtSignature="s")), chunk(said("c")), STOP],
        [said("a"), said("b", thoughtSignature="s"), said("c")],
    ),
    Row(
        "a signature on empty text",
        [chunk(said("a")), chunk(said("", thoughtSignature="s"), finish="STOP")],
        [said("a"), said("", thoughtSignature="s")],
    ),
    Row(
        "empty text says nothing",
        [chunk(said("a")), chunk({"functionCall": {"name": "f"}}), chunk(said(""), finish="STOP")],
        [said("a"), {"functionCall": {"name": "f"}}],
    ),
    Row("empty text alone", [chunk(said(""), finish="STOP")], [said("")]),
    Row(
        "two calls",
        [calls(name="f", args={"a": 1}), calls("STOP", name="g", args={})],
        [
            {"functionCall": {"name": "f", "args": {"a": 1}}},
            {"functionCall": {"name": "g", "args": {}}},
        ],
    ),
    Row(
        "text, then a call",
        [chunk(said("a")), calls("STOP", name="f")],
        [said("a"), {"functionCall": {"name": "f"}}],
    ),
    Row(
        "other parts stay apart",
        [
            chunk({"inlineData": {"data": "x"}}),
            chunk({"inlineData": {"data": "y"}}),
            chunk({"executableCode": {"code": "1"}}),
            chunk({"codeExecutionResult": {"output": "1"}}),
            STOP,
        ],
        [
            {"inlineData": {"data": "x"}},
            {"inlineData": {"data": "y"}},
            {"executableCode": {"code": "1"}},
            {"codeExecutionResult": {"output": "1"}},
        ],
    ),
    Row(
        "unknown fields keep a text apart",
        [chunk(said("a")), chunk(said("b", mood=1)), chunk(said("c")), STOP],
        [said("a"), said("b", mood=1), said("c")],
    ),
    Row(
        "a call that streams",
        [
            chunk(
                {
                    "functionCall": {"name": "f", "id": "1", "willContinue": True},
                    "thoughtSignature": "s",
                }
            ),
            piece("$.where", stringValue="Bos", willContinue=True),
            piece("$.where", stringValue="ton"),
            piece("$.n[0].deep", numberValue=2),
            piece("$.n[1]", boolValue=True),
            piece("$['a b']", nullValue=None),
            calls("STOP"),
        ],
        [
            {
                "functionCall": {
                    "name": "f",
                    "id": "1",
                    "args": {"where": "Boston", "n": [{"deep": 2}, True], "a b": None},
                },
                "thoughtSignature": "s",
            }
        ],
    ),
    Row(
        "two calls that stream",
        [
            calls(name="f", willContinue=True),
            piece("$.a", stringValue="x"),
            calls(),
            calls(name="g", willContinue=True),
            calls("STOP"),
        ],
        [
            {"functionCall": {"name": "f", "args": {"a": "x"}}},
            {"functionCall": {"name": "g", "args": {}}},
        ],
    ),
    Row(
        "the last piece ends the call",
        [
            calls(name="f", willContinue=True),
            calls("STOP", partialArgs=[{"jsonPath": "$.a", "numberValue": 1}]),
        ],
        [{"functionCall": {"name": "f", "args": {"a": 1}}}],
    ),
    Row(
        "a call that never ends",
        [calls(name="f", willContinue=True), piece("$.a", stringValue="x")],
        [{"functionCall": {"name": "f", "args": {"a": "x"}}}],
        truncated=True,
        warning="not whole",
    ),
    Row(
        "a call that another cuts",
        [calls(name="f", willContinue=True), calls("STOP", name="g")],
        [{"functionCall": {"name": "f"}}, {"functionCall": {"name": "g"}}],
        warning="did not",
    ),
    Row(
        "a path that leads nowhere",
        [
            calls(name="f", willContinue=True),
            piece("$.a", numberValue=1),
            piece("$.a.b", numberValue=1),
            piece("$[", numberValue=1),
            piece("$.x"),
            calls("STOP"),
        ],
        [{"functionCall": {"name": "f", "args": {"a": 1}}}],
        warning="could not be followed: $.a.b",
    ),
    Row(
        "no content",
        [{"candidates": [{"finishReason": "MAX_TOKENS"}]}, chunk(said("a"))],
        [said("a")],
    ),
    Row(
        "content without parts",
        [{"candidates": [{"content": {"role": "model"}}]}, chunk(said("a"), finish="STOP")],
        [said("a")],
    ),
    Row(
        "Code Assist's wrapper",
        [{"response": chunk(said("a"))}, {"response": STOP, "traceId": "t"}],
        [said("a")],
    ),
    Row(
        "all in one array",
        [
            '[{"candidates":[{"content":{"parts":[{"text":"a"}]}}]},'
            '{"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"}]}]'
        ],
        [said("ab")],
    ),
    Row("[DONE] at the end", [chunk(said("a"), finish="STOP"), "[DONE]"], [said("a")]),
    Row(
        "odd candidates",
        [
            {"candidates": [7, {"index": -1}, {"index": "x"}]},
            {"candidates": 7},
            chunk(7, said("a"), finish="STOP"),
        ],
        [said("a")],
        warning="a candidate that is no object",
    ),
    Row(
        "not JSON",
        [chunk(said("a")), "{cut", STOP],
        [said("a")],
        warning="1 event not in JSON",
    ),
]


@pytest.mark.check(97, 98, 99, 108, 109)
@pytest.mark.parametrize("row", PARTS, ids=str)
def test_table(row: Row) -> None:
    outcome = folded(LlmProtocol.GEMINI, row.events)
    assert outcome.result is not None
    assert row.result == outcome.result["candidates"][0]["content"]["parts"]
    assert (row.error, row.truncated) == (outcome.error, outcome.truncated)
    assert warned(outcome, row.warning), outcome.warnings


@pytest.mark.check(109)
@pytest.mark.parametrize(
    ("events", "result"),
    [
        (
            [
                {**chunk(said("a")), "usageMetadata": {"totalTokenCount": 1}, "modelVersion": "m"},
                {**STOP, "usageMetadata": {"totalTokenCount": 2}, "responseId": "r"},
                {"usageMetadata": {"totalTokenCount": 3}},
            ],
            {
                "candidates": [
                    {"content": {"role": "model", "parts": [said("a")]}, "finishReason": "STOP"}
                ],
                "usageMetadata": {"totalTokenCount": 3},
                "modelVersion": "m",
                "responseId": "r",
            },
        ),
        (
            [
                {"candidates": [{"index": 1, "content": {"parts": [said("b")]}}]},
                {
                    "candidates": [
                        {"index": 0, "content": {"parts": [said("a")]}, "finishReason": "STOP"},
                        {"index": 1, "content": {"parts": [said("B")]}},
                    ]
                },
                {"candidates": [{"index": 1, "finishReason": "MAX_TOKENS"}]},
            ],
            {
                "candidates": [
                    {"index": 0, "content": {"parts": [said("a")]}, "finishReason": "STOP"},
                    {"content": {"parts": [said("bB")]}, "finishReason": "MAX_TOKENS", "index": 1},
                ]
            },
        ),
        (
            [
                chunk(
                    said("a"),
                    safetyRatings=[1],
                    groundingMetadata={"q": 1},
                    tokenCount=1,
                    citationMetadata={"citationSources": [{"n": 1}]},
                ),
                chunk(
                    finish="STOP",
                    safetyRatings=[2],
                    tokenCount=2,
                    citationMetadata={"citationSources": [{"n": 1}, {"n": 2}]},
                ),
            ],
            {
                "candidates": [
                    {
                        "content": {"role": "model", "parts": [said("a")]},
                        "finishReason": "STOP",
                        "safetyRatings": [2],
                        "groundingMetadata": {"q": 1},
                        "tokenCount": 2,
                        "citationMetadata": {"citationSources": [{"n": 1}, {"n": 2}]},
                    }
                ]
            },
        ),
        (
            [{"response": STOP, "traceId": "t"}],
            {
                "candidates": [{"content": {"role": "model", "parts": []}, "finishReason": "STOP"}],
                "traceId": "t",
            },
        ),
    ],
    ids=["last wins", "candidates sorted", "fields of a candidate", "fields of the wrapper"],
)
def test_whole_results(events: list[Any], result: Any) -> None:
    outcome = folded(LlmProtocol.GEMINI, events)
    assert result == outcome.result
    assert (None, False, ()) == (outcome.error, outcome.truncated, outcome.warnings)


def test_a_blocked_prompt_is_said_and_is_not_cut() -> None:
    feedback = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 4},
    }
    outcome = folded(LlmProtocol.GEMINI, [feedback])
    assert (feedback, "blocked: SAFETY", False) == (
        outcome.result,
        outcome.error,
        outcome.truncated,
    )


@pytest.mark.check(98)
@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([], "no chunks in the stream"),
        (["[DONE]"], "no chunks in the stream"),
        ([ERROR], "UNAVAILABLE: no"),
        (
            ['[{"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}]'],
            "RESOURCE_EXHAUSTED: slow",
        ),
    ],
)
def test_nothing_to_fold(events: list[Any], error: str) -> None:
    outcome = folded(LlmProtocol.GEMINI, events)
    assert (None, error, True) == (outcome.result, outcome.error, outcome.truncated)


def test_usage_alone_is_truncated() -> None:
    outcome = folded(LlmProtocol.GEMINI, [{"usageMetadata": {"promptTokenCount": 1}}])
    assert ({"usageMetadata": {"promptTokenCount": 1}}, True) == (outcome.result, outcome.truncated)
