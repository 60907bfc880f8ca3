"""Where everything of a store lies, and how its files come into being: 0700, 0600, ours alone.

<store>/                     0700
  index.db (-wal, -shm)      rebuildable from the segments
  keys.db                    the keys: not rebuildable, hence a file of its own
  secret                     random; keys the hashes of credentials
  lock.schema  lock.ckpt  lock.sweep
  segments/<key id>/<ulid>.seg
  live/<writer>/lock         held for the writer's life
  live/<writer>/<record id>.part
  fulltext/<key id>/<day>.db  the optional index of texts (store.fulltext); made by `flowtap index`
  quarantine/<key id>/<segment or record id>-<offset>.bad   corrupt pieces; made when there is one
"""

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from store.errors import BadInput, StoreUnavailable

_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
SECRET_BYTES = 32
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class Layout:
    """The paths of one store. Making one touches nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.index = root / "index.db"
        self.keys = root / "keys.db"
        self.secret = root / "secret"
        self.schema_lock = root / "lock.schema"
        self.checkpoint_lock = root / "lock.ckpt"
        self.sweep_lock = root / "lock.sweep"
        self.segments = root / "segments"
        self.live = root / "live"
        self.quarantine = root / "quarantine"
        self.fulltext = root / "fulltext"

    def key_folder(self, key_id: str) -> Path:
        """Where the segments of a key lie."""
        return self.segments / key_id

    def segment(self, name: str) -> Path:
        """The file of a segment as rows name it, `<key id>/<ulid>.seg`."""
        return self.segments / name

    def part(self, writer: str, record_id: str) -> Path:
        """The file of a record in flight."""
        return self.live / writer / f"{record_id}.part"

    def check(self) -> None:
        """Refuse what is no store of ours: BadInput for a file, another user's, or a path that cannot be."""
        try:
            info = os.lstat(self.root)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise BadInput(f"Store {self.root}: {exc.strerror}.") from exc
        if stat.S_ISLNK(info.st_mode):
            raise BadInput(f"Store {self.root} is a link; name the directory it leads to.")
        if not stat.S_ISDIR(info.st_mode):
            raise BadInput(f"Store {self.root} is not a directory.")
        if info.st_uid != os.geteuid():
            raise BadInput(f"Store {self.root} belongs to another user (uid {info.st_uid}).")

    def create(self) -> None:
        """Make the folders, locks and secret where absent, and close them to others.

        BadInput where the path cannot be a store, StoreUnavailable where the disk refuses.
        """
        self.check()
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.root, self.segments, self.live):
                make_folder(folder)
            for file in (self.schema_lock, self.checkpoint_lock, self.sweep_lock):
                os.close(os.open(file, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o600))
            with locked(self.schema_lock):
                self._make_secret()
                for database in (self.index, self.keys):
                    _make_database(database)
        except NotADirectoryError as exc:
            raise BadInput(f"Store {self.root}: {exc.filename} is not a directory.") from exc
        except OSError as exc:
            raise StoreUnavailable(f"Store {self.root}: {exc.strerror} ({exc.filename}).") from exc

    def _make_secret(self) -> None:
        try:
            info = os.lstat(self.secret)
        except FileNotFoundError:
            info = None
        if info is not None and stat.S_ISREG(info.st_mode) and info.st_size == SECRET_BYTES:
            os.chmod(self.secret, 0o600)
            return
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(self.keys).st_size:
                # With another secret no credential would match any key: silence instead of records.
                raise StoreUnavailable(
                    f"{self.secret} is missing or damaged, so no key can be recognised:"
                    f" restore it, or remove {self.keys} and add the keys anew."
                )
        write_beside(self.secret, secrets.token_bytes(SECRET_BYTES))

    def read_secret(self) -> bytes:
        """The bytes that key the credentials' hashes."""
        return self.secret.read_bytes()


def _make_database(path: Path) -> None:
    """An empty database file of mode 0600 where there is none: SQLite gives -wal and -shm its mode.

    One that is there is never opened here: closing any descriptor of it would drop the locks
    that SQLite holds on it in this process (sqlite.org/howtocorrupt.html, 2.2).
    """
    try:
        fd = create_file(path)
    except FileExistsError:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise OSError(errno.ELOOP, "is not a plain file", str(path)) from None
        os.chmod(path, 0o600)
        return
    os.close(fd)
    for suffix in ("-wal", "-shm", "-journal"):
        # Of a database that was removed: SQLite would play it into the new one.
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """A folder of mode 0700, made or mended; refuses a link planted in its place."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK)
    try:
        os.fchmod(fd, 0o700)
    finally:
        os.close(fd)


def create_file(path: Path | str) -> int:
    """A new file of mode 0600, opened for appending; FileExistsError if there is one, link or not."""
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o600)


def open_file(path: Path | str, *, append: bool = False) -> int:
    """An existing file, never through a link; FileNotFoundError if it is gone."""
    return os.open(path, (os.O_RDWR | os.O_APPEND if append else os.O_RDONLY) | _NO_LINK)


class FileView:
    """A file as a buffer for scanning, its length that at the opening. Use as a context.

    Read through a window, not mapped: where a disk gives an error a mapping kills the
    process, and this raises OSError.
    """

    WINDOW = 256 * 1024

    def __init__(self, path: Path) -> None:
        self._fd = open_file(path)
        try:
            info = os.fstat(self._fd)
            self._length = info.st_size
            self.modified_ns = info.st_mtime_ns
            """When the file was last written, nanoseconds since 1970."""
        except BaseException:
            os.close(self._fd)
            raise
        self._window = b""
        self._window_at = 0

    def __enter__(self) -> "FileView":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, key: slice, /) -> bytes:
        """The bytes from `key.start` to `key.stop`, both within the file."""
        start, stop, _ = key.indices(self._length)
        at = start - self._window_at
        if at < 0 or stop - self._window_at > len(self._window):
            if stop - start >= self.WINDOW:
                return self._read(start, stop - start)
            self._window = self._read(start, self.WINDOW)
            self._window_at = start
            at = 0
        return self._window[at : at + stop - start]

    def find(self, sub: bytes, start: int = 0, /) -> int:
        """Where `sub` begins first, from `start` on; -1 if nowhere."""
        while start < self._length:
            piece = self[start : min(start + self.WINDOW, self._length)]
            found = piece.find(sub)
            if found >= 0:
                return start + found
            # One that lies across the edge begins in this piece's last bytes.
            start += max(len(piece) - len(sub) + 1, 1)
        return -1

    def _read(self, start: int, size: int) -> bytes:
        pieces = []
        while size > 0 and (piece := os.pread(self._fd, size, start)):
            pieces.append(piece)
            start += len(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def write_all(fd: int, data: bytes) -> None:
    """Every byte of `data`, however short the kernel's writes are."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_beside(path: Path, data: bytes) -> None:
    """Replace a file whole: beside, sync, rename, sync the folder."""
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    fd = create_file(beside)
    try:
        write_all(fd, data)
        os.fsync(fd)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    beside.rename(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make names made, moved or removed in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Lock:
    """A lock on a file or folder that dies with its process (flock)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def take(self, *, shared: bool = False, timeout_s: float | None = None) -> bool:
        """Take it; waits for ever, or `timeout_s` (0: not at all). False if another holds it.

        Raises FileNotFoundError where the path is gone, StoreUnavailable where there are no locks.
        """
        fd = os.open(self._path, os.O_RDONLY | _NO_LINK)
        flag = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            if timeout_s is None:
                fcntl.flock(fd, flag)
            elif not _try_until(fd, flag, timeout_s):
                os.close(fd)
                return False
        except BaseException as exc:
            os.close(fd)
            if isinstance(exc, OSError) and exc.errno in _NO_LOCKS:
                # Each proxy would take the others for dead, and adopt what they are writing.
                raise StoreUnavailable(
                    f"{self._path}: this file system has no locks ({exc.strerror});"
                    " put the store on a local disk."
                ) from exc
            raise
        self._fd = fd
        return True

    @property
    def held(self) -> bool:
        """We hold it."""
        return self._fd is not None

    def release(self) -> None:
        """Let go; harmless if not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def is_held(path: Path) -> bool:
    """Whether some process holds that lock alone; False where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | _NO_LINK)
    except OSError:
        return False
    try:
        # Shared: two that ask at once do not take each other for its holder.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # No locks here, so nobody writes here (Lock.take).
        return False
    else:
        return False
    finally:
        os.close(fd)


def _try_until(fd: int, flag: int, timeout_s: float) -> bool:
    give_up = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(fd, flag | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                return False
            time.sleep(0.005)
        else:
            return True


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False, timeout_s: float | None = None) -> Iterator[None]:
    """Hold the lock on `path`; StoreUnavailable if it is not to be had within `timeout_s`."""
    lock = Lock(path)
    if not lock.take(shared=shared, timeout_s=timeout_s):
        raise StoreUnavailable(f"{path} is held by another process; try again.")
    try:
        yield
    finally:
        lock.release()
