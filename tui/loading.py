"""Reading one record for the detail, done or in flight. Runs on a reader's thread; posts nothing.

A record in flight is read from where its writer appends, a step at a time; when it is over
the stored record takes its place.
"""

from store.contract import LiveRecord, Reader
from store.record import State
from tui.document.record_document import RecordDocument


class Loaded:
    """A document, and the part it grows from while in flight."""

    def __init__(self, document: RecordDocument, live: LiveRecord | None = None) -> None:
        self.document = document
        self._live = live

    @property
    def live(self) -> bool:
        """There is more to come."""
        return self.document.live

    def step(self, reader: Reader) -> "Loaded | None":
        """What there is now: itself if nothing changed or the stream grew, another if the record
        is over or its response began; None if it was deleted. Check `grew`.
        """
        self.grew = False
        live = self._live
        if live is None or live.gone:
            # The row may be committed a moment after the part went; get() tells which it is.
            return load(reader, self.document.meta.id)
        if not live.poll():
            return self
        document = self.document
        if document.stream is None:
            fresh = RecordDocument(live.snapshot(), live=True)
            fresh.adopt(document)
            self._live = None
            return Loaded(fresh, live)
        self.grew = document.grow(live.response_chunks, live.request_chunks)
        return self

    grew = False
    """The last step added to the document."""

    def close(self) -> None:
        """Free the part."""
        if self._live is not None:
            self._live.close()
            self._live = None


def load(reader: Reader, record_id: str) -> Loaded | None:
    """A record's document, or None if there is no such record; BodyMissing if its bytes are gone."""
    live = reader.live(record_id)
    if live is not None:
        live.poll()
        return Loaded(RecordDocument(live.snapshot(), live=True), live)
    record = reader.get(record_id)
    if record is None:
        return None
    return Loaded(RecordDocument(record, live=record.meta.state is State.LIVE))
