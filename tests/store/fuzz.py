"""`make fuzz`: what reads the store's files, fed by coverage (atheris), for as long as one likes.

    python -m tests.store.fuzz [seconds]

Frames are made of the input with check sums that are right, so that what is behind the check is
reached; every other input is taken as it is. test_fuzz holds the same laws in every run of the
tests. Ends with a traceback and the input at the first exception that is not documented.
"""

import importlib
import importlib.util
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

SECONDS = 60
KEY = "k" * 16
ID = "01" + "0" * 24
NAME = f"{KEY}/{ID}.seg"


def main() -> int:
    """Fuzz until the time is over; says so where atheris is not installed."""
    if importlib.util.find_spec("atheris") is None:
        print("not fuzzed: atheris is not installed here (pip install atheris)")  # noqa: T201
        return 0
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["store"]):
        from store.codec import pack_json, request_json
        from store.delta import body_of
        from store.errors import BodyMissing
        from store.frames import FrameError, Kind, pack, pack_stored, scan, unpack_arrivals
        from store.parts import LivePart, PartChunks, part_key, read_part
        from store.record import id_bytes
        from store.segments import Place, read_record, scan_segment, segment_owner
    from tests.store.builders import meta, request_head

    record_id = id_bytes(ID)

    def file_of(data: bytes) -> bytes:
        given = atheris.FuzzedDataProvider(data)
        if given.ConsumeBool():
            return bytes(given.ConsumeBytes(given.remaining_bytes()))
        frames: list[bytes] = []
        while given.remaining_bytes() and len(frames) < 20:
            payload = given.ConsumeBytes(given.ConsumeIntInRange(0, 300))
            says_true = given.ConsumeBool()
            frames.append(
                pack_stored(
                    given.ConsumeIntInRange(0, 12),
                    record_id,
                    payload,
                    given.ConsumeIntInRange(0, 3),
                    len(payload) if says_true else given.ConsumeInt(4) % 2**32,
                    given.ConsumeIntInRange(0, 5_000),
                )
            )
        return b"".join(frames)

    def one_input(data: bytes) -> None:
        file = file_of(data)
        for frame in scan(file):
            for read in (frame.decode, lambda each=frame: body_of(file, each)):
                with suppress(FrameError):
                    assert len(read()) == frame.raw_length
            with suppress(FrameError):
                unpack_arrivals(frame)
        segment.write_bytes(file)
        part.write_bytes(file)
        segment_owner(folder, NAME)
        places = [each.place for each in scan_segment(folder, NAME)]
        for place in [*places, Place(NAME, 0, 0)]:
            with suppress(BodyMissing):
                read_record(folder, place, meta(ID, KEY))
        read_part(part)
        part_key(part)
        list(PartChunks(part, Kind.RESPONSE))
        live = LivePart(part, meta(ID, KEY))
        try:
            live.poll()
            live.snapshot()
        finally:
            live.close()

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / KEY).mkdir()
        segment, part = folder / NAME, folder / f"{ID}.part"
        corpus = Path(made) / "corpus"
        corpus.mkdir()
        # The last byte says that the rest is a file as it is.
        begin = pack_json({"key": KEY, "started_ms": 1, "request": request_json(request_head())})
        whole = pack(Kind.BEGIN, record_id, begin) + pack(Kind.RESPONSE, record_id, b"data: 1")
        (corpus / "part").write_bytes(whole + b"\1")
        (corpus / "frames").write_bytes(begin + bytes(range(40)) + b"\0")
        seconds = sys.argv[1] if len(sys.argv) > 1 else str(SECONDS)
        options = (f"-max_total_time={seconds}", "-max_len=6000", "-len_control=0")
        atheris.Setup([sys.argv[0], *options, str(corpus)], one_input)
        # Ends the process itself, with libFuzzer's status.
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
