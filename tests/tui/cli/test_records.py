"""`ls`, `show`, `tail`: what is in them, what is masked, and that nothing captured drives a terminal."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collectors.protocol import LlmProtocol
from store.contract import PAGE, PAGE_CAP, Writer
from store.location import open_reader, open_store
from store.record import Key
from tests.e2e.harness import DEADLINE_S, wait_for
from tests.tui.cli.conftest import Flowtap
from tests.tui.cli.stage import (
    CANARIES,
    COOKIE,
    EXCHANGES,
    HOSTILE,
    NOW_MS,
    QUERY_SECRET,
    SECRET,
    Exchange,
    Stage,
    message,
    put,
)


def shown(flowtap: Flowtap, stage: Stage, name: str, *args: str) -> dict[str, Any]:
    """`show --json` of that exchange."""
    ran = flowtap("show", stage.ids[name], "--json", *args, store=stage.root)
    assert (0, "") == (ran.status, ran.err)
    (line,) = ran.lines
    found: dict[str, Any] = json.loads(line)
    return found


# -- ls -------------------------------------------------------------------------------------------


@pytest.mark.check(30, 51)
def test_ls(flowtap: Flowtap, stage: Stage) -> None:
    """One line a record, newest first, the same records both ways."""
    text = flowtap("ls", store=stage.root)
    assert (0, "") == (text.status, text.err)
    rows = [json.loads(line) for line in flowtap("ls", "--json", store=stage.root).lines]
    newest_first = list(reversed(stage.ids.values()))
    assert newest_first == [row["id"] for row in rows] == [line[:26] for line in text.lines]
    by_name = {name: line for name, line in zip(reversed(stage.ids), text.lines, strict=True)}
    assert "✓ 200" in by_name["stream"]
    assert "25→12" in by_name["stream"]
    assert "✗ ERR" in by_name["silent"]
    assert "connection refused" in by_name["silent"]
    assert "▲ 401" in by_name["refused"]
    assert "◐ cut" in by_name["cut"]


def test_ls_of_a_key_that_is_off_is_empty(flowtap: Flowtap, stage: Stage) -> None:
    ran = flowtap("ls", "--key", "idle", store=stage.root)
    assert (0, "", "") == (ran.status, ran.out, ran.err)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """205 records."""
    root = tmp_path_factory.mktemp("many") / "store"
    store = open_store(str(root))
    key = store.add_key("work", SECRET, 315_360_000)
    writer = store.writer()
    store.close()
    for number in range(205):
        put(writer, key, Exchange(response=[b"{}"]), NOW_MS + number)
    writer.close()
    return root


@pytest.mark.check(52, 53, 96)
@pytest.mark.parametrize(
    ("args", "count"),
    [
        ([], PAGE),
        (["--limit", "1000"], PAGE_CAP),
        (["--limit", "9" * 5000], PAGE_CAP),
        (["--limit", "201"], PAGE_CAP),
        (["--limit", "200"], PAGE_CAP),
        (["--limit", "007"], 7),
        (["--limit", "1"], 1),
    ],
)
def test_limits(flowtap: Flowtap, many: Path, args: list[str], count: int) -> None:
    ran = flowtap("ls", "--json", *args, store=many)
    assert (0, count) == (ran.status, len(ran.lines))


@pytest.mark.check(52, 94)
def test_pages(flowtap: Flowtap, many: Path) -> None:
    """`--before` the last one shown goes on where it ended, nothing twice, nothing left out."""
    seen: list[str] = []
    before: list[str] = []
    while lines := flowtap("ls", "--limit", "100", *before, store=many).lines:
        seen += [line[:26] for line in lines]
        before = ["--before", seen[-1]]
    assert 205 == len(seen) == len(set(seen))
    assert sorted(seen, reverse=True) == seen


# -- show -----------------------------------------------------------------------------------------


@pytest.mark.check(21, 22, 25, 27, 98)
def test_show_a_stream(flowtap: Flowtap, stage: Stage) -> None:
    record = shown(flowtap, stage, "stream")
    assert "stream" == record["response"]["type"]
    events = record["response"]["events"]
    assert [120 + 10 * number for number in range(len(events))] == [e["at_ms"] for e in events]
    assert "message_start" == events[0]["name"]
    assert "Hello, world." == record["outcome"]["result"]["content"][0]["text"]
    assert (None, False, []) == tuple(
        record["outcome"][name] for name in ("error", "truncated", "warnings")
    )
    text = flowtap("show", stage.ids["stream"], store=stage.root).out
    assert '"text": "Hello, world."' in text
    assert "POST https://api.anthropic.com/v1/messages?beta=true" in text
    assert "verdict  complete" in text


@pytest.mark.check(21, 23, 24, 134)
def test_show_other_responses(flowtap: Flowtap, stage: Stage) -> None:
    refused = shown(flowtap, stage, "refused")
    assert "bytes" == refused["response"]["type"]
    assert refused["outcome"]["error"].startswith("auth: Incorrect API key")
    assert {"type": "none"} == shown(flowtap, stage, "silent")["response"]
    text = flowtap("show", stage.ids["silent"], store=stage.root).out
    assert "No response body was produced." in text
    assert "connection refused" in text


@pytest.mark.check(98, 132)
def test_show_cut_and_live(flowtap: Flowtap, stage: Stage) -> None:
    """Both are incomplete; only one of them is over."""
    cut, live = shown(flowtap, stage, "cut"), shown(flowtap, stage, "live")
    assert ("done", "upstream_closed") == (cut["state"], cut["verdict"])
    assert ("live", None) == (live["state"], live["verdict"])
    assert cut["outcome"]["truncated"]
    assert "Still " == live["outcome"]["result"]["content"][0]["text"]
    text = flowtap("show", stage.ids["cut"], store=stage.root).out
    assert "Stream truncated — terminal frame missing." in text
    text = flowtap("show", stage.ids["live"], store=stage.root).out
    assert "In flight: the answer so far." in text
    assert "truncated" not in text


@pytest.mark.check(110)
def test_show_with_another_protocol(flowtap: Flowtap, stage: Stage) -> None:
    """Folded as asked, not as detected."""
    record = shown(flowtap, stage, "stream", "--protocol", "chat")
    assert "Hello, world." not in json.dumps(record["outcome"])
    assert "messages" == record["protocol"]
    for protocol in LlmProtocol:
        ran = flowtap("show", stage.ids["stream"], "--protocol", str(protocol), store=stage.root)
        assert (0, "") == (ran.status, ran.err)


@pytest.mark.check(27)
def test_show_a_body_that_is_no_text(flowtap: Flowtap, stage: Stage) -> None:
    record = shown(flowtap, stage, "binary", "--reveal")
    assert "base64" == record["request"]["body"]["encoding"]
    assert EXCHANGES["binary"].request_body == base64.b64decode(record["request"]["body"]["data"])
    assert "base64" == record["response"]["body"]["encoding"]


# -- masks ----------------------------------------------------------------------------------------


def decoded(text: str) -> str:
    """The output, and whatever base64 in it says."""
    words = [word.strip('",') for word in text.split()]
    found = [text]
    for word in words:
        if len(word) >= 8 and len(word) % 4 == 0:
            try:
                found.append(base64.b64decode(word, validate=True).decode("latin-1"))
            except ValueError:
                continue
    return "\n".join(found)


@pytest.mark.check(128)
@pytest.mark.parametrize("name", list(EXCHANGES))
@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
def test_show_masks_every_secret(
    flowtap: Flowtap, stage: Stage, name: str, flags: list[str]
) -> None:
    """Headers, path, bodies, events, folded answer, error; length and both ends stay."""
    out = decoded(flowtap("show", stage.ids[name], *flags, store=stage.root).out)
    for canary in CANARIES:
        assert canary not in out
    masked = SECRET[:8] + "•" * (len(SECRET) - 16) + SECRET[-8:]
    assert masked in (
        out if not flags else json.loads(out.splitlines()[0])["request"]["headers"][0]
    )


@pytest.mark.check(19, 128)
@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
def test_show_reveals_when_asked(flowtap: Flowtap, stage: Stage, flags: list[str]) -> None:
    """What was captured is as it was captured."""
    out = flowtap("show", stage.ids["echo"], "--reveal", *flags, store=stage.root).out
    assert 4 <= out.count(SECRET)
    assert 2 == out.count(COOKIE)
    out = flowtap("show", stage.ids["query"], "--reveal", *flags, store=stage.root).out
    assert f"key={QUERY_SECRET}&alt=json" in out
    assert "•" not in out
    assert "\\u2022" not in out


@pytest.mark.check(128)
@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
def test_ls_masks_path_and_error(flowtap: Flowtap, stage: Stage, flags: list[str]) -> None:
    """An upstream that refuses a key likes to quote it."""
    out = flowtap("ls", *flags, store=stage.root).out
    assert "Incorrect API key provided: sk-ant-t" in out
    assert "key=AIza-tes" in out
    for canary in CANARIES:
        assert canary not in out
    revealed = flowtap("ls", "--reveal", *flags, store=stage.root).out
    assert f"key={QUERY_SECRET}" in revealed
    # The row never had it: `show --reveal` has the body that quotes it.
    assert "provided: sk-ant-t•" in revealed or "provided: sk-ant-t\\u2022" in revealed


# -- hostile text ---------------------------------------------------------------------------------


def commands(stage: Stage) -> Iterator[list[str]]:
    for flags in ([], ["--json"], ["--reveal"], ["--json", "--reveal"]):
        yield ["ls", *flags]
        for record_id in stage.ids.values():
            yield ["show", record_id, *flags]


def test_nothing_captured_drives_a_terminal(flowtap: Flowtap, stage: Stage) -> None:
    """ESC, C1, bidi and zero-width in path, model, headers, reason, bodies and errors: all visible."""
    printed = ""
    for command in commands(stage):
        ran = flowtap(*command, store=stage.root)
        assert 0 == ran.status
        assert set() == set(HOSTILE) & set(ran.out), command
        assert "\r" not in ran.out
        printed += ran.out
    # It was there to be seen, and is seen.
    for trace in ("␛]52;c;aGk=␇", "\\x9b31m", "\\u202e", "\\u001b]52"):
        assert trace in printed


def test_json_is_ascii(flowtap: Flowtap, stage: Stage) -> None:
    """So no terminal and no locale can do anything with it."""
    for command in commands(stage):
        if "--json" in command:
            assert flowtap(*command, store=stage.root).out.isascii()


# -- tail -----------------------------------------------------------------------------------------


class Producer:
    """A store that gets records while a test looks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        store = open_store(str(root))
        self.keys: dict[str, Key] = {
            name: store.add_key(name, f"{SECRET}-{name}", 315_360_000) for name in ("work", "ci")
        }
        self.writer: Writer = store.writer()
        store.close()

    def put(self, key: str = "work", *, live: bool = False) -> str:
        """One more record; its id, once it is in the index."""
        made = put(self.writer, self.keys[key], Exchange(response=message("hi"), live=live), NOW_MS)
        wait_for(lambda: self._listed(made), "the record in the index")
        return made

    def _listed(self, record_id: str) -> bool:
        reader = open_reader(str(self.root))
        try:
            return reader.meta(record_id) is not None
        finally:
            reader.close()


@pytest.fixture
def producer(tmp_path: Path) -> Iterator[Producer]:
    made = Producer(tmp_path / "producer")
    try:
        yield made
    finally:
        made.writer.close()


def tail(producer: Producer, *args: str) -> "subprocess.Popen[str]":
    """A `flowtap tail` that follows already when this returns."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "tui", "tail", "--json", *args],
        env={**os.environ, "FLOWTAP_STORE": str(producer.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return process


def lines_of(
    process: "subprocess.Popen[str]", producer: Producer, key: str, *, live: bool = False
) -> list[Any]:
    """All it printed; records keep coming until it has enough, since nobody can see it start."""
    enough = threading.Event()

    def keep_coming() -> None:
        while not enough.wait(0.05):
            producer.put(key, live=live)

    thread = threading.Thread(target=keep_coming)
    thread.start()
    try:
        out, err = process.communicate(timeout=DEADLINE_S)
    finally:
        enough.set()
        thread.join()
        process.kill()
    assert (0, "") == (process.returncode, err)
    return [json.loads(line) for line in out.splitlines()]


def test_tail_count(producer: Producer) -> None:
    """So many lines, of what ended since it began, each once, in order; then it ends with 0."""
    old = producer.put()
    rows = lines_of(tail(producer, "--count", "3"), producer, "work")
    ids = [row["id"] for row in rows]
    assert 3 == len(ids) == len(set(ids))
    assert sorted(ids) == ids
    assert old not in ids
    assert {"done"} == {row["state"] for row in rows}


def test_tail_of_one_key(producer: Producer) -> None:
    rows_process = tail(producer, "--count", "2", "--key", "ci")
    producer.put("work")
    rows = lines_of(rows_process, producer, "ci")
    assert ["ci", "ci"] == [row["key"] for row in rows]


def test_tail_live(producer: Producer) -> None:
    """`--live` shows a record before it has ended."""
    rows = lines_of(tail(producer, "--count", "2", "--live"), producer, "work", live=True)
    assert ["live", "live"] == [row["state"] for row in rows]


def test_ctrl_c_ends_tail_quietly(producer: Producer) -> None:
    import signal

    process = tail(producer)
    assert process.stdout is not None
    enough = threading.Event()

    def keep_coming() -> None:
        while not enough.wait(0.05):
            producer.put()

    thread = threading.Thread(target=keep_coming)
    thread.start()
    try:
        # A first line: it follows.
        assert process.stdout.readline().startswith("{")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE_S)
    finally:
        enough.set()
        thread.join()
        process.kill()
    assert (130, "") == (process.returncode, err.strip())
