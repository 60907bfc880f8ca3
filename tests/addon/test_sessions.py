"""The hooks of a WebSocket that is one session, called by hand: one record, both sides, however it ends."""

import time
from hashlib import sha256

import pytest
from mitmproxy import http
from mitmproxy.flow import Error
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import Opcode

from store.errors import StoreUnavailable
from store.record import Key, Passed, Transport, Wire
from tests.addon.fakes import KEY, KEYS, OFF, FakeKeyRing, FakeRecording
from tests.addon.test_recorder import Rig, running
from tests.addon.test_sockets import (
    RESPONSE_FIELDS,
    asks,
    client_gone,
    close,
    flow_breaks,
    gets,
    handshake,
    open_socket,
    proxy_stops,
    switch,
)

REALTIME = b"/v1/realtime?model=gpt-realtime"
BIDI = b"/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
STARTED = b'{"type":"session.created","session":{}}'
UPDATE = b'{"type":"session.update","session":{}}'
CREATE = b'{"type":"response.create"}'
DONE = b'{"type":"response.done","response":{}}'
SWITCHED = "The key was switched; the session went on without this record."


def passed(*messages: bytes) -> Passed:
    data = b"".join(messages)
    return Passed(len(data), sha256(data).hexdigest())


def at(
    record: FakeRecording,
) -> tuple[list[bytes], list[bytes], list[tuple[Transport, str | None]]]:
    return record.request_chunks, record.response_chunks, record.ends


@pytest.mark.check(14, 18)
@pytest.mark.parametrize(
    ("path", "protocol"), [(REALTIME, "realtime"), (BIDI, "gemini-live")], ids=["realtime", "live"]
)
async def test_a_session_is_one_record(path: bytes, protocol: str) -> None:
    """From the handshake on, both sides as they talked, text or binary; and what passed, hashed."""
    binary = b'{"serverContent":{}}\xff'
    with running() as rig:
        flow = open_socket(rig, path=path)
        begun = rig.writer.only
        assert (protocol, KEYS[KEY]) == (begun.protocol, begun.key)
        assert begun.head is not None
        assert (101, tuple(RESPONSE_FIELDS)) == (begun.head.status, begun.head.headers)
        gets(rig, flow, STARTED)
        assert not begun.request_ended
        asks(rig, flow, UPDATE)
        assert begun.request_ended, "the model can be told"
        asks(rig, flow, CREATE)
        gets(rig, flow, DONE)
        assert flow.websocket is not None
        flow.websocket.messages.append(WebSocketMessage(Opcode.BINARY, False, binary))
        rig.recorder.websocket_message(flow)
        asks(rig, flow, b"")
        close(rig, flow, 1000, client=True)
        assert ([UPDATE, CREATE], [STARTED, DONE, binary], [(Transport.COMPLETE, None)]) == at(
            begun
        )
        assert [Wire(passed(UPDATE, CREATE), passed(STARTED, DONE, binary))] == begun.wires
        assert sorted(begun.times) == begun.times
        client_gone(rig, flow)
        counters = rig.writer.counters
        assert (1, 1, 0) == (counters.seen, counters.recorded, counters.unmatched)
        assert 1 == len(flow.websocket.messages)
        assert {} == rig.recorder._sockets._open


CLOSES = [
    (1000, True, Transport.COMPLETE, None),
    (1000, False, Transport.COMPLETE, None),
    (1001, True, Transport.COMPLETE, None),
    (1005, True, Transport.COMPLETE, None),
    (1006, True, Transport.CLIENT_CLOSED, "The client closed the WebSocket (1006)."),
    (1006, False, Transport.UPSTREAM_CLOSED, "The upstream closed the WebSocket (1006)."),
    (1011, False, Transport.UPSTREAM_CLOSED, "The upstream closed the WebSocket (1011)."),
    (1008, False, Transport.UPSTREAM_CLOSED, "The upstream closed the WebSocket (1008)."),
    (3000, False, Transport.UPSTREAM_CLOSED, "The upstream closed the WebSocket (3000)."),
]


@pytest.mark.check(40, 41)
@pytest.mark.parametrize(("code", "client", "transport", "error"), CLOSES)
async def test_how_a_socket_is_closed(
    code: int, client: bool, transport: Transport, error: str | None
) -> None:
    """A goodbye is a complete session; any other code says that it was cut, and by whom."""
    with running() as rig:
        flow = open_socket(rig, path=REALTIME)
        gets(rig, flow, STARTED)
        close(rig, flow, code, client=client)
        assert [(transport, error)] == rig.writer.only.ends


@pytest.mark.check(40, 41)
@pytest.mark.parametrize(
    ("end", "transport", "error"),
    [
        (client_gone, Transport.CLIENT_CLOSED, "Client disconnected."),
        (proxy_stops, Transport.PROXY_SHUTDOWN, "The proxy was stopped."),
        (flow_breaks, Transport.KILLED, "Connection killed."),
    ],
)
async def test_an_end_without_a_close(end: object, transport: Transport, error: str) -> None:
    """Ended once, whatever else is said of it afterwards."""
    assert callable(end)
    with running() as rig:
        flow = open_socket(rig, path=REALTIME)
        gets(rig, flow, STARTED)
        end(rig, flow)
        close(rig, flow, 1000, client=True)
        client_gone(rig, flow)
        assert [(transport, error)] == rig.writer.only.ends


async def test_the_watchdog_is_not_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as rig:
        flow = open_socket(rig, path=REALTIME)
        limit = rig.context.options.tcp_timeout
        clock = time.monotonic_ns() + limit * 10**9
        monkeypatch.setattr(time, "monotonic_ns", lambda: clock)
        close(rig, flow, 1006, client=True)
        ((transport, _),) = rig.writer.only.ends
        assert Transport.KILLED is transport


def missing(record: FakeRecording) -> str:
    """What it says of its beginning, from the seconds on."""
    ((_, text),) = record.ends
    begin, _, rest = (text or "").partition(" s of the session are missing: ")
    assert begin.startswith("The first ")
    return rest


@pytest.mark.check(2, 7)
async def test_a_key_that_is_switched_on_in_mid_session() -> None:
    """Recorded from its next message on, whoever says it, and marked as without its beginning."""
    with running() as rig:
        flow = open_socket(rig, OFF, REALTIME)
        asks(rig, flow, UPDATE)
        gets(rig, flow, STARTED)
        assert [] == rig.writer.recordings
        rig.writer.keys = FakeKeyRing({OFF: KEYS[KEY]})
        gets(rig, flow, DONE)
        asks(rig, flow, CREATE)
        close(rig, flow, 1000, client=True)
        record = rig.writer.only
        assert ([CREATE], [DONE]) == (record.request_chunks, record.response_chunks)
        assert record.head is not None
        assert Transport.COMPLETE is record.ends[0][0]
        assert "the key was off." == missing(record)
        assert [Wire(passed(CREATE), passed(DONE))] == record.wires
        counters = rig.writer.counters
        assert (2, 1, 1) == (counters.seen, counters.recorded, counters.unmatched)


@pytest.mark.check(2, 7, 37)
async def test_a_key_that_is_switched_off_and_on_in_mid_session() -> None:
    """The record ends (the store discards it), what passes meanwhile is in none, then one begins anew."""
    with running() as rig:
        flow = open_socket(rig, path=REALTIME)
        gets(rig, flow, STARTED)
        switch(rig, None)
        asks(rig, flow, UPDATE)
        switch(rig, 60)
        asks(rig, flow, CREATE)
        close(rig, flow, 1006, client=True)
        first, last = rig.writer.recordings
        assert ([], [STARTED], [(Transport.COMPLETE, SWITCHED)]) == at(first)
        assert ([CREATE], []) == (last.request_chunks, last.response_chunks)
        assert "the key was off. The client closed the WebSocket (1006)." == missing(last)
        assert 1 == rig.writer.counters.unmatched


@pytest.mark.check(2, 7, 37)
async def test_a_record_that_the_store_has_discarded() -> None:
    """The key was off for so short that the keys in memory never showed it."""
    with running() as rig:
        flow = open_socket(rig, path=REALTIME)
        gets(rig, flow, STARTED)
        rig.writer.only.discarded = True
        gets(rig, flow, DONE)
        close(rig, flow, 1000, client=True)
        first, last = rig.writer.recordings
        assert ([], [STARTED], []) == at(first)
        assert [DONE] == last.response_chunks
        assert "the key was off." == missing(last)


async def test_a_session_goes_to_the_key_that_has_it_now() -> None:
    with running() as rig:
        flow = open_socket(rig, path=REALTIME)
        gets(rig, flow, STARTED)
        other = Key("00000000000000cc", "other", "0000", 60, 0)
        rig.writer.keys = FakeKeyRing({KEY: other})
        gets(rig, flow, DONE)
        close(rig, flow, 1000, client=True)
        first, last = rig.writer.recordings
        assert ([STARTED], [DONE], other) == (first.response_chunks, last.response_chunks, last.key)
        assert "another key had it." == missing(last)


@pytest.mark.check(7)
async def test_other_changes_of_the_keys_change_nothing() -> None:
    """Neither of a retention nor of other keys; they are asked once for each."""
    with running() as rig:
        flow = open_socket(rig, path=REALTIME)
        for retention_s in (60, 7200, 60):
            switch(rig, retention_s)
            gets(rig, flow, DONE)
        close(rig, flow, 1000, client=True)
        assert ([], [DONE] * 3, [(Transport.COMPLETE, None)]) == at(rig.writer.only)


async def test_a_store_that_comes_late() -> None:
    with running(None, StoreUnavailable("locked")) as rig:
        flow = open_socket(rig, path=REALTIME)
        gets(rig, flow, STARTED)
        rig.recorder._link.open("", lambda: None)
        asks(rig, flow, CREATE)
        close(rig, flow, 1000, client=True)
        assert [CREATE] == rig.writer.only.request_chunks
        assert "the store was out of reach." == missing(rig.writer.only)


async def test_a_reload() -> None:
    with running() as rig:
        flow = open_socket(rig, path=REALTIME)
        gets(rig, flow, STARTED)
        rig.recorder.done()
        gets(rig, flow, STARTED)
        rig.recorder.running()
        gets(rig, flow, DONE)
        close(rig, flow, 1000, client=True)
        first, last = rig.writer.recordings
        assert ([], [STARTED], [(Transport.PROXY_SHUTDOWN, "The proxy was stopped.")]) == at(first)
        assert [DONE] == last.response_chunks
        assert "the proxy's recorder was not running." == missing(last)


@pytest.mark.check(43, 45)
async def test_a_bug_of_ours_ends_it_with_its_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once: no record begins behind it, whatever happens to the key."""

    def bug(at_ms: int, data: bytes) -> None:
        raise ValueError("a bug")

    with running() as rig:
        flow = open_socket(rig, path=REALTIME)
        gets(rig, flow, STARTED)
        with monkeypatch.context() as patched:
            patched.setattr(rig.writer.only, "response_chunk", bug)
            gets(rig, flow, DONE)
        gets(rig, flow, DONE)
        switch(rig, 60)
        gets(rig, flow, DONE)
        record = rig.writer.only
        assert [STARTED] == record.response_chunks
        assert [
            (Transport.RECORDER_FAILED, "Recording failed (ValueError); the call went on.")
        ] == record.ends
        assert [Wire(passed(), passed(STARTED, DONE))] == record.wires, (
            "what passed, not what is kept"
        )


@pytest.mark.check(7)
async def test_a_key_that_only_a_handshake_can_carry() -> None:
    """A browser's, as a subprotocol."""
    with running() as rig:
        flow = handshake(b"", REALTIME)
        del flow.request.headers["authorization"]
        flow.request.headers["sec-websocket-protocol"] = (
            f"realtime, openai-insecure-api-key.{KEY.decode()}, openai-beta.realtime-v1"
        )
        rig.recorder.requestheaders(flow)
        assert KEYS[KEY] == rig.writer.only.key


@pytest.mark.parametrize("path", [REALTIME, b"/v1/responses"])
async def test_what_may_not_pass_unrecorded_does_not(path: bytes) -> None:
    """With flowtap_required while the store fails: the client's message is taken out and the socket
    closed, which ends what was being recorded; with another key it passes."""
    with running() as rig:
        rig.context.configure(rig.recorder, flowtap_required=True)
        flow, other = open_socket(rig, path=path), open_socket(rig, OFF, path)
        asks(rig, flow, CREATE)
        rig.writer.trouble = "the disk is full"
        gets(rig, flow, STARTED)
        asks(rig, other, CREATE)
        for from_client in (True, False, True):
            assert flow.websocket is not None
            message = WebSocketMessage(Opcode.TEXT, from_client, CREATE)
            flow.websocket.messages.append(message)
            rig.recorder.websocket_message(flow)
            assert message.dropped
        close(rig, flow, 1013, client=False)
        record = rig.writer.only
        assert ([CREATE], [STARTED]) == (record.request_chunks, record.response_chunks)
        assert [
            (Transport.KILLED, "flowtap closed the WebSocket, since it could not record: the disk is full")
        ] == record.ends  # fmt: skip
        assert 1 == rig.writer.counters.refused


async def test_a_bug_of_ours_closes_what_may_not_pass_unrecorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """flowtap_required: the message that met it has passed, the next does not; unless the key is off."""

    def bug(at_ms: int, data: bytes) -> None:
        raise ValueError("a bug")

    with running() as rig:
        rig.context.configure(rig.recorder, flowtap_required=True)
        flow = open_socket(rig, path=REALTIME)
        monkeypatch.setattr(rig.writer.only, "request_chunk", bug)
        asks(rig, flow, CREATE)
        switch(rig, None)
        asks(rig, flow, CREATE)
        switch(rig, 60)
        assert flow.websocket is not None
        message = WebSocketMessage(Opcode.TEXT, True, CREATE)
        flow.websocket.messages.append(message)
        rig.recorder.websocket_message(flow)
        assert message.dropped


async def test_what_is_in_the_middle_of_a_turn_may_pass() -> None:
    """Only what begins a turn asks for a record."""
    with running() as rig:
        rig.context.configure(rig.recorder, flowtap_required=True)
        flow = open_socket(rig)
        asks(rig, flow, CREATE)
        rig.writer.trouble = "the disk is full"
        asks(rig, flow, b'{"type":"response.cancel"}')
        assert 2 == len(rig.writer.only.request_chunks)


async def test_a_handshake_that_is_refused_for_required(caplog: pytest.LogCaptureFixture) -> None:
    """503, as any call; nothing of it is followed."""
    with running() as rig:
        rig.context.configure(rig.recorder, flowtap_required=True)
        rig.writer.trouble = "the disk is full"
        flow = handshake(path=REALTIME)
        rig.recorder.requestheaders(flow)
        assert flow.response is not None
        assert 503 == flow.response.status_code
        rig.recorder.response(flow)
        assert ({}, []) == (rig.recorder._sockets._open, rig.writer.recordings)


async def test_what_is_not_recorded_is_held_in_the_ring() -> None:
    """A session of a key that is off, and a turn, each as an exchange; switched on it begins anew,
    and what was held says so."""
    with running() as rig:
        rig.context.configure(rig.recorder, flowtap_ring="1m")
        ring = rig.recorder._keeping.ring
        assert ring is not None
        flow, turns = open_socket(rig, OFF, REALTIME), open_socket(rig, OFF)
        asks(rig, turns, CREATE)
        gets(rig, turns, b'{"type":"response.completed"}')
        asks(rig, flow, UPDATE)
        gets(rig, flow, STARTED)
        assert 2 == len(ring)
        rig.writer.keys = FakeKeyRing({OFF: KEYS[KEY]})
        gets(rig, flow, DONE)
        close(rig, flow, 1000, client=True)
        assert [DONE] == rig.writer.only.response_chunks
        rig.writer.keys = FakeKeyRing(KEYS)
        found = ring.want(0)
        assert [True, True] == [held.ended for held in found]
        for held in found:
            held.recording = rig.writer.begin(
                KEYS[KEY], held.started_ms, held.request, held.protocol, held.id
            )
            while not held.gone:
                held.tell_next()
        told = {record.protocol: at(record) for record in rig.writer.recordings[1:]}
        assert ([UPDATE], [STARTED], [(Transport.COMPLETE, SWITCHED)]) == told["realtime"]
        assert ([CREATE], [b'{"type":"response.completed"}'], [(Transport.COMPLETE, None)]) == (
            told["responses"]
        )


async def test_an_error_of_the_flow_after_its_end_is_none() -> None:
    """The socket is forgotten by then."""
    with running() as rig:
        flow = open_socket(rig, path=REALTIME)
        close(rig, flow, 1000, client=False)
        flow.error = Error("late")
        rig.recorder.error(flow)
        gets_nothing(rig, flow)
        assert [(Transport.COMPLETE, None)] == rig.writer.only.ends


def gets_nothing(rig: Rig, flow: http.HTTPFlow) -> None:
    gets(rig, flow, DONE)
    assert [] == rig.writer.only.response_chunks
