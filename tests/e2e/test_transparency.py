"""Bytes in are bytes out are bytes stored; and with a bug in every place of ours, bytes in are bytes out."""

import gzip
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import brotli
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.location import open_reader
from store.record import Passed, Record, Transport, Verdict, Wire
from tests.e2e.harness import (
    DEADLINE_S,
    KEY,
    UNKNOWN_KEY,
    Call,
    Client,
    Proxy,
    Upstream,
    body_of,
    done,
    new_store,
    records,
    running,
    sse,
    wait_for,
)
from tests.e2e.moves_http1 import ASKED, FIRST, LAST, STREAM
from tests.e2e.places import CUT, HOOKS, LOST, NONE, OPEN, PLACES, RING_PLACES

HOST = "api.anthropic.com"
RAISING = Path(__file__).with_name("raising.py")

type Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Message:
    """One direction: its own header fields, its body in pieces, its framing."""

    fields: Fields
    pieces: list[bytes]
    framing: str
    """`length`, `chunked`, or (of a response) `eof`."""
    cut: int | None
    """How many pieces are sent before it breaks off; None: all."""

    @property
    def sent(self) -> list[bytes]:
        return self.pieces if self.cut is None else self.pieces[: self.cut]

    def head(self, first: bytes, fixed: Fields) -> bytes:
        """First line and header, the framing's own field last."""
        framing = {
            "length": [(b"Content-Length", b"%d" % sum(map(len, self.pieces)))],
            "chunked": [(b"Transfer-Encoding", b"chunked")],
            "eof": [],
        }[self.framing]
        lines = [name + b": " + value for name, value in [*fixed, *self.fields, *framing]]
        return b"\r\n".join([first, *lines, b"", b""])

    def wire(self) -> Iterator[bytes]:
        """Each piece that is sent as it goes over the wire, and the end if it gets there."""
        chunked = self.framing == "chunked"
        for piece in self.sent:
            yield b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece
        if chunked and self.cut is None:
            yield b"0\r\n\r\n"


@dataclass(frozen=True)
class Plan:
    """An exchange. Where the request is cut there is no response."""

    request: Message
    response: Message
    status: int
    aborts: str
    """Who breaks off a response that is cut: `client` or `upstream`."""


ENCODERS = {
    b"": bytes,
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"br": brotli.compress,
    b"zstd": zstandard.compress,
    b"x-unheard-of": bytes,
}

_letters = st.sampled_from("abcDEF-12")
_names = st.text(_letters, max_size=6).map(lambda text: f"X-{text}".encode())
_values = st.one_of(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12).map(str.encode),
    st.just("caf\u00e9".encode("latin-1")),
)
_common = st.sampled_from(
    [(b"Cookie", b"a=1"), (b"cookie", b"b=2"), (b"ACCEPT-ENCODING", b"br"), (b"x-Twice", b"1")]
)
_fields = st.lists(st.one_of(st.tuples(_names, _values), _common), max_size=6)


@st.composite
def messages(draw: st.DrawFn, framings: tuple[str, ...], cuts: bool) -> Message:
    """A body of any bytes under any content-encoding, right or wrong, in any pieces."""
    raw = draw(st.one_of(st.binary(max_size=400), st.just(STREAM), st.just(STREAM * 40)))
    encoding = draw(st.sampled_from(sorted(ENCODERS)))
    body = ENCODERS[encoding](raw) if draw(st.booleans()) else raw
    at = sorted(draw(st.sets(st.integers(1, max(1, len(body))), max_size=5)))
    edges = [0, *at, len(body)]
    pieces = [body[a:b] for a, b in pairwise(edges) if body[a:b]]
    fields = draw(_fields)
    if encoding:
        fields.insert(draw(st.integers(0, len(fields))), (b"Content-Encoding", encoding))
    # The last piece is never sent then, so that a cut is one.
    cut = draw(st.integers(0, len(pieces) - 1)) if cuts and pieces else None
    return Message(fields, pieces, draw(st.sampled_from(framings)), cut)


@st.composite
def plans(draw: st.DrawFn, breaks: bool = True) -> Plan:
    """Whole exchanges, and those that break off on either way, if they may."""
    aborts = draw(st.sampled_from(["", "", "upload", "client", "upstream"])) if breaks else ""
    request = draw(messages(("length", "chunked"), aborts == "upload"))
    framings = (
        ("length", "chunked") if aborts in ("client", "upstream") else ("length", "chunked", "eof")
    )
    response = draw(messages(framings, aborts in ("client", "upstream")))
    return Plan(request, response, draw(st.sampled_from([200, 201, 400, 429, 500, 529])), aborts)


class Played:
    """One plan over real sockets: what each side sent and got."""

    def __init__(self, plan: Plan, proxy: Proxy, upstream: Upstream, path: str) -> None:
        request, response = plan.request, plan.response
        self.request_head = request.head(
            f"POST {path} HTTP/1.1".encode(),
            [(b"Host", HOST.encode()), (b"X-Api-Key", KEY.encode())],
        )
        self.response_head = response.head(
            b"HTTP/1.1 %d Anything Goes" % plan.status, [(b"Content-Type", b"text/event-stream")]
        )
        self.seen = b""
        """The request's body as the upstream got it."""
        reached, released = threading.Event(), threading.Event()
        wanted = b"".join(request.sent)

        def script(call: Call) -> None:
            if request.cut is None:
                self.seen = call.read_body()
            else:
                raw = call.head + b""
                while len(body_of(raw)) < len(wanted):
                    raw += call.read_some()
                self.seen = body_of(raw)
                reached.set()
                call.wait_closed()
                return
            call.send(self.response_head)
            for data in response.wire():
                call.send(data)
            if response.cut is not None:
                assert released.wait(DEADLINE_S)
            if response.cut is not None or response.framing == "eof":
                call.cut()

        upstream.script = script
        with Client(proxy, HOST) as client:
            client.send(self.request_head)
            for data in request.wire():
                client.send(data)
            if request.cut is not None:
                assert reached.wait(DEADLINE_S)
            elif response.cut is None and response.framing == "eof":
                client.read_to_end()
            elif response.cut is None and response.framing == "chunked":
                client.read_until(b"0\r\n\r\n")
                self._until(client, b"".join(response.sent))
            else:
                self._until(client, b"".join(response.sent))
                if response.cut is not None and plan.aborts == "upstream":
                    released.set()
                    client.read_to_end()
            self.got = client.received
        released.set()
        self.call = upstream.calls[-1]

    def _until(self, client: Client, body: bytes) -> None:
        """Until the client has the head and that much of the body."""
        client.read_until(b"\r\n\r\n")
        while len(body_of(client.received)) < len(body):
            before = len(client.received)
            client.read_more()
            assert len(client.received) > before, client.received

    def check(self, plan: Plan) -> None:
        """Both sides have what the other sent, byte for byte, heads included."""
        assert self.request_head == self.call.head
        assert b"".join(plan.request.sent) == self.seen
        if plan.request.cut is None:
            head, _, _ = self.got.partition(b"\r\n\r\n")
            assert self.response_head == head + b"\r\n\r\n"
            assert b"".join(plan.response.sent) == body_of(self.got)


def fields_of(head: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """A raw head's fields."""
    pairs = (line.partition(b": ") for line in head.split(b"\r\n")[1:-2])
    return tuple((name, value) for name, _, value in pairs)


def passed(message: Message, request_cut: int | None = None) -> Passed:
    """What of a message passed: nothing of an answer to a request that was cut."""
    body = b"".join(message.sent) if request_cut is None else b""
    return Passed(len(body), sha256(body).hexdigest())


_case = iter(range(1_000_000))

_made_lost: list[str] = []
"""Every call of the raising proxy of which there is to be no record."""


def path_of_case(case: str, place: str = "") -> str:
    return f"/v1/messages?case={case}&raise={place}"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Upstream]]:
    """One proxy for every example."""
    with running(tmp_path_factory.mktemp("transparency"), sse()) as pair:
        yield pair


@pytest.fixture(scope="module")
def raising(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Upstream]]:
    """The same, with raising.py in the addon's place."""
    folder = tmp_path_factory.mktemp("raising")
    store = new_store(folder / "store")
    with (
        Upstream(sse()) as upstream,
        # raising.py only looks at requests, which `auto` cannot know.
        Proxy(
            store,
            folder / "confdir",
            upstream,
            ["--set", "flowtap_stream_requests=yes", "--set", "flowtap_ring=1m"],
            script=RAISING,
        ) as proxy,
    ):
        yield proxy, upstream


bounded = settings(
    deadline=None,
    # Sockets and a store behind each: what a random seed finds in CI must be seen again here.
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.mark.check(12, 15, 16, 18, 19, 27, 32, 38, 39, 45)
@settings(bounded, max_examples=40)
@given(plan=plans())
def test_in_is_out_is_stored(rig: tuple[Proxy, Upstream], plan: Plan) -> None:
    """Whatever the framing, the pieces, the encoding, the names, and wherever it breaks off."""
    proxy, upstream = rig
    case = f"any-{next(_case)}"
    played = Played(plan, proxy, upstream, path_of_case(case))
    played.check(plan)
    (record,) = done(proxy.store, f"case={case}&")
    assert fields_of(played.request_head) == record.request.headers
    assert b"".join(plan.request.sent) == record.request_body.data
    assert 0 == record.meta.lost_bytes
    # What passed, told apart from what is kept.
    assert record.wire == Wire(passed(plan.request), passed(plan.response, plan.request.cut))
    if plan.request.cut is not None:
        assert record.response is None
        assert Transport.CLIENT_CLOSED is record.meta.transport
        return
    assert record.response is not None
    assert fields_of(played.response_head) == record.response.headers
    assert (plan.status, "Anything Goes") == (record.response.status, record.response.reason)
    assert b"".join(plan.response.sent) == record.response_body.data
    assert record.meta.transport is {
        "client": Transport.CLIENT_CLOSED,
        "upstream": Transport.UPSTREAM_CLOSED,
    }.get(plan.aborts if plan.response.cut is not None else "", Transport.COMPLETE)


@pytest.mark.check(43, 45)
@settings(bounded, max_examples=30)
@given(plan=plans(breaks=False), place=st.sampled_from([*PLACES, *HOOKS]))
def test_a_bug_anywhere_changes_no_byte(
    raising: tuple[Proxy, Upstream], plan: Plan, place: str
) -> None:
    """Both sides have what the other sent, whatever raises in the proxy. Whole exchanges only: what
    is not recorded is not streamed either, so of a broken one nobody has a part."""
    proxy, upstream = raising
    path = path_of_case(f"bug-{next(_case)}", place)
    Played(plan, proxy, upstream, path).check(plan)
    _made_lost.extend([path] * (PLACES.get(place) == LOST))


def lost(proxy: Proxy) -> int:
    """As the store's readers are told."""
    reader = open_reader(str(proxy.store))
    try:
        (status,) = [each for each in reader.proxies() if each.alive]
        return status.lost_records
    finally:
        reader.close()


def asked(path: str, key: str = KEY) -> bytes:
    """A whole request."""
    lines = (f"POST {path} HTTP/1.1", f"Host: {HOST}", f"X-Api-Key: {key}")
    return "\r\n".join([*lines, f"Content-Length: {len(ASKED)}", "", ""]).encode() + ASKED


def call(proxy: Proxy, upstream: Upstream, path: str, key: str = KEY) -> None:
    """One whole stream, which must be the upstream's at the client, and the client's upstream."""
    upstream.script = sse(FIRST, LAST)
    with Client(proxy, HOST) as client:
        client.send(asked(path, key))
        got = client.read_until(b"\r\n0\r\n\r\n")
    assert STREAM == body_of(got)
    assert ASKED == upstream.calls[-1].body


def fenced(proxy: Proxy, upstream: Upstream, case: str) -> list[Record]:
    """The case's records, once a later call has been recorded whole: the recorder goes on."""
    call(proxy, upstream, path_of_case(f"after-{case}"))
    (after,) = done(proxy.store, f"case=after-{case}&")
    assert (ASKED, STREAM) == (after.request_body.data, after.response_body.data)
    assert (Transport.COMPLETE, Verdict.COMPLETE) == (after.meta.transport, after.meta.verdict)
    return records(proxy.store, f"case={case}&")


@pytest.mark.check(43, 45)
@pytest.mark.parametrize("place", [*PLACES])
def test_a_bug_is_told_and_counted(raising: tuple[Proxy, Upstream], place: str) -> None:
    """No record and a count, or a record that ends there and says so; its bytes are a prefix."""
    proxy, upstream = raising
    case = f"place-{next(_case)}"
    said = proxy.log.count("recording failed")
    call(proxy, upstream, path_of_case(case, place))
    outcome = PLACES[place]
    _made_lost.extend([case] * (outcome == LOST))
    if "Complaints" not in place:
        wait_for(lambda: proxy.log.count("recording failed") > said, "the complaint")
    found = fenced(proxy, upstream, case)
    wait_for(lambda: lost(proxy) == len(_made_lost), "each loss counted, and nothing else")
    assert (1 if outcome in (CUT, OPEN) else 0) == len(found)
    for record in found:
        assert ASKED.startswith(record.request_body.data)
        assert STREAM.startswith(record.response_body.data)
        if outcome == OPEN:
            assert record.meta.transport is None
        else:
            assert Transport.RECORDER_FAILED is record.meta.transport
            if record.response_body.data == STREAM:
                # All of it had been kept: the protocol's word comes first.
                assert (Verdict.COMPLETE, None) == (record.meta.verdict, record.meta.error)
            else:
                assert Verdict.INTERRUPTED is record.meta.verdict
                assert (
                    "Recording failed (ZeroDivisionError); the call went on." == record.meta.error
                )


@pytest.mark.check(45)
@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_without_its_guard(raising: tuple[Proxy, Upstream], hook: str) -> None:
    """mitmproxy says `Addon error`; the call passes, and the next hooks end what there is."""
    proxy, upstream = raising
    case = f"hook-{next(_case)}"
    call(proxy, upstream, path_of_case(case, hook))
    found = fenced(proxy, upstream, case)
    assert len(found) <= 1
    for record in found:
        assert ASKED == record.request_body.data
        assert STREAM.startswith(record.response_body.data)
    if hook != "Recorder.error":
        assert "Addon error" in proxy.log


@pytest.mark.check(2, 43, 45)
@pytest.mark.parametrize("place", RING_PLACES)
def test_a_bug_with_a_call_of_no_key(raising: tuple[Proxy, Upstream], place: str) -> None:
    """It passes as ever, nothing of it is stored, and no record is lost by it."""
    proxy, upstream = raising
    case = f"ring-{next(_case)}"
    call(proxy, upstream, path_of_case(case, place), UNKNOWN_KEY)
    assert [] == fenced(proxy, upstream, case)
    wait_for(lambda: lost(proxy) == len(_made_lost), "no loss of that")


def test_what_stayed_open_is_ended_by_the_store(raising: tuple[Proxy, Upstream]) -> None:
    """At the latest when the proxy stops. The last test of the raising proxy."""
    proxy, _ = raising
    assert 0 == proxy.stop()
    everything = records(proxy.store, "case=place-")
    assert everything
    assert all(record.meta.transport is not None for record in everything)


@pytest.fixture(scope="module")
def required(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Upstream]]:
    """The raising proxy, where a call that cannot be recorded must not pass."""
    folder = tmp_path_factory.mktemp("required")
    store = new_store(folder / "store")
    args = ["--set", "flowtap_stream_requests=yes", "--set", "flowtap_required=true"]
    with (
        Upstream(sse()) as upstream,
        Proxy(store, folder / "confdir", upstream, args, script=RAISING) as proxy,
    ):
        yield proxy, upstream


@pytest.mark.check(43)
@pytest.mark.parametrize("place", [place for place, end in PLACES.items() if end != NONE])
def test_a_bug_where_recording_is_required(required: tuple[Proxy, Upstream], place: str) -> None:
    """What raises before anything went upstream has the call refused; later, it is cut as ever."""
    proxy, upstream = required
    case = f"required-{next(_case)}"
    path = path_of_case(case, place)
    calls = len(upstream.calls)
    upstream.script = sse(FIRST, LAST)
    with Client(proxy, HOST) as client:
        client.send(asked(path))
        got = client.read_until(b"\r\n\r\n")
        begun = place in BEFORE_THE_HEAD
        if PLACES[place] == LOST or begun:
            got = client.read_until(b'"}}')
            assert got.startswith(b"HTTP/1.1 503 ")
            assert b"ZeroDivisionError" in body_of(got)
            assert calls == len(upstream.calls)
        else:
            assert STREAM == body_of(client.read_until(b"\r\n0\r\n\r\n"))
    found = fenced(proxy, upstream, case)
    assert (PLACES[place] != LOST) is bool(found)
    if begun:
        (record,) = found
        assert record.meta.error == "Recording failed (ZeroDivisionError); the call was refused."
        assert (b"", None) == (record.request_body.data, record.response)


BEFORE_THE_HEAD = ("Tap.__init__", "Exchange.__init__", "Meter.__init__")
"""Where a record had begun and nothing had gone upstream."""
