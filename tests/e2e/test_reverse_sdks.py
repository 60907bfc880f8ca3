"""The real SDKs with the API's address changed to ours: reverse mode, plain HTTP to loopback, no certificate, no proxy variable."""

import asyncio
from collections.abc import Iterator

import pytest

from collectors.registry import fold
from store.location import open_reader
from store.record import Record, State, Transport, Verdict
from tests.e2e.harness import Upstream, new_store, records, sse, wait_for
from tests.e2e.modes import ModesProxy
from tests.e2e.sdk_clients import CASES, PROMPT, Case, Seen, To
from tui.listeners import client_variables
from tui.record_json import events_of

HOSTS = sorted({case.host for case in CASES})
PROXY_VARIABLES = (
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "https_proxy",
    "http_proxy",
    "all_proxy",
)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """All three APIs."""
    with Upstream(sse()) as upstream:
        yield upstream


@pytest.fixture(scope="module", params=[False, True], ids=["rewritten", "keep_host_header"])
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, upstream: Upstream
) -> Iterator[ModesProxy]:
    """One process that stands in for all of them, a `--mode` each."""
    folder = tmp_path_factory.mktemp("reverse")
    new_store(folder / "store")
    options = ["--set", "keep_host_header=true"] if request.param else []
    names = {f"tcp {host}:443": upstream.port for host in HOSTS}
    modes = {host: f"reverse:https://{host}" for host in HOSTS}
    with ModesProxy(folder / "confdir", upstream, names, modes, options) as proxy:
        yield proxy


def address(proxy: ModesProxy) -> str:
    """What its status row says of where it listens."""
    reader = open_reader(str(proxy.store))
    try:
        (status,) = reader.proxies()
        return status.address
    finally:
        reader.close()


@pytest.mark.check(12, 13, 16, 31)
@pytest.mark.parametrize("told", ["argument", "environment"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_sdk_with_another_base_url(
    proxy: ModesProxy,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    case: Case,
    told: str,
) -> None:
    """It streams, and the record is of the real API: its host, its port, its path, its scheme.

    By the SDK's own argument, synchronously; and asynchronously by the variables that the proxy's
    status row is worth.
    """
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    base = f"http://127.0.0.1:{proxy.ports[case.host]}" if told == "argument" else None
    if base is None:
        for name, value in client_variables(address(proxy)):
            monkeypatch.setenv(name, value)
    to = To(base, prompt=f"{PROMPT} {told}")
    upstream.script = sse(*case.chunks)
    asked = len(upstream.calls)

    async def talk() -> Seen:
        return await case.asynchronous(to)

    seen = asyncio.run(talk()) if base is None else case.sync(to)
    (call,) = upstream.calls[asked:]

    def of_call() -> list[Record]:
        found = [r for r in records(proxy.store, call.path) if r.request_body.data == call.body]
        return found if all(record.meta.state is State.DONE for record in found) else []

    (record,) = wait_for(of_call, "the call's record")
    assert ("https", case.host, 443, call.path) == (
        record.meta.scheme, record.meta.host, record.meta.port, record.meta.path,
    )  # fmt: skip
    assert call.path.endswith(case.path)
    assert b"".join(case.chunks) == record.response_body.data
    assert Verdict.COMPLETE is record.meta.verdict
    assert record.meta.transport in (Transport.COMPLETE, Transport.CLIENT_CLOSED)
    events = events_of(record)
    assert events is not None
    outcome = fold(case.protocol, events)
    assert outcome.result is not None
    assert seen.message == case.shape(outcome.result)
