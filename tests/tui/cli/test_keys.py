"""Keys on the command line: each change shows the retention as it is now, and nothing takes a secret from argv."""

import fcntl
import json
import os
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from store.local import LocalStore
from store.location import open_reader, open_store
from store.record import Key, RequestHead, ResponseHead, Transport
from tests.e2e.harness import on_disk
from tests.tui.cli.conftest import Flowtap
from tests.tui.cli.stage import SECRET, listing
from tui.cli.root import cli

HEAD = RequestHead("POST", "https", "api.anthropic.com", 443, "/v1/messages", "HTTP/1.1", ())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def keys(root: Path) -> dict[str, Key]:
    reader = open_reader(str(root))
    try:
        return {key.name: key for key in reader.keys()}
    finally:
        reader.close()


def fill(root: Path, name: str, ages_s: list[int]) -> None:
    """Records of that key, ended so long ago."""
    import time

    store = open_store(str(root))
    writer = store.writer()
    store.close()
    now_ms = time.time_ns() // 1_000_000
    for age_s in ages_s:
        recording = writer.begin(keys(root)[name], now_ms - age_s * 1000, HEAD, "messages")
        recording.response_head(1, ResponseHead(200, "OK", "HTTP/1.1", ()))
        recording.response_chunk(2, b"canary-record")
        recording.end(2, Transport.COMPLETE)
    writer.close()


@pytest.mark.check(1, 4, 5, 6)
def test_a_key_through_its_life(flowtap: Flowtap, root: Path) -> None:
    """Off, on, raised, lowered, renamed, off, gone: what each command says, and what the list says then."""
    secret = SECRET.encode() + b"\n"

    def said(*args: str, stdin: bytes = b"") -> str:
        ran = flowtap("keys", *args, store=root, stdin=stdin)
        assert (0, "") == (ran.status, ran.err)
        return ran.out

    def listed() -> list[list[str]]:
        found = [line.split() for line in said("list").splitlines()]
        as_json = [json.loads(line) for line in said("list", "--json").splitlines()]
        assert [row[0] for row in found] == [key["name"] for key in as_json]
        assert [key["retention_s"] for key in as_json] == [
            key.retention_s for key in keys(root).values()
        ]
        return found

    assert "work: off, nothing is recorded\n" == said("add", "work", stdin=secret)
    assert [["work", "secret", "…9Qz1", "off"]] == listed()
    assert "work: recorded, kept 1d\n" == said("set", "work", "24h")
    assert [["work", "secret", "…9Qz1", "1d"]] == listed()
    assert "work: recorded, kept 7d\n" == said("set", "work", " 7 D ")
    assert [["work", "secret", "…9Qz1", "7d"]] == listed()
    assert "work: recorded, kept 7d\n" == said("set", "work", "604800")
    assert "work: recorded, kept 45s\n" == said("set", "work", "45", "--yes")
    assert [["work", "secret", "…9Qz1", "45s"]] == listed()
    assert "laptop: recorded, kept 45s\n" == said("rename", "work", "laptop")
    assert [["laptop", "secret", "…9Qz1", "45s"]] == listed()
    assert "laptop: off, nothing is recorded\n" == said("set", "laptop", "OFF", "--yes")
    assert [["laptop", "secret", "…9Qz1", "off"]] == listed()
    assert "laptop: recorded, kept 1h\n" == said("set", "laptop", "1h")
    other = "ci: recorded, kept 30m\n"
    assert other == said("add", "ci", "--retention", "30m", stdin=b"sk-ant-test-0000-of-the-ci")
    assert [["ci", "secret", "…e-ci", "30m"], ["laptop", "secret", "…9Qz1", "1h"]] == listed()
    assert "laptop: removed\nci: removed\n" == said("remove", "laptop", "ci", "laptop", "--yes")
    assert {} == keys(root)


@pytest.mark.check(5, 6)
def test_every_change_as_json(flowtap: Flowtap, root: Path) -> None:
    def said(*args: str, stdin: bytes = b"") -> dict[str, Any]:
        ran = flowtap("keys", *args, "--json", store=root, stdin=stdin)
        assert (0, "") == (ran.status, ran.err)
        (line,) = ran.lines
        found: dict[str, Any] = json.loads(line)
        return found

    added = said("add", "work", "--retention", "1h", stdin=SECRET.encode())
    assert ("work", "9Qz1", 3600, 0) == tuple(
        added[name] for name in ("name", "last4", "retention_s", "deleted")
    )
    fill(root, "work", [10, 20, 1800])
    assert added | {"retention_s": 7200} == said("set", "work", "2h")
    assert added | {"retention_s": 600, "deleted": 1} == said("set", "work", "10m", "--yes")
    renamed = added | {"retention_s": 600, "name": "laptop"}
    assert renamed == said("rename", "work", "laptop")
    off = renamed | {"retention_s": None, "deleted": 2}
    assert off == said("set", "laptop", "off", "--yes")
    assert off | {"deleted": 0} == said("remove", "laptop", "--yes")


@pytest.mark.check(64, 65, 66, 67, 74)
def test_what_a_change_deletes_is_gone_when_it_returns(flowtap: Flowtap, root: Path) -> None:
    """Counted, and off the disk."""
    flowtap("keys", "add", "work", "--retention", "1h", store=root, stdin=SECRET.encode())
    fill(root, "work", [10, 1800])
    assert 2 == len(flowtap("ls", store=root).lines)
    assert flowtap("keys", "set", "work", "2h", store=root).out.endswith("kept 2h\n")
    assert 2 == len(flowtap("ls", store=root).lines)
    ran = flowtap("keys", "set", "work", "10m", "--yes", store=root)
    assert "work: recorded, kept 10m; 1 record deleted\n" == ran.out
    assert 1 == len(flowtap("ls", store=root).lines)
    ran = flowtap("keys", "remove", "work", "--yes", store=root)
    assert "work: removed; 1 record deleted\n" == ran.out
    assert [] == on_disk(root, b"canary-record")


def test_looking_makes_no_store(flowtap: Flowtap, tmp_path: Path) -> None:
    """The hint is on stderr; scripts get an empty list."""
    for args in (["keys", "list"], ["keys", "list", "--json"]):
        ran = flowtap(*args, store=tmp_path / "none")
        assert (0, "") == (ran.status, ran.out)
    assert not (tmp_path / "none").exists()
    assert "flowtap keys add NAME" in flowtap("keys", "list", store=tmp_path / "none").err


def test_keys_are_listed_where_the_index_is_missing(flowtap: Flowtap, root: Path) -> None:
    """The index can be made anew, the keys cannot: they are shown."""
    flowtap("keys", "add", "work", store=root, stdin=SECRET.encode())
    for file in root.glob("index.db*"):
        file.unlink()
    assert ["work", "secret", "…9Qz1", "off"] == flowtap("keys", "list", store=root).out.split()


def test_a_secret_from_the_environment(
    flowtap: Flowtap, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", f" {SECRET}\n")
    ran = flowtap("keys", "add", "work", "--env", "MY_SECRET", store=root, stdin=b"another")
    assert (0, "work: off, nothing is recorded\n") == (ran.status, ran.out)
    assert "9Qz1" == keys(root)["work"].last4


def test_no_command_has_an_option_for_a_secret() -> None:
    """The command line of a process is everybody's to read."""
    import click

    names: set[str] = set()
    arguments: set[str] = set()

    def walk(command: click.Command) -> None:
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                walk(found)
        for parameter in command.params:
            (arguments if isinstance(parameter, click.Argument) else names).update(parameter.opts)

    walk(cli)
    assert {"--retention", "--env", "--key"} <= names
    suspicious = ("secret", "token", "credential", "password", "api")
    assert [] == [name for name in names | arguments if any(word in name for word in suspicious)]


def test_the_secret_is_nowhere(flowtap: Flowtap, root: Path) -> None:
    """Not in what is printed, not on disk."""
    ran = flowtap("keys", "add", "work", store=root, stdin=SECRET.encode())
    listed = flowtap("keys", "list", "--json", store=root)
    assert "canary-SECRET" not in ran.out + ran.err + listed.out
    assert [] == on_disk(root, SECRET.encode())
    assert [] == on_disk(root, b"canary-SECRET")


# -- at a terminal --------------------------------------------------------------------------------


def at_terminal(args: list[str], root: Path, *dialogue: tuple[str, str]) -> tuple[int, str]:
    """Run flowtap on a terminal of its own; for each (text, answer): wait for it, type it."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "tui", "--store", str(root), *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    shown = ""
    try:
        for text, answer in dialogue:
            while text not in shown:
                shown += os.read(ours, 4096).decode()
            os.write(ours, answer.encode())
        while True:
            try:
                data = os.read(ours, 4096)
            except OSError:
                # Linux says EIO when the last of the other side's descriptors is closed.
                break
            if not data:
                break
            shown += data.decode()
        return process.wait(30), shown
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)


@pytest.mark.check(10)
@pytest.mark.parametrize(
    ("retention", "warning"),
    [
        ("off", "Saving will immediately delete the records of this key."),
        ("30m", "Saving will immediately delete records older than the new window."),
    ],
)
def test_at_a_terminal_a_change_that_deletes_is_asked_for(
    flowtap: Flowtap, root: Path, retention: str, warning: str
) -> None:
    """No leaves everything as it was, yes does it."""
    flowtap("keys", "add", "work", "--retention", "1h", store=root, stdin=SECRET.encode())
    before = listing(root)
    status, shown = at_terminal(["keys", "set", "work", retention], root, ("[y/N]", "n\n"))
    assert 2 == status
    assert warning in shown
    assert "Nothing was changed." in shown
    assert before == listing(root)
    status, shown = at_terminal(["keys", "set", "work", retention], root, ("[y/N]", "y\n"))
    assert 0 == status
    assert retention in shown
    assert before != listing(root)


@pytest.mark.check(10)
def test_at_a_terminal_a_change_that_deletes_nothing_is_not_asked_for(
    flowtap: Flowtap, root: Path
) -> None:
    flowtap("keys", "add", "work", store=root, stdin=SECRET.encode())
    for retention in ("1h", "2h", "2h"):
        status, shown = at_terminal(["keys", "set", "work", retention], root)
        assert (0, f"work: recorded, kept {retention}") == (status, shown.strip())


def test_at_a_terminal_the_secret_is_typed_unseen(root: Path) -> None:
    status, shown = at_terminal(["keys", "add", "work"], root, ("API key", f"{SECRET}\n"))
    assert 0 == status
    assert "work: off" in shown
    assert SECRET not in shown
    assert "9Qz1" == keys(root)["work"].last4


def test_ctrl_c_at_the_prompt_changes_nothing(root: Path) -> None:
    status, shown = at_terminal(["keys", "add", "work"], root, ("API key", "\x03"))
    assert 130 == status
    assert "Traceback" not in shown
    assert not root.exists()


@pytest.mark.check(75)
def test_removing_several_keys_purges_each_once(
    flowtap: Flowtap, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(root))
    for name in ("one", "two", "three"):
        store.add_key(name, f"sk-ant-test-0000-{name}", 3600)
    store.close()
    removed: list[str] = []
    before = LocalStore.remove_key

    def remove(self: LocalStore, name: str) -> int:
        removed.append(name)
        return before(self, name)

    monkeypatch.setattr(LocalStore, "remove_key", remove)

    assert 0 == flowtap("keys", "remove", "two", "one", "two", "--yes").status
    assert ["two", "one"] == removed
    assert ["three"] == list(keys(root))
