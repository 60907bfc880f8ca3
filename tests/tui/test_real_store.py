"""The UI over the real store: what the fake cannot show is where the contract was misread."""

from pathlib import Path

from store.location import open_reader, open_store
from store.record import RequestHead, ResponseHead, Transport
from tests.tui.builders import REQUEST_HEADERS, SECRET, STREAM_HEADERS
from tests.tui.driving import NARROW, PACE_S, Driver
from tests.tui.scenes import message_events
from tui.app import FlowtapApp

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
