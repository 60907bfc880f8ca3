"""kill -9 in mid-stream: what was written is there afterwards, said to be cut, and nothing else is lost."""

import contextlib
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.event import Event
from collectors.framing import EventReader
from store.record import Record, State, Transport, Verdict
from tests.e2e.authored import event
from tests.e2e.harness import (
    KEY,
    Call,
    Client,
    Proxy,
    Upstream,
    new_store,
    post,
    records,
    wait_for,
)
from tui.record_json import events_of, outcome_of

HOST = "api.anthropic.com"
FINISHED = [f"finished-{n}" for n in range(3)]
OPEN = [f"open-{n}" for n in range(4)]
HEADED, SILENT, UPLOADING = "headed", "silent", "uploading"
PAUSE_S = 0.005
WORDS = 40
"""Deltas of a stream that ends."""

START = event(
    "message_start",
    {
        "type": "message_start",
        "message": {
            "id": "msg_test",
            "type": "message",
            "role": "assistant",
            "model": "claude-test-1",
            "content": [],
            "usage": {"input_tokens": 7, "output_tokens": 1},
        },
    },
) + event(
    "content_block_start",
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
)
STOP = (
    event("content_block_stop", {"type": "content_block_stop", "index": 0})
    + event("message_delta", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    + event("message_stop", {"type": "message_stop"})
)


def word(number: int) -> bytes:
    """One delta; no two are alike."""
    delta = {"type": "text_delta", "text": f"w{number} "}
    data = {"type": "content_block_delta", "index": 0, "delta": delta}
    return event("content_block_delta", data)


class Play:
    """The upstream's script: by the name in the path, and what it has sent under each."""

    def __init__(self) -> None:
        self.sent: defaultdict[str, bytes] = defaultdict(bytes)
        self.over = threading.Event()

    def __call__(self, call: Call) -> None:
        name = call.path.rpartition("=")[2]
        if name == UPLOADING:
            call.read_some()
            call.wait_closed()
            return
        call.read_body()
        if name == SILENT:
            call.wait_closed()
            return
        call.start(headers=[("content-type", "text/event-stream")])
        if name == HEADED:
            call.wait_closed()
            return
        self._chunk(call, name, START)
        for number in range(WORDS if name in FINISHED else 1_000_000):
            self._chunk(call, name, word(number))
            # A pace, as of a model; it ends when the proxy is gone.
            if self.over.wait(PAUSE_S):
                return
        self._chunk(call, name, STOP)
        call.finish()

    def _chunk(self, call: Call, name: str, data: bytes) -> None:
        # Noted first: what the proxy has must never be more than this.
        self.sent[name] += data
        call.chunk(data)


def request_body(name: str) -> bytes:
    return b'{"model":"claude-test-1","stream":true,"note":"%s"}' % name.encode()


@contextlib.contextmanager
def exchanges(proxy: Proxy) -> Iterator[None]:
    """Every exchange begun, the finished ones finished, the others open while the context lasts."""
    with contextlib.ExitStack() as stack:
        for name in (*FINISHED, *OPEN, HEADED, SILENT, UPLOADING):
            client = stack.enter_context(Client(proxy, HOST))
            body = request_body(name)
            length = len(body) + 1000 if name == UPLOADING else None
            client.send(post(f"/v1/messages?case={name}", body, length=length))
            if name in FINISHED:
                client.read_until(b"\r\n0\r\n\r\n")
        yield


def by_name(store: Path) -> dict[str, Record]:
    found = records(store)
    named = {record.request.path.rpartition("=")[2]: record for record in found}
    assert len(named) == len(found), "two records of one exchange"
    return named


def names_and_data(events: list[Event]) -> list[tuple[str | None, str]]:
    return [(item.name, item.data) for item in events]


def parsed(body: bytes) -> list[tuple[str | None, str]]:
    reader = EventReader("text/event-stream")
    return names_and_data([*reader.feed(0, body), *reader.close()])


class Killed:
    """A store after a proxy died over it, and what was known just before."""

    def __init__(self, folder: Path) -> None:
        self.store = new_store(folder / "store")
        self.play = Play()
        self.confdir = folder / "confdir"
        with Upstream(self.play) as upstream:
            self.upstream = upstream
            with Proxy(self.store, self.confdir, upstream) as proxy, exchanges(proxy):
                self.before = wait_for(self._far_enough, "all exchanges on disk")
                proxy.kill()
            self.play.over.set()
            self.unrecovered = by_name(self.store)
            self.restarts = []
            for _ in range(2):
                with Proxy(self.store, self.confdir, upstream) as proxy:
                    self.restarts.append(by_name(self.store))
                    # The first one is killed as well: recovery done leaves nothing to do.
                    proxy.kill()
            with Proxy(self.store, self.confdir, upstream) as proxy:
                proxy.stop()
            self.restarts.append(by_name(self.store))

    def _far_enough(self) -> dict[str, Record]:
        """What is on disk, once there is enough of each."""
        found = by_name(self.store)
        ready = (
            set(found) == {*FINISHED, *OPEN, HEADED, SILENT, UPLOADING}
            and all(found[name].meta.state is State.DONE for name in FINISHED)
            and all(len(found[name].response_body.arrivals) > 5 for name in OPEN)
            and found[HEADED].response is not None
            and found[SILENT].request_body.data
            and found[UPLOADING].request_body.data
        )
        return found if ready else {}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    return Killed(tmp_path_factory.mktemp("kill"))


def test_before_any_restart_a_reader_knows(killed: Killed) -> None:
    """The proxy is gone: what was open is said to be interrupted, with its bytes, by the reader alone."""
    assert set(killed.before) == set(killed.unrecovered)
    for name in FINISHED:
        assert killed.before[name] == killed.unrecovered[name]
    for name in OPEN:
        record = killed.unrecovered[name]
        assert (State.LIVE, Verdict.INTERRUPTED) == (record.meta.state, record.meta.verdict)
        assert killed.play.sent[name].startswith(record.response_body.data)
        assert record.response_body.data.startswith(killed.before[name].response_body.data)


@pytest.mark.check(25, 47, 98)
@pytest.mark.parametrize("name", FINISHED)
def test_what_was_finished_is_complete(killed: Killed, name: str) -> None:
    record = killed.restarts[0][name]
    assert killed.before[name] == record
    assert killed.play.sent[name] == record.response_body.data
    assert request_body(name) == record.request_body.data
    assert (State.DONE, Verdict.COMPLETE) == (record.meta.state, record.meta.verdict)
    outcome = outcome_of(record, events_of(record))
    assert outcome is not None
    assert outcome.result is not None
    assert (None, False) == (outcome.error, outcome.truncated)
    text = "".join(f"w{number} " for number in range(WORDS))
    assert [{"type": "text", "text": text}] == outcome.result["content"]


@pytest.mark.check(47, 98)
@pytest.mark.parametrize("name", OPEN)
def test_what_was_open_is_a_prefix(killed: Killed, name: str) -> None:
    """Bytes and events up to the last chunk written; interrupted, and folded as far as it goes."""
    record = killed.restarts[0][name]
    meta, data = record.meta, record.response_body.data
    assert (State.DONE, Verdict.INTERRUPTED) == (meta.state, meta.verdict)
    assert Transport.RECOVERED is meta.transport
    assert killed.before[name].meta.id == meta.id
    assert killed.play.sent[name].startswith(data)
    assert data.startswith(killed.before[name].response_body.data)
    assert killed.unrecovered[name].response_body == record.response_body
    assert len(data) == meta.response_bytes
    assert ("claude-test-1", 200, True) == (meta.model, meta.status, meta.streamed)
    assert request_body(name) == record.request_body.data
    assert meta.completed_ms is not None
    assert meta.completed_ms >= meta.started_ms
    events = events_of(record)
    assert events is not None
    found, sent = names_and_data(events), parsed(killed.play.sent[name])
    # The last one may be cut in its middle.
    assert found[:-1] == sent[: len(found) - 1]
    assert sent[len(found) - 1][1].startswith(found[-1][1])
    outcome = outcome_of(record, events)
    assert outcome is not None
    assert outcome.truncated
    assert outcome.result is not None
    (block,) = outcome.result["content"]
    assert "".join(f"w{number} " for number in range(1_000)).startswith(block["text"])
    assert block["text"].startswith("w0 w1 w2 ")


@pytest.mark.check(21, 23, 24)
def test_what_had_no_answer_yet(killed: Killed) -> None:
    """A head without a body is an empty body; no head at all is no response, with an error."""
    after = killed.restarts[0]
    for name in (HEADED, SILENT, UPLOADING):
        meta = after[name].meta
        assert (State.DONE, Verdict.INTERRUPTED) == (meta.state, meta.verdict)
        assert request_body(name) == after[name].request_body.data
    headed, silent = after[HEADED], after[SILENT]
    assert headed.response is not None
    assert (200, b"") == (headed.meta.status, headed.response_body.data)
    assert [] == events_of(headed)
    for record in (silent, after[UPLOADING]):
        assert record.response is None
        assert record.meta.status is None
        assert record.meta.error
        assert "\n" not in record.meta.error


def test_a_further_restart_changes_nothing(killed: Killed) -> None:
    """After recovery every record is the same, to the last field, however often a proxy starts or dies."""
    first, second, third = killed.restarts
    assert set(killed.before) == set(first)
    assert first == second == third
    assert [] == list((killed.store / "live").glob("*/*.part"))


def test_nothing_of_the_secret_is_left_in_what_recovery_wrote(killed: Killed) -> None:
    """The key is in the stored headers, and nowhere outside of the records' own files."""
    holding = {
        path.relative_to(killed.store).parts[0]
        for path in killed.store.rglob("*")
        if path.is_file() and KEY.encode() in path.read_bytes()
    }
    assert holding <= {"segments"}
