"""What a call gets that is refused (`flowtap_required`), and how loud that is. Nothing of it goes upstream."""

import json
import logging

from mitmproxy import ctx, http

from addon import insides

logger = logging.getLogger(__name__)

RETRY_S = 5
"""After so long a client may try again: no sooner is an unreachable store tried for."""


def goes_upstream(flow: http.HTTPFlow) -> bool:
    """Nobody has answered or ended it yet."""
    return flow.response is None and flow.error is None


def refuse(flow: http.HTTPFlow, why: str) -> None:
    """Answer the call 503 in its `requestheaders`.

    A stream on a flow that has an answer is what mitmproxy does not survive: it is taken off, and
    no later one may come. Where that cannot be had the call is killed, and ends without an answer.
    """
    message = f"flowtap refused this call, since it could not be recorded: {why}"
    body = {"error": {"type": "flowtap_store_unavailable", "message": message}}
    flow.request.stream = False
    flow.response = http.Response.make(
        503,
        json.dumps(body),
        {
            "content-type": "application/json",
            "retry-after": str(RETRY_S),
            "cache-control": "no-store",
        },
    )
    if not getattr(ctx.options, "stream_large_bodies", None):
        return
    try:
        insides.buffer_request(flow)
    except Exception:
        flow.kill()


class Refusals:
    """Said when they begin and when they end, however many there are."""

    def __init__(self) -> None:
        self._count = 0

    def __bool__(self) -> bool:
        """They have begun."""
        return self._count > 0

    def begin(self, why: str) -> None:
        """A call is refused for the store's sake."""
        self._count += 1
        if self._count == 1:
            logger.error(
                "flowtap: REFUSING model calls with 503, for they cannot be recorded "
                "(flowtap_required): %s",
                why,
            )

    def end(self) -> None:
        """The store is well."""
        if self._count:
            logger.warning(
                "flowtap: refusing no more, calls are recorded again (%d refused)", self._count
            )
            self._count = 0
