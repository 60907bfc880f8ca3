"""A home of its own for one client: nothing in it but mitmproxy's folder, nothing set but the client's key.

What a user types is what is run: `flowtap run --key NAME --retention 1h -- CMD`. The proxy it starts
reaches our upstream as one reaches the world from behind a company's proxy: by mitmproxy's own
configuration in that home. So no name is looked up, and nothing leaves the machine.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from store.location import open_reader
from store.record import ProxyStatus, Record
from tests.clients.api import Api
from tests.e2e.harness import DEADLINE_S, wait_for
from tui.proxy_process import running_proxy

FLOWTAP = Path(sys.executable).with_name("flowtap")
TIMEOUT_S = 120.0
"""For one client, from its start to its end."""

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"

INDEX = "index.db"
NAME = "mine"


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command came to."""

    status: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class House:
    """One home, one upstream. Each `run` is a proxy of its own on the same store, unless one runs."""

    home: Path
    api: Api

    def __post_init__(self) -> None:
        confdir = self.home / ".mitmproxy"
        confdir.mkdir(parents=True)
        self.api.ca.cert_pem.write_to_path(self.upstream_ca)
        (confdir / "config.yaml").write_text(
            f"mode: ['upstream:http://127.0.0.1:{self.api.port}']\n"
            f"ssl_verify_upstream_trusted_ca: {self.upstream_ca}\n"
        )

    @property
    def upstream_ca(self) -> Path:
        """The root that the upstream's certificate is of."""
        return self.home / ".mitmproxy" / "upstream-ca.pem"

    def environment(self, programs: Sequence[Path], more: Mapping[str, str]) -> dict[str, str]:
        """All that is set: where programs are, and `more`, which is what the client itself asks for."""
        path = os.pathsep.join([*map(str, programs), SYSTEM_PATH])
        return {"PATH": path, "HOME": str(self.home), "LANG": "C.UTF-8", **more}

    def run(self, command: Sequence[str], programs: Sequence[Path], more: Mapping[str, str]) -> Ran:
        """`flowtap run --key … -- COMMAND`; its programs are looked for in those folders first."""
        ours = [str(FLOWTAP), "run", "--key", NAME, "--retention", "1h", "--"]
        return self.call([*ours, *command], programs, more)

    def call(
        self, command: Sequence[str], programs: Sequence[Path], more: Mapping[str, str]
    ) -> Ran:
        """The command alone."""
        with subprocess.Popen(  # noqa: S603 - our own command
            command,
            env=self.environment(programs, more),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(timeout=TIMEOUT_S)
            except BaseException:
                # What it started goes with it; a proxy ends by itself once we are gone.
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return Ran(process.returncode, out, err)

    @contextlib.contextmanager
    def proxy(self, *arguments: str) -> Iterator[str]:
        """`flowtap proxy` on a free port, which every `run` then takes; where it listens."""
        process = subprocess.Popen(  # noqa: S603 - our own command
            [str(FLOWTAP), "proxy", "-q", "-p", "0", *arguments],
            env=self.environment((), {}),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
        )
        try:
            status = wait_for(self._running, "a running proxy")
            assert status is not None
            yield status.address.rpartition("@")[2]
        finally:
            process.terminate()
            process.wait(DEADLINE_S)

    def _running(self) -> ProxyStatus | None:
        return running_proxy(self.store) if any(self.home.rglob(INDEX)) else None

    def add_key(self, secret: str) -> None:
        """`flowtap keys add`, as without `run`."""
        words = [str(FLOWTAP), "keys", "add", NAME, "--retention", "1h", "--env", "SECRET"]
        ran = self.call(words, (), {"SECRET": secret})
        assert 0 == ran.status, ran

    @property
    def store(self) -> Path:
        """Where the records went: the default place, seen from that home."""
        (index,) = self.home.rglob(INDEX)
        return index.parent

    def records(self) -> list[Record]:
        """Every record, oldest first; all are written once their proxies have ended."""
        reader = open_reader(str(self.store))
        try:
            found = [reader.get(meta.id) for meta in reversed(reader.records(limit=200))]
        finally:
            reader.close()
        return [record for record in found if record is not None]

    def proxies(self) -> list[ProxyStatus]:
        """What the proxies have said of themselves."""
        reader = open_reader(str(self.store))
        try:
            return list(reader.proxies())
        finally:
            reader.close()
