"""A proxy of our own as a child process: `python -m addon`, so that nothing here imports mitmproxy.

It is known to listen when its status row is in the store: the same news the UI goes by.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from store.errors import StoreError, StoreUnavailable
from store.layout import Layout, make_folder
from store.location import open_reader
from store.reader import LocalReader
from store.record import ProxyStatus
from tui.listeners import http_proxy

PORT = 8080
"""mitmproxy's own default."""

START_S = 30.0
"""A cold start takes one second; a loaded machine has been seen to take ten."""

STOP_S = 15.0

_STAMP = re.compile(r"^\[\d\d:\d\d:\d\d\.\d+\] ")
_GENERIC = "Error logged during startup"
"""mitmproxy's last line, whatever the error was."""


class ProxyProcess:
    """One child proxy on a store. Use as a context: at its end the proxy is stopped."""

    def __init__(
        self,
        root: Path,
        *,
        port: int | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`port` None: 8080, or a free one where that is taken; `environment` comes on top of ours."""
        self._root = root
        self._environment = os.environ | (environment or {})
        self.port = port if port is not None else (PORT if _is_free(PORT) else 0)
        self._arguments = [
            sys.executable,
            "-u",  # its log is read while it is written
            "-P",  # a folder named addon where the user stands is none of ours
            "-m",
            "addon",
            "--set",
            f"flowtap_store={root}",
            "--set",
            f"flowtap_parent={os.getpid()}",
            "-p",
            str(self.port),
            *arguments,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self.address = ""

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self._root / "proxy.log"

    def __enter__(self) -> "ProxyProcess":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it listens; StoreUnavailable, with its own last words, if it does not."""
        Layout(self._root).check()
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            make_folder(self._root)
            fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            raise StoreUnavailable(f"Store {self._root}: {exc.strerror} ({exc.filename}).") from exc
        try:
            # A group of its own: ctrl-c is for the command beside it, and stop() is for the proxy.
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own arguments
                self._arguments,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=fd,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        finally:
            os.close(fd)
        try:
            self.address = self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> str:
        process = self._process
        give_up = time.monotonic() + START_S
        while process is not None and time.monotonic() < give_up:
            if process.poll() is not None:
                raise StoreUnavailable(f"The proxy did not start: {self._last_words()}")
            # The store may be in the making: absent, then without tables.
            with contextlib.suppress(StoreError), _reader(self._root) as reader:
                for status in reader.proxies():
                    if status.pid == process.pid and status.alive:
                        return http_proxy(status.address) or status.address
            time.sleep(0.05)
        raise StoreUnavailable(f"The proxy does not answer; its log is {self.log}.")

    def _last_words(self) -> str:
        text = self.log.read_text(errors="replace")
        lines = [_STAMP.sub("", line).strip() for line in text.splitlines()]
        said = [line for line in lines if line and not line.startswith(_GENERIC)]
        # Two: of mitmproxy's errors the second often says what to do.
        return " ".join(said[-2:]) or f"it said nothing; exit status {self.status}."

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return None if self._process is None else self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return None if self._process is None else self._process.poll()

    def kill(self) -> None:
        """SIGKILL: for a demonstration of what survives it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it in order: everything in flight is written first."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()


def running_proxy(root: Path) -> ProxyStatus | None:
    """A living proxy that writes to this store, or None."""
    with contextlib.suppress(StoreError), _reader(root) as reader:
        for status in reader.proxies():
            if status.alive:
                return status
    return None


def client_address(root: Path) -> str | None:
    """`host:port` to point a client at, of a living proxy that writes to this store; None where there
    is none, or none that is an HTTP proxy."""
    with contextlib.suppress(StoreError), _reader(root) as reader:
        for status in reader.proxies():
            if status.alive and (found := http_proxy(status.address)) is not None:
                return found
    return None


@contextlib.contextmanager
def _reader(root: Path) -> Iterator[LocalReader]:
    reader = open_reader(str(root))
    try:
        yield reader
    finally:
        reader.close()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
