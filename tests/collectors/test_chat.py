"""Chat completions: the design's table, one row each."""

from typing import Any

import pytest

from collectors.protocol import LlmProtocol
from tests.collectors.folding import Row, folded, warned

BASE = {"id": "c1", "object": "chat.completion.chunk", "created": 7, "model": "m"}


def chunk(*choices: Any, **more: Any) -> dict[str, Any]:
    return {**BASE, "choices": list(choices), **more}


def choice(index: Any = 0, finish: str | None = None, /, **delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


def says(**delta: Any) -> dict[str, Any]:
    return chunk(choice(**delta))


def call(index: Any = 0, /, **fields: Any) -> dict[str, Any]:
    return {"index": index, **fields}


FINISH = chunk(choice(0, "stop"))
DONE = "[DONE]"
END = [FINISH, DONE]


def function(name: Any, arguments: Any, id_: str | None = "c", **more: Any) -> dict[str, Any]:
    return {"id": id_, **more, "function": {"name": name, "arguments": arguments}}


MESSAGE = [
    # result: the first choice's message
    Row(
        "happy",
        [says(role="assistant", content=""), says(content="a"), says(content="b"), *END],
        {"role": "assistant", "content": "ab"},
    ),
    Row(
        "empty content is null",
        [says(role="assistant", content=""), *END],
        {"role": "assistant", "content": None},
    ),
    Row(
        "role once",
        [says(role="assistant", content="a"), says(role="assistant", content="b"), *END],
        {"role": "assistant", "content": "ab"},
    ),
    Row("no delta (GLM, vLLM)", [chunk({"index": 0}), says(content="a"), *END], {"content": "a"}),
    Row(
        "null delta",
        [chunk({"index": 0, "delta": None}), says(content="a"), *END],
        {"content": "a"},
    ),
    Row(
        "call in pieces",
        [
            says(
                tool_calls=[call(id="c", type="function", function={"name": "f", "arguments": ""})]
            ),
            says(tool_calls=[call(function={"arguments": "{}"})]),
            *END,
        ],
        {"content": None, "tool_calls": [function("f", "{}", type="function")]},
    ),
    Row(
        "a name in pieces",
        [
            says(tool_calls=[call(id="c", function={"name": "look", "arguments": ""})]),
            says(tool_calls=[call(function={"name": "up"})]),
            *END,
        ],
        {"content": None, "tool_calls": [function("lookup", "")]},
    ),
    Row(
        "name and id with every piece",
        [
            says(tool_calls=[call(id="c", function={"name": "f", "arguments": piece})])
            for piece in ("{", "}")
        ]
        + END,
        {"content": None, "tool_calls": [function("f", "{}")]},
    ),
    Row(
        "a gap in the calls",
        [
            says(
                tool_calls=[
                    call(2, id="b", function={"name": "g", "arguments": "2"}),
                    call(0, id="a", function={"name": "f", "arguments": "1"}),
                ]
            ),
            *END,
        ],
        {"content": None, "tool_calls": [function("f", "1", "a"), function("g", "2", "b")]},
    ),
    Row(
        "calls with one index, told apart by id",
        [says(tool_calls=[call(id=i, function={"name": i, "arguments": "{}"})]) for i in ("a", "b")]
        + END,
        {"content": None, "tool_calls": [function("a", "{}", "a"), function("b", "{}", "b")]},
        warning="share the index 0",
    ),
    Row(
        "a new id without a name is the same call",
        [
            says(tool_calls=[call(id="a", function={"name": "f", "arguments": "{"})]),
            says(tool_calls=[call(id="b", function={"arguments": "}"})]),
            *END,
        ],
        {"content": None, "tool_calls": [function("f", "{}", "a")]},
    ),
    Row(
        "calls without index (Mistral)",
        [
            says(
                tool_calls=[
                    {"id": "a", "function": {"name": "f", "arguments": "{}"}},
                    {"id": "b", "function": {"name": "g", "arguments": "{}"}},
                ]
            ),
            *END,
        ],
        {"content": None, "tool_calls": [function("f", "{}", "a"), function("g", "{}", "b")]},
    ),
    Row(
        "a call without index goes on",
        [
            says(tool_calls=[{"id": "a", "function": {"name": "f", "arguments": "{"}}]),
            says(tool_calls=[{"function": {"arguments": "}"}}]),
            *END,
        ],
        {"content": None, "tool_calls": [function("f", "{}", "a")]},
    ),
    Row(
        "no calls",
        [says(role="assistant", tool_calls=None, content="a"), *END],
        {"role": "assistant", "tool_calls": None, "content": "a"},
    ),
    Row(
        "a call without id",
        [says(tool_calls=[call(function={"name": "f", "arguments": ""})]), *END],
        {"content": None, "tool_calls": [function("f", "", None)]},
        warning="a tool call without id",
    ),
    Row(
        "custom call",
        [
            says(tool_calls=[call(id="c", type="custom", custom={"name": "f", "input": "a"})]),
            says(tool_calls=[call(custom={"input": "b"})]),
            *END,
        ],
        {
            "content": None,
            "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "ab"}}],
        },
    ),
    Row(
        "extra fields of a call",
        [
            says(
                tool_calls=[
                    call(
                        id="c",
                        extra_content={"google": {"thought_signature": "s"}},
                        function={"name": "f", "arguments": "{}"},
                    )
                ]
            ),
            *END,
        ],
        {
            "content": None,
            "tool_calls": [
                function("f", "{}", extra_content={"google": {"thought_signature": "s"}})
            ],
        },
    ),
    Row(
        "arguments as an object",
        [says(tool_calls=[call(id="c", function={"name": "f", "arguments": {"a": 1}})]), *END],
        {"content": None, "tool_calls": [function("f", {"a": 1})]},
    ),
    Row(
        "legacy function_call",
        [
            says(function_call={"name": "f", "arguments": "{"}),
            says(function_call={"arguments": "}"}),
            *END,
        ],
        {"function_call": {"name": "f", "arguments": "{}"}, "content": None},
    ),
    Row("refusal", [says(refusal=None), says(refusal=""), *END], {"refusal": "", "content": None}),
    Row(
        "refusal joins",
        [says(refusal="I "), says(refusal="can't"), *END],
        {"refusal": "I can't", "content": None},
    ),
    *(
        Row(
            f"{field} joins",
            [says(**{field: "no "}), says(**{field: "no "}), *END],
            {field: "no no ", "content": None},
        )
        for field in ("reasoning", "reasoning_content", "reasoning_text")
    ),
    Row(
        "reasoning_opaque: the last",
        [says(reasoning_opaque="a"), says(reasoning_opaque="b"), *END],
        {"reasoning_opaque": "b", "content": None},
    ),
    Row(
        "reasoning_items by id",
        [
            says(reasoning_items=[{"id": "r", "n": 1}, {"id": "s"}]),
            says(reasoning_items=[{"id": "r", "n": 2}]),
            *END,
        ],
        {"reasoning_items": [{"id": "r", "n": 2}, {"id": "s"}], "content": None},
    ),
    Row(
        "reasoning_details",
        [
            says(
                reasoning_details=[{"type": "reasoning.text", "index": 0, "text": t, "format": "f"}]
            )
            for t in ("a", "b")
        ]
        + [
            says(
                reasoning_details=[
                    {"type": "reasoning.text", "index": 0, "signature": "s"},
                    {"type": "reasoning.encrypted", "index": 0, "data": "d"},
                ]
            ),
            *END,
        ],
        {
            "reasoning_details": [
                {
                    "type": "reasoning.text",
                    "index": 0,
                    "text": "ab",
                    "format": "f",
                    "signature": "s",
                },
                {"type": "reasoning.encrypted", "index": 0, "data": "d"},
            ],
            "content": None,
        },
    ),
    Row(
        "annotations append",
        [says(annotations=[{"n": 1}]), says(annotations=[{"n": 2}]), *END],
        {"annotations": [{"n": 1}, {"n": 2}], "content": None},
    ),
    Row(
        "audio",
        [
            says(audio={"id": "a", "transcript": "x"}),
            says(audio={"transcript": "y"}),
            says(audio={"data": "QUJD"}),
            says(audio={"data": "RA=="}),
            says(audio={"expires_at": 3}),
            *END,
        ],
        {
            "audio": {"id": "a", "transcript": "xy", "expires_at": 3, "data": "QUJDRA=="},
            "content": None,
        },
    ),
    Row(
        "audio in padded pieces",
        [says(audio={"data": "QQ=="}), says(audio={"data": "Qg=="}), *END],
        {"audio": {"data": ["QQ==", "Qg=="]}, "content": None},
    ),
    Row(
        "Mistral's thinking",
        [
            says(content=[{"type": "thinking", "thinking": [{"type": "text", "text": t}]}])
            for t in ("a", "b")
        ]
        + [says(content="c"), says(content="d"), *END],
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "ab"}]},
                {"type": "text", "text": "cd"},
            ]
        },
    ),
    Row(
        "text, then a list",
        [
            says(content="a"),
            says(
                content=[
                    {"type": "text", "text": "b"},
                    {"type": "image_url", "image_url": {"url": "u"}},
                ]
            ),
            *END,
        ],
        {
            "content": [
                {"type": "text", "text": "ab"},
                {"type": "image_url", "image_url": {"url": "u"}},
            ]
        },
    ),
    Row(
        "padding is left out",
        [chunk(choice(content="a", obfuscation="xyz"), obfuscation="abc", p="q"), *END],
        {"content": "a"},
    ),
    Row(
        "unknown string",
        [says(mood="gl"), says(mood="ad"), *END],
        {"mood": "glad", "content": None},
    ),
    Row(
        "unknown array by index",
        [
            says(tools=[{"index": 0, "out": "a"}]),
            says(tools=[{"index": 0, "out": "b"}, {"index": 1_000_000, "out": "c"}]),
            *END,
        ],
        {"tools": [{"index": 0, "out": "ab"}, {"index": 1_000_000, "out": "c"}], "content": None},
    ),
    Row(
        "unknown object",
        [says(meta={"a": 1}), says(meta={"b": 2}), *END],
        {"meta": {"a": 1, "b": 2}, "content": None},
    ),
    Row(
        "unknown scalar: the last that is not null",
        [says(n=1), says(n=2), says(n=None), *END],
        {"n": 2, "content": None},
    ),
    Row("odd names", [says(__proto__="a", content="b"), *END], {"__proto__": "a", "content": "b"}),
    Row(
        "channel does not join",
        [says(channel="analysis"), says(channel="analysis"), *END],
        {"channel": "analysis", "content": None},
    ),
    Row(
        "a message instead of deltas",
        [
            chunk(
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "whole"},
                    "finish_reason": "stop",
                }
            ),
            DONE,
        ],
        {"role": "assistant", "content": "whole"},
    ),
    Row(
        "a message beside deltas",
        [chunk({**choice(content="a"), "message": {"content": "aa"}}), *END],
        {"content": "a"},
    ),
    Row(
        "not JSON between",
        [says(content="a"), '{"id":}]}', says(content="b"), *END],
        {"content": "ab"},
        warning="1 event not in JSON",
    ),
    Row("cut", [says(content="a")], {"content": "a"}, truncated=True),
    Row("no finish reason", [says(content="a"), DONE], {"content": "a"}, truncated=True),
    Row("no [DONE]", [says(content="a"), FINISH], {"content": "a"}, truncated=True),
    Row(
        "an empty finish reason is none",
        [chunk(choice(0, "", content="a")), DONE],
        {"content": "a"},
        truncated=True,
    ),
    Row(
        "error after a part",
        [says(content="a"), {"error": {"message": "no", "type": "server_error"}}, DONE],
        {"content": "a"},
        error="server_error: no",
        truncated=True,
    ),
    Row(
        "error as text",
        [says(content="a"), {"error": "boom"}],
        {"content": "a"},
        error="boom",
        truncated=True,
    ),
    Row(
        "error without a message",
        [says(content="a"), {"error": {"x": 1}}],
        {"content": "a"},
        error='{"x":1}',
        truncated=True,
    ),
    Row(
        "error and choices in one chunk (OpenRouter)",
        [
            says(content="a"),
            chunk(choice(0, "error", content="b"), error={"code": 502, "message": "no"}),
            DONE,
        ],
        {"content": "ab"},
        error="502: no",
        truncated=True,
    ),
    Row(
        "an error line (llama.cpp)",
        [says(content="a"), ("error", {"code": 500, "message": "no", "type": "server_error"})],
        {"content": "a"},
        error="server_error: no",
        truncated=True,
    ),
    Row(
        "the first error counts",
        [says(content="a"), {"error": "one"}, {"error": "two"}, *END],
        {"content": "a"},
        error="one",
        truncated=True,
    ),
    Row(
        "not streamed after all",
        [
            {
                **BASE,
                "object": "chat.completion",
                "choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}],
            }
        ],
        {"content": "a"},
    ),
    Row(
        "odd choices",
        [chunk(7, {"index": -1}, {"index": "x"}, choice(content="a")), *END],
        {"content": "a"},
        warning="a choice that is no object",
    ),
    Row(
        "odd content",
        [says(content=7), says(content="a"), *END],
        {"content": "a"},
        warning="neither text nor a list",
    ),
    Row(
        "odd calls",
        [says(tool_calls={"a": 1}), says(tool_calls=[7]), says(content="a"), *END],
        {"content": "a"},
        warning="tool_calls that is no list",
    ),
]


@pytest.mark.check(97, 98, 99, 106, 107)
@pytest.mark.parametrize("row", MESSAGE, ids=str)
def test_table(row: Row) -> None:
    outcome = folded(LlmProtocol.CHAT, row.events)
    assert outcome.result is not None
    assert row.result == outcome.result["choices"][0]["message"]
    assert (row.error, row.truncated) == (outcome.error, outcome.truncated)
    assert warned(outcome, row.warning), outcome.warnings


USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


@pytest.mark.check(107)
@pytest.mark.parametrize(
    ("events", "field", "value"),
    [
        ([FINISH, chunk(usage=USAGE), DONE], "usage", USAGE),
        ([chunk(usage={"total_tokens": 0}), FINISH, chunk(usage=USAGE), DONE], "usage", USAGE),
        ([chunk(usage=USAGE), chunk(usage=None), *END], "usage", USAGE),
        ([chunk(usage=USAGE), chunk(usage=USAGE), *END], "usage", USAGE),
        ([{"id": "", "model": "", "created": 0, "choices": []}, *END], "id", "c1"),
        ([{"id": "", "model": "", "created": 0, "choices": []}, *END], "created", 7),
        (
            [{"choices": [], "prompt_filter_results": [{"n": 0}]}, *END],
            "prompt_filter_results",
            [{"n": 0}],
        ),
        (
            [chunk(system_fingerprint="fp"), chunk(system_fingerprint="fp"), *END],
            "system_fingerprint",
            "fp",
        ),
        (
            [chunk(service_tier=None), chunk(service_tier="default"), *END],
            "service_tier",
            "default",
        ),
        (END, "object", "chat.completion"),
        (
            [chunk(x_groq={"id": "r"}), chunk(x_groq={"usage": USAGE}), *END],
            "x_groq",
            {"id": "r", "usage": USAGE},
        ),
        ([chunk(citations=["a"]), chunk(citations=["a", "b"]), *END], "citations", ["a", "b"]),
        ([chunk(timings={"n": 1}), *END], "timings", {"n": 1}),
    ],
)
def test_fields_beside_the_choices(events: list[Any], field: str, value: Any) -> None:
    outcome = folded(LlmProtocol.CHAT, events)
    assert outcome.result is not None
    assert value == outcome.result[field]
    assert not outcome.truncated


@pytest.mark.check(107)
def test_choices_are_kept_apart_and_sorted() -> None:
    """Two choices, interleaved and out of order, each with its own finish."""
    outcome = folded(
        LlmProtocol.CHAT,
        [
            chunk(choice(1, content="b")),
            chunk(choice(0, content="a")),
            chunk(choice(1, "length", content="B"), choice(0, content="A")),
            chunk(choice(0, "stop")),
            DONE,
        ],
    )
    assert outcome.result is not None
    assert [
        {"index": 0, "message": {"content": "aA"}, "finish_reason": "stop"},
        {"index": 1, "message": {"content": "bB"}, "finish_reason": "length"},
    ] == outcome.result["choices"]
    assert not outcome.truncated


def test_logprobs_extend_and_other_fields_of_a_choice_stay() -> None:
    def with_logprobs(token: str) -> dict[str, Any]:
        return {
            **choice(content=token),
            "logprobs": {"content": [{"token": token}], "refusal": None},
        }

    outcome = folded(
        LlmProtocol.CHAT,
        [
            chunk({**with_logprobs("a"), "content_filter_results": {"hate": {"filtered": False}}}),
            chunk({**with_logprobs("b"), "native_finish_reason": None}),
            chunk({**choice(0, "stop"), "logprobs": None, "native_finish_reason": "end_turn"}),
            DONE,
        ],
    )
    assert outcome.result is not None
    assert {
        "index": 0,
        "message": {"content": "ab"},
        "content_filter_results": {"hate": {"filtered": False}},
        "native_finish_reason": "end_turn",
        "logprobs": {"content": [{"token": "a"}, {"token": "b"}], "refusal": None},
        "finish_reason": "stop",
    } == outcome.result["choices"][0]


def test_a_choice_cut_shows_null_and_not_a_reason() -> None:
    outcome = folded(LlmProtocol.CHAT, [says(content="a"), DONE])
    assert outcome.result is not None
    assert outcome.result["choices"][0]["finish_reason"] is None


@pytest.mark.check(98)
@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([], "no chunks in the stream"),
        ([DONE], "no chunks in the stream"),
        ([{"error": {"message": "no", "type": "t"}}], "t: no"),
        ([("error", "words")], "words"),
        (['[{"error": {"code": 429, "message": "slow"}}]'], "429: slow"),
    ],
)
def test_nothing_to_fold(events: list[Any], error: str) -> None:
    outcome = folded(LlmProtocol.CHAT, events)
    assert (None, error, True) == (outcome.result, outcome.error, outcome.truncated)


@pytest.mark.parametrize(
    ("delta", "message", "warning"),
    [
        ({"annotations": 7}, {"content": None}, "annotations that is no list"),
        ({"reasoning_details": 7}, {"content": None}, "reasoning_details that is no list"),
        ({"reasoning_details": [7]}, {"reasoning_details": [7], "content": None}, None),
        ({"reasoning_items": 7}, {"content": None}, "reasoning_items that is no list"),
        ({"function_call": 7}, {"content": None}, "function_call that is no object"),
        ({"function_call": {"x": 1}}, {"function_call": {"x": 1}, "content": None}, None),
        ({"reasoning": 7}, {"reasoning": 7, "content": None}, None),
        ({"content": [7]}, {"content": []}, "a part of the content that is no object"),
        (
            {"content": [{"type": "thinking", "thinking": [7]}]},
            {"content": [{"type": "thinking", "thinking": [7]}]},
            None,
        ),
    ],
)
def test_odd_shapes_of_known_fields(
    delta: dict[str, Any], message: dict[str, Any], warning: str | None
) -> None:
    """Kept as they are or warned of, never raised."""
    outcome = folded(LlmProtocol.CHAT, [says(**delta), *END])
    assert outcome.result is not None
    assert message == outcome.result["choices"][0]["message"]
    assert warned(outcome, warning), outcome.warnings


def test_a_chunk_without_choices_keeps_its_other_fields() -> None:
    outcome = folded(LlmProtocol.CHAT, [{"id": "c9", "extra": 1}, says(content="a"), *END])
    assert outcome.result is not None
    assert ("c9", 1) == (outcome.result["id"], outcome.result["extra"])
    assert ("1 event without choices, only other fields kept",) == outcome.warnings
