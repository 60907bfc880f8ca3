"""The window: every id once, in order, bounded, and nothing between two pages lost."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.contract import PAGE
from store.record import RecordMeta, State
from tests.tui.builders import meta, record_id
from tui.feed import Feed, above


def rows(*numbers: int) -> list[RecordMeta]:
    """Rows as a page has them: newest first."""
    return [meta(number) for number in sorted(numbers, reverse=True)]


def numbers(feed: Feed) -> list[int]:
    """The window from the top, as the numbers the rows were made from."""
    return [(feed[at].started_ms - meta(0).started_ms) // 1000 for at in range(len(feed))]


def page(newest: int, before: str | None = None, limit: int = PAGE) -> list[RecordMeta]:
    """What a reader with records 1..newest answers."""
    ids = [n for n in range(newest, 0, -1) if before is None or record_id(n) < before]
    return [meta(n) for n in ids[:limit]]


@pytest.mark.parametrize(
    ("record", "next_one"),
    [
        ("01AAAAAAAAAAAAAAAAAAAAAAAA", "01AAAAAAAAAAAAAAAAAAAAAAAB"),
        ("01AAAAAAAAAAAAAAAAAAAAAAAZ", "01AAAAAAAAAAAAAAAAAAAAAAB0"),
        ("01AAAAAAAAAAAAAAAAAAAAAH", "01AAAAAAAAAAAAAAAAAAAAAJ"),
    ],
)
def test_the_cursor_that_just_lets_an_id_through(record: str, next_one: str) -> None:
    assert next_one == above(record)


@pytest.mark.check(83, 90)
def test_news_goes_to_its_place_by_id() -> None:
    feed = Feed()
    feed.snapshot(rows(1, 2, 5), whole=True)

    assert 2 == feed.news([meta(7, seq=8), meta(4, seq=9)])
    assert [7, 5, 4, 2, 1] == numbers(feed)
    assert 9 == feed.seq


@pytest.mark.check(84, 90)
def test_a_record_seen_before_is_updated_where_it_stands() -> None:
    feed = Feed()
    feed.snapshot([replace(meta(2), state=State.LIVE), meta(1)], whole=False)
    feed.older(rows(0), whole=True)

    assert 0 == feed.news([meta(2, seq=11, status=529), meta(0, seq=12, status=404)])
    assert [2, 1, 0] == numbers(feed)
    assert [529, 200, 404] == [feed[at].status for at in range(3)]


def test_older_news_waits_for_its_page() -> None:
    feed = Feed()
    feed.snapshot(rows(5, 6), whole=False)

    assert 0 == feed.news([meta(3, seq=9)])
    assert [6, 5] == numbers(feed)

    feed.older(rows(3, 4), whole=True)
    assert [6, 5, 4, 3] == numbers(feed)


@pytest.mark.check(88)
def test_paging_overlaps_without_a_duplicate() -> None:
    feed = Feed()
    feed.snapshot(rows(4, 5, 6), whole=False)
    feed.older(rows(2, 3, 4), whole=False)

    assert [6, 5, 4, 3, 2] == numbers(feed)
    assert record_id(2) == feed.oldest
    assert not feed.at_bottom


def test_an_index_counts_the_rows_above() -> None:
    feed = Feed()
    feed.snapshot(rows(1, 3, 5), whole=True)

    assert [0, 1, 1, 2, 2, 3] == [feed.index(record_id(n)) for n in (5, 4, 3, 2, 1, 0)]


def test_an_empty_window_takes_the_first_news() -> None:
    feed = Feed()
    feed.snapshot([], whole=True)

    assert 1 == feed.news([meta(1)])
    assert [1] == numbers(feed)


@pytest.mark.check(91)
def test_news_pushes_old_rows_out_of_a_full_window() -> None:
    feed = Feed(capacity=3 * PAGE)
    feed.snapshot(page(300), whole=True)
    feed.older(page(300, feed.oldest), whole=True)
    feed.news([meta(n, seq=n) for n in range(301, 421)])

    assert 3 * PAGE == len(feed)
    assert list(range(420, 120, -1)) == numbers(feed)
    assert not feed.at_bottom


@pytest.mark.check(91)
def test_rows_let_go_above_are_read_again_on_the_way_up() -> None:
    newest = 1000
    feed = Feed(capacity=3 * PAGE)
    feed.snapshot(page(newest), whole=False)
    while not feed.at_bottom:
        batch = page(newest, feed.oldest)
        feed.older(batch, whole=len(batch) < PAGE)
    assert 3 * PAGE >= len(feed)
    assert not feed.at_top
    assert 1 == numbers(feed)[-1]

    while not feed.at_top:
        feed.newer(page(newest, feed.newer_cursor))

    assert list(range(newest, newest - len(feed), -1)) == numbers(feed)


@pytest.mark.check(91)
def test_news_above_a_window_away_from_the_top_is_counted_and_found_on_the_way_up() -> None:
    feed = Feed(capacity=3 * PAGE)
    feed.snapshot(page(400), whole=False)
    while not feed.at_bottom:
        batch = page(400, feed.oldest)
        feed.older(batch, whole=len(batch) < PAGE)
    before = numbers(feed)

    arrived = [meta(n, seq=n) for n in range(401, 651)]
    assert 250 == feed.news(arrived)
    assert 0 == feed.news([replace(arrived[0], seq=900)])
    assert before == numbers(feed)

    while not feed.at_top:
        feed.newer(page(650, feed.newer_cursor))
    assert list(range(650, 350, -1)) == numbers(feed)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("news"), st.lists(st.integers(0, 60), max_size=8)),
            st.tuples(st.just("older"), st.just([])),
            st.tuples(st.just("snapshot"), st.just([])),
        ),
        max_size=25,
    )
)
def test_whatever_comes_in_whatever_order_ids_are_unique_and_sorted(
    steps: list[tuple[str, list[int]]],
) -> None:
    """Against a reader that knows all that was ever announced."""
    known: set[int] = set()
    seq = 0
    feed = Feed()
    feed.snapshot([], whole=True)
    for step, fresh in steps:
        if step == "news":
            known.update(fresh)
            batch = []
            for number in fresh:
                seq += 1
                batch.append(meta(number, seq=seq))
            feed.news(batch)
        else:
            cursor = feed.oldest if step == "older" else None
            ids = sorted(
                (n for n in known if cursor is None or record_id(n) < cursor), reverse=True
            )
            answer = [meta(n) for n in ids[:5]]
            if step == "older":
                feed.older(answer, whole=len(answer) < 5)
            else:
                feed.snapshot(answer, whole=len(answer) < 5)
        shown = numbers(feed)
        assert sorted(set(shown), reverse=True) == shown
        # What is shown is a gapless stretch of what is known, down to the window's end.
        floor = 0 if feed.at_bottom else (shown[-1] if shown else 61)
        assert sorted((n for n in known if n >= floor), reverse=True) == shown
