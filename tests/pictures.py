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
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from store.location import open_reader
from store.record import RecordMeta, State, Verdict
from tui.app import FlowtapApp
from tui.demo.stage import Stage, begin, prepared

ROOT = Path(__file__).parents[1]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
SCALE = 2
DEADLINE_S = 40.0

type Shot = Callable[[str], Awaitable[None]]


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
    played = threading.Thread(
        target=lambda: [t.join() for t in list(begin(stage, threading.Event()))]
    )
    played.start()
    async with _app(stage).run_test(size=(120, 35)) as pilot:
        await _until(stage, lambda rows: sum(meta.state is State.DONE for meta in rows) >= 1)
        # The slow one with the tool call streams for five seconds.
        await _until(stage, lambda rows: any(_slow(meta) for meta in rows))
        await _pick(pilot, stage, _slow)
        await pilot.press("enter", "4")
        await pilot.pause(1.0)
        await _shoot(pilot, folder / "live-120x35", chromium)
    await asyncio.to_thread(played.join)
    await _until(stage, lambda rows: len(rows) >= 13 and all(m.state is State.DONE for m in rows))
    for size in ((80, 24), (120, 35)):
        name = f"{size[0]}x{size[1]}"
        async with _app(stage).run_test(size=size) as pilot:
            await pilot.pause(1.0)
            await _shoot(pilot, folder / f"list-{name}", chromium)
            await _pick(pilot, stage, lambda meta: meta.verdict is Verdict.UPSTREAM_CLOSED)
            await pilot.press("enter", "4")
            await pilot.pause(1.0)
            await _shoot(pilot, folder / f"cut-{name}", chromium)
            await pilot.press("escape", "g", "G", "enter", "4")
            await pilot.pause(1.0)
            await _shoot(pilot, folder / f"done-{name}", chromium)


def _app(stage: Stage) -> FlowtapApp:
    return FlowtapApp(lambda: open_reader(str(stage.store)), str(stage.store))


def _slow(meta: RecordMeta) -> bool:
    return meta.state is State.LIVE and meta.model == "claude-sonnet-4-5"


async def _until(stage: Stage, probe: Callable[[list[RecordMeta]], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not probe(_rows(stage)):
            await asyncio.sleep(0.05)


def _rows(stage: Stage) -> list[RecordMeta]:
    reader = open_reader(str(stage.store))
    try:
        return reader.records()
    finally:
        reader.close()


async def _pick(pilot: Pilot[None], stage: Stage, wanted: Callable[[RecordMeta], bool]) -> None:
    """Move the cursor to the first row that is wanted, from the top."""
    place = next(n for n, meta in enumerate(_rows(stage)) if wanted(meta))
    await pilot.press("g", *(["j"] * place))
    await pilot.pause(0.5)


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
