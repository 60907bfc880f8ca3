"""Others' JSON: read without exceptions, split without decoding, grown without copying."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.accumulate import ByIndex, Items, Node, Text, freeze, grow, merge
from collectors.json_path import parse_path, set_path
from collectors.json_stream import JsonSplitter
from collectors.json_view import (
    INVALID,
    MAX_DEPTH,
    as_count,
    as_index,
    error_text,
    mend_text,
    one_line,
    parse,
    parse_bytes,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, null, "x"]}', {"a": [1, None, "x"]}),
        ("  null \n", None),
        ("\ufeff{}", {}),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ('"raw\ttab and\nnewline"', "raw\ttab and\nnewline"),
        ("[NaN, Infinity, -Infinity]", ["NaN", "Infinity", "-Infinity"]),
        ('{"n": ' + "9" * 5000 + "}", {"n": "9" * 5000}),
        ('"\\ud83d"', "\ud83d"),
        ("", INVALID),
        ("   ", INVALID),
        ("[DONE]", INVALID),
        ('{"cut": ', INVALID),
        ("{} {}", INVALID),
        ('{"n": ' + "9" * 5000, INVALID),
        ("[" * 100_000, INVALID),
        ("[" * 100_000 + "]" * 100_000, INVALID),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), INVALID),
        ('{"a":' * 5000 + "1" + "}" * 5000, INVALID),
    ],
    ids=lambda value: f"{repr(value)[:24]}({len(repr(value))})",
)
def test_parse(text: str, value: Any) -> None:
    """The value, or INVALID; nothing is raised, and what is deep is refused before it hurts."""
    assert value == parse(text)


def test_wide_is_not_deep() -> None:
    value = [{"n": i} for i in range(1000)]
    assert value == parse(json.dumps(value))
    nested = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert INVALID is not parse(nested)


def test_parse_bytes() -> None:
    assert {"a": "\ufffd"} == parse_bytes(b'\xef\xbb\xbf{"a":"\xff"}')


@pytest.mark.parametrize(
    ("value", "count"),
    [
        *((0, 0), (12, 12), (12.0, 12), (-1, None), (True, None), (1.5, None), ("3", None)),
        *((2**63, None), (1e300, None), (math.inf, None), (math.nan, None), (None, None)),
    ],
)
def test_counts(value: Any, count: int | None) -> None:
    assert count == as_count(value)


@pytest.mark.parametrize(
    ("value", "index"), [(0, 0), (-1, None), (1.0, None), (True, None), ("0", None), (2**70, 2**70)]
)
def test_indexes(value: Any, index: int | None) -> None:
    assert index == as_index(value)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, "overloaded_error: Overloaded"),
        ({"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}, "RESOURCE_EXHAUSTED: m"),
        ({"code": 502, "message": "Provider returned error"}, "502: Provider returned error"),
        ({"code": "rate_limit", "message": "slow\n down"}, "rate_limit: slow down"),
        ({"message": "m", "type": None, "code": None}, "m"),
        ("boom", "boom"),
        ({"error": {"type": "t", "message": "m"}}, "t: m"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"x": 1}, '{"x":1}'),
        ({}, "error without a message"),
        ("", "error without a message"),
        (["a"], '["a"]'),
    ],
)
def test_error_texts(error: Any, text: str) -> None:
    """`type: message` of every shape of error that was seen."""
    assert text == error_text(error)


def test_text_is_mended_and_kept_to_one_line() -> None:
    assert "a😀b\ufffdc" == mend_text("a\ud83d\ude00b\ud83dc")
    assert "a b" == one_line(" a\r\n\tb ")
    assert 500 == len(one_line("x" * 10_000_000))


SPLIT_ROWS: list[tuple[str, bytes, list[bytes], bytes]] = [
    # (name, bytes, values, what is left)
    (
        "array as Gemini sends it",
        b'[{"a": 1}\n,\r\n{"b": [2]}\n]\n',
        [b'{"a": 1}', b'{"b": [2]}'],
        b"",
    ),
    ("one after another", b'{"a":1}{"b":2}\n{"c":3}', [b'{"a":1}', b'{"b":2}', b'{"c":3}'], b""),
    ("brackets in strings", b'[{"a":"]}\\"[{\\\\"}]', [b'{"a":"]}\\"[{\\\\"}'], b""),
    ("scalars", b'[1, "x,y" ,null]', [b"1", b'"x,y"', b"null"], b""),
    ("arrays in the array", b"[[1,2],[3]]", [b"[1,2]", b"[3]"], b""),
    ("cut", b'[{"a":1},{"b":', [b'{"a":1}'], b'{"b":'),
    ("cut in a string", b'{"a":"x\\', [], b'{"a":"x\\'),
    ("a bracket too many", b"[1]]{}", [b"1", b"{}"], b""),
    ("blank", b" \n", [], b""),
]


@pytest.mark.parametrize(
    ("data", "values", "rest"), [row[1:] for row in SPLIT_ROWS], ids=[row[0] for row in SPLIT_ROWS]
)
def test_splitting(data: bytes, values: list[bytes], rest: bytes) -> None:
    """Whole and cut at every byte."""
    for cut in range(len(data) + 1):
        splitter = JsonSplitter()
        assert values == splitter.feed(data[:cut]) + splitter.feed(data[cut:])
        assert rest == splitter.close()
    splitter = JsonSplitter()
    assert values == [v for i in range(len(data)) for v in splitter.feed(data[i : i + 1])]


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(
    items=st.lists(JSONS, max_size=6), indent=st.none() | st.integers(0, 2), step=st.integers(1, 40)
)
def test_splitting_gives_back_the_items_of_any_array(
    items: list[Any], indent: int | None, step: int
) -> None:
    data = json.dumps(items, indent=indent).encode()
    splitter = JsonSplitter()
    values = [v for i in range(0, len(data), step) for v in splitter.feed(data[i : i + step])]
    assert items == [json.loads(value) for value in values]
    assert b"" == splitter.close()


@given(data=st.binary(max_size=60), step=st.integers(1, 7))
def test_splitting_noise_is_the_same_however_it_is_cut(data: bytes, step: int) -> None:
    one, many = JsonSplitter(), JsonSplitter()
    whole = one.feed(data)
    assert whole == [v for i in range(0, len(data), step) for v in many.feed(data[i : i + step])]
    assert one.close() == many.close()


GROW_ROWS: list[tuple[str, list[Any], Any]] = [
    ("strings join", ["a", "b"], "ab"),
    ("short repeats join", ["ha", "ha"], "haha"),
    (
        "a long string again is a repeat",
        ["a whole sentence", "a whole sentence"],
        "a whole sentence",
    ),
    ("null never erases", ["a", None], "a"),
    ("null alone stays", [None], None),
    ("arrays extend", [[1], [2, 3]], [1, 2, 3]),
    ("objects merge", [{"a": "x"}, {"a": "y", "b": 1}], {"a": "xy", "b": 1}),
    ("stable names do not join", [{"id": "x"}, {"id": "x"}], {"id": "x"}),
    ("scalars: the last", [1, 2], 2),
    (
        "arrays by index",
        [[{"index": 1, "t": "b"}], [{"index": 0, "t": "a"}, {"index": 1, "t": "c"}]],
        [{"index": 0, "t": "a"}, {"index": 1, "t": "bc"}],
    ),
    ("dense", [[{"index": 1_000_000, "t": "a"}]], [{"index": 1_000_000, "t": "a"}]),
    ("by index, then not", [[{"index": 0}], [7]], [{"index": 0}, 7]),
    ("a string, then an object", ["a", {"b": 1}], {"b": 1}),
    ("an object, then a string", [{"b": 1}, "a"], "a"),
]


@pytest.mark.parametrize(
    ("pieces", "value"), [row[1:] for row in GROW_ROWS], ids=[row[0] for row in GROW_ROWS]
)
def test_unknown_fields_grow_by_their_shape(pieces: list[Any], value: Any) -> None:
    node = Node()
    for piece in pieces:
        grow(node, "field", piece)
    assert {"field": value} == freeze(node)
    assert {"field": value} == freeze(node)


def test_freeze_is_plain_and_apart() -> None:
    """What was frozen does not grow on."""
    node = Node({"text": Text("a"), "list": Items([1]), "indexed": ByIndex({5: "five", 2: "two"})})
    frozen = freeze(node)
    node["text"].add("b")
    node["list"].append(2)
    assert {"text": "a", "list": [1], "indexed": ["two", "five"]} == frozen
    assert dict is type(frozen)


def test_merge_keeps_what_null_and_absence_do_not_say() -> None:
    held = {"a": 1, "b": {"c": 2, "d": 3}, "e": None}
    assert {"a": 1, "b": {"c": 9, "d": 3}, "e": None, "f": 1} == merge(
        held, {"a": None, "b": {"c": 9, "d": None}, "f": 1}
    )
    assert {"a": 1, "b": {"c": 2, "d": 3}, "e": None} == held


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("$.a", ("a",)),
        ("$.a.b[0].c", ("a", "b", 0, "c")),
        ("$['a b'][\"c.d\"]", ("a b", "c.d")),
        ("a.b", ("a", "b")),
        ("$", ()),
        ("$.", None),
        ("$.a[", None),
        ("$.a[-1]", None),
        ("$.a[*]", None),
        ("$" + ".a" * 65, None),
        ("$.a[9999999999]", None),
    ],
)
def test_paths(path: str, steps: tuple[str | int, ...] | None) -> None:
    assert steps == parse_path(path)


def test_set_path() -> None:
    node = Node()
    assert set_path(node, "$.a.b[1]", "x", join=True)
    assert set_path(node, "$.a.b[1]", "y", join=True)
    assert set_path(node, "$.a.b[999999999]", 3, join=False)
    assert not set_path(node, "$.a.b.c", 3, join=False)
    assert not set_path(node, "$", 3, join=False)
    assert {"a": {"b": ["xy", 3]}} == freeze(node)
