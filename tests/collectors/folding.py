"""Rows of a fold's table: events in, what must come out; and what holds for every row."""

import copy
import json
from dataclasses import dataclass
from typing import Any

from collectors.event import Event
from collectors.outcome import Outcome
from collectors.protocol import LlmProtocol
from collectors.registry import new_collector


def event(data: Any, name: str | None = None) -> Event:
    """An event with that data; a string goes in as it is, everything else as JSON."""
    return Event(0, name, data if isinstance(data, str) else json.dumps(data))


def events_of(items: list[Any]) -> list[Event]:
    """Events of data, or of (name, data)."""
    return [event(item[1], item[0]) if isinstance(item, tuple) else event(item) for item in items]


def folded(protocol: LlmProtocol, items: list[Any]) -> Outcome:
    """The outcome of those events, having asked after each, and twice at the end."""
    collector = new_collector(protocol)
    quiet = new_collector(protocol)
    assert collector is not None
    assert quiet is not None
    for item in events_of(items):
        collector.feed(item)
        collector.outcome()
        quiet.feed(item)
    first = copy.deepcopy(collector.outcome())
    # Asking changes nothing: not the next answer, not what one who was never asked gives.
    assert first == collector.outcome()
    assert first == quiet.outcome()
    return first


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table in the design: what a fold must give."""

    name: str
    events: list[Any]
    result: Any = ...
    """What the table looks at in the result (a test's own reduction); ... is not looked at."""
    error: str | None = None
    truncated: bool = False
    warning: str | None = None
    """Part of a warning that must be there; None: there must be none at all."""

    def __str__(self) -> str:
        return self.name


def warned(outcome: Outcome, warning: str | None) -> bool:
    """Whether the outcome warns of that, and of nothing if it is None."""
    if warning is None:
        return not outcome.warnings
    return any(warning in line for line in outcome.warnings)
