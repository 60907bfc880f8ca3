"""The recording side, end to end with the reading side: what passed is there, as it passed."""

from pathlib import Path

import pytest

from store.handover import CALL_BYTES
from store.local import LocalStore
from store.reader import LocalReader
from store.record import Key, RequestHead, State, Transport, Verdict
from store.writer import SHUT_DOWN, LocalWriter
from tests.store.builders import (
    EVENTS,
    JSON,
    REQUEST_HEADERS,
    SECRET,
    WIRE,
    done,
    files_with,
    meta,
    now_ms,
    parts,
    record,
    request_head,
    response_head,
    segment_files,
    until,
    writing,
)

CANARY = b"canary-7f3a9c51e2"
SSE = [
    b'event: message_start\ndata: {"type":"message_start","message":{"model":"m-2",'
    b'"content":[],"usage":{"input_tokens":3,"output_tokens":1}}}\n\n',
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    b'"usage":{"output_tokens":7}}\n\n',
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
]


@pytest.mark.check(18, 19, 21, 25, 27, 32, 49)
@pytest.mark.parametrize("pause", [False, True], ids=["at once", "through a part"])
def test_a_stream_comes_back_verbatim(
    store: LocalStore, reader: LocalReader, root: Path, key: Key, pause: bool
) -> None:
    with writing(store) as writer:
        started = now_ms()
        one = writer.begin(key, started, request_head("/v1/messages?beta=true"), "messages")
        one.request_chunk(0, b'{"model":')
        one.request_chunk(2, b'"m-1"}\xff')
        one.request_end(3)
        one.response_head(5, response_head(headers=(*EVENTS, (b"X-A", b"\x80"), (b"x-a", b"2"))))
        if pause:
            until(lambda: reader.meta(one.id))
        for at_ms, chunk in zip((70, 70, 90_000), SSE, strict=True):
            one.response_chunk(at_ms, chunk)
        live = reader.get(one.id) if pause else None
        one.end(90_001, Transport.CLIENT_CLOSED, "the client left", WIRE)
        one.end(90_002, Transport.COMPLETE, wire=None)
        stored = done(reader, one.id)

    assert request_head("/v1/messages?beta=true") == stored.request
    assert b'{"model":"m-1"}\xff' == stored.request_body.data
    assert ((0, 9), (2, 7)) == stored.request_body.arrivals
    assert stored.response is not None
    assert (*EVENTS, (b"X-A", b"\x80"), (b"x-a", b"2")) == stored.response.headers
    assert list(zip((70, 70, 90_000), SSE, strict=True)) == list(stored.response_body.chunks())
    row = stored.meta
    assert (State.DONE, Verdict.COMPLETE, None, Transport.CLIENT_CLOSED) == (
        row.state,
        row.verdict,
        row.error,
        row.transport,
    )
    assert (16, sum(map(len, SSE)), 70, 90_001) == (
        row.request_bytes,
        row.response_bytes,
        row.ttft_ms,
        row.duration_ms,
    )
    assert (started, started + 90_001, 3, 7) == (
        row.started_ms,
        row.completed_ms,
        row.input_tokens,
        row.output_tokens,
    )
    assert row.path == stored.request.path
    assert WIRE == stored.wire
    assert live is None or live.wire is None
    assert [] == parts(root)


@pytest.mark.check(21, 23, 24, 29)
def test_bodies_that_are_empty_and_responses_that_never_came(
    store: LocalStore, reader: LocalReader, key: Key
) -> None:
    with writing(store) as writer:
        empty = writer.begin(key, now_ms(), request_head(), "messages")
        empty.request_end(0)
        empty.response_head(1, response_head(204, ()))
        empty.end(2, Transport.COMPLETE)
        none = writer.begin(key, now_ms(), request_head(), "messages")
        none.request_chunk(0, b'{"model":"m-9"}')
        none.end(5, Transport.UPSTREAM_ERROR, "connection\nrefused")
        answered, unanswered = done(reader, empty.id), done(reader, none.id)

    assert answered.response is not None
    assert (b"", ()) == (answered.response_body.data, answered.response_body.arrivals)
    assert (204, Verdict.COMPLETE) == (answered.meta.status, answered.meta.verdict)
    assert unanswered.response is None
    assert unanswered.wire is None
    assert (None, Verdict.FAILED, "connection refused", "m-9") == (
        unanswered.meta.status,
        unanswered.meta.verdict,
        unanswered.meta.error,
        unanswered.meta.model,
    )


@pytest.mark.check(49)
def test_a_large_body_is_cut_into_frames_and_comes_back_whole(
    store: LocalStore, reader: LocalReader, key: Key
) -> None:
    body = bytes(range(256)) * 4096 * 20
    with writing(store) as writer:
        one = writer.begin(key, now_ms(), request_head(), "chat")
        one.request_chunk(0, body)
        one.response_head(1, response_head(headers=JSON))
        for start in range(0, len(body), 1_000_000):
            one.response_chunk(2, body[start : start + 1_000_000])
        one.end(3, Transport.COMPLETE)
        stored = done(reader, one.id)

    assert body == stored.request_body.data == stored.response_body.data
    assert 21 == len(stored.response_body.arrivals)


@pytest.mark.check(34, 82, 83)
def test_a_record_is_seen_when_it_begins_grows_and_is_done(
    store: LocalStore, reader: LocalReader, key: Key
) -> None:
    with writing(store) as writer:
        one = writer.begin(key, now_ms(), request_head(), "messages")
        until(lambda: reader.records())
        (row,) = reader.records(key_id=key.id)
        assert (one.id, State.LIVE, None, None) == (row.id, row.state, row.verdict, row.model)
        one.request_chunk(0, b'{"model":"m-1"}')
        one.request_end(1)
        until(lambda: (row := reader.meta(one.id)) is not None and row.model == "m-1")
        assert 0 == reader.live_bytes(one.id)
        one.response_head(2, response_head())
        until(lambda: (row := reader.meta(one.id)) is not None and row.status == 200)
        live = reader.live(one.id)
        assert live is not None
        for count, chunk in enumerate(SSE, 1):
            one.response_chunk(count, chunk)
            until(lambda: live.poll() and len(live.response_chunks) == count)  # noqa: B023
            assert sum(map(len, SSE[:count])) == reader.live_bytes(one.id)
        partial = reader.get(one.id)
        assert partial is not None
        assert partial == live.snapshot()
        assert b"".join(SSE) == partial.response_body.data
        assert (1, 0, 1) == (reader.counts().records, reader.counts().errors, reader.counts().live)
        one.end(9, Transport.COMPLETE)
        stored = done(reader, one.id)
        until(lambda: live.gone)

        assert stored.response_body == partial.response_body
        assert reader.live(one.id) is None
        assert reader.live_bytes(one.id) is None
        assert [one.id] == [row.id for row in reader.records()]
        assert list(enumerate(SSE, 1)) == list(live.response_chunks)
        live.close()


@pytest.mark.check(7)
def test_a_writer_hears_of_keys_that_change_elsewhere(store: LocalStore, root: Path) -> None:
    other = LocalStore(root)
    with writing(store) as writer:
        assert writer.keys.match([SECRET.encode()], ()) is None
        key = other.add_key("one", SECRET)
        until(lambda: writer.keys.match([SECRET.encode()], ()) == key)
        assert 0 == writer.keys.on
        other.set_retention("one", 60)
        until(lambda: writer.keys.on == 1)
        other.remove_key("one")
        until(lambda: writer.keys.match([SECRET.encode()], ()) is None)
    other.close()


@pytest.mark.check(37, 60, 65)
@pytest.mark.parametrize("change", ["off", "removed", "off and on"])
def test_a_record_whose_key_goes_off_in_flight_is_nowhere(
    store: LocalStore, reader: LocalReader, root: Path, key: Key, change: str
) -> None:
    lines: list[str] = []
    with writing(store, lines.append) as writer:
        one = record(
            writer,
            key,
            request=[CANARY],
            response=[CANARY],
            path=f"/v1/{CANARY.decode()}",
            end=False,
        )
        until(lambda: (row := reader.meta(one.id)) is not None and row.status == 200)
        assert files_with(root, CANARY)
        store.remove_key("one") if change == "removed" else store.set_retention("one", None)

        assert [] == files_with(root, CANARY)
        assert [] == parts(root)
        if change == "off and on":
            store.set_retention("one", 3600)
        one.response_chunk(99, CANARY)
        until(lambda: lines)
        one.response_chunk(99, CANARY)
        one.end(100, Transport.COMPLETE)
        if change != "removed":
            store.set_retention("one", 3600)
            until(lambda: writer.keys.on == 1)
            after = record(writer, key)
            assert [after.id] == [done(reader, after.id).meta.id]
            assert [after.id] == [row.id for row in reader.records()]
        assert [] == files_with(root, CANARY)
        assert ["its key is off" in line and one.id in line for line in lines] == [True]


@pytest.mark.check(37)
def test_a_record_told_of_after_its_key_went_off_leaves_no_byte(
    store: LocalStore, reader: LocalReader, root: Path, key: Key
) -> None:
    lines: list[str] = []
    with writing(store, lines.append) as writer:
        store.set_retention("one", None)
        one = record(writer, key, request=[CANARY], end=False)
        two = record(writer, key, request=[CANARY])
        until(lambda: len(lines) == 2)

        assert [] == files_with(root, CANARY)
        assert {one.id, two.id} == {line.split()[1] for line in lines}


def test_a_closed_writer_ends_what_lives_and_leaves_nothing_of_its_own(
    store: LocalStore, reader: LocalReader, root: Path, key: Key
) -> None:
    with writing(store) as writer:
        live = record(writer, key, response=[SSE[0]], end=False)
        ended = [record(writer, key, response=SSE) for _ in range(30)]
        writer.close()
        writer.close()
        live.response_chunk(9, b"late")
        live.end(9, Transport.COMPLETE)

    stored = reader.get(live.id)
    assert stored is not None
    assert (Verdict.INTERRUPTED, SHUT_DOWN, SSE[0]) == (
        stored.meta.verdict,
        stored.meta.error,
        stored.response_body.data,
    )
    assert all(reader.get(each.id) for each in ended)
    assert 31 == len(reader.records())
    assert [] == list((root / "live").iterdir())
    assert 0 == (root / "index.db-wal").stat().st_size


@pytest.mark.check(17)
def test_a_full_queue_cuts_bodies_and_counts_what_it_cut(
    store: LocalStore, reader: LocalReader, key: Key
) -> None:
    writer = LocalWriter(store.layout, lambda _: None, queue_bytes=40 * CALL_BYTES)
    writer.announce("127.0.0.1:1")
    one = writer.begin(key, now_ms(), request_head(), "messages")
    one.request_chunk(0, b"r" * 10)
    one.response_head(1, response_head())
    passed = [bytes([65 + at]) * 100 for at in range(26)] * 4
    for at_ms, chunk in enumerate(passed):
        one.response_chunk(at_ms, chunk)
    one.end(900, Transport.COMPLETE)
    stored = done(reader, one.id)
    lost = stored.meta.lost_bytes

    assert 0 < lost
    assert b"".join(passed)[: 10_400 - lost] == stored.response_body.data
    assert b"r" * 10 == stored.request_body.data
    until(lambda: reader.proxies()[0].lost_bytes == lost)
    after = record(writer, key)
    assert 0 == done(reader, after.id).meta.lost_bytes
    writer.close()


def test_a_proxy_says_where_it_listens_what_it_counts_and_when_it_is_gone(
    store: LocalStore, reader: LocalReader, key: Key
) -> None:
    with writing(store) as writer:
        assert [] == reader.proxies()
        writer.announce("127.0.0.1:8080")
        (status,) = until(reader.proxies)
        assert ("127.0.0.1:8080", True, 0) == (status.address, status.alive, status.recorded)
        writer.counters.seen = 5
        writer.counters.last_unmatched_fingerprint = "sk-ant-t…0000"
        record(writer, key)
        until(lambda: reader.proxies()[0].recorded == 1)
        (status,) = reader.proxies()
        assert (5, "sk-ant-t…0000", None) == (
            status.seen,
            status.last_unmatched_fingerprint,
            status.error,
        )
    (status,) = reader.proxies()
    assert not status.alive


def test_a_proxy_that_stops_at_once_has_said_what_it_counted(
    store: LocalStore, reader: LocalReader, key: Key
) -> None:
    """Its last word is not too early for the row: one of a single command lives no longer than that."""
    with writing(store) as writer:
        writer.announce("127.0.0.1:8080")
        until(reader.proxies)
        writer.counters.seen = 3
        record(writer, key)
    (status,) = reader.proxies()
    assert (3, 1, False) == (status.seen, status.recorded, status.alive)


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", ()),
        ("", ((b"", b""),) * 500),
        ("\ud800", ((b"x" * 64_000, b"\0\r\n" * 20_000),)),
    ],
)
def test_hostile_heads_do_not_stop_the_writer(
    store: LocalStore,
    reader: LocalReader,
    key: Key,
    method: str,
    headers: tuple[tuple[bytes, bytes], ...],
) -> None:
    head = RequestHead(method, "https", "h\ud8ff", 443, "/\0\udcff", "HTTP/1.1", headers)
    with writing(store) as writer:
        odd = writer.begin(key, now_ms(), head, "no such protocol")
        odd.request_chunk(0, b'{"model":"\\ud800"}')
        odd.request_end(0)
        odd.response_head(1, response_head(200, JSON))
        odd.response_chunk(2, b'{"model":"\\udfff","usage":{"input_tokens":1' + b"0" * 40 + b"}}")
        odd.end(3, Transport.COMPLETE, "\ud800")
        even = record(writer, key)
        stored = done(reader, odd.id)
        done(reader, even.id)

    assert head == stored.request


def test_a_bug_in_what_reads_the_bodies_costs_no_record(
    store: LocalStore, reader: LocalReader, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    for name in ("request_model", "stream_facts", "body_facts"):
        monkeypatch.setattr(f"collectors.facts.{name}", broken)
    with writing(store) as writer:
        one = record(writer, key, response=SSE)
        stored = done(reader, one.id)

    assert b"".join(SSE) == stored.response_body.data
    assert (None, Verdict.COMPLETE) == (stored.meta.model, stored.meta.verdict)


def test_one_exchange_that_cannot_be_written_stops_no_other(
    store: LocalStore, reader: LocalReader, key: Key
) -> None:
    with writing(store) as writer:
        bad = record(writer, key, end=False)
        bad.response_chunk(-1, b"no frame has a negative time")
        good = [record(writer, key) for _ in range(3)]
        for each in good:
            done(reader, each.id)
        bad.end(5, Transport.COMPLETE)
        stored = done(reader, bad.id)

    assert stored.response_body.data in (b"", b"data: 1\n\ndata: 2\n\n")
    assert stored.meta.lost_bytes > 0


def test_segments_are_sealed_by_age_and_size(
    store: LocalStore, reader: LocalReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = store.add_key("short", SECRET, 16)
    with writing(store) as writer:
        first = record(writer, short)
        done(reader, first.id)
        # A sixteenth of the retention: a second.
        until(lambda: now_ms() - (reader.meta(first.id) or meta(first.id)).started_ms > 1_200)
        done(reader, record(writer, short).id)
        assert 2 == len(segment_files(root))
        monkeypatch.setattr("store.filing.SEAL_BYTES", 1)
        done(reader, record(writer, short).id)
        done(reader, record(writer, short).id)
        assert 4 == len(segment_files(root))
    assert 4 == len(reader.records())


@pytest.mark.check(55, 80)
def test_keys_do_not_touch_each_other(store: LocalStore, reader: LocalReader, root: Path) -> None:
    keys = [store.add_key(f"k{each}", f"{SECRET}{each}", 3600) for each in range(3)]
    with writing(store) as writer:
        made = {key.id: [record(writer, key).id for _ in range(5)] for key in keys}
        for ids in made.values():
            for each in ids:
                done(reader, each)
        assert 5 == store.set_retention("k1", None)
    for key in (keys[0], keys[2]):
        assert made[key.id][::-1] == [row.id for row in reader.records(key_id=key.id)]
        assert all(reader.get(each) for each in made[key.id])
    assert {keys[0].id, keys[2].id} == {path.parent.name for path in segment_files(root)}
    assert reader.get(made[keys[1].id][0]) is None


def test_headers_are_those_of_the_wire(store: LocalStore, reader: LocalReader, key: Key) -> None:
    with writing(store) as writer:
        stored = done(reader, record(writer, key).id)

    assert REQUEST_HEADERS == stored.request.headers
