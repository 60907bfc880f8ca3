"""What all collectors share: reading an event's data, the first error, counted warnings.

Pure. A collector is fed events one by one and can be asked for its outcome at any moment; asking
changes nothing. It raises for no input: what it cannot use becomes a warning.
"""

from abc import ABC, abstractmethod
from typing import Any

from collectors.event import Event
from collectors.json_view import INVALID, error_text, mend, one_line, parse
from collectors.outcome import Outcome

MAX_WARNINGS = 50
"""Different warnings kept; a stream of noise must not become a list of noise."""


class Warnings:
    """Warnings by their text, counted."""

    __slots__ = ("_events", "_more", "_notes")

    def __init__(self) -> None:
        self._events: dict[str, int] = {}
        self._notes: dict[str, int] = {}
        self._more = 0

    def event(self, what: str) -> None:
        """Count an event that was not folded; `what` follows "3 events"."""
        self._count(self._events, what)

    def note(self, text: str) -> None:
        """Count a sentence of its own."""
        self._count(self._notes, text)

    def _count(self, counts: dict[str, int], text: str) -> None:
        text = one_line(text, 300)
        if text in counts:
            counts[text] += 1
        elif len(self._events) + len(self._notes) < MAX_WARNINGS:
            counts[text] = 1
        else:
            self._more += 1

    def lines(self) -> tuple[str, ...]:
        """One line each."""
        lines = [f"{n} event{'s' if n > 1 else ''} {what}" for what, n in self._events.items()]
        lines += [text if n == 1 else f"{text} ({n} times)" for text, n in self._notes.items()]
        if self._more:
            lines.append(f"{self._more} more warnings")
        return tuple(lines)


class Collector(ABC):
    """Events of one exchange in, the message as far as it came out."""

    def __init__(self) -> None:
        self._warnings = Warnings()
        self._error: str | None = None
        self._events = 0
        self._done = False
        self._escaped = False

    def feed(self, event: Event) -> None:
        """Take in one event. Never raises."""
        text = event.data
        if not text or text.isspace():
            return
        self._events += 1
        if "\\u" in text and ("\\ud" in text or "\\uD" in text):
            # Half a surrogate pair may be in it, and the other half in the next event.
            self._escaped = True
        value = parse(text)
        if type(value) is dict:
            self._fold(event.name, value)
        elif value is INVALID:
            self._not_json(event.name, text)
        elif type(value) is list and value:
            # A JSON array's items are events, as a server that does not stream sends them.
            for item in value:
                if type(item) is dict:
                    self._fold(event.name, item)
                else:
                    self._warnings.event("without an object")
        elif event.name == "error":
            self._fail(value)
        else:
            self._warnings.event("without an object")

    def _not_json(self, name: str | None, text: str) -> None:
        if text.strip() == "[DONE]":
            self._done = True
        elif name == "error":
            self._fail(text)
        else:
            self._warnings.event("not in JSON")

    def _fail(self, error: Any) -> None:
        """Note an error; the first one counts."""
        if self._error is None:
            self._error = error_text(error)

    def _finish(
        self,
        result: dict[str, Any] | None,
        truncated: bool,
        warnings: tuple[str, ...] = (),
        error: str | None = None,
    ) -> Outcome:
        """An outcome of this state; `error` is why there is nothing, if no event said so."""
        if self._escaped and result is not None:
            result = mend(result)
        return Outcome(
            result=result,
            error=self._error if self._error is not None else error,
            truncated=truncated,
            warnings=self._warnings.lines() + warnings,
        )

    @abstractmethod
    def _fold(self, name: str | None, data: dict[str, Any]) -> None:
        """Take in an event whose data is an object."""

    @property
    def failed(self) -> bool:
        """An event said that something went wrong."""
        return self._error is not None

    @property
    @abstractmethod
    def terminal(self) -> bool:
        """The protocol's own end was seen, whatever it said of success."""

    @abstractmethod
    def outcome(self) -> Outcome:
        """The message as far as it came. Changes nothing; what it shares with this collector
        and with other outcomes is to be read, not changed."""
