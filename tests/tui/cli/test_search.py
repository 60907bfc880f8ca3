"""`flowtap search` on the stage's store: what is printed, to whom, and how it ends."""

import json

import pytest

from store.needle import Snippet
from store.search import Hit, Where, search
from tests.store.builders import meta
from tests.tui.cli.conftest import Flowtap
from tests.tui.cli.stage import CANARIES, HOSTILE, SECRET, Stage
from tests.tui.cli.test_json_page import check, section
from tui.safe_text import is_safe
from tui.search_text import hit_text, snippet_text, where_text


def ids(lines: list[str]) -> list[str]:
    return [line.split()[0] for line in lines]


ROWS: list[tuple[str, str, list[str]]] = [
    # options, text, the exchanges of the stage that are found, newest first
    ("", "hello, world", ["stream"]),
    ("", "Hello, world", ["stream"]),
    ("", "HELLO", []),
    ("--out", "hello", ["stream"]),
    ("--in", "hello", []),
    ("--in --out", "hello", ["stream"]),
    ("--key work", "hello", ["stream"]),
    ("--key idle", "hello", []),
    ("--since 3650d", "half an ans", ["cut"]),
    ("--since 1s", "half an ans", []),
    ("", "still", ["live"]),
    ("", "incorrect api key", ["refused"]),
    ("", "packed", ["gzip"]),
    ("", "my key is", ["echo"]),
]


@pytest.mark.parametrize(("options", "text", "expected"), ROWS)
def test_what_is_found(
    flowtap: Flowtap, stage: Stage, options: str, text: str, expected: list[str]
) -> None:
    ran = flowtap("search", text, *options.split(), store=stage.root)
    assert ids(ran.lines) == [stage.ids[name] for name in expected]
    assert (ran.status, ran.err) == (0 if expected else 1, "")


def test_a_limit_is_of_hits(flowtap: Flowtap, stage: Stage) -> None:
    every = flowtap("search", "e", store=stage.root).lines
    assert len(every) > 3
    assert flowtap("search", "e", "--limit", "3", store=stage.root).lines == every[:3]


@pytest.mark.check(128)
def test_no_secret_is_shown(flowtap: Flowtap, stage: Stage) -> None:
    for text in ("key is", "packed", "canary", SECRET):
        for form in ((), ("--json",)):
            ran = flowtap("search", text, *form, store=stage.root)
            assert ran.lines
            assert not any(canary in ran.out for canary in CANARIES)
    revealed = flowtap("search", "packed", "--reveal", store=stage.root)
    assert SECRET in revealed.out


def test_nothing_captured_reaches_the_terminal(flowtap: Flowtap, stage: Stage) -> None:
    for text in ("a\x1b", "not json", "[31m"):
        ran = flowtap("search", text, store=stage.root)
        assert ran.lines
        assert not set(HOSTILE) & set(ran.out)


def test_as_json(flowtap: Flowtap, stage: Stage) -> None:
    """docs/json.md, both ways."""
    hits = [
        json.loads(line)
        for text in ("e", "key is", "model", "half")
        for line in flowtap("search", text, "--json", store=stage.root).lines
    ]
    check(hits, section("Hit"))
    ran = flowtap("search", "lo, w", "--json", store=stage.root)
    (hit,) = map(json.loads, ran.lines)
    assert ("Hel", "lo, w", "orld.") == (hit["before"], hit["match"], hit["after"])
    assert ("out", "assistant", "text", True, 1) == tuple(
        hit[name] for name in ("where", "role", "kind", "new", "texts")
    )


def test_ctrl_c_ends_it_with_what_was_found(
    flowtap: Flowtap, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **options: object) -> object:
        for found in search(*args, **options):  # type: ignore[arg-type]
            yield found
            if isinstance(found, Hit):
                raise KeyboardInterrupt

    monkeypatch.setattr("tui.cli.search.scan", interrupted)
    ran = flowtap("search", "hello", store=stage.root)
    assert (130, "") == (ran.status, ran.err)
    assert ids(ran.lines) == [stage.ids["stream"]]


def test_what_cannot_be_read_is_said(
    flowtap: Flowtap, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from store.errors import BodyMissing
    from store.reader import LocalReader

    def broken(_: object, record_id: str) -> None:
        raise BodyMissing(record_id)

    monkeypatch.setattr(LocalReader, "get", broken)
    ran = flowtap("search", "hello", store=stage.root)
    count = len(stage.ids)
    assert (1, "") == (ran.status, ran.out)
    assert ran.err == f"flowtap: {count} records cannot be read: flowtap doctor\n"


def hit(before: str, match: str, after: str, **fields: object) -> Hit:
    values: dict[str, object] = {
        "meta": meta("01JX4000000000000000000000", model="m\x1b"),
        "where": Where.IN,
        "role": "user",
        "kind": "text",
        "new": True,
        "texts": 1,
        "snippet": Snippet(before, match, after, True, True),
    }
    return Hit(**(values | fields))  # type: ignore[arg-type]


SNIPPETS: list[tuple[Hit, int, str]] = [
    (hit("ab", "c", "de"), 20, "…abcde…"),
    (hit("a\nb", "c", "d\te"), 20, "…a bcd e…"),
    (hit("x" * 60, "found", "y" * 60), 30, "…xxxxxxxfoundyyyyyyyyyyyyyyyy…"),
    (hit("x" * 60, "found", ""), 30, "…" + "x" * 23 + "found…"),
    (hit("", "f" * 60, ""), 10, "f" * 9 + "…"),
    (hit("会" * 60, "議", "会"), 12, "…会会会議会…"),
    (hit("\x1b]0;", "x", "\u202e"), 30, "…␛]0;x\\u202e…"),
]


@pytest.mark.parametrize(("found", "width", "expected"), SNIPPETS)
def test_a_snippet_on_a_line(found: Hit, width: int, expected: str) -> None:
    text = snippet_text(found, width)
    assert text == expected
    assert is_safe(text)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (hit("", "x", ""), "in user"),
        (hit("", "x", "", role="tool", kind="tool_result"), "in tool result"),
        (hit("", "x", "", new=False), "in user (sent again)"),
        (hit("", "x", "", role="", kind="body"), "in body"),
        (hit("", "x", "", where=Where.OUT, role="assistant"), "out text"),
    ],
)
def test_where_it_was_found(found: Hit, expected: str) -> None:
    assert where_text(found) == expected
    assert expected in hit_text(found, 1_000_000, 200)
    assert is_safe(hit_text(found, 1_000_000, 200))
