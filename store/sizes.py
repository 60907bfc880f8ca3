"""What a store takes on the disk, by what it is. I/O only; nothing is opened, so nothing is disturbed."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from store.layout import Layout
from store.usage_stats import Sizes


def measure(layout: Layout) -> Sizes:
    """The sizes now; what is absent or cannot be looked at counts nothing."""
    segments = list(_sizes(layout.segments, ".seg"))
    parts = list(_sizes(layout.live, ".part"))
    pieces = list(_sizes(layout.quarantine, ".bad"))
    free: int | None = None
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(layout.root).free
    return Sizes(
        segments=len(segments),
        segment_bytes=sum(segments),
        parts=len(parts),
        part_bytes=sum(parts),
        quarantine=len(pieces),
        quarantine_bytes=sum(pieces),
        index_bytes=_size(layout.index),
        log_bytes=_size(layout.index.with_name("index.db-wal"))
        + _size(layout.index.with_name("index.db-shm")),
        keys_bytes=_size(layout.keys),
        texts_bytes=sum(_sizes(layout.fulltext, "")),
        free_bytes=free,
    )


def _sizes(folder: Path, suffix: str) -> Iterator[int]:
    """Of the files two levels down: every folder of the store is made like that."""
    for below in _entries(folder):
        with contextlib.suppress(OSError):
            if below.is_dir(follow_symlinks=False):
                for entry in _entries(Path(below.path)):
                    if entry.name.endswith(suffix) and entry.is_file(follow_symlinks=False):
                        yield entry.stat(follow_symlinks=False).st_size


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _size(path: Path) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0
