"""Nothing captured may drive the terminal; what was there stays visible."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.safe_text import escape, escape_lines, fit, is_safe, shorten, shorten_middle

CASES = [
    ("plain", "plain"),
    ("", ""),
    ("ünïcödé 日本語 → ✓", "ünïcödé 日本語 → ✓"),
    ("\x1b[31mred", "␛[31mred"),
    ("\x1b]52;c;ZXZpbA==\x1b\\", "␛]52;c;ZXZpbA==␛\\"),
    ("\x9b31m", "\\x9b31m"),
    ("a\x00b\x7f", "a␀b␡"),
    ("one\ntwo\tthree\r", "one␊two␉three␍"),
    ("abc\u202edcba\u2066x\u2069", "abc\\u202edcba\\u2066x\\u2069"),
    ("zero\u200bwidth\u200djoin\ufeff", "zero\\u200bwidth\\u200djoin\\ufeff"),
    ("line\u2028para\u2029", "line\\u2028para\\u2029"),
    ("tag\U000e0041\U000e007f", "tag\\U000e0041\\U000e007f"),
    ("\U000e0100smuggled", "\\U000e0100smuggled"),
    ("lone\udc80", "lone\\udc80"),
    ("\ufffe\U0001ffff", "\\ufffe\\U0001ffff"),
    # The emoji style of one symbol is no message; anything more is.
    ("⚠\ufe0f careful", "⚠ careful"),
    ("⚠\ufe0f\ufe0f", "⚠\\ufe0f"),
    ("⚠\ufe0e", "⚠\\ufe0e"),
    ("a\ufe0f", "a\\ufe0f"),
    ("\ufe0f", "\\ufe0f"),
]


@pytest.mark.parametrize(("text", "shown"), CASES)
def test_escape(text: str, shown: str) -> None:
    assert shown == escape(text)


def invisible(char: str) -> bool:
    """Control, format or surrogate, or one of the letters and selectors that show nothing."""
    code = ord(char)
    return (
        unicodedata.category(char) in ("Cc", "Cf", "Cs")
        or 0xFE00 <= code <= 0xFE0F
        or 0xE0000 <= code <= 0xE0FFF
        or 0x2028 <= code <= 0x2029
    )


def test_every_code_point_a_terminal_acts_on_is_unsafe() -> None:
    """The class in the source is written out; this is the rule it must hold."""
    leaks = [
        hex(code)
        for code in range(sys.maxunicode + 1)
        if invisible(chr(code)) and is_safe(chr(code))
    ]

    assert [] == leaks


@pytest.mark.parametrize("code", [0x20, 0x7E, 0xA0, 0xE9, 0x301, 0x2500, 0x2713, 0x4E00, 0x1F600])
def test_what_can_be_seen_is_left_alone(code: int) -> None:
    assert is_safe(chr(code))


anything = st.text(st.characters(exclude_categories=()))


@given(anything)
def test_escaped_text_holds_nothing_a_terminal_acts_on(text: str) -> None:
    shown = escape(text)

    assert not any(invisible(char) for char in shown)
    assert escape(shown) == shown
    shown.encode()  # a lone surrogate would raise


@given(anything)
def test_lines_hold_nothing_a_terminal_acts_on(text: str) -> None:
    lines = escape_lines(text)

    assert text.count("\n") + 1 == len(lines)
    assert not any(invisible(char) for line in lines for char in line)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\nb", ["a", "b"]),
        ("a\r\nb\r\n", ["a", "b", ""]),
        ("a\rb", ["a␍b"]),
        ("\tx\n ab\tc", ["    x", " ab c"]),
        ("\x1bx\n" + "y" * 70_000 + "\n\x1bz", ["␛x", "y" * 70_000, "␛z"]),
    ],
)
def test_lines(text: str, lines: list[str]) -> None:
    assert lines == escape_lines(text)


@pytest.mark.parametrize(
    ("text", "width", "end", "middle", "exact"),
    [
        ("abcdef", 6, "abcdef", "abcdef", "abcdef"),
        ("abcdef", 8, "abcdef", "abcdef", "abcdef  "),
        ("abcdef", 5, "abcd…", "ab…ef", "abcd…"),
        ("abcdef", 1, "…", "…", "…"),
        ("abcdef", 0, "", "", ""),
        ("日本語テ", 5, "日本…", "日…テ", "日本…"),
        ("日本語テ", 6, "日本 …", "日 …テ", "日本 …"),
    ],
)
def test_fitting_counts_cells(text: str, width: int, end: str, middle: str, exact: str) -> None:
    assert (end, middle, exact) == (
        shorten(text, width),
        shorten_middle(text, width),
        fit(text, width),
    )


@given(st.text(), st.integers(0, 30))
def test_fitted_text_has_its_width(text: str, width: int) -> None:
    safe = escape(text)

    assert width == cell_len(fit(safe, width))
    assert width >= cell_len(shorten_middle(safe, width))
