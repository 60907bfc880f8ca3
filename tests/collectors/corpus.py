"""Recorded streams for tests: read where they lie, never copied here."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from collectors.event import Event
from collectors.framing import EventReader

ROOT = Path(
    os.environ.get("FLOWTAP_CORPUS")
    or Path(__file__).parents[2].parent / "shared" / "corpus" / "sample"
)

needs_corpus = pytest.mark.skipif(
    not ROOT.is_dir(), reason=f"no recorded streams at {ROOT} (set FLOWTAP_CORPUS)"
)

PROTOCOLS = ("messages", "responses", "chat", "gemini")


def files(*folders: str) -> list[Path]:
    """The recorded files of those folders (of all, if none is named), in order."""
    if not ROOT.is_dir():
        return []
    names = folders or tuple(sorted(path.name for path in ROOT.iterdir() if path.is_dir()))
    return [path for name in names for path in sorted((ROOT / name).iterdir())]


def read(data: bytes, step: int | None = None) -> list[Event]:
    """The events of a body, fed whole or in steps of so many bytes."""
    reader = EventReader(None)
    events: list[Event] = []
    size = step or max(1, len(data))
    for at in range(0, len(data), size):
        events += reader.feed(0, data[at : at + size])
    return events + reader.close()


def expected() -> dict[str, dict[str, Any]]:
    """By file: what independent accumulators made of it (protocol, view)."""
    path = ROOT / "expected.jsonl"
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {row["file"]: row for row in rows}
