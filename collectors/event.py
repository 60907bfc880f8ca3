"""One streamed event, of whatever framing. A value; it knows no protocol."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """What one frame of a stream said, and when its last byte arrived."""

    at_ms: int
    """Milliseconds since the request began."""

    name: str | None
    """The `event:` line's value, or None where the framing has none."""

    data: str
    """The payload as text; bytes that are not UTF-8 read as U+FFFD."""

    id: str | None = None
    """The `id:` line's value, if this event had one."""
