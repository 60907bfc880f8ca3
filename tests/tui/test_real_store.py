"""The UI over the real store: what the fake cannot show is where the contract was misread."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.contract import Writer
from store.location import open_reader, open_store
from store.record import RequestHead, ResponseHead, Transport
from tests.tui.builders import REQUEST_HEADERS, SECRET, STREAM_HEADERS
from tests.tui.driving import NARROW, PACE_S, TWO, Driver
from tests.tui.scenes import message_events
from tui.app import FlowtapApp

OTHER = "sk-proj-test-0000-not-a-real-key-1111"
NOW = time.time_ns() // 1_000_000

HEAD = RequestHead(
    "POST", "https", "api.anthropic.com", 443, "/v1/messages?beta=true", "HTTP/1.1", REQUEST_HEADERS
)


async def test_a_record_from_its_first_byte_to_its_end_and_its_purge(tmp_path: Path) -> None:
    root = str(tmp_path / "store")
    app = FlowtapApp(
        lambda: open_reader(root),
        lambda: open_store(root),
        root,
        interval_s=PACE_S,
        crash_folder=tmp_path / "crash",
    )
    async with app.run_test(size=NARROW, notifications=True) as pilot:
        ui = Driver(app, pilot)
        await ui.shows("No store at")

        store = open_store(root)
        store.add_key("laptop", SECRET, 3600)
        writer = store.writer(lambda line: None)
        try:
            await ui.shows("1 of 1 key opted in")
            writer.announce("127.0.0.1:8080")
            await ui.shows("listening on 127.0.0.1:8080")

            key = writer.keys.match([SECRET.encode()], REQUEST_HEADERS)
            assert key is not None
            recording = writer.begin(key, ui.main._clock(), HEAD, "messages")
            recording.request_chunk(1, b'{"model": "claude-opus-4-5", "stream": true}')
            recording.request_end(2)
            await ui.shows("… 0:0")
            await ui.shows("claude-opus-4-5")
            await ui.press("enter", "4")
            await ui.shows("Waiting for the response…")

            recording.response_head(5, ResponseHead(200, "OK", "HTTP/1.1", STREAM_HEADERS))
            chunks = message_events()
            for at, chunk in enumerate(chunks[:12]):
                recording.response_chunk(10 * at, chunk)
            await ui.shows("The off-by-one")
            for at, chunk in enumerate(chunks[12:], 12):
                recording.response_chunk(10 * at, chunk)
            await ui.shows("store/sweep.py:41.")
            recording.end(400, Transport.COMPLETE)
            await ui.shows("✓ 200")
            await ui.shows("tool_use")

            await ui.press("escape")
            await ui.shows("1 rec")
            store.set_retention("laptop", None)
            await ui.shows("0 of 1 key opted in")
        finally:
            writer.close()
            store.close()


@contextmanager
def answering(writer: Writer) -> Iterator[None]:
    """A proxy that has a ring with one exchange in it, and does what it is asked."""
    stop = threading.Event()

    def answer() -> None:
        while not stop.wait(0.01):
            for ask in writer.asks():
                key = writer.keys.by_id(ask.key_id)
                assert key is not None
                recording = writer.begin(key, NOW, HEAD, "messages")
                recording.request_chunk(1, b'{"model": "from-the-ring", "stream": true}')
                recording.request_end(2)
                recording.response_head(5, ResponseHead(200, "OK", "HTTP/1.1", STREAM_HEADERS))
                for at, chunk in enumerate(message_events()):
                    recording.response_chunk(10 * at, chunk)
                recording.end(400, Transport.COMPLETE)
                writer.answer(ask, 1)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


async def test_keys_from_the_first_to_the_last_change(tmp_path: Path) -> None:
    """Nothing here but the UI manages the store; what it does is read back beside it."""
    root = str(tmp_path / "store")
    app = FlowtapApp(
        lambda: open_reader(root),
        lambda: open_store(root),
        root,
        interval_s=PACE_S,
        crash_folder=tmp_path / "crash",
    )
    async with app.run_test(size=TWO, notifications=True) as pilot:
        ui = Driver(app, pilot)
        await ui.shows("No store at")
        await ui.press("a", "a", *"laptop", "enter", *SECRET, "enter", "enter")
        await ui.shows("laptop: recorded, kept 1d")
        await ui.shows("1 of 1 key on")
        await ui.shows(f"secret …{SECRET[-4:]}")

        store = open_store(root)
        writer = store.writer(lambda line: None)
        reader = open_reader(root)
        try:
            key = writer.keys.match([SECRET.encode()], REQUEST_HEADERS)
            assert key == reader.key("laptop")
            writer.counters.has_ring = True
            writer.counters.ring_exchanges = 1
            writer.announce("127.0.0.1:8080")
            writer.unmatched(OTHER.encode(), "api.openai.com", "codex/0.1")
            await ui.shows("1 caller seen, not recorded")
            await ui.shows("sk-proj-…1111")

            # A caller, opted in without its secret.
            await ui.press("G", "enter")
            await ui.shows("Record sk-proj-…1111 from now on")
            await ui.press(*"openai", "enter", "enter")
            await ui.shows("openai: recorded, kept 1d")
            await ui.shows("Nobody: no LLM call without a recorded key has passed.")
            await ui.until(
                lambda: writer.keys.match([OTHER.encode()], ()) == reader.key("openai"),
                "the proxy records it",
            )

            # What had passed before is kept after all.
            with answering(writer):
                await ui.press("R")
                await ui.shows("In memory: 1 exchange")
                await ui.press("enter")
                await ui.shows("1 exchange kept as kept, for 1d")
            await ui.press("escape")
            await ui.shows("from-the-ring")

            await ui.press("a", "g", "n", *"both", "enter")
            await ui.shows("kept is now both")
            await ui.until(lambda: next(key.name for key in reader.keys()) == "both")
            await ui.press("D", "right", "enter")
            await ui.shows("both: removed, 1 record deleted")
            await ui.shows("2 of 2 keys on")
            await ui.press("g", "enter", "left", "left", "left", "enter", "enter")
            await ui.shows("laptop: off, nothing is recorded")
            assert reader.key("laptop").retention_s is None
            assert [] == reader.records()
        finally:
            reader.close()
            writer.close()
            store.close()


async def test_a_store_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    root = tmp_path / "store"
    root.write_text("a file")
    app = FlowtapApp(
        lambda: open_reader(str(root)),
        lambda: open_store(str(root)),
        str(root),
        interval_s=PACE_S,
        crash_folder=tmp_path / "crash",
    )
    async with app.run_test(size=TWO, notifications=True) as pilot:
        ui = Driver(app, pilot)
        await ui.shows("✗ STORE: ")
        await ui.press("a", "a", *"laptop", "enter", *SECRET, "enter", "enter")
        await ui.hides("Working…")
        assert "Add a key" in ui.text()
        assert str(root.name) in ui.text()
        assert not (tmp_path / "crash").exists()
