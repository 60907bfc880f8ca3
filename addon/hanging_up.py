"""How an addon closes a WebSocket with a code, which mitmproxy 12 has no call for.

Its layer ends a socket in order when its WebSocket library (wsproto) reports a close frame. While it
reads what an injected message left for it, such an event can be put behind that message. So an
empty message is injected, which we drop when it comes by, and put the event in its place. Both ends
then get the close frame, mitmproxy its `websocket_end`. These are insides, so where anything of it
is not as it was, the client's connection is cut, and clients see 1006.
"""

import contextlib
import logging

from mitmproxy import ctx
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy.layers.websocket import WebsocketLayer
from wsproto.events import CloseConnection

from addon import insides

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
            for each in insides.layers_of(flow)
            if isinstance(each, WebsocketLayer) and each.flow is flow
        )
        side = layer.client_ws if from_client else layer.server_ws
        side._events.append(CloseConnection(code=TRY_AGAIN_LATER, reason=reason))
    except Exception:
        cut(flow)


def cut(flow: HTTPFlow) -> None:
    """Cut the client's connection, as mitmproxy's own watchdog does."""
    with contextlib.suppress(Exception):
        handler = insides.handler_of(flow)
        task = handler.transports[flow.client_conn].handler
        if task is not None:
            task.cancel("flowtap hangs up")
            return
    logger.error("flowtap: a WebSocket that cannot be recorded could not be closed")
