"""The store as the recorder has it: open, or on the way, or out of reach for now.

A wrong location stops the start. A store that is there but cannot be used (locked, full,
read-only, a dead network disk) does not: calls pass unrecorded, and it is tried again.
Opening is done on a thread: it may wait for long, and mitmproxy's loop may not.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from store.contract import Store, Writer
from store.errors import BadInput, StoreError

logger = logging.getLogger(__name__)

PATIENCE_S = 5.0
"""How long the start waits for the store, recovery and all, before calls pass unrecorded."""

type Opener = Callable[[str | None], Store]


@dataclass(frozen=True)
class _Opened:
    """What opening gives: the recording side, and where it writes, for messages."""

    writer: Writer
    place: str


class Link:
    """At most one open writer. All methods are called on the proxy's loop."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._wanted = False
        self._opening = False
        self.writer: Writer | None = None
        """None: nothing can be recorded now."""
        self.place = ""
        """Where the records go, for messages."""
        self.trouble: str | None = None
        """Why there is no writer, one line."""

    def open(self, location: str, then: Callable[[], None]) -> None:
        """Open, and wait for it a little; sets `writer` or `trouble`, and goes on trying if late.

        BadInput or ImportError: waiting will not help. `then` is called once there is a writer.
        """
        self._wanted = True
        attempt = self._attempt(location)
        try:
            self._take(attempt.result(PATIENCE_S))
        except (BadInput, ImportError):
            raise
        except Exception as error:  # Whatever the store has, the proxy proxies.
            if not attempt.done():
                self.trouble = "the store takes its time to open"
                self._await(attempt, then)
            else:
                self.trouble = _line(error)
        else:
            then()

    def reopen(self, location: str, then: Callable[[], None]) -> None:
        """Try again, without waiting, unless a try is under way."""
        if self.writer is None and not self._opening:
            self._await(self._attempt(location), then)

    def close(self) -> None:
        """Write everything out and free it; what a thread still opens is closed when it comes."""
        self._wanted = False
        writer, self.writer = self.writer, None
        if writer is not None:
            writer.close()

    def _attempt(self, location: str) -> "Future[_Opened]":
        """Open on a thread of its own."""
        attempt: Future[_Opened] = Future()

        def work() -> None:
            try:
                attempt.set_result(self._opened(location))
            except BaseException as error:
                attempt.set_exception(error)

        threading.Thread(target=work, name="flowtap-open", daemon=True).start()
        return attempt

    def _opened(self, location: str) -> _Opened:
        """A writer of a new store object; only the writer is kept, on whatever thread it came."""
        store = self._opener(location or None)
        try:
            # A backend behind a URL shows none: it may hold a password.
            layout = getattr(store, "layout", None)
            return _Opened(store.writer(_warn), "its store" if layout is None else str(layout.root))
        finally:
            store.close()

    def _await(self, attempt: "Future[_Opened]", then: Callable[[], None]) -> None:
        """Have the attempt's end settled on the loop."""
        self._opening = True
        loop = asyncio.get_running_loop()

        def ended(attempt: "Future[_Opened]") -> None:
            if not _on(loop, self._settle, attempt, then) and attempt.exception() is None:
                attempt.result().writer.close()

        attempt.add_done_callback(ended)

    def _settle(self, attempt: "Future[_Opened]", then: Callable[[], None]) -> None:
        self._opening = False
        error = attempt.exception()
        if error is not None:
            self.trouble = _line(error)
        elif self._wanted and self.writer is None:
            self._take(attempt.result())
            then()
        else:
            attempt.result().writer.close()

    def _take(self, opened: _Opened) -> None:
        self.writer, self.place, self.trouble = opened.writer, opened.place, None


def _on[*Ts](loop: asyncio.AbstractEventLoop, call: Callable[[*Ts], None], *args: *Ts) -> bool:
    """Have `call` run on the loop; False if the loop is gone."""
    try:
        loop.call_soon_threadsafe(call, *args)
    except RuntimeError:
        return False
    return True


def _line(error: BaseException) -> str:
    """A store's error is written to be read; of any other the class says most."""
    text = " ".join(str(error).split())
    return text if isinstance(error, StoreError) else f"{type(error).__name__}: {text}"


def _warn(line: str) -> None:
    """The writer's warnings, in mitmproxy's log; its handlers take records from any thread."""
    logger.warning("flowtap: %s", line)
