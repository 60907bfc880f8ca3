"""What is stored of an exchange, held against what passed the proxy and against what a client saved. Pure.

Three witnesses of one body: the record, the count and hash taken where the proxy handed the
bytes on (Record.wire, apart from what was kept of them), and a file. Each of the others is
compared with the record. What one of them cannot tell, the other may; where neither can, that
is said, and never taken for agreement.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from collectors.encoding import decode_body
from store.record import Body, Headers, Passed, Record, State, Transport, header

_BLOCK = 64 * 1024


class Result(StrEnum):
    """What a comparison came to, from the best to the worst."""

    SAME = "same"
    UNKNOWN = "unknown"
    """It cannot be told: the exchange is in flight, or its proxy did not live to say what passed."""
    PREFIX = "prefix"
    """What is stored is what passed up to some byte, and the rest is missing."""
    DIFFERS = "differs"


_WORST_FIRST = tuple(reversed(Result))


@dataclass(frozen=True, slots=True)
class Direction:
    """One body of a record, compared."""

    result: Result
    why: str
    """One line on what is not the same, or on what could not be compared; "" where all agrees."""
    stored: Passed
    passed: Passed | None
    """As the proxy counted it; None where it is not told."""
    file: Passed | None = None
    decoded: bool = False
    """The file was compared with the stored body after its content-encoding was undone."""
    first_difference: int | None = None
    """The first byte in which the file differs: of the decoded body where `decoded`."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Both directions of a record."""

    request: Direction
    response: Direction

    @property
    def result(self) -> Result:
        """The worse of the two."""
        return _worst((self.request.result, self.response.result))


def verify(
    record: Record, request_file: bytes | None = None, response_file: bytes | None = None
) -> Verification:
    """Compare a record with what passed, and where they are given with bodies a client saved.

    A file may hold a body as on the wire or with its content-encoding undone.
    """
    wire = record.wire
    silence = _silence(record)
    missing = 0
    if wire is not None:
        bodies = ((wire.request, record.request_body), (wire.response, record.response_body))
        missing = sum(max(0, passed.bytes - len(body.data)) for passed, body in bodies)
    # A recorder that failed could not count either.
    told = missing == record.meta.lost_bytes or record.meta.transport is Transport.RECORDER_FAILED
    response_headers = () if record.response is None else record.response.headers
    return Verification(
        _direction(
            record.request_body,
            None if wire is None else wire.request,
            request_file,
            record.request.headers,
            silence,
            told=told,
        ),
        _direction(
            record.response_body,
            None if wire is None else wire.response,
            response_file,
            response_headers,
            silence,
            told=told,
        ),
    )


def counted(chunks: Iterable[bytes]) -> Passed:
    """Bytes counted and hashed as a proxy does."""
    digest = hashlib.sha256()
    size = 0
    for data in chunks:
        digest.update(data)
        size += len(data)
    return Passed(size, digest.hexdigest())


def first_difference(one: bytes, other: bytes) -> int | None:
    """Where two texts of bytes differ first, the end of the shorter if it begins the longer; None: nowhere."""
    if one == other:
        return None
    end = min(len(one), len(other))
    for at in range(0, end, _BLOCK):
        left, right = one[at : at + _BLOCK], other[at : at + _BLOCK]
        if left[: end - at] != right[: end - at]:
            return at + next(i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b)
    return end


@dataclass(frozen=True, slots=True)
class _Said:
    """What one witness says of a stored body."""

    result: Result
    why: str = ""
    decoded: bool = False
    first_difference: int | None = None


def _direction(
    body: Body,
    passed: Passed | None,
    file: bytes | None,
    headers: Headers,
    silence: str,
    *,
    told: bool,
) -> Direction:
    # By its chunks: what is shown of a stream is cut out of the body by their lengths.
    stored = counted(data for _, data in body.chunks())
    arrived = sum(length for _, length in body.arrivals)
    if arrived != len(body.data):
        said = [
            _Said(
                Result.DIFFERS,
                f"the chunks of it that are told of are {arrived} of its {len(body.data)} bytes",
            )
        ]
    elif passed is None:
        said = [_Said(Result.UNKNOWN, silence)]
    else:
        said = [_by_wire(stored, passed, told=told)]
    if file is not None:
        said.append(_by_file(body.data, file, headers))
    by_file = said[-1]
    # Who cannot tell does not count beside one who can.
    telling = [each for each in said if each.result is not Result.UNKNOWN]
    result = _worst(each.result for each in telling) if telling else Result.UNKNOWN
    whys = [each.why for each in telling or said if each.why]
    return Direction(
        result,
        "; ".join(whys),
        stored,
        passed,
        None if file is None else counted((file,)),
        by_file.decoded,
        by_file.first_difference,
    )


def _by_wire(stored: Passed, passed: Passed, *, told: bool) -> _Said:
    if stored == passed:
        return _Said(Result.SAME)
    missing = passed.bytes - stored.bytes
    if missing == 0:
        return _Said(Result.DIFFERS, "as many bytes passed, and not these")
    if missing < 0:
        return _Said(Result.DIFFERS, f"only {passed.bytes} bytes passed")
    if told:
        # Once something is lost nothing after it is kept (store.handover).
        return _Said(Result.PREFIX, f"the last {missing} of {passed.bytes} bytes were lost")
    return _Said(
        Result.DIFFERS, f"{missing} of {passed.bytes} bytes are missing, and no loss was counted"
    )


def _by_file(data: bytes, file: bytes, headers: Headers) -> _Said:
    if file == data:
        return _Said(Result.SAME)
    plain = _compared(data, file, "")
    encoding = header(headers, b"content-encoding")
    if encoding is None:
        return plain
    name = encoding.decode("latin-1").strip()
    decoded, note = decode_body(data, name)
    if decoded == file and decoded:
        if note is None:
            return _Said(Result.SAME, decoded=True)
        return _Said(Result.UNKNOWN, f"the file is what decodes, but {note}", decoded=True)
    if not decoded and note is not None:
        return (
            plain if plain.result is Result.PREFIX else replace(plain, why=f"{plain.why} ({note})")
        )
    after = _compared(decoded, file, f" after decoding {name[:40]}")
    # A file of the one kind has next to nothing in common with the other.
    return after if (after.first_difference or 0) > (plain.first_difference or 0) else plain


def _compared(data: bytes, file: bytes, how: str) -> _Said:
    at = first_difference(data, file)
    if at is None:
        return _Said(Result.SAME, decoded=bool(how))
    if at == len(data):
        why = f"stored are the first {at} of the file's {len(file)} bytes{how}"
        return _Said(Result.PREFIX, why, bool(how), at)
    if at == len(file):
        why = f"the file has only the first {at} of {len(data)} bytes stored{how}"
        return _Said(Result.DIFFERS, why, bool(how), at)
    return _Said(Result.DIFFERS, f"the file differs from byte {at} on{how}", bool(how), at)


def _silence(record: Record) -> str:
    """Why it is not told what passed."""
    if record.meta.state is State.LIVE:
        return "still in flight"
    if record.meta.transport is Transport.RECOVERED:
        return "its proxy was killed before it could say what passed"
    return "it was not said what passed"


def _worst(results: Iterable[Result]) -> Result:
    found = set(results)
    return next(result for result in _WORST_FIRST if result in found)
