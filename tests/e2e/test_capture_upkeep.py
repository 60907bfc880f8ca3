"""The proxy's own life around the recording: a store out of reach, a reload, nohup."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.harness import (
    KEY,
    Call,
    Proxy,
    Upstream,
    done,
    new_store,
    records,
)

HOST = "api.anthropic.com"


def echo(call: Call) -> None:
    call.answer(call.read_body())


def say(proxy: Proxy, case: str) -> None:
    """One call that must pass."""
    with proxy.httpx() as client:
        response = client.post(
            f"https://{HOST}/v1/messages?case={case}", content=b"hi", headers={"x-api-key": KEY}
        )
        assert b"hi" == response.content


@pytest.mark.check(43, 45)
def test_a_store_out_of_reach(tmp_path: Path) -> None:
    """Another process holds the keys' database: the proxy proxies, says loudly that it does not
    record, and records as soon as it can."""
    store = new_store(tmp_path / "store")
    with (
        Upstream(echo) as upstream,
        contextlib.closing(sqlite3.connect(store / "keys.db", isolation_level=None)) as other,
    ):
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with Proxy(store, tmp_path / "confdir", upstream, ready="flowtap: NOT RECORDING") as proxy:
            say(proxy, "locked")
            other.execute("ROLLBACK")
            other.close()
            proxy.wait_log("flowtap: recording 1 key")
            say(proxy, "free")
            (record,) = done(store, "case=free")
            assert b"hi" == record.response_body.data
            assert [] == records(store, "case=locked")
            assert 0 == proxy.stop()


def test_nohup(tmp_path: Path) -> None:
    """Where SIGHUP is ignored it stays ignored: a closed terminal does not stop the proxy."""
    store = new_store(tmp_path / "store")
    with Upstream(echo) as upstream:
        proxy = Proxy(store, tmp_path / "confdir", upstream)
        ignoring = (
            "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); "
            "os.execv(sys.argv[1], sys.argv[1:])"
        )
        proxy.command[:0] = [sys.executable, "-c", ignoring]
        with proxy:
            proxy.process.send_signal(signal.SIGHUP)
            say(proxy, "hung-up")
            done(store, "case=hung-up")
            with pytest.raises(subprocess.TimeoutExpired):
                proxy.process.wait(0)
            assert 0 == proxy.stop()


def test_two_proxies_on_one_store(tmp_path: Path) -> None:
    """Both record; each call once."""
    store = new_store(tmp_path / "store")
    with (
        Upstream(echo) as upstream,
        Proxy(store, tmp_path / "one", upstream) as one,
        Proxy(store, tmp_path / "two", upstream) as two,
    ):
        for n in range(3):
            say(one, f"one-{n}")
            say(two, f"two-{n}")
        found = done(store, "case=", 6)
    expected = sorted(f"/v1/messages?case={name}-{n}" for name in ("one", "two") for n in range(3))
    assert expected == sorted(record.meta.path for record in found)
