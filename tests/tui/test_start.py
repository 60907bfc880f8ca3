"""First paint waits for imports more than for anything else: these are not among them."""

import json
import subprocess
import sys

DENIED = (
    "sqlite_utils",
    "ulid",
    "mitmproxy",
    "textual.widgets._markdown",
    "textual.widgets._text_area",
    "textual.widgets._data_table",
    "tree_sitter",
    "markdown_it",
    "click",
    "httpx",
    "addon",
    "store.local",
    "store.writer",
    "tui.screens.help",
    "tui.screens.dialog",
    "tui.screens.key_actions",
    "tui.screens.key_dialogs",
    "tui.screens.key_picker",
    "tui.screens.keys",
    "tui.widgets.key_table",
)


def test_the_start_up_path_imports_nothing_heavy() -> None:
    """Nor does opening a reader and painting the first screen."""
    script = """
import asyncio, json, sys, tempfile
from tui.app import FlowtapApp
from store.location import open_reader, open_store

async def first_paint():
    with tempfile.TemporaryDirectory() as folder:
        app = FlowtapApp(
            lambda: open_reader(folder + "/none"), lambda: open_store(folder), interval_s=0.01
        )
        async with app.run_test() as pilot:
            for _ in range(200):
                if app.screen.state.lost is not None:
                    break
                await pilot.pause(0.01)
            assert app.screen.state.lost is not None

asyncio.run(first_paint())
print(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert 0 == done.returncode, done.stderr
    imported = json.loads(done.stdout.splitlines()[-1])

    heavy = [name for name in imported if name.startswith(DENIED)]
    assert [] == heavy


def test_what_a_record_needs_is_imported_with_the_first_record() -> None:
    script = "import sys, tui.app; print(*sorted(sys.modules))"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    later = (
        "collectors.registry",
        "collectors.encoding",
        "store.reader",
        "zstandard",
        "brotli",
        "tui.loading",
        "sqlite3",
    )

    assert [] == [name for name in done.stdout.split() if name.startswith(later)]


def test_the_pure_modules_know_no_textual() -> None:
    script = """
import sys
import tui.feed, tui.format, tui.safe_text, tui.state, tui.clipboard, tui.crash, tui.loading
import tui.document.record_document, tui.document.layout
print([name for name in sys.modules if name == "textual" or name.startswith("sqlite")])
"""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )

    assert ("[]\n", "") == (done.stdout, done.stderr)
