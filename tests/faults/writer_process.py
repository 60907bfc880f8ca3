"""A recording process to be killed: `python -m tests.faults.writer_process ROOT LEDGER [streams]`.

It writes as fast as it may until it is ended. Before a chunk is handed to the writer, the
ledger (a file per record) has it, so what the store holds can be held against what was sent.
Records it ended are named in LEDGER/ended before their end is handed over.
"""

import itertools
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from store.local import LocalStore
from store.record import Transport
from tests.store.builders import SECRET, request_head, response_head

STREAMS = 20
CHUNKS = 40


def chunk(stream: int, count: int) -> bytes:
    return b'data: {"stream":%d,"count":%d,"fill":"%s"}\n\n' % (stream, count, b"x" * (count % 97))


def insist[T](call: Callable[[], T]) -> T:
    """The ledger is kept also where errors are injected into this process: they pass."""
    while True:
        try:
            return call()
        except OSError:
            time.sleep(0.001)


def main() -> None:
    root, ledger = Path(sys.argv[1]), Path(sys.argv[2])
    streams = int(sys.argv[3]) if len(sys.argv) > 3 else STREAMS
    ledger.mkdir(parents=True, exist_ok=True)
    store = LocalStore(root)
    writer = store.writer(lambda line: print(line, flush=True))  # noqa: T201
    writer.announce(f"127.0.0.1:{os.getpid()}")
    key = writer.keys.match([SECRET.encode()], ())
    assert key is not None
    open_now = {}
    ended = os.open(ledger / "ended", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    print("ready", flush=True)  # noqa: T201
    for turn in itertools.count():
        for stream in range(streams):
            if stream not in open_now:
                recording = writer.begin(
                    key, time.time_ns() // 1_000_000, request_head(), "messages"
                )
                name = ledger / recording.id
                sent = insist(partial(os.open, name, os.O_WRONLY | os.O_CREAT, 0o600))
                recording.request_chunk(0, b'{"model":"m-1","stream":%d}' % stream)
                recording.request_end(0)
                recording.response_head(1, response_head())
                open_now[stream] = (recording, sent, 0)
            recording, sent, count = open_now[stream]
            data = chunk(stream, count)
            insist(partial(os.write, sent, data))
            recording.response_chunk(turn, data)
            open_now[stream] = (recording, sent, count + 1)
            if count + 1 >= CHUNKS + stream:
                insist(partial(os.write, ended, recording.id.encode() + b"\n"))
                recording.end(turn, Transport.COMPLETE)
                os.close(sent)
                del open_now[stream]
        time.sleep(0.002)


if __name__ == "__main__":
    main()
