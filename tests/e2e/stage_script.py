"""A mitmproxy script for the stage: where connections go, and what another user's addon may do.

A request asks for it by its query: `do=kill-request` has its flow killed in the `request` hook.
"""

import asyncio
import json
import os

from mitmproxy import connection, http
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

PORTS: dict[str, int] = json.loads(os.environ["FLOWTAP_TEST_PORTS"])

_held: dict[str, asyncio.Event] = {}


def server_connect(data: ServerConnectionHookData) -> None:
    """To the loopback server that plays this host. The name goes on as SNI and is checked."""
    if data.server.address is not None and data.server.address[0] in PORTS:
        data.server.address = ("127.0.0.1", PORTS[data.server.address[0]])


def asks(flow: http.HTTPFlow, deed: str) -> bool:
    """Whether this request wants that done."""
    return flow.request.path.endswith(f"do={deed}")


def requestheaders(flow: http.HTTPFlow) -> None:
    """Kill or answer before anything goes up."""
    if asks(flow, "kill-requestheaders"):
        flow.kill()
    if asks(flow, "answer-requestheaders"):
        flow.response = http.Response.make(403, b"not here")


def request(flow: http.HTTPFlow) -> None:
    """Kill when the request is whole."""
    if asks(flow, "kill-request"):
        flow.kill()


async def responseheaders(flow: http.HTTPFlow) -> None:
    """Kill, or hold the exchange in here until its client is gone."""
    assert flow.response is not None
    if asks(flow, "kill-responseheaders"):
        flow.kill()
    if asks(flow, "hold-responseheaders"):
        held = _held[flow.client_conn.id] = asyncio.Event()
        await held.wait()
    if asks(flow, "kill-midstream"):
        ours = flow.response.stream
        assert callable(ours)

        def killing(data: bytes) -> object:
            if flow.killable:
                flow.kill()
            return ours(data)

        flow.response.stream = killing  # type: ignore[assignment]


def response(flow: http.HTTPFlow) -> None:
    """Kill when the response is whole."""
    if asks(flow, "kill-response"):
        flow.kill()


def client_disconnected(client: connection.Client) -> None:
    """Let go what was held for it."""
    held = _held.pop(client.id, None)
    if held is not None:
        held.set()
