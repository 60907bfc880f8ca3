"""`flowtap keep`: how many exchanges were kept, or exactly why none, and what it asked for."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.contract import Writer
from store.local import LocalStore
from store.location import open_reader, open_store
from store.record import Kept, Key, KeyKind
from tests.e2e.harness import wait_for
from tests.tui.cli.conftest import Flowtap
from tests.tui.cli.stage import SECRET, listing
from tests.tui.cli.test_json_page import check, section

CALLER = b"sk-ant-test-caller-0000"
FINGERPRINT = "sk-ant-t…0000"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with one key, which is off."""
    store = open_store(str(tmp_path / "own"))
    store.add_key("work", SECRET)
    store.close()
    return tmp_path / "own"


@pytest.fixture
def writer(root: Path) -> Iterator[Writer]:
    """As of a proxy that runs, and has seen one caller."""
    store = open_store(str(root))
    made = store.writer()
    store.close()
    try:
        made.announce("127.0.0.1:9")
        made.unmatched(CALLER, "api.anthropic.com", "claude-cli/2.1.197")

        def told() -> bool:
            reader = open_reader(str(root))
            try:
                return bool(reader.proxies() and reader.seen())
            finally:
                reader.close()

        wait_for(told, "the proxy and its caller in the store")
        yield made
    finally:
        made.close()


type Asked = tuple[str, int, int, str | None]


def answering(monkeypatch: pytest.MonkeyPatch, kept: Kept) -> list[Asked]:
    """Have the store be answered that; what it was asked."""
    asked: list[Asked] = []

    def keep(
        self: LocalStore,
        name: str,
        since_ms: int,
        retention_s: int,
        fingerprint: str | None = None,
        timeout_s: float = 5.0,
    ) -> Kept:
        asked.append((name, since_ms, retention_s, fingerprint))
        return kept

    monkeypatch.setattr(LocalStore, "keep", keep)
    return asked


def keys(root: Path) -> dict[str, Key]:
    reader = open_reader(str(root))
    try:
        return {key.name: key for key in reader.keys()}
    finally:
        reader.close()


def test_no_proxy(flowtap: Flowtap, root: Path) -> None:
    """Nobody to ask: said, with how to have one, and nothing is made."""
    before = listing(root)
    ran = flowtap("keep", store=root)
    assert (1, "") == (ran.status, ran.out)
    assert "no proxy is running" in ran.err
    assert "flowtap proxy --set flowtap_ring=64m" in ran.err
    assert 1 == ran.err.count("\n")
    as_json = flowtap("keep", "--json", store=root)
    assert (1, "") == (as_json.status, as_json.err)
    found = json.loads(as_json.out)
    assert (0, 0, 0, 0) == tuple(
        found[name] for name in ("kept", "answered", "without_ring", "silent")
    )
    assert before == listing(root)


@pytest.mark.parametrize(
    ("kept", "status", "said"),
    [
        (Kept(3, 1, 0, 0), 0, "3 exchanges kept as kept, for 1d"),
        (Kept(1, 1, 0, 0), 0, "1 exchange kept as kept, for 1d"),
        (Kept(1204, 2, 1, 0), 0, "1,204 exchanges kept as kept, for 1d"),
        (Kept(1, 1, 0, 1), 0, "1 proxy did not answer"),
        (Kept(0, 1, 0, 0), 0, "Nothing to keep: no exchange of the last 5m is in memory"),
        (Kept(0, 1, 2, 0), 0, "Nothing to keep: no exchange of the last 5m is in memory"),
        (Kept(0, 0, 1, 0), 1, "has no ring. Start it with one: flowtap proxy --set flowtap_ring"),
        (Kept(0, 0, 0, 2), 1, "2 proxies did not answer"),
        (Kept(0, 0, 1, 1), 1, "1 proxy did not answer"),
    ],
)
def test_what_is_said(
    flowtap: Flowtap,
    root: Path,
    writer: Writer,
    monkeypatch: pytest.MonkeyPatch,
    kept: Kept,
    status: int,
    said: str,
) -> None:
    """One line; on stdout if a proxy answered, else on stderr."""
    answering(monkeypatch, kept)
    ran = flowtap("keep", store=root)
    assert status == ran.status
    assert said in (ran.out if status == 0 else ran.err)
    assert ("" == ran.out) == bool(status)
    assert ("flowtap ls --key kept" in ran.err) == bool(kept.records)


def test_what_is_asked(
    flowtap: Flowtap, root: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last five minutes under `kept` for a day, or what the options say."""
    asked = answering(monkeypatch, Kept(1, 1, 0, 0))
    before_ms = time.time_ns() // 1_000_000
    assert 0 == flowtap("keep", store=root).status
    options = ("--last", "90s", "--as", "oops", "--retention", "7d", "--seen", "sk-ant-t...0000")
    assert 0 == flowtap("keep", *options, store=root).status
    after_ms = time.time_ns() // 1_000_000
    (name, since_ms, retention_s, fingerprint), other = asked
    assert ("kept", 86_400, None) == (name, retention_s, fingerprint)
    assert before_ms <= since_ms + 300_000 <= after_ms
    assert ("oops", 604_800, FINGERPRINT) == (other[0], other[2], other[3])
    assert before_ms <= other[1] + 90_000 <= after_ms


@pytest.mark.parametrize("kept", [Kept(2, 1, 0, 0), Kept(0, 0, 1, 0)])
def test_as_json(
    flowtap: Flowtap, root: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch, kept: Kept
) -> None:
    answering(monkeypatch, kept)
    ran = flowtap("keep", "--json", store=root)
    assert (0 if kept.answered else 1, 1) == (ran.status, len(ran.lines))
    found = json.loads(ran.out)
    fields = section("Keeping")
    check([found, found | {"retention_s": 1}], fields)
    assert kept == Kept(found["kept"], found["answered"], found["without_ring"], found["silent"])
    assert "kept" == found["key"]


def test_a_proxy_without_a_ring(flowtap: Flowtap, root: Path, writer: Writer) -> None:
    """Asked for real: it has none, and says so at once or is known to have none."""
    ran = flowtap("keep", store=root)
    assert (1, "") == (ran.status, ran.out)
    assert "flowtap_ring=64m" in ran.err


@pytest.fixture
def ringing(root: Path, writer: Writer) -> Iterator[Writer]:
    """As of a proxy with a ring, which keeps two exchanges whatever is asked."""
    writer.counters.has_ring = True
    stop = threading.Event()

    def answer() -> None:
        while not stop.wait(0.01):
            for ask in writer.asks():
                writer.answer(ask, 2)

    thread = threading.Thread(target=answer)
    thread.start()

    def told() -> bool:
        with sqlite3.connect(root / "index.db") as connection:
            rows = connection.execute("SELECT has_ring FROM proxies").fetchall()
        connection.close()
        return rows == [(1,)]

    try:
        wait_for(told, "the ring in the store")
        yield writer
    finally:
        stop.set()
        thread.join()


def test_asked_for_real(flowtap: Flowtap, root: Path, ringing: Writer) -> None:
    """The key is made; asked again with less it keeps as long as before, and says so."""
    ran = flowtap("keep", "--retention", "7d", store=root)
    assert (0, "2 exchanges kept as kept, for 7d\n") == (ran.status, ran.out)
    key = keys(root)["kept"]
    assert (KeyKind.KEPT, 604_800) == (key.kind, key.retention_s)
    ran = flowtap("keep", store=root)
    assert (0, "2 exchanges kept as kept, for 7d\n") == (ran.status, ran.out)
    assert 604_800 == json.loads(flowtap("keep", "--json", store=root).out)["retention_s"]
    assert "kept  kept from memory  7d" in flowtap("keys", "list", store=root).lines
    as_json = [json.loads(line) for line in flowtap("keys", "list", "--json", store=root).lines]
    assert [("kept", None)] == [(k["kind"], k["rule"]) for k in as_json if k["name"] == "kept"]


def test_no_command_is_run_under_what_was_kept(
    flowtap: Flowtap, root: Path, ringing: Writer
) -> None:
    """It would be recorded nowhere."""
    assert 0 == flowtap("keep", store=root).status
    for options in ((), ("--retention", "7d")):
        ran = flowtap("run", "--key", "kept", *options, "true", store=root)
        assert (2, "", 1) == (ran.status, ran.out, ran.err.count("\n"))
        assert "'kept' holds what was kept" in ran.err


def test_the_help_tells_the_statuses(flowtap: Flowtap) -> None:
    ran = flowtap("keep", "--help")
    assert 0 == ran.status
    for word in (
        "0  something was kept",
        "1  no proxy could answer",
        "2  bad input",
        "flowtap_ring",
    ):
        assert word in ran.out
