"""Realtime and Gemini Live through a real proxy: one record for each socket, both sides as they passed."""

import base64
import json
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from collectors.protocol import LlmProtocol
from store.location import open_reader, open_store
from store.record import Body, Passed, Record, State, Transport, Verdict, Wire
from store.verification import Result, verify
from tests.e2e.harness import (
    KEY,
    OFF_KEY,
    UNKNOWN_KEY,
    Call,
    Proxy,
    Upstream,
    done,
    new_store,
    on_disk,
    records,
    running,
    wait_for,
)
from tests.e2e.in_trouble import Troubled
from tests.e2e.websocket import HOST, PATH, Peer, SocketClient, accept, connect
from tui.record_json import record_json

REALTIME = "/v1/realtime?model=gpt-realtime"
BIDI = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"


def said(kind: str, **fields: object) -> bytes:
    return json.dumps({"type": kind, **fields}).encode()


STARTED = said("session.created", session={"id": "sess_1", "model": "gpt-realtime"})
UPDATE = said("session.update", session={"instructions": "Grüße"})
APPEND = said("input_audio_buffer.append", audio=base64.b64encode(b"\1" * 3000).decode())
CREATE = said("response.create")
PLACE = {"response_id": "r1", "item_id": "a", "output_index": 0, "content_index": 0}
ANSWER = [
    said("response.created", response={"id": "r1", "status": "in_progress", "output": []}),
    said("response.output_item.added", response_id="r1", item={"id": "a", "type": "message"}),
    *[said("response.output_audio_transcript.delta", **PLACE, delta=word) for word in ("Hel", "lo")],
    said("response.output_audio.delta", **PLACE, delta="AAAA"),
    said("response.done", response={"id": "r1", "status": "completed",
                                    "usage": {"input_tokens": 9, "output_tokens": 4}}),
]  # fmt: skip


def conversing(
    heard: list[bytes] | None = None, *, deflate: bool = False, started: bytes = STARTED
) -> Callable[[Call], None]:
    """An upstream that greets, answers each `response.create` with ANSWER, and hangs up last."""

    def script(call: Call) -> None:
        server = accept(call, deflate=deflate)
        server.say(started)
        while (message := server.hear()) is not None:
            if heard is not None:
                heard.append(message)
            if message == CREATE:
                server.say(*ANSWER)
        call.cut()

    return script


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Upstream]]:
    """One proxy for the tests that leave it running; each has a path of its own."""
    with running(tmp_path_factory.mktemp("sessions"), conversing()) as pair:
        yield pair


def messages(body: Body) -> list[bytes]:
    return [data for _, data in body.chunks()]


def passed(*told: bytes) -> Passed:
    data = b"".join(told)
    return Passed(len(data), sha256(data).hexdigest())


def told(record: Record) -> tuple[Transport | None, Verdict | None, str | None]:
    return record.meta.transport, record.meta.verdict, record.meta.error


WHOLE = (Transport.COMPLETE, Verdict.COMPLETE, None)


@pytest.mark.check(12, 14, 18, 25, 27, 32, 33, 34)
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "permessage-deflate"])
def test_a_session(rig: tuple[Proxy, Upstream], deflate: bool) -> None:
    """Both ends get what the other said, pings too; it is one record, with every message in its
    place, and folds to what was said."""
    proxy, upstream = rig
    heard: list[bytes] = []
    path = f"{REALTIME}&deflate={deflate}"
    upstream.script = conversing(heard, deflate=deflate)
    asked = [UPDATE, *[APPEND] * 20, CREATE]
    with connect(proxy, path) as (client, _):
        assert STARTED == client.hear()
        client.say(*asked)
        client.ping()
        assert ANSWER == client.hear_all(len(ANSWER))
        client.close(1000, "bye")
        assert client.hear() is None
    assert asked == heard
    (record,) = done(proxy.store, path)
    assert WHOLE == told(record)
    assert (asked, [STARTED, *ANSWER]) == (
        messages(record.request_body),
        messages(record.response_body),
    )
    meta = record.meta
    assert (LlmProtocol.REALTIME, "gpt-realtime", 101, True, 9, 4) == (
        meta.protocol,
        meta.model,
        meta.status,
        meta.streamed,
        meta.input_tokens,
        meta.output_tokens,
    )
    assert Wire(passed(*asked), passed(STARTED, *ANSWER)) == record.wire
    assert Result.SAME is verify(record).result
    value = record_json(record, {})
    events = value["response"]["events"]
    assert (len(asked), len(ANSWER) + 1) == (
        sum(event["from"] == "client" for event in events),
        sum(event["from"] == "server" for event in events),
    )
    names = [event["name"] for event in events]
    assert names.index("session.created") < names.index("response.created")
    assert names.index("response.create") < names.index("response.created")
    item = value["outcome"]["result"]["conversation"][0]
    assert {"type": "output_audio", "transcript": "Hello", "audio_bytes": 3} == item["content"][0]
    assert not value["outcome"]["truncated"]


@pytest.mark.check(7, 12, 14, 34)
def test_gemini_live(rig: tuple[Proxy, Upstream]) -> None:
    """Its server speaks binary, the key is in the query, the model in the first message."""
    proxy, upstream = rig
    setup = b'{"setup":{"model":"models/gemini-live-test"}}'
    content = b'{"clientContent":{"turns":[]}}'
    answer = [b'{"setupComplete":{}}', b'{"serverContent":{"turnComplete":true}}']

    def script(call: Call) -> None:
        server = accept(call)
        for each in answer:
            server.hear()
            server.say_binary(each)
        server.close(1000)
        call.cut()

    upstream.script = script
    with connect(proxy, f"{BIDI}?key={KEY}", UNKNOWN_KEY) as (client, _):
        for ours, theirs in zip((setup, content), answer, strict=True):
            client.say(ours)
            assert theirs == client.hear()
        assert client.hear() is None
    (record,) = done(proxy.store, "Bidi")
    assert WHOLE == told(record)
    assert ([setup, content], answer) == (
        messages(record.request_body),
        messages(record.response_body),
    )
    assert ("gemini-live", "gemini-live-test") == (record.meta.protocol, record.meta.model)
    assert ["setup", "setupComplete", "clientContent", "serverContent"] == [
        event["name"] for event in record_json(record, {})["response"]["events"]
    ]


@pytest.mark.parametrize("path", [REALTIME, PATH])
@pytest.mark.check(23, 35)
def test_a_refused_handshake(rig: tuple[Proxy, Upstream], path: str) -> None:
    """A record with the answer, of a socket of turns too; the client gets it as it is."""
    proxy, upstream = rig
    body = b'{"error":{"type":"invalid_request_error","message":"bad key"}}'
    upstream.script = lambda call: call.answer(body, 401, [("X-Why", "because")])
    mark = f"refused-{len(path)}"
    with SocketClient(proxy, HOST) as client:
        client.ask(f"{path}{'&' if '?' in path else '?'}{mark}", KEY)
        client.read_until(body)
        assert client.received.startswith(b"HTTP/1.1 401 ")
    (record,) = done(proxy.store, mark)
    assert (Transport.COMPLETE, Verdict.FAILED, "invalid_request_error: bad key") == told(record)
    assert record.response is not None
    assert (401, body, b"") == (
        record.response.status,
        record.response_body.data,
        record.request_body.data,
    )
    assert (b"X-Why", b"because") in record.response.headers
    assert "bytes" == record_json(record, {})["response"]["type"]
    assert Result.SAME is verify(record).result


@pytest.mark.check(7)
def test_the_key_of_a_browser(rig: tuple[Proxy, Upstream]) -> None:
    """A subprotocol; it is masked like any other."""
    proxy, upstream = rig
    upstream.script = conversing()
    path = f"{REALTIME}&browser"
    offered = f"realtime, openai-insecure-api-key.{KEY}"
    with connect(proxy, path, UNKNOWN_KEY, [("Sec-WebSocket-Protocol", offered)]) as (client, _):
        client.hear_all(1)
        client.close()
    (record,) = done(proxy.store, path)
    assert WHOLE == told(record)
    assert KEY not in json.dumps(record_json(record, {}))


def counted(proxy: Proxy) -> int:
    """What the proxy last said it recorded."""
    reader = open_reader(str(proxy.store))
    try:
        (status,) = reader.proxies()
    finally:
        reader.close()
    return status.recorded


@pytest.mark.check(2, 7, 37)
def test_a_key_that_is_switched_in_mid_session(tmp_path: Path) -> None:
    """Off: nothing of it stays. On again: recorded from the next message on, and it says so."""
    with running(tmp_path, conversing()) as (proxy, _):
        store = open_store(str(proxy.store))
        canary = said("input_audio_buffer.append", audio="CANARY-mid-session")
        try:
            with connect(proxy, REALTIME) as (client, _):
                client.hear_all(1)
                client.say(canary)
                wait_for(lambda: on_disk(proxy.store, canary), "the message on the disk")
                store.set_retention("work", None)
                assert [] == on_disk(proxy.store, canary)

                def silence() -> bool:
                    # What comes before the proxy hears of it is discarded with the rest.
                    client.say(canary)
                    return "is off" in proxy.log

                wait_for(silence, "the record that is discarded")
                client.say(canary, CREATE)
                client.hear_all(len(ANSWER))
                assert [] == on_disk(proxy.store, canary)
                store.set_retention("work", 3600)

                def heard_again() -> bool:
                    client.say(APPEND)
                    return bool(records(proxy.store))

                wait_for(heard_again, "a session that is recorded again")
                client.say(CREATE)
                client.hear_all(len(ANSWER))
                client.close()
        finally:
            store.close()
        (record,) = done(proxy.store)
        asked = messages(record.request_body)
        assert ([APPEND] * (len(asked) - 1), CREATE) == (asked[:-1], asked[-1])
        assert ANSWER == messages(record.response_body)
        transport, verdict, error = told(record)
        assert (Transport.COMPLETE, Verdict.TRUNCATED) == (transport, verdict)
        assert error is not None
        assert error.startswith("The first ")
        assert error.endswith(" s of the session are missing: the key was off.")
        assert Result.SAME is verify(record).result
        assert [] == on_disk(proxy.store, canary)


def ends_with(
    proxy: Proxy, upstream: Upstream, mark: str, up: Callable[[Call, Peer], None],
    down: Callable[[Peer, SocketClient], None],
) -> Record:  # fmt: skip
    """The record of a session of one message each way that ends so."""

    def script(call: Call) -> None:
        server = accept(call)
        server.hear()
        server.say(STARTED)
        up(call, server)

    upstream.script = script
    with connect(proxy, f"{REALTIME}&{mark}") as (client, connection):
        client.say(UPDATE)
        client.hear_all(1)
        down(client, connection)
        (record,) = done(proxy.store, mark)
    assert ([UPDATE], [STARTED]) == (messages(record.request_body), messages(record.response_body))
    return record


def server_waits(call: Call, server: Peer) -> None:
    assert server.hear() is None
    call.cut()


def client_waits(client: Peer, _: SocketClient) -> None:
    assert client.hear() is None


ENDS: list[tuple[str, Any, Any, tuple[Transport, Verdict, str | None]]] = [
    ("client-1000", server_waits, lambda client, _: client.close(1000), WHOLE),
    ("client-1001", server_waits, lambda client, _: client.close(1001), WHOLE),
    ("upstream-1000", lambda _, server: server.close(1000), client_waits, WHOLE),
    ("client-drops", server_waits, lambda _, connection: connection.close(),
     (Transport.CLIENT_CLOSED, Verdict.CLIENT_CLOSED, "The client closed the WebSocket (1006).")),
    ("client-resets", server_waits, lambda _, connection: connection.reset(),
     (Transport.CLIENT_CLOSED, Verdict.CLIENT_CLOSED, "The client closed the WebSocket (1006).")),
    ("upstream-drops", lambda call, _: call.cut(), client_waits,
     (Transport.UPSTREAM_CLOSED, Verdict.UPSTREAM_CLOSED, "The upstream closed the WebSocket (1006).")),
    ("upstream-1008", lambda _, server: server.close(1008, "no such model"), client_waits,
     (Transport.UPSTREAM_CLOSED, Verdict.UPSTREAM_CLOSED,
      "The upstream closed the WebSocket (1008, no such model).")),
]  # fmt: skip


@pytest.mark.check(40, 41)
@pytest.mark.parametrize(("mark", "up", "down", "end"), ENDS, ids=[row[0] for row in ENDS])
def test_how_a_session_ends(
    rig: tuple[Proxy, Upstream], mark: str, up: Any, down: Any,
    end: tuple[Transport, Verdict, str | None],
) -> None:  # fmt: skip
    """In order or not, by either side, it is kept as far as it came."""
    proxy, upstream = rig
    assert end == told(ends_with(proxy, upstream, mark, up, down))


@pytest.mark.check(37, 41, 42)
@pytest.mark.parametrize(
    ("end", "transport"),
    [(Proxy.stop, Transport.PROXY_SHUTDOWN), (Proxy.kill, Transport.RECOVERED)],
    ids=["stopped", "killed"],
)
def test_the_proxy_ends_in_mid_session(
    tmp_path: Path, end: Callable[[Proxy], int], transport: Transport
) -> None:
    """Interrupted, with every message that had passed; it was readable while it grew."""
    with running(tmp_path, conversing()) as (proxy, _):
        with connect(proxy, REALTIME) as (client, _):
            client.hear_all(1)
            client.say(UPDATE, CREATE)
            client.hear_all(len(ANSWER))

            def on_its_way() -> list[Record]:
                found = records(proxy.store)
                return [one for one in found if ANSWER == messages(one.response_body)[1:]]

            (live,) = wait_for(on_its_way, "a session in flight with its messages")
            assert (State.LIVE, "gpt-realtime", 101) == (
                live.meta.state,
                live.meta.model,
                live.meta.status,
            )
            assert [UPDATE, CREATE] == messages(live.request_body)
            end(proxy)
        # Whoever opens the store next recovers what the dead left.
        store = open_store(str(proxy.store))
        try:
            store.writer(lambda _: None).close()
        finally:
            store.close()
        (record,) = done(proxy.store)
    assert (Verdict.INTERRUPTED, transport) == (record.meta.verdict, record.meta.transport)
    assert ([UPDATE, CREATE], [STARTED, *ANSWER]) == (
        messages(record.request_body),
        messages(record.response_body),
    )
    assert (9, 4) == (record.meta.input_tokens, record.meta.output_tokens)


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a process is read from /proc")
@pytest.mark.parametrize("key", [KEY, OFF_KEY], ids=["recorded", "off"])
def test_memory_stays_flat_over_hours_of_audio(rig: tuple[Proxy, Upstream], key: str) -> None:
    """4,000 messages of 8 KB each way, 64 MB, none of which stays in the proxy; of a socket that is
    not recorded neither. Paced, or they would wait in mitmproxy's buffers."""
    proxy, upstream = rig
    count, first, at_once = 4_000, 1_000, 100
    audio = base64.b64encode(b"\1" * 6_000).decode()

    def spoken(kind: str, n: int) -> bytes:
        return said(kind, n=n, audio=audio)

    def script(call: Call) -> None:
        server = accept(call)
        for n in range(0, count, at_once):
            for each in range(n, n + at_once):
                assert spoken("input_audio_buffer.append", each) == server.hear()
            server.say(*(spoken("response.output_audio.delta", e) for e in range(n, n + at_once)))
        assert server.hear() is None
        call.cut()

    def resident_mb() -> float:
        for line in Path(f"/proc/{proxy.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    upstream.script = script
    path = f"{REALTIME}&audio-{key}"
    with connect(proxy, path, key) as (client, _):

        def talk(start: int, end: int) -> None:
            for n in range(start, end, at_once):
                client.say(*(spoken("input_audio_buffer.append", e) for e in range(n, n + at_once)))
                for each in client.hear_all(at_once):
                    assert each.endswith(b'"}')

        talk(0, first)
        before = resident_mb()
        talk(first, count)
        grown = resident_mb() - before
        client.close()
    assert grown < 25, (
        f"{grown:.0f} MB of the {2 * (count - first) * 8_000 / 2**20:.0f} MB that passed"
    )
    if key == OFF_KEY:
        assert [] == records(proxy.store, path)
        return
    (record,) = done(proxy.store, path)
    assert WHOLE == told(record)
    for body, kind in (
        (record.request_body, "input_audio_buffer.append"),
        (record.response_body, "response.output_audio.delta"),
    ):
        assert [spoken(kind, n) for n in range(count)] == messages(body)
    assert Result.SAME is verify(record).result


@pytest.mark.check(45)
@pytest.mark.parametrize("path", [REALTIME, PATH], ids=["session", "turns"])
def test_what_may_not_pass_unrecorded_closes_the_socket(tmp_path: Path, path: str) -> None:
    """flowtap_required: the message never reaches the upstream, and both ends get a close frame that
    says to try again later; what passed before is kept. Another key's socket goes on."""
    sign = tmp_path / "trouble"
    heard: list[bytes] = []
    codes: list[int | None] = []

    def script(call: Call) -> None:
        server = accept(call)
        server.say(STARTED)
        while (message := server.hear()) is not None:
            heard.append(message)
            server.say(ANSWER[-1].replace(b"response.done", b"response.completed"))
        codes.append(server.code)
        call.cut()

    store = new_store(tmp_path / "store")
    with (
        Upstream(script) as upstream,
        Troubled(store, tmp_path / "confdir", upstream, sign) as proxy,
        connect(proxy, path) as (client, _),
        connect(proxy, path, OFF_KEY) as (other, _),
    ):
        for each in (client, other):
            each.hear_all(1)
            each.say(CREATE)
            each.hear_all(1)
        sign.touch()
        # Two in one read: the second comes behind the one that closes.
        client.say(CREATE, CREATE)
        assert client.hear() is None
        assert (1013, "flowtap cannot record this now") == (client.code, client.reason)
        wait_for(lambda: codes, "the upstream's end")
        assert [1013] == codes
        other.say(CREATE)
        other.hear_all(1)
        assert [CREATE] * 3 == heard
        with SocketClient(proxy, HOST) as refused:
            refused.ask(path, KEY)
            refused.read_until(b"flowtap_store_unavailable")
            assert refused.received.startswith(b"HTTP/1.1 503 ")
        sign.unlink()
        (record,) = done(store)
        with connect(proxy, path) as (again, _):
            again.hear_all(1)
            again.say(CREATE)
            again.hear_all(1)
            again.close()
        done(store, count=2)
        assert "has crashed" not in proxy.log
        assert "could not be closed" not in proxy.log
    assert [CREATE] == messages(record.request_body)
    if path == REALTIME:
        assert (
            Transport.KILLED,
            Verdict.FAILED,
            "flowtap closed the WebSocket, since it could not record: the disk is full",
        ) == told(record)


def test_a_mitmproxy_that_we_do_not_know_cuts_the_socket(tmp_path: Path) -> None:
    """Where no close frame can be sent, the message does not pass all the same."""
    sign = tmp_path / "trouble"
    heard: list[bytes] = []
    store = new_store(tmp_path / "store")
    with (
        Upstream(conversing(heard)) as upstream,
        Troubled(store, tmp_path / "confdir", upstream, sign, "yes") as proxy,
        connect(proxy, REALTIME) as (client, _),
    ):
        client.hear_all(1)
        sign.touch()
        client.say(CREATE)
        assert client.hear() is None
        assert 1006 == client.code
        (record,) = done(store)
    assert [] == heard
    assert (Transport.KILLED, [STARTED]) == (record.meta.transport, messages(record.response_body))


def test_mitmproxy_still_saves_what_it_is_to_save(tmp_path: Path) -> None:
    """With save_stream_file all messages of a recorded socket are in the file, as without us."""
    flows = tmp_path / "flows"
    options = ("--set", f"save_stream_file={flows}")
    with running(tmp_path, conversing(), options) as (proxy, _):
        with connect(proxy, REALTIME) as (client, _):
            client.hear_all(1)
            client.say(CREATE)
            client.hear_all(len(ANSWER))
            client.close()
            assert client.hear() is None
        done(proxy.store)
        proxy.stop()
    saved = flows.read_bytes()
    assert all(each in saved for each in (STARTED, CREATE, *ANSWER))
