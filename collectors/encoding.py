"""Content-encodings undone, incrementally and within a bound.

Pure. A stream that was cut gives what it held, a bomb stops at the limit, an encoding nobody knows
gives the bytes as they are; all three leave a note and none raises.
"""

import zlib
from collections.abc import Callable
from typing import Final, Protocol

import brotli
import zstandard

DEFAULT_LIMIT: Final = 256 * 2**20
"""Decoded bytes; 1 MB of zeros in brotli is 13 bytes on the wire, so some bound there must be."""

MAX_STACK: Final = 4
"""Encodings one over the other; HTTP sets no bound, nobody uses more than two."""

_STEP: Final = 65536
"""Bytes decoded at once, so that a limit is passed by at most this much."""


class _Bad(Exception):
    """The bytes are not of that encoding; what had been decoded before is kept."""

    def __init__(self, decoded: bytes, why: object) -> None:
        super().__init__()
        self.decoded = decoded
        self.why = " ".join(str(why).split())


class _Stage(Protocol):
    def feed(self, data: bytes, limit: int) -> bytes:
        """What `data` decodes to, at most about `limit` bytes; more waits for the next call."""

    @property
    def waiting(self) -> bool:
        """There is input that the limit kept from being decoded."""

    @property
    def whole(self) -> bool:
        """The encoded stream reached its own end."""


class _Zlib:
    """gzip (any number of members) and deflate (with zlib's header, or without as some send it)."""

    def __init__(self, kind: str) -> None:
        self._gzip = kind == "gzip"
        self._object = zlib.decompressobj(31 if self._gzip else 15)
        self._started = False
        self._rest = b""
        self.whole = False

    @property
    def waiting(self) -> bool:
        return bool(self._rest)

    def feed(self, data: bytes, limit: int) -> bytes:
        out: list[bytes] = []
        size = 0
        data = self._rest + data
        self._rest = b""
        while data and size < limit:
            if self._object.eof:
                # Another gzip member; anything else after the end is padding.
                if not self._gzip or not data.startswith(b"\x1f"):
                    return b"".join(out)
                self._object = zlib.decompressobj(31)
            if not self._started and not self._gzip:
                if not _is_zlib_header(data):
                    if len(data) < 2:
                        self._rest = data
                        break
                    self._object = zlib.decompressobj(-15)
                self._started = True
            try:
                piece = self._object.decompress(data, limit - size)
            except zlib.error as error:
                raise _Bad(b"".join(out), error) from None
            data = self._object.unused_data or self._object.unconsumed_tail
            out.append(piece)
            size += len(piece)
            self.whole = self._object.eof
            if not piece and not self._object.eof and not data:
                break
        else:
            self._rest = data
        return b"".join(out)


def _is_zlib_header(data: bytes) -> bool:
    return len(data) >= 2 and data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0


class _Brotli:
    def __init__(self) -> None:
        self._object = brotli.Decompressor()
        self._rest = b""
        self.waiting = False

    @property
    def whole(self) -> bool:
        return bool(self._object.is_finished())

    def feed(self, data: bytes, limit: int) -> bytes:
        out: list[bytes] = []
        size = 0
        self._rest += data
        try:
            while size < limit and not self._object.is_finished():
                # Output may wait inside (always 32 KB at most are given at once): while it must,
                # no input is taken; and when none is left, asking with none gives the last of it.
                piece = b""
                if self._object.can_accept_more_data():
                    piece, self._rest = self._rest, b""
                decoded = self._object.process(piece, output_buffer_limit=limit - size)
                if not decoded and not piece:
                    self.waiting = False
                    return b"".join(out)
                out.append(decoded)
                size += len(decoded)
        except brotli.error as error:
            raise _Bad(b"".join(out), error) from None
        self.waiting = not self._object.is_finished()
        return b"".join(out)


def _zstd() -> "zstandard.ZstdDecompressionObj":
    # A decompressor of its own for each: objects of one share its state. RFC 8878 asks decoders
    # for 8 MB of window; archives made with --long use 128.
    return zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()


class _Zstd:
    """Frames one after another, as the format allows."""

    _PIECE = 128
    """Input bytes at once: the decoder has no bound on its output, but a block gives at most
    128 KB and takes at least four bytes, so a piece gives at most 4 MB."""

    def __init__(self) -> None:
        self._object = _zstd()
        self._rest = b""
        self.whole = False

    @property
    def waiting(self) -> bool:
        return bool(self._rest)

    def feed(self, data: bytes, limit: int) -> bytes:
        out: list[bytes] = []
        size = at = 0
        data = self._rest + data if self._rest else data
        self._rest = b""
        while at < len(data) and size < limit:
            if self._object.eof:
                self._object = _zstd()
            piece = data[at : at + self._PIECE]
            at += len(piece)
            try:
                decoded = self._object.decompress(piece)
            except zstandard.ZstdError as error:
                raise _Bad(b"".join(out), error) from None
            self.whole = self._object.eof
            if self.whole:
                at -= len(self._object.unused_data)
            out.append(decoded)
            size += len(decoded)
        self._rest = data[at:]
        return b"".join(out)


_STAGES: Final[dict[str, Callable[[], _Stage]]] = {
    "gzip": lambda: _Zlib("gzip"),
    "x-gzip": lambda: _Zlib("gzip"),
    "deflate": lambda: _Zlib("deflate"),
    "br": _Brotli,
    "zstd": _Zstd,
}
"""One row an encoding; identity is none."""


class Decoder:
    """One response's bytes on the wire in, its decoded bytes out."""

    def __init__(self, content_encoding: str | None, *, limit: int = DEFAULT_LIMIT) -> None:
        self.note: str | None = None
        """What went wrong, one line: unknown encoding, bad bytes, cut, over the limit."""
        names = [
            name
            for name in (part.strip().lower() for part in (content_encoding or "").split(","))
            if name not in ("", "identity", "none")
        ]
        self._stages: list[tuple[str, _Stage]] = []
        if len(names) > MAX_STACK:
            self.note = f"more than {MAX_STACK} content-encodings, shown as sent"
        elif unknown := next((name for name in names if name not in _STAGES), None):
            self.note = f"content-encoding {unknown[:40]!r} is not known, shown as sent"
        else:
            # The header names them in the order they were applied; the last comes off first.
            self._stages = [(name, _STAGES[name]()) for name in reversed(names)]
        self._left = limit
        self._limit = limit
        self._fed = False
        self._stopped = False

    def feed(self, data: bytes) -> bytes:
        """What `data` decodes to; b"" once something went wrong."""
        if self._stopped or not data:
            return b""
        self._fed = True
        if not self._stages:
            return self._take(data)
        out: list[bytes] = []
        # In slices: a stage whose output is full keeps the rest of its input, and copying that
        # again and again must not grow with the body.
        for at in range(0, len(data), _STEP):
            piece = data[at : at + _STEP]
            while not self._stopped:
                decoded, moved = self._pass(piece)
                if decoded:
                    out.append(self._take(decoded))
                piece = b""
                # Done when nothing moved: what still waits then waits for more input.
                if not moved or not any(stage.waiting for _, stage in self._stages):
                    break
        return b"".join(out)

    def _pass(self, data: bytes) -> tuple[bytes, bool]:
        """The bytes through all stages, each giving about _STEP bytes, and whether any gave some."""
        moved = False
        for name, stage in self._stages:
            try:
                data = stage.feed(data, _STEP)
            except _Bad as bad:
                # What this stage gave before it broke still goes through the others.
                self._stopped = True
                self.note = f"not {name} ({bad.why}), shown as far as it could be decoded"
                data = bad.decoded
            moved = moved or bool(data)
        return data, moved

    def _take(self, data: bytes) -> bytes:
        if len(data) > self._left:
            self._stopped = True
            self.note = f"decoded to more than {self._limit} bytes, the rest is not shown"
            data = data[: self._left]
        self._left -= len(data)
        return data

    def close(self) -> bytes:
        """The last bytes; the note says if the encoded stream did not reach its end."""
        if not self._stopped and self._fed:
            cut = next((name for name, stage in self._stages if not stage.whole), None)
            if cut is not None:
                self.note = f"the {cut} stream ends early"
        self._stopped = True
        return b""


def decode_body(
    data: bytes, content_encoding: str | None, limit: int = DEFAULT_LIMIT
) -> tuple[bytes, str | None]:
    """The body decoded as far as it can be, and a note (one line) if that is not all of it."""
    decoder = Decoder(content_encoding, limit=limit)
    decoded = decoder.feed(data) + decoder.close()
    return decoded, decoder.note
