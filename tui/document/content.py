"""A body's bytes as text: content-encoding undone, UTF-8 or else said so. Pure.

Slow for large bodies (decoding, parsing): called where the screen does not wait for it.
"""

import base64
from dataclasses import dataclass, field

from collectors.encoding import decode_body
from store.masks import mask_all
from store.record import Headers, header
from tui.format import size

BASE64_LINE = 76
"""Characters a line, as MIME has it."""

BINARY_SHOWN = 64 * 1024
"""Bytes of a binary body that are shown; the rest is copied, not read."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a body says, and what there is to say about it."""

    wire: bytes
    """As captured."""
    data: bytes
    """Decoded."""
    text: str | None
    """None: not UTF-8."""
    notices: tuple[str, ...] = ()
    """What could not be done with it, a line each."""
    encoding: str = ""
    """The content-encoding that was undone."""
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def sizes(self) -> str:
        """`409 KB`, or `gzip 12 KB → 88 KB`."""
        if self.encoding:
            return f"{self.encoding} {size(len(self.wire))} → {size(len(self.data))}"
        return size(len(self.wire))

    def shown(self, *, revealed: bool = False) -> str:
        """The text with the credential masked wherever it stands, unless revealed."""
        return self.text or "" if revealed else mask_all(self.text or "", self.secrets)

    @property
    def masks(self) -> bool:
        """There is a credential in the text."""
        return self.text is not None and any(secret in self.text for secret in self.secrets)


def read(wire: bytes, headers: Headers, what: str, secrets: tuple[str, ...] = ()) -> Content:
    """A body and its headers; `what` is "request" or "response", for the notices."""
    raw = header(headers, b"content-encoding")
    encoding = raw.decode("latin-1").strip() if raw else ""
    data, note = decode_body(wire, encoding) if encoding else (wire, None)
    notices = [note] if note else []
    if data is wire or data == wire:
        encoding = ""
    text: str | None = None
    try:
        text = data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        reason = f"not valid UTF-8 at byte {error.start:,}"
        notices.append(f"Could not decode the {what} body ({reason}); showing raw base64 below.")
    return Content(wire, data, text, tuple(notices), encoding, secrets)


def base64_lines(data: bytes) -> list[str]:
    """The bytes as base64, at most BINARY_SHOWN of them; a last line says what is left out."""
    text = base64.b64encode(data[:BINARY_SHOWN]).decode()
    lines = [text[at : at + BASE64_LINE] for at in range(0, len(text), BASE64_LINE)]
    if len(data) > BINARY_SHOWN:
        lines.append(f"… {size(len(data) - BINARY_SHOWN)} more")
    return lines
