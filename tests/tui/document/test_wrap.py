"""Rows of a line: every character in exactly one row, no row wider than the view."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.document.wrap import GIANT, count, rows


def cut(text: str, offsets: list[int]) -> list[str]:
    ends = [*offsets[1:], len(text)]
    return [text[start:end] for start, end in zip(offsets, ends, strict=True)]


@pytest.mark.parametrize(
    ("text", "width", "hang", "words", "shown"),
    [
        ("", 10, 0, False, [""]),
        ("0123456789", 10, 0, False, ["0123456789"]),
        ("0123456789a", 10, 0, False, ["0123456789", "a"]),
        ("0123456789abcdefgh", 10, 4, False, ["0123456789", "abcdef", "gh"]),
        ("日本語テキスト", 5, 0, False, ["日本", "語テ", "キス", "ト"]),
        ("the quick brown fox", 10, 0, True, ["the quick ", "brown fox"]),
        ("the quick brown fox", 9, 0, True, ["the quick ", "brown fox"]),
        ("a bcdefghijklmnop q", 6, 0, True, ["a ", "bcdefg", "hijklm", "nop q"]),
        ("    indented words here", 12, 2, True, ["    indented ", "words here"]),
        ("日本 語テキスト x", 6, 0, True, ["日本 ", "語テキ", "スト x"]),
    ],
)
def test_rows(text: str, width: int, hang: int, words: bool, shown: list[str]) -> None:
    assert shown == cut(text, rows(text, width, hang, words=words))


@given(
    st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs"))),
    st.integers(2, 30),
    st.integers(0, 10),
    st.booleans(),
)
def test_no_row_is_wider_than_the_view_and_nothing_is_lost(
    text: str, width: int, hang: int, words: bool
) -> None:
    offsets = rows(text, width, hang, words=words)
    pieces = cut(text, offsets)

    assert text == "".join(pieces)
    assert len(offsets) == count(text, width, hang, words=words)
    assert offsets == sorted(set(offsets))
    # A blank at the break may hang over the edge, as in any editor.
    assert all(cell_len(piece.rstrip()) <= width for piece in pieces)


def test_a_giant_line_is_cut_without_being_walked() -> None:
    text = "日" + "x" * GIANT
    pieces = cut(text, rows(text, 80))

    assert text == "".join(pieces)
    assert len(pieces) == count(text, 80)
    assert {40} == {len(piece) for piece in pieces[:-1]}


def test_the_runs_are_as_wide_as_they_are_said_to_be() -> None:
    from tui.document.wrap import _RUN

    odd = []
    for code in range(0x20, 0x20000):
        char = chr(code)
        match = _RUN.match(char)
        if match is not None and match.lastgroup is not None:
            said = 1 if match["narrow"] else 2
            if said != cell_len(char):
                odd.append(hex(code))
    assert [] == odd
