"""OpenAI Responses over a WebSocket, through a real proxy: a record for each turn, as it passed."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collectors.protocol import LlmProtocol
from store.location import open_reader, open_store
from store.record import Record, State, Transport, Verdict
from tests.e2e.harness import (
    KEY,
    OFF_KEY,
    Call,
    Proxy,
    Upstream,
    done,
    on_disk,
    records,
    running,
    wait_for,
)
from tests.e2e.websocket import PATH, Peer, SocketClient, accept, connect
from tui.record_json import record_json

CODEX = "/backend-api/codex/responses"


def create(text: str, **fields: object) -> bytes:
    return json.dumps(
        {"type": "response.create", "model": "gpt-5", "input": text, **fields}
    ).encode()


def answer(name: str, text: str = "Hello there", **fields: object) -> list[bytes]:
    """The messages of a whole turn, a word each."""

    def message(kind: str, **rest: object) -> bytes:
        return json.dumps({"type": kind, **rest, **fields}).encode()

    place = {"output_index": 0, "content_index": 0}
    usage = {"input_tokens": 11, "output_tokens": 3, "total_tokens": 14}
    return [
        message("response.created", response={"id": name, "model": "gpt-5", "output": []}),
        message("response.output_item.added", output_index=0, item={"type": "message"}),
        *[
            message("response.output_text.delta", **place, delta=word)
            for word in text.split(" ")
        ],
        message(
            "response.completed",
            response={
                "id": name, "model": "gpt-5", "status": "completed", "output": [], "usage": usage
            },
        ),
    ]  # fmt: skip


def answering(
    said: Callable[[int, bytes], list[bytes]],
    heard: list[bytes] | None = None,
    *,
    deflate: bool = False,
) -> Callable[[Call], None]:
    """An upstream that answers the n-th message with those, until the client is gone."""

    def script(call: Call) -> None:
        server = accept(call, [("X-Request-Id", "req-1")], deflate=deflate)
        count = 0
        while (message := server.hear()) is not None:
            if heard is not None:
                heard.append(message)
            for each in said(count, message):
                server.say(each)
            count += 1
        call.cut()

    return script


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Upstream]]:
    """One proxy for the tests that leave it running; each has a path of its own."""
    with running(tmp_path_factory.mktemp("websocket"), answering(lambda n, _: [])) as pair:
        yield pair


def text_of(record: Record) -> str:
    """The answer as it folds."""
    outcome = record_json(record, {})["outcome"]
    return str(outcome["result"]["output"][0]["content"][0]["text"])


def counted(proxy: Proxy) -> tuple[int, int]:
    """(recorded, unmatched), as the proxy last said."""
    reader = open_reader(str(proxy.store))
    try:
        (status,) = reader.proxies()
    finally:
        reader.close()
    return status.recorded, status.unmatched


def messages_of(record: Record) -> list[bytes]:
    return [data for _, data in record.response_body.chunks()]


@pytest.mark.check(12, 14, 18, 19, 25, 26, 27, 28, 34)
@pytest.mark.parametrize("deflate", [False, True], ids=["plain", "permessage-deflate"])
@pytest.mark.parametrize("path", [PATH, CODEX], ids=["openai", "codex"])
def test_two_turns_on_one_socket(rig: tuple[Proxy, Upstream], path: str, deflate: bool) -> None:
    """Both ends get what the other said; each turn is stored with it, and folds to its answer."""
    proxy, upstream = rig
    path = f"{path}?two={deflate}"
    heard: list[bytes] = []
    answers = [answer("resp_1", "Hello there"), answer("resp_2", "Grüße, 世界 again")]
    upstream.script = answering(lambda n, _: answers[n], heard, deflate=deflate)
    asked = [create("one"), create("two ü", previous_response_id="resp_1")]
    with connect(proxy, path, headers=[("OpenAI-Beta", "v=1"), ("openai-beta", "v=2")]) as pair:
        client, connection = pair
        for said, expected in zip(asked, answers, strict=True):
            client.say(said)
            assert expected == client.hear_all(len(expected))
        # As Codex does: no goodbye.
        connection.close()
    assert asked == heard
    found = done(proxy.store, path, 2)
    assert ["Hellothere", "Grüße,世界again"] == [text_of(record) for record in found]
    for record, said, expected in zip(found, asked, answers, strict=True):
        meta = record.meta
        assert said == record.request_body.data
        assert expected == messages_of(record)
        assert (Verdict.COMPLETE, Transport.COMPLETE, None) == (
            meta.verdict,
            meta.transport,
            meta.error,
        )
        assert (LlmProtocol.RESPONSES, "gpt-5", 101, True, 11, 3) == (
            meta.protocol,
            meta.model,
            meta.status,
            meta.streamed,
            meta.input_tokens,
            meta.output_tokens,
        )
        assert (len(said), sum(map(len, expected))) == (meta.request_bytes, meta.response_bytes)
        assert ("GET", path) == (record.request.method, record.request.path)
        names = [name for name, _ in record.request.headers]
        assert [b"OpenAI-Beta", b"openai-beta"] == names[-2:]
        assert (b"Authorization", f"Bearer {KEY}".encode()) in record.request.headers
        assert record.response is not None
        assert (b"X-Request-Id", b"req-1") in record.response.headers
        assert (101, "Switching Protocols") == (record.response.status, record.response.reason)
        times = [at_ms for at_ms, _ in record.response_body.arrivals]
        assert sorted(times) == times
    first, second = (record.meta for record in found)
    assert first.started_ms <= (first.completed_ms or 0) <= second.started_ms


def drops(_: Peer, connection: SocketClient) -> None:
    connection.close()


def resets(_: Peer, connection: SocketClient) -> None:
    connection.reset()


def says_goodbye(client: Peer, _: SocketClient) -> None:
    client.close(1000)
    assert client.hear() is None


def waits(client: Peer, _: SocketClient) -> None:
    assert client.hear() is None


def half_then(end: Callable[[Call, Peer], None]) -> Callable[[Call], None]:
    """An upstream that sends a whole turn, then half of one, and then does that."""

    def script(call: Call) -> None:
        server = accept(call)
        server.hear()
        server.say(*answer("resp_1"))
        server.hear()
        server.say(*answer("resp_2")[:3])
        end(call, server)

    return script


def server_waits(call: Call, server: Peer) -> None:
    assert server.hear() is None
    call.cut()


CUTS: list[
    tuple[str, Callable[[Call, Peer], None], Callable[[Peer, SocketClient], None], Transport, str]
] = [
    ("client-drops", server_waits, drops, Transport.CLIENT_CLOSED,
     "The client closed the WebSocket (1006)."),
    ("client-resets", server_waits, resets, Transport.CLIENT_CLOSED,
     "The client closed the WebSocket (1006)."),
    ("client-says-goodbye", server_waits, says_goodbye, Transport.CLIENT_CLOSED,
     "The client closed the WebSocket (1000)."),
    ("upstream-drops", lambda call, _: call.cut(), waits, Transport.UPSTREAM_CLOSED,
     "The upstream closed the WebSocket (1006)."),
    ("upstream-resets", lambda call, _: call.reset(), waits, Transport.UPSTREAM_CLOSED,
     "The upstream closed the WebSocket (1006)."),
    ("upstream-says-goodbye", lambda _, server: server.close(1012, "restart"), waits,
     Transport.UPSTREAM_CLOSED, "The upstream closed the WebSocket (1012, restart)."),
]  # fmt: skip


@pytest.mark.check(40, 41)
@pytest.mark.parametrize(
    ("case", "upstream_does", "client_does", "transport", "error"),
    CUTS,
    ids=[row[0] for row in CUTS],
)
def test_a_turn_is_cut(
    rig: tuple[Proxy, Upstream],
    case: str,
    upstream_does: Callable[[Call, Peer], None],
    client_does: Callable[[Peer, SocketClient], None],
    transport: Transport,
    error: str,
) -> None:
    """By either end, in any way: what had come is kept, and the turn before is whole."""
    proxy, upstream = rig
    upstream.script = half_then(upstream_does)
    with connect(proxy, f"{PATH}?cut={case}") as (client, connection):
        client.say(create("one"))
        client.hear_all(len(answer("resp_1")))
        client.say(create("two"))
        client.hear_all(3)
        client_does(client, connection)
    whole, cut = done(proxy.store, f"cut={case}", 2)
    assert (Verdict.COMPLETE, None) == (whole.meta.verdict, whole.meta.error)
    assert (transport, error, "gpt-5") == (cut.meta.transport, cut.meta.error, cut.meta.model)
    assert cut.meta.verdict == transport.value
    assert answer("resp_2")[:3] == messages_of(cut)
    assert "Hello" == text_of(cut)


@pytest.mark.check(24)
def test_a_turn_that_is_never_answered(rig: tuple[Proxy, Upstream]) -> None:
    """There is no response; the request is there with its model."""
    proxy, upstream = rig

    def script(call: Call) -> None:
        accept(call).hear()
        call.cut()

    upstream.script = script
    with connect(proxy, f"{PATH}?silent") as (client, _):
        client.say(create("one"))
        assert client.hear() is None
    (record,) = done(proxy.store, "silent")
    assert (None, "gpt-5", Verdict.UPSTREAM_CLOSED) == (
        record.response,
        record.meta.model,
        record.meta.verdict,
    )


def test_a_warm_up_and_an_error(rig: tuple[Proxy, Upstream]) -> None:
    """A turn without output is complete; one that is refused has failed, and says why."""
    proxy, upstream = rig
    created, *_, completed = answer("resp_1")
    refused = (
        b'{"type":"error","status":400,"error":{"type":"invalid_request_error",'
        b'"code":"previous_response_not_found","message":"no such response"}}'
    )
    upstream.script = answering(lambda n, _: [[created, completed], [refused]][n])
    with connect(proxy, f"{PATH}?warm") as (client, _):
        client.say(create("", generate=False))
        client.hear_all(2)
        client.say(create("x", previous_response_id="resp_0"))
        client.hear_all(1)
        client.close()
        assert client.hear() is None
    warm, failed = done(proxy.store, "warm", 2)
    assert (Verdict.COMPLETE, None, "gpt-5") == (
        warm.meta.verdict,
        warm.meta.error,
        warm.meta.model,
    )
    assert Verdict.FAILED is failed.meta.verdict
    assert "no such response" in (failed.meta.error or "")


def test_lanes_overlap(rig: tuple[Proxy, Upstream]) -> None:
    """Two answers at once on one socket, each into its own record, and a word in between."""
    proxy, upstream = rig
    first = answer("resp_a", "one two three", stream_id="a")
    second = answer("resp_b", "four five six", stream_id="b")
    mixed = [message for pair in zip(first, second, strict=True) for message in pair]
    # The cancel is answered by everything: it is the third message.
    upstream.script = answering(lambda n, _: mixed if n == 2 else [])
    cancel = b'{"type":"response.cancel","stream_id":"b"}'
    with connect(proxy, f"{PATH}?lanes") as (client, _):
        client.say(create("a", stream_id="a"), create("b", stream_id="b"), cancel)
        assert mixed == client.hear_all(len(mixed))
    a, b = done(proxy.store, "lanes", 2)
    assert (first, second) == (messages_of(a), messages_of(b))
    assert ("onetwothree", "fourfivesix") == (text_of(a), text_of(b))
    assert create("a", stream_id="a") == a.request_body.data
    assert [create("b", stream_id="b"), cancel] == [data for _, data in b.request_body.chunks()]


def test_a_large_message_in_pieces(rig: tuple[Proxy, Upstream]) -> None:
    """Fragmented frames are one message, and both ends get it whole."""
    proxy, upstream = rig
    heard: list[bytes] = []
    large = create("ü" * 700_000)

    def script(call: Call) -> None:
        server = accept(call)
        heard.append(server.hear() or b"")
        created, *_, completed = answer("resp_1")
        server.say(created)
        long = b'"instructions": "%s", "output"' % (b"i" * 400_000)
        server.say_in_pieces(completed.replace(b'"output"', long), 10_000)
        assert server.hear() is None
        call.cut()

    upstream.script = script
    with connect(proxy, f"{PATH}?large") as (client, _):
        client.say_in_pieces(large, 100_000)
        last = client.hear_all(2)[1]
    assert len(last) > 400_000
    (record,) = done(proxy.store, "large")
    assert [large] == heard
    assert large == record.request_body.data
    assert last == messages_of(record)[1]
    assert (Verdict.COMPLETE, "gpt-5") == (record.meta.verdict, record.meta.model)


@pytest.mark.check(2, 13, 14)
def test_not_recorded(tmp_path: Path) -> None:
    """A key that is off, another API: they pass, nothing of them is on the disk, and a socket of
    the one is counted once."""
    canary = "CANARY-not-recorded"
    upstream_says = answering(lambda n, _: answer("resp_1", canary))
    with running(tmp_path, upstream_says) as (proxy, upstream):
        for key, path in ((OFF_KEY, f"{PATH}?off"), (KEY, "/v1/chat/completions")):
            with connect(proxy, path, key) as (client, _):
                for _ in range(2):
                    client.say(create(canary))
                    client.hear_all(len(answer("", canary)))
        # Something that is recorded comes behind: what they left, and the counts, are there by then.
        upstream.script = answering(lambda n, _: answer("resp_1"))
        with connect(proxy) as (client, _):
            client.say(create("x"))
            client.hear_all(len(answer("")))
        wait_for(lambda: counted(proxy)[0], "the count of what was recorded")
        assert (1, 1) == counted(proxy)
        (record,) = done(proxy.store)
        assert create("x") == record.request_body.data
        assert [] == on_disk(proxy.store, canary.encode())


@pytest.mark.check(2, 7, 37)
def test_the_retention_is_switched_on_an_open_socket(tmp_path: Path) -> None:
    """Off between two turns, then on again: the turns in between leave no trace."""
    path = f"{PATH}?switched"
    whole = answer("resp_1")
    with running(tmp_path, answering(lambda n, _: whole)) as (proxy, _):
        store = open_store(str(proxy.store))
        try:
            with connect(proxy, path) as (client, _):

                def turn(text: str) -> None:
                    client.say(create(text))
                    client.hear_all(len(whole))

                turn("before")
                done(proxy.store, path)
                store.set_retention("work", None)

                def noticed() -> bool:
                    # What is begun before the proxy hears of it is discarded at its end.
                    turn("CANARY-off")
                    return counted(proxy)[1] == 1

                wait_for(noticed, "a turn that is not recorded any more")
                store.set_retention("work", 3600)

                def recorded_again() -> bool:
                    turn("after")
                    return bool(records(proxy.store, path))

                wait_for(recorded_again, "a turn that is recorded again")
        finally:
            store.close()
        for record in done(proxy.store, path):
            assert create("after") == record.request_body.data
            assert whole == messages_of(record)


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a process is read from /proc")
def test_memory_stays_flat_over_many_messages(rig: tuple[Proxy, Upstream]) -> None:
    """10,000 messages of 8 KB in one turn: 80 MB, none of which stays. The client paces them, or
    they would wait in mitmproxy's buffers. (mitmproxy alone keeps each for as long as the socket is open.)"""
    proxy, upstream = rig
    count, first, at_once = 10_000, 2_000, 250
    created, *_, completed = answer("resp_1")
    more = b'{"type":"more"}'

    def delta(n: int) -> bytes:
        return b'{"type":"response.output_text.delta","delta":"d","n":%d,"obfuscation":"%s"}' % (
            n,
            b"x" * 8_000,
        )

    def script(call: Call) -> None:
        server = accept(call)
        server.hear()
        server.say(created)
        for n in range(0, count, at_once):
            assert more == server.hear()
            server.say(*(delta(each) for each in range(n, n + at_once)))
        server.say(completed)
        assert server.hear() is None
        call.cut()

    def resident_mb() -> float:
        for line in Path(f"/proc/{proxy.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    upstream.script = script
    with connect(proxy, f"{PATH}?many") as (client, _):

        def take(number: int) -> None:
            for _ in range(number // at_once):
                client.say(more)
                client.hear_all(at_once)

        client.say(create("many"))
        client.hear_all(1)
        take(first)
        before = resident_mb()
        take(count - first)
        grown = resident_mb() - before
        client.hear_all(1)
    (record,) = done(proxy.store, "many")
    assert grown < 25, f"{grown:.0f} MB of the {(count - first) * 8_000 / 2**20:.0f} MB that passed"
    assert [created, *(delta(n) for n in range(count)), completed] == messages_of(record)
    assert 1 + count // at_once == len(record.request_body.arrivals)
    assert (Verdict.COMPLETE, "gpt-5") == (record.meta.verdict, record.meta.model)


@pytest.mark.parametrize(
    ("end", "transport"),
    [(Proxy.stop, Transport.PROXY_SHUTDOWN), (Proxy.kill, Transport.RECOVERED)],
    ids=["stopped", "killed"],
)
def test_the_proxy_ends_in_mid_turn(
    tmp_path: Path, end: Callable[[Proxy], int], transport: Transport
) -> None:
    """Interrupted, with every message that had passed, whole; it was readable while it grew."""
    first, *_ = three = answer("resp_1")[:3]
    with running(tmp_path, half_then(lambda call, _: call.wait_closed())) as (proxy, _):
        with connect(proxy, f"{PATH}?ends") as (client, _):
            client.say(create("one"))
            client.hear_all(len(answer("resp_1")))
            client.say(create("two"))
            client.hear_all(3)

            def on_its_way() -> list[Record]:
                found = records(proxy.store, "ends")
                return [
                    each
                    for each in found
                    if each.meta.state is State.LIVE and len(messages_of(each)) == 3
                ]

            (live,) = wait_for(on_its_way, "a turn in flight with three messages")
            assert (101, True) == (live.meta.status, live.meta.streamed)
            assert "Hello" == text_of(live)
            end(proxy)
        # Whoever opens the store next recovers what the dead left.
        store = open_store(str(proxy.store))
        try:
            store.writer(lambda _: None).close()
        finally:
            store.close()
        whole, cut = done(proxy.store, "ends", 2)
    assert Verdict.COMPLETE is whole.meta.verdict
    assert (Verdict.INTERRUPTED, transport) == (cut.meta.verdict, cut.meta.transport)
    assert json.loads(first)["type"] == "response.created"
    assert [each.replace(b"resp_1", b"resp_2") for each in three] == messages_of(cut)
    assert time.time() * 1000 >= (cut.meta.completed_ms or 0) >= cut.meta.started_ms
