"""The detail on screen: four sections, views, reveals, live tails, and never another record's text."""

import threading
from dataclasses import replace
from typing import Any

import pytest

from store.errors import BodyMissing
from store.masks import mask
from store.record import State, Verdict
from tests.tui.builders import LIVE, SECRET, meta, record, record_id
from tests.tui.driving import NARROW, TWO, Driver, opened
from tests.tui.fakes import FakeStore
from tests.tui.scenes import ANSWER, flying, landed, message_events, streamed
from tui.document.layout import HEADING
from tui.document.response import TRUNCATED


def one(**changes: Any) -> FakeStore:
    """One streamed record."""
    store = FakeStore()
    row = meta(1, **changes)
    store.put(row, streamed(row))
    return store


async def loaded(ui: Driver) -> None:
    """Wait for the detail's document."""
    await ui.until(lambda: ui.main.detail.document is not None, "a document")


@pytest.mark.check(124, 127)
async def test_enter_opens_and_escape_goes_back_in_one_pane() -> None:
    async with opened(one(), NARROW) as ui:
        await ui.press("enter")
        await ui.shows("1 REQUEST HEADERS  POST https://api.anthropi…om/v1/messages?beta=true")
        assert "✓ 200  claude" not in ui.text()
        for title in ("2 REQUEST BODY", "anthropic-version  2023-06-01"):
            assert title in ui.text()
        await ui.press("4")
        await ui.shows("4 RESPONSE BODY  [collected]  json  events")
        await ui.shows("The off-by-one is in `purge_expired`")
        await ui.press("escape")
        await ui.shows("✓ 200  claude")
        assert "REQUEST BODY" not in ui.text()


async def test_the_detail_stands_beside_the_list_where_there_is_room() -> None:
    async with opened(one(), TWO) as ui:
        await ui.shows("1 REQUEST HEADERS")
        assert "✓ 200  claude-opus-4-5" in ui.text()
        await ui.press("z")
        await ui.hides("REQUEST HEADERS")
        await ui.press("z", "enter", "z")
        await ui.until(lambda: not ui.main.rows.display)
        await ui.shows("1 REQUEST HEADERS")


@pytest.mark.check(127)
async def test_a_heading_stays_pinned_while_its_section_scrolls() -> None:
    async with opened(one(), NARROW) as ui:
        await ui.press("enter")
        await loaded(ui)
        await ui.press("2", "j", "j")
        ui.main.detail.view.scroll_to(y=9, animate=False)
        await ui.until(lambda: "2 REQUEST BODY" in ui.lines()[2])
        assert ui.main.detail.view.scroll_y > ui.main.detail.view._layout.top(1)


async def test_sections_are_reached_by_number_and_in_turn() -> None:
    async with opened(one(), NARROW) as ui:
        await ui.press("enter")
        await loaded(ui)
        view = ui.main.detail.view

        def at() -> tuple[int, bool]:
            place = view.place
            assert place is not None
            return place.section + 1, place.block == HEADING

        for key, where in (
            ("3", (3, True)),
            ("right_curly_bracket", (4, True)),
            ("right_curly_bracket", (4, True)),
            ("left_curly_bracket", (3, True)),
            ("j", (3, False)),
            ("left_curly_bracket", (3, True)),
            ("1", (1, True)),
            ("G", (4, False)),
            ("g", (1, True)),
            ("pagedown", (2, False)),
            ("ctrl+u", (2, False)),
            ("pageup", (1, True)),
        ):
            await ui.press(key)
            assert where == at(), key


@pytest.mark.check(128)
async def test_space_shows_one_row_and_it_is_forgotten_with_the_record() -> None:
    store = one()
    store.put(meta(2), streamed(meta(2)))
    async with opened(store, NARROW) as ui:
        await ui.press("enter")
        await ui.shows(mask(SECRET))
        assert SECRET not in ui.text()
        await ui.press("j", "j")
        await ui.shows("␣ show")
        await ui.press("space")
        await ui.shows(SECRET)
        await ui.press("right_square_bracket")
        await ui.until(lambda: ui.main.detail.record_id == record_id(1))
        await ui.press("1")
        await ui.shows(mask(SECRET))
        await ui.press("left_square_bracket")
        await ui.shows(mask(SECRET))
        assert SECRET not in ui.text()

        await ui.press("X")
        await ui.shows(SECRET)
        await ui.press("X")
        await ui.hides(SECRET)


@pytest.mark.check(130, 131)
async def test_e_shows_events_and_a_new_record_opens_on_collected() -> None:
    store = one()
    store.put(meta(2), streamed(meta(2)))
    async with opened(store, NARROW) as ui:
        await ui.press("enter")
        await loaded(ui)
        await ui.press("4", "e")
        await ui.shows("+100ms    message_start")
        await ui.press("c")
        await ui.shows('"role": "assistant"')
        await ui.press("r")
        await ui.shows("event: message_start")
        await ui.press("r", "e")
        await ui.shows("+100ms    message_start")
        await ui.press("right_square_bracket")
        await ui.until(lambda: ui.main.detail.record_id == record_id(1))
        await loaded(ui)
        await ui.press("4")
        await ui.shows("[collected]")
        await ui.press("e", "e")
        await ui.shows("[collected]")


async def test_keys_that_cannot_act_are_not_offered() -> None:
    store = FakeStore()
    row = meta(1, streamed=False, content_type="application/json")
    store.put(row, record(row, response_headers=((b"content-type", b"application/json"),)))
    async with opened(store, NARROW) as ui:
        await ui.press("enter")
        await loaded(ui)
        await ui.shows("esc back")
        assert "e events" not in ui.text()
        await ui.press("e", "c", "space")
        assert "json" in ui.text()


async def test_the_next_record_opens_at_the_section_that_was_read() -> None:
    store = one()
    store.put(meta(2), streamed(meta(2), message_events("another answer")))
    async with opened(store, NARROW) as ui:
        # The key is pressed before the record is there.
        await ui.press("enter", "4")
        await ui.until(lambda: "4 RESPONSE BODY" in ui.lines()[2])
        await ui.shows("another answer")
        await ui.press("right_square_bracket")
        await ui.shows("Fixed in store/sweep.py:41.")
        assert "4 RESPONSE BODY" in ui.lines()[2]


@pytest.mark.parametrize("size", [NARROW, TWO])
async def test_a_number_opens_a_section_straight_from_the_list(size: tuple[int, int]) -> None:
    async with opened(one(), size) as ui:
        await ui.press("4")
        await ui.until(lambda: "4 RESPONSE BODY" in ui.lines()[2])
        await ui.shows("Fixed in store/sweep.py:41.")
        assert ui.main.in_detail


@pytest.mark.check(126)
async def test_a_quick_switch_never_shows_the_first_record() -> None:
    store = FakeStore()
    for number in (1, 2):
        row = meta(number, model=f"model-of-{number}")
        store.put(row, streamed(row, message_events(f"answer of {number}")))
    store.hold[record_id(2)] = threading.Event()
    async with opened(store, TWO) as ui:
        await ui.until(lambda: record_id(2) in store.asked, "the first record is being read")
        await ui.press("j")
        await ui.until(lambda: ui.main.detail.record_id == record_id(1))
        store.hold[record_id(2)].set()
        await loaded(ui)
        assert ui.main.detail.document is not None
        assert record_id(1) == ui.main.detail.document.meta.id
        assert "model-of-2" not in ui.lines()[1][47:]
        assert [record_id(2), record_id(1)] == store.asked


@pytest.mark.check(126)
async def test_a_held_key_loads_only_where_it_ends() -> None:
    store = FakeStore()
    for number in range(1, 40):
        store.put(meta(number))
    async with opened(store, TWO) as ui:
        await loaded(ui)
        for _ in range(20):
            ui.app.simulate_key("j")
        await ui.until(lambda: ui.main.detail.record_id == record_id(19))
        await loaded(ui)
        assert len(store.asked) <= 4


async def test_a_slow_load_says_so() -> None:
    store = one()
    store.hold[record_id(1)] = threading.Event()
    async with opened(store, TWO) as ui:
        await ui.shows("Loading…")
        store.hold[record_id(1)].set()
        await ui.shows("1 REQUEST HEADERS")
        await ui.hides("Loading…")


@pytest.mark.check(50)
async def test_missing_bytes_are_said_and_the_list_works() -> None:
    store = one()
    store.bodies[record_id(1)] = BodyMissing("Body 01… missing on disk: /store/seg\x1b[2J-1")
    store.put(meta(2), streamed(meta(2)))
    async with opened(store, TWO) as ui:
        await loaded(ui)
        await ui.press("j")
        await ui.shows("missing on disk: /store/seg␛[2J-1")
        await ui.press("k")
        await loaded(ui)


@pytest.mark.check(132)
async def test_a_record_in_flight_grows_and_is_then_whole() -> None:
    store = FakeStore()
    live = flying(store)
    async with opened(store, NARROW) as ui:
        await ui.press("enter")
        await loaded(ui)
        await ui.press("G")
        chunks = message_events()
        for at, chunk in enumerate(chunks[:9]):
            live.chunk(100 * at, chunk)
        await ui.shows("The off-by-one is")
        assert ANSWER.split()[-1] not in ui.text()
        assert TRUNCATED not in ui.text()
        for at, chunk in enumerate(chunks[9:], 9):
            live.chunk(100 * at, chunk)
        await ui.shows("Fixed in store/sweep.py:41.")
        await ui.shows("⚙ Bash")

        store.end(landed(live).meta, landed(live))
        await ui.shows("✓ 200")
        await ui.shows("tool_use")
        assert "Fixed in store/sweep.py:41." in ui.text()


@pytest.mark.check(132)
async def test_a_record_cut_while_open_gets_its_banner() -> None:
    store = FakeStore()
    live = flying(store)
    async with opened(store, NARROW) as ui:
        await ui.press("enter")
        await loaded(ui)
        await ui.press("4")
        for at, chunk in enumerate(message_events(end=False)):
            live.chunk(100 * at, chunk)
        await ui.shows("The off-by-one is")
        whole = landed(live)
        row = replace(whole.meta, verdict=Verdict.INTERRUPTED)
        store.end(row, whole)
        await ui.shows("Stream truncated")


async def test_a_tail_is_followed_only_from_its_end() -> None:
    store = FakeStore()
    live = flying(store)
    long = " ".join(f"word{number}" for number in range(600))
    chunks = message_events(long, end=False)
    async with opened(store, NARROW) as ui:
        await ui.press("enter")
        await loaded(ui)
        for at, chunk in enumerate(chunks[:120]):
            live.chunk(at, chunk)
        await ui.until(lambda: ui.main.detail.view._layout.height > 40)
        await ui.press("G")
        for at, chunk in enumerate(chunks[120:240], 120):
            live.chunk(at, chunk)
        await ui.until(lambda: "word46" in ui.lines()[-2], "the end is in view")

        await ui.press("2")
        top = ui.main.detail.view.scroll_y
        height = ui.main.detail.view._layout.height
        for at, chunk in enumerate(chunks[240:], 240):
            live.chunk(at, chunk)
        await ui.until(lambda: ui.main.detail.view._layout.height > height)
        assert top == ui.main.detail.view.scroll_y


async def test_a_response_that_has_not_begun_is_waited_for() -> None:
    store = FakeStore()
    row = meta(1, **LIVE)
    store.begin(row, streamed(row))
    async with opened(store, NARROW) as ui:
        await ui.press("enter")
        await loaded(ui)
        await ui.press("G")
        await ui.shows("Waiting for the response…")
        await ui.shows("3 RESPONSE HEADERS  waiting")


@pytest.mark.check(37)
async def test_a_record_deleted_while_open_is_said_and_stays_readable() -> None:
    store = one()
    store.put(meta(2), streamed(meta(2)))
    async with opened(store, NARROW) as ui:
        await ui.press("enter")
        await loaded(ui)
        store.purge(record_id(2))
        await ui.shows("This record passed its retention and was deleted.")
        assert "1 REQUEST HEADERS" in ui.text()


@pytest.mark.check(137)
async def test_a_deep_link_opens_there() -> None:
    store = FakeStore()
    for number in range(1, 300):
        row = meta(number, model=f"model-{number:03d}")
        store.put(row, streamed(row))
    async with opened(store, NARROW, key="laptop", record=record_id(40)) as ui:
        await loaded(ui)
        await ui.shows("260 / 299")
        assert ui.main.in_detail
        await ui.press("escape")
        await ui.shows("▌✓ 200  model-040")


async def test_wrapping_can_be_switched_off_and_lines_moved_aside() -> None:
    store = FakeStore()
    row = meta(1, streamed=False, content_type="text/plain")
    text = b"0123456789" * 20 + b"the end of a long line"
    from tests.tui.builders import body

    store.put(
        row,
        record(row, response_headers=((b"content-type", b"text/plain"),), response_body=body(text)),
    )
    async with opened(store, NARROW) as ui:
        await ui.press("enter")
        await loaded(ui)
        await ui.press("4")
        await ui.shows("long line")
        await ui.press("w")
        await ui.hides("long line")
        await ui.press(*["shift+right"] * 20)
        await ui.shows("long line")


async def test_a_drag_selects_the_true_text() -> None:
    async with opened(one(), NARROW) as ui:
        await ui.press("enter")
        await loaded(ui)
        view = ui.main.detail.view
        await ui.pilot.mouse_down(view, offset=(21, 1))
        await ui.pilot.hover(view, offset=(38, 1))
        await ui.pilot.mouse_up(view, offset=(38, 1))
        await ui.until(lambda: ui.app.screen.get_selected_text() is not None)
        assert "api.anthropic.com" in (ui.app.screen.get_selected_text() or "")


async def test_help_shows_every_key_and_closes() -> None:
    async with opened(one(), (120, 60)) as ui:
        await ui.press("question_mark")
        await ui.shows("EVERYWHERE")
        await ui.press("3")
        for text in ("ctrl+q", "follow", "◐ cut"):
            await ui.shows(text)
        await ui.press("escape")
        await ui.hides("EVERYWHERE")


@pytest.mark.check(135, 136)
async def test_copying_says_what_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    from tui.clipboard import Copied
    from tui.screens import main

    copied: list[str] = []
    answers = [Copied("Copied 9 B", True), Copied("Copy failed: x", False)]

    def fake(text: str) -> Copied:
        copied.append(text)
        return answers[min(len(copied), len(answers)) - 1]

    monkeypatch.setattr(main, "copy", fake)
    async with opened(one(), NARROW) as ui:
        await ui.press("enter")
        await loaded(ui)
        await ui.press("y")
        await ui.shows("Copied 9 B (request headers, 1 secret masked)")
        assert f"X-Api-Key: {mask(SECRET)}" in copied[0]
        await ui.press("X", "y")
        await ui.shows("Copy failed: x")
        assert f"X-Api-Key: {SECRET}" in copied[1]
        await ui.press("j", "j", "X", "y")
        await ui.until(lambda: len(copied) == 3)
        assert f"X-Api-Key: {mask(SECRET)}" == copied[2]
        await ui.press("Y")
        await ui.until(lambda: len(copied) == 4)
        assert f"flowtap --key laptop --record {record_id(1)}" == copied[3]


def test_done_means_done() -> None:
    """The scenes' record in flight ends as a done one."""
    store = FakeStore()
    live = flying(store)

    assert State.DONE is landed(live).meta.state
