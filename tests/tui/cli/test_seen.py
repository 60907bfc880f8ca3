"""`flowtap keys seen`, and opting one in: who called without a key that is on, told apart without being told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.contract import Writer
from store.errors import BadInput
from store.location import open_reader, open_store
from store.record import Seen
from tests.e2e.harness import on_disk, wait_for
from tests.tui.cli.conftest import Flowtap
from tests.tui.cli.stage import BIDI, C1, ESC, HOSTILE, listing
from tests.tui.cli.test_json_page import check, section
from tui.cli.callers import fingerprint_of

CALLER = b"sk-ant-test-canary-caller-0000"
SIBLING = b"sk-ant-test-canary-caller-1111"
OFF_SECRET = "sk-off-test-canary-idle-9Qz1"

CALLS: list[tuple[bytes | None, str, str | None]] = [
    (CALLER, "api.anthropic.com", "claude-cli/2.1.197"),
    (CALLER, "api.anthropic.com", "claude-cli/2.1.197"),
    (CALLER, "api.openai.com", "codex/0.1"),
    (SIBLING, "api.anthropic.com", "claude-cli/2.1.197"),
    (b"short", "api.anthropic.com", None),
    (b"brief", "api.anthropic.com", None),
    (None, "generativelanguage.googleapis.com", "curl/8"),
    (OFF_SECRET.encode(), "api.openai.com", "codex/0.1"),
    (b"\x1b[31m\x07\x9b\xff not ascii at all", f"h{ESC}{C1}", f"c{ESC}{BIDI}"),
]


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A store with one key, which is off."""
    store = open_store(str(tmp_path / "own"))
    store.add_key("idle", OFF_SECRET)
    store.close()
    return tmp_path / "own"


@pytest.fixture
def writer(empty: Path) -> Iterator[Writer]:
    store = open_store(str(empty))
    made = store.writer()
    store.close()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def root(empty: Path, writer: Writer) -> Path:
    """The same after those calls."""
    for credential, host, client in CALLS:
        writer.unmatched(credential, host, client)

    def told() -> bool:
        return sum(caller.count for caller in seen(empty)) == len(CALLS)

    wait_for(told, "the callers in the store")
    return empty


def seen(root: Path) -> list[Seen]:
    reader = open_reader(str(root))
    try:
        return reader.seen()
    finally:
        reader.close()


def found(flowtap: Flowtap, root: Path) -> list[dict[str, Any]]:
    ran = flowtap("keys", "seen", "--json", store=root)
    assert (0, "") == (ran.status, ran.err)
    return [json.loads(line) for line in ran.lines]


def test_who_called(flowtap: Flowtap, root: Path) -> None:
    """A line for each caller, host and client; what to do about it on stderr."""
    ran = flowtap("keys", "seen", store=root)
    assert 0 == ran.status
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in ran.lines]
    without_age = [[*row[:4], *row[5:]] for row in rows]
    first = ["sk-ant-t…0000", "api.anthropic.com", "claude-cli/2.1.197", "2 calls"]
    assert first in without_age
    assert ["sk-ant-t…0000", "api.openai.com", "codex/0.1", "1 call"] in without_age
    assert ["sk-off-t…9Qz1", "api.openai.com", "codex/0.1", "1 call", "idle (off)"] in without_age
    # Two that cannot be told apart are one line.
    assert ["…", "api.anthropic.com", "unknown client", "2 calls"] in without_age
    nobody = ["no credential", "generativelanguage.googleapis.com", "curl/8", "1 call"]
    assert nobody in without_age
    assert all(row[4] == "now" or row[4].endswith("s ago") for row in rows)
    assert "flowtap keys add NAME --seen FINGERPRINT --retention 24h" in ran.err
    assert "flowtap keys set NAME 24h" in ran.err


def test_as_json(flowtap: Flowtap, root: Path) -> None:
    """The same callers, in the reader's order."""
    values = found(flowtap, root)
    check(values, section("Caller"))
    assert [
        (caller.fingerprint, caller.host, caller.client, caller.count) for caller in seen(root)
    ] == [
        (value["fingerprint"], value["host"], value["client"], value["count"]) for value in values
    ]
    assert {"idle", None} == {value["key"] for value in values}
    for value in values:
        assert value["first_at"] <= value["last_at"]


def test_nothing_captured_drives_the_terminal(flowtap: Flowtap, root: Path) -> None:
    """Hosts and clients are the clients' to choose."""
    ran = flowtap("keys", "seen", store=root)
    assert not set(HOSTILE) & set(ran.out + ran.err)
    assert "canary" not in ran.out + ran.err
    raw = flowtap("keys", "seen", "--json", store=root).out
    assert raw.isascii()
    assert not set(HOSTILE) & set(raw)


def test_nobody(flowtap: Flowtap, empty: Path, tmp_path: Path) -> None:
    """Said on stderr; and looking makes no store."""
    for store in (empty, tmp_path / "none"):
        ran = flowtap("keys", "seen", store=store)
        assert (0, "", "No unmatched call has passed.\n") == (ran.status, ran.out, ran.err)
        assert [] == found(flowtap, store)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "given", ["sk-ant-t…0000", "sk-ant-t...0000", " sk-ant-t…0", "sk-ant-t..."]
)
def test_opting_a_caller_in(flowtap: Flowtap, root: Path, writer: Writer, given: str) -> None:
    """Without anybody giving its secret; from then on it is matched."""
    args = ("keys", "add", "laptop", "--seen", given, "--retention", "24h")
    if given == "sk-ant-t...":
        # It begins two of them.
        ran = flowtap(*args, store=root)
        assert (2, "") == (ran.status, ran.out)
        assert "sk-ant-t…0000" in ran.err
        assert "sk-ant-t…1111" in ran.err
        return
    ran = flowtap(*args, store=root, stdin=b"sk-ant-test-0000-on-stdin")
    assert (0, "laptop: recorded, kept 1d\n", "") == (ran.status, ran.out, ran.err)
    (key,) = [
        key
        for key in (
            json.loads(line) for line in flowtap("keys", "list", "--json", store=root).lines
        )
        if key["name"] == "laptop"
    ]
    assert ("secret", None, "0000") == (key["kind"], key["rule"], key["last4"])

    def matched() -> bool:
        match = writer.keys.match([CALLER], ())
        return match is not None and match.name == "laptop"

    wait_for(matched, "the proxy to know of the key")
    assert writer.keys.match([SIBLING], ()) is None
    assert [] == on_disk(root, CALLER)
    assert "sk-ant-t…0000" not in {value["fingerprint"] for value in found(flowtap, root)}


@pytest.mark.parametrize(
    ("given", "said"), [("...", "2 credentials look like"), ("sk-off-t...9Qz1", "idle")]
)
def test_who_cannot_be_opted_in(flowtap: Flowtap, root: Path, given: str, said: str) -> None:
    """Two that look the same; a key already."""
    before = listing(root)
    ran = flowtap("keys", "add", "laptop", "--seen", given, store=root)
    assert (2, "", 1) == (ran.status, ran.out, ran.err.count("\n"))
    assert said in ran.err
    assert before == listing(root)


def caller(fingerprint: str | None) -> Seen:
    return Seen(fingerprint, "h", None, 1, 0, 0)


KNOWN = [caller(text) for text in ("sk-ant-a…0000", "sk-ant-a…0001", "AIza1234…xyz9", "…", None)]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("sk-ant-a…0000", "sk-ant-a…0000"),
        ("sk-ant-a...0001", "sk-ant-a…0001"),
        (" AIza1234…xyz9\n", "AIza1234…xyz9"),
        ("AIza", "AIza1234…xyz9"),
        ("AIza1234...", "AIza1234…xyz9"),
        ("…", "…"),
        ("...", "…"),
        ("sk-ant-a…000", None),
        ("sk", None),
        ("", None),
        (" ", None),
        ("aiza", None),
        ("sk-ant-a…00000", None),
        ("sk-ant-api03-the-whole-secret-0000", None),
    ],
)
def test_which_fingerprint_is_meant(text: str, meant: str | None) -> None:
    """All of it, or a beginning no other has; of what is refused nothing is repeated."""
    if meant is not None:
        assert meant == fingerprint_of([*KNOWN, *KNOWN], text)
        return
    with pytest.raises(BadInput) as caught:
        fingerprint_of(KNOWN, text)
    assert "whole-secret" not in str(caught.value)
