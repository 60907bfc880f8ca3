"""Bedrock: Converse, streamed and whole; Nova under InvokeModel; models that nothing folds."""

from typing import Any

import pytest

from collectors.converse import _EVENTS
from collectors.facts import Facts, body_facts, request_model, stream_facts
from collectors.protocol import AWS_EVENT_STREAM, LlmProtocol, detect, sniff
from collectors.registry import fold_body, new_collector
from collectors.usage import Usage
from tests.collectors.folding import Row, events_of, folded, warned
from tests.collectors.streams import aws, check_cut_at_every_event, check_every_split, read_fold

CV, INVOKE = LlmProtocol.CONVERSE, LlmProtocol.BEDROCK_INVOKE

START = ("messageStart", {"role": "assistant", "p": "abc"})
USED = {"inputTokens": 11, "outputTokens": 3, "cacheReadInputTokens": 5, "cacheWriteInputTokens": 7,
        "totalTokens": 26}  # fmt: skip
META = ("metadata", {"usage": USED, "metrics": {"latencyMs": 9}, "p": "abc"})


def begin(index: int, **start: Any) -> tuple[str, Any]:
    return "contentBlockStart", {"contentBlockIndex": index, "start": start, "p": "a"}


def delta(index: Any, **piece: Any) -> tuple[str, Any]:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": piece, "p": "abcd"}


def stop(index: int) -> tuple[str, Any]:
    return "contentBlockStop", {"contentBlockIndex": index, "p": "ab"}


def end(reason: str = "end_turn", **rest: Any) -> list[Any]:
    return [("messageStop", {"stopReason": reason, **rest}), META]


def tool(index: int, *pieces: Any) -> list[Any]:
    return [begin(index, toolUse={"toolUseId": "t", "name": "f"}),
            *(delta(index, toolUse={"input": piece}) for piece in pieces), stop(index)]  # fmt: skip


def used(given: Any) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": "t", "name": "f", "input": given}}


def exception(kind: str) -> tuple[str, Any]:
    """As the framing gives it."""
    return "error", {"type": kind, "message": "m"}


STREAM = [START, delta(0, text="Hé"), delta(0, text="llo"), stop(0), *tool(1, '{"x"', ": 1}"), *end("tool_use")]  # fmt: skip
HELLO = [delta(0, text="Hel"), delta(0, text="lo"), stop(0)]
RESULT = [{"json": {"stdOut": "7", "exitCode": 0}}]
PLACE = {"documentChar": {"documentIndex": 0, "start": 1, "end": 2}}
CITED = {"title": "t", "sourceContent": [{"text": "s"}], "location": PLACE}
EXCEPTIONS = ["internalServerException", "modelStreamErrorException", "serviceUnavailableException",
              "throttlingException", "validationException"]  # fmt: skip

ROWS = [
    Row("text and a tool", STREAM, [{"text": "Héllo"}, used({"x": 1})]),
    Row("a tool without input", [START, *tool(0), *end()], [used({})]),
    Row("a tool with empty pieces", [START, *tool(0, "", ""), *end()], [used({})]),
    Row("a tool whose input is cut", [START, *tool(0, '{"q":"he'), *end("max_tokens")], [used({})],
        warning='the input of a tool is not JSON: {"q":"he'),
    Row("a tool whose input is no object", [START, *tool(0, "[1]"), *end()], [used([1])]),
    Row("a tool whose input comes parsed", [START, *tool(0, {"x": 1}), *end()], [used({"x": 1})]),
    Row("a tool of the server's, and its result", [START,
        begin(0, toolUse={"toolUseId": "t", "name": "f", "type": "server_tool_use"}), stop(0),
        begin(1, toolResult={"toolUseId": "t", "type": "r", "status": "success"}),
        delta(1, toolResult=RESULT), stop(1), *end()],
        [{"toolUse": {"toolUseId": "t", "name": "f", "type": "server_tool_use", "input": {}}},
         {"toolResult": {"toolUseId": "t", "type": "r", "status": "success", "content": RESULT}}]),
    Row("reasoning, then its signature", [START, delta(0, reasoningContent={"text": "Hm"}),
        delta(0, reasoningContent={"text": "m"}), delta(0, reasoningContent={"signature": "s"}), stop(0), *end()],
        [{"reasoningContent": {"reasoningText": {"text": "Hmm", "signature": "s"}}}]),
    Row("redacted reasoning", [START, delta(0, reasoningContent={"redactedContent": "RX=="}), stop(0), *end()],
        [{"reasoningContent": {"redactedContent": "RX=="}}]),
    Row("cited text", [START, delta(0, text="Hello"), delta(0, citation=CITED), stop(0), *end()],
        [{"citationsContent": {"content": [{"text": "Hello"}], "citations": [CITED]}}]),
    Row("an image", [START, begin(0, image={"format": "png"}), delta(0, image={"source": {"bytes": "AA=="}}),
        *end()], [{"image": {"format": "png", "source": {"bytes": "AA=="}}}],
        warning="unknown type image, folded by its fields"),
    Row("a piece that is all that came before", [START, delta(0, text="x" * 20), delta(0, text="x" * 20), *end()],
        [{"text": "x" * 40}]),
    Row("blocks out of order, with a gap", [START, delta(7, text="b"), delta(2, text="a"), *end()],
        [{"text": "a"}, {"text": "b"}]),
    Row("interleaved", [START, delta(0, text="a"), delta(1, text="b"), delta(0, text="A"), *end()],
        [{"text": "aA"}, {"text": "b"}]),
    Row("an unknown delta", [START, delta(0, hum="a"), delta(0, hum="b"), *end()], [{"hum": "ab"}],
        warning="unknown type hum"),
    Row("a delta of another kind", [START, delta(0, text=7), *end()], [{}], warning="text is of another kind"),
    Row("no delta", [START, ("contentBlockDelta", {"contentBlockIndex": 0}), *end()], [{}], warning="without a delta"),
    Row("invalid indices", [START, delta(-1, text="a"), delta("x", text="a"), delta(None, text="a"), *HELLO, *end()],
        [{"text": "Hello"}], warning="3 events with an invalid index"),
    Row("a huge index", [START, delta(10**9, text="a"), *end()], [{"text": "a"}]),
    Row("no start", [*HELLO, *end()], [{"text": "Hello"}]),
    Row("no end", [START, *HELLO], [{"text": "Hello"}], truncated=True),
    Row("no metadata", [START, *HELLO, end()[0]], [{"text": "Hello"}], truncated=True),
    Row("a guardrail", [START, *HELLO, *end("guardrail_intervened")], [{"text": "Hello"}]),
    *(Row(kind, [START, *HELLO, exception(kind)], [{"text": "Hello"}], error=f"{kind}: m", truncated=True)
        for kind in EXCEPTIONS),
    *(Row(f"{kind}, as data", [START, *HELLO, {kind: {"message": "m"}}], [{"text": "Hello"}], error=f"{kind}: m",
        truncated=True) for kind in EXCEPTIONS),
    Row("the first error counts", [START, exception("a"), exception("b"), *HELLO, *end()], [{"text": "Hello"}],
        error="a: m", truncated=True),
    Row("an error alone", [exception("throttlingException")], None, error="throttlingException: m", truncated=True),
    Row("an error body", [{"message": "m"}], None, error="m", truncated=True),
    Row("unknown", [START, ("hum", {"x": 1}), *HELLO, *end()], [{"text": "Hello"}], warning="of unknown type hum"),
    Row("unknown, as data", [START, ("chunk", {"hum": 1}), *HELLO, *end()], [{"text": "Hello"}],
        warning="of unknown type hum"),
    Row("Nova under InvokeModel: a block for each piece", [("chunk", {name: data}) for name, data in
        (START, delta(0, text="Hel"), stop(0), delta(1, text="lo"), stop(1), *tool(2, "{}"), delta(3, text="!"), *end())],
        [{"text": "Hello"}, used({}), {"text": "!"}]),
    Row("nothing", [], None, error="no message in the stream", truncated=True),
]  # fmt: skip


@pytest.mark.check(97, 98, 99)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_table(row: Row) -> None:
    outcome = folded(CV, row.events)
    assert (row.error, row.truncated) == (outcome.error, outcome.truncated)
    result = outcome.result
    assert row.result == (None if result is None else result["output"]["message"]["content"])
    assert warned(outcome, row.warning), outcome.warnings


@pytest.mark.check(98)
def test_the_result_is_what_converse_answers() -> None:
    fields = {"delta": {"stop_sequence": None}}
    stream = [START, *HELLO, *end("stop_sequence", additionalModelResponseFields=fields, p="a")]
    expected = {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}},
        "stopReason": "stop_sequence",
        "additionalModelResponseFields": fields,
        "usage": USED,
        "metrics": {"latencyMs": 9},
    }
    assert expected == folded(CV, stream).result
    metrics = {"inputTokenCount": 1}
    invoked = [("chunk", {"messageStop": {}}), ("chunk", {"metadata": {}, "amazon-bedrock-invocationMetrics": metrics})]  # fmt: skip
    result = folded(CV, invoked).result
    assert result is not None
    assert metrics == result["amazon-bedrock-invocationMetrics"]


@pytest.mark.check(97)
def test_every_event_type_has_a_row() -> None:
    """All members of ConverseStreamOutput that are no exception."""
    seen = {item[0] for row in ROWS for item in row.events if isinstance(item, tuple)}
    assert set(_EVENTS) <= seen


@pytest.mark.check(97, 98)
def test_cut_and_split() -> None:
    check_cut_at_every_event(CV, STREAM)
    small = [START, delta(0, text="Hé"), *end()]
    check_every_split(CV, aws(small), AWS_EVENT_STREAM)


def test_an_exception_of_the_framing() -> None:
    body = aws([START, *HELLO, ("throttlingException", {"message": "slow down"})])
    outcome = read_fold(CV, [body], AWS_EVENT_STREAM)
    assert ("throttlingException: slow down", True) == (outcome.error, outcome.truncated)
    assert outcome.result is not None


@pytest.mark.check(33)
def test_facts() -> None:
    """Also of streams of which only both ends are looked at; Bedrock never says the model."""
    used = Usage(23, 3, 5, 7)
    long = [START, *(delta(0, text="word " * 20) for _ in range(3000)), stop(0), *end()]
    for stream in (STREAM, long):
        assert Facts(None, used, True) == stream_facts(CV, aws(stream), b"", True, AWS_EVENT_STREAM)
    assert Facts() == stream_facts(CV, aws(STREAM[:3]), b"", True, AWS_EVENT_STREAM)
    failed = aws([START, ("validationException", {"message": "m"})])
    assert Facts(error="validationException: m") == stream_facts(
        CV, failed, b"", True, AWS_EVENT_STREAM
    )
    whole = b'{"output":{"message":{"role":"assistant","content":[]}},"stopReason":"end_turn","usage":{"inputTokens":1}}'
    assert Facts(None, Usage(1), True) == body_facts(CV, whole)
    assert fold_body(CV, whole).error is None
    assert CV is sniff(whole)
    assert "m" == fold_body(CV, b'{"message":"m"}').error


TITAN = ("chunk", {"outputText": "Hi", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 5, "outputTokenCount": 2}})  # fmt: skip


def test_models_that_nothing_folds_are_events() -> None:
    """Recorded and counted; whether they are whole is for the transport to say."""
    assert new_collector(INVOKE) is None
    assert Facts(None, Usage(5, 2), True) == stream_facts(
        INVOKE, aws([TITAN]), b"", True, AWS_EVENT_STREAM
    )
    failed = aws([TITAN, ("throttlingException", {"message": "m"})])
    assert (
        "throttlingException: m" == stream_facts(INVOKE, failed, b"", True, AWS_EVENT_STREAM).error
    )


@pytest.mark.parametrize(
    ("model", "verb", "protocol"),
    [
        ("anthropic.claude-3-5-sonnet-20241022-v2%3A0", "converse-stream", CV),
        ("us.amazon.nova-pro-v1:0", "converse", CV),
        ("us.amazon.nova-pro-v1:0", "invoke-with-response-stream", CV),
        ("amazon.nova-2-lite-v1:0", "invoke", CV),
        ("amazon.nova-canvas-v1:0", "invoke", INVOKE),
        ("amazon.titan-text-express-v1", "invoke-with-response-stream", INVOKE),
        ("meta.llama3-8b-instruct-v1:0", "invoke", INVOKE),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "invoke", LlmProtocol.MESSAGES),
        ("amazon.nova-sonic-v1:0", "invoke-with-bidirectional-stream", None),
    ],
)
def test_told_by_the_path(model: str, verb: str, protocol: LlmProtocol | None) -> None:
    path = f"/model/{model}/{verb}"
    assert protocol is detect("POST", path)
    assert model.replace("%3A", ":") == request_model(path, protocol, b'{"model":"x"}')


def test_told_by_the_events() -> None:
    assert CV is sniff(events_of(STREAM))
    assert CV is sniff(events_of(STREAM[3:]))
    assert CV is sniff(events_of([("chunk", {"messageStart": {"role": "assistant"}})]))
