"""A crash leaves one line and a private file; neither holds a variable's value."""

import stat
from pathlib import Path

from tests.tui.builders import SECRET
from tui.crash import CRASH_FILE, crash_line, write_crash_file


def crashed() -> Exception:
    def handler() -> None:
        header_value = SECRET
        raise ValueError("\x1b]0;PWNED\x07" + header_value[:0])

    try:
        handler()
    except ValueError as error:
        return error
    raise AssertionError


def test_the_file_is_private_and_holds_frames_without_locals(tmp_path: Path) -> None:
    path = write_crash_file(crashed(), tmp_path / "state")

    assert tmp_path / "state" / CRASH_FILE == path
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    text = path.read_text()
    assert "handler" in text
    assert "ValueError: ␛]0;PWNED␇" in text
    assert SECRET not in text


def test_an_older_file_never_lends_its_mode_or_its_target(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / CRASH_FILE).symlink_to(target)

    path = write_crash_file(crashed(), tmp_path)

    assert path is not None
    assert not path.is_symlink()
    assert "precious" == target.read_text()


def test_the_line_names_the_class_and_the_file_only(tmp_path: Path) -> None:
    line = crash_line(crashed(), tmp_path / CRASH_FILE)

    assert "\n" not in line
    assert "ValueError" in line
    assert str(tmp_path / CRASH_FILE) in line
    assert "PWNED" not in line


def test_where_no_file_can_be_written_the_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    path = write_crash_file(crashed(), tmp_path / "file")

    assert path is None
    assert "could not be written" in crash_line(crashed(), path)
