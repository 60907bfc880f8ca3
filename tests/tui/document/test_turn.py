"""A turn on a WebSocket, shown like a streamed answer: in the detail, by `show` and as JSON."""

import json

import pytest

from store.record import Body, Headers, Record, ResponseHead
from tests.tui.builders import LIVE, body, meta, record
from tui.document.names import COLLECTED, EVENTS, JSON, RAW, REQUEST_BODY, RESPONSE_BODY
from tui.document.record_document import RecordDocument
from tui.document.turn import warms_up
from tui.record_json import record_json
from tui.record_text import record_lines

HANDSHAKE: Headers = (
    (b"Host", b"api.openai.com"),
    (b"Upgrade", b"websocket"),
    (b"Authorization", b"Bearer sk-test-0000-a-key-that-is-long"),
)
CREATE = b'{"type":"response.create","model":"m","input":"hi"}'
WARM = b'{"type":"response.create","model":"m","generate":false}'
CANCEL = b'{"type":"response.cancel"}'
ANSWER = (
    b'{"type":"response.created","response":{"id":"r","object":"response","output":[]}}',
    b'{"type":"response.output_item.added","output_index":0,"item":{"type":"message"}}',
    b'{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"Hello, "}',
    b'{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"you."}',
)
COMPLETED = b'{"type":"response.completed","response":{"id":"r","status":"completed","output":[]}}'


def turn(*asked: bytes, answer: tuple[bytes, ...] = (*ANSWER, COMPLETED)) -> Record:
    """A finished turn; without an answer it has no response."""
    row = meta(
        method="GET",
        host="api.openai.com",
        path="/v1/responses",
        protocol="responses",
        status=101 if answer else None,
        content_type=None,
        streamed=bool(answer),
    )
    made = record(row, request_headers=HANDSHAKE, response_headers=None)
    return Record(
        made.meta,
        made.request,
        body(*asked),
        ResponseHead(101, "Switching Protocols", "HTTP/1.1", ((b"Upgrade", b"websocket"),))
        if answer
        else None,
        body(*answer),
    )


def shown(document: RecordDocument, number: int, view: str) -> str:
    document.view[number] = view
    document.build(number, view)
    section = document.sections()[number - 1]
    return "\n".join(text for block in section.blocks for text in block.texts)


@pytest.mark.check(14, 130, 131)
def test_in_the_detail() -> None:
    """Collected as it opens, each message an event under its type; raw, a line each."""
    document = RecordDocument(turn(CREATE))
    assert (COLLECTED, JSON, EVENTS, RAW) == document.views(RESPONSE_BODY)
    assert "Hello, you." in shown(document, RESPONSE_BODY, COLLECTED)
    events = shown(document, RESPONSE_BODY, EVENTS)
    assert 5 == len([line for line in events.splitlines() if line.startswith("+")])
    assert "+300ms    response.output_text.delta" in events
    assert b"\n".join((*ANSWER, COMPLETED)).decode() == shown(document, RESPONSE_BODY, RAW)
    assert "101 Switching Protocols" == document.sections()[2].about[0].text
    assert '"input": "hi"' in shown(document, REQUEST_BODY, JSON)
    assert "warm-up" not in document.sections()[1].right


@pytest.mark.check(40, 132)
def test_cut() -> None:
    """What had come is collected, and said to be cut."""
    document = RecordDocument(turn(CREATE, answer=ANSWER))
    collected = shown(document, RESPONSE_BODY, COLLECTED)
    assert "Stream truncated" in collected
    assert "Hello, you." in collected


def test_growing() -> None:
    """A turn in flight grows message by message."""
    whole = turn(CREATE)
    row = meta(**{**LIVE, "status": 101, "protocol": "responses", "streamed": True})
    document = RecordDocument(
        Record(row, whole.request, whole.request_body, whole.response, body(*ANSWER[:3])),
        live=True,
    )
    assert "Hello, " == shown(document, RESPONSE_BODY, COLLECTED)
    assert document.grow(list(body(*ANSWER).chunks()))
    assert "Hello, you." == shown(document, RESPONSE_BODY, COLLECTED)


def test_what_else_the_client_said() -> None:
    """Below the request, a line each, wherever the request is shown; also before any answer."""
    lines = f"{CREATE.decode()}\n{CANCEL.decode()}"
    for cut in (turn(CREATE, CANCEL), turn(CREATE, CANCEL, answer=())):
        assert lines == shown(RecordDocument(cut), REQUEST_BODY, RAW)
        assert lines == record_json(cut, {})["request"]["body"]["data"]
        assert lines in "\n".join(record_lines(cut))


@pytest.mark.check(21, 25)
def test_as_json() -> None:
    """Events with times and types, and the outcome; the message that asked, verbatim."""
    found = record_json(turn(CREATE), {})
    assert "stream" == found["response"]["type"]
    assert [
        (100 * at, json.loads(message)["type"], message.decode())
        for at, message in enumerate((*ANSWER, COMPLETED), 1)
    ] == [(event["at_ms"], event["name"], event["data"]) for event in found["response"]["events"]]
    assert CREATE.decode() == found["request"]["body"]["data"]
    outcome = found["outcome"]
    assert "Hello, you." == outcome["result"]["output"][0]["content"][0]["text"]
    assert (None, False, []) == (outcome["error"], outcome["truncated"], outcome["warnings"])


def test_by_show() -> None:
    text = "\n".join(record_lines(turn(CREATE)))
    assert "RESPONSE  101 Switching Protocols" in text
    assert "5 events" in text
    assert '"text": "Hello, you."' in text
    assert "warm-up" not in text


def test_a_warm_up_is_said_to_be_one() -> None:
    """Such a turn has no answer, which is no fault."""
    warm = turn(WARM, answer=(COMPLETED,))
    assert "warm-up  the client asked for no answer" in "\n".join(record_lines(warm))
    assert "warm-up" == RecordDocument(warm).sections()[1].right[0]


def test_only_a_turn_warms_up() -> None:
    """The same words over HTTP mean nothing."""
    assert not warms_up(record(request_body=WARM))
    made = turn(WARM)
    assert warms_up(made)
    empty = Record(made.meta, made.request, Body(b""), made.response, made.response_body)
    assert not warms_up(empty)
