"""What is looked for: case, where it is found, and bodies told quickly not to have it."""

import json
import re
import sys
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from collectors.protocol import LlmProtocol
from collectors.texts import answer_texts, request_texts
from store.errors import BadInput
from store.needle import _PLAIN_ESCAPED, _PLAIN_RUN, LONGEST, Needle, Snippet, snippet

FINDS: list[tuple[str, str, str | None]] = [
    # looked for, in, what is found there
    ("deadline", "a Deadline b", "Deadline"),
    ("DEADLINE", "a Deadline b", None),
    ("Deadline", "a Deadline b", "Deadline"),
    ("dead line", "a deadline", None),
    ("strasse", "die Straße", "Straße"),
    ("straße", "STRASSE", "STRASSE"),
    ("s", "ß", "ß"),
    ("e!", "ßße!", "e!"),
    ("ЖУК", "жук", None),
    ("жук", "ЖУК", "ЖУК"),
    ("ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ", "ὈΔΥΣΣΕΎΣ"),
    ("会議", "今日の会議は", "会議"),
    ("\x1b[31m", "a\x1b[31mb", "\x1b[31m"),
    ("a\nb", "a\nb", "a\nb"),
    ("\x00", "a\x00b", "\x00"),
    (".*", "a.*b", ".*"),
    ("x", "", None),
]


@pytest.mark.parametrize(("wanted", "text", "expected"), FINDS)
def test_what_is_found(wanted: str, text: str, expected: str | None) -> None:
    found = Needle(wanted).find(text)
    assert (found and text[slice(*found)]) == expected


@given(st.text(max_size=30), st.text(min_size=1, max_size=4), st.text(max_size=30))
@example("ß" * 9, "s", "İ")
def test_what_is_there_is_found(before: str, wanted: str, after: str) -> None:
    assume(wanted.strip() and wanted == wanted.encode("utf-8", "replace").decode())
    found = Needle(wanted).find(before + wanted + after)
    assert found is not None
    start, end = found
    assert Needle(wanted).folded in (before + wanted + after)[start:end].casefold()
    assert start <= len(before)


@pytest.mark.parametrize("text", ["", " ", "\n\t", "a\udcff", "x" * (LONGEST + 1)])
def test_what_cannot_be_looked_for(text: str) -> None:
    with pytest.raises(BadInput):
        Needle(text)


SNIPPETS: list[tuple[str, tuple[int, int], Snippet]] = [
    ("abcdefg", (3, 4), Snippet("bc", "d", "ef", True, True)),
    ("abcdefg", (0, 7), Snippet("", "abcdefg", "", False, False)),
    ("abcdefg", (2, 5), Snippet("ab", "cde", "fg", False, False)),
]


@pytest.mark.parametrize(("text", "found", "expected"), SNIPPETS)
def test_what_stands_around(text: str, found: tuple[int, int], expected: Snippet) -> None:
    assert snippet(text, found, 2) == expected


def test_every_character_that_folds_to_a_plain_one_is_told_when_escaped() -> None:
    """Else a body that has it as an escape would be passed over."""
    for code in range(0x20, sys.maxunicode + 1):
        char = chr(code)
        if 0xD800 <= code < 0xE000 or not any(map(_PLAIN_RUN.match, char + char.casefold())):
            continue
        assert code < 0x10000
        assert _PLAIN_ESCAPED.search(f"\\u{code:04x}"), f"U+{code:04X} {char.casefold()!r}"
        assert _PLAIN_ESCAPED.search(f"\\u{code:04X}")


WORDS = st.sampled_from(
    ["text", "role", "name", "input", "a b", "x: y", "K", "ﬁn", "é/\\\"'<>&+`", "1e5", "\u2028"]
) | st.text(max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(WORDS, below, max_size=3),
    max_leaves=8,
)


def _as_others_write(text: str, style: str) -> str:
    """JSON as some serializers escape it."""
    if style == "slash":
        return text.replace("/", "\\/")
    if style == "html":
        return re.sub("[<>&'+`]", lambda found: f"\\u{ord(found[0]):04X}", text)
    return text


@given(
    st.dictionaries(WORDS, VALUES, max_size=3) | WORDS,
    st.sampled_from(["plain", "slash", "html"]),
    st.booleans(),
    st.data(),
)
def test_no_body_is_passed_over_that_has_it(
    given_value: Any, style: str, ascii_only: bool, data: st.DataObject
) -> None:
    """Whatever is found in a request's texts, its body is told to be worth reading."""
    block = {"type": "tool_use", "name": "ls", "input": given_value}
    result = {"type": "tool_result", "content": [given_value, {"type": "text", "text": "k\u017f"}]}
    value = {"messages": [{"role": "assistant", "content": [block, result]}]}
    body = _as_others_write(json.dumps(value, ensure_ascii=ascii_only), style)
    raw = body.encode("utf-8", "surrogatepass")
    body = raw.decode("utf-8", "replace")
    for text in request_texts(LlmProtocol.MESSAGES, raw):
        start = data.draw(st.integers(0, len(text.text) - 1))
        wanted = text.text[start : start + data.draw(st.integers(1, 12))]
        if not wanted.strip():
            continue
        for needle in (Needle(wanted), Needle(wanted.casefold()), Needle(wanted.swapcase())):
            if needle.find(text.text) is not None:
                assert needle.may_be_in(body), (wanted, body)


ABSENT: list[tuple[str, str, bool]] = [
    # looked for, body, whether it may be in there
    ("deadline", '{"text":"Deadline"}', True),
    ("Deadline", '{"text":"deadline"}', False),
    ("deadline", '{"text":"line"}', False),
    ("dead\nline", '{"text":"dead\\nline"}', True),
    ("dead\nline", '{"text":"live\\nline"}', False),
    ("deadline", '{"text":"\\u0064eadline"}', True),
    ("会議", '{"text":"line"}', True),
    ("100000", '{"n":1e5}', True),
    ("path: a.py", '{"path":"a.py"}', True),
    ("path: b.py", '{"path":"a.py"}', False),
]


@pytest.mark.parametrize(("wanted", "body", "expected"), ABSENT)
def test_a_body_is_told_quickly(wanted: str, body: str, expected: bool) -> None:
    assert Needle(wanted).may_be_in(body) is expected


def test_an_answer_is_told_as_a_request_is() -> None:
    result = {"content": [{"type": "text", "text": "a deadline"}]}
    (text,) = answer_texts(LlmProtocol.MESSAGES, result)
    assert Needle("DEADLINE".lower()).find(text.text) == (2, 10)
