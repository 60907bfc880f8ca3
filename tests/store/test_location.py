"""From what a user names to a store; what imports nothing of the writing side."""

import subprocess
import sys
from pathlib import Path

import pytest

from store.errors import BadInput, StoreUnavailable
from store.location import open_reader, open_store, store_path


def test_the_directory_meant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("FLOWTAP_STORE", raising=False)
    monkeypatch.chdir(tmp_path)

    assert "flowtap" == store_path(None).name
    assert store_path(None) == store_path("")
    monkeypatch.setenv("FLOWTAP_STORE", "~/mine")
    assert tmp_path / "mine" == store_path(None)
    assert tmp_path / "other" == store_path("other")


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("postgresql://u:hunter2@h/db", "no backend of this version speaks 'postgresql'"),
        ("://", "no backend"),
        ("a\0b", "NUL"),
        ("~nobody-of-that-name/s", "home"),
    ],
)
def test_what_is_no_directory(named: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        store_path(named)

    assert "hunter2" not in str(caught.value)


def test_a_reader_of_no_store_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"No store at .*mitmdump"):
        open_reader(str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreUnavailable, match="No store at"):
        open_reader(str(tmp_path / "empty"))


def test_a_store_opens_empty_and_a_reader_needs_no_writer(tmp_path: Path) -> None:
    open_store(str(tmp_path / "s")).close()
    reader = open_reader(str(tmp_path / "s"))

    assert [] == reader.records()
    assert [] == reader.keys()
    assert 0 == reader.last_seq()
    reader.close()


def test_reading_starts_without_the_writing_side() -> None:
    code = (
        "import sys, store.location; print([m for m in sys.modules"
        " if m in ('sqlite_utils', 'ulid', 'mitmproxy', 'collectors.facts', 'store.writer')])"
    )
    done = subprocess.run(  # noqa: S603 - fixed arguments
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert "[]" == done.stdout.strip()


def test_a_link_to_a_store_is_the_store(tmp_path: Path) -> None:
    """A user may keep it on another disk; what is refused is a link planted inside."""
    real = tmp_path / "real"
    link = tmp_path / "link"
    link.symlink_to(real)
    open_store(str(link)).close()

    assert (real / "keys.db").exists()
    open_reader(str(link)).close()
