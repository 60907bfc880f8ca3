"""The yardstick: streams both bodies through a callable that does nothing. No recording.

With mitmproxy's connection log quietened and its timeouts as the recorder sets them, so that
what is left between the two is the recording.
"""

import logging

from mitmproxy import ctx, http


def _pass(data: bytes) -> bytes:
    return data


class Noop:
    """Every flow streamed, nothing kept."""

    def running(self) -> None:
        """The surroundings the recorder makes for itself."""
        logging.getLogger("mitmproxy.proxy.server").setLevel(logging.WARNING)
        ctx.options.update(tcp_timeout=3600)
        logging.getLogger(__name__).info("no-op: running")

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Stream the request."""
        flow.request.stream = _pass

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Stream the response."""
        if flow.response is not None:
            flow.response.stream = _pass


addons = [Noop()]
