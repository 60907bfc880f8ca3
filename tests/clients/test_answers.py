"""The upstream of the client tests says what it was given, in words our own folds understand."""

import json

import pytest

from collectors.event import Event
from collectors.protocol import LlmProtocol, detect, sniff
from collectors.registry import fold
from collectors.sse import SseParser
from tests.clients.answers import answer, socket_messages, text_of, words

TEXT = "Zürich: 21 °C, 晴れ 🌦"

ASKED: list[tuple[str, bytes, LlmProtocol]] = [
    ("/v1/messages?beta=true", b'{"model":"m","stream":true}', LlmProtocol.MESSAGES),
    ("/v1/chat/completions", b'{"model":"m","stream":true}', LlmProtocol.CHAT),
    ("/v1/responses", b'{"model":"m","stream":true}', LlmProtocol.RESPONSES),
    ("/v1beta/models/m:streamGenerateContent?alt=sse", b"{}", LlmProtocol.GEMINI),
]


@pytest.mark.parametrize(("path", "body", "protocol"), ASKED, ids=[str(row[2]) for row in ASKED])
def test_a_streamed_answer_folds_to_its_text(path: str, body: bytes, protocol: LlmProtocol) -> None:
    """Whole, without a warning, and with its tokens."""
    told = answer("POST", path, body, TEXT)
    assert (200, "text/event-stream; charset=utf-8") == (told.status, told.content_type)
    assert len(words(TEXT)) <= len(told.chunks)
    parser = SseParser()
    events = [event for chunk in told.chunks for event in parser.feed(0, chunk)] + parser.close()
    outcome = fold(protocol, events)
    assert (None, False, ()) == (outcome.error, outcome.truncated, outcome.warnings)
    assert TEXT == text_of(protocol, outcome.result)


@pytest.mark.parametrize(("path", "body", "protocol"), ASKED, ids=[str(row[2]) for row in ASKED])
def test_a_whole_answer(path: str, body: bytes, protocol: LlmProtocol) -> None:
    """What is not asked for as a stream is one body, known by its shape."""
    path = path.replace("streamGenerateContent?alt=sse", "generateContent")
    told = answer("POST", path, body.replace(b"true", b"false"), TEXT)
    assert (200, "application/json", 1) == (told.status, told.content_type, len(told.chunks))
    assert protocol is detect("POST", path) is sniff(told.chunks[0])
    assert TEXT == text_of(protocol, json.loads(told.chunks[0]))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/api/event_logging/batch"),
        ("GET", "/v1/messages"),
    ],
)
def test_what_asks_no_model_is_not_there(method: str, path: str) -> None:
    """Also where its body is no JSON."""
    assert 404 == answer(method, path, b"\x00", TEXT).status


def test_an_answer_in_a_schema() -> None:
    """Of the required properties, whatever text was to be said."""
    schema = {
        "type": "OBJECT",
        "properties": {
            "why": {"type": "string"},
            "score": {"type": "integer", "minimum": 1},
            "kind": {"type": "string", "enum": ["a", "b"]},
            "all": {"type": "array", "items": {"type": "string"}},
            "more": {"type": "string"},
        },
        "required": ["why", "score", "kind", "all"],
    }
    body = json.dumps({"generationConfig": {"responseJsonSchema": schema}}).encode()
    told = answer("POST", "/v1beta/models/m:generateContent", body, TEXT)
    said = json.loads(text_of(LlmProtocol.GEMINI, json.loads(told.chunks[0])))
    assert {"why": "so", "score": 1, "kind": "a", "all": []} == said


def test_a_socket_answers_each_create_and_a_warm_up_with_nothing_said() -> None:
    """Other messages get no answer."""
    warm = socket_messages(b'{"type":"response.create","generate":false}', TEXT, 1)
    turn = socket_messages(b'{"type":"response.create","model":"m"}', TEXT, 2)
    for messages, wanted in ((warm, ""), (turn, TEXT)):
        outcome = fold(
            LlmProtocol.RESPONSES, [Event(0, None, message.decode()) for message in messages]
        )
        assert (None, False, ()) == (outcome.error, outcome.truncated, outcome.warnings)
        assert wanted == text_of(LlmProtocol.RESPONSES, outcome.result)
    assert [] == socket_messages(b'{"type":"response.cancel"}', TEXT, 3)


def test_the_pieces_are_the_text() -> None:
    assert TEXT == "".join(words(TEXT))
    assert 4 < len(words(TEXT))
