"""What the soak concludes from what it saw: the judging of samples, and the ledger of exchanges."""

from dataclasses import replace

import pytest

from store.record import (
    Body,
    Record,
    RecordMeta,
    RequestHead,
    State,
    Transport,
    Verdict,
)
from tests.soak.judge import RSS_BYTES, WAL_BYTES, Sample, has_grown, judged, slope
from tests.soak.ledger import Ledger, Sent, mark

CALM = [Sample(at * 10.0, 90_000_000 + at % 3, 5, 40 + at % 4, 0, 1000) for at in range(60)]


def test_a_run_that_stays_as_it_is_holds_in_everything() -> None:
    assert all(finding.holds for finding in judged(CALM))


@pytest.mark.parametrize(
    ("field", "grow"),
    [
        ("rss", lambda at: 90_000_000 + at * (RSS_BYTES // 40)),
        ("threads", lambda at: 5 + at // 10),
        ("descriptors", lambda at: 40 + at),
        ("wal", lambda at: WAL_BYTES + 1 if at == 30 else 0),
    ],
)
def test_what_grows_is_told_and_nothing_else(field: str, grow: object) -> None:
    assert callable(grow)
    samples = [replace(sample, **{field: grow(at)}) for at, sample in enumerate(CALM)]

    failed = [finding.text for finding in judged(samples) if not finding.holds]

    words = {"rss": "memory", "wal": "write-ahead"}
    assert len(failed) == 1
    assert failed[0].startswith(words.get(field, field))


def test_the_warm_up_and_a_single_peak_are_no_growth() -> None:
    samples = [replace(sample, rss=90_000_000 if sample.at_s else 0) for sample in CALM]
    samples[40] = replace(samples[40], rss=400_000_000, threads=50, descriptors=900)

    assert all(finding.holds for finding in judged(samples))


def test_too_few_samples_are_no_proof() -> None:
    assert [finding.holds for finding in judged(CALM[:2])] == [False]


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], 0.0),
        ([(0, 1)], 0.0),
        ([(0, 0), (1, 2), (2, 4)], 2.0),
        ([(0, 0), (1, 2), (2, 4), (3, 900), (4, 8)], 2.0),
    ],
)
def test_the_slope_is_that_of_most_points(
    points: list[tuple[float, float]], expected: float
) -> None:
    assert slope(points) == expected


@pytest.mark.parametrize(
    ("values", "grown"),
    [
        ([], False),
        ([1, 9], False),
        ([1, 2, 3], True),
        ([3, 1, 3], False),
        ([1, 5, 1, 2, 6, 5], False),
    ],
)
def test_a_count_has_grown_only_if_its_least_is_above_its_most(
    values: list[int], grown: bool
) -> None:
    assert has_grown(values) is grown


# -- the ledger ------------------------------------------------------------------------------------

_META = RecordMeta(
    id="01JX0000000000000000000000", seq=1, key_id="k", state=State.DONE, started_ms=0,
    completed_ms=1, method="POST", scheme="https", host="h", port=443, path="/", protocol=None,
    model=None, status=200, content_type=None, streamed=False, verdict=Verdict.COMPLETE,
    transport=Transport.COMPLETE, error=None, input_tokens=None, output_tokens=None,
    cache_read_tokens=None, cache_write_tokens=None, reasoning_tokens=None, request_bytes=0,
    response_bytes=0, lost_bytes=0, ttft_ms=None, duration_ms=None,
)  # fmt: skip
_HEAD = RequestHead("POST", "https", "h", 443, "/", "HTTP/1.1", ())


def record(number: int, answer: bytes = b"an answer", **changes: object) -> Record:
    """A record of that exchange; its id is its own unless told otherwise."""
    meta = replace(_META, **({"id": f"01JX{number:022d}"} | changes))  # type: ignore[arg-type]
    return Record(meta, _HEAD, Body(mark(number).encode()), None, Body(answer))


def sent(**changes: object) -> Sent:
    """An exchange that went well."""
    return replace(
        Sent("json", "long", frozenset({Transport.COMPLETE}), b"an answer", True),
        **changes,  # type: ignore[arg-type]
    )


def holds(ledger: Ledger) -> bool:
    """All of the ledger's findings hold."""
    return all(finding.holds for finding in ledger.findings())


def test_what_was_sent_and_recorded_agrees_in_either_order() -> None:
    ledger = Ledger()
    ledger.sent(1, sent())
    ledger.found("long", record(1))
    ledger.found("long", record(2))
    ledger.sent(2, sent())
    ledger.found("long", record(2))
    ledger.sent(3, sent(key=None))

    assert ledger.recorded == 2
    assert holds(ledger)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([sent()], []),
        ([], [record(1)]),
        ([sent()], [record(1), record(1, id="01JX9999999999999999999999")]),
        ([sent()], [record(1, b"another answer")]),
        ([sent()], [record(1, b"an answer and more")]),
        ([sent()], [record(1, lost_bytes=1)]),
        ([sent()], [record(1, transport=Transport.RECOVERED)]),
        ([sent(key=None)], [record(1)]),
        ([sent(key="short")], [record(1)]),
        ([sent(whole=False)], [record(1, b"an")]),
    ],
    ids=[
        *("missing", "of nobody", "twice", "other bytes", "more bytes", "lost bytes"),
        *("other end", "of an off key", "of another key", "less than the client got"),
    ],
)
def test_whatever_disagrees_is_a_fault(said: list[Sent], found: list[Record]) -> None:
    ledger = Ledger()
    for each in said:
        ledger.sent(1, each)
    for record in found:
        ledger.found("long", record)

    assert not holds(ledger)


def test_of_a_cut_exchange_more_may_be_recorded_than_the_client_got() -> None:
    ledger = Ledger()
    ledger.sent(1, sent(whole=False))
    ledger.found("long", record(1, b"an answer, and what was on its way"))

    assert holds(ledger)
