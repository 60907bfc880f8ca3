"""flowtap_required: what cannot be recorded does not pass, and passes again once it can be.

The disk is made to refuse by the proxy's own limit of file sizes, set to zero while it runs: each
write fails as on a full disk.
"""

import contextlib
import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from store.location import open_reader
from store.record import ProxyStatus, Transport
from tests.e2e.harness import (
    KEY,
    OFF_KEY,
    UNKNOWN_KEY,
    Call,
    Proxy,
    Upstream,
    done,
    new_store,
    records,
    wait_for,
)
from tests.e2e.in_trouble import Troubled
from tests.e2e.websocket import SocketClient

if sys.platform == "linux":
    import resource

HOST = "api.anthropic.com"
LARGE = ("--set", "stream_large_bodies=1k")
REQUIRED = ("--set", "flowtap_required=true")
LONGER_S = 5.0
"""Longer than the store tells of trouble after it was last met."""


def echo(call: Call) -> None:
    call.answer(call.read_body() or b"hello")


def ask(
    client: httpx.Client, case: str, key: str = KEY, path: str = "/v1/messages", body: bytes = b"hi"
) -> httpx.Response:
    return client.post(
        f"https://{HOST}{path}?case={case}", content=body, headers={"x-api-key": key}
    )


def told(response: httpx.Response) -> str:
    """Why it was refused, after looking at all a client is told."""
    assert 503 == response.status_code
    assert "5" == response.headers["retry-after"]
    assert "application/json" == response.headers["content-type"]
    error = response.json()["error"]
    assert {"type", "message"} == set(error)
    assert "flowtap_store_unavailable" == error["type"]
    return str(error["message"])


def status(store: Path) -> ProxyStatus:
    """What the proxy says of itself, once it could."""
    reader = open_reader(str(store))
    try:
        return wait_for(lambda: [each for each in reader.proxies() if each.alive], "a status")[0]
    finally:
        reader.close()


@contextlib.contextmanager
def refusing_disk(proxy: Proxy) -> Iterator[None]:
    """Each write to a file fails for so long."""
    if sys.platform != "linux":
        pytest.skip("only Linux can change another process's limits")
    soft, hard = resource.prlimit(proxy.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(proxy.pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(proxy.pid, resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.check(43)
@pytest.mark.parametrize("http2", [False, True])
def test_a_disk_that_refuses(tmp_path: Path, http2: bool) -> None:
    """Not one call of a key that is on passes until it can be recorded again, and then each is."""
    store = new_store(tmp_path / "store")
    with (
        Upstream(echo) as upstream,
        Proxy(store, tmp_path / "confdir", upstream, REQUIRED) as proxy,
        proxy.httpx(http2=http2) as client,
    ):
        proxy.wait_log("calls that cannot be recorded are refused (flowtap_required)")
        assert 200 == ask(client, "before").status_code
        done(store, "case=before")
        with refusing_disk(proxy):
            proxy.wait_log("the store fails")
            calls = len(upstream.calls)
            refused = 0
            end = time.monotonic() + LONGER_S
            while time.monotonic() < end:
                assert "could not be recorded" in told(ask(client, "during"))
                refused += 1
            # More than a connection's window, and answered all the same.
            told(ask(client, "during", body=bytes(200_000)))
            assert calls == len(upstream.calls)
            assert 1 == proxy.log.count("REFUSING")
            for key, path in ((OFF_KEY, "/v1/messages"), (UNKNOWN_KEY, "/v1/messages"),
                              (KEY, "/v1/messages/count_tokens")):  # fmt: skip
                assert 200 == ask(client, "others", key, path).status_code
        wait_for(lambda: ask(client, "after").status_code == 200, "a call that passes")
        assert 200 == ask(client, "well").status_code
        (record,) = done(store, "case=well")
        assert (b"hi", b"hi") == (record.request_body.data, record.response_body.data)
        assert Transport.COMPLETE is record.meta.transport
        (first,) = done(store, "case=after")
        assert b"hi" == first.response_body.data, "the first that passed is recorded whole"
        assert [] == records(store, "case=during")
        proxy.wait_log("refusing no more")
        wait_for(lambda: status(store).refused > refused, "each refusal counted")
        assert 0 == status(store).lost_records
        assert 0 == proxy.stop()


@pytest.mark.check(43)
@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_that_mitmproxy_would_stream(tmp_path: Path, http2: bool, chunked: bool) -> None:
    """`stream_large_bodies` begins to stream at so many bytes, whoever has answered by then, and
    crashes on an answer: the client would wait for ever. It is told why it was refused."""
    pieces = [bytes(5_000)] * 40
    store, sign = new_store(tmp_path / "store"), tmp_path / "trouble"
    with (
        Upstream(echo) as upstream,
        Troubled(store, tmp_path / "confdir", upstream, sign, args=LARGE) as proxy,
        proxy.httpx(http2=http2) as client,
    ):

        def large() -> httpx.Request:
            body = iter(pieces) if chunked else b"".join(pieces)
            url = f"https://{HOST}/v1/messages"
            return client.build_request("POST", url, content=body, headers={"x-api-key": KEY})

        sign.touch()
        for _ in range(3):
            assert "the disk is full" in told(client.send(large()))
            others = ask(client, "others", OFF_KEY)
            assert 200 == others.status_code, "what else is on the connection goes on"
        assert 3 == len(upstream.calls)
        sign.unlink()
        assert 200_000 == len(client.send(large()).content)
        (record,) = done(store)
        assert 200_000 == len(record.request_body.data)
        assert "has crashed" not in proxy.log
        assert 0 == proxy.stop()


@pytest.mark.check(43)
def test_a_store_that_never_opened(tmp_path: Path) -> None:
    """Nobody knows which keys are on: no model call passes, whatever its key, a socket neither;
    then those of the key are recorded, and the others pass."""
    store = new_store(tmp_path / "store")
    with (
        Upstream(echo) as upstream,
        contextlib.closing(sqlite3.connect(store / "keys.db", isolation_level=None)) as other,
    ):
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        proxy = Proxy(
            store, tmp_path / "confdir", upstream, REQUIRED, ready="flowtap: NOT RECORDING, model"
        )
        with proxy, proxy.httpx() as client:
            for key in (KEY, OFF_KEY, UNKNOWN_KEY):
                assert "could not be recorded" in told(ask(client, "locked", key))
            with SocketClient(proxy, HOST) as socket:
                socket.ask("/v1/responses", UNKNOWN_KEY)
                assert socket.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 503 ")
                body = socket.read_until(b'"}}').partition(b"\r\n\r\n")[2]
                assert "flowtap_store_unavailable" == json.loads(body)["error"]["type"]
            assert [] == upstream.calls
            models = client.get(f"https://{HOST}/v1/models", headers={"x-api-key": KEY})
            assert 200 == models.status_code
            other.execute("ROLLBACK")
            other.close()
            proxy.wait_log("flowtap: recording 1 key")
            for key in (KEY, OFF_KEY, UNKNOWN_KEY):
                assert 200 == ask(client, "free", key).status_code
            done(store, "case=free")
            proxy.wait_log("refusing no more")
            assert [] == records(store, "case=locked")
            assert 0 == proxy.stop()


def test_without_the_option(tmp_path: Path) -> None:
    """Without the option the same disk costs records and no call."""
    store = new_store(tmp_path / "store")
    with (
        Upstream(echo) as upstream,
        Proxy(store, tmp_path / "confdir", upstream) as proxy,
        proxy.httpx() as client,
    ):
        with refusing_disk(proxy):
            proxy.wait_log("the store fails")
            for n in range(20):
                response = ask(client, f"during-{n}")
                assert (200, b"hi") == (response.status_code, response.content)
        assert 0 == status(store).refused
        assert 0 == proxy.stop()
