"""Files of ours alone: their modes, whose they are, and what is planted in their place."""

import os
import stat
import threading
from pathlib import Path

import pytest

from store.errors import BadInput, StoreUnavailable
from store.layout import (
    FileView,
    Layout,
    Lock,
    create_file,
    locked,
    make_folder,
    open_file,
    write_all,
    write_beside,
)

WINDOW = FileView.WINDOW


def modes(root: Path) -> dict[str, int]:
    return {
        str(path.relative_to(root)): stat.S_IMODE(path.lstat().st_mode) for path in root.rglob("*")
    }


@pytest.mark.check(95)
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_every_file_is_the_user_s_alone(tmp_path: Path, umask: int) -> None:
    root = tmp_path / "s"
    before = os.umask(umask)
    try:
        Layout(root).create()
    finally:
        os.umask(before)

    assert 0o700 == stat.S_IMODE(root.stat().st_mode)
    found = modes(root)
    assert {"segments", "live"} == {name for name, mode in found.items() if mode == 0o700}
    assert {0o600} == {mode for name, mode in found.items() if name not in ("segments", "live")}


@pytest.mark.check(95)
def test_a_store_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    root = tmp_path / "s"
    Layout(root).create()
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    Layout(root).create()

    assert 0o700 == stat.S_IMODE(root.stat().st_mode)
    found = modes(root)
    assert 0o700 == found["segments"] == found["live"]
    assert 0o600 == found["secret"] == found["keys.db"] == found["index.db"]


@pytest.mark.parametrize("name", ["segments", "live", "index.db", "keys.db", "lock.ckpt"])
@pytest.mark.parametrize("there", [True, False], ids=["to something", "dangling"])
def test_a_planted_link_is_refused(tmp_path: Path, name: str, there: bool) -> None:
    root, elsewhere = tmp_path / "s", tmp_path / "elsewhere"
    root.mkdir(0o700)
    if there:
        elsewhere.mkdir() if name in ("segments", "live") else elsewhere.write_bytes(b"")
        elsewhere.chmod(0o755)
    (root / name).symlink_to(elsewhere)
    with pytest.raises((BadInput, StoreUnavailable), match=name):
        Layout(root).create()

    assert elsewhere.exists() == there
    assert not there or 0o755 == stat.S_IMODE(elsewhere.stat().st_mode)


def test_a_planted_secret_is_replaced(tmp_path: Path) -> None:
    root = tmp_path / "s"
    root.mkdir()
    (tmp_path / "known").write_bytes(b"k" * 32)
    (root / "secret").symlink_to(tmp_path / "known")
    layout = Layout(root)
    layout.create()

    assert not layout.secret.is_symlink()
    assert b"k" * 32 != layout.read_secret()


def test_a_lost_secret_is_told_instead_of_replaced(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "s")
    layout.create()
    layout.keys.write_bytes(b"keys under the old secret")
    layout.secret.unlink()
    with pytest.raises(StoreUnavailable, match="secret is missing"):
        layout.create()

    assert not layout.secret.exists()


@pytest.mark.parametrize("what", ["a file", "below a file", "a link", "too long"])
def test_a_path_that_cannot_be_a_store(tmp_path: Path, what: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    path = {
        "a file": file,
        "below a file": file / "s",
        "a link": tmp_path / "link",
        "too long": tmp_path / ("x" * 300),
    }[what]
    with pytest.raises(BadInput) as caught:
        Layout(path).create()

    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert b"mine" == file.read_bytes()
    assert [] == list((tmp_path / "folder").iterdir())


@pytest.mark.check(95)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
def test_another_user_s_store_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "s"
    Layout(root).create()
    os.chown(root, 12345, 12345)
    with pytest.raises(BadInput, match="belongs to another user"):
        Layout(root).create()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_nobody_may_write_in(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(0o500)
    with pytest.raises(StoreUnavailable, match="closed"):
        Layout(tmp_path / "closed" / "s").create()


def test_a_log_left_of_a_removed_database_goes_with_it(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "s")
    layout.create()
    layout.index.unlink()
    wal = layout.index.with_name("index.db-wal")
    wal.write_bytes(b"stale")
    layout.create()

    assert not wal.exists()


def test_creating_again_opens_no_database() -> None:
    """Closing a descriptor of a database drops this process's SQLite locks on it."""
    source = Path(__file__).parents[2] / "store" / "layout.py"

    assert "O_CREAT | os.O_EXCL" in source.read_text()
    assert source.read_text().count("os.O_CREAT") == 2  # create_file, and the locks


def test_files_are_neither_made_twice_nor_opened_through_links(tmp_path: Path) -> None:
    path, link = tmp_path / "f", tmp_path / "l"
    os.close(create_file(path))
    link.symlink_to(path)
    for refused in (path, link):
        with pytest.raises(FileExistsError):
            create_file(refused)
    for call in (lambda: open_file(link), lambda: make_folder(link)):
        with pytest.raises(OSError, match=r"symbolic|directory|loop"):
            call()


def test_writing_beside_replaces_whole_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_beside(path, b"one")
    write_beside(path, b"two")

    assert [path] == list(tmp_path.iterdir())
    assert b"two" == path.read_bytes()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fd = create_file(tmp_path / "f")
    whole = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: whole(fd, data[:7]))
    write_all(fd, b"0123456789" * 9)
    os.close(fd)

    assert b"0123456789" * 9 == (tmp_path / "f").read_bytes()


def test_locks(tmp_path: Path) -> None:
    one, other = Lock(tmp_path), Lock(tmp_path)

    assert one.take(shared=True, timeout_s=0)
    assert other.take(shared=True, timeout_s=0)
    other.release()
    assert not other.take(timeout_s=0)
    assert not other.held
    one.release()
    one.release()
    with locked(tmp_path):
        assert not one.take(shared=True, timeout_s=0.02)
        with (
            pytest.raises(StoreUnavailable, match="held by another"),
            locked(tmp_path, timeout_s=0),
        ):
            pass
    assert one.take(timeout_s=0)
    waiting = threading.Thread(target=other.take)
    waiting.start()
    one.release()
    waiting.join()
    assert other.held
    other.release()
    with pytest.raises(FileNotFoundError):
        Lock(tmp_path / "none").take()


CONTENT = bytes(range(251)) * (3 * WINDOW // 251)


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, 0),
        (0, 1),
        (0, WINDOW),
        (0, WINDOW + 1),
        (WINDOW - 3, WINDOW + 3),
        (7, 2 * WINDOW),
        (len(CONTENT) - 5, len(CONTENT)),
        (len(CONTENT) - 5, len(CONTENT) + 5),
        (len(CONTENT), len(CONTENT) + 5),
    ],
)
def test_a_file_is_sliced_as_bytes_are(tmp_path: Path, start: int, stop: int) -> None:
    (tmp_path / "f").write_bytes(CONTENT)
    with FileView(tmp_path / "f") as view:
        assert len(CONTENT) == len(view)
        for _ in range(2):
            assert CONTENT[start:stop] == view[start:stop]
            assert CONTENT[10:20] == view[10:20]


@pytest.mark.parametrize("at", [0, WINDOW - 4, WINDOW - 3, WINDOW - 1, WINDOW, 3 * WINDOW, None])
def test_a_file_is_searched_as_bytes_are(tmp_path: Path, at: int | None) -> None:
    content = bytearray(4 * WINDOW)
    if at is not None:
        content[at : at + 4] = b"mark"
    (tmp_path / "f").write_bytes(content)
    with FileView(tmp_path / "f") as view:
        for start in (0, 1, WINDOW - 3, 2 * WINDOW, len(content), len(content) + 1):
            assert bytes(content).find(b"mark", start) == view.find(b"mark", start)


def test_a_file_that_is_cut_while_it_is_read_ends(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(CONTENT)
    with FileView(tmp_path / "f") as view:
        os.truncate(tmp_path / "f", 10)

        assert CONTENT[:10] == view[0 : len(CONTENT)]
        assert -1 == view.find(b"nowhere", WINDOW)
