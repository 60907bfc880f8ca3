"""File systems of their own for the fault tests: small, frozen, read-only, cut off from power.

Each is a file mounted through a loop device, which takes root and a kernel that lets one. What
is not to be had here is found by trying it, and skipped with what was said.
"""

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

MEGABYTES = {"ext4": 64, "xfs": 320, "btrfs": 160}
"""The least that each makes a sound file system of."""

_MAKE = {"ext4": ["-q", "-F"], "xfs": ["-q", "-f"], "btrfs": ["-q", "-f"]}

# linux/fs.h, fs/ext4/ext4.h, fs/xfs/libxfs/xfs_fs.h
_FREEZE = 0xC0045877
_THAW = 0xC0045878
_SHUTDOWN = 0x8004587D
_WITHOUT_FLUSHING_THE_JOURNAL = 2


class Disk:
    """A mounted file system that can be harmed."""

    def __init__(self, image: Path, place: Path) -> None:
        self._image = image
        self.place = place

    def mount(self) -> None:
        """Mount it, as a machine does that starts; skips the test where that is not allowed."""
        _run("mount", "-o", "loop", str(self._image), str(self.place))

    def unmount(self) -> None:
        """As a machine that stops; after `cut_power` nothing more is written by it."""
        _run("umount", str(self.place))

    def read_only(self) -> None:
        """Nobody may write any more; nothing may be open for writing."""
        _run("mount", "-o", "remount,ro", str(self.place))

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Whoever writes waits. Skips where this file system cannot be frozen."""
        fd = os.open(self.place, os.O_RDONLY)
        try:
            try:
                fcntl.ioctl(fd, _FREEZE, 0)
            except OSError as exc:
                pytest.skip(f"this file system cannot be frozen: {exc.strerror}")
            try:
                yield
            finally:
                fcntl.ioctl(fd, _THAW, 0)
        finally:
            os.close(fd)

    def cut_power(self) -> None:
        """From now on nothing reaches the disk, not even what the kernel holds in memory."""
        fd = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSHING_THE_JOURNAL))
        except OSError as exc:
            pytest.skip(f"this file system cannot be cut off: {exc.strerror}")
        finally:
            os.close(fd)

    def free(self) -> None:
        """Whatever became of it, nothing of it stays mounted."""
        subprocess.run(  # noqa: S603 - our own arguments
            ["/usr/bin/env", "umount", "-l", str(self.place)], capture_output=True, check=False
        )


@contextlib.contextmanager
def disk(folder: Path, kind: str = "ext4") -> Iterator[Disk]:
    """A fresh, mounted file system of that kind."""
    maker = shutil.which(f"mkfs.{kind}", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    if maker is None:
        pytest.skip(f"mkfs.{kind} is not installed")
    image, place = folder / f"{kind}.img", folder / kind
    with image.open("wb") as file:
        file.truncate(MEGABYTES[kind] * 1024 * 1024)
    _run(maker, *_MAKE[kind], str(image))
    place.mkdir()
    made = Disk(image, place)
    made.mount()
    try:
        yield made
    finally:
        made.free()
        image.unlink()


def _run(*command: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own arguments
        ["/usr/bin/env", *command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = " ".join(done.stderr.split())
        pytest.skip(f"{Path(command[0]).name}: {said or 'it failed'}")
