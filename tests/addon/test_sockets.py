"""The hooks of a WebSocket called by hand: a record for each turn, whatever becomes of the socket."""

import logging
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from mitmproxy import http
from mitmproxy.flow import Error
from mitmproxy.test.tflow import tflow
from mitmproxy.websocket import WebSocketData, WebSocketMessage
from wsproto.frame_protocol import Opcode

from addon import settings
from addon.sockets import TurnByTurn
from store.errors import StoreUnavailable
from store.record import Key, Passed, Transport, Wire
from tests.addon.fakes import KEY, KEYS, OFF, OTHER, FakeKeyRing, FakeWriter
from tests.addon.test_recorder import Rig, running

CREATE = b'{"type":"response.create","model":"m"}'
CREATED = b'{"type":"response.created","response":{"id":"r1"}}'
DELTA = b'{"type":"response.output_text.delta","delta":"d"}'
COMPLETED = b'{"type":"response.completed","response":{"id":"r1"}}'
REQUEST_FIELDS = [
    (b"Host", b"api.openai.com"),
    (b"Connection", b"Upgrade"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Version", b"13"),
]
RESPONSE_FIELDS = [(b"Upgrade", b"websocket"), (b"X-Twice", b"1"), (b"x-twice", b"2")]


def handshake(key: bytes = KEY, path: bytes = b"/v1/responses") -> http.HTTPFlow:
    """A client asks for a socket."""
    flow = tflow()
    flow.request.data.method = b"GET"
    flow.request.data.path = path
    flow.request.data.scheme = b"https"
    flow.request.data.content = b""
    flow.request.headers = http.Headers([*REQUEST_FIELDS, (b"Authorization", b"Bearer " + key)])
    return flow


def open_socket(rig: Rig, key: bytes = KEY, path: bytes = b"/v1/responses") -> http.HTTPFlow:
    """The hooks up to the first message."""
    flow = handshake(key, path)
    rig.recorder.requestheaders(flow)
    rig.recorder.request(flow)
    flow.response = http.Response.make(101)
    flow.response.headers = http.Headers(RESPONSE_FIELDS)
    rig.recorder.responseheaders(flow)
    flow.websocket = WebSocketData()
    rig.recorder.response(flow)
    return flow


def message(rig: Rig, flow: http.HTTPFlow, data: bytes, *, client: bool) -> WebSocketMessage:
    """A message passes, as mitmproxy hands it over."""
    assert flow.websocket is not None
    made = WebSocketMessage(Opcode.TEXT, client, data)
    flow.websocket.messages.append(made)
    rig.recorder.websocket_message(flow)
    assert flow.websocket.messages[-1] is made, "the last one is mitmproxy's to send"
    assert (data, False) == (made.content, made.dropped)
    return made


def asks(rig: Rig, flow: http.HTTPFlow, data: bytes = CREATE) -> None:
    message(rig, flow, data, client=True)


def gets(rig: Rig, flow: http.HTTPFlow, *messages: bytes) -> None:
    for data in messages:
        message(rig, flow, data, client=False)


def close(rig: Rig, flow: http.HTTPFlow, code: int, reason: str = "", *, client: bool) -> None:
    assert flow.websocket is not None
    flow.websocket.close_code = code
    flow.websocket.close_reason = reason
    flow.websocket.closed_by_client = client
    rig.recorder.websocket_end(flow)


def passed(messages: list[bytes]) -> Passed:
    data = b"".join(messages)
    return Passed(len(data), sha256(data).hexdigest())


@pytest.mark.check(14, 18)
async def test_two_turns_are_two_records() -> None:
    """Each with the handshake's heads, its own messages as chunks, and one end."""
    with running() as rig:
        flow = open_socket(rig, path=b"/backend-api/codex/responses?x=1")
        assert [] == rig.writer.recordings, "the handshake is none"
        asks(rig, flow)
        gets(rig, flow, CREATED, DELTA, COMPLETED)
        asks(rig, flow, CREATE + b" ")
        gets(rig, flow, COMPLETED)
        close(rig, flow, 1006, client=True)
        rig.recorder.client_disconnected(flow.client_conn)
        first, second = rig.writer.recordings
        assert ([CREATE], [CREATED, DELTA, COMPLETED]) == (
            first.request_chunks,
            first.response_chunks,
        )
        assert ([CREATE + b" "], [COMPLETED]) == (second.request_chunks, second.response_chunks)
        for record in (first, second):
            assert (KEYS[KEY], "responses", True) == (
                record.key,
                record.protocol,
                record.request_ended,
            )
            request, head = record.request, record.head
            assert ("GET", "api.openai.com", "/backend-api/codex/responses?x=1") == (
                request.method,
                request.host,
                request.path,
            )
            assert tuple(REQUEST_FIELDS) == request.headers[:-1]
            assert head is not None
            assert (101, tuple(RESPONSE_FIELDS)) == (head.status, head.headers)
            assert [(Transport.COMPLETE, None)] == record.ends
            assert sorted(record.times) == record.times
            assert [Wire(*map(passed, (record.request_chunks, record.response_chunks)))] == (
                record.wires
            )
        counters = rig.writer.counters
        assert (2, 2, 0) == (counters.seen, counters.recorded, counters.unmatched)


def client_drops(rig: Rig, flow: http.HTTPFlow) -> None:
    close(rig, flow, 1006, client=True)


def upstream_drops(rig: Rig, flow: http.HTTPFlow) -> None:
    close(rig, flow, 1006, client=False)


def upstream_closes(rig: Rig, flow: http.HTTPFlow) -> None:
    close(rig, flow, 1011, "keepalive\nping timeout", client=False)


def client_gone(rig: Rig, flow: http.HTTPFlow) -> None:
    rig.recorder.client_disconnected(flow.client_conn)


def proxy_stops(rig: Rig, flow: http.HTTPFlow) -> None:
    rig.recorder.done()


def flow_breaks(rig: Rig, flow: http.HTTPFlow) -> None:
    flow.error = Error(Error.KILLED_MESSAGE)
    rig.recorder.error(flow)


@pytest.mark.check(40, 41)
@pytest.mark.parametrize(
    ("end", "transport", "error"),
    [
        (client_drops, Transport.CLIENT_CLOSED, "The client closed the WebSocket (1006)."),
        (upstream_drops, Transport.UPSTREAM_CLOSED, "The upstream closed the WebSocket (1006)."),
        (
            upstream_closes,
            Transport.UPSTREAM_CLOSED,
            "The upstream closed the WebSocket (1011, keepalive ping timeout).",
        ),
        (client_gone, Transport.CLIENT_CLOSED, "Client disconnected."),
        (proxy_stops, Transport.PROXY_SHUTDOWN, "The proxy was stopped."),
        (flow_breaks, Transport.KILLED, "Connection killed."),
    ],
)
async def test_a_turn_that_is_cut(
    end: Callable[[Rig, http.HTTPFlow], None], transport: Transport, error: str
) -> None:
    """It is kept as far as it came, with who cut it; the turn before it is not touched."""
    with running() as rig:
        flow = open_socket(rig)
        asks(rig, flow)
        gets(rig, flow, COMPLETED)
        asks(rig, flow)
        gets(rig, flow, CREATED)
        end(rig, flow)
        close(rig, flow, 1006, client=True)
        client_gone(rig, flow)
        proxy_stops(rig, flow)
        done, cut = rig.writer.recordings
        assert [(Transport.COMPLETE, None)] == done.ends
        assert [(transport, error)] == cut.ends
        assert [CREATED] == cut.response_chunks


@pytest.mark.check(24)
async def test_a_turn_without_an_answer_has_none() -> None:
    """The handshake's response is not the turn's: status and headers come with the first message."""
    with running() as rig:
        flow = open_socket(rig)
        asks(rig, flow)
        close(rig, flow, 1000, client=False)
        record = rig.writer.only
        assert record.head is None
        assert [(Transport.UPSTREAM_CLOSED, "The upstream closed the WebSocket (1000).")] == (
            record.ends
        )


async def test_the_watchdog_is_not_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """mitmproxy says that the client left when it closed an idle connection itself."""
    with running() as rig:
        flow = open_socket(rig)
        asks(rig, flow)
        limit = rig.context.options.tcp_timeout
        clock = time.monotonic_ns() + limit * 10**9
        monkeypatch.setattr(time, "monotonic_ns", lambda: clock)
        close(rig, flow, 1006, client=True)
        ((transport, error),) = rig.writer.only.ends
        assert Transport.KILLED is transport
        assert f"after {limit} s without a byte" in str(error)


async def test_what_else_the_client_says_is_kept_with_its_turn() -> None:
    """Behind the request that was whole already; what comes between turns is no turn's."""
    cancel = b'{"type":"response.cancel"}'
    with running() as rig:
        flow = open_socket(rig)
        asks(rig, flow, cancel)
        gets(rig, flow, DELTA)
        asks(rig, flow)
        gets(rig, flow, CREATED)
        asks(rig, flow, cancel)
        gets(rig, flow, COMPLETED, DELTA)
        asks(rig, flow, cancel)
        record = rig.writer.only
        assert [CREATE, cancel] == record.request_chunks
        assert [CREATED, COMPLETED] == record.response_chunks


async def test_overlapping_turns() -> None:
    """Lanes are answered at once, each into its own record."""
    with running() as rig:
        flow = open_socket(rig)
        for lane in (b"a", b"b"):
            asks(rig, flow, b'{"type":"response.create","stream_id":"%s"}' % lane)
        for lane in (b"b", b"a", b"b"):
            gets(rig, flow, b'{"type":"response.output_text.delta","stream_id":"%s"}' % lane)
        gets(rig, flow, b'{"type":"response.completed","stream_id":"b"}')
        first, second = rig.writer.recordings
        assert (1, 3) == (len(first.response_chunks), len(second.response_chunks))
        assert ([], [(Transport.COMPLETE, None)]) == (first.ends, second.ends)


async def test_an_answer_that_nobody_asked_for_is_a_record() -> None:
    """The successor of a steered response: its request is empty, and whole."""
    with running() as rig:
        flow = open_socket(rig)
        gets(rig, flow, CREATED, COMPLETED)
        record = rig.writer.only
        assert ([], True) == (record.request_chunks, record.request_ended)
        assert [CREATED, COMPLETED] == record.response_chunks
        assert [(Transport.COMPLETE, None)] == record.ends


def switch(rig: Rig, retention_s: int | None) -> None:
    """Change the key's retention, as another process does."""
    old = KEYS[KEY]
    key = Key(old.id, old.name, old.last4, retention_s, old.created_ms)
    rig.writer.keys = FakeKeyRing({KEY: key})


@pytest.mark.check(2, 7)
async def test_the_key_is_asked_at_each_turn() -> None:
    """Switched off and on again on one socket; what is not recorded is counted once a socket."""
    with running() as rig:
        flow = open_socket(rig)
        asks(rig, flow)
        gets(rig, flow, COMPLETED)
        switch(rig, None)
        for _ in range(3):
            asks(rig, flow)
            gets(rig, flow, CREATED, COMPLETED)
        switch(rig, 60)
        asks(rig, flow)
        gets(rig, flow, CREATED, COMPLETED)
        first, last = rig.writer.recordings
        assert ([COMPLETED], [CREATED, COMPLETED]) == (first.response_chunks, last.response_chunks)
        counters = rig.writer.counters
        assert (3, 2, 1) == (counters.seen, counters.recorded, counters.unmatched)


async def test_a_turn_that_is_not_recorded_keeps_its_answer_to_itself() -> None:
    """Its messages are not those of the turn behind it, for which the key was switched on."""
    with running() as rig:
        flow = open_socket(rig, OFF)
        asks(rig, flow)
        rig.writer.keys = FakeKeyRing({OFF: KEYS[KEY]})
        asks(rig, flow)
        gets(rig, flow, CREATED, COMPLETED)
        assert [] == rig.writer.only.response_chunks
        gets(rig, flow, DELTA)
        assert [DELTA] == rig.writer.only.response_chunks


@pytest.mark.check(2, 13, 14)
@pytest.mark.parametrize(
    ("key", "path", "seen", "held"),
    [
        (OFF, b"/v1/responses", 1, 1),
        (OTHER, b"/v1/responses", 1, 1),
        (OTHER, b"/v1/realtime?model=m", 1, 1),
        (KEY, b"/v1/chat/completions", 0, 6),
    ],
)
async def test_not_recorded(key: bytes, path: bytes, seen: int, held: int) -> None:
    """Nothing is kept; mitmproxy's list of messages is left as it is of sockets that call no model."""
    with running() as rig:
        flow = open_socket(rig, key, path)
        for _ in range(3):
            asks(rig, flow)
            gets(rig, flow, COMPLETED)
        close(rig, flow, 1000, client=True)
        assert flow.websocket is not None
        assert held == len(flow.websocket.messages)
        assert [] == rig.writer.recordings
        counters = rig.writer.counters
        assert (seen, 0, seen) == (counters.seen, counters.recorded, counters.unmatched)
        assert (None if not seen else "api.openai.com") == counters.last_unmatched_host
        assert {} == rig.recorder._sockets._open


def refused(rig: Rig, flow: http.HTTPFlow) -> None:
    flow.response = http.Response.make(401, b'{"error":{}}', {"content-type": "application/json"})
    rig.recorder.responseheaders(flow)
    assert flow.response.stream is False
    rig.recorder.response(flow)


def refused_unseen(rig: Rig, flow: http.HTTPFlow) -> None:
    flow.response = http.Response.make(401, b"large")
    rig.recorder.responseheaders(flow)
    flow.response.raw_content = None
    rig.recorder.response(flow)


def upstream_gone(rig: Rig, flow: http.HTTPFlow) -> None:
    flow.error = Error("server closed connection")
    rig.recorder.error(flow)


def killed(rig: Rig, flow: http.HTTPFlow) -> None:
    flow.response = http.Response.make(401, b'{"error":{}}')
    flow.error = Error(Error.KILLED_MESSAGE)
    rig.recorder.response(flow)


def not_read(rig: Rig, flow: http.HTTPFlow) -> None:
    flow.response = http.Response.make(101)
    rig.recorder.responseheaders(flow)
    rig.recorder.response(flow)


ANSWERED = [b'{"error":{}}']


@pytest.mark.check(23, 24, 35)
@pytest.mark.parametrize("path", [b"/v1/responses", b"/v1/realtime?model=m"])
@pytest.mark.parametrize(
    ("how", "status", "body", "transport", "error"),
    [
        (refused, 401, ANSWERED, Transport.COMPLETE, None),
        (refused_unseen, 401, [], Transport.COMPLETE,
         "mitmproxy streamed the answer's body; it passed unrecorded."),
        (killed, 401, ANSWERED, Transport.KILLED, "Connection killed."),
        (upstream_gone, None, [], Transport.UPSTREAM_CLOSED, "server closed connection"),
        (client_gone, None, [], Transport.CLIENT_CLOSED, "Client disconnected."),
        (not_read, 101, [], Transport.RECORDER_FAILED, "mitmproxy did not read this WebSocket (--set"
         " websocket=false); it passed unrecorded."),
    ],
)  # fmt: skip
async def test_a_handshake_that_fails_is_a_record(
    how: Callable[[Rig, http.HTTPFlow], None],
    status: int | None,
    body: list[bytes],
    transport: Transport,
    error: str | None,
    path: bytes,
) -> None:
    """With the answer there was, if there was one; and nothing of it stays behind."""
    with running() as rig:
        flow = handshake(path=path)
        rig.recorder.requestheaders(flow)
        assert 1 == len(rig.recorder._sockets._open)
        how(rig, flow)
        client_gone(rig, flow)
        record = rig.writer.only
        assert (status, [], body) == (
            record.head and record.head.status,
            record.request_chunks,
            record.response_chunks,
        )
        assert [(transport, error)] == record.ends
        whole = None if how is refused_unseen else Wire(passed([]), passed(body))
        assert [whole] == record.wires
        assert (1, 1, 0) == (
            rig.writer.counters.seen,
            rig.writer.counters.recorded,
            rig.writer.counters.unmatched,
        )
        assert {} == rig.recorder._sockets._open


@pytest.mark.parametrize("path", [b"/v1/responses", b"/v1/realtime?model=m"])
async def test_a_failed_handshake_of_a_key_that_is_off_is_counted_once(path: bytes) -> None:
    with running() as rig:
        flow = handshake(OFF, path)
        rig.recorder.requestheaders(flow)
        refused(rig, flow)
        assert [] == rig.writer.recordings
        assert (1, 1) == (rig.writer.counters.seen, rig.writer.counters.unmatched)


async def test_only_the_last_message_is_held() -> None:
    """mitmproxy keeps them all; of a socket that is recorded they are let go."""
    with running() as rig:
        flow = open_socket(rig)
        asks(rig, flow)
        gets(rig, flow, *[DELTA] * 500, COMPLETED)
        gets(rig, flow, *[DELTA] * 5)
        assert flow.websocket is not None
        assert 1 == len(flow.websocket.messages)
        assert 501 == len(rig.writer.only.response_chunks)
        (socket,) = rig.recorder._sockets._open.values()
        assert isinstance(socket.spoken, TurnByTurn)
        assert {} == socket.spoken.live


@pytest.mark.parametrize("key", [KEY, OFF])
@pytest.mark.parametrize("needs", ["save_stream_file", "hardump", "view", "script"])
async def test_what_somebody_else_reads_is_left(
    key: bytes, needs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All messages, where an option saves them, a screen shows them, or a script looks at the end."""

    class Addon:
        name = "view"

        def websocket_end(self, flow: http.HTTPFlow) -> None:
            raise AssertionError("not called here")

    with running() as rig:
        if needs == "view":
            rig.context.master.addons.add(Addon())
        elif needs == "script":
            monkeypatch.setattr(settings, "_scripted", lambda: iter([Addon()]))
        else:
            rig.context.options.add_option(needs, str, str(tmp_path / "flows"), "")
        flow = open_socket(rig, key)
        asks(rig, flow)
        gets(rig, flow, *[DELTA] * 5)
        assert flow.websocket is not None
        assert 6 == len(flow.websocket.messages)


async def test_what_others_dropped_did_not_pass() -> None:
    """A message that another addon took out never reaches the other side."""
    with running() as rig:
        flow = open_socket(rig)
        asks(rig, flow)
        assert flow.websocket is not None
        taken_out = WebSocketMessage(Opcode.TEXT, False, DELTA)
        taken_out.drop()
        flow.websocket.messages.append(taken_out)
        rig.recorder.websocket_message(flow)
        gets(rig, flow, b"", CREATED)
        assert [CREATED] == rig.writer.only.response_chunks


@pytest.mark.check(43, 45)
@pytest.mark.parametrize("broken", ["begin", "recording"])
async def test_a_broken_store_leaves_the_messages_alone(
    broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What raises is counted and said, and nothing of it reaches mitmproxy."""
    caplog.set_level(logging.ERROR)
    with running(FakeWriter(broken=broken)) as rig:
        flow = open_socket(rig)
        asks(rig, flow)
        gets(rig, flow, CREATED, COMPLETED)
        close(rig, flow, 1000, client=True)
        assert rig.recorder.failures
        assert "the traffic is not affected" in caplog.text


@pytest.mark.check(43, 45)
async def test_a_bug_of_ours_ends_the_turn_with_its_prefix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No hole in what is kept; the socket's next turn is recorded."""

    def bug(at_ms: int, data: bytes) -> None:
        raise ValueError("a bug")

    with running() as rig:
        flow = open_socket(rig)
        asks(rig, flow)
        gets(rig, flow, CREATED)
        with monkeypatch.context() as patched:
            patched.setattr(rig.writer.only, "response_chunk", bug)
            gets(rig, flow, DELTA)
        gets(rig, flow, DELTA, COMPLETED)
        asks(rig, flow)
        gets(rig, flow, COMPLETED)
        cut, whole = rig.writer.recordings
        assert [CREATED] == cut.response_chunks
        assert [
            (Transport.RECORDER_FAILED, "Recording failed (ValueError); the call went on.")
        ] == (cut.ends)
        assert [(Transport.COMPLETE, None)] == whole.ends


async def test_a_socket_outlives_a_reload() -> None:
    """`done` ends its turn; after `running` its next turn is recorded again."""
    with running() as rig:
        flow = open_socket(rig)
        asks(rig, flow)
        rig.recorder.done()
        gets(rig, flow, CREATED, COMPLETED)
        asks(rig, flow)
        gets(rig, flow, CREATED)
        rig.recorder.running()
        gets(rig, flow, COMPLETED)
        asks(rig, flow)
        gets(rig, flow, CREATED, COMPLETED)
        first, last = rig.writer.recordings
        assert [(Transport.PROXY_SHUTDOWN, "The proxy was stopped.")] == first.ends
        assert [] == first.response_chunks
        assert [CREATED, COMPLETED] == last.response_chunks


async def test_a_store_that_comes_late_records_the_next_turn() -> None:
    """The handshake was before it could be reached."""
    with running(None, StoreUnavailable("locked")) as rig:
        flow = open_socket(rig)
        asks(rig, flow)
        assert rig.recorder._link.writer is None
        rig.recorder._link.open("", lambda: None)
        gets(rig, flow, COMPLETED)
        asks(rig, flow)
        gets(rig, flow, COMPLETED)
        assert [COMPLETED] == rig.writer.only.response_chunks
