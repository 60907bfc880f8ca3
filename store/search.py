"""Looking for a text in what was recorded: newest first, one record at a time, over what a list may show.

Reads by the reader's contract alone, so it searches any backend. A record that is damaged, has
expired or went meanwhile is passed over; the first kind is counted. What an index knows not to
have the text is not read at all.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from collectors.encoding import decode_body
from collectors.protocol import sniff
from collectors.texts import Text, answer_texts, request_texts
from store.contract import PAGE_CAP, Reader
from store.errors import BodyMissing
from store.folded import (
    events_of,
    outcome_of,
    protocol_of,
    request_bytes,
    response_bytes,
    text_header,
)
from store.masks import credentials, mask_all
from store.needle import Needle, Snippet, snippet
from store.record import Headers, Record, RecordMeta

BODY = "body"
"""The kind of a text that is a whole body, where nothing told what of it is to be read."""


class Where(StrEnum):
    """The side of an exchange."""

    IN = "in"
    """What the client sent."""
    OUT = "out"
    """What came back, folded."""


BOTH = (Where.IN, Where.OUT)


@dataclass(frozen=True, slots=True)
class Hit:
    """One side of a record that has the text."""

    meta: RecordMeta
    where: Where
    role: str
    """Whose text it is (collectors.texts), "" of a whole body."""
    kind: str
    """As collectors.texts says, or BODY."""
    new: bool
    """The turn brought it; False where it was only sent again."""
    texts: int
    """How many texts of that side have it. What is shown is the first that is new, else the first."""
    snippet: Snippet


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it has come; told after each record."""

    records: int = 0
    """Done, in whatever way."""
    read: int = 0
    """Of those read."""
    bytes: int = 0
    """Of bodies, as on the wire, that were read."""
    unreadable: int = 0
    """Whose bytes are gone or damaged."""


class Narrowing(Protocol):
    """An index of texts (store.fulltext)."""

    def narrow(self, metas: Sequence[RecordMeta], needle: Needle) -> set[str]:
        """The ids of those that need not be read: they are indexed, and do not have it."""


def search(
    reader: Reader,
    needle: Needle,
    where: Sequence[Where] = BOTH,
    *,
    key_id: str | None = None,
    since_ms: int = 0,
    only_new: bool = False,
    reveal: bool = False,
    narrowing: Narrowing | None = None,
) -> Iterator[Hit | Progress]:
    """Every hit, newest record first, in each record in the order of `where`, and after each record
    how far it has come: between any two it can be left.

    `since_ms`: records that began then or later. `only_new`: texts that the turn brought.
    `reveal`: False masks the request's credential in snippets.
    """
    progress = Progress()
    before: str | None = None
    while page := reader.records(key_id=key_id, before=before, limit=PAGE_CAP):
        needless = set() if narrowing is None else narrowing.narrow(page, needle)
        for meta in page:
            if meta.started_ms < since_ms:
                return
            before = meta.id
            progress = replace(progress, records=progress.records + 1)
            if meta.id not in needless:
                try:
                    record = reader.get(meta.id)
                except BodyMissing:
                    record = None
                    progress = replace(progress, unreadable=progress.unreadable + 1)
                if record is not None:
                    size = len(record.request_body.data) + len(record.response_body.data)
                    progress = replace(
                        progress, read=progress.read + 1, bytes=progress.bytes + size
                    )
                    yield from hits(record, needle, where, only_new=only_new, reveal=reveal)
            yield progress


def hits(
    record: Record,
    needle: Needle,
    where: Sequence[Where] = BOTH,
    *,
    only_new: bool = False,
    reveal: bool = False,
) -> Iterator[Hit]:
    """The sides of one record that have it, one hit each. Pure, and never raises."""
    for side in where:
        first: tuple[Text, tuple[int, int]] | None = None
        count = 0
        for text in _SIDES[side](record, needle.may_be_in):
            found = None if only_new and not text.new else needle.find(text.text)
            if found is not None:
                count += 1
                if first is None or (text.new and not first[0].new):
                    first = (text, found)
        if first is not None:
            text, found = first
            secrets = () if reveal else credentials(record.request.headers, record.request.path)
            # A mask has the length of what it hides: the hit stays where it is.
            shown = snippet(mask_all(text.text, secrets), found)
            yield Hit(record.meta, side, text.role, text.kind, text.new, count, shown)


def texts_in(record: Record, may: Callable[[str], bool] = lambda _: True) -> Iterable[Text]:
    """The request's texts, or its whole body where there is no telling; none if `may` denies the body."""
    raw = _decoded(request_bytes(record), record.request.headers)
    body = raw.decode("utf-8", "replace")
    if not may(body):
        return ()
    return list(request_texts(protocol_of(record), raw)) or _whole(body)


def texts_out(record: Record, may: Callable[[str], bool] = lambda _: True) -> Iterable[Text]:
    """The answer's texts, folded, and the error it ended with; likewise."""
    if record.response is None:
        return ()
    events = events_of(record)
    if events is None:
        raw = _decoded(response_bytes(record), record.response.headers)
        body = raw.decode("utf-8", "replace")
        if not may(body):
            return ()
    outcome = outcome_of(record, events)
    protocol = protocol_of(record) or (sniff(events) if events is not None else None)
    found: list[Text] = []
    if outcome is not None and outcome.result is not None:
        found += answer_texts(protocol, outcome.result)
    if not found:
        if events is not None:
            body = "\n".join(event.data for event in events if not event.from_client)
        return _whole(body)
    if events is not None and outcome is not None and outcome.error:
        found.append(Text("", "error", outcome.error))
    return found


_SIDES: dict[Where, Callable[[Record, Callable[[str], bool]], Iterable[Text]]] = {
    Where.IN: texts_in,
    Where.OUT: texts_out,
}


def _decoded(data: bytes, headers: Headers) -> bytes:
    return decode_body(data, text_header(headers, b"content-encoding"))[0]


def _whole(body: str) -> Iterable[Text]:
    return (Text("", BODY, body),) if body else ()
