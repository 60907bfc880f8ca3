"""Run in a pty by test_pty: the real app over a store whose every text is an attack, or one that crashes.

python -m tests.tui.hostile_app attack|crash FOLDER
"""

import asyncio
import json
import sys
from pathlib import Path

from store.errors import StoreUnavailable
from store.record import Key, KeyKind, KeyRule, Seen, Verdict
from tests.tui.builders import LIVE, NOW_MS, SECRET, body, meta, record
from tests.tui.fakes import PROXY, FakeStore
from tests.tui.scenes import message_events, streamed
from tui.app import FlowtapApp
from tui.screens.main import MainScreen

ATTACKS = (
    "\x1b]52;c;ZXZpbA==\x1b\\",
    "\x1b]0;PWNED-TITLE\x07",
    "\x1b[38;5;199;5mRED",
    "\x9b38;5;199;5m",
    "\x1b[?1337h",
    "\x1bPpayload\x1b\\",
    "\x00\x07\x08\x0e",
    "\u202edesrever\u2066",
    "zero\u200bwidth\ufeff",
    "\U000e0041\U000e0042",
    "[@click=app.quit]x[/]",
    "[/]",
)
PAYLOAD = "".join(ATTACKS)


def attacked() -> FakeStore:
    """A payload wherever captured text goes."""
    key = Key("0011223344556677", f"key{PAYLOAD}", "9Q\x1b", 3600, NOW_MS)
    rule = KeyRule(KeyKind.HEADER, PAYLOAD, PAYLOAD)
    ruled = Key("8899aabbccddeeff", f"rule{PAYLOAD}", "", 60, NOW_MS, rule.kind, rule)
    store = FakeStore(key, ruled)
    store.seen = [Seen(PAYLOAD, PAYLOAD, PAYLOAD, 3, NOW_MS, NOW_MS)]
    store.refusal = StoreUnavailable(PAYLOAD)
    odd = {"key_id": key.id, "path": f"/v1/messages?{PAYLOAD}", "host": f"api{PAYLOAD}"}
    headers = (
        (b"x-api-key", SECRET.encode()),
        (b"x-hostile", PAYLOAD.encode()),
        *((b"x-attack", attack.encode()) for attack in ATTACKS),
        (PAYLOAD.encode(), b"name"),
    )
    failed = meta(1, model=PAYLOAD, error=PAYLOAD, status=500, verdict=Verdict.FAILED, **odd)
    store.put(failed, record(failed, request_headers=headers, request_body=PAYLOAD.encode()))
    whole = meta(2, model=f"m{PAYLOAD}", method="PO\x1b[2JST", **odd)
    request = json.dumps({"messages": [PAYLOAD], PAYLOAD: "\udc80"}, ensure_ascii=False)
    store.put(
        whole,
        record(
            whole,
            request_headers=headers,
            request_body=request.encode("utf-8", "surrogatepass"),
            response_headers=(*headers, (b"content-type", b"text/event-stream")),
            response_body=body(*message_events(PAYLOAD)),
        ),
    )
    flying = meta(3, **{**LIVE, "model": PAYLOAD, "status": 200, **odd})
    live = store.begin(flying, streamed(flying))
    live.chunk(10, PAYLOAD.encode())
    store.proxies = [
        PROXY.__class__(
            writer="w",
            pid=1,
            address=PAYLOAD,
            started_ms=0,
            heartbeat_ms=NOW_MS,
            error=PAYLOAD,
            last_unmatched_host=PAYLOAD,
            last_unmatched_ms=NOW_MS,
            last_unmatched_fingerprint=PAYLOAD,
        )
    ]
    return store


class Attacked(FlowtapApp):
    """Opens records and views one after the other, toasts and titles the payload, and leaves."""

    def on_mount(self) -> None:
        """Start the tour."""
        self.title = self.sub_title = PAYLOAD
        self.run_worker(self.tour())

    async def tour(self) -> None:
        """Every pane and view; a step waits for the record that is to be seen."""
        main = self.screen
        assert isinstance(main, MainScreen)
        while not len(main.feed):
            await asyncio.sleep(0.02)
        # No markup=False here: the net must hold where somebody forgot it.
        self.notify(ATTACKS[0] + ATTACKS[7], title=PAYLOAD)
        for keys in (
            ["j", "enter"],
            [*"1ejrc4eXy"],
            ["escape", "j", "enter", *"1234"],
            ["escape", "question_mark"],
            ["escape", "ctrl+k"],
            ["escape", "z"],
            ["escape", "a", "j", "k"],
            ["enter", "right", "enter"],
            ["escape", "n", "x", "enter"],
            ["escape", "D", "right", "enter"],
            ["escape", "G", "enter", "x", "enter", "enter"],
            ["escape", "R", "enter"],
        ):
            for key in keys:
                self.simulate_key(key)
                await asyncio.sleep(0.06)
            while main.detail.record_id is not None and main.detail.document is None:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.1)
        self.exit(return_code=0)


class Crashing(FlowtapApp):
    """Dies of a bug while a secret is in a local."""

    def on_mount(self) -> None:
        """Soon."""
        self.set_timer(0.3, self.bug)

    def bug(self) -> None:
        """Fails with captured text in a variable and in the message."""
        header_value = SECRET
        raise RuntimeError(PAYLOAD + header_value)


def main() -> int:
    """Run the app that is asked for."""
    kind, folder = sys.argv[1:]
    store = attacked()
    app_class = Attacked if kind == "attack" else Crashing
    app = app_class(
        store.reader, store.managing, PAYLOAD, clock=lambda: NOW_MS, crash_folder=Path(folder)
    )
    app.run()
    return app.return_code or 0


if __name__ == "__main__":
    sys.exit(main())
