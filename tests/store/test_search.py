"""The scan: which records and which of their texts are found, in which order, and what is passed over."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.contract import PAGE_CAP
from store.errors import BodyMissing
from store.local import LocalStore
from store.needle import Needle
from store.reader import LocalReader
from store.record import (
    Body,
    Headers,
    Key,
    Record,
    RecordMeta,
    Transport,
)
from store.search import BODY, BOTH, Hit, Progress, Where, hits, search
from store.writer import LocalWriter
from tests.store.builders import (
    EVENTS,
    JSON,
    meta,
    now_ms,
    request_head,
    response_head,
    segment_files,
    until,
    writing,
)

ID = "01JX4000000000000000000000"
LEAK = "sk-ant-test-0000-leaked"


def streamed(*texts: str) -> bytes:
    """A Messages answer in pieces."""
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"role": "assistant", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": text},
            }
            for text in texts
        ),
        {"type": "message_stop"},
    ]
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def asked(*messages: tuple[str, str], system: str = "") -> bytes:
    listed = [{"role": role, "content": content} for role, content in messages]
    return json.dumps({"model": "m", "system": system, "messages": listed}).encode()


def made(
    request: bytes = b"",
    response: bytes | None = None,
    *,
    protocol: str | None = "messages",
    request_headers: Headers = (),
    response_headers: Headers = EVENTS,
    status: int = 200,
) -> Record:
    return Record(
        meta=meta(ID, protocol=protocol),
        request=request_head(headers=request_headers),
        request_body=Body(request, ((0, len(request)),)),
        response=None if response is None else response_head(status, response_headers),
        response_body=Body(response or b"", ((0, len(response or b"")),)),
    )


GZIP: Headers = ((b"content-encoding", b"gzip"),)
HITS: list[tuple[str, str, Record, list[tuple[str, str, str, str]]]] = [
    # what is tried, looked for, record, (where, role, kind, shown with what is around it)
    (
        "a prompt",
        "deadline",
        made(asked(("user", "the Deadline is near"))),
        [("in", "user", "text", "the [Deadline] is near")],
    ),
    (
        "a system prompt",
        "kind",
        made(asked(("user", "x"), system="be kind")),
        [("in", "system", "text", "be [kind]")],
    ),
    ("a setting is no text", "model", made(asked(("user", "x"))), []),
    (
        "an answer that came in pieces",
        "hello, world",
        made(asked(("user", "x")), streamed("Hel", "lo, wo", "rld.")),
        [("out", "assistant", "text", "[Hello, world].")],
    ),
    (
        "both sides",
        "echo",
        made(asked(("user", "echo")), streamed("echo")),
        [("in", "user", "text", "[echo]"), ("out", "assistant", "text", "[echo]")],
    ),
    (
        "content-encodings",
        "packed",
        made(
            gzip.compress(asked(("user", "packed"))),
            gzip.compress(streamed("pa", "cked")),
            request_headers=GZIP,
            response_headers=(*EVENTS, *GZIP),
        ),
        [("in", "user", "text", "[packed]"), ("out", "assistant", "text", "[packed]")],
    ),
    (
        "a body cut in its encoding",
        "packed",
        made(gzip.compress(b"packed " * 9)[:-6], request_headers=GZIP),
        [("in", "", BODY, "[packed] " + "packed " * 8)],
    ),
    (
        "no JSON",
        "plain",
        made(b"some plain text", b"plain too", response_headers=()),
        [("in", "", BODY, "some [plain] text"), ("out", "", BODY, "[plain] too")],
    ),
    (
        "a protocol without texts",
        "words",
        made(b'{"input":"words"}', protocol="embeddings"),
        [("in", "", BODY, '{"input":"[words]"}')],
    ),
    (
        "an error body",
        "overloaded",
        made(
            response=b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}',
            response_headers=JSON,
            status=529,
        ),
        [("out", "", BODY, '{"type":"error","error":{"type":"[overloaded]_error","message":"m"}}')],
    ),
    (
        "an error in a stream",
        "overloaded",
        made(
            response=streamed("x")
            + b'data: {"type":"error","error":{"type":"e","message":"Overloaded"}}\n\n'
        ),
        [("out", "", "error", "e: [Overloaded]")],
    ),
    (
        "a whole answer",
        "found",
        made(
            response=json.dumps({"content": [{"type": "text", "text": "found"}]}).encode(),
            response_headers=JSON,
        ),
        [("out", "assistant", "text", "[found]")],
    ),
    (
        "escapes of JSON",
        "two\nlines, é",
        made(asked(("user", "two\nlines, é"))),
        [("in", "user", "text", "[two\nlines, é]")],
    ),
    (
        "the credential is covered",
        "leaked",
        made(asked(("user", f"my key is {LEAK}!")), request_headers=((b"x-api-key", LEAK.encode()),)),
        [("in", "user", "text", "my key is sk-ant-t•••••••0-[leaked]!")],
    ),
    ("no response", "x", made(b"{}", None), []),
    ("nothing at all", "x", made(b"", b""), []),
]  # fmt: skip


def shown(hit: Hit) -> str:
    found = hit.snippet
    return f"{found.before}[{found.match}]{found.after}"


@pytest.mark.parametrize(
    ("wanted", "record", "expected"), [row[1:] for row in HITS], ids=[row[0] for row in HITS]
)
def test_hits_of_a_record(
    wanted: str, record: Record, expected: list[tuple[str, str, str, str]]
) -> None:
    found = list(hits(record, Needle(wanted)))
    assert [(str(hit.where), hit.role, hit.kind, shown(hit)) for hit in found] == expected


def test_the_text_that_the_turn_brought_is_shown_first() -> None:
    old = asked(("user", "old echo"), ("assistant", "echo"), ("user", "new echo"))
    (hit,) = hits(made(old), Needle("echo"))
    assert (shown(hit), hit.new, hit.texts) == ("new [echo]", True, 3)
    again = asked(("user", "old echo"), ("assistant", "x"), ("user", "y"))
    (hit,) = hits(made(again), Needle("echo"))
    assert (shown(hit), hit.new, hit.texts) == ("old [echo]", False, 1)
    assert list(hits(made(again), Needle("echo"), only_new=True)) == []


def test_one_side_alone() -> None:
    both = made(asked(("user", "echo")), streamed("echo"))
    assert [hit.where for hit in hits(both, Needle("echo"), (Where.OUT,))] == [Where.OUT]


def test_revealed_nothing_is_covered() -> None:
    record = made(asked(("user", LEAK)), request_headers=((b"x-api-key", LEAK.encode()),))
    (hit,) = hits(record, Needle("test-0000"), reveal=True)
    assert shown(hit) == "sk-ant-[test-0000]-leaked"


# -- over a store ---------------------------------------------------------------------------------


def put(
    writer: LocalWriter, key: Key, text: str, *, at_ms: int | None = None, live: bool = False
) -> str:
    recording = writer.begin(key, at_ms or now_ms(), request_head(), "messages")
    recording.request_chunk(0, asked(("user", text)))
    recording.request_end(1)
    recording.response_head(2, response_head())
    recording.response_chunk(3, streamed("you said ", text))
    if not live:
        recording.end(50, Transport.COMPLETE)
    return recording.id


def settle(reader: LocalReader, count: int) -> None:
    until(lambda: reader.counts().records == count and reader.counts().live == 0)


def found_in(reader: LocalReader, wanted: str, **options: Any) -> list[str]:
    found = search(reader, Needle(wanted), **options)
    return [hit.meta.id for hit in found if isinstance(hit, Hit)]


def last(reader: LocalReader, wanted: str) -> Progress:
    told = [one for one in search(reader, Needle(wanted)) if isinstance(one, Progress)]
    return told[-1]


@pytest.fixture
def writer(store: LocalStore, key: Key) -> Iterator[LocalWriter]:
    with writing(store) as made:
        yield made


def test_newest_first_over_every_page(writer: LocalWriter, reader: LocalReader, key: Key) -> None:
    count = PAGE_CAP + 7
    ids = [put(writer, key, f"word {n % 2}", at_ms=now_ms() - 1000 + n) for n in range(count)]
    settle(reader, count)
    found = found_in(reader, "word 1", where=(Where.IN,))
    assert found == sorted(ids[1::2], reverse=True)
    assert last(reader, "word").records == count
    assert last(reader, "word").bytes == sum(
        meta.request_bytes + meta.response_bytes
        for page in (reader.records(limit=200), reader.records(before=sorted(ids)[7], limit=200))
        for meta in page
    )


def test_each_key_and_each_time_alone(
    store: LocalStore, writer: LocalWriter, reader: LocalReader, key: Key
) -> None:
    other = store.add_key("two", "sk-ant-test-0002-0002-0002", 3600)
    until(lambda: writer.keys.by_id(other.id) is not None)
    old = put(writer, key, "word", at_ms=now_ms() - 600_000)
    mine = put(writer, key, "word")
    theirs = put(writer, other, "word")
    settle(reader, 3)
    where = (Where.IN,)
    assert found_in(reader, "word", where=where) == sorted([old, mine, theirs], reverse=True)
    assert found_in(reader, "word", where=where, key_id=key.id) == [mine, old]
    recently = now_ms() - 60_000
    assert set(found_in(reader, "word", where=where, since_ms=recently)) == {mine, theirs}
    store.set_retention("two", None)
    assert set(found_in(reader, "word", where=where)) == {mine, old}


def test_what_expired_is_not_found(writer: LocalWriter, reader: LocalReader, key: Key) -> None:
    kept = put(writer, key, "word")
    put(writer, key, "word", at_ms=now_ms() - 3_700_000)
    until(lambda: [m.id for m in reader.records() if m.completed_ms] == [kept])
    assert found_in(reader, "word", where=(Where.IN,)) == [kept]


def test_what_is_in_flight_is_found_as_far_as_it_came(
    writer: LocalWriter, reader: LocalReader, key: Key
) -> None:
    live = put(writer, key, "still going", live=True)
    until(lambda: found_in(reader, "you said still") == [live])
    assert found_in(reader, "still going") == [live, live]


def test_the_damaged_is_counted_and_passed_over(
    writer: LocalWriter, reader: LocalReader, root: Path, key: Key
) -> None:
    whole = [put(writer, key, "a longer word " * 20), put(writer, key, "word")]
    settle(reader, 2)
    writer.close()
    (file,) = segment_files(root)
    data = bytearray(file.read_bytes())
    data[200] ^= 0xFF
    file.write_bytes(bytes(data))
    with pytest.raises(BodyMissing):
        reader.get(whole[0])
    assert found_in(reader, "word", where=(Where.IN,)) == whole[1:]
    assert last(reader, "word").unreadable == 1


class Vanishing:
    """A reader whose records go between the list and the reading."""

    def __init__(self, metas: list[RecordMeta]) -> None:
        self._metas = metas

    def records(self, *, key_id: object, before: str | None, limit: int) -> list[RecordMeta]:
        return [each for each in self._metas if before is None or each.id < before][:limit]

    def get(self, _: str) -> None:
        return None


def test_what_goes_meanwhile_is_passed_over() -> None:
    reader = Vanishing([meta(ID), meta("01JX3000000000000000000000")])
    told = list(search(reader, Needle("word")))  # type: ignore[arg-type]
    assert told == [Progress(1), Progress(2)]


def test_it_can_be_left_between_records(
    writer: LocalWriter, reader: LocalReader, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not asked for is not read."""
    for n in range(5):
        put(writer, key, "word", at_ms=now_ms() - 100 + n)
    settle(reader, 5)
    reads: list[str] = []
    get = reader.get

    def counted(record_id: str) -> Record | None:
        reads.append(record_id)
        return get(record_id)

    monkeypatch.setattr(reader, "get", counted)
    scanning = search(reader, Needle("word"), BOTH)
    assert isinstance(next(scanning), Hit)
    assert isinstance(next(scanning), Hit)
    assert isinstance(next(scanning), Progress)
    scanning.close()  # type: ignore[attr-defined]
    assert len(reads) == 1
