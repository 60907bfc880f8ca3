"""Legacy completions: OpenAI's and those of its kin, and Anthropic's."""

from typing import Any

import pytest
from openai.types.completion import Completion
from openai.types.completion_choice import CompletionChoice, Logprobs

from collectors.facts import Facts, request_model, stream_facts
from collectors.protocol import EVENT_STREAM, LlmProtocol, detect, sniff
from collectors.registry import fold, fold_body
from collectors.usage import Usage
from tests.collectors.folding import Row, events_of, folded, warned
from tests.collectors.streams import check_cut_at_every_event, check_every_split, sse

T, A = LlmProtocol.COMPLETIONS, LlmProtocol.ANTHROPIC_COMPLETIONS


def chunk(text: str = "", finish: str | None = None, index: int = 0, **rest: Any) -> dict[str, Any]:
    choice = {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
    return {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m",
            "choices": [{**choice, **rest}]}  # fmt: skip


USED = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
USAGE = {"id": "cmpl-1", "object": "text_completion", "choices": [], "usage": USED}
STREAM = [chunk("Hé"), chunk("llo"), chunk("", "stop"), USAGE, "[DONE]"]

ROWS = [
    Row("text, finish, usage, end", STREAM, [("Héllo", "stop")]),
    Row("usage on every chunk, the last counts",
        [{**chunk("a", "length"), "usage": {"prompt_tokens": 0}}, USAGE, "[DONE]"], [("a", "length")]),
    Row("a piece that is all that came before", [chunk("x" * 20), chunk("x" * 20, "stop"), "[DONE]"],
        [("x" * 40, "stop")]),
    Row("prompts interleaved, out of order", [chunk("b", index=1), chunk("a"), chunk("B", "stop", index=1),
        chunk("A", "stop"), "[DONE]"], [("aA", "stop"), ("bB", "stop")]),
    Row("a finish alone", [chunk(finish="content_filter"), "[DONE]"], [("", "content_filter")]),
    Row("no end", [chunk("a", "stop")], [("a", "stop")], truncated=True),
    Row("an end without a finish", [chunk("a"), "[DONE]"], [("a", None)], truncated=True),
    Row("one of two unfinished", [chunk("a", "stop"), chunk("b", index=1), "[DONE]"],
        [("a", "stop"), ("b", None)], truncated=True),
    Row("an error after some", [chunk("a"), {"error": {"type": "t", "message": "m"}}], [("a", None)],
        error="t: m", truncated=True),
    Row("an error and choices", [{**chunk("a"), "error": "boom"}], [("a", None)], error="boom", truncated=True),
    Row("the first error counts", [chunk("a"), {"error": "one"}, {"error": "two"}], [("a", None)],
        error="one", truncated=True),
    Row("an event named error", [("error", {"message": "m", "code": 500})], None, error="500: m", truncated=True),
    Row("no index", [{"choices": [{"text": "a", "finish_reason": "stop"}]}, "[DONE]"], [("a", "stop")]),
    Row("text null", [chunk("a"), {"choices": [{"text": None, "finish_reason": "stop"}]}, "[DONE]"], [("a", "stop")]),
    Row("text of another kind", [{"choices": [{"text": 7, "finish_reason": "stop"}]}, "[DONE]"], [("", "stop")],
        warning="text is no string"),
    Row("invalid index", [chunk("a", index=-1), chunk("b", "stop"), "[DONE]"], [("b", "stop")],
        warning="invalid index"),
    Row("huge index", [chunk("a", "stop", index=10**6), "[DONE]"], [("a", "stop")]),
    Row("no object", [{"choices": ["x"]}, "[DONE]"], [], warning="no object"),
    Row("without choices", [{"hello": 1}, chunk("b", "stop"), "[DONE]"], [("b", "stop")],
        warning="without choices"),
    Row("not JSON", ["<html>", chunk("b", "stop"), "[DONE]"], [("b", "stop")], warning="not in JSON"),
    Row("nothing", [], None, error="no chunks in the stream", truncated=True),
    Row("an end alone", ["[DONE]"], None, error="no chunks in the stream", truncated=True),
]  # fmt: skip


@pytest.mark.check(97, 98, 99)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_completions(row: Row) -> None:
    outcome = folded(T, row.events)
    assert (row.error, row.truncated) == (outcome.error, outcome.truncated)
    shown = None
    if outcome.result is not None:
        shown = [(one["text"], one["finish_reason"]) for one in outcome.result["choices"]]
    assert row.result == shown
    assert warned(outcome, row.warning), outcome.warnings


def test_what_stands_beside_the_text() -> None:
    """Log probabilities grow; what is said with every chunk is kept once, padding is not."""
    first = {
        "tokens": ["a"],
        "token_logprobs": [-0.5],
        "top_logprobs": [{"a": -0.5}],
        "text_offset": [0],
    }
    second = {"tokens": ["b"], "token_logprobs": [-0.1], "top_logprobs": None, "text_offset": [1]}
    outcome = folded(T, [
        {**chunk("a", logprobs=first, stop_reason=None), "system_fingerprint": "f", "obfuscation": "xxxx"},
        {**chunk("b", "stop", logprobs=second, stop_reason=2, token_ids=[1]), "kv_transfer_params": {"n": 1}},
        "[DONE]",
    ])  # fmt: skip
    assert {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 7,
        "model": "m",
        "system_fingerprint": "f",
        "kv_transfer_params": {"n": 1},
        "choices": [
            {
                "index": 0,
                "text": "ab",
                "finish_reason": "stop",
                "stop_reason": 2,
                "token_ids": [1],
                "logprobs": {
                    "tokens": ["a", "b"],
                    "token_logprobs": [-0.5, -0.1],
                    "top_logprobs": [{"a": -0.5}],
                    "text_offset": [0, 1],
                },
            }
        ],
    } == outcome.result
    assert not outcome.warnings


def test_the_result_is_what_the_sdk_calls_a_completion() -> None:
    """Strictly, and without a field that it does not know."""
    result = folded(T, STREAM).result
    read = Completion.model_validate(result, strict=False)
    assert result is not None
    assert set(result) <= set(Completion.model_fields)
    assert set(result["choices"][0]) <= set(CompletionChoice.model_fields)
    assert "Héllo" == read.choices[0].text


def test_every_field_of_the_sdk_survives() -> None:
    """A field that a new version adds is named here if a fold would lose it."""
    top = {name: 1 for name in Completion.model_fields if name not in ("choices", "usage")}
    probs = {name: [1] for name in Logprobs.model_fields}
    choice = {name: "x" for name in CompletionChoice.model_fields} | {"index": 0, "logprobs": probs}
    sent = {**top, "usage": USED, "choices": [choice]}
    assert sent == folded(T, [sent, "[DONE]"]).result


def complete(text: str = "", reason: str | None = None, **rest: Any) -> tuple[str, dict[str, Any]]:
    return "completion", {"type": "completion", "id": "compl_1", "completion": text,
        "stop_reason": reason, "model": "claude-2.1", "stop": None, **rest}  # fmt: skip


PING = ("ping", {"type": "ping"})
A_STREAM = [
    complete(" Hé"),
    PING,
    complete("llo"),
    complete("", "stop_sequence", stop="\n\nHuman:"),
]

A_ROWS = [
    Row("text and its end", A_STREAM, (" Héllo", "stop_sequence", "\n\nHuman:")),
    Row("at its longest", [complete("a", "max_tokens")], ("a", "max_tokens", None)),
    Row("no end", [complete("a"), complete("b")], ("ab", None, None), truncated=True),
    Row("a ping first", [PING, complete("a", "max_tokens")], ("a", "max_tokens", None)),
    Row("pings alone", [PING], None, error="no completion in the stream", truncated=True),
    Row("an error after some", [complete("a"), ("error", {"error": {"type": "overloaded_error", "message": "m"}})],
        ("a", None, None), error="overloaded_error: m", truncated=True),
    Row("a typed error", [complete("a"), {"type": "error", "error": {"type": "t", "message": "m"}}],
        ("a", None, None), error="t: m", truncated=True),
    Row("an error after its end", [complete("a", "max_tokens"), ("error", "words")], ("a", "max_tokens", None),
        error="words", truncated=True),
    Row("by the event's name alone", [("completion", {"completion": "a", "stop_reason": "max_tokens"})],
        ("a", "max_tokens", None)),
    Row("Bedrock's", [("chunk", {"completion": "a", "stop_reason": None}),
        ("chunk", {"completion": "b", "stop_reason": "stop_sequence", "stop": "s"})], ("ab", "stop_sequence", "s")),
    Row("no string", [complete("a"), {"type": "completion", "completion": 7, "stop_reason": "max_tokens"}],
        ("a", "max_tokens", None), warning="no string"),
    Row("unknown", [complete("a", "max_tokens"), {"type": "x"}], ("a", "max_tokens", None),
        warning="of unknown type x"),
    Row("nothing", [], None, error="no completion in the stream", truncated=True),
]  # fmt: skip


@pytest.mark.check(97, 98, 99)
@pytest.mark.parametrize("row", A_ROWS, ids=str)
def test_anthropics(row: Row) -> None:
    outcome = folded(A, row.events)
    assert (row.error, row.truncated) == (outcome.error, outcome.truncated)
    result = outcome.result
    shown = (
        None
        if result is None
        else (result["completion"], result["stop_reason"], result.get("stop"))
    )
    assert row.result == shown
    assert warned(outcome, row.warning), outcome.warnings


def test_anthropics_whole() -> None:
    assert {
        "type": "completion",
        "id": "compl_1",
        "completion": " Héllo",
        "stop_reason": "stop_sequence",
        "model": "claude-2.1",
        "stop": "\n\nHuman:",
        "log_id": "l",
    } == folded(
        A, [*A_STREAM[:-1], complete("", "stop_sequence", stop="\n\nHuman:", log_id="l")]
    ).result


@pytest.mark.check(97, 98)
@pytest.mark.parametrize(("protocol", "stream"), [(T, STREAM), (A, A_STREAM)])
def test_cut_and_split(protocol: LlmProtocol, stream: list[Any]) -> None:
    check_cut_at_every_event(protocol, stream)
    check_every_split(protocol, sse(stream), EVENT_STREAM)


@pytest.mark.check(33)
@pytest.mark.parametrize(
    ("protocol", "stream", "facts"),
    [
        (T, STREAM, Facts("m", Usage(5, 2), True)),
        (T, STREAM[:2], Facts("m")),
        (T, [*STREAM[:1], *(chunk("word " * 9) for _ in range(2000)), *STREAM[2:]], Facts("m", Usage(5, 2), True)),
        (A, A_STREAM, Facts("claude-2.1", terminal=True)),
        (A, A_STREAM[:2], Facts("claude-2.1")),
        (A, [*(complete("word " * 9) for _ in range(2000)), A_STREAM[-1]], Facts("claude-2.1", terminal=True)),
        (A, [("error", {"error": {"type": "t", "message": "m"}})], Facts(error="t: m")),
    ],
)  # fmt: skip
def test_facts(protocol: LlmProtocol, stream: list[Any], facts: Facts) -> None:
    """Also of streams of which only both ends are looked at."""
    assert facts == stream_facts(protocol, sse(stream), b"", True, EVENT_STREAM)


def test_told_apart() -> None:
    assert A is detect("POST", "/v1/complete")
    assert A is sniff(events_of(A_STREAM)) is sniff(events_of([PING, *A_STREAM]))
    assert T is sniff(events_of(STREAM))
    assert "claude-2.1" == request_model(
        "/v1/complete", A, b'{"model":"claude-2.1","prompt":"\\n\\nHuman:"}'
    )
    assert fold_body(A, sse([A_STREAM[-1]])[len("event: completion\ndata: ") :]).error is None
    assert fold(A, []).result is None
