"""A session on a WebSocket, shown: both sides in the order of their times, and the fold of the server's."""

import json
from typing import Any

import pytest

from store.record import Body, Headers, Record, ResponseHead
from tests.tui.builders import LIVE, body, meta, record
from tui.document.names import COLLECTED, EVENTS, JSON, REQUEST_BODY, RESPONSE_BODY
from tui.document.record_document import RecordDocument
from tui.document.response import CUT_SESSION
from tui.record_json import record_json
from tui.record_text import record_lines

KEY = "sk-test-0000-a-key-that-is-long"
HANDSHAKE: Headers = ((b"Upgrade", b"websocket"), (b"Authorization", f"Bearer {KEY}".encode()))
STARTED = b'{"type":"session.created","session":{"id":"s","model":"m"}}'
ASKED = b'{"type":"conversation.item.create","item":{"type":"message"}}'
CREATE = b'{"type":"response.create"}'
BEGUN = b'{"type":"response.created","response":{"id":"r"}}'
ITEM = (
    b'{"type":"response.output_item.added","item":{"id":"a","type":"message","role":"assistant"}}'
)
TEXT = b'{"type":"response.output_text.delta","item_id":"a","content_index":0,"delta":"Hello"}'
DONE = b'{"type":"response.done","response":{"id":"r","status":"completed","usage":{"input_tokens":3}}}'


def session(
    client: Body,
    server: Body,
    protocol: str = "realtime",
    **row: Any,
) -> Record:
    values: dict[str, Any] = {
        "method": "GET", "path": "/v1/realtime?model=m", "protocol": protocol, "status": 101,
        "content_type": None, "streamed": True,
    }  # fmt: skip
    made = record(meta(**(values | row)), request_headers=HANDSHAKE, response_headers=None)
    head = ResponseHead(101, "Switching Protocols", "HTTP/1.1", ((b"Upgrade", b"websocket"),))
    return Record(made.meta, made.request, client, head, server)


def at(*said: tuple[int, bytes]) -> Body:
    return Body(
        b"".join(data for _, data in said), tuple((at_ms, len(data)) for at_ms, data in said)
    )


CLIENT = at((5, ASKED), (6, CREATE))
SERVER = at((2, STARTED), (9, BEGUN), (10, ITEM), (11, TEXT), (12, DONE))
NAMES = ["session.created", "conversation.item.create", "response.create", "response.created",
         "response.output_item.added", "response.output_text.delta", "response.done"]  # fmt: skip


def shown(document: RecordDocument, number: int, view: str) -> str:
    document.view[number] = view
    document.build(number, view)
    section = document.sections()[number - 1]
    return "\n".join(text for block in section.blocks for text in block.texts)


def headings(text: str) -> list[str]:
    return [line.split("ms", 1)[1].strip() for line in text.split("\n") if line.startswith("+")]


def test_both_sides_are_its_events() -> None:
    """Told apart by the list's signs; collected is what the server made of it."""
    document = RecordDocument(session(CLIENT, SERVER))
    signs = ["↓", "↑", "↑", "↓", "↓", "↓", "↓"]
    assert [f"{sign} {name}" for sign, name in zip(signs, NAMES, strict=True)] == (
        headings(shown(document, RESPONSE_BODY, EVENTS))
    )
    assert "Hello" in shown(document, RESPONSE_BODY, COLLECTED)
    assert '"conversation"' in shown(document, RESPONSE_BODY, JSON)
    section = document.sections()[RESPONSE_BODY - 1]
    assert "completed" in section.right
    assert f"{ASKED.decode()}\n{CREATE.decode()}" == shown(
        document, REQUEST_BODY, document.view[REQUEST_BODY]
    )
    document.view[RESPONSE_BODY] = EVENTS
    text, _ = document.copied(RESPONSE_BODY)
    assert text.startswith("event: session.created\n")
    assert ": the client's\nevent: response.create\ndata: " in text


@pytest.mark.check(131)
def test_as_json() -> None:
    """Each event says whose it is; the fold has the server's alone."""
    value = record_json(session(CLIENT, SERVER), {})
    events = value["response"]["events"]
    assert NAMES == [event["name"] for event in events]
    assert [False, True, True, False, False, False, False] == [
        event["from"] == "client" for event in events
    ]
    assert sorted(event["at_ms"] for event in events) == [event["at_ms"] for event in events]
    assert (None, False, []) == tuple(
        value["outcome"][key] for key in ("error", "truncated", "warnings")
    )
    assert "Hello" == value["outcome"]["result"]["conversation"][0]["content"][0]["text"]
    assert f"{ASKED.decode()}\n{CREATE.decode()}" == value["request"]["body"]["data"]


def test_as_text() -> None:
    """A line a message, cut; runs of one kind are one line; secrets are masked in all of them."""
    noise = f'{{"type":"x","key":"{KEY}","long":"{"y" * 500}"}}'.encode()
    audio = b'{"type":"response.output_audio.delta","item_id":"a","delta":"AAAA"}'
    server = at(
        (2, STARTED),
        (9, BEGUN),
        (10, ITEM),
        *[(20, audio)] * 57,
        (30, noise),
        (40, b"\xff"),
        (40, b"{"),
    )
    lines = list(record_lines(session(CLIENT, server)))
    begin = lines.index("65 events")
    told = lines[begin + 1 : lines.index("", begin)]
    assert "+20ms ↓ response.output_audio.delta  57 messages" in told
    assert f"+5ms ↑ conversation.item.create  {ASKED.decode()}" in told
    assert ["+40ms ↓ (unlabeled)  \ufffd", "+40ms ↓ (unlabeled)  {"] == told[-2:]
    assert all(len(line) <= 160 for line in told)
    assert KEY not in "\n".join(lines)
    assert CUT_SESSION in lines


def test_a_protocol_without_a_fold_shows_its_messages() -> None:
    setup, content = b'{"setup":{"model":"models/m"}}', b'{"serverContent":{"turnComplete":true}}'
    one = session(at((1, setup)), at((4, content)), "gemini-live")
    document = RecordDocument(one)
    assert (EVENTS,) == document.views(RESPONSE_BODY)[:1]
    text = shown(document, RESPONSE_BODY, EVENTS)
    assert ["↑ setup", "↓ serverContent"] == headings(text)
    assert "No collector" in text
    assert f"+1ms ↑ setup  {setup.decode()}" in list(record_lines(one))


def test_it_grows_on_both_sides() -> None:
    """As it does on the disk; what has been taken in is not taken again."""
    document = RecordDocument(session(at((5, ASKED)), at((2, STARTED)), **LIVE), live=True)
    client, server = [(5, ASKED)], [(2, STARTED)]
    assert not document.grow(server, client)
    client.append((6, CREATE))
    assert document.grow(server, client)
    server += [(9, BEGUN), (10, ITEM), (11, TEXT)]
    assert document.grow(server, client)
    assert not document.grow(server, client)
    assert NAMES[:-1] == [
        name.split(" ", 1)[1] for name in headings(shown(document, RESPONSE_BODY, EVENTS))
    ]
    assert "Hello" in shown(document, RESPONSE_BODY, COLLECTED)


@pytest.mark.parametrize(
    ("item", "lines"),
    [
        ({"type": "message", "role": "user", "content": [{"type": "input_audio", "transcript": "Go."}]},
         ["user", "Go."]),
        ({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Go."}]},
         ["user", "Go."]),
        ({"type": "message", "role": "user", "content": [{"type": "input_audio"}]},
         ["user", "audio, no transcript"]),
        ({"type": "message", "content": [{"type": "output_audio", "audio": "A" * 8000}]},
         ["?", "audio, 5.9 KB, no transcript"]),
        ({"type": "function_call", "name": "look", "arguments": "{}"}, ["⚙ look  {}"]),
    ],
)  # fmt: skip
def test_what_was_said_is_to_be_read(item: dict[str, object], lines: list[str]) -> None:
    """Who spoke, and the words; of sound without them that it was there."""
    said = json.dumps({"type": "conversation.item.added", "item": {"id": "i", **item}}).encode()
    document = RecordDocument(session(body(), at((1, STARTED), (2, said))))
    text = shown(document, RESPONSE_BODY, COLLECTED)
    assert lines == [line for line in text.split("\n") if line]


def test_a_translation_is_to_be_read() -> None:
    said = [
        b'{"type":"session.input_transcript.delta","delta":"Good day."}',
        b'{"type":"session.output_transcript.delta","delta":"Guten Tag."}',
    ]
    document = RecordDocument(session(body(), at((1, STARTED), *((2, one) for one in said))))
    text = shown(document, RESPONSE_BODY, COLLECTED)
    assert ["heard", "Good day.", "said", "Guten Tag."] == [one for one in text.split("\n") if one]


def test_a_refused_handshake_is_no_session() -> None:
    """Its body is shown as any other."""
    refused = session(body(), body(b'{"error":{"message":"no"}}'), status=401, streamed=False)
    assert refused.response is not None
    head = ResponseHead(401, "Unauthorized", "HTTP/1.1", ((b"content-type", b"application/json"),))
    one = Record(refused.meta, refused.request, refused.request_body, head, refused.response_body)
    assert "bytes" == record_json(one, {})["response"]["type"]
    assert '"no"' in shown(RecordDocument(one), RESPONSE_BODY, JSON)
