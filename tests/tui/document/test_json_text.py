"""JSON indented and coloured; hostile strings are visible; what is no JSON is refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.document.json_text import block, highlight, pretty_text


@pytest.mark.check(129)
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"a":[1,true]}', '{\n  "a": [\n    1,\n    true\n  ]\n}'),
        ("[]", "[]"),
        (' {"é":"日"} ', '{\n  "é": "日"\n}'),
        ("not json", None),
        ('{"a":', None),
        ("[" * 5000 + "]" * 5000, None),
    ],
)
def test_pretty_text(text: str, shown: str | None) -> None:
    assert shown == pretty_text(text)


@pytest.mark.parametrize(
    ("line", "tones"),
    [
        ('  "key": "value",', [('"key"', "key"), ('"value"', "string")]),
        ('  "n": -1.5e+3,', [('"n"', "key"), ("-1.5e+3", "number")]),
        ("    true,", [("true", "literal")]),
        (r'  "a\"b": null', [(r'"a\"b"', "key"), ("null", "literal")]),
        ('  "say \\"12\\" true"', [('"say \\"12\\" true"', "string")]),
        ("plain words", []),
    ],
)
def test_highlight(line: str, tones: list[tuple[str, str]]) -> None:
    assert tones == [(line[s.start : s.end], s.tone) for s in highlight(line)]


@given(st.text(max_size=200))
def test_spans_are_in_order_and_inside(text: str) -> None:
    spans = highlight(text)

    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))


def test_a_long_line_is_styled_a_row_at_a_time() -> None:
    text = '"' + "x" * 100_000 + '"'

    piece = block(text).piece(0, 50_000, 50_080)

    assert "x" * 80 == piece.text
    assert () == piece.spans


def test_escapes_of_json_stay_and_raw_controls_become_visible() -> None:
    lines = block('{"a": "\\u001b\x9b\u202e"}').texts

    assert ['{"a": "\\u001b\\x9b\\u202e"}'] == list(lines)
