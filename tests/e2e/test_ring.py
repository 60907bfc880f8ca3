"""flowtap_ring: what passed of keys that are off or unknown, kept from another process afterwards."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.location import open_reader, open_store
from store.record import Kept, KeyKind, ProxyStatus, Record, State, Transport, Verdict
from tests.e2e.harness import (
    DEADLINE_S,
    KEY,
    OFF_KEY,
    UNKNOWN_KEY,
    Call,
    Client,
    Proxy,
    Upstream,
    body_of,
    done,
    new_store,
    on_disk,
    post,
    records,
    wait_for,
)
from tests.e2e.moves_http1 import ASKED, FIRST, LAST, STREAM

HOST = "api.anthropic.com"
RETENTION_S = 24 * 3600
RING = ("--set", "flowtap_ring=64k")


class Stage:
    """An upstream that streams; a path with `wait` stops after the first event until `go` is set,
    one with `size=N` answers so many bytes."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, call: Call) -> None:
        call.read_body()
        if "size=" in call.path:
            call.answer(os.urandom(int(call.path.rpartition("size=")[2])))
            return
        call.start(headers=[("content-type", "text/event-stream")])
        call.chunk(FIRST)
        if "wait" in call.path:
            assert self.go.wait(DEADLINE_S)
        call.chunk(LAST)
        call.finish()


@contextlib.contextmanager
def rig(folder: Path, *args: str) -> Iterator[tuple[Proxy, Stage]]:
    stage = Stage()
    store = new_store(folder / "store")
    with Upstream(stage) as upstream, Proxy(store, folder / "confdir", upstream, args) as proxy:
        yield proxy, stage
        stage.go.set()


def begin(client: Client, case: str, key: str, canary: str = "") -> None:
    client.send(post(f"/v1/messages?case={case}", ASKED, key, headers=[("X-Canary", canary)]))


def call(proxy: Proxy, case: str, key: str, canary: str = "") -> None:
    """A whole stream."""
    with Client(proxy, HOST) as client:
        begin(client, case, key, canary)
        assert STREAM == body_of(client.read_until(b"\r\n0\r\n\r\n"))


def keep(
    proxy: Proxy, since_ms: int = 0, fingerprint: str | None = None, name: str = "kept"
) -> Kept:
    """As `flowtap keep` does."""
    store = open_store(str(proxy.store))
    try:
        return store.keep(name, since_ms, RETENTION_S, fingerprint, DEADLINE_S)
    finally:
        store.close()


def status(proxy: Proxy) -> list[ProxyStatus]:
    """What the proxy says of itself, once it does."""
    reader = open_reader(str(proxy.store))
    try:
        return [each for each in reader.proxies() if each.pid == proxy.pid]
    finally:
        reader.close()


def told(proxy: Proxy, exchanges: int) -> ProxyStatus:
    """The status that says the ring holds so many."""

    def probe() -> list[ProxyStatus]:
        return [found for found in status(proxy) if found.ring_exchanges == exchanges]

    return wait_for(probe, f"a ring of {exchanges}")[0]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def whole(record: Record) -> None:
    """As if its key had been on."""
    assert (ASKED, STREAM) == (record.request_body.data, record.response_body.data)
    assert (Transport.COMPLETE, Verdict.COMPLETE) == (record.meta.transport, record.meta.verdict)
    assert record.wire is not None
    assert len(STREAM) == record.wire.response.bytes
    assert 0 == record.meta.lost_bytes


@pytest.mark.check(2, 12)
def test_kept_after_the_fact(tmp_path: Path) -> None:
    """One of a key that is off, one of nobody's, one in flight: nothing of them is in the store,
    then all of them are, as of when they happened; the one in flight goes on to its end."""
    canary = "canary-" + os.urandom(12).hex()
    with rig(tmp_path, *RING) as (proxy, stage), Client(proxy, HOST) as client:
        before_ms = now_ms()
        call(proxy, "off", OFF_KEY, canary)
        call(proxy, "stranger", UNKNOWN_KEY, canary)
        begin(client, "flight-wait", UNKNOWN_KEY, canary)
        client.read_until(FIRST)
        happened_ms = now_ms()
        state = told(proxy, 3)
        assert 0 < state.ring_bytes <= 64 * 1024
        assert state.ring_since_ms is not None
        assert before_ms <= state.ring_since_ms <= happened_ms
        assert (3, 0, 3) == (state.seen, state.recorded, state.unmatched)
        # What is on is in the store while it lasts, and found there: the other is not.
        with Client(proxy, HOST) as other:
            begin(other, "on-wait", KEY, seen := canary[::-1])
            other.read_until(FIRST)
            wait_for(lambda: on_disk(proxy.store, seen.encode()), "what is on, on the disk")
            assert [] == on_disk(proxy.store, canary.encode())
            rows = wait_for(lambda: records(proxy.store), "the row of what is on")
            assert ["on-wait"] == [record.meta.path.partition("=")[2] for record in rows]

            assert Kept(records=3, answered=1, without_ring=0, silent=0) == keep(proxy, before_ms)
            flight = wait_for(lambda: records(proxy.store, "case=flight"), "the row in flight")
            assert [State.LIVE] == [record.meta.state for record in flight]
            stage.go.set()
            assert STREAM == body_of(client.read_until(b"\r\n0\r\n\r\n"))
        found = done(proxy.store, count=4)
        assert ["off", "stranger", "flight-wait", "on-wait"] == [
            record.meta.path.partition("=")[2] for record in found
        ], "their ids are of when they happened"
        for record in found[:3]:
            whole(record)
            assert before_ms <= record.meta.started_ms <= happened_ms
            assert (b"X-Canary", canary.encode()) in record.request.headers
        reader = open_reader(str(proxy.store))
        kept = reader.key("kept")
        reader.close()
        assert (KeyKind.KEPT, RETENTION_S) == (kept.kind, kept.retention_s)
        assert [kept.id] * 3 == [record.meta.key_id for record in found[:3]]
        assert 0 == keep(proxy, before_ms).records, "each is kept at most once"
        state = told(proxy, 0)
        assert (4, 4, 0, 0) == (
            state.seen, state.recorded, state.unmatched, state.lost_records,
        )  # fmt: skip
        assert 0 == proxy.stop()


@pytest.mark.check(2)
def test_what_is_too_much_goes(tmp_path: Path) -> None:
    """The oldest first; what went cannot be kept, the rest is whole, and a call that is larger than
    all of the ring passes like any other."""
    with rig(tmp_path, *RING) as (proxy, _), proxy.httpx() as client:

        def ask(case: str, size: int) -> bytes:
            response = client.post(
                f"https://{HOST}/v1/messages?case={case}&size={size}",
                content=ASKED,
                headers={"x-api-key": UNKNOWN_KEY},
            )
            assert 200 == response.status_code
            return response.content

        bodies = {case: ask(case, 15_000) for case in ("a", "b", "c", "d")}
        assert 1_000_000 == len(ask("huge", 1_000_000))
        told(proxy, 0)
        bodies = {case: ask(case, 15_000) for case in ("e", "f", "g", "h")}
        assert told(proxy, 3).ring_bytes <= 64 * 1024
        assert 3 == keep(proxy).records
        found = {r.meta.path.partition("case=")[2][0]: r for r in done(proxy.store, count=3)}
        assert set("fgh") == set(found)
        for case, record in found.items():
            assert bodies[case] == record.response_body.data
            assert Transport.COMPLETE is record.meta.transport


def test_what_is_asked_for(tmp_path: Path) -> None:
    """Since when, and of which credential; of several proxies those answer that have a ring."""
    with (
        rig(tmp_path, *RING) as (proxy, _),
        Upstream(Stage()) as upstream,
        Proxy(proxy.store, tmp_path / "plain", upstream) as plain,
    ):
        call(plain, "unheld", UNKNOWN_KEY)
        call(proxy, "early", UNKNOWN_KEY)
        told(proxy, 1)
        middle_ms = now_ms() + 1
        wait_for(lambda: now_ms() > middle_ms, "a millisecond")
        call(proxy, "late", UNKNOWN_KEY)
        call(proxy, "late-off", OFF_KEY)
        assert Kept(0, 1, 1, 0) == keep(proxy, 0, "sk-nobod…ever")
        assert Kept(1, 1, 1, 0) == keep(proxy, middle_ms, "sk-ant-t…nger")
        assert ["late"] == [r.meta.path.partition("=")[2] for r in done(proxy.store)]
        assert Kept(2, 1, 1, 0) == keep(proxy, 0)
        paths = sorted(r.meta.path.partition("=")[2] for r in done(proxy.store, count=3))
        assert ["early", "late", "late-off"] == paths
        for record in records(proxy.store):
            whole(record)


def test_held_stays_held_where_its_key_is_switched_on(tmp_path: Path) -> None:
    """Later calls are recorded; what was held stays as it is, and can be kept."""
    with rig(tmp_path, *RING) as (proxy, stage), Client(proxy, HOST) as client:
        begin(client, "flight-wait", OFF_KEY)
        client.read_until(FIRST)
        store = open_store(str(proxy.store))
        store.set_retention("idle", 3600)
        store.close()
        wait_for(lambda: _recorded(proxy), "the key is known to be on")
        stage.go.set()
        assert STREAM == body_of(client.read_until(b"\r\n0\r\n\r\n"))
        assert [] == records(proxy.store, "case=flight")
        assert 1 <= keep(proxy).records
        (record,) = done(proxy.store, "case=flight")
        whole(record)


def _recorded(proxy: Proxy) -> bool:
    call(proxy, "probe", OFF_KEY)
    return bool(records(proxy.store, "case=probe"))


def test_nothing_is_left_of_it(tmp_path: Path) -> None:
    """A proxy that stops, or is killed, takes what it held with it."""
    canary = "canary-" + os.urandom(12).hex()
    for stop in (Proxy.stop, Proxy.kill):
        with rig(tmp_path / stop.__name__, *RING) as (proxy, _):
            call(proxy, "held", UNKNOWN_KEY, canary)
            told(proxy, 1)
            stop(proxy)
            assert [] == records(proxy.store)
            assert [] == on_disk(tmp_path, canary.encode())
