"""One streamed event, of whatever framing. A value; it knows no protocol."""

from dataclasses import dataclass


# Not frozen, though nobody changes one: freezing triples the price of building it (0.3 to 0.9 µs),
# and one is built for every event, of which a fold as a whole may cost 5 µs.
@dataclass(slots=True, unsafe_hash=True)
class Event:
    """What one frame of a stream said, and when its last byte arrived. A value, not to be changed."""

    at_ms: int
    """Milliseconds since the request began."""

    name: str | None
    """The `event:` line's value, or None where the framing has none."""

    data: str
    """The payload as text; bytes that are not UTF-8 read as U+FFFD."""

    id: str | None = None
    """The `id:` line's value, if this event had one."""

    from_client: bool = False
    """The client said it, as half of a WebSocket's session; all other events are the server's."""
