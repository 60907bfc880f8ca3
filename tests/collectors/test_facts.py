"""What the recording side is told: from bounded bytes, and never other than the fold says."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.facts import (
    HEAD_SCAN,
    STREAM_HEAD,
    STREAM_TAIL,
    TAIL_SCAN,
    WHOLE_ANSWER,
    WHOLE_BODY,
    WHOLE_STREAM,
    Facts,
    body_facts,
    request_model,
    result_model,
    stream_facts,
)
from collectors.protocol import LlmProtocol
from collectors.registry import new_collector
from collectors.usage import NO_USAGE, Usage, usage_of
from tests.collectors.corpus import PROTOCOLS, files, needs_corpus, read

M, R, C, G = LlmProtocol.MESSAGES, LlmProtocol.RESPONSES, LlmProtocol.CHAT, LlmProtocol.GEMINI
POST = "/v1/messages"
LONG = "x" * 200_000
NESTED = {
    "messages": [{"model": "wrong", "content": [{"model": "wrong"}]}],
    "tools": [{"model": "wrong"}],
}


@pytest.mark.check(34)
@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", "gemini-2.5-pro"),
        ("/v1beta/models/gemini-2.5-pro%3AgenerateContent", "gemini-2.5-pro"),
        ("/v1beta/tunedModels/mine:generateContent", "mine"),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude-x%4020250514:rawPredict",
            "claude-x@20250514",
        ),
        (
            "/v1/projects/p/locations/l/publishers/google/models/gemini-x:streamGenerateContent",
            "gemini-x",
        ),
        ("/openai/deployments/my%20gpt/chat/completions?api-version=1", "my gpt"),
        (
            "/model/us.anthropic.claude-v2%3A0/invoke-with-response-stream",
            "us.anthropic.claude-v2:0",
        ),
        ("/model/m/converse", "m"),
        ("/v1internal:streamGenerateContent", "body"),
        ("/v1/messages", "body"),
    ],
)
def test_the_path_names_the_model(path: str, model: str) -> None:
    """Where paths of its kind do; else the body does."""
    assert model == request_model(path, None, b'{"model": "body"}')


BODIES: list[tuple[str, bytes, str | None]] = [
    ("small", b'{"model": "m", "messages": []}', "m"),
    ("small, nested only", json.dumps(NESTED).encode(), None),
    ("small, last", json.dumps({**NESTED, "model": "m"}).encode(), "m"),
    ("small, not a string", b'{"model": 7}', None),
    ("small, cut", b'{"model": "m", "mess', None),
    ("not an object", b"[1]", None),
    ("empty", b"", None),
    ("not UTF-8", b'{"model": "m\xff"}', "m\ufffd"),
    ("large, first", json.dumps({"model": "m", "input": LONG}).encode(), "m"),
    ("large, pretty", json.dumps({"model": "m", "input": LONG}, indent=2).encode(), "m"),
    ("large, last", json.dumps({**NESTED, "input": LONG, "model": "m"}).encode(), "m"),
    (
        "large, last, pretty",
        json.dumps({**NESTED, "input": LONG, "model": "m"}, indent=1).encode() + b"\n",
        "m",
    ),
    (
        "large, before tools at the end",
        json.dumps({"input": LONG, "model": "m", **NESTED}).encode(),
        "m",
    ),
    ("large, nested only", json.dumps({"input": LONG, **NESTED}).encode(), None),
    ("large, nested only, first", json.dumps({**NESTED, "input": LONG}).encode(), None),
    ("large, in the middle", json.dumps({"a": LONG, "model": "m", "b": LONG}).encode(), None),
    ("large, as a value", json.dumps({"a": "model", "b": LONG, "c": "model"}).encode(), None),
    (
        "large, in a string",
        json.dumps({"a": '","model":"wrong","b":"', "b": LONG, "c": '","model":"wrong'}).encode(),
        None,
    ),
    (
        "large, string of backslashes",
        json.dumps({"b": LONG, "model": "m\\", "c": "\\\\\\"}).encode(),
        "m\\",
    ),
    (
        "large, escaped quotes",
        json.dumps({"b": LONG, "c": '\\"', "model": 'm"n', "d": '"\\"'}).encode(),
        'm"n',
    ),
    (
        "large, not a string",
        json.dumps({"model": {"model": "wrong"}, "b": LONG, "c": 1}).encode(),
        None,
    ),
    ("large, cut", json.dumps({"b": LONG, "model": "m"}).encode()[:-1], None),
    ("large, escaped unicode", json.dumps({"model": "mé", "b": LONG}).encode(), "mé"),
    (
        "large, a string longer than the head",
        json.dumps({"b": LONG, "c": {"model": "wrong"}}).encode(),
        None,
    ),
]


@pytest.mark.check(34)
@pytest.mark.parametrize(
    ("body", "model"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES]
)
def test_the_body_names_the_model(body: bytes, model: str | None) -> None:
    """Only at the top level, from either end of a large body."""
    assert model == request_model(POST, M, body)


def test_the_form_names_the_model() -> None:
    """Transcriptions and image edits are multipart; the file between is not looked at."""
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        b"Content-Type: audio/wav\r\n\r\n" + b"\0" * 100_000 + b"\r\n"
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b--\r\n'
    )
    assert "whisper-1" == request_model("/v1/audio/transcriptions", LlmProtocol.AUDIO, form)
    assert request_model("/v1/audio/transcriptions", LlmProtocol.AUDIO, form[:90_000]) is None


@given(noise=st.binary(max_size=80), cut=st.integers(0, 80))
def test_noise_never_raises(noise: bytes, cut: int) -> None:
    for protocol in (*LlmProtocol, None):
        request_model(POST, protocol, noise + b"}" + b" " * WHOLE_BODY)
        body_facts(protocol, noise)
        stream_facts(protocol, noise[:cut], noise[cut:], True)
        stream_facts(protocol, noise[:cut], noise[cut:], False)


def recorded(protocol: LlmProtocol, data: bytes) -> Facts:
    """What the whole fold says."""
    collector = new_collector(protocol)
    assert collector is not None
    for event in read(data):
        collector.feed(event)
    outcome = collector.outcome()
    return Facts(
        model=result_model(outcome.result),
        usage=usage_of(protocol, outcome.result),
        terminal=collector.terminal,
        error=outcome.error,
    )


@needs_corpus
@pytest.mark.check(34)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_facts_of_recorded_streams_are_those_of_the_fold(protocol: str) -> None:
    """All of them: given whole, in two parts, and as only the first and last bytes."""
    for path in files(protocol):
        data = path.read_bytes()
        expected = recorded(LlmProtocol(protocol), data)
        assert expected == stream_facts(LlmProtocol(protocol), data, b"", True), path.name
        half = len(data) // 2
        assert expected == stream_facts(LlmProtocol(protocol), data[:half], data[half:], True), (
            path.name
        )
        ends = data[:STREAM_HEAD], data[-STREAM_TAIL:]
        assert expected == stream_facts(LlmProtocol(protocol), *ends, False), path.name


@needs_corpus
@pytest.mark.check(34)
@pytest.mark.parametrize("window", [2048, 3000, 5000, 8192])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_small_windows_say_less_and_nothing_else(protocol: str, window: int) -> None:
    """Where the windows hold it, it is found; where they do not, it is absent.

    "Hold" is asked of the bytes themselves: the last model, the usage's numbers, the end's words.
    """
    for path in files(protocol):
        data = path.read_bytes()
        if len(data) <= 2 * window:
            continue
        expected = recorded(LlmProtocol(protocol), data)
        found = stream_facts(LlmProtocol(protocol), data[:window], data[-window:], False)
        assert found.model in (expected.model, None), path.name
        assert found.error in (expected.error, None), path.name
        if expected.model is not None and found.model is None:
            # Only an event that neither window holds whole can hide it.
            whole_events = data[: data[:window].rfind(b"\n\n") + 1]
            assert expected.model.encode() not in whole_events, path.name
        ends = data[-window:]
        if ENDS[protocol](ends):
            assert found.terminal is expected.terminal, path.name
            assert found.usage == expected.usage, path.name
        elif found.terminal:
            assert expected.terminal, path.name


def _has(*words: bytes) -> Any:
    return lambda ends: all(
        any(spelt in ends for spelt in (w, w.replace(b":", b": ", 1))) for w in words
    )


ENDS = {
    # Whether the last bytes hold the end and the usage.
    "messages": _has(b'"usage":{', b"message_stop"),
    "responses": _has(b'"usage":{', b"event: response."),
    "chat": _has(b'"usage":{', b'"finish_reason":"', b"[DONE]"),
    "gemini": _has(b'"usageMetadata":{', b'"finishReason":"'),
}


def sse(*items: Any) -> bytes:
    return b"".join(
        b"data: " + (item if isinstance(item, bytes) else json.dumps(item).encode()) + b"\n\n"
        for item in items
    )


FILLER = [
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x" * 90}}
] * 4000
START = {
    "type": "message_start",
    "message": {
        "model": "m",
        "content": [],
        "usage": {"input_tokens": 3, "cache_read_input_tokens": 4},
    },
}
ENDING: list[dict[str, object]] = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
]
CHAT_CHUNK = {"model": "m", "choices": [{"index": 0, "delta": {"content": "x" * 90}}]}
CHAT_END = [
    {"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"model": "m", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
]
DONE = b"[DONE]"
RESPONSE = {
    "id": "r",
    "status": "completed",
    "model": "m",
    "output": [],
    "usage": {"input_tokens": 1, "output_tokens": 2},
}
IMAGE = {
    "candidates": [
        {"content": {"parts": [{"inlineData": {"data": "A" * 400_000}}]}, "finishReason": "STOP"}
    ],
    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 6},
    "modelVersion": "g",
}

STREAMS: list[tuple[str, LlmProtocol | None, bytes, Facts]] = [
    ("Messages, long", M, sse(START, *FILLER, *ENDING), Facts("m", Usage(7, 9, 4), True)),
    ("Messages, cut", M, sse(START, *FILLER), Facts("m", Usage(7, None, 4), False)),
    ("Messages, error at the end", M, sse(START, *FILLER, {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}),
        Facts("m", Usage(7, None, 4), False, "overloaded_error: no")),
    ("Chat, long", C, sse(*[CHAT_CHUNK] * 4000, *CHAT_END, DONE), Facts("m", Usage(1, 2), True)),
    ("Chat, cut", C, sse(*[CHAT_CHUNK] * 4000), Facts("m", NO_USAGE, False)),
    ("Chat, no finish", C, sse(*[CHAT_CHUNK] * 4000, DONE), Facts("m", NO_USAGE, False)),
    ("Chat, one of two choices unfinished", C, sse(*[CHAT_CHUNK] * 4000, {"choices": [{"index": 1, "delta": {"content": "x"}}]}, *CHAT_END, DONE),
        Facts("m", Usage(1, 2), False)),
    ("Responses, a large end", R, sse({"type": "response.created", "response": {"model": "m"}}, {"type": "response.completed", "response": {**RESPONSE, "output": [{"x": "y" * 100_000}]}}),
        Facts("m", Usage(1, 2), True)),
    ("Responses, an end larger than the window", R, sse({"type": "response.created", "response": {"model": "m"}}, {"type": "response.completed", "response": {"output": [{"x": '"usage":{"input_tokens":9}' * 20_000}], "model": "m", "usage": RESPONSE["usage"]}}),
        Facts("m", Usage(1, 2), True)),
    ("Responses, incomplete is an end", R, sse({"type": "response.created", "response": {"model": "m"}}, {"type": "response.incomplete", "response": {**RESPONSE, "status": "incomplete"}}),
        Facts("m", Usage(1, 2), True)),
    ("Responses, failed", R, sse({"type": "response.failed", "response": {"model": "m", "status": "failed", "error": {"code": "c", "message": "no"}}}),
        Facts("m", NO_USAGE, True, "c: no")),
    ("Gemini, an image larger than the window", G, sse({"candidates": [{"content": {"parts": [{"text": "a"}]}}], "modelVersion": "g"}, IMAGE),
        Facts("g", Usage(5, 6), True)),
    ("Gemini, blocked", G, sse({"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": "g"}), Facts("g", NO_USAGE, True, "blocked: SAFETY")),
    ("completions", LlmProtocol.COMPLETIONS, sse({"model": "m", "choices": [{"text": "a", "finish_reason": "stop"}]}, {"usage": {"prompt_tokens": 1}}, DONE), Facts("m", Usage(1), True)),
    ("completions, no finish", LlmProtocol.COMPLETIONS, sse({"model": "m", "choices": [{"text": "a"}]}, DONE), Facts("m")),
    ("completions, cut", LlmProtocol.COMPLETIONS, sse({"model": "m", "choices": [{"text": "a"}]}), Facts("m", NO_USAGE, False)),
    ("transcript", LlmProtocol.AUDIO, sse({"type": "transcript.text.done", "usage": {"input_tokens": 1, "output_tokens": 2}}), Facts(None, Usage(1, 2), True)),
    ("image events, error", LlmProtocol.IMAGES, sse({"type": "error", "error": {"type": "t", "message": "m"}}), Facts(None, NO_USAGE, False, "t: m")),
    ("no protocol", None, sse({"model": "m"}), Facts("m", NO_USAGE, True)),
    ("empty", M, b"", Facts()),
]  # fmt: skip


@pytest.mark.check(34)
@pytest.mark.parametrize(
    ("protocol", "data", "expected"), [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS]
)
def test_streams(protocol: LlmProtocol | None, data: bytes, expected: Facts) -> None:
    """Whole, and as the two windows that the recording side keeps."""
    assert expected == stream_facts(protocol, data, b"", True)
    assert expected == stream_facts(protocol, data[:STREAM_HEAD], data[-STREAM_TAIL:], False)


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


def _chunk(choice: str, rest: str = "") -> bytes:
    return (
        'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
        f'"system_fingerprint":null,"choices":[{choice}]{rest}}}\n\n'
    ).encode()


TEXT = '{"index":0,"delta":{"content":"a \\"b\\" \\u00e9"},"logprobs":null,"finish_reason":null}'
PIECES: dict[LlmProtocol, list[bytes]] = {
    M: [
        _event("message_start", json.dumps(START, separators=(",", ":"))),
        _event("content_block_delta", '{"type":"content_block_delta","index":0,"delta":{}}'),
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"error"}}\n\n',
        _event("error", '{"type":"error","error":{"type":"t","message":"no"}}'),
        *[_event(str(each["type"]), json.dumps(each)) for each in ENDING],
    ],
    R: [
        _event("response.created", '{"type":"response.created","response":{"model":"m"}}'),
        _event("response.output_text.delta", '{"type":"response.output_text.delta","delta":"a"}'),
        _event("response.completed", json.dumps({"type": "response.completed", "response": RESPONSE})),
        _event("error", '{"type":"error","code":"c","message":"no"}'),
    ],
    C: [
        _chunk('{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}'),
        _chunk(TEXT),
        _chunk(TEXT, ',"usage":null,"obfuscation":"xy"'),
        _chunk(TEXT, ',"usage":{"prompt_tokens":1,"completion_tokens":2}'),
        _chunk(TEXT, ',"error":{"message":"no"}'),
        _chunk(TEXT.replace('"index":0', '"index":1')),
        _chunk('{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}'),
        b"data: [DONE]\n\n",
    ],
}  # fmt: skip
"""Events as the APIs spell them: the deltas are passed over without a look, the others are not."""


@given(
    protocol=st.sampled_from(list(PIECES)),
    picks=st.lists(st.integers(0, 99), max_size=12),
    noise=st.sampled_from([b"", b"\n", b"\n\n", b": ping\n\n", b"data: [DONE]", b"event: error\n"]),
    at=st.integers(0, 12),
)
def test_deltas_change_no_fact(
    protocol: LlmProtocol, picks: list[int], noise: bytes, at: int
) -> None:
    """In whatever order the events come, and whatever stands between two of them."""
    pieces = PIECES[protocol]
    events = [pieces[pick % len(pieces)] for pick in picks]
    events.insert(min(at, len(events)), noise)
    data = b"".join(events)

    found, expected = stream_facts(protocol, data, b"", True), recorded(protocol, data)

    assert (found.model, found.usage, found.terminal) == (
        expected.model,
        expected.usage,
        expected.terminal,
    )
    assert found.error in (expected.error, None)
    assert found.error is not None or expected.error is None or _says_nothing(protocol, data)


def _says_nothing(protocol: LlmProtocol, data: bytes) -> bool:
    """The fold's error only says that there was nothing to fold."""
    collector = new_collector(protocol)
    assert collector is not None
    for event in read(data):
        collector.feed(event)
    return not collector.failed and collector.outcome().result is None


@pytest.mark.parametrize("protocol", PIECES)
def test_long_answers_cost_no_more_than_short_ones(
    protocol: LlmProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a thousand deltas one is folded."""
    folded = 0

    class Counting:
        def __init__(self, collector: Any) -> None:
            self._collector = collector

        def feed(self, event: Any) -> None:
            nonlocal folded
            folded += 1
            self._collector.feed(event)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._collector, name)

    monkeypatch.setattr("collectors.facts.new_collector", lambda p: Counting(new_collector(p)))
    first, delta, *_ = PIECES[protocol]

    found = stream_facts(protocol, first + delta * 500 + PIECES[protocol][-1], b"", True)

    assert found.model == "m"
    assert folded == 3


def test_an_error_in_the_middle_of_a_whole_stream_is_found() -> None:
    data = sse(
        *[CHAT_CHUNK] * 2000,
        {"error": {"message": "no", "type": "t"}},
        *[CHAT_CHUNK] * 2000,
        *CHAT_END,
        DONE,
    )
    assert len(data) > WHOLE_STREAM
    assert "t: no" == stream_facts(C, data, b"", True).error


def test_json_framings_have_facts_too() -> None:
    array = json.dumps(
        [{"candidates": [{"content": {"parts": [{"text": "x" * 50}]}}], "modelVersion": "g"}] * 9000
        + [
            {
                "candidates": [{"finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2},
                "modelVersion": "g",
            }
        ],
        indent=0,
    ).encode()
    expected = Facts("g", Usage(1, 2), True)
    assert expected == stream_facts(G, array, b"", True, "application/json")
    assert expected == stream_facts(
        G, array[:STREAM_HEAD], array[-STREAM_TAIL:], False, "application/json"
    )


ANSWERS: list[tuple[str, LlmProtocol | None, bytes, Facts]] = [
    ("Messages", M, b'{"type":"message","model":"m","usage":{"input_tokens":1,"output_tokens":2}}', Facts("m", Usage(1, 2), True)),
    ("error", M, b'{"type":"error","error":{"type":"t","message":"m"}}', Facts(error="t: m")),
    ("Gemini", G, b'{"candidates":[{}],"modelVersion":"g","usageMetadata":{"promptTokenCount":1}}', Facts("g", Usage(1), True)),
    ("Code Assist", G, b'{"response":{"candidates":[{}],"modelVersion":"g","usageMetadata":{"promptTokenCount":1}}}', Facts("g", Usage(1), True)),
    ("Gemini's array", G, b'[{"candidates":[{"finishReason":"STOP"}],"modelVersion":"g"}]', Facts("g", NO_USAGE, True)),
    ("Gemini, blocked", G, b'{"promptFeedback":{"blockReason":"SAFETY"}}', Facts(None, NO_USAGE, True, "blocked: SAFETY")),
    ("an error in an array", C, b'[{"error":{"message":"m"}}]', Facts(error="m")),
    ("cut", M, b'{"type":"message","model":"m"', Facts()),
    ("not JSON", C, b"<html>", Facts()),
    ("speech", LlmProtocol.AUDIO, b"ID3\0\0", Facts(terminal=True)),
    ("embeddings", LlmProtocol.EMBEDDINGS, b'{"model":"e","data":[],"usage":{"prompt_tokens":8}}', Facts("e", Usage(8), True)),
    ("large", C, json.dumps({"model": "m", "choices": [LONG * 2], "usage": {"prompt_tokens": 1}}).encode(), Facts("m", Usage(1), True)),
    ("large, model last", C, json.dumps({"choices": [LONG * 2], "usage": {"prompt_tokens": 1}, "model": "m"}).encode(), Facts("m", Usage(1), True)),
    ("large, usage first", C, json.dumps({"usage": {"prompt_tokens": 1}, "choices": [LONG * 2], "model": "m"}).encode(), Facts("m", Usage(1), True)),
    ("large, usage in a string and in a schema", R, json.dumps({"model": "m", "usage": {"input_tokens": 1}, "output": [LONG * 2, '"usage":{"input_tokens":5}'], "tools": [{"usage": {"type": "x"}}]}).encode(), Facts("m", Usage(1), True)),
    ("large, cut", C, json.dumps({"model": "m", "choices": [LONG * 2]}).encode()[:-2], Facts("m", NO_USAGE, False)),
    ("large Gemini", G, json.dumps(IMAGE).encode(), Facts("g", Usage(5, 6), True)),
    ("large embeddings", LlmProtocol.EMBEDDINGS, json.dumps({"data": [LONG * 2], "model": "e", "usage": {"prompt_tokens": 8}}).encode(), Facts("e", Usage(8), True)),
]  # fmt: skip


@pytest.mark.check(34)
@pytest.mark.parametrize(
    ("protocol", "body", "expected"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS]
)
def test_answers(protocol: LlmProtocol | None, body: bytes, expected: Facts) -> None:
    assert expected == body_facts(protocol, body)


def test_the_tests_reach_beyond_every_bound() -> None:
    """The rows above called large are larger than what is parsed whole."""
    assert len(LONG) > WHOLE_BODY > TAIL_SCAN - 1 > HEAD_SCAN
    assert 2 * len(LONG) > WHOLE_ANSWER
    assert all(
        len(row[2]) > STREAM_TAIL for row in STREAMS if "window" in row[0] or "long" in row[0]
    )
