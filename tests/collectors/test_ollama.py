"""Ollama's own API: chat and generate, a JSON object a line."""

from typing import Any

import pytest

from collectors.facts import Facts, body_facts, request_model, stream_facts
from collectors.protocol import LlmProtocol, detect, is_streamed, sniff
from collectors.registry import fold_body
from collectors.usage import Usage
from tests.collectors.folding import Row, events_of, folded, warned
from tests.collectors.streams import check_cut_at_every_event, check_every_split, ndjson

O = LlmProtocol.OLLAMA  # noqa: E741
NDJSON = "application/x-ndjson"


def said(content: str = "", **rest: Any) -> dict[str, Any]:
    return {"model": "m", "created_at": "t1", "done": False,
            "message": {"role": "assistant", "content": content, **rest}}  # fmt: skip


def wrote(response: str = "", **rest: Any) -> dict[str, Any]:
    return {"model": "m", "created_at": "t1", "response": response, "done": False, **rest}


END = {"done": True, "done_reason": "stop", "created_at": "t2", "total_duration": 9,
       "load_duration": 1, "prompt_eval_count": 5, "prompt_eval_duration": 2, "eval_count": 3,
       "eval_duration": 4}  # fmt: skip
CHAT = [said("Hé"), said("llo"), {**said(), **END}]
GENERATE = [wrote("Hé"), wrote("llo"), {**wrote(), **END, "context": [1, 2, 3]}]
CALL = {"function": {"name": "f", "arguments": {"x": 1}}}
OTHER = {"id": "c2", "function": {"index": 1, "name": "g", "arguments": {}}}

ROWS = [
    Row("chat", CHAT, {"content": "Héllo"}),
    Row("generate", GENERATE, {"response": "Héllo"}),
    Row("chat, thinking", [said(thinking="Hm"), said(thinking="m."), said("Hi"), {**said(), **END}],
        {"content": "Hi", "thinking": "Hmm."}),
    Row("generate, thinking", [wrote(thinking="Hm"), wrote(thinking="m."), wrote("Hi"), {**wrote(), **END}],
        {"response": "Hi", "thinking": "Hmm."}),
    Row("tool calls, whole and one after another", [said(tool_calls=[CALL]), said(tool_calls=[OTHER]),
        {**said(), **END}], {"content": "", "tool_calls": [CALL, OTHER]}),
    Row("tool calls null", [said("a", tool_calls=None), {**said(), **END}], {"content": "a"}),
    Row("a piece that is all that came before", [said("x" * 20), said("x" * 20), {**said(), **END}],
        {"content": "x" * 40}),
    Row("log probabilities", [{**said("a"), "logprobs": [{"token": "a"}]}, {**said("b"), "logprobs": [{"token": "b"}]},
        {**said(), **END}], {"content": "ab", "logprobs": [{"token": "a"}, {"token": "b"}]}),
    Row("a model loaded, nothing said", [{**wrote(), "done": True, "done_reason": "load"}], {"response": ""}),
    Row("no end", CHAT[:2], {"content": "Héllo"}, truncated=True),
    Row("done is not true", [{**said("a"), "done": "yes"}], {"content": "a"}, truncated=True),
    Row("an error after some", [said("a"), {"error": "boom"}], {"content": "a"}, error="boom", truncated=True),
    Row("an error with its status", [said("a"), {"StatusCode": 500, "Status": "500", "error": "boom"}],
        {"content": "a"}, error="boom", truncated=True),
    Row("an error and a message", [{**said("a"), "error": "boom"}], {"content": "a"}, error="boom", truncated=True),
    Row("an error alone", [{"error": "no such model"}], None, error="no such model", truncated=True),
    Row("a message of another kind", [said("a"), {"message": 7}, {**said(), **END}], {"content": "a"},
        warning="message is no object"),
    Row("neither", [{"status": "pulling"}, *CHAT], {"content": "Héllo"}, warning="without a message or a response"),
    Row("not JSON", ["x", *CHAT], {"content": "Héllo"}, warning="not in JSON"),
    Row("nothing", [], None, error="no answer in the stream", truncated=True),
]  # fmt: skip


@pytest.mark.check(97, 98, 99)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_table(row: Row) -> None:
    outcome = folded(O, row.events)
    assert (row.error, row.truncated) == (outcome.error, outcome.truncated)
    shown: dict[str, Any] | None = None
    if outcome.result is not None:
        parts = {**outcome.result, **outcome.result.get("message", {})}
        looked_at = ("content", "response", "thinking", "tool_calls", "logprobs")
        shown = {key: parts[key] for key in looked_at if key in parts}
    assert row.result == shown
    assert warned(outcome, row.warning), outcome.warnings


@pytest.mark.check(98)
def test_the_results_are_what_is_answered_unstreamed() -> None:
    """The last object with all of the text; what a new version adds is kept."""
    assert {**CHAT[-1], "message": {"role": "assistant", "content": "Héllo"}} == folded(
        O, CHAT
    ).result
    assert {**GENERATE[-1], "response": "Héllo"} == folded(O, GENERATE).result
    new = [said("a", mood="so"), {**said(mood="so"), **END, "remote_model": "r", "x": {"y": 1}}]
    result = folded(O, new).result
    assert result is not None
    assert ("r", {"y": 1}) == (result["remote_model"], result["x"])
    for whole in (CHAT[-1], GENERATE[-1]):
        outcome = fold_body(O, ndjson([whole]))
        assert (whole, None, False) == (outcome.result, outcome.error, outcome.truncated)


@pytest.mark.check(97, 98)
@pytest.mark.parametrize("stream", [CHAT, GENERATE], ids=["chat", "generate"])
def test_cut_and_split(stream: list[Any]) -> None:
    check_cut_at_every_event(O, stream)
    check_every_split(O, ndjson(stream), NDJSON)


@pytest.mark.check(33)
def test_facts() -> None:
    """Also of streams of which only both ends are looked at."""
    long = [*(said("word " * 9) for _ in range(2000)), CHAT[-1]]
    for stream in (CHAT, GENERATE, long):
        assert Facts("m", Usage(5, 3), True) == stream_facts(O, ndjson(stream), b"", True, NDJSON)
    assert Facts("m") == stream_facts(O, ndjson(CHAT[:2]), b"", True, NDJSON)
    assert Facts("m", Usage(5, 3), True) == body_facts(O, ndjson([CHAT[-1]]))
    assert Facts(error="boom") == stream_facts(O, ndjson([{"error": "boom"}]), b"", True, NDJSON)


def test_told_apart() -> None:
    for path in ("/api/chat", "/api/generate", "/ollama/api/chat"):
        assert O is detect("POST", path)
        assert is_streamed(NDJSON, path)
    assert LlmProtocol.EMBEDDINGS is detect("POST", "/api/embed")
    for path in ("/api/pull", "/api/tags", "/api/show", "/api/chats"):
        assert detect("POST", path) is None
    assert O is sniff(events_of(CHAT)) is sniff(events_of(GENERATE)) is sniff(ndjson([CHAT[-1]]))
    assert "m" == request_model("/api/chat", O, b'{"messages":[{"model":"x"}],"model":"m"}')
