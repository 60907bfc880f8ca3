"""The real SDKs, streaming through a real mitmdump: they see what they see without it, and it is all on record.

Each case runs three times: against the upstream directly, through the proxy, and through the
proxy asynchronously. The fold of the record must be what the SDK itself made of the stream.
"""

import asyncio
import gzip
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collectors.registry import fold
from store.location import open_reader
from store.record import ProxyStatus, Record, State, Transport, Verdict
from tests.e2e.authored import MESSAGES, RESPONSES, ragged
from tests.e2e.harness import (
    KEY,
    OFF_KEY,
    UNKNOWN_KEY,
    Call,
    Proxy,
    Script,
    Upstream,
    on_disk,
    records,
    running,
    sse,
    wait_for,
)
from tests.e2e.sdk_clients import CASES, PROMPT, Case, Seen, To, raw_messages, raw_responses
from tui.client_env import client_environment, write_bundle
from tui.record_json import events_of, outcome_of

PAUSE_S = 0.004
"""Between two chunks: enough that they do not travel as one."""


class Rig:
    """One proxy and one upstream, reached by SDKs through their environment alone."""

    def __init__(
        self, proxy: Proxy, upstream: Upstream, patch: pytest.MonkeyPatch, folder: Path
    ) -> None:
        self.proxy, self.upstream = proxy, upstream
        self.unmatched = 0
        """Calls through the proxy with a key that is not on."""
        self._patch = patch
        self._upstream_ca = folder / "upstream-ca.pem"
        upstream.ca.cert_pem.write_to_path(self._upstream_ca)
        bundle = write_bundle(folder, proxy.ca_file)
        self._through = client_environment(f"127.0.0.1:{proxy.port}", proxy.ca_file, bundle)

    def go_direct(self) -> str:
        """Point the environment at the upstream; the base address to give to the SDK."""
        for name in (*self._through, "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
            self._patch.delenv(name, raising=False)
        self._patch.setenv("SSL_CERT_FILE", str(self._upstream_ca))
        return f"https://127.0.0.1:{self.upstream.port}"

    def go_through(self) -> None:
        """Point the environment at the proxy, as `flowtap run` does; the SDK keeps its own address."""
        self.go_direct()
        for name, value in self._through.items():
            self._patch.setenv(name, value)

    def recorded[T](self, call: Callable[[], T]) -> tuple[T, Record, Call]:
        """What a call gave, its one record, and the request as the upstream has it."""
        before = {record.meta.id for record in records(self.proxy.store)}
        asked = len(self.upstream.calls)
        result = call()

        def probe() -> list[Record]:
            found = [r for r in records(self.proxy.store) if r.meta.id not in before]
            return found if found and all(r.meta.state is State.DONE for r in found) else []

        (record,) = wait_for(probe, "the call's record")
        (received,) = self.upstream.calls[asked:]
        return result, record, received


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One proxy for all cases; at its end there are as many records as calls with the key that is on."""
    folder = tmp_path_factory.mktemp("sdks")
    patch = pytest.MonkeyPatch()
    with running(folder, sse()) as (proxy, upstream), patch.context() as patched:
        yield Rig(proxy, upstream, patched, folder)
        proxy.stop()
        bodies = [record.request_body.data for record in records(proxy.store)]
        # Direct calls went to the loopback address, and calls with other keys leave no record.
        through = [
            call.body
            for call in upstream.calls
            if "127.0.0.1" not in (call.header("host") or "") and KEY.encode() in call.head
        ]
        assert sorted(through) == sorted(bodies)


def play(chunks: list[bytes], encoding: str | None = None) -> Script:
    """A script that answers with those chunks and small pauses, whatever is asked."""

    def script(call: Call) -> None:
        call.read_body()
        headers = [("Content-Type", "text/event-stream; charset=utf-8"), ("X-Request-Id", "r-1")]
        if encoding is not None:
            headers.append(("Content-Encoding", encoding))
        call.start(headers=headers)
        for chunk in chunks:
            call.chunk(chunk)
            time.sleep(PAUSE_S)
        call.finish()

    return script


# -- the tests ------------------------------------------------------------------------------------


def sent_headers(call: Call) -> list[tuple[bytes, bytes]]:
    """A request's headers as the upstream has them."""
    lines = call.head.rstrip(b"\r\n").split(b"\r\n")[1:]
    return [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]


def check_record(case: Case, record: Record, call: Call, body: bytes, seen: Seen) -> None:
    """The record is what went over the wire, and folds to what the SDK accumulated."""
    assert record.response is not None
    assert sent_headers(call) == list(record.request.headers)
    assert call.path.endswith(case.path)
    assert call.path == record.meta.path == record.request.path
    assert call.body == record.request_body.data
    assert PROMPT.encode() in json.dumps(json.loads(call.body), ensure_ascii=False).encode()
    assert body == record.response_body.data
    assert (b"X-Request-Id", b"r-1") in record.response.headers
    meta = record.meta
    assert (case.protocol, 200, Verdict.COMPLETE) == (meta.protocol, meta.status, meta.verdict)
    # Some clients hang up once the protocol said that all is said: no error, a complete answer.
    assert meta.transport in (Transport.COMPLETE, Transport.CLIENT_CLOSED)
    assert (None, 0, True) == (meta.error, meta.lost_bytes, meta.streamed)
    assert (len(call.body), len(body)) == (meta.request_bytes, meta.response_bytes)
    events = events_of(record)
    assert events is not None
    outcome = outcome_of(record, events)
    assert outcome == fold(case.protocol, events)
    assert outcome is not None
    assert outcome.result is not None
    assert (None, False, ()) == (outcome.error, outcome.truncated, outcome.warnings)
    assert seen.message == case.shape(outcome.result)


@pytest.mark.check(12, 13, 16, 18, 27, 28, 31, 32, 41, 97, 98)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_sdk_streams(rig: Rig, case: Case, asynchronous: bool) -> None:
    """The same events and message as without the proxy, one record, byte for byte, folded alike."""
    rig.upstream.script = play(case.chunks)
    direct = case.sync(To(rig.go_direct()))
    asked = rig.upstream.calls[-1]
    rig.go_through()

    def ask() -> Seen:
        return asyncio.run(_await(case)) if asynchronous else case.sync(To(None))

    seen, record, call = rig.recorded(ask)
    assert direct == seen
    check_record(case, record, call, b"".join(case.chunks), seen)
    if not asynchronous:
        assert [name for name, _ in sent_headers(asked)] == [name for name, _ in sent_headers(call)]
        assert asked.body == call.body


async def _await(case: Case) -> Seen:
    return await case.asynchronous(To(None))


@pytest.mark.check(33, 34)
@pytest.mark.parametrize(
    ("case", "model", "tokens"),
    [
        # input (fresh, read, written), output, cache read, cache write, reasoning
        (CASES[0], "claude-test-1", (326, 87, 300, 5, None)),
        (CASES[1], "gpt-test-1", (40, 30, 32, None, 12)),
        (CASES[2], "gpt-test-5", (50, 44, 48, 0, 20)),
        (CASES[3], "gemini-test-3", (12, 17, None, None, 6)),
    ],
    ids=map(str, CASES),
)
def test_the_row_has_model_and_tokens(
    rig: Rig, case: Case, model: str, tokens: tuple[int | None, ...]
) -> None:
    """By hand from the authored streams; None where the API says nothing."""
    rig.upstream.script = play(case.chunks)
    rig.go_through()
    _, record, _ = rig.recorded(lambda: case.sync(To(None)))
    meta = record.meta
    assert model == meta.model
    assert tokens == (
        meta.input_tokens,
        meta.output_tokens,
        meta.cache_read_tokens,
        meta.cache_write_tokens,
        meta.reasoning_tokens,
    )
    assert meta.ttft_ms is not None
    assert meta.duration_ms is not None
    assert 0 <= meta.ttft_ms <= meta.duration_ms


@pytest.mark.check(27, 28)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_gzip(rig: Rig, case: Case) -> None:
    """Compressed, cut anywhere: stored as sent, read as meant."""
    packed = gzip.compress(b"".join(case.chunks), mtime=0)
    # The last piece is a long one: who hangs up at [DONE] would leave the gzip's own end unsent.
    rig.upstream.script = play([*ragged([packed[:-97]], 97), packed[-97:]], "gzip")
    direct = case.sync(To(rig.go_direct()))
    rig.go_through()
    seen, record, call = rig.recorded(lambda: case.sync(To(None)))
    assert direct == seen
    check_record(case, record, call, packed, seen)


@pytest.mark.check(12, 27)
@pytest.mark.parametrize(
    ("raw", "chunks"),
    [(raw_messages, MESSAGES), (raw_responses, RESPONSES)],
    ids=["messages", "responses"],
)
def test_the_bytes_an_sdk_reads(rig: Rig, raw: Callable[[To], bytes], chunks: list[bytes]) -> None:
    """Below the SDK's parser: sent, received directly, received through the proxy and stored are one."""
    rig.upstream.script = play(ragged(chunks, 211))
    direct = raw(To(rig.go_direct()))
    rig.go_through()
    through, record, _ = rig.recorded(lambda: raw(To(None)))
    assert b"".join(chunks) == direct == through == record.response_body.data
    assert Transport.COMPLETE is record.meta.transport


# -- keys that are not recorded -------------------------------------------------------------------


def status(proxy: Proxy) -> ProxyStatus:
    """The proxy's own row."""
    reader = open_reader(str(proxy.store))
    try:
        (row,) = (status for status in reader.proxies() if status.pid == proxy.pid)
        return row
    finally:
        reader.close()


def sizes(folder: Path) -> dict[str, int]:
    """Every file under a folder with its size."""
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


@pytest.mark.check(1, 2, 4, 7)
@pytest.mark.parametrize("key", [OFF_KEY, UNKNOWN_KEY], ids=["off", "unknown"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_key_that_is_not_on_leaves_nothing(rig: Rig, case: Case, key: str) -> None:
    """The call works; no byte of prompt, answer or key is on disk, and it was counted as unmatched."""
    prompt = f"canary-prompt-{case}-{key[-3:]}"
    canary = f"canary-answer-{case}-{key[-3:]}".encode()
    # A word that is in every one of the streams.
    rig.upstream.script = play([chunk.replace(b"weather", canary) for chunk in case.chunks])
    direct = case.sync(To(rig.go_direct(), key, prompt))
    rig.go_through()
    kept, files = len(records(rig.proxy.store)), sizes(rig.proxy.store / "segments")
    seen = case.sync(To(None, key, prompt))
    assert direct == seen
    assert canary in str(seen.message).encode()
    rig.unmatched += 1
    (row,) = wait_for(
        lambda: [row for row in [status(rig.proxy)] if row.unmatched == rig.unmatched],
        "the call counted in the status row",
    )
    assert (kept, kept + rig.unmatched) == (row.recorded, row.seen)
    assert case.host == row.last_unmatched_host
    assert f"{key[:8]}…{key[-4:]}" == row.last_unmatched_fingerprint
    assert kept == len(records(rig.proxy.store))
    assert files == sizes(rig.proxy.store / "segments")
    for secret in (canary, key.encode(), prompt.encode(), key[8:-4].encode()):
        assert [] == on_disk(rig.proxy.store, secret)
