"""Amazon's event stream: messages in any pieces; Bedrock's Claude folds as Messages."""

import base64
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.aws_event_stream import AwsEventStreamFraming, first_message
from collectors.facts import Facts, stream_facts
from collectors.framing import EventReader
from collectors.protocol import AWS_EVENT_STREAM, LlmProtocol, sniff
from collectors.registry import fold
from collectors.usage import Usage
from tests.collectors.corpus import files, needs_corpus, read


def message(payload: bytes, **headers: str) -> bytes:
    """One message; `_` in a header's name stands for `-`."""
    packed = b""
    for name, value in headers.items():
        key = b":" + name.replace("_", "-").encode()
        packed += bytes([len(key)]) + key + b"\7" + len(value).to_bytes(2) + value.encode()
    # A header of another type, passed over.
    packed += b"\1x\4\0\0\0\1"
    prelude = (16 + len(packed) + len(payload)).to_bytes(4) + len(packed).to_bytes(4)
    prelude += zlib.crc32(prelude).to_bytes(4)
    body = prelude + packed + payload
    return body + zlib.crc32(body).to_bytes(4)


def chunk(data: object) -> bytes:
    inner = base64.b64encode(json.dumps(data).encode()).decode()
    payload = json.dumps({"bytes": inner, "p": "abc"}).encode()
    return message(payload, event_type="chunk", message_type="event")


START = {
    "type": "message_start",
    "message": {"model": "m", "content": [], "usage": {"input_tokens": 3}},
}
END = [
    {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]
STREAM = chunk(START) + b"".join(chunk(item) for item in END)


@pytest.mark.check(22, 25)
@pytest.mark.parametrize("content_type", [AWS_EVENT_STREAM, None])
def test_every_cut(content_type: str | None) -> None:
    for cut in range(len(STREAM)):
        reader = EventReader(content_type)
        events = reader.feed(3, STREAM[:cut]) + reader.feed(9, STREAM[cut:]) + reader.close()
        assert [START, *END] == [json.loads(event.data) for event in events]
        assert 9 == events[-1].at_ms
        assert () == reader.notes
    assert LlmProtocol.MESSAGES is sniff(events)


def test_an_exception_is_an_error_with_its_type() -> None:
    failed = message(
        b'{"message":"slow"}', exception_type="throttlingException", message_type="exception"
    )
    outcome = fold(LlmProtocol.MESSAGES, read(chunk(START) + failed))
    assert ("throttlingException: slow", True) == (outcome.error, outcome.truncated)
    failed = message(b"", error_code="internal", error_message="no", message_type="error")
    assert "internal: no" == fold(LlmProtocol.MESSAGES, read(chunk(START) + failed)).error


def test_payloads_that_are_no_chunks_stay_as_they_are() -> None:
    data = message(b'{"delta":{}}', event_type="contentBlockDelta") + message(
        b'{"bytes":"%%"}', event_type="chunk"
    )
    assert [("contentBlockDelta", '{"delta":{}}'), ("chunk", '{"bytes":"%%"}')] == [
        (event.name, event.data) for event in read(data)
    ]


@pytest.mark.parametrize("data", [STREAM[:-1], STREAM + b"\0", b"\0" * 40, STREAM + b"x" * 40])
def test_what_is_cut_or_no_message_is_said(data: bytes) -> None:
    reader = EventReader(AWS_EVENT_STREAM)
    reader.feed(0, data)
    reader.close()
    assert reader.unterminated


@given(data=st.binary(max_size=80))
def test_noise_never_raises(data: bytes) -> None:
    for body in (data, message(data, event_type="chunk"), STREAM[: len(data)] + data):
        framing = AwsEventStreamFraming()
        framing.feed(0, body)
        framing.close()
        first_message(body)


def test_facts_of_a_long_stream() -> None:
    """Both windows begin and end within messages."""
    delta = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "x"},
    }
    data = chunk(START) + chunk(delta) * 3000 + b"".join(chunk(item) for item in END)
    expected = Facts("m", Usage(3, 5), True)
    assert expected == stream_facts(LlmProtocol.MESSAGES, data, b"", True, AWS_EVENT_STREAM)
    ends = data[:5000], data[-9000:]
    assert expected == stream_facts(LlmProtocol.MESSAGES, *ends, False, AWS_EVENT_STREAM)


@needs_corpus
def test_recorded_claude_on_bedrock_is_complete() -> None:
    """Every recorded Bedrock stream of Messages folds to a whole message."""
    found = 0
    for path in files("bedrock"):
        events = read(path.read_bytes())
        if sniff(events) is not LlmProtocol.MESSAGES:
            continue
        found += 1
        outcome = fold(LlmProtocol.MESSAGES, events)
        assert outcome.result is not None
        assert not outcome.truncated, path.name
        assert () == outcome.warnings, path.name
    assert found >= 8
