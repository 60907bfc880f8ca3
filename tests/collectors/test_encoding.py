"""Content-encodings: whole, in pieces, stacked, cut, bombs, nonsense."""

import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from collectors.encoding import Decoder, decode_body

TEXT = b"".join(b"data: %d\n\n" % n for n in range(3000))


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


ENCODED: list[tuple[str, str | None, bytes]] = [
    ("none", None, TEXT),
    ("empty", "", TEXT),
    ("identity", "Identity", TEXT),
    ("gzip", "gzip", gzip.compress(TEXT)),
    ("x-gzip", "X-GZIP", gzip.compress(TEXT)),
    ("gzip of two members", "gzip", gzip.compress(TEXT[:999]) + gzip.compress(TEXT[999:])),
    ("gzip with padding", "gzip", gzip.compress(TEXT) + b"\0\0\0"),
    ("deflate with zlib's header", "deflate", zlib.compress(TEXT)),
    ("deflate, raw", "deflate", raw_deflate(TEXT)),
    ("br", "br", brotli.compress(TEXT)),
    ("zstd", "zstd", zstd(TEXT)),
    ("zstd of two frames", "zstd", zstd(TEXT[:999]) + zstd(TEXT[999:])),
    ("gzip, then br", "gzip, br", brotli.compress(gzip.compress(TEXT))),
    ("br, then zstd", " br ,zstd", zstd(brotli.compress(TEXT))),
    ("zstd, then gzip", "zstd,gzip", gzip.compress(zstd(TEXT))),
]


@pytest.mark.parametrize("step", [1, 7, 1000, 10**6])
@pytest.mark.parametrize(
    ("encoding", "data"), [row[1:] for row in ENCODED], ids=[row[0] for row in ENCODED]
)
def test_every_encoding_in_pieces(encoding: str | None, data: bytes, step: int) -> None:
    decoder = Decoder(encoding)
    decoded = b"".join(decoder.feed(data[i : i + step]) for i in range(0, len(data), step))
    assert TEXT == decoded + decoder.close()
    assert decoder.note is None


@pytest.mark.parametrize(
    ("encoding", "data"), [row[1:] for row in ENCODED], ids=[r[0] for r in ENCODED]
)
def test_streams_do_not_share_state(encoding: str | None, data: bytes) -> None:
    """Two responses, a chunk of one after a chunk of the other."""
    one, two = Decoder(encoding), Decoder(encoding)
    decoded = [
        (one.feed(data[i : i + 500]), two.feed(data[i : i + 500])) for i in range(0, len(data), 500)
    ]
    assert (
        TEXT == b"".join(first for first, _ in decoded) == b"".join(second for _, second in decoded)
    )


@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd"])
def test_a_cut_stream_gives_its_prefix(name: str) -> None:
    """Flushed after each event, as servers stream: what was flushed before the cut is there."""
    if name == "br":
        compressor = brotli.Compressor()
        data = compressor.process(TEXT) + compressor.flush()
    elif name == "zstd":
        chunked = zstandard.ZstdCompressor().compressobj()
        data = chunked.compress(TEXT) + chunked.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    else:
        packer = zlib.compressobj(wbits=31 if name == "gzip" else 15)
        data = packer.compress(TEXT) + packer.flush(zlib.Z_SYNC_FLUSH)
    decoded, note = decode_body(data, name)
    assert TEXT == decoded
    assert f"the {name} stream ends early" == note
    for cut in (0, 1, 2, 5, len(data) // 2, len(data) - 1):
        decoded, note = decode_body(data[:cut], name)
        assert TEXT.startswith(decoded)
        assert (note is None) is (cut == 0)


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", gzip.compress(bytes(50_000_000))),
        ("deflate", zlib.compress(bytes(50_000_000))),
        ("br", brotli.compress(bytes(50_000_000), quality=5)),
        ("zstd", zstd(bytes(50_000_000))),
        ("gzip, gzip", gzip.compress(gzip.compress(bytes(50_000_000)))),
        ("br, br", brotli.compress(brotli.compress(bytes(50_000_000), quality=5))),
    ],
    ids=["gzip", "deflate", "br", "zstd", "gzip twice", "br twice"],
)
def test_a_bomb_stops_at_the_limit(encoding: str, data: bytes) -> None:
    decoded, note = decode_body(data, encoding, limit=100_000)
    assert bytes(100_000) == decoded
    assert "decoded to more than 100000 bytes, the rest is not shown" == note


def test_exactly_the_limit_is_no_bomb() -> None:
    assert (TEXT, None) == decode_body(gzip.compress(TEXT), "gzip", limit=len(TEXT))
    assert (TEXT, None) == decode_body(TEXT, None, limit=len(TEXT))


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("compress", "content-encoding 'compress' is not known, shown as sent"),
        ("gzip, sdch", "content-encoding 'sdch' is not known, shown as sent"),
        ("gzip," * 5, "more than 4 content-encodings, shown as sent"),
    ],
)
def test_what_is_not_known_is_shown_as_sent(encoding: str, note: str) -> None:
    assert (b"abc", note) == decode_body(b"abc", encoding)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_what_is_not_of_its_encoding_is_said(encoding: str) -> None:
    decoded, note = decode_body(b"\xffthis is plain text, whatever the header says", encoding)
    assert b"" == decoded
    assert note is not None
    assert note.startswith((f"not {encoding} (", f"the {encoding} stream ends early"))


def test_bytes_that_go_bad_keep_what_came_before() -> None:
    data = gzip.compress(TEXT)
    broken = data[: len(data) // 2] + bytes(200)
    decoded, note = decode_body(broken, "gzip")
    assert decoded
    assert note is not None


BEGINNINGS = {
    "gzip": gzip.compress(TEXT)[:60],
    "deflate": zlib.compress(TEXT)[:60],
    "br": brotli.compress(TEXT)[:60],
    "gzip, br": brotli.compress(gzip.compress(TEXT))[:60],
    "zstd": zstd(TEXT)[:60],
}


@given(data=st.binary(max_size=200), step=st.integers(1, 9), limit=st.integers(0, 300))
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, br", "zstd, deflate"])
def test_noise_never_raises(encoding: str, data: bytes, step: int, limit: int) -> None:
    """Also behind a true beginning, where the decoders have state."""
    for body in (data, BEGINNINGS.get(encoding, BEGINNINGS["deflate"]) + data):
        decoder = Decoder(encoding, limit=limit)
        out = b"".join(decoder.feed(body[i : i + step]) for i in range(0, len(body), step))
        assert len(out + decoder.close()) <= limit
