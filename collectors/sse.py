"""Server-sent events out of bytes that arrive in pieces.

Pure; knows no protocol. The rules are the HTML standard's "event stream interpretation", with the
leniencies that recorded streams need: a field line without a space, an event with empty data, an
event that the end of the stream cut, `error: {json}` lines (llama.cpp, GPUStack), and JSON that
stands between the events without any framing (Vertex puts its errors there).

Linear: whole pieces are decoded and split at once, and a line without an end is only joined when
its end comes.
"""

from collectors.event import Event
from collectors.json_stream import JsonSplitter

_BOM = b"\xef\xbb\xbf"


class SseParser:
    """Bytes in, events out; the same events however the bytes are cut."""

    def __init__(self) -> None:
        self.comments = 0
        """Comment lines seen: keep-alives."""
        self.retry_ms: int | None = None
        """The last `retry:` field."""
        self.invalid_utf8 = False
        """Some bytes were not UTF-8 and read as U+FFFD."""
        self.unterminated = False
        """The stream ended within an event; `close` gave what there was of it."""
        self._line: list[bytes] = []
        """Pieces of a line whose end has not come."""
        self._last_ms = 0
        self._at_start = True
        self._skip_lf = False
        """The last byte was a CR that ended a line: a LF now belongs to it."""
        self._name: str | None = None
        self._data: list[str] | None = None
        self._id: str | None = None
        self._bare: JsonSplitter | None = None
        """Takes the lines of JSON without framing, until it is whole."""

    def feed(self, at_ms: int, data: bytes) -> list[Event]:
        """The events whose last byte is in `data`, which arrived at `at_ms`."""
        if not data:
            return []
        self._last_ms = at_ms
        if self._skip_lf:
            self._skip_lf = False
            if data[0] == 0x0A:
                data = data[1:]
        # The end of the last line that is whole.
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if end == 0:
            if data:
                self._line.append(data)
            return []
        self._skip_lf = end == len(data) and data[-1] == 0x0D
        if self._line:
            self._line.append(data[:end])
            whole = b"".join(self._line)
            self._line.clear()
        else:
            whole = data[:end]
        if end < len(data):
            self._line.append(data[end:])
        return self._lines(at_ms, whole)

    def close(self) -> list[Event]:
        """What the end of the stream cut, as events that arrived with the last bytes."""
        at_ms = self._last_ms
        events: list[Event] = []
        if self._line:
            events = self._lines(at_ms, b"".join(self._line))
            self._line.clear()
            self.unterminated = True
        if self._bare is not None:
            self.unterminated = self.unterminated or not self._bare.idle
            self._end_bare(at_ms, events)
        if self._data is not None:
            self.unterminated = True
            self._dispatch(at_ms, events)
        return events

    def _decode(self, data: bytes) -> str:
        if self._at_start:
            self._at_start = False
            data = data.removeprefix(_BOM)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            self.invalid_utf8 = True
            text = data.decode("utf-8", "replace")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        return text

    def _lines(self, at_ms: int, whole: bytes) -> list[Event]:
        """Take in lines; the last one is whole too, with or without its end."""
        events: list[Event] = []
        text = self._decode(whole)
        lines = text.split("\n")
        if not lines[-1]:
            del lines[-1]
        # The three lines of nearly every event, "event: …", "data: …" and "", are told apart
        # first; the rest is _line_of.
        data = self._data
        for line in lines:
            if self._bare is not None and self._feed_bare(at_ms, line, events):
                continue
            if line.startswith("data: "):
                if data is None:
                    data = [line[6:]]
                else:
                    data.append(line[6:])
            elif not line:
                if data is not None:
                    events.append(
                        Event(
                            at_ms,
                            self._name,
                            data[0] if len(data) == 1 else "\n".join(data),
                            self._id,
                        )
                    )
                    data = None
                self._name = self._id = None
            elif line.startswith("event: "):
                self._name = line[7:] or None
            else:
                self._data = data
                self._other(at_ms, line, events)
                data = self._data
        self._data = data
        return events

    def _dispatch(self, at_ms: int, events: list[Event]) -> None:
        if self._data is not None:
            events.append(Event(at_ms, self._name, "\n".join(self._data), self._id))
        self._data = self._name = self._id = None

    def _other(self, at_ms: int, line: str, events: list[Event]) -> None:
        """A line that is none of the usual three."""
        if line[0] == ":":
            self.comments += 1
            return
        if line[0] in "{[":
            # JSON without framing. What stood before it without a blank line is an event.
            self._dispatch(at_ms, events)
            self._bare = JsonSplitter()
            self._feed_bare(at_ms, line, events)
            return
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            if self._data is None:
                self._data = [value]
            else:
                self._data.append(value)
        elif field == "event":
            self._name = value or None
        elif field == "id":
            # The standard ignores an id with NUL.
            if "\0" not in value:
                self._id = value
        elif field == "retry":
            if value.isascii() and value.isdigit() and len(value) < 19:
                self.retry_ms = int(value)
        elif field == "error":
            # Not of the standard: an event of its own, named like the field.
            self._dispatch(at_ms, events)
            events.append(Event(at_ms, "error", value))

    def _feed_bare(self, at_ms: int, line: str, events: list[Event]) -> bool:
        """Take in a line of unframed JSON; False if the line is no part of it."""
        bare = self._bare
        if bare is None:
            return False
        if (bare.idle and line[:1] not in ("{", "[")) or line.startswith(("data:", "event:")):
            # Whole, or cut by the framing coming back.
            self._end_bare(at_ms, events)
            return False
        for value in bare.feed(line.encode() + b"\n"):
            events.append(Event(at_ms, None, value.decode()))
        return True

    def _end_bare(self, at_ms: int, events: list[Event]) -> None:
        if self._bare is not None:
            rest = self._bare.close()
            self._bare = None
            if rest:
                events.append(Event(at_ms, None, rest.decode()))
