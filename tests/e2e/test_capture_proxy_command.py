"""`python -m addon ARGS...`: mitmdump with the recorder, on loopback unless told otherwise."""

import sys
from pathlib import Path

import pytest

from tests.e2e.harness import KEY, Call, Proxy, Upstream, done, new_store

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


@pytest.mark.parametrize("told", ["option", "set", "config"])
def test_told_otherwise(tmp_path: Path, told: str) -> None:
    """By any of mitmproxy's own ways; all interfaces are warned of."""
    arguments = {
        "option": ["--listen-host", "0.0.0.0"],  # noqa: S104 - what is tested
        "set": ["--set", "listen_host=0.0.0.0"],
        "config": [],
    }[told]
    with Upstream(echo) as upstream:
        proxy = proxy_command(tmp_path, upstream, *arguments)
        if told == "config":
            (tmp_path / "confdir" / "config.yaml").write_text("listen_host: 0.0.0.0\n")
        proxy.listening = r"listening at \*:(\d+)"
        with proxy:
            assert "flowtap: the proxy listens on all interfaces" in proxy.log
            assert 0 == proxy.stop()
