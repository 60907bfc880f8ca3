"""The response's body in its views: collected, json, events, raw; and its banners. Pure.

A stream is folded by its protocol's collector, which may say an error, a cut, and what it did
not understand. The words of the banners are fixed; an error wins over a cut.
"""

import base64
from collections.abc import Iterable, Sequence

from collectors.collector import Collector
from collectors.event import Event
from collectors.framing import EventReader
from collectors.json_view import INVALID, parse
from collectors.outcome import Outcome
from collectors.protocol import LlmProtocol
from collectors.registry import new_collector
from collectors.websocket import session_events
from store.masks import mask_all
from store.record import Headers, RecordMeta, header
from tui.document import answer, json_text
from tui.document.lines import Block, Line, Span, SpanBlock, TextBlock, plain
from tui.safe_text import escape, escape_lines

TRUNCATED = "Stream truncated — terminal frame missing. Showing best-effort accumulated state."
CUT_SESSION = "A response was not whole when the session ended. Showing what there is of it."
NOTHING = "No data could be reconstructed from the captured events."
NO_BODY = "No response body was produced."
UNLABELED = "(unlabeled)"
CLIENT, SERVER = "↑", "↓"
"""Who said it, in the list's signs for request and response."""


def protocol_of(meta: RecordMeta) -> LlmProtocol | None:
    """The record's protocol, if it is one we know."""
    try:
        return LlmProtocol(meta.protocol) if meta.protocol else None
    except ValueError:
        return None


def banner(text: str, tone: str = "banner-error") -> SpanBlock:
    """A line that says what is wrong, in a tone."""
    shown = f" {escape(text)} "
    return SpanBlock([Line(shown, (Span(0, len(shown), tone),))], hang=1)


def dim(text: str) -> SpanBlock:
    """A remark."""
    shown = escape(text)
    return SpanBlock([Line(shown, (Span(0, len(shown), "dim"),))])


class Stream:
    """A response of events, whole or growing."""

    def __init__(
        self,
        protocol: LlmProtocol | None,
        headers: Headers,
        where: str = "",
        *,
        status: int | None = None,
        session: bool = False,
    ) -> None:
        """`where` is the method and path, for saying that nothing folds them; of a session the
        client's messages are events too."""
        kind, encoding = header(headers, b"content-type"), header(headers, b"content-encoding")
        self._reader = EventReader(
            kind.decode("latin-1") if kind else None,
            encoding.decode("latin-1") if encoding else None,
            status=status,
        )
        self.protocol = protocol
        self.session = session
        self._where = where
        self._collector: Collector | None = new_collector(protocol) if protocol else None
        self.events: list[Event] = []
        self.size = 0
        """Bytes on the wire so far."""
        self.notes: tuple[str, ...] = ()
        self._failed = ""

    @property
    def folds(self) -> bool:
        """There is a collector for it."""
        return self._collector is not None

    def feed(self, chunks: Iterable[tuple[int, bytes]]) -> None:
        """Take in what arrived."""
        for at_ms, data in chunks:
            self.size += len(data)
            self._take(self._reader.feed(at_ms, data))

    def converse(
        self, client: Iterable[tuple[int, bytes]], server: Sequence[tuple[int, bytes]]
    ) -> None:
        """Take in what either side of a session said, by the time it did."""
        self.size += sum(len(data) for _, data in server)
        self._take(session_events(client, server))

    def close(self) -> None:
        """The stream is over."""
        self._take(self._reader.close())
        self.notes = self._reader.notes

    @property
    def keep_alives(self) -> int:
        """Comments, which are no events."""
        return self._reader.comments

    def _take(self, events: list[Event]) -> None:
        self.events += events
        if self._collector is None or self._failed:
            return
        try:
            for event in events:
                if not event.from_client:
                    self._collector.feed(event)
        except (
            Exception
        ) as error:  # a collector promises not to raise; the screen must not die of it
            self._failed = f"{type(error).__name__}: {error}"

    def outcome(self) -> Outcome:
        """The message as far as it came."""
        if self._collector is None or self._failed:
            return Outcome(None, None, True)
        try:
            return self._collector.outcome()
        except Exception as error:  # as in _take
            self._failed = f"{type(error).__name__}: {error}"
            return Outcome(None, None, True)

    def banners(self, outcome: Outcome, *, live: bool = False) -> list[Block]:
        """What stands above the answer. While it streams, a missing end is no fault."""
        found: list[Block] = []
        if self._failed:
            found.append(banner(f"Could not collect stream: {self._failed}"))
        elif self._collector is None:
            found.append(dim(f"No collector for {self._where} — showing events."))
        elif outcome.error is not None:
            found.append(banner(f"Stream error: {outcome.error}"))
        elif outcome.truncated and not live:
            found.append(banner(CUT_SESSION if self.session else TRUNCATED, "banner-warning"))
        if self._collector is not None and outcome.result is None and not live:
            found.append(dim(NOTHING))
        return found

    def remarks(self, outcome: Outcome) -> list[Block]:
        """What stands below it: what was not understood."""
        return [dim(f"▲ {text}") for text in (*outcome.warnings, *self.notes)]


def collected(stream: Stream, secrets: tuple[str, ...], *, live: bool = False) -> list[Block]:
    """The folded answer, to be read."""
    outcome = stream.outcome()
    made = stream.banners(outcome, live=live)
    if not stream.folds:
        return [*made, *event_blocks(stream.events, secrets, both=stream.session)]
    if outcome.result is not None:
        made += answer.blocks(answer.parts(stream.protocol, outcome.result), secrets)
    if not live:
        made += stream.remarks(outcome)
    return made


def collected_json(stream: Stream, secrets: tuple[str, ...]) -> list[Block]:
    """The folded answer as JSON."""
    outcome = stream.outcome()
    made = stream.banners(outcome)
    if outcome.result is not None:
        made.append(json_text.block(mask_all(json_text.pretty(outcome.result), secrets)))
    return [*made, *stream.remarks(outcome)]


def event_blocks(
    events: Sequence[Event], secrets: tuple[str, ...] = (), *, both: bool = False
) -> list[Block]:
    """Each event: when, its name, its data as JSON or as it came; where there are those of both
    sides, whose it is."""
    lines: list[str] = []
    headings: dict[int, tuple[Span, ...]] = {}
    for event in events:
        when = f"+{event.at_ms:,}ms"
        name = escape(event.name) if event.name is not None else UNLABELED
        if both:
            name = f"{CLIENT if event.from_client else SERVER} {name}"
        column = max(10, len(when) + 2)
        tone = "label" if event.name is not None else "dim"
        headings[len(lines)] = (
            Span(0, len(when), "dim"),
            Span(column, column + len(name), tone),
        )
        lines.append(f"{when:<{column}}{name}")
        value = parse(event.data)
        text = event.data if value is INVALID else json_text.pretty(value)
        lines += ["  " + line for line in escape_lines(mask_all(text, secrets))]
    return [EventBlock(lines, headings)] if lines else [dim("No events.")]


class EventBlock(TextBlock):
    """Lines of events: headings among JSON."""

    def __init__(self, texts: Sequence[str], headings: dict[int, tuple[Span, ...]]) -> None:
        super().__init__(texts, json_text.highlight, hang=4)
        self._headings = headings

    def piece(self, index: int, start: int, end: int) -> Line:
        """As tui.document.lines.Block says."""
        spans = self._headings.get(index)
        if spans is None:
            return super().piece(index, start, end)
        return SpanBlock([Line(self.texts[index], spans)]).piece(0, start, end)


def sse_text(events: Iterable[Event]) -> str:
    """The events as SSE: what is copied from their view."""
    frames = []
    for event in events:
        lines = [": the client's"] if event.from_client else []
        if event.name is not None:
            lines.append(f"event: {event.name}")
        lines += [f"data: {line}" for line in event.data.split("\n")]
        frames.append("\n".join(lines) + "\n")
    return "\n".join(frames)


def raw_blocks(data: bytes, secrets: tuple[str, ...]) -> list[Block]:
    """The bytes of a text stream as they are; what is no UTF-8 shows as escapes."""
    text = data.decode("utf-8", "backslashreplace")
    return [TextBlock(escape_lines(mask_all(text, secrets)), plain)]


def json_or_error(outcome: Outcome) -> str:
    """What is copied from the collected view."""
    if outcome.result is not None:
        return json_text.pretty(outcome.result)
    return outcome.error or ""


def as_text(data: bytes) -> str:
    """Bytes to be copied: text, or base64 where they are none."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return base64.b64encode(data).decode()
