"""The list on screen: rows, following, paging, keys and their selector, states that end by themselves."""

import itertools
import threading
from dataclasses import replace
from functools import partial

import pytest

from store.contract import Reader
from store.errors import StoreUnavailable
from store.record import State, Verdict
from tests.tui.builders import CI, LAPTOP, LIVE, NOW_MS, OFF, meta, record_id
from tests.tui.driving import NARROW, TWO, WIDE, opened
from tests.tui.fakes import PROXY, FakeStore
from tests.tui.scenes import filled, flying


def plain(count: int) -> FakeStore:
    """Records 1..count of one key."""
    store = FakeStore(LAPTOP)
    for number in range(1, count + 1):
        store.put(meta(number, model=f"model-{number:04d}"))
    return store


@pytest.mark.check(116, 117, 119, 120)
async def test_rows_have_two_lines_with_their_columns() -> None:
    store = FakeStore(LAPTOP)
    store.put(meta(3598, path="/v1/chat/completions", model=None, request_bytes=3_380))
    store.put(
        meta(3600, status=529, verdict=Verdict.FAILED, error="overloaded_error", response_bytes=180)
    )
    async with opened(store, TWO) as ui:
        await ui.shows("1 err")
        shown = [line[:46].rstrip("▌ ") for line in ui.lines()[1:5]]

    assert "▌✗ 529  claude-opus-4-5  Anthropic       now" == shown[0]
    assert "▌       messages · overlo…  8.1s ↑409K ↓180B" == shown[1]
    assert " ✓ 200  Unknown  Anthropic            2s ago" == shown[2]
    assert " " * 8 + "/v1/chat/…pletions  8.1s ↑3.3K ↓ 22K" == shown[3]
    assert "POST" not in "\n".join(shown)


@pytest.mark.check(118)
async def test_tokens_upstream_and_key_show_where_there_is_room() -> None:
    async with opened(filled(), NARROW) as ui:
        row = ui.lines()[1] + ui.lines()[2]

    assert "claude-opus-4-5  Anthropic" in row
    assert "laptop" in row
    assert "82K tok" in row


async def test_without_a_living_proxy_nothing_is_in_flight() -> None:
    store = plain(1)
    flying(store)
    async with opened(store) as ui:
        await ui.shows("… 0:12")
        store.proxies = [replace(PROXY, alive=False)]
        await ui.shows("◐ cut")
        await ui.hides("… 0:12")


@pytest.mark.check(83, 90)
async def test_a_record_appears_and_is_updated_in_place() -> None:
    store = plain(3)
    async with opened(store) as ui:
        row = store.put(
            meta(9, model="brand-new", **{k: v for k, v in LIVE.items() if k != "model"})
        )
        await ui.shows("brand-new")
        assert "brand-new" in ui.lines()[1]

        store.put(replace(row, state=State.DONE, status=429, verdict=Verdict.FAILED))
        await ui.shows("▲ 429  brand-new")
        assert 1 == sum("▲ 429" in line[:46] for line in ui.lines())


async def test_a_row_in_flight_grows() -> None:
    store = plain(2)
    async with opened(store) as ui:
        live = flying(store)
        await ui.shows("… 0:12")
        live.chunk(1, b"x" * (5 * 1024))
        await ui.shows("↓5.0K")


async def test_nothing_moves_under_the_cursor_unless_following() -> None:
    store = plain(60)
    async with opened(store) as ui:
        assert ui.main.rows.cursor_id == record_id(60)
        await ui.press(*"jjjjj")
        await ui.until(lambda: ui.main.rows.cursor_id == record_id(55))
        before = ui.lines()[1:30]

        for number in range(100, 105):
            store.put(meta(number))
        await ui.shows("+5 new ↑")
        assert record_id(55) == ui.main.rows.cursor_id
        assert [line[:45] for line in before] == [line[:45] for line in ui.lines()[1:30]]

        await ui.press("f")
        await ui.until(lambda: ui.main.rows.cursor_id == record_id(104))
        await ui.shows("↓ follow")
        store.put(meta(200))
        await ui.until(lambda: ui.main.rows.cursor_id == record_id(200))


@pytest.mark.check(94, 123)
async def test_older_rows_load_as_the_end_comes_near() -> None:
    store = plain(450)
    async with opened(store) as ui:
        # The first page; nothing older until it is needed.
        assert len(ui.main.feed) == 100
        await ui.press("G")
        await ui.until(lambda: len(ui.main.feed) >= 200, "a second page")
        feed = ui.main.feed
        while not feed.at_bottom:
            loaded = len(feed)
            await ui.press("G")
            await ui.until(partial(lambda n: len(feed) > n or feed.at_bottom, loaded))
        await ui.press("G")
        await ui.shows("model-0001")
        assert 450 == len(ui.main.feed)


@pytest.mark.check(94)
async def test_a_page_that_cannot_be_read_is_said_and_the_list_stays() -> None:
    store = plain(250)
    async with opened(store) as ui:
        ui.main._follow.watch(None)
        await ui.until(lambda: not ui.main.pager.busy)
        store.error = StoreUnavailable("disk on fire")
        ui.main.rows.post_message(ui.main.rows.WantOlder())
        await ui.shows("Failed to load older records: disk on fire")
        assert 100 == len(ui.main.feed)


@pytest.mark.check(86, 89, 92)
async def test_a_lost_store_is_said_and_comes_back_by_itself() -> None:
    store = plain(3)
    async with opened(store) as ui:
        store.error = StoreUnavailable("database is locked\x1b]0;x\x07")
        await ui.shows("✗ STORE: database is locked␛]0;x␇ (retrying 1s)")
        assert "model-0003" in ui.text()

        store.rows[record_id(7)] = meta(7, seq=99, model="meanwhile")
        store.version += 1
        store.error = None
        await ui.shows("meanwhile")
        await ui.hides("STORE:")
        assert 4 == len(ui.main.feed)


@pytest.mark.check(85, 125)
async def test_a_store_that_is_not_there_yet_opens_when_it_is() -> None:
    store = plain(1)
    store.error = StoreUnavailable("No store at /nowhere.")
    async with opened(store, ready=False) as ui:
        await ui.shows("Waiting for the store.")
        await ui.shows("No store at /nowhere.")
        store.error = None
        await ui.shows("model-0001")


@pytest.mark.check(125)
async def test_an_opening_that_takes_long_is_said() -> None:
    store = plain(1)
    gate = threading.Event()
    reader = store.reader

    def slow() -> Reader:
        gate.wait(10)
        return reader()

    store.reader = slow  # type: ignore[method-assign]
    ticks = itertools.count(NOW_MS, 1000)
    async with opened(store, ready=False, clock=lambda: next(ticks)) as ui:
        await ui.shows("Opening store…")
        gate.set()
        await ui.shows("model-0001")
        await ui.hides("Opening store…")


@pytest.mark.check(86)
async def test_a_proxy_that_went_is_said_with_since_when_and_who() -> None:
    store = plain(2)
    async with opened(store) as ui:
        await ui.shows("● LIVE")
        store.proxies = [replace(PROXY, alive=False)]
        await ui.shows("○ PROXY GONE since ")
        assert "(pid 4121)" in ui.text()
        store.proxies = [PROXY]
        await ui.shows("● LIVE")


@pytest.mark.check(43)
async def test_losses_are_counted_and_said() -> None:
    store = plain(2)
    store.proxies = [replace(PROXY, lost_records=12, error="disk full")]
    async with opened(store, WIDE) as ui:
        await ui.shows("▲ LOSING RECORDS: disk full")
        await ui.shows("12 records lost")


async def test_paused_rows_stand_still_and_are_counted() -> None:
    store = plain(3)
    async with opened(store) as ui:
        await ui.press("space")
        await ui.shows("‖ PAUSED")
        store.put(meta(50, model="later"))
        store.put(meta(51))
        await ui.shows("‖ PAUSED +2 new")
        assert "later" not in ui.text()
        await ui.press("space")
        await ui.shows("later")


@pytest.mark.check(112, 115)
async def test_keys_are_chosen_in_turn_or_from_their_list() -> None:
    store = FakeStore(LAPTOP, CI, OFF)
    store.put(meta(1, model="of-laptop"))
    store.put(meta(2, model="of-ci", key_id=CI.id))
    async with opened(store) as ui:
        await ui.shows("of-laptop")
        await ui.shows("of-ci")
        await ui.until(lambda: ui.main.detail.document is not None)

        await ui.press("K")
        await ui.shows("key ci (c1c1) ▾")
        await ui.hides("of-laptop")
        await ui.press("K")
        await ui.shows("key laptop (9Qz1) ▾")
        await ui.hides("of-ci")

        await ui.press("ctrl+k")
        await ui.shows("all keys")
        assert "old (0ld0)" not in ui.text()
        await ui.press("k", "k", "enter")
        await ui.shows("of-ci")
        await ui.shows("key all keys ▾")


@pytest.mark.check(115)
async def test_switching_the_key_lets_the_record_go() -> None:
    store = FakeStore(LAPTOP, CI)
    store.put(meta(1))
    async with opened(store) as ui:
        await ui.until(lambda: ui.main.detail.document is not None)
        await ui.press("K")
        await ui.until(lambda: ui.main.detail.record_id is None)
        await ui.shows("No requests recorded yet.")


@pytest.mark.check(114)
async def test_a_key_that_lost_its_retention_is_left_with_a_word() -> None:
    store = FakeStore(LAPTOP, CI)
    store.put(meta(1, model="of-laptop"))
    store.put(meta(2, model="of-ci", key_id=CI.id))
    async with opened(store, key="laptop") as ui:
        await ui.shows("key laptop (9Qz1)")
        await ui.shows("of-laptop")
        store.set_keys(CI, replace(LAPTOP, retention_s=None))
        await ui.shows("key ci (c1c1)")
        await ui.shows("lost its retention")
        await ui.shows("of-ci")


@pytest.mark.check(62, 88)
async def test_purged_rows_leave_and_the_pages_read_stay() -> None:
    store = plain(250)
    async with opened(store) as ui:
        await ui.press("G")
        await ui.until(lambda: len(ui.main.feed) >= 200)
        await ui.press("G")
        at = ui.main.rows.cursor_id
        assert at is not None
        await ui.until(lambda: not ui.main.pager.busy)

        store.purge(record_id(249), record_id(248))
        await ui.until(lambda: record_id(249) not in ui.main.feed)
        assert at == ui.main.rows.cursor_id
        assert at in ui.main.feed


@pytest.mark.check(93, 113)
async def test_an_empty_store_says_why_and_what_to_do() -> None:
    store = FakeStore(OFF)
    store.proxies = [
        replace(
            PROXY,
            seen=3,
            unmatched=3,
            last_unmatched_ms=NOW_MS - 12_000,
            last_unmatched_host="api.anthropic.com",
            last_unmatched_fingerprint="sk-ant-a…9Qz1",
        )
    ]
    async with opened(store, NARROW) as ui:
        await ui.shows("○ WAITING")
        for text in (
            "Nothing captured yet.",
            "✓ store        ready, 0 records",
            "✓ proxy        last heartbeat 2s ago, listening on 127.0.0.1:8080",
            "✗ keys         0 of 1 key opted in",
            "→ a  opt a key in",
            "▲ traffic      3 LLM requests seen, none matched an opted-in key",
            "last: api.anthropic.com  sk-ant-a…9Qz1  12s ago",
            "export HTTPS_PROXY=http://127.0.0.1:8080",
            "export NODE_EXTRA_CA_CERTS=~/.mitmproxy/mitmproxy-ca-cert.pem   # Node",
            "export SSL_CERT_FILE=~/.mitmproxy/mitmproxy-ca-cert.pem         # Python",
        ):
            assert text in ui.text()

        store.set_keys(LAPTOP)
        store.put(meta(1, model="the-first"))
        await ui.shows("the-first")
        await ui.hides("Nothing captured yet.")


@pytest.mark.check(124)
async def test_a_click_selects_and_a_second_one_opens() -> None:
    async with opened(plain(9), NARROW) as ui:
        await ui.shows("↵ open")
        await ui.pilot.click(ui.main.rows, offset=(10, 5))
        await ui.until(lambda: ui.main.rows.cursor_id == record_id(7))
        assert not ui.main.in_detail
        await ui.pilot.click(ui.main.rows, offset=(10, 4))
        await ui.until(lambda: ui.main.in_detail)


@pytest.mark.check(116)
async def test_the_exact_time_shows_under_the_pointer() -> None:
    async with opened(plain(3)) as ui:
        await ui.pilot.hover(ui.main.rows, offset=(10, 1))
        await ui.until(lambda: ui.main.rows.tooltip is not None)
        assert ":" in str(ui.main.rows.tooltip)


async def test_the_wheel_ends_following() -> None:
    async with opened(plain(90)) as ui:
        ui.main.rows.scroll_to(y=20, animate=False)
        await ui.until(lambda: not ui.main.rows.following)
        await ui.shows("f follow")


async def test_keys_move_by_rows_and_pages() -> None:
    async with opened(plain(90), (80, 24)) as ui:
        height = 22 // 2
        for keys, at in (
            ("j", 1),
            ("k", 0),
            ("ctrl+d", height // 2),
            ("ctrl+u", 0),
            ("pagedown", height),
            ("pageup", 0),
            ("G", 89),
            ("g", 0),
        ):
            await ui.press(keys)
            assert at == ui.main.rows.cursor, keys


@pytest.mark.parametrize("size", [(59, 24), (80, 9)])
async def test_a_terminal_too_small_says_what_it_needs(size: tuple[int, int]) -> None:
    async with opened(plain(3), size) as ui:
        await ui.shows("needs 60\u00d710")
        await ui.pilot.resize_terminal(80, 24)
        await ui.shows("model-0003")


async def test_a_low_terminal_has_no_key_bar() -> None:
    async with opened(plain(3), (80, 15)) as ui:
        await ui.shows("model-0003")
        assert "? help" not in ui.text()


async def test_painting_reads_nothing_and_paints_no_more_than_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tui.widgets.record_list import RecordList

    painted = 0
    real = RecordList.render_line

    def counting(self: RecordList, y: int) -> object:
        nonlocal painted
        painted += 1
        return real(self, y)

    async with opened(plain(100)) as ui:
        monkeypatch.setattr(RecordList, "render_line", counting)
        await ui.press("j")
        assert 0 < painted <= 2 * (ui.main.rows.size.height + 1)
