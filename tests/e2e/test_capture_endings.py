"""What keys, options, other scripts and a broken store do to recording while it runs. Real sockets.

How exchanges end is in state_table.py.
"""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from store.location import open_store
from tests.e2e.harness import (
    DEADLINE_S,
    KEY,
    Call,
    Client,
    Proxy,
    Upstream,
    done,
    new_store,
    on_disk,
    post,
    records,
    running,
    sse,
    wait_for,
)

HOST = "api.anthropic.com"
HALF = b'event: message_start\ndata: {"type":"message_start","message":{"model":"m"}}\n\n'


def half(then: Callable[[Call], None]) -> Callable[[Call], None]:
    """An upstream that streams one event and then does that."""

    def script(call: Call) -> None:
        call.read_body()
        call.start(headers=[("content-type", "text/event-stream")])
        call.chunk(HALF)
        then(call)

    return script


def stream_half(proxy: Proxy, client: Client, path: str = "/v1/messages") -> None:
    """Until half a stream is with the client, and on disk in flight."""
    client.send(post(path, b'{"model":"m"}'))
    client.read_until(HALF)

    def written() -> bool:
        return any(HALF == record.response_body.data for record in records(proxy.store, path))

    wait_for(written, "the chunk in the record in flight")


@pytest.mark.check(2, 37)
def test_switched_off_in_flight(tmp_path: Path) -> None:
    """The retention is asked again at the end: the record is discarded, the client has its answer."""
    gate = threading.Event()

    def last(call: Call) -> None:
        assert gate.wait(DEADLINE_S)
        call.chunk(b"data: last\n\n")
        call.finish()

    with running(tmp_path, half(last)) as (proxy, _):
        with Client(proxy, HOST) as client:
            stream_half(proxy, client)
            store = open_store(str(proxy.store))
            try:
                store.set_retention("work", None)
            finally:
                store.close()
            gate.set()
            client.read_until(b"data: last\n\n\r\n0\r\n\r\n")
        proxy.stop()
        assert [] == records(proxy.store)
        assert [] == on_disk(proxy.store, HALF)


@pytest.mark.check(2, 4, 7)
def test_switched_on_while_running(tmp_path: Path) -> None:
    """A key switched on by another process is recorded from then on, without a restart."""
    path = new_store(tmp_path / "store", None)
    with (
        Upstream(lambda call: call.answer(call.read_body())) as upstream,
        Proxy(path, tmp_path / "confdir", upstream) as proxy,
        proxy.httpx() as client,
    ):

        def call(case: str) -> bool:
            url = f"https://{HOST}/v1/messages?case={case}"
            client.post(url, content=b"{}", headers={"x-api-key": KEY})
            return bool(records(path, f"case={case}"))

        assert "flowtap: recording 0 keys" in proxy.log
        call("off")
        store = open_store(str(path))
        try:
            store.set_retention("work", 3600)
        finally:
            store.close()
        wait_for(lambda: call("on"), "a record")
        assert 0 == proxy.stop()
        assert [] == records(path, "case=off")


@pytest.mark.check(15)
def test_options_that_need_the_whole_request_work(tmp_path: Path) -> None:
    """A blocked call is blocked, and recorded as blocked: auto does not stream then."""
    arguments = ["--set", "block_list=:~u blocked:403"]
    with running(tmp_path, lambda c: c.answer(c.read_body()), arguments) as (proxy, upstream):
        with proxy.httpx() as client:
            for path, status in (("/v1/messages?blocked", 403), ("/v1/messages?passes", 200)):
                response = client.post(
                    f"https://{HOST}{path}", content=b"body", headers={"x-api-key": KEY}
                )
                assert status == response.status_code
        assert ["/v1/messages?passes"] == [call.path for call in upstream.calls]
        (passed,) = done(proxy.store, "passes")
        assert (b"body", b"body") == (passed.request_body.data, passed.response_body.data)
        proxy.stop()


@pytest.mark.check(45)
def test_a_script_that_answers_before_the_body_works(tmp_path: Path) -> None:
    """mitmproxy does not survive an answer on a request that streams: auto does not stream then."""
    script = tmp_path / "answers.py"
    script.write_text(
        "from mitmproxy import http\n"
        "def requestheaders(flow):\n"
        "    if 'blocked' in flow.request.path:\n"
        "        flow.response = http.Response.make(403, b'not here')\n"
    )
    with running(tmp_path, sse(), ["-s", str(script)]) as (proxy, upstream):
        with Client(proxy, HOST) as client:
            client.send(post("/v1/messages?blocked", b"body"))
            assert b" 403 " in client.read_until(b"not here")
        (record,) = done(proxy.store, "blocked")
        assert (403, b"body") == (record.meta.status, record.request_body.data)
        assert b"not here" == record.response_body.data
        assert [] == upstream.calls
        assert 0 == proxy.stop()


@pytest.mark.check(43, 45)
@pytest.mark.parametrize("broken", ["begin", "recording"])
def test_a_broken_store_harms_nothing(
    tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call to the store raises: same bytes to both sides, and the log says it, once."""
    monkeypatch.setenv("FLOWTAP_TEST_BROKEN", broken)

    def script(call: Call) -> None:
        body = call.read_body()
        call.start(headers=[("content-type", "text/event-stream")])
        for n in range(5):
            call.chunk(b"data: %s %d\n\n" % (body, n))
        call.finish()

    addon = Path(__file__).with_name("broken_store.py")
    with (
        Upstream(script) as upstream,
        Proxy(tmp_path / "none", tmp_path / "confdir", upstream, script=addon) as proxy,
        proxy.httpx() as client,
    ):
        for n in range(3):
            response = client.post(
                f"https://{HOST}/v1/messages", content=b"call-%d" % n, headers={"x-api-key": KEY}
            )
            expected = b"".join(b"data: call-%d %d\n\n" % (n, m) for m in range(5))
            assert expected == response.content
        assert [b"call-0", b"call-1", b"call-2"] == [call.body for call in upstream.calls]
        proxy.stop()
    assert 1 == proxy.log.count("recording failed, the traffic is not affected")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("flowtap_stroe=x", "unknown option: flowtap_stroe"),
        ("flowtap_stream_requests=maybe", "must be one of auto, yes, no"),
        ("flowtap_quiet_server_log=yes", "flowtap_quiet_server_log"),
        ("flowtap_store={file}", "is not a directory"),
    ],
)
def test_a_wrong_option_stops_the_start(tmp_path: Path, argument: str, said: str) -> None:
    """Exit status 1 and a message that names it, instead of a proxy that does not record."""
    file = tmp_path / "file"
    file.touch()
    arguments = ["--set", argument.format(file=file)]
    with Upstream(sse()) as upstream:
        # mitmproxy's last word: by then it has said where it listens, too.
        last = "Error logged during startup"
        with Proxy(
            tmp_path / "store", tmp_path / "confdir", upstream, arguments, ready=last
        ) as proxy:
            assert 1 == proxy.process.wait(DEADLINE_S)
        assert said in proxy.log
        assert "Traceback" not in proxy.log
