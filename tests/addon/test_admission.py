"""What becomes a record, what is counted and held, and what is refused; the seam of hooks and sockets."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from addon.admission import Admission
from addon.keeping import Keeping
from addon.ring import Held
from store.record import RequestHead
from tests.addon.fakes import KEY, OFF, OTHER, FakeRecording, FakeWriter


@dataclass
class Rig:
    admission: Admission
    keeping: Keeping
    failures: list[BaseException]


@contextmanager
def rig(writer: FakeWriter, *, ring: int = 0, required: bool = False) -> Iterator[Rig]:
    failures: list[BaseException] = []
    keeping = Keeping(failures.append)
    keeping.configure(ring)
    keeping.opened(writer)
    admission = Admission(keeping, failures.append, lambda: "locked")
    admission.required = required
    try:
        yield Rig(admission, keeping, failures)
    finally:
        keeping.close()


def head(*headers: tuple[bytes, bytes]) -> RequestHead:
    return RequestHead(
        "POST", "https", "api.anthropic.com", 443, "/v1/messages", "HTTP/1.1", headers
    )


HEAD = head((b"User-Agent", b"claude-cli/2.1.197 (external, cli)"))


@pytest.mark.check(2, 7)
@pytest.mark.parametrize(
    ("found", "ring", "count", "begun", "told"),
    [
        ([KEY], 0, True, FakeRecording, (1, 1, 0)),
        ([KEY], 1 << 20, True, FakeRecording, (1, 1, 0)),
        ([KEY], 0, False, FakeRecording, (1, 1, 0)),
        ([OFF, KEY], 0, True, FakeRecording, (1, 1, 0)),
        ([OFF], 0, True, None, (1, 0, 1)),
        ([OFF], 0, False, None, (0, 0, 0)),
        ([OFF], 1 << 20, True, Held, (1, 0, 1)),
        ([OFF], 1 << 20, False, Held, (0, 0, 0)),
        ([OTHER], 0, True, None, (1, 0, 1)),
        ([OTHER], 1 << 20, True, Held, (1, 0, 1)),
        ([], 0, True, None, (1, 0, 1)),
        ([], 1 << 20, True, Held, (1, 0, 1)),
    ],
)
async def test_begin(
    found: list[bytes],
    ring: int,
    count: bool,
    begun: type | None,
    told: tuple[int, int, int],
) -> None:
    """A record of the store's, a place in the ring, or nothing; and (seen, recorded, unmatched)."""
    writer = FakeWriter()
    with rig(writer, ring=ring) as it:
        recording = it.admission.begin(writer, found, HEAD, "messages", 1000, count=count)
        assert (type(None) if begun is None else begun) is type(recording)
        counters = writer.counters
        assert told == (counters.seen, counters.recorded, counters.unmatched)
        unmatched = [(found[0] if found else None, "api.anthropic.com", "claude-cli/2.1.197")]
        assert (unmatched if told[2] else []) == writer.passed_by
        assert (begun is Held) is (it.keeping.ring is not None and len(it.keeping.ring) == 1)
        assert [] == it.failures


async def test_what_is_held() -> None:
    """With the id it would be kept under, and whose it is."""
    writer = FakeWriter()
    with rig(writer, ring=1 << 20) as it:
        held = it.admission.begin(writer, [OTHER, OFF], HEAD, "messages", 1000)
        assert isinstance(held, Held)
        assert ("1000-1", 1000, "messages") == (held.id, held.started_ms, held.protocol)
        assert HEAD is held.request
        assert "sk-ant-t…1111" == held.fingerprint


@pytest.mark.parametrize("broken", ["unmatched", "new_id"])
async def test_what_fails_for_a_call_that_is_not_recorded_harms_nobody(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told; the call counts as unmatched, and with flowtap_required is not refused for it."""

    def raising(*_: object) -> None:
        raise OSError("the fake store is broken")

    monkeypatch.setattr(FakeWriter, broken, raising)
    writer = FakeWriter()
    with rig(writer, ring=1 << 20, required=True) as it:
        assert it.admission.begin(writer, [OTHER], HEAD, "messages", 1000) is None
        assert 1 == len(it.failures)
        assert (1, 1) == (writer.counters.seen, writer.counters.unmatched)
        assert it.admission.unmatched(writer, [OTHER], HEAD) is True


@pytest.mark.parametrize(("found", "expected"), [([KEY], False), ([OFF], True), ([], True)])
async def test_a_handshake(found: list[bytes], expected: bool) -> None:
    """Counted unless its key is on; it is no exchange, so it is neither recorded nor held."""
    writer = FakeWriter()
    with rig(writer, ring=1 << 20) as it:
        assert expected is it.admission.unmatched(writer, found, HEAD)
        counters = writer.counters
        assert (expected, 0, expected) == (counters.seen, counters.recorded, counters.unmatched)
        assert it.keeping.ring is not None
        assert 0 == len(it.keeping.ring)


@pytest.mark.parametrize(
    ("required", "store", "trouble", "found", "why"),
    [
        (False, True, "disk full", [KEY], None),
        (False, False, None, [KEY], None),
        (True, True, None, [KEY], None),
        (True, True, "disk full", [KEY], "disk full"),
        (True, True, "disk full", [OFF, KEY], "disk full"),
        (True, True, "disk full", [OFF], None),
        (True, True, "disk full", [OTHER], None),
        (True, True, "disk full", [], None),
        (True, False, None, [KEY], "locked"),
        (True, False, None, [OFF], "locked"),
        (True, False, None, [], "locked"),
    ],
)
async def test_refusal(
    required: bool, store: bool, trouble: str | None, found: list[bytes], why: str | None
) -> None:
    """Of keys that are on while the store is in trouble; of all while nobody knows the keys."""
    writer = FakeWriter()
    writer.trouble = trouble
    with rig(writer, required=required) as it:
        assert why == it.admission.refusal(writer if store else None, found, ())
        refused = store and why is not None
        assert (refused, refused) == (writer.counters.seen, writer.counters.refused)


async def test_refusing_is_said_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once each, however many there are; by the next call or by the clock, whichever is first."""
    writer = FakeWriter()
    with rig(writer, required=True) as it:

        def call() -> None:
            it.admission.refusal(writer, [KEY], ())

        def said() -> list[str]:
            found = [record.message for record in caplog.records]
            caplog.clear()
            return found

        call()
        it.admission.look(writer)
        assert [] == said()
        writer.trouble = "disk full"
        call()
        call()
        it.admission.look(writer)
        assert [logging.ERROR] == [record.levelno for record in caplog.records]
        (begun,) = said()
        assert "REFUSING" in begun
        assert begun.endswith("disk full")
        writer.trouble = None
        call()
        call()
        (ended,) = said()
        assert "(2 refused)" in ended
        it.admission.refusal(None, [], ())
        assert "locked" in said()[0]
        it.admission.look(None)
        assert [] == said()
        it.admission.look(writer)
        assert "(1 refused)" in said()[0]
        it.admission.refusal(None, [], ())
        it.admission.required = False
        it.admission.look(None)
        assert 2 == len(said())
