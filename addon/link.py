"""The store as the recorder has it: open, or on the way, or out of reach for now.

A wrong location stops the start. A store that is there but cannot be used (locked, full,
read-only) does not: calls pass unrecorded, and it is tried again, on a thread, since opening
may wait for a lock and mitmproxy's loop may not.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from store.contract import Store, Writer
from store.errors import BadInput, StoreError

logger = logging.getLogger(__name__)

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

    def open(self, location: str) -> None:
        """Open now; sets `writer` or `trouble`. BadInput or ImportError: waiting will not help."""
        self._wanted = True
        try:
            self._take(self._opened(location))
        except (BadInput, ImportError):
            raise
        except Exception as error:  # Whatever the store has, the proxy proxies.
            self.trouble = _line(error)

    def reopen(self, location: str, then: Callable[[], None]) -> None:
        """Try on a thread unless a try is under way; `then` is called on the loop if it worked."""
        if self.writer is not None or self._opening:
            return
        self._opening = True
        loop = asyncio.get_running_loop()

        def work() -> None:
            try:
                opened = self._opened(location)
            except Exception as error:
                _on(loop, self._failed, _line(error))
                return
            if not _on(loop, self._arrived, opened, then):
                opened.writer.close()

        threading.Thread(target=work, name="flowtap-open", daemon=True).start()

    def close(self) -> None:
        """Write everything out and free it; what a thread still opens is closed when it comes."""
        self._wanted = False
        writer, self.writer = self.writer, None
        if writer is not None:
            writer.close()

    def _opened(self, location: str) -> _Opened:
        """A writer of a new store object; only the writer is kept, on whatever thread it came."""
        store = self._opener(location or None)
        try:
            # A backend behind a URL shows none: it may hold a password.
            layout = getattr(store, "layout", None)
            return _Opened(store.writer(_warn), "its store" if layout is None else str(layout.root))
        finally:
            store.close()

    def _take(self, opened: _Opened) -> None:
        self.writer, self.place, self.trouble = opened.writer, opened.place, None

    def _failed(self, trouble: str) -> None:
        self._opening = False
        self.trouble = trouble

    def _arrived(self, opened: _Opened, then: Callable[[], None]) -> None:
        self._opening = False
        if not self._wanted or self.writer is not None:
            opened.writer.close()
            return
        self._take(opened)
        then()


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
