"""The hooks called by hand, in every order mitmproxy calls them: one record each, told right."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pytest
from mitmproxy import connection, exceptions, http
from mitmproxy.connection import ConnectionState
from mitmproxy.flow import Error
from mitmproxy.test import taddons
from mitmproxy.test.tflow import tflow

from addon import exchange, link
from addon.recorder import Recorder
from store.contract import Store
from store.errors import BadInput, StoreUnavailable
from store.record import Ask, Passed, Transport, Wire
from tests.addon.fakes import KEY, KEYS, OFF, OTHER, FakeRecording, FakeWriter, Opener

SERVER_LOG = logging.getLogger("mitmproxy.proxy.server")


@dataclass
class Rig:
    """A recorder that runs, the store it writes to, and mitmproxy around it."""

    recorder: Recorder
    writer: FakeWriter
    opener: Opener
    context: Any


@contextmanager
def running(writer: FakeWriter | None = None, *script: Exception | None) -> Iterator[Rig]:
    """Load and start, as mitmproxy does; stop at the end."""
    writer = writer or FakeWriter()
    opener = Opener(writer, *script)
    recorder = Recorder(opener)
    with taddons.context() as context:
        context.master.addons.add(recorder)
        context.configure(recorder)
        recorder.running()
        try:
            yield Rig(recorder, writer, opener, context)
        finally:
            recorder.done()


def model_call(key: bytes = KEY, path: bytes = b"/v1/messages") -> http.HTTPFlow:
    """A POST with that credential, both connections open, no answer yet."""
    flow = tflow()
    flow.request.data.method = b"POST"
    flow.request.data.path = path
    flow.request.data.host = "127.0.0.1"
    flow.request.data.scheme = b"https"
    flow.request.headers = http.Headers([(b"Host", b"api.anthropic.com"), (b"x-api-key", key)])
    flow.request.data.content = None
    flow.client_conn.state = flow.server_conn.state = ConnectionState.OPEN
    return flow


def send(flow: http.HTTPFlow, *chunks: bytes) -> None:
    """The request's body, streamed or not, as mitmproxy hands it over."""
    if callable(flow.request.stream):
        for chunk in chunks:
            assert chunk == flow.request.stream(chunk)
        assert () == flow.request.stream(b"")
    else:
        flow.request.data.content = b"".join(chunks)


def answer(flow: http.HTTPFlow, status: int = 200) -> None:
    """A response's head."""
    flow.response = http.Response.make(status, b"", {"content-type": "text/event-stream"})
    flow.response.data.content = None


def receive(flow: http.HTTPFlow, *chunks: bytes, end: bool = True) -> None:
    """The response's body through the tap."""
    assert flow.response is not None
    assert callable(flow.response.stream)
    for chunk in chunks:
        assert chunk == flow.response.stream(chunk)
    if end:
        assert () == flow.response.stream(b"")


def fail(flow: http.HTTPFlow, message: str, client_open: bool = False) -> None:
    """`flow.error`, and the state of the client's connection at the time."""
    flow.error = Error(message)
    flow.client_conn.state = ConnectionState.OPEN if client_open else ConnectionState.CLOSED


def wire(request: bytes, response: bytes) -> Wire:
    """Both bodies, counted and hashed."""
    both = [Passed(len(body), sha256(body).hexdigest()) for body in (request, response)]
    return Wire(*both)


@pytest.mark.check(12, 15, 16, 17)
async def test_a_normal_exchange() -> None:
    """Heads, chunks and one end, in order, with the bytes as they passed."""
    with running() as rig:
        flow = model_call(path=b"/v1/messages?beta=true")
        rig.recorder.requestheaders(flow)
        assert callable(flow.request.stream)
        send(flow, b'{"model":', b'"m"}')
        rig.recorder.request(flow)
        answer(flow)
        rig.recorder.responseheaders(flow)
        receive(flow, b"data: 1\n\n", b"data: 2\n\n")
        rig.recorder.response(flow)
        record = rig.writer.only
        assert KEYS[KEY] == record.key
        assert "messages" == record.protocol
        assert ("POST", "/v1/messages?beta=true") == (record.request.method, record.request.path)
        assert "api.anthropic.com" == record.request.host
        assert [b'{"model":', b'"m"}'] == record.request_chunks
        assert record.request_ended
        assert record.head is not None
        assert 200 == record.head.status
        assert [b"data: 1\n\n", b"data: 2\n\n"] == record.response_chunks
        assert [(Transport.COMPLETE, None)] == record.ends
        assert [wire(b'{"model":"m"}', b"data: 1\n\ndata: 2\n\n")] == record.wires
        assert sorted(record.times) == record.times
        counters = rig.writer.counters
        assert (1, 1, 0) == (counters.seen, counters.recorded, counters.unmatched)


@pytest.mark.check(13)
@pytest.mark.parametrize(
    ("path", "protocol"),
    [
        (b"/v1/messages", "messages"),
        (b"/v1/responses", "responses"),
        (b"/v1/responses/compact", "responses"),
        (b"/backend-api/codex/responses", "responses"),
        (b"/v1/chat/completions", "chat"),
        (b"/v1/embeddings", "embeddings"),
        (b"/v1/images/generations", "images"),
        (b"/v1/images/edits", "images"),
        (b"/v1beta/models/gemini-2.5-pro:generateContent", "gemini"),
        (b"/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", "gemini"),
        (b"/v1/completions", "completions"),
        (b"/v1/audio/speech", "audio"),
        (b"/v1/rerank", "rerank"),
    ],
)
async def test_what_invokes_a_model_is_recorded(path: bytes, protocol: str) -> None:
    """One path of each API, told to the store by its name."""
    with running() as rig:
        rig.recorder.requestheaders(model_call(path=path))
        assert protocol == rig.writer.only.protocol


@pytest.mark.check(2, 4, 13, 14)
@pytest.mark.parametrize(
    ("key", "method", "path", "seen"),
    [
        (OFF, b"POST", b"/v1/messages", 1),
        (OTHER, b"POST", b"/v1/messages", 1),
        (KEY, b"POST", b"/v1/messages/count_tokens", 0),
        (KEY, b"GET", b"/v1/models", 0),
        (KEY, b"GET", b"/v1/responses", 0),
        (KEY, b"POST", b"/api/event_logging/batch", 0),
    ],
)
async def test_not_recorded(key: bytes, method: bytes, path: bytes, seen: int) -> None:
    """A key that is off or unknown, or no model call: no tee, no record, no hook does anything."""
    with running() as rig:
        flow = model_call(key, path)
        flow.request.data.method = method
        rig.recorder.requestheaders(flow)
        assert flow.request.stream is False
        rig.recorder.request(flow)
        answer(flow)
        rig.recorder.responseheaders(flow)
        assert flow.response is not None
        assert flow.response.stream is False
        rig.recorder.response(flow)
        fail(flow, "Client disconnected.")
        rig.recorder.error(flow)
        rig.recorder.client_disconnected(flow.client_conn)
        assert [] == rig.writer.recordings
        counters = rig.writer.counters
        assert (seen, 0, seen) == (counters.seen, counters.recorded, counters.unmatched)


async def test_unmatched_is_said() -> None:
    """Host, time and a fingerprint of the last one: why a call is not there, never the key."""
    with running() as rig:
        rig.recorder.requestheaders(model_call(OTHER))
        counters = rig.writer.counters
        assert "api.anthropic.com" == counters.last_unmatched_host
        assert "sk-ant-t…1111" == counters.last_unmatched_fingerprint
        assert counters.last_unmatched_ms is not None
        assert abs(counters.last_unmatched_ms - time.time() * 1000) < 60_000
        flow = model_call()
        del flow.request.headers["x-api-key"]
        rig.recorder.requestheaders(flow)
        assert 2 == counters.unmatched
        assert counters.last_unmatched_fingerprint is None


async def test_the_first_credential_that_is_on_counts() -> None:
    """One of several may be off or unknown."""
    with running() as rig:
        flow = model_call(OFF)
        flow.request.headers["authorization"] = "Bearer " + OTHER.decode()
        flow.request.headers["api-key"] = KEY.decode()
        rig.recorder.requestheaders(flow)
        assert "work" == rig.writer.only.key.name
        rig.recorder.client_disconnected(flow.client_conn)


def to_request(rig: Rig, flow: http.HTTPFlow) -> None:
    rig.recorder.requestheaders(flow)
    send(flow, b"req")
    rig.recorder.request(flow)


def to_head(rig: Rig, flow: http.HTTPFlow) -> None:
    to_request(rig, flow)
    answer(flow)
    rig.recorder.responseheaders(flow)


def to_half(rig: Rig, flow: http.HTTPFlow) -> None:
    to_head(rig, flow)
    receive(flow, b"half", end=False)


def broken(message: str, client_open: bool = True) -> Callable[[Rig, http.HTTPFlow], None]:
    def end(rig: Rig, flow: http.HTTPFlow) -> None:
        fail(flow, message, client_open)
        rig.recorder.error(flow)

    return end


def left(rig: Rig, flow: http.HTTPFlow) -> None:
    rig.recorder.client_disconnected(flow.client_conn)


def stopped(rig: Rig, flow: http.HTTPFlow) -> None:
    rig.recorder.done()


def killed_at_response(rig: Rig, flow: http.HTTPFlow) -> None:
    fail(flow, Error.KILLED_MESSAGE, client_open=True)
    rig.recorder.response(flow)


type Step = Callable[[Rig, http.HTTPFlow], None]

ENDS: list[tuple[str, Step, Step, Transport, str, bytes]] = [
    ("upload cut", lambda r, f: r.recorder.requestheaders(f),
     broken("HTTP/1 protocol error: peer closed", False), Transport.CLIENT_CLOSED,
     "HTTP/1 protocol error: peer closed", b""),
    ("client leaves while waiting", to_request, broken("Client disconnected.", False),
     Transport.CLIENT_CLOSED, "Client disconnected.", b""),
    ("client leaves in mid-response", to_half, broken("Client disconnected.", False),
     Transport.CLIENT_CLOSED, "Client disconnected.", b"half"),
    ("client_disconnected alone", to_half, left, Transport.CLIENT_CLOSED,
     "Client disconnected.", b"half"),
    ("upstream refuses", lambda r, f: r.recorder.requestheaders(f),
     broken("[Errno 111] Connect call\n failed"), Transport.UPSTREAM_ERROR,
     "[Errno 111] Connect call failed", b""),
    ("upstream cuts", to_half, broken("HTTP/1 protocol error: peer closed connection"),
     Transport.UPSTREAM_CLOSED, "HTTP/1 protocol error: peer closed connection", b"half"),
    ("killed", to_head, broken(Error.KILLED_MESSAGE), Transport.KILLED, "Connection killed.", b""),
    ("killed, seen at the end", to_half, killed_at_response, Transport.KILLED,
     "Connection killed.", b"half"),
    ("the proxy stops", to_half, stopped, Transport.PROXY_SHUTDOWN,
     "The proxy was stopped.", b"half"),
]  # fmt: skip


@pytest.mark.check(24, 38, 39, 40, 41)
@pytest.mark.parametrize(
    ("begin", "end", "transport", "error", "body"),
    [row[1:] for row in ENDS],
    ids=[row[0] for row in ENDS],
)
async def test_every_end_is_one_record(
    begin: Step, end: Step, transport: Transport, error: str, body: bytes
) -> None:
    """However it ends: once, with who ended it, the error and what had passed; late hooks do nothing."""
    with running() as rig:
        flow = model_call()
        begin(rig, flow)
        end(rig, flow)
        fail(flow, "server closed connection")
        rig.recorder.error(flow)
        rig.recorder.request(flow)
        rig.recorder.response(flow)
        rig.recorder.client_disconnected(flow.client_conn)
        rig.recorder.done()
        record = rig.writer.only
        assert [(transport, error)] == record.ends
        assert body == record.response_body
        assert [wire(record.request_body, body)] == record.wires


@pytest.mark.check(38)
async def test_a_cut_upload_keeps_its_prefix() -> None:
    """What had been streamed of the request is there, and not marked whole."""
    with running() as rig:
        flow = model_call()
        rig.recorder.requestheaders(flow)
        assert callable(flow.request.stream)
        flow.request.stream(b"first part")
        fail(flow, "HTTP/1 protocol error: peer closed connection")
        rig.recorder.error(flow)
        record = rig.writer.only
        assert b"first part" == record.request_body
        assert not record.request_ended


async def test_an_early_answer_waits_for_its_request() -> None:
    """`response` before `request` (413, an early stream): the record ends with the upload."""
    with running() as rig:
        flow = model_call()
        rig.recorder.requestheaders(flow)
        answer(flow, 413)
        rig.recorder.responseheaders(flow)
        receive(flow, b"too large")
        rig.recorder.response(flow)
        assert [] == rig.writer.only.ends
        send(flow, b"the rest")
        rig.recorder.request(flow)
        assert [(Transport.COMPLETE, None)] == rig.writer.only.ends


@pytest.mark.parametrize("step", [left, stopped], ids=["client leaves", "proxy stops"])
async def test_an_early_answer_is_whole_whoever_leaves(step: Step) -> None:
    """The upload never ends; the answer was complete all the same."""
    with running() as rig:
        flow = model_call()
        rig.recorder.requestheaders(flow)
        answer(flow)
        rig.recorder.responseheaders(flow)
        receive(flow, b"all")
        rig.recorder.response(flow)
        step(rig, flow)
        assert [(Transport.COMPLETE, None)] == rig.writer.only.ends


async def test_an_early_answer_is_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On HTTP/2 nothing at all may follow: after a while the sweep ends it."""
    with running() as rig:
        flow = model_call()
        rig.recorder.requestheaders(flow)
        answer(flow)
        rig.recorder.responseheaders(flow)
        rig.recorder.response(flow)
        rig.recorder._tick()
        assert [] == rig.writer.only.ends
        monkeypatch.setattr(exchange, "EARLY_S", 0.0)
        rig.recorder._tick()
        assert [(Transport.COMPLETE, None)] == rig.writer.only.ends


@pytest.mark.check(23)
async def test_a_response_without_body() -> None:
    """204, or content-length 0: the tap is never called, the head is there."""
    with running() as rig:
        flow = model_call()
        to_request(rig, flow)
        flow.response = http.Response.make(204)
        rig.recorder.responseheaders(flow)
        rig.recorder.response(flow)
        record = rig.writer.only
        assert record.head is not None
        assert (204, []) == (record.head.status, record.response_chunks)
        assert [(Transport.COMPLETE, None)] == record.ends


async def test_invalid_response_headers() -> None:
    """mitmproxy refuses them without `responseheaders`: the head is recorded all the same."""
    with running() as rig:
        flow = model_call()
        to_request(rig, flow)
        answer(flow, 502)
        fail(flow, "Received both a Transfer-Encoding and a Content-Length header", True)
        rig.recorder.error(flow)
        head = rig.writer.only.head
        assert head is not None
        assert 502 == head.status
        assert [Transport.UPSTREAM_ERROR] == [end[0] for end in rig.writer.only.ends]


async def test_an_invalid_request_is_not_streamed() -> None:
    """`requestheaders` with an error set: a stream there would hang the client."""
    with running() as rig:
        flow = model_call()
        fail(flow, "Received message with both transfer-encoding and content-length", True)
        rig.recorder.requestheaders(flow)
        assert flow.request.stream is False
        rig.recorder.error(flow)
        assert [Transport.KILLED] == [end[0] for end in rig.writer.only.ends]


async def test_an_answer_of_another_addon_is_not_streamed() -> None:
    """`requestheaders` with an answer set (407): mitmproxy crashes on a stream there."""
    with running() as rig:
        flow = model_call()
        flow.response = http.Response.make(407, b"who are you")
        rig.recorder.requestheaders(flow)
        assert flow.request.stream is False
        send(flow, b"req")
        rig.recorder.request(flow)
        rig.recorder.responseheaders(flow)
        rig.recorder.response(flow)
        record = rig.writer.only
        assert (b"req", b"who are you") == (record.request_body, record.response_body)
        assert [wire(b"req", b"who are you")] == record.wires


async def test_streams_of_other_addons_go_on_working() -> None:
    """The request as the client sent it, the response as the client gets it; theirs still runs."""
    with running() as rig:
        flow = model_call()
        flow.request.stream = bytes.upper
        rig.recorder.requestheaders(flow)
        assert callable(flow.request.stream)
        assert b"REQ" == flow.request.stream(b"req")
        rig.recorder.request(flow)
        answer(flow)
        assert flow.response is not None
        flow.response.stream = bytes.upper
        rig.recorder.responseheaders(flow)
        assert callable(flow.response.stream)
        assert b"RESP" == flow.response.stream(b"resp")
        rig.recorder.response(flow)
        record = rig.writer.only
        assert (b"req", b"RESP") == (record.request_body, record.response_body)
        assert [wire(b"req", b"RESP")] == record.wires


async def test_tcp_timeout_is_not_the_client() -> None:
    """mitmproxy's watchdog reads as the client's leaving: who waited tells them apart."""
    with running() as rig:
        flow = model_call()
        to_request(rig, flow)
        live = rig.recorder._live.get(flow.id)
        assert live is not None
        live.started_ns -= 3600 * 1_000_000_000
        fail(flow, "Client disconnected.")
        rig.recorder.error(flow)
        ((transport, error),) = rig.writer.only.ends
        assert Transport.KILLED is transport
        assert error is not None
        assert "tcp_timeout" in error


async def test_two_exchanges_of_one_client() -> None:
    """HTTP/2: two in flight on one connection, each with its own bytes and its own end."""
    with running() as rig:
        one, two = model_call(), model_call()
        two.client_conn = one.client_conn
        to_half(rig, one)
        to_half(rig, two)
        receive(one, b" of one")
        rig.recorder.response(one)
        rig.recorder.client_disconnected(one.client_conn)
        first, second = rig.writer.recordings
        assert [(Transport.COMPLETE, None)] == first.ends
        assert [(Transport.CLIENT_CLOSED, "Client disconnected.")] == second.ends
        assert (b"half of one", b"half") == (first.response_body, second.response_body)
        rig.recorder.client_disconnected(connection.Client(peername=("", 0), sockname=("", 0)))


@pytest.mark.check(43, 45)
@pytest.mark.parametrize("broken_at", ["begin", "recording"])
async def test_a_broken_store_costs_no_byte(
    broken_at: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything of the store raises: every chunk passes, no hook raises, it is logged once."""
    with running(FakeWriter(broken=broken_at)) as rig:
        for _ in range(3):
            flow = model_call()
            rig.recorder.requestheaders(flow)
            if callable(flow.request.stream):
                assert b"req" == flow.request.stream(b"req")
            rig.recorder.request(flow)
            answer(flow)
            rig.recorder.responseheaders(flow)
            assert flow.response is not None
            if callable(flow.response.stream):
                assert b"x" == flow.response.stream(b"x")
            rig.recorder.response(flow)
            rig.recorder.error(flow)
            rig.recorder.client_disconnected(flow.client_conn)
        counters = rig.writer.counters
        assert 3 == counters.seen
        assert rig.recorder.failures >= 3
    said = [record for record in caplog.records if "recording failed" in record.message]
    assert 1 == len(said)


def raising(*_: object) -> None:
    raise ZeroDivisionError("a bug")


@pytest.mark.check(43, 45)
@pytest.mark.parametrize(
    ("place", "request_body", "headed"),
    [
        ("request_chunk", b"", False),
        ("request_end", b"asked", False),
        ("response_head", b"asked", False),
        ("response_chunk", b"asked", True),
    ],
)
async def test_a_bug_of_ours_ends_the_record_and_not_the_call(
    place: str, request_body: bytes, headed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the prefix that was kept; never whole with a hole, never open for good."""
    monkeypatch.setattr(FakeRecording, place, raising)
    with running() as rig:
        flow = model_call()
        rig.recorder.requestheaders(flow)
        send(flow, b"asked")
        rig.recorder.request(flow)
        answer(flow)
        rig.recorder.responseheaders(flow)
        if place.startswith("response"):
            receive(flow, b"data: 1\n\n", b"data: 2\n\n")
        rig.recorder.response(flow)
        rig.recorder.client_disconnected(flow.client_conn)
        record = rig.writer.only
        text = "Recording failed (ZeroDivisionError); the call went on."
        assert [(Transport.RECORDER_FAILED, text)] == record.ends
        assert request_body == record.request_body
        assert b"" == record.response_body
        assert headed is (record.head is not None)
        # More passed after the record's end: what it was, nobody knows.
        assert [None] == record.wires
        assert (1, 0) == (rig.recorder.failures, rig.writer.counters.lost)


@pytest.mark.check(43)
async def test_what_has_no_record_for_a_bug_of_ours_counts_as_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of three calls one is recorded, one is of no key, and one fails before its record begins."""
    with running() as rig:
        rig.recorder.requestheaders(model_call())
        rig.recorder.requestheaders(model_call(OTHER))
        monkeypatch.setattr("addon.recorder.credentials", raising)
        rig.recorder.requestheaders(model_call())
        counters = rig.writer.counters
        assert (3, 1, 1, 1) == (
            counters.seen, counters.recorded, counters.unmatched, counters.lost,
        )  # fmt: skip


async def test_a_record_that_cannot_be_set_up_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer has begun it already."""
    monkeypatch.setattr("addon.recorder.Tap", raising)
    with running() as rig:
        rig.recorder.requestheaders(model_call())
        assert [Transport.RECORDER_FAILED] == [end[0] for end in rig.writer.only.ends]


@pytest.mark.check(43)
async def test_the_writer_is_closed_whatever_raises_before() -> None:
    """It ends what is left; unclosed, the last fractions of a second were lost."""
    with running() as rig:
        one, two = model_call(), model_call()
        to_half(rig, one)
        to_half(rig, two)
        rig.writer.recordings[0].broken = True
        rig.recorder.done()
        assert 1 == rig.writer.closed


async def test_restart() -> None:
    """A reload calls `done`, then `running`: the store is opened again and recording goes on."""
    with running() as rig:
        rig.recorder.done()
        flow = model_call()
        rig.recorder.requestheaders(flow)
        assert flow.request.stream is False
        assert 1 == rig.writer.closed
        rig.recorder.running()
        to_half(rig, model_call())
        rig.recorder.done()
        assert 2 == len(rig.opener.locations)
        assert [Transport.PROXY_SHUTDOWN] == [end[0] for end in rig.writer.only.ends]
        rig.recorder.done()


@pytest.mark.check(43)
async def test_a_store_out_of_reach(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy starts, says loudly that it does not record, tries again, and then records."""
    caplog.set_level(logging.INFO)
    trouble = StoreUnavailable("Store /fake: database is locked.")
    with running(None, trouble, trouble) as rig:
        assert "NOT RECORDING" in caplog.text
        assert "database is locked" in caplog.text
        # An error at start-up would stop mitmproxy.
        assert [] == [r for r in caplog.records if r.levelno >= logging.ERROR]
        flow = model_call()
        rig.recorder.requestheaders(flow)
        assert flow.request.stream is False
        rig.recorder._tick()
        assert [r for r in caplog.records if r.levelno >= logging.ERROR]
        async with asyncio.timeout(30):
            while len(rig.opener.locations) < 3 or rig.recorder._link.writer is None:
                rig.recorder._tick()
                await asyncio.sleep(0.01)
        assert "recording 1 key to /fake" in caplog.text
        rig.recorder.requestheaders(model_call())
        assert 1 == len(rig.writer.recordings)


async def test_a_store_that_takes_its_time(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start does not wait for ever; when the store has opened, recording begins."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(link, "PATIENCE_S", 0.0)
    opener = Opener(FakeWriter())
    gate = threading.Event()

    def slow(location: str | None) -> Store:
        assert gate.wait(30)
        return opener(location)

    recorder = Recorder(slow)
    with taddons.context() as context:
        context.master.addons.add(recorder)
        recorder.running()
        assert "NOT RECORDING, calls pass unrecorded: the store takes its time" in caplog.text
        recorder.requestheaders(model_call())
        recorder._tick()
        assert [] == opener.locations
        gate.set()
        async with asyncio.timeout(30):
            while recorder._link.writer is None:
                await asyncio.sleep(0.01)
        recorder.requestheaders(model_call())
        recorder.done()
    assert 1 == len(opener.locations)
    assert 1 == len(opener.store._writer.recordings)


async def test_a_store_that_comes_too_late() -> None:
    """The proxy stopped while a thread was opening the store: what it opened is closed."""
    with running(None, StoreUnavailable("locked")) as rig:
        rig.recorder._tick()
        rig.recorder.done()
        async with asyncio.timeout(30):
            while not rig.writer.closed:
                await asyncio.sleep(0.01)
        assert rig.recorder._link.writer is None


@pytest.mark.parametrize("error", [BadInput("Store /x is a file."), ImportError("no zstandard")])
async def test_a_wrong_store_is_an_error(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Logged as an error, which stops mitmproxy's start with exit 1."""
    with running(None, error) as rig:
        assert [f"flowtap: {error}"] == [
            r.message for r in caplog.records if r.levelno >= logging.ERROR
        ]
        rig.recorder.requestheaders(model_call())
        assert [] == rig.writer.recordings


async def test_store_option() -> None:
    """Empty means the default; a value is passed on."""
    opener = Opener(FakeWriter())
    recorder = Recorder(opener)
    with taddons.context() as context:
        context.master.addons.add(recorder)
        recorder.running()
        recorder.done()
        context.configure(recorder, flowtap_store="/some/where")
        recorder.running()
        recorder.done()
    assert [None, "/some/where"] == opener.locations


async def test_server_log_is_quiet_while_running() -> None:
    """The option, while it runs and when it changes; restored at the end."""
    before = SERVER_LOG.level
    with running() as rig:
        assert logging.WARNING == SERVER_LOG.level
        rig.context.configure(rig.recorder, flowtap_quiet_server_log=False)
        assert before == SERVER_LOG.level
        rig.context.configure(rig.recorder, flowtap_quiet_server_log=True)
        assert logging.WARNING == SERVER_LOG.level
    assert before == SERVER_LOG.level


async def test_tcp_timeout_is_raised_unless_set(caplog: pytest.LogCaptureFixture) -> None:
    """600 s would cut long silent generations; a value of the user's stands."""
    caplog.set_level(logging.INFO)
    with running() as rig:
        assert 3600 == rig.context.options.tcp_timeout
        assert "tcp_timeout raised to 3600 s" in caplog.text
        rig.context.options.tcp_timeout = 1200
        rig.recorder.done()
        rig.recorder.running()
        assert 1200 == rig.context.options.tcp_timeout


async def test_configure_refuses_a_wrong_choice() -> None:
    """At run time too, from mitmproxy's own console."""
    with running() as rig, pytest.raises(exceptions.OptionsError, match="auto, yes, no"):
        rig.context.configure(rig.recorder, flowtap_stream_requests="maybe")


@pytest.mark.check(2, 12)
@pytest.mark.parametrize("key", [OFF, OTHER])
async def test_the_ring_holds_a_call_as_a_record_is_made(key: bytes) -> None:
    """With what passed, streamed as a recorded one; kept, it is a record like any other, with its
    wire; the store knew nothing of it before."""
    with running() as rig:
        rig.context.configure(rig.recorder, flowtap_ring="64k")
        flow = model_call(key)
        rig.recorder.requestheaders(flow)
        assert callable(flow.request.stream)
        send(flow, b"asked")
        rig.recorder.request(flow)
        answer(flow)
        rig.recorder.responseheaders(flow)
        receive(flow, b"data: 1\n\n")
        rig.recorder.response(flow)
        assert [] == rig.writer.recordings
        rig.writer.asked = [Ask("q", KEYS[KEY].id, 0)]
        rig.recorder._keeping.poll()
        rig.recorder._keeping.step(0.0)
        record = rig.writer.only
        assert (b"asked", b"data: 1\n\n") == (record.request_body, record.response_body)
        assert [wire(b"asked", b"data: 1\n\n")] == record.wires
        assert [(Transport.COMPLETE, None)] == record.ends
        assert 0 == rig.recorder.failures


async def test_the_ring_may_be_changed_at_run_time(caplog: pytest.LogCaptureFixture) -> None:
    """Said each time; a wrong value is refused and changes nothing; off: what it held is gone."""
    caplog.set_level(logging.INFO)
    with running() as rig:
        rig.context.configure(rig.recorder, flowtap_ring="64k")
        assert "65,536 bytes of memory (flowtap_ring)" in caplog.text
        rig.recorder.requestheaders(model_call(OTHER))
        ring = rig.recorder._keeping.ring
        assert ring is not None
        with pytest.raises(exceptions.OptionsError, match="a size from 64k"):
            rig.context.configure(rig.recorder, flowtap_ring="1k")
        assert (1, 64 << 10) == (len(ring), ring.limit)
        rig.context.configure(rig.recorder, flowtap_ring="1m")
        assert (1, 1 << 20) == (len(ring), ring.limit)
        rig.context.configure(rig.recorder, flowtap_ring="0")
        assert rig.recorder._keeping.ring is None
        assert 0 == len(ring)
        flow = model_call(OTHER)
        rig.recorder.requestheaders(flow)
        assert flow.request.stream is False


async def test_the_size_cap_is_told_to_the_store_and_may_be_changed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The store's sweep holds to it; a wrong value is refused and changes nothing."""
    caplog.set_level(logging.INFO)
    with running() as rig:
        assert rig.writer.counters.max_bytes is None
        rig.context.configure(rig.recorder, flowtap_max_size="10g")
        assert 10 << 30 == rig.writer.counters.max_bytes
        assert "more than 10,737,418,240 bytes (flowtap_max_size)" in caplog.text
        with pytest.raises(exceptions.OptionsError, match="a size from 1m"):
            rig.context.configure(rig.recorder, flowtap_max_size="10")
        assert 10 << 30 == rig.writer.counters.max_bytes
        rig.context.configure(rig.recorder, flowtap_max_size="0")
        assert rig.writer.counters.max_bytes is None


async def test_what_is_kept_in_flight_is_ended_when_the_proxy_stops() -> None:
    """As of any record, and before the store is closed."""
    with running() as rig:
        rig.context.configure(rig.recorder, flowtap_ring="64k")
        flow = model_call(OTHER)
        to_half(rig, flow)
        rig.writer.asked = [Ask("q", KEYS[KEY].id, 0)]
        rig.recorder._keeping.poll()
        rig.recorder.done()
        assert b"half" == rig.writer.only.response_body
        assert [(Transport.PROXY_SHUTDOWN, "The proxy was stopped.")] == rig.writer.only.ends


def refused(flow: http.HTTPFlow) -> str | None:
    """What a client is told of why, if it was refused; nothing streams then."""
    if flow.response is None:
        return None
    assert 503 == flow.response.status_code
    assert flow.request.stream is False
    assert "5" == flow.response.headers["retry-after"]
    assert "application/json" == flow.response.headers["content-type"]
    error = json.loads(flow.response.content or b"")["error"]
    assert "flowtap_store_unavailable" == error["type"]
    return str(error["message"])


def handshake(key: bytes = KEY) -> http.HTTPFlow:
    """A client asks for a socket that speaks Responses."""
    flow = model_call(key, b"/v1/responses")
    flow.request.data.method = b"GET"
    flow.request.headers["upgrade"] = "websocket"
    flow.request.headers["connection"] = "Upgrade"
    return flow


@pytest.mark.check(15)
@pytest.mark.parametrize("streams", ["yes", "no"])
@pytest.mark.parametrize("ours", [False, True])
async def test_a_request_that_others_stream(streams: str, ours: bool) -> None:
    """mitmproxy streams what is large whatever we ask for. What of it we could not see is said, not
    recorded as if there had been nothing, and is not known to have passed."""
    with running() as rig:
        rig.context.configure(rig.recorder, flowtap_stream_requests=streams)
        flow = model_call()
        flow.request.stream = ours
        rig.recorder.requestheaders(flow)
        assert callable(flow.request.stream) == (ours or streams == "yes")
        if not ours:
            flow.request.stream = True
            flow.request.data.content = None
        else:
            send(flow, b"large")
            flow.request.data.content = None
        rig.recorder.request(flow)
        answer(flow)
        rig.recorder.responseheaders(flow)
        receive(flow, b"fine")
        rig.recorder.response(flow)
        record = rig.writer.only
        assert b"fine" == record.response_body
        if ours:
            assert (b"large", [(Transport.COMPLETE, None)]) == (record.request_body, record.ends)
        else:
            text = "mitmproxy streamed the request's body past us; it passed unrecorded."
            assert (b"", [(Transport.COMPLETE, text)]) == (record.request_body, record.ends)
        assert ours == (record.wires[0] is not None)


@pytest.mark.check(15)
@pytest.mark.parametrize("content", [b"fine", b"", None])
async def test_an_answer_that_others_stream(content: bytes | None) -> None:
    """A script that came after us put its own stream in the place of ours."""
    with running() as rig:
        flow = model_call()
        rig.recorder.requestheaders(flow)
        rig.recorder.request(flow)
        answer(flow)
        rig.recorder.responseheaders(flow)
        assert flow.response is not None
        flow.response.stream = True
        flow.response.data.content = content
        rig.recorder.response(flow)
        text = "mitmproxy streamed the answer's body past us; it passed unrecorded."
        assert [(Transport.COMPLETE, text if content is None else None)] == rig.writer.only.ends
        assert (content is not None) == (rig.writer.only.wires[0] is not None)
        assert (content or b"") == rig.writer.only.response_body


@pytest.mark.parametrize("make", [model_call, handshake])
async def test_required_refuses_what_cannot_be_recorded(
    make: Callable[..., http.HTTPFlow], caplog: pytest.LogCaptureFixture
) -> None:
    """Of keys that are on, while the store is in trouble; then it is recorded again."""
    with running() as rig:
        rig.context.configure(rig.recorder, flowtap_required=True)
        assert "cannot be recorded are refused (flowtap_required)" in caplog.text
        rig.writer.trouble = "No space left on device"
        flow = make()
        flow.request.stream = True
        rig.recorder.requestheaders(flow)
        message = refused(flow)
        assert message is not None
        assert "No space left on device" in message
        rig.recorder.responseheaders(flow)
        rig.recorder.response(flow)
        for passing in (make(OFF), make(OTHER), model_call(path=b"/v1/messages/count_tokens")):
            rig.recorder.requestheaders(passing)
            assert refused(passing) is None
        rig.writer.trouble = None
        flow = make()
        rig.recorder.requestheaders(flow)
        assert refused(flow) is None
        counters = rig.writer.counters
        assert (make is model_call) == len(rig.writer.recordings)
        assert (1, 2, 0) == (counters.refused, counters.unmatched, rig.recorder.failures)


async def test_required_where_an_upload_would_be_streamed_late() -> None:
    """With `stream_large_bodies` an answer is only given where mitmproxy can be kept from streaming
    on top of it; where its insides are not as we know them, the call is killed."""
    with running() as rig:
        rig.context.configure(rig.recorder, flowtap_required=True)
        rig.context.options.add_option("stream_large_bodies", str, "1k", "")
        rig.writer.trouble = "No space left on device"
        flow = model_call()
        flow.live = True
        rig.recorder.requestheaders(flow)
        assert refused(flow) is not None
        assert flow.error is not None
        assert "Connection killed." == flow.error.msg
        assert (1, 0) == (rig.writer.counters.refused, rig.recorder.failures)


async def test_required_without_a_store(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody knows the keys: every model call is refused, nothing else; said at the start."""
    with taddons.context() as context:
        recorder = Recorder(Opener(FakeWriter(), StoreUnavailable("database is locked")))
        context.options.set("flowtap_required=true", defer=True)
        context.master.addons.add(recorder)
        context.configure(recorder)
        recorder.requestheaders(early := model_call(OTHER))
        assert "the store is not open yet" in (refused(early) or "")
        recorder.running()
        assert "NOT RECORDING, model calls are refused: database is locked" in caplog.text
        for flow in (model_call(), model_call(OFF), model_call(OTHER), handshake(OTHER)):
            recorder.requestheaders(flow)
            assert "database is locked" in (refused(flow) or "")
        flow = model_call(path=b"/v1/models")
        recorder.requestheaders(flow)
        assert refused(flow) is None
        recorder.done()


@pytest.mark.parametrize(
    ("place", "recorded"),
    [
        ("addon.recorder.credentials", False),
        ("tests.addon.fakes.FakeKeyRing.match", False),
        ("addon.recorder.request_head", False),
        ("tests.addon.fakes.FakeWriter.begin", False),
        ("addon.recorder.Exchange", True),
        ("addon.recorder.before", True),
    ],
)
async def test_required_and_a_bug_of_ours(
    place: str, recorded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What raises before anything went upstream refuses that call; a record that had begun says so."""
    with running() as rig:
        rig.context.configure(rig.recorder, flowtap_required=True)
        monkeypatch.setattr(place, raising)
        flow = model_call()
        flow.request.stream = bytes.upper
        rig.recorder.requestheaders(flow)
        message = refused(flow)
        assert message is not None
        assert "Recording failed (ZeroDivisionError)" in message
        assert recorded == len(rig.writer.recordings)
        for record in rig.writer.recordings:
            text = "Recording failed (ZeroDivisionError); the call was refused."
            assert (Transport.RECORDER_FAILED, text) == record.ends[0]
        counters = rig.writer.counters
        assert (1, recorded, not recorded, 0) == (
            counters.seen, counters.recorded, counters.refused, counters.lost,
        )  # fmt: skip
        rig.recorder.response(flow)
        rig.recorder.client_disconnected(flow.client_conn)


async def test_required_leaves_what_others_answered() -> None:
    """A 407 of mitmproxy's own, or a request it found invalid: it goes nowhere anyway."""
    with running() as rig:
        rig.context.configure(rig.recorder, flowtap_required=True)
        rig.writer.trouble = "No space left on device"
        answered = model_call()
        answered.response = http.Response.make(407, b"who are you")
        rig.recorder.requestheaders(answered)
        assert 407 == answered.response.status_code
        invalid = model_call()
        fail(invalid, "Received message with both transfer-encoding and content-length", True)
        rig.recorder.requestheaders(invalid)
        assert invalid.response is None
        assert 0 == rig.writer.counters.refused


async def test_misspelt_option_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """mitmproxy would keep it for ever for an addon that may come."""
    recorder = Recorder(Opener(FakeWriter()))
    with taddons.context() as context:
        context.options.set("flowtap_stroe=/x", defer=True)
        context.master.addons.add(recorder)
        recorder.running()
        recorder.done()
    assert ["flowtap: unknown option: flowtap_stroe"] == [
        r.message for r in caplog.records if r.levelno >= logging.ERROR
    ]
