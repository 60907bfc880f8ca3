"""Trouble, said once a minute: a broken disk under a busy proxy must not fill the log as well."""

import logging
from time import monotonic

logger = logging.getLogger(__name__)

EVERY_S = 60.0
"""The same kind of trouble is logged once in so long."""

KINDS_CAP = 1000
"""Kinds may be named after hosts, and clients choose those."""


class Complaints:
    """The log, throttled."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def say(self, kind: str, level: int, message: str, error: BaseException | None = None) -> None:
        """Log `message`, with the traceback of `error`, unless one of its kind was just logged."""
        now = monotonic()
        last = self._last.get(kind)
        if last is not None and now - last < EVERY_S:
            return
        if len(self._last) >= KINDS_CAP:
            self._last.clear()
        self._last[kind] = now
        logger.log(level, "flowtap: %s", message, exc_info=error)
