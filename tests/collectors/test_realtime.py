"""Folds of Realtime sessions: what a session comes to, its facts, and both sides in order."""

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.event import Event
from collectors.facts import Facts, SessionFacts, request_model
from collectors.protocol import SESSIONS, LlmProtocol
from collectors.registry import fold, new_collector
from collectors.usage import NO_USAGE, Usage, usage_of
from collectors.websocket import message_name, session_events
from tests.collectors.folding import Row, event, folded, warned

RT = LlmProtocol.REALTIME

CREATED = {"type": "session.created", "session": {"id": "sess_1", "model": "gpt-realtime"}}
IN_R1 = {"response_id": "r1", "item_id": "a", "output_index": 0}
PLACE = {**IN_R1, "content_index": 0}


def audio(size: int) -> str:
    return base64.b64encode(b"\1" * size).decode()


def begun(response_id: str = "r1") -> dict[str, Any]:
    return {
        "type": "response.created",
        "response": {"id": response_id, "status": "in_progress", "output": []},
    }


def done(response_id: str = "r1", status: str = "completed", **rest: Any) -> dict[str, Any]:
    return {"type": "response.done", "response": {"id": response_id, "status": status, **rest}}


def item(item_id: str, kind: str = "message", **rest: Any) -> dict[str, Any]:
    return {"type": "conversation.item.added", "item": {"id": item_id, "type": kind, **rest}}


def added(item_id: str = "a", kind: str = "message", **rest: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "response_id": "r1", "output_index": 0,
            "item": {"id": item_id, "type": kind, "content": [], **rest}}  # fmt: skip


def usage(read: int, written: int, cached: int) -> dict[str, Any]:
    return {
        "input_tokens": read,
        "output_tokens": written,
        "total_tokens": read + written,
        "input_token_details": {"cached_tokens": cached, "audio_tokens": read},
        "output_token_details": {"audio_tokens": written},
    }


def spoken(result: dict[str, Any] | None) -> list[Any]:
    """Each item by what of it a reader looks at."""
    assert result is not None
    return [
        one.get("arguments") or [part.get("transcript") or part.get("text") for part in one.get("content", ())]
        for one in result["conversation"]
    ]  # fmt: skip


ROWS = [
    Row("text", [CREATED, begun(), added(), {"type": "response.output_text.delta", **PLACE, "delta": "Hel"},
         {"type": "response.output_text.delta", **PLACE, "delta": "lo"}, done()], [["Hello"]]),
    Row("text, whole at its end", [CREATED, begun(), added(),
         {"type": "response.output_text.done", **PLACE, "text": "Hello"}, done()], [["Hello"]]),
    Row("an emptied text erases nothing", [CREATED, begun(), added(),
         {"type": "response.output_text.delta", **PLACE, "delta": "Hello"},
         {"type": "response.output_text.done", **PLACE, "text": ""},
         {"type": "response.content_part.done", **PLACE, "part": {"type": "text", "text": ""}}, done()], [["Hello"]]),
    Row("speech, by its transcript", [CREATED, begun(), added(),
         {"type": "response.output_audio_transcript.delta", **PLACE, "delta": "Hel"},
         {"type": "response.output_audio.delta", **PLACE, "delta": audio(100)},
         {"type": "response.output_audio_transcript.delta", **PLACE, "delta": "lo"},
         {"type": "response.output_audio.done", **PLACE}, done()], [["Hello"]]),
    Row("speech, in the beta's words", [CREATED, begun(), added(),
         {"type": "response.audio_transcript.delta", **PLACE, "delta": "Hello"},
         {"type": "response.audio.delta", **PLACE, "delta": audio(7)},
         {"type": "response.audio.done", **PLACE}, done()], [["Hello"]]),
    Row("a function call", [CREATED, begun(), added("a", "function_call", name="f", call_id="c"),
         {"type": "response.function_call_arguments.delta", **IN_R1, "delta": '{"x":'},
         {"type": "response.function_call_arguments.delta", **IN_R1, "delta": "1}"}, done()], ['{"x":1}']),
    Row("a function call, whole at its end", [CREATED, begun(), added("a", "function_call"),
         {"type": "response.function_call_arguments.done", **IN_R1, "arguments": "{}"}, done()], ["{}"]),
    Row("what response.done says again", [CREATED, begun(), done(output=[
         {"id": "a", "type": "message", "content": [{"type": "output_audio", "transcript": "Hello"}]}])], [["Hello"]]),
    Row("what the user said", [CREATED, item("u", role="user", content=[{"type": "input_audio", "transcript": None}]),
         {"type": "conversation.item.input_audio_transcription.delta", "item_id": "u", "content_index": 0, "delta": "Go"},
         {"type": "conversation.item.input_audio_transcription.completed", "item_id": "u", "content_index": 0,
          "transcript": "Go on."}], [["Go on."]]),
    Row("in the order of first sight", [CREATED, item("u", content=[{"type": "input_text", "text": "Hi"}]), begun(),
         added(), {"type": "response.output_text.delta", **PLACE, "delta": "Hello"}, done(),
         item("v", content=[{"type": "input_text", "text": "Bye"}])], [["Hi"], ["Hello"], ["Bye"]]),
    Row("a response under way", [CREATED, begun(), added(),
         {"type": "response.output_text.delta", **PLACE, "delta": "Hel"}], [["Hel"]],
        truncated=True, warning="a response had not ended"),
    Row("interrupted by who speaks", [CREATED, begun(), added(),
         {"type": "response.output_text.delta", **PLACE, "delta": "Hel"}, done(status="cancelled")], [["Hel"]]),
    Row("incomplete", [CREATED, begun(), done(status="incomplete")], [], truncated=True),
    Row("failed", [CREATED, begun(), done(status="failed", status_details={"error": {"type": "t", "message": "m"}})],
        [], error="t: m", truncated=True),
    Row("an error, and on it goes", [CREATED, {"type": "error", "error": {"type": "t", "message": "m"}}, begun(),
         done()], [], error="t: m", truncated=True),
    Row("two errors", [CREATED, {"type": "error", "error": {"type": "t", "message": "m"}},
         {"type": "error", "error": {"message": "second"}}], [], error="t: m", truncated=True,
        warning="another error: second"),
    Row("an error alone", [{"type": "error", "error": {"message": "m"}}], None, error="m", truncated=True),
    Row("an item that nobody announced", [CREATED, begun(),
         {"type": "response.output_text.delta", **PLACE, "delta": "x"}, done()], [["x"]],
        warning="never announced"),
    Row("unknown", [CREATED, {"type": "session.levitated"}], [], warning="of unknown type session.levitated"),
    Row("nothing to say of it", [CREATED, {"type": "rate_limits.updated", "rate_limits": []},
         {"type": "input_audio_buffer.speech_started"}, {"type": "output_audio_buffer.started"},
         {"type": "mcp_list_tools.completed"}], []),
    Row("a tool of a server's", [CREATED, begun(), added("a", "mcp_call"),
         {"type": "response.mcp_call_arguments.delta", **IN_R1, "delta": "{}"},
         {"type": "response.mcp_call.completed", "item_id": "a", "output_index": 0}, done()], ["{}"]),
    Row("nothing", [], None, error="no session and no response in the messages", truncated=True),
]  # fmt: skip


@pytest.mark.check(97, 98, 99)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_session(row: Row) -> None:
    outcome = folded(RT, row.events)
    assert (row.error, row.truncated) == (outcome.error, outcome.truncated)
    assert row.result == (None if outcome.result is None else spoken(outcome.result))
    assert warned(outcome, row.warning), outcome.warnings


def test_audio_is_counted_not_kept() -> None:
    """In bytes as decoded, however it was cut; of a retrieved item too."""
    outcome = folded(RT, [
        CREATED, begun(), added(),
        {"type": "response.output_audio.delta", **PLACE, "delta": audio(100)},
        {"type": "response.output_audio.delta", **PLACE, "delta": audio(101)},
        done(),
        {"type": "conversation.item.retrieved",
         "item": {"id": "u", "type": "message", "content": [{"type": "input_audio", "audio": audio(50)}]}},
    ])  # fmt: skip
    assert outcome.result is not None
    spoke, heard = outcome.result["conversation"]
    assert (201, 50) == (spoke["content"][0]["audio_bytes"], heard["content"][0]["audio_bytes"])
    assert audio(30) not in json.dumps(outcome.result)


def test_what_happened_to_items_is_said_of_them() -> None:
    outcome = folded(RT, [
        CREATED, begun(), added(), done(), item("u", content=[{"type": "input_audio"}]), item("gone"),
        {"type": "conversation.item.truncated", "item_id": "a", "content_index": 0, "audio_end_ms": 900},
        {"type": "conversation.item.input_audio_transcription.failed", "item_id": "u", "content_index": 0,
         "error": {"type": "t", "message": "m"}},
        {"type": "conversation.item.deleted", "item_id": "gone"},
    ])  # fmt: skip
    assert outcome.result is not None
    spoke, heard, gone = outcome.result["conversation"]
    assert (900, "r1") == (spoke["content"][0]["truncated_at_ms"], spoke["response_id"])
    assert "t: m" == heard["content"][0]["transcription_error"]
    assert gone["deleted"]
    assert [{"id": "r1", "status": "completed", "output": []}] == outcome.result["responses"]


@pytest.mark.check(33)
def test_the_tokens_of_all_responses() -> None:
    """Added up level by level; those of a transcription, another model's, stand beside them."""
    transcribed = {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": "u",
        "transcript": "x",
        "usage": {"type": "tokens", "input_tokens": 5, "output_tokens": 2},
    }
    outcome = folded(
        RT,
        [CREATED, item("u"), transcribed, done(usage=usage(10, 3, 0)), done("r2", usage=usage(20, 4, 8))],
    )  # fmt: skip
    assert outcome.result is not None
    assert usage(30, 7, 8) == outcome.result["usage"]
    assert Usage(input=30, output=7, cache_read=8) == usage_of(RT, outcome.result)
    assert {"type": "tokens", "input_tokens": 5, "output_tokens": 2} == (
        outcome.result["transcription_usage"]
    )
    alone = folded(RT, [CREATED, item("u"), transcribed])
    assert Usage(input=5, output=2) == usage_of(RT, alone.result)
    by_time = {**transcribed, "usage": {"type": "duration", "seconds": 1.5}}
    timed = folded(RT, [CREATED, item("u"), by_time, by_time])
    assert timed.result is not None
    assert {"type": "duration", "seconds": 3.0} == timed.result["transcription_usage"]
    assert NO_USAGE == usage_of(RT, timed.result)


def test_a_translation() -> None:
    """It has no items: what was heard and what was said, each as one text."""
    outcome = folded(RT, [
        CREATED, {"type": "session.updated", "session": {"audio": {"output": {"language": "de"}}}},
        {"type": "session.input_transcript.delta", "delta": "Good "},
        {"type": "session.output_audio.delta", "delta": audio(9)},
        {"type": "session.output_transcript.delta", "delta": "Guten "},
        {"type": "session.input_transcript.delta", "delta": "day."},
        {"type": "session.output_transcript.delta", "delta": "Tag."},
        {"type": "session.closed"},
    ])  # fmt: skip
    assert outcome.result is not None
    assert ("Good day.", "Guten Tag.", 9, "gpt-realtime", "sess_1") == tuple(
        outcome.result[key]
        for key in ("input_transcript", "output_transcript", "output_audio_bytes", "model", "id")
    )
    assert {"language": "de"} == outcome.result["session"]["audio"]["output"]
    assert (None, False, ()) == (outcome.error, outcome.truncated, outcome.warnings)


KINDS = sorted(
    {"session.created", "response.created", "response.done", "error", "conversation.created"}
    | {"response.output_item.added", "conversation.item.added", "response.content_part.added"}
    | {"response.output_text.delta", "response.output_audio.delta", "response.mcp_call.failed"}
    | {"response.function_call_arguments.done", "session.output_transcript.delta"}
    | {"conversation.item.input_audio_transcription.completed"}
    | {"conversation.item.input_audio_transcription.failed"}
    | {"conversation.item.truncated", "conversation.item.deleted", ""}
)
FIELDS = sorted(
    {"item", "item_id", "part", "delta", "text", "transcript", "content_index", "response"}
    | {"response_id", "usage", "session", "error", "arguments", "conversation"}
)
INNER = ["id", "content", "audio", "output", "usage", "status", "status_details", "a", "error"]
SCALARS = st.sampled_from(
    [None, True, -1, 0, 2, 1.5, 1e300, float("nan"), 2**63, "", "a", "failed", "\ud83d"]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(INNER), inner, max_size=5)
    ),
    max_leaves=10,
)
HOSTILE = st.builds(
    lambda kind, rest: event({**rest, "type": kind}),
    st.sampled_from(KINDS),
    st.dictionaries(
        st.sampled_from(FIELDS),
        st.one_of(VALUES, st.dictionaries(st.sampled_from(INNER), VALUES, max_size=5)),
        max_size=6,
    ),
)


@given(st.lists(HOSTILE, max_size=8))
@settings(max_examples=300)
@pytest.mark.check(97)
def test_whatever_comes(events: list[Event]) -> None:
    """It never raises, asking changes nothing, and what it gives is plain JSON."""
    asked = new_collector(RT)
    assert asked is not None
    for one in events:
        asked.feed(one)
        asked.outcome()
    outcome = fold(RT, events)
    assert repr(outcome) == repr(asked.outcome())
    json.dumps(outcome.result, allow_nan=False).encode()
    usage_of(RT, outcome.result)


def test_long_sessions_are_linear() -> None:
    """Twenty thousand responses with their items: quadratic, this would take minutes."""
    collector = new_collector(RT)
    assert collector is not None
    begin = time.thread_time()
    for n in range(20_000):
        name = str(n)
        place = {"response_id": name, "item_id": name, "content_index": 0}
        for one in (
            begun(name),
            added(name),
            {"type": "response.output_text.delta", **place, "delta": "x"},
            done(name, usage={"input_tokens": 1}),
        ):
            collector.feed(event(one))
    outcome = collector.outcome()
    assert time.thread_time() - begin < 20
    assert outcome.result is not None
    assert 20_000 == outcome.result["usage"]["input_tokens"]


# What the recording side is told


def wire(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.check(33, 34, 35)
def test_the_facts_are_the_folds() -> None:
    """From every message, however many lie between; what is not looked at changes nothing."""
    events = [
        CREATED, item("u"), begun(), added(),
        *[{"type": "response.output_audio.delta", **PLACE, "delta": audio(3000)}] * 300,
        done(usage=usage(10, 3, 1)),
        {"type": "error", "error": {"type": "t", "message": "m"}},
        *[{"type": "response.output_audio.delta", **PLACE, "delta": audio(3000)}] * 300,
        done("r2", usage=usage(20, 4, 2)),
    ]  # fmt: skip
    facts = SessionFacts(RT)
    for one in events:
        facts.feed(wire(one))
    outcome = folded(RT, events)
    assert Facts("gpt-realtime", Usage(30, 7, 3), False, "t: m") == facts.facts()
    assert usage_of(RT, outcome.result) == facts.facts().usage
    assert outcome.error == facts.facts().error


def test_no_facts() -> None:
    """Of a session without messages, of what is no JSON, of one without a fold."""
    for protocol in SESSIONS:
        facts = SessionFacts(protocol)
        assert Facts() == facts.facts()
        facts.feed(b"\xff\xfe")
        facts.feed(b"")
        assert Facts() == facts.facts()


LIVE = LlmProtocol.GEMINI_LIVE
BIDI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent?key=k"
LONG = "x" * 100_000


@pytest.mark.check(34)
@pytest.mark.parametrize(
    ("path", "protocol", "first", "model"),
    [
        ("/v1/realtime?model=gpt-realtime", RT, b"", "gpt-realtime"),
        ("/v1/realtime?a=b&model=ft%3Ax%20y&c", RT, b"", "ft:x y"),
        ("/openai/realtime?api-version=1&deployment=mine", RT, b"", "mine"),
        ("/v1/realtime?model=", RT, b'{"type":"session.update","session":{"model":"m"}}', "m"),
        ("/v1/realtime?intent=transcription", RT, b'{"type":"session.update","session":{}}', None),
        ("/v1/realtime", RT, b'{"type":"conversation.item.create","item":{"model":"m"}}', None),
        ("/v1/realtime", RT, b'{"model":"m"}', None),
        ("/v1/realtime", RT, b"", None),
        ("/v1/realtime", RT, b"\xff", None),
        (BIDI, LIVE, b'{"setup":{"model":"models/gemini-live"}}', "gemini-live"),
        (BIDI, LIVE, wire({"setup": {"model": "models/m", "systemInstruction": LONG}}), "m"),
        (BIDI, LIVE, wire({"setup": {"tools": [{"model": "no"}], "model": "models/m", "x": LONG}}), "m"),
        (BIDI, LIVE, wire({"setup": {"x": LONG, "model": "m"}}), None),
        (BIDI, LIVE, wire({"setup": {"model": "projects/p/locations/l/publishers/google/models/m"}}), "m"),
        (BIDI, LIVE, b'{"clientContent":{"model":"m"}}', None),
    ],
)  # fmt: skip
def test_the_model(path: str, protocol: LlmProtocol, first: bytes, model: str | None) -> None:
    """As the path says it, else the client's first message; a large one only near its start."""
    assert model == request_model(path, protocol, first)


# Both sides


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (b'{"type":"session.update","session":{}}', "session.update"),
        (b'{"setup":{"model":"m"}}', "setup"),
        (b' {\n "serverContent" : {}}', "serverContent"),
        (b'{"realtime_input":{}}', "realtime_input"),
        (b'{"response":{}}', None),
        (b'{"setup"}', None),
        (b"", None),
        (b"\x00\x01", None),
    ],
)
def test_the_name_of_a_message(message: bytes, name: str | None) -> None:
    assert name == message_name(message)


def test_both_sides_in_the_order_of_their_times() -> None:
    """Each side in its own order; within a millisecond the client's first."""
    client = [(0, b'{"type":"a"}'), (5, b'{"type":"b"}'), (5, b'{"type":"c"}'), (9, b"\xff")]
    server = [(0, b'{"type":"d"}'), (5, b'{"type":"e"}'), (7, b'{"type":"f"}')]
    events = session_events(client, server)
    assert [
        (0, "a", True), (0, "d", False), (5, "b", True), (5, "c", True), (5, "e", False),
        (7, "f", False), (9, None, True),
    ] == [(one.at_ms, one.name, one.from_client) for one in events]  # fmt: skip
    assert [] == session_events([], [])


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans())))
def test_no_message_is_lost_or_moved(said: list[tuple[int, bool]]) -> None:
    """However the sides interleave, each reads as it was."""
    sides: dict[bool, list[tuple[int, bytes]]] = {True: [], False: []}
    for number, (at_ms, from_client) in enumerate(sorted(said, key=lambda one: one[0])):
        sides[from_client].append((at_ms, str(number).encode()))
    events = session_events(sides[True], sides[False])
    for side, messages in sides.items():
        assert messages == [
            (one.at_ms, one.data.encode()) for one in events if one.from_client is side
        ]
