"""Who holds a lock, and who has a file open, where the system tells (Linux); elsewhere nobody is named.

A lock is asked for shared, as who commits does, and let go at once.
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from store.health import Holder, LockSeen


def look_at_lock(path: Path, wait_s: float) -> LockSeen:
    """Whether it can be had within that time; nothing is waited for with 0."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return LockSeen(path.name, missing=True)
    except OSError as exc:
        return LockSeen(path.name, error=exc.strerror or str(exc))
    try:
        give_up = time.monotonic() + wait_s
        held = False
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                held = True
                if time.monotonic() >= give_up:
                    stuck = wait_s > 0
                    return LockSeen(path.name, stuck=stuck, held=True, holders=_holders(fd))
                time.sleep(0.01)
            else:
                return LockSeen(path.name, held=held)
    except OSError as exc:
        return LockSeen(path.name, error=exc.strerror or str(exc))
    finally:
        os.close(fd)


def _holders(fd: int) -> tuple[Holder, ...]:
    """Who holds that file's lock, where the system tells (Linux)."""
    info = os.fstat(fd)
    device = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    pids = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if "FLOCK" in words and device in words and "WRITE" in words:
                pids += [int(word) for word in words[4:5] if word.isdigit()]
    return tuple(Holder(pid, _name(pid)) for pid in dict.fromkeys(pids))


def openers(path: Path) -> tuple[Holder, ...]:
    """Who has that file open, of the processes we may look at (Linux)."""
    wanted = os.path.realpath(path)
    found = []
    for process in _numbers(Path("/proc")):
        if process == os.getpid():
            continue
        fds = Path(f"/proc/{process}/fd")
        with contextlib.suppress(OSError):
            for fd in os.listdir(fds):
                with contextlib.suppress(OSError):
                    if os.readlink(fds / fd) == wanted:
                        found.append(Holder(process, _name(process)))
                        break
    return tuple(found)


def _numbers(folder: Path) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(folder) if name.isdigit())
    except OSError:
        return []


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return ""
