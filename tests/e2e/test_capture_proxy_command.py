"""`python -m addon ARGS...`: mitmdump with the recorder, on loopback unless told otherwise."""

import sys
from pathlib import Path

import httpx
import pytest

from store.location import open_reader
from tests.e2e.harness import DEADLINE_S, KEY, Call, Proxy, Upstream, done, new_store
from tests.e2e.modes import free_port

HOST = "api.anthropic.com"


def echo(call: Call) -> None:
    call.answer(call.read_body())


def proxy_command(folder: Path, upstream: Upstream, *arguments: str) -> Proxy:
    """The harness's proxy, but started by our module, and told no host to listen on."""
    proxy = Proxy(new_store(folder / "store"), folder / "confdir", upstream, script=None)
    at = proxy.command.index("--listen-host")
    del proxy.command[at : at + 2]
    proxy.command[:1] = [sys.executable, "-m", "addon"]
    proxy.command += arguments
    return proxy


def test_records_on_loopback(tmp_path: Path) -> None:
    """Nothing but the port is given; other scripts and options pass through."""
    with Upstream(echo) as upstream, proxy_command(tmp_path, upstream) as proxy:
        assert f"listening at 127.0.0.1:{proxy.port}" in proxy.log
        assert "all interfaces" not in proxy.log
        with proxy.httpx() as client:
            url = f"https://{HOST}/v1/messages"
            assert b"hi" == client.post(url, content=b"hi", headers={"x-api-key": KEY}).content
        (record,) = done(proxy.store)
        assert 0 == proxy.stop()
    assert b"hi" == record.response_body.data


def test_modes_pass_through(tmp_path: Path) -> None:
    """`flowtap proxy --mode … --mode …`: every listener on loopback, each told in the status row."""
    ports = [free_port() for _ in range(3)]
    modes = [f"reverse:https://{HOST}@{ports[0]}", f"socks5@{ports[1]}", f"regular@{ports[2]}"]
    with Upstream(echo) as upstream:
        proxy = proxy_command(tmp_path, upstream, *(x for mode in modes for x in ("--mode", mode)))
        proxy.command[1:3] = ["-m", "tui", "proxy"]
        # mitmproxy writes into Host where the connection goes: with lazy, before our redirect.
        proxy.command += ["--set", "connection_strategy=lazy"]
        with proxy:
            for port in ports:
                assert f" listening at 127.0.0.1:{port}." in proxy.log
            assert "all interfaces" not in proxy.log
            url = f"http://127.0.0.1:{ports[0]}/v1/messages"
            with httpx.Client(trust_env=False, timeout=DEADLINE_S) as client:
                answer = client.post(url, content=b"hi", headers={"x-api-key": KEY})
            assert b"hi" == answer.content
            (record,) = done(proxy.store)
            reader = open_reader(str(proxy.store))
            try:
                (status,) = reader.proxies()
            finally:
                reader.close()
            assert 0 == proxy.stop()
    assert (HOST, 443) == (record.meta.host, record.meta.port)
    reverse, socks, regular = (f"127.0.0.1:{port}" for port in ports)
    assert f"reverse:https://{HOST}@{reverse},socks5@{socks},{regular}" == status.address
    assert proxy.pid == status.pid


@pytest.mark.parametrize("told", ["option", "set", "config", "mode"])
def test_told_otherwise(tmp_path: Path, told: str) -> None:
    """By any of mitmproxy's own ways; all interfaces are warned of."""
    arguments = {
        "option": ["--listen-host", "0.0.0.0"],  # noqa: S104 - what is tested
        "set": ["--set", "listen_host=0.0.0.0"],
        "config": [],
        "mode": ["--mode", "regular@0.0.0.0:0"],
    }[told]
    with Upstream(echo) as upstream:
        proxy = proxy_command(tmp_path, upstream, *arguments)
        if told == "config":
            (tmp_path / "confdir" / "config.yaml").write_text("listen_host: 0.0.0.0\n")
        proxy.listening = r"listening at \*:(\d+)"
        with proxy:
            assert "flowtap: the proxy listens on all interfaces" in proxy.log
            assert 0 == proxy.stop()
