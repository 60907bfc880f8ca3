"""The pictures of docs/: the demonstration in the real UI, as PNG through headless Chromium.

    python -m tests.pictures [FOLDER]

Not a test: what it draws changes with the clock. The UI is the real one over the demo's
store, driven by keys; only the terminal is Textual's own.
"""

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from store.key_rules import glob_rule, header_rule
from store.location import open_reader, open_store
from store.record import RecordMeta, State, Verdict
from tui.app import FlowtapApp
from tui.demo.stage import Stage, begin, prepared

ROOT = Path(__file__).parents[1]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
SCALE = 1
DEADLINE_S = 40.0


def main(argv: list[str]) -> int:
    """Draw them all into FOLDER (docs/ if not given); 1 where there is no Chromium."""
    chromium = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if chromium is None:
        sys.stderr.write("pictures need Chromium\n")
        return 1
    folder = Path(argv[0]) if argv else ROOT / "docs"
    with prepared(1.0) as stage:
        asyncio.run(_draw(stage, folder, chromium))
    return 0


async def _draw(stage: Stage, folder: Path, chromium: str) -> None:
    played = threading.Thread(target=_play, args=(stage,))
    played.start()
    # The reasoning of the fourth play: others are done by then, and its answer takes three seconds.
    live = await _found(stage, lambda meta: meta.state is State.LIVE and meta.model == "gpt-5.2")
    async with _app(stage, live).run_test(size=(120, 35)) as pilot:
        await pilot.press("escape", "enter", "4")
        await pilot.pause(1.2)
        await _shoot(pilot, folder / "live-120x35", chromium)
    await asyncio.to_thread(played.join)
    await _settled(stage)
    cut = await _found(stage, lambda meta: meta.verdict is Verdict.UPSTREAM_CLOSED)
    done = await _found(stage, lambda meta: meta.ttft_ms is not None and _thought(meta))
    for size in ((80, 24), (120, 35)):
        name = f"{size[0]}x{size[1]}"
        async with _app(stage).run_test(size=size) as pilot:
            await pilot.pause(1.0)
            await _shoot(pilot, folder / f"list-{name}", chromium)
        for what, record in (("cut", cut), ("done", done)):
            async with _app(stage, record).run_test(size=size) as pilot:
                await pilot.pause(0.5)
                await pilot.press("escape", "enter", "4")
                await pilot.pause(0.5)
                await _shoot(pilot, folder / f"{what}-{name}", chromium)
    await asyncio.to_thread(_more_keys, stage)
    async with _app(stage).run_test(size=(80, 24)) as pilot:
        await pilot.pause(1.0)
        # The cursor on the caller that was seen: what can be done about it.
        await pilot.press("a", "G")
        await pilot.pause(1.5)
        await _shoot(pilot, folder / "keys-80x24", chromium)


def _more_keys(stage: Stage) -> None:
    """Keys of other kinds than those of the demo, and what was kept of a caller without one."""
    store = open_store(str(stage.store))
    try:
        store.add_rule("claude", glob_rule("sk-ant-oat01-*"), 86_400)
        store.add_rule("codex", header_rule("chatgpt-account-id", "1234-*"), 21_600)
        store.add_key("old", "sk-demo-2222222222222222-switched-off")
        store.keep("kept", 0, 86_400)
    finally:
        store.close()


def _play(stage: Stage) -> None:
    for thread in list(begin(stage, threading.Event())):
        thread.join()


def _app(stage: Stage, record: str | None = None) -> FlowtapApp:
    store = str(stage.store)
    return FlowtapApp(lambda: open_reader(store), lambda: open_store(store), store, record=record)


def _thought(meta: RecordMeta) -> bool:
    return meta.verdict is Verdict.COMPLETE and meta.model == "claude-opus-4-5"


async def _found(stage: Stage, wanted: Callable[[RecordMeta], bool]) -> str:
    """The id of the newest record that is wanted, once there is one."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            for meta in _rows(stage):
                if wanted(meta):
                    return meta.id
            await asyncio.sleep(0.05)


async def _settled(stage: Stage) -> None:
    """Until every play that is recorded is done."""
    expected = sum(play.verdict is not None for play in stage.plays)
    async with asyncio.timeout(DEADLINE_S):
        while sum(meta.state is State.DONE for meta in _rows(stage)) < expected:
            await asyncio.sleep(0.05)


def _rows(stage: Stage) -> list[RecordMeta]:
    reader = open_reader(str(stage.store))
    try:
        return reader.records()
    finally:
        reader.close()


async def _shoot(pilot: Pilot[None], path: Path, chromium: str) -> None:
    svg = pilot.app.export_screenshot(title="flowtap")
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    width, height = (round(float(side)) for side in box.groups()) if box else (1500, 950)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "shot.svg"
        source.write_text(svg)
        await asyncio.to_thread(
            subprocess.run,
            [
                chromium,
                "--headless=new",
                "--no-sandbox",
                "--hide-scrollbars",
                f"--force-device-scale-factor={SCALE}",
                f"--window-size={width},{height}",
                f"--screenshot={path}.png",
                source.as_uri(),
            ],
            check=True,
            capture_output=True,
        )
    sys.stdout.write(f"{path}.png\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
