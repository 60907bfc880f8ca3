"""Rows to places and back, whatever the width; a tail that grows keeps what it measured."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.document.layout import HEADING, Layout
from tui.document.lines import Section, TextBlock


def sections(*texts: list[str], words: bool = False) -> list[Section]:
    """One section for each list of lines."""
    return [
        Section(at, f"S{at}", blocks=[TextBlock(lines, words=words)])
        for at, lines in enumerate(texts, 1)
    ]


def test_rows_of_headings_and_lines() -> None:
    layout = Layout(sections(["a", "b"], ["0123456789" * 2]), 12)

    assert 6 == layout.height
    assert [0, 3] == [layout.top(0), layout.top(1)]
    places = [layout.place(row) for row in range(layout.height)]
    assert [HEADING, 0, 0, HEADING, 0, 0] == [place.block for place in places]
    assert [(0, 10), (10, 20)] == [(place.start, place.end) for place in places[4:]]
    assert [0, 0, 0, 1, 1, 1] == [layout.section_at(row) for row in range(6)]


def test_a_section_without_blocks_is_its_heading() -> None:
    layout = Layout([Section(1, "A"), Section(2, "B")], 80)

    assert 2 == layout.height
    assert HEADING == layout.place(1).block
    assert 1 == layout.row(1, 3, 7)


def test_unwrapped_lines_take_one_row() -> None:
    layout = Layout(sections(["x" * 500, "y"]), 20, wrapped=False)

    assert 3 == layout.height
    assert (0, 500) == (layout.place(1).start, layout.place(1).end)


lines = st.lists(st.text("ab 日", max_size=40), max_size=12)


@given(lines, lines, st.integers(6, 40), st.booleans())
def test_every_row_is_one_piece_of_one_line(
    first: list[str], second: list[str], width: int, words: bool
) -> None:
    given_sections = sections(first, second, words=words)
    layout = Layout(given_sections, width)

    seen: dict[tuple[int, int], str] = {}
    for row in range(layout.height):
        place = layout.place(row)
        if place.block == HEADING:
            continue
        text = given_sections[place.section].blocks[0].texts[place.line]
        key = place.section, place.line
        seen[key] = seen.get(key, "") + text[place.start : place.end]
        assert row == layout.row(place.section, place.block, place.line) + place.part
    assert {
        (section, line): text
        for section, texts in enumerate((first, second))
        for line, text in enumerate(texts)
    } == seen


@given(lines, lines, st.integers(6, 30))
def test_a_layout_made_from_the_last_one_is_the_same(
    old: list[str], more: list[str], width: int
) -> None:
    before = Layout(sections(old, words=True), width)
    grown = sections([*old[:-1], (old[-1] if old else "") + "tail of it", *more], words=True)

    again = Layout(grown, width, old=before)
    anew = Layout(grown, width)

    assert anew.height == again.height
    assert [anew.place(row) for row in range(anew.height)] == [
        again.place(row) for row in range(again.height)
    ]


def test_a_tail_that_grows_measures_its_end_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from tui.document import wrap

    counted: list[str] = []
    real = wrap.count

    def counting(text: str, width: int, hang: int = 0, *, words: bool = False) -> int:
        counted.append(text)
        return real(text, width, hang, words=words)

    monkeypatch.setattr(wrap, "count", counting)
    old = [f"line {number} that is longer than the view is wide" for number in range(500)]
    before = Layout(sections(old), 20)
    counted.clear()

    Layout(sections([*old, "one more"]), 20, old=before)

    assert [] == counted
    Layout(sections([*old, "one more that is longer than the view"]), 20, old=before)
    assert ["one more that is longer than the view"] == counted


def test_code_that_is_wrapped_keeps_to_its_indent() -> None:
    layout = Layout(sections(["    " + "x" * 30]), 22)

    assert [2, 6] == [layout.indent(layout.place(row)) for row in (1, 2)]
    assert [(0, 20), (20, 34)] == [(p.start, p.end) for p in map(layout.place, (1, 2))]
