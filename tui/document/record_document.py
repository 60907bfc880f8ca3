"""A record as four sections, with how each body is viewed and what is revealed. Pure.

Made where the screen does not wait (decoding and parsing take time); views that were not made
yet are shown raw until `build` made them. What is revealed dies with the document.
"""

from collections.abc import Sequence

from collectors.protocol import is_streamed
from store import masks
from store.record import Record, header
from tui import format as show
from tui.document import answer, json_text, response
from tui.document.content import Content, base64_lines, read
from tui.document.headers import HeaderBlock
from tui.document.lines import Block, Line, Section, Span, TextBlock, plain
from tui.document.names import (
    BODIES,
    COLLECTED,
    EVENTS,
    JSON,
    RAW,
    REQUEST_BODY,
    REQUEST_HEADERS,
    RESPONSE_BODY,
    TEXT,
)
from tui.document.response import Stream, banner, dim
from tui.document.turn import WARM_UP, is_session, request_bytes, response_bytes, warms_up
from tui.safe_text import escape, escape_lines

LARGE = 256 * 1024
"""Bytes from which a body is shown raw first: below, formatting takes a frame or less."""


_AS_IT_CAME = "as it came"


class RecordDocument:
    """What the detail shows of one record."""

    def __init__(self, record: Record, *, live: bool = False) -> None:
        """Reads the bodies; a large one is not formatted yet."""
        self.record = record
        self.meta = record.meta
        self.live = live
        self._warms_up = warms_up(record)
        self.secrets = masks.credentials(record.request.headers, record.request.path)
        self.request_headers = HeaderBlock(record.request.headers, self.secrets)
        self.response_headers: HeaderBlock | None = None
        self.stream: Stream | None = None
        self._taken = 0
        """Chunks of the response, and of a session's client, that are in the stream."""
        self._heard = 0
        self._unmasked: set[int] = set()
        self._blocks: dict[tuple[int, str, bool], list[Block]] = {}
        self._contents: dict[int, Content] = {
            REQUEST_BODY: read(
                request_bytes(record), record.request.headers, "request", self.secrets
            )
        }
        if record.response is not None:
            self.response_headers = HeaderBlock(record.response.headers, self.secrets)
            kind = header(record.response.headers, b"content-type")
            said = kind.decode("latin-1") if kind else None
            status = record.response.status
            if self.meta.streamed or is_streamed(said, self.meta.path, status):
                self._open_stream(record)
            else:
                self._contents[RESPONSE_BODY] = read(
                    record.response_body.data, record.response.headers, "response", self.secrets
                )
        self.view: dict[int, str] = {number: self.views(number)[0] for number in BODIES}
        for number in BODIES:
            if len(self._wire(number)) <= LARGE:
                self.build(number, self.view[number])
            else:
                self._as_it_came(number)

    def _as_it_came(self, number: int) -> None:
        """What stands there until a large body's view is made."""
        content = self._contents.get(number)
        key = (number, _AS_IT_CAME, False)
        if content is None or content.text is None or content.masks:
            # A text with the credential in it is not shown before it was masked.
            self._blocks[key] = [dim("Formatting…")]
        else:
            self._blocks[key] = [TextBlock(escape_lines(content.text), plain)]

    def _open_stream(self, record: Record) -> None:
        assert record.response is not None  # noqa: S101
        where = f"{self.meta.method} {masks.mask_path(self.meta.path)}"
        protocol = response.protocol_of(self.meta)
        session = is_session(record)
        self.stream = Stream(
            protocol,
            record.response.headers,
            where,
            status=record.response.status,
            session=session,
        )
        server = record.response_body.chunks()
        if session:
            self.stream.converse(record.request_body.chunks(), list(server))
        else:
            self.stream.feed(server)
        self._taken = len(record.response_body.arrivals)
        self._heard = len(record.request_body.arrivals)
        if not self.live:
            self.stream.close()

    def _wire(self, number: int) -> bytes:
        body = self.record.request_body if number == REQUEST_BODY else self.record.response_body
        return body.data

    # -- while in flight -------------------------------------------------------------------

    def grow(
        self, chunks: Sequence[tuple[int, bytes]], client: Sequence[tuple[int, bytes]] = ()
    ) -> bool:
        """Take in the chunks of a stream in flight (all of them, from the first), of a session also
        the client's; True if it grew."""
        if self.stream is None:
            return False
        if self.stream.session:
            if len(chunks) <= self._taken and len(client) <= self._heard:
                return False
            self.stream.converse(client[self._heard :], chunks[self._taken :])
            self._heard = len(client)
        elif len(chunks) <= self._taken:
            return False
        else:
            self.stream.feed(chunks[self._taken :])
        self._taken = len(chunks)
        # Made before the old ones are let go: the screen reads them from another thread.
        view = self.view[RESPONSE_BODY]
        key = self._key(RESPONSE_BODY, view)
        self._blocks[key] = self._make(RESPONSE_BODY, view, () if key[2] else self.secrets)
        for other in [one for one in self._blocks if one[0] == RESPONSE_BODY and one != key]:
            self._blocks.pop(other, None)
        return True

    def adopt(self, old: "RecordDocument") -> None:
        """Be seen as another document of the same record was: its views, what it revealed."""
        self._unmasked = set(old._unmasked)
        for number in BODIES:
            if old.view[number] in self.views(number):
                self.view[number] = old.view[number]
            if len(self._wire(number)) <= LARGE:
                self.build(number, self.view[number])
        self.request_headers.adopt(old.request_headers)
        if self.response_headers is not None and old.response_headers is not None:
            self.response_headers.adopt(old.response_headers)

    # -- views -------------------------------------------------------------------------------

    def views(self, number: int) -> tuple[str, ...]:
        """The ways to see a body, the first is the one it opens with."""
        if number == RESPONSE_BODY and self.stream is not None:
            views: tuple[str, ...] = (COLLECTED, JSON, EVENTS, RAW)
            if not self.stream.folds:
                views = (EVENTS, RAW)
            return (*views[:-1],) if self.live else views
        content = self._contents.get(number)
        if content is None or content.text is None:
            return (TEXT,)
        return (JSON, RAW) if content.text.lstrip()[:1] in ("{", "[") else (TEXT,)

    def built(self, number: int) -> bool:
        """The view that is wanted can be shown."""
        return self._key(number, self.view[number]) in self._blocks

    def build(self, number: int, view: str) -> None:
        """Make a view; may take long for a large body."""
        key = self._key(number, view)
        if key not in self._blocks:
            self._blocks[key] = self._make(number, view, () if key[2] else self.secrets)

    def reveals(self, number: int) -> bool:
        """Whether a body's secrets are shown."""
        return number in self._unmasked

    def toggle_body(self, number: int) -> None:
        """Reveal or mask what of the credential is in a body."""
        self._unmasked ^= {number}

    def _key(self, number: int, view: str) -> tuple[int, str, bool]:
        return number, view, number in self._unmasked

    def _make(self, number: int, view: str, secrets: tuple[str, ...]) -> list[Block]:
        if number == RESPONSE_BODY and self.stream is not None:
            if view == COLLECTED:
                return response.collected(self.stream, secrets, live=self.live)
            if view == JSON:
                return response.collected_json(self.stream, secrets)
            if view == EVENTS:
                lead = [] if self.stream.folds else self._stream_banners()
                both = self.stream.session
                return [*lead, *response.event_blocks(self.stream.events, secrets, both=both)]
            return response.raw_blocks(response_bytes(self.record), secrets)
        content = self._contents.get(number)
        if content is None:
            said = [banner(self.meta.error)] if self.meta.error else []
            waiting = "Waiting for the response…" if self.live else response.NO_BODY
            return [dim(waiting), *said]
        return self._body(number, content, view, secrets)

    def _stream_banners(self) -> list[Block]:
        assert self.stream is not None  # noqa: S101
        return self.stream.banners(self.stream.outcome())

    def _body(
        self, number: int, content: Content, view: str, secrets: tuple[str, ...]
    ) -> list[Block]:
        made: list[Block] = [banner(text, "banner-warning") for text in content.notices]
        if number == RESPONSE_BODY and self.meta.error and not self.live:
            made.append(banner(self.meta.error))
        if not content.wire:
            receiving = "Receiving…" if self.live else "The body is empty."
            return [*made, dim(receiving)]
        if view == RAW and content.encoding:
            return [*made, TextBlock(base64_lines(content.wire), plain)]
        if content.text is None:
            return [*made, TextBlock(base64_lines(content.data), plain)]
        text = content.text
        if view == JSON and (pretty := json_text.pretty_text(text)) is not None:
            return [*made, json_text.block(masks.mask_all(pretty, secrets))]
        return [*made, TextBlock(escape_lines(masks.mask_all(text, secrets)), plain)]

    # -- sections ------------------------------------------------------------------------------

    def sections(self) -> list[Section]:
        """The four, as they are to be shown now."""
        return [
            self._request_headers(),
            self._body_section(REQUEST_BODY, "REQUEST BODY", self._request_right()),
            self._response_headers(),
            self._body_section(RESPONSE_BODY, "RESPONSE BODY", self._response_right()),
        ]

    def _request_headers(self) -> Section:
        request = self.record.request
        default = {"http": 80, "https": 443}.get(request.scheme)
        port = "" if request.port == default else f":{request.port}"
        url = escape(f"{request.scheme}://{request.host}{port}{masks.mask_path(request.path)}")
        method = escape(request.method)
        about = Line(
            f"{method} {url}",
            (Span(0, len(method), "strong"), Span(len(method), len(method) + 1 + len(url), "dim")),
        )
        right = show.plural(len(self.request_headers), "row")
        return Section(1, "REQUEST HEADERS", (about,), (right,), blocks=[self.request_headers])

    def _response_headers(self) -> Section:
        answered = self.record.response
        if answered is None or self.response_headers is None:
            word = "waiting" if self.live else "No response"
            tone = "dim" if self.live else "error"
            return Section(3, "RESPONSE HEADERS", (Line(word, (Span(0, len(word), tone),)),))
        status = escape(f"{answered.status} {answered.reason}".strip())
        tone = str(show.status_tone(answered.status))
        times = []
        if self.meta.ttft_ms is not None:
            times.append(f"ttft {show.duration(self.meta.ttft_ms)}")
        if self.meta.duration_ms is not None:
            times.append(f"total {show.duration(self.meta.duration_ms)}")
        timing = "   ".join(times)
        about = (
            Line(status, (Span(0, len(status), tone),)),
            Line(timing, (Span(0, len(timing), "dim"),)),
        )
        right = show.plural(len(self.response_headers), "row")
        return Section(3, "RESPONSE HEADERS", about, (right,), blocks=[self.response_headers])

    def _body_section(self, number: int, title: str, right: tuple[str, ...]) -> Section:
        views, view = self.views(number), self.view[number]
        blocks = self._blocks.get(self._key(number, view))
        if blocks is None:
            blocks = self._blocks.get((number, _AS_IT_CAME, False)) or [dim("Formatting…")]
        labels = {name: name for name in views}
        if EVENTS in labels and self.stream is not None:
            labels[EVENTS] = f"events {show.thousands(len(self.stream.events))}"
        several = len(views) > 1
        return Section(
            number,
            title,
            right=right,
            views=tuple(labels.values()) if several else (),
            view=labels[view] if several else "",
            blocks=blocks,
        )

    def _request_right(self) -> tuple[str, ...]:
        content = self._contents[REQUEST_BODY]
        said = (WARM_UP,) if self._warms_up else ()
        return (*said, content.sizes) if content.wire else ()

    def _response_right(self) -> tuple[str, ...]:
        told = []
        if self.stream is not None and not self.live and self.stream.folds:
            result = self.stream.outcome().result
            if result is not None:
                told.append(escape(answer.stop_reason(self.stream.protocol, result)))
        meta = self.meta
        if meta.input_tokens is not None:
            told.append(f"in {show.tokens(meta.input_tokens)}")
        if meta.cache_read_tokens:
            told.append(f"cache {show.tokens(meta.cache_read_tokens)}")
        if meta.output_tokens is not None:
            told.append(f"out {show.tokens(meta.output_tokens)}")
        content = self._contents.get(RESPONSE_BODY)
        if content is not None:
            told.append(content.sizes if content.wire else "")
        elif self.stream is not None:
            told.append(show.size(self.stream.size))
        return tuple(part for part in told if part)

    # -- copying -------------------------------------------------------------------------------

    def headers(self, number: int) -> HeaderBlock | None:
        """The rows of a header section."""
        return self.request_headers if number == REQUEST_HEADERS else self.response_headers

    def copied(self, number: int) -> tuple[str, int]:
        """(what is copied from a section as it is viewed, secrets masked in it).

        The true text, not the escapes on screen; masked where it is masked on screen.
        """
        if number not in BODIES:
            rows = self.headers(number)
            if rows is None:
                return "", 0
            return "\n".join(rows.copied(row) for row in range(len(rows))), rows.hidden
        text = self._copied_body(number)
        if self.reveals(number):
            return text, 0
        found = sum(secret in text for secret in self.secrets)
        return masks.mask_all(text, self.secrets), found

    def _copied_body(self, number: int) -> str:
        view = self.view[number]
        if number == RESPONSE_BODY and self.stream is not None:
            if view == EVENTS:
                return response.sse_text(self.stream.events)
            if view in (COLLECTED, JSON):
                return response.json_or_error(self.stream.outcome())
            return response.as_text(response_bytes(self.record))
        content = self._contents.get(number)
        if content is None:
            return self.meta.error or ""
        if view == RAW:
            return response.as_text(content.wire)
        if view == JSON and content.text is not None:
            return json_text.pretty_text(content.text) or content.text
        return response.as_text(content.data)
