"""What a fold made of a stream. A value; every collector returns it and none raises."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """The final message as far as the events carry it.

    Complete: result, no error, not truncated. Cut: best-effort result, truncated.
    An error event in the stream: best-effort result, the first error, truncated.
    Nothing to fold: no result, an error saying why, truncated.
    """

    result: dict[str, Any] | None
    """The message in the protocol's non-streaming shape."""

    error: str | None
    """One line, `type: message` where the stream gave a type."""

    truncated: bool
    """True unless the protocol's terminal event was seen and said success."""

    warnings: tuple[str, ...] = ()
    """What the collector did not understand, one line each, counted."""
