"""What is put on a message's `stream`: passes each chunk on, hashes it, keeps a copy. Pure but for its clock.

What mitmproxy does with the callable (proxy/layers/http): it calls it for each chunk, and with
`b""` once at the end of a message that became whole, never on an abort. It sends a returned
`bytes` as it is and iterates over anything else. Nothing guards the call: an exception loses
the chunk and crashes the connection's layer, a `bytearray` is iterated as ints, and `b""` in
the middle of a chunked body ends that body for the receiver. So the tap is total: it cannot
raise, and of an empty chunk it makes no chunk at all.

The end of a message is not taken from the empty call, since an HTTP/2 peer may send an empty
DATA frame in mid-stream; the `request` and `response` hooks tell it.
"""

from collections.abc import Callable, Iterable
from time import monotonic_ns

from addon.meter import Meter

type Chunks = bytes | Iterable[bytes]
type Stream = Callable[[bytes], Chunks]


class Tap:
    """One direction of one exchange.

    The bytes are kept verbatim: content-encoding, credentials, chunk by chunk as they came.
    Do not decode, parse, redact or join here. It would cost the client time on mitmproxy's
    only loop, and what was changed at the source can never be had back; decoding, folding and
    masking are the reader's.
    """

    __slots__ = ("_add", "_failed", "_keep", "_started_ns", "last_ms", "meter", "seen")

    def __init__(
        self,
        keep: Callable[[int, bytes], None],
        started_ns: int,
        failed: Callable[[BaseException], None],
    ) -> None:
        """`keep(at_ms, chunk)` takes each chunk; `failed` hears of what it raised, after which
        nothing more is kept: what is there is a prefix, never a body with a hole."""
        self._keep = keep
        self._started_ns = started_ns
        """`time.monotonic_ns()` at the exchange's begin."""
        self._failed = failed
        self.last_ms = 0
        """When the last chunk passed, milliseconds since the begin."""
        self.seen = False
        """Any chunk has passed."""
        self.meter = Meter()
        """Every chunk that has passed, kept or not."""
        self._add = self.meter.add

    def __call__(self, data: bytes) -> Chunks:
        """The chunk itself; nothing for an empty one."""
        if not data:
            return ()
        try:
            if not isinstance(data, bytes):
                data = bytes(data)
            self._add(data)
            self.seen = True
            self.last_ms = at_ms = (monotonic_ns() - self._started_ns) // 1_000_000
            self._keep(at_ms, data)
        except Exception as error:  # The traffic must not stop for the recorder.
            self._keep = _drop
            try:
                self._failed(error)
            except Exception:
                return data
        return data


def _drop(at_ms: int, data: bytes) -> None:
    """What takes the chunks once something was lost."""


def before(tap: Tap, inner: Stream) -> Stream:
    """For a request that another addon already streams: the tap sees what the client sent."""

    def stream(data: bytes) -> Chunks:
        tap(data)
        return inner(data)

    return stream


def after(inner: Stream, tap: Tap) -> Stream:
    """For a response that another addon already streams: the tap sees what the client gets."""

    def stream(data: bytes) -> Chunks:
        chunks = inner(data)
        if isinstance(chunks, bytes):
            return tap(chunks)
        kept: list[bytes] = []
        for chunk in chunks:
            kept.extend(_listed(tap(chunk)))
        return kept

    return stream


def _listed(chunks: Chunks) -> Iterable[bytes]:
    return (chunks,) if isinstance(chunks, bytes) else chunks
