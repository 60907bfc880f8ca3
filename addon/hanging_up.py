"""How an addon closes a WebSocket with a code, which mitmproxy 12 has no call for.

Its layer ends a socket in order when its WebSocket library (wsproto) reports a close frame. While it
reads what an injected message left for it, such an event can be put behind that message. So an
empty message is injected, which we drop when it comes by, and put the event in its place. Both ends
then get the close frame, mitmproxy its `websocket_end`. These are insides, so where anything of it
is not as it was, the client's connection is cut, and clients see 1006.
"""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from mitmproxy import ctx
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers.websocket import WebsocketLayer
from wsproto.events import CloseConnection

logger = logging.getLogger(__name__)

TRY_AGAIN_LATER = 1013
"""The registered code of a server that cannot take it now (IANA's registry of close codes)."""


def begin(flow: HTTPFlow) -> None:
    """Have a message injected into this socket; when it comes by, `finish`."""
    try:
        ctx.master.commands.call("inject.websocket", flow, True, b"", True)
    except Exception:
        cut(flow)


def finish(flow: HTTPFlow, *, from_client: bool, reason: str) -> None:
    """In the hook of the injected message, which is to be dropped: a close frame comes next."""
    try:
        layer = next(
            each
            for each in _layers(_handler(flow).layer)
            if isinstance(each, WebsocketLayer) and each.flow is flow
        )
        side = layer.client_ws if from_client else layer.server_ws
        side._events.append(CloseConnection(code=TRY_AGAIN_LATER, reason=reason))
    except Exception:
        cut(flow)


def cut(flow: HTTPFlow) -> None:
    """Cut the client's connection, as mitmproxy's own watchdog does."""
    with contextlib.suppress(Exception):
        handler = _handler(flow)
        task = handler.transports[flow.client_conn].handler
        if task is not None:
            task.cancel("flowtap hangs up")
            return
    logger.error("flowtap: a WebSocket that cannot be recorded could not be closed")


def _handler(flow: HTTPFlow) -> Any:
    """What mitmproxy has for the client's connection; KeyError or AttributeError if that is gone."""
    proxyserver: Any = ctx.master.addons.get("proxyserver")
    return proxyserver.connections[flow.client_conn.id]


def _layers(top: Layer) -> Iterator[Layer]:
    """A layer and all that lie in it: what it names, and what stands in its context."""
    waiting: list[Any] = [top]
    seen: set[int] = set()
    while waiting:
        layer = waiting.pop()
        if not isinstance(layer, Layer) or id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        waiting += layer.context.layers
        waiting += [getattr(layer, name, None) for name in ("child_layer", "layer")]
        streams = getattr(layer, "streams", None)
        if isinstance(streams, dict):
            waiting += streams.values()
