"""A child proxy: how it is reached, and what is said where it cannot start. Its life is in tests/tui/cli/test_run."""

import contextlib
import os
import socket
from functools import partial
from pathlib import Path

import pytest

from store.errors import BadInput, StoreUnavailable
from store.location import open_reader, open_store
from tests.e2e.harness import wait_for
from tui.proxy_process import ProxyProcess, client_address, running_proxy


def test_a_client_is_sent_to_a_proxy_only(tmp_path: Path) -> None:
    """Among living ones the first that HTTPS_PROXY may name: not one that stands in for an API."""
    root = tmp_path / "store"
    store = open_store(str(root))
    with contextlib.ExitStack() as stack:
        stack.callback(store.close)
        assert client_address(root) is None
        for address in ("reverse:https://api.anthropic.com@127.0.0.1:8081", "*:8080"):
            assert client_address(root) is None
            writer = store.writer()
            stack.callback(writer.close)
            writer.announce(address)
            wait_for(partial(announced, root, address), "the status row")
        assert "127.0.0.1:8080" == client_address(root)


def announced(root: Path, address: str) -> bool:
    """A living proxy says that it listens there."""
    reader = open_reader(str(root))
    try:
        return address in [proxy.address for proxy in reader.proxies() if proxy.alive]
    finally:
        reader.close()


def test_no_proxy_runs_where_no_store_is(tmp_path: Path) -> None:
    """Asking makes none."""
    assert running_proxy(tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


def test_a_store_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(BadInput, match="is not a directory"):
        ProxyProcess(tmp_path / "file").start()
    assert b"mine" == (tmp_path / "file").read_bytes()


def test_a_log_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    """A link planted as proxy.log would have the proxy overwrite what it points at."""
    root = tmp_path / "store"
    root.mkdir()
    (tmp_path / "precious").write_bytes(b"mine")
    (root / "proxy.log").symlink_to(tmp_path / "precious")
    with pytest.raises(StoreUnavailable, match=r"proxy\.log"):
        ProxyProcess(root).start()
    assert b"mine" == (tmp_path / "precious").read_bytes()


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """Said with the proxy's own words; nothing is left running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = ["-q", "--set", f"confdir={tmp_path / 'confdir'}"]
        child = ProxyProcess(tmp_path / "store", port=port, arguments=arguments)
        with pytest.raises(StoreUnavailable, match="in use") as said:
            child.start()
    assert str(port) in str(said.value)
    assert "\n" not in str(said.value)
    assert child.pid is None


def test_start_stop_and_the_row_between(tmp_path: Path) -> None:
    """It is known by its status row; stopping twice is harmless."""
    root = tmp_path / "store"
    arguments = ["-q", "--set", f"confdir={tmp_path / 'confdir'}"]
    with ProxyProcess(root, port=0, arguments=arguments) as child:
        found = running_proxy(root)
        assert found is not None
        assert child.pid == found.pid
        assert child.address == client_address(root) == found.address
        assert child.status is None
        pid = child.pid
        host, _, port = child.address.rpartition(":")
        with socket.create_connection((host, int(port)), 5):
            pass
        child.stop()
        assert child.pid is None
    assert running_proxy(root) is None
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
