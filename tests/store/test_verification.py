"""A record held against what passed and what a client saved: same, a prefix, different, or not to be told."""

import gzip
import hashlib
import zlib
from dataclasses import replace

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from store.record import EMPTY, Body, Headers, Passed, Record, State, Transport, Wire
from store.verification import Direction, Result, first_difference, verify
from tests.store.builders import meta, request_head, response_head

ID = "01JX4000000000000000000000"
REQUEST = b'{"model":"m","messages":[]}'
ANSWER = b"event: message_stop\ndata: {}\n\n" * 40


def passed(data: bytes) -> Passed:
    return Passed(len(data), hashlib.sha256(data).hexdigest())


def body(data: bytes, *lengths: int) -> Body:
    """In chunks of those lengths, the rest in one."""
    rest = len(data) - sum(lengths)
    return Body(data, tuple((at, n) for at, n in enumerate((*lengths, rest)) if n))


def record(
    stored: bytes = ANSWER,
    went: bytes | None = ANSWER,
    *,
    lost: int = 0,
    headers: Headers = (),
    transport: Transport = Transport.COMPLETE,
    state: State = State.DONE,
) -> Record:
    """A record whose request is whole; `went` is the response that passed, None: not told."""
    return Record(
        meta=meta(ID, lost_bytes=lost, transport=transport, state=state),
        request=request_head(),
        request_body=body(REQUEST, 5),
        response=response_head(headers=headers),
        response_body=body(stored, *([7, 1] if len(stored) > 8 else [])),
        wire=None if went is None else Wire(passed(REQUEST), passed(went)),
    )


def response_of(found: Record, file: bytes | None = None) -> Direction:
    return verify(found, None, file).response


# -- against what passed ----------------------------------------------------------------------------


def test_what_passed_is_what_is_stored() -> None:
    found = verify(record())
    assert Result.SAME == found.result == found.request.result == found.response.result
    assert passed(REQUEST) == found.request.stored == found.request.passed
    assert passed(ANSWER) == found.response.stored == found.response.passed
    assert ("", None, False, None) == (
        found.response.why,
        found.response.file,
        found.response.decoded,
        found.response.first_difference,
    )


@pytest.mark.parametrize(
    ("found", "result", "why"),
    [
        (record(ANSWER[:-9], lost=9), Result.PREFIX, "the last 9 of 1200 bytes were lost"),
        (record(b"", lost=1200), Result.PREFIX, "the last 1200 of 1200 bytes were lost"),
        (
            record(ANSWER[:9], transport=Transport.RECORDER_FAILED),
            Result.PREFIX,
            "the last 1191 of 1200 bytes were lost",
        ),
        (
            record(ANSWER[:-9]),
            Result.DIFFERS,
            "9 of 1200 bytes are missing, and no loss was counted",
        ),
        (
            record(ANSWER[:-9], lost=8),
            Result.DIFFERS,
            "9 of 1200 bytes are missing, and no loss was counted",
        ),
        (record(ANSWER[::-1]), Result.DIFFERS, "as many bytes passed, and not these"),
        (record(ANSWER + b"."), Result.DIFFERS, "only 1200 bytes passed"),
        (record(went=None, state=State.LIVE), Result.UNKNOWN, "still in flight"),
        (
            record(went=None, transport=Transport.RECOVERED),
            Result.UNKNOWN,
            "its proxy was killed before it could say what passed",
        ),
        (record(went=None), Result.UNKNOWN, "it was not said what passed"),
    ],
)
def test_without_a_file(found: Record, result: Result, why: str) -> None:
    """The proxy's own count is the only other witness."""
    assert (result, why) == (response_of(found).result, response_of(found).why)


def test_the_worse_direction_is_the_records() -> None:
    assert Result.SAME == verify(record(ANSWER[::-1])).request.result
    assert Result.DIFFERS == verify(record(ANSWER[::-1])).result
    assert Result.PREFIX == verify(record(ANSWER[:-1], lost=1)).result


def test_a_record_without_a_response() -> None:
    """None came, none is stored: that is the same."""
    nothing = replace(record(b"", b""), response=None, response_body=EMPTY)
    assert Result.SAME == verify(nothing).result
    assert Result.SAME == verify(nothing, REQUEST, b"").result


@pytest.mark.parametrize("arrivals", [(), ((1, 1199),), ((1, 1200), (2, 1))])
def test_arrivals_that_do_not_sum_up(arrivals: tuple[tuple[int, int], ...]) -> None:
    """What is shown of a stream is cut by them, so the body alone being right is not enough."""
    found = replace(record(), response_body=Body(ANSWER, arrivals))
    assert Result.DIFFERS == response_of(found).result
    assert f"told of are {sum(n for _, n in arrivals)} of its 1200 bytes" in response_of(found).why
    assert Result.DIFFERS == response_of(found, ANSWER).result


# -- against a file ---------------------------------------------------------------------------------


def test_a_file_that_is_what_is_stored() -> None:
    found = response_of(record(), ANSWER)
    assert (Result.SAME, "", passed(ANSWER)) == (found.result, found.why, found.file)


def test_a_file_tells_where_the_proxy_could_not() -> None:
    for state, transport in ((State.LIVE, Transport.COMPLETE), (State.DONE, Transport.RECOVERED)):
        silent = record(went=None, state=state, transport=transport)
        assert Result.SAME == response_of(silent, ANSWER).result
        assert Result.DIFFERS == response_of(silent, ANSWER[::-1]).result
        assert Result.UNKNOWN == verify(silent, None, ANSWER).request.result


def test_the_file_agrees_and_the_proxy_does_not() -> None:
    """Neither witness outvotes the other."""
    assert Result.DIFFERS == response_of(record(went=ANSWER[::-1]), ANSWER).result
    assert Result.DIFFERS == response_of(record(), ANSWER[::-1]).result


@pytest.mark.parametrize("cut", range(len(REQUEST)))
def test_every_cut(cut: int) -> None:
    """Stored up to any byte it is a prefix; a file that ends there, or differs there, says so."""
    whole = REQUEST
    cut_record = record(whole[:cut], whole, lost=len(whole) - cut)
    found = response_of(cut_record, whole)
    assert (Result.PREFIX, cut) == (found.result, found.first_difference)
    assert f"stored are the first {cut} of the file's {len(whole)} bytes" in found.why

    found = response_of(record(whole, whole), whole[:cut])
    assert (Result.DIFFERS, cut) == (found.result, found.first_difference)
    assert f"the file has only the first {cut} of {len(whole)} bytes stored" in found.why

    other = whole[:cut] + bytes([whole[cut] ^ 1]) + whole[cut + 1 :]
    found = response_of(record(whole, whole), other)
    assert (Result.DIFFERS, cut) == (found.result, found.first_difference)
    assert f"the file differs from byte {cut} on" in found.why


def encoded(name: str, data: bytes) -> bytes:
    match name:
        case "gzip":
            return gzip.compress(data, mtime=0)
        case "deflate":
            return zlib.compress(data)
        case "br":
            compressed: bytes = brotli.compress(data)
            return compressed
        case _:
            return zstandard.compress(data)


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
def test_a_file_that_was_decoded(name: str) -> None:
    """`curl --compressed` saves the body decoded: that is said, and is the same."""
    wire = encoded(name, ANSWER)
    packed = record(wire, wire, headers=((b"Content-Encoding", name.encode()),))
    found = response_of(packed, ANSWER)
    assert (Result.SAME, True, "") == (found.result, found.decoded, found.why)
    raw = response_of(packed, wire)
    assert (Result.SAME, False) == (raw.result, raw.decoded)

    other = response_of(packed, ANSWER[:100] + b"#" + ANSWER[101:])
    assert (Result.DIFFERS, True, 100) == (other.result, other.decoded, other.first_difference)
    assert f"from byte 100 on after decoding {name}" in other.why


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
def test_a_file_that_was_decoded_and_of_which_the_end_is_not_stored(name: str) -> None:
    """What was cut decodes to the beginning of what the client has."""
    whole = hashlib.shake_256(b"no encoding makes this small").digest(300_000)
    wire = encoded(name, whole)
    half = len(wire) // 2
    cut = record(
        wire[:half],
        wire,
        lost=len(wire) - half,
        headers=((b"Content-Encoding", name.encode()),),
    )
    raw = response_of(cut, wire)
    assert (Result.PREFIX, False, half) == (raw.result, raw.decoded, raw.first_difference)
    found = response_of(cut, whole)
    assert (Result.PREFIX, True) == (found.result, found.decoded)
    assert found.first_difference is not None
    assert 0 < found.first_difference < 200_000
    assert f"300000 bytes after decoding {name}" in found.why


def test_a_cut_that_decodes_to_nothing() -> None:
    """The file is not what is stored, and more cannot be said."""
    wire = encoded("zstd", ANSWER)
    found = response_of(record(wire[:-3], None, headers=((b"content-encoding", b"zstd"),)), ANSWER)
    assert (Result.DIFFERS, False) == (found.result, found.decoded)
    assert "(the zstd stream ends early)" in found.why


def test_a_file_decoded_from_a_stream_that_was_cut() -> None:
    """It decodes to the file, and its end is missing: only the proxy's count can tell."""
    wire = encoded("gzip", ANSWER)[:-4]
    headers = ((b"content-encoding", b"gzip"),)
    told = response_of(record(wire, wire, headers=headers), ANSWER)
    assert (Result.SAME, True) == (told.result, told.decoded)
    untold = response_of(record(wire, None, headers=headers), ANSWER)
    assert (Result.UNKNOWN, True) == (untold.result, untold.decoded)
    assert "the gzip stream ends early" in untold.why


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"what", b"", b"gzip, gzip, gzip, gzip, br"])
def test_an_encoding_that_is_none_agrees_with_no_empty_file(encoding: bytes) -> None:
    """Bytes that decode to nothing are not the empty file."""
    noise = b"\xffnoise that no decoder takes"
    found = response_of(record(noise, None, headers=((b"content-encoding", encoding),)), b"")
    assert Result.DIFFERS == found.result


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40))
def test_the_first_difference(common: bytes, left: bytes, right: bytes) -> None:
    one, other = common + left, common + right
    at = first_difference(one, other)
    if at is None:
        assert one == other
    else:
        assert one[:at] == other[:at]
        assert one[at : at + 1] != other[at : at + 1]


@pytest.mark.parametrize("at", [0, 1, 65535, 65536, 65537, 131071, 199_999])
def test_the_first_difference_of_large_bodies(at: int) -> None:
    """Whatever the blocks it is looked for in."""
    large = bytes(200_000)
    assert at == first_difference(large, large[:at] + b"\1" + large[at + 1 :])
    assert at == first_difference(large, large[:at])
    assert at == first_difference(large[:at], large)


@given(
    stored=st.binary(max_size=20),
    went=st.none() | st.binary(max_size=20),
    file=st.none() | st.binary(max_size=20),
    lost=st.integers(0, 20),
    encoding=st.sampled_from([None, b"gzip", b"br", b"deflate", b"zstd", b"\xff"]),
)
def test_same_is_never_said_of_what_is_not(
    stored: bytes, went: bytes | None, file: bytes | None, lost: int, encoding: bytes | None
) -> None:
    """Whatever is compared: no exception, and agreement only where every witness agrees."""
    headers = () if encoding is None else ((b"content-encoding", encoding),)
    found = response_of(record(stored, went, lost=lost, headers=headers), file)
    if found.result is Result.SAME:
        assert went in (None, stored)
        assert went is not None or file is not None
        assert file in (None, stored) or found.decoded
    if went == stored and file in (None, stored):
        assert Result.SAME == found.result
    assert bool(found.why) or found.result is Result.SAME
    assert found.why.isprintable()
