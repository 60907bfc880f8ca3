"""The ways into mitmproxy that it has no call for: where the layers of a client's connection are.

Nothing of this is promised by mitmproxy. Whoever uses it must get along where it is not as it was.
"""

from collections.abc import Iterator
from typing import Any

from mitmproxy import ctx
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.layers.http import HttpStream


class _NoLateStreaming:
    """mitmproxy's options, but for one exchange that is to be buffered whatever its size."""

    stream_large_bodies = None

    def __init__(self, options: Any) -> None:
        self._options = options

    def __getattr__(self, name: str) -> Any:
        return getattr(self._options, name)


def handler_of(flow: HTTPFlow) -> Any:
    """What mitmproxy has for the client's connection; KeyError or AttributeError if that is gone."""
    proxyserver: Any = ctx.master.addons.get("proxyserver")
    return proxyserver.connections[flow.client_conn.id]


def layers_of(flow: HTTPFlow) -> Iterator[Layer]:
    """All layers of the client's connection: what they name, and what stands in their contexts."""
    waiting: list[Any] = [handler_of(flow).layer]
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


def buffer_request(flow: HTTPFlow) -> None:
    """Have a request that was answered in its `requestheaders` buffered to its end. Raises where
    that cannot be had.

    With `stream_large_bodies` mitmproxy would begin to stream it once so much of it has come,
    and not survive that there is an answer: the client waits for ever, and with HTTP/2 so do
    all others on its connection.
    """
    stream = next(
        each
        for each in layers_of(flow)
        if isinstance(each, HttpStream) and getattr(each, "flow", None) is flow
    )
    options: Any = _NoLateStreaming(stream.context.options)
    stream.context.options = options
