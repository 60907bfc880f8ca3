"""A no-op streaming addon as a user would write it: both bodies streamed, nothing else touched.

mitmproxy's defaults, its connection log as it is. `noop_addon` is the same with that log quietened.
"""

from mitmproxy import http


def requestheaders(flow: http.HTTPFlow) -> None:
    """Stream the request."""
    flow.request.stream = lambda data: data


def responseheaders(flow: http.HTTPFlow) -> None:
    """Stream the response."""
    if flow.response is not None:
        flow.response.stream = lambda data: data
