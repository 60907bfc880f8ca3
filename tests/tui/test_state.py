"""The words for what is around the recording: each state has its text."""

from dataclasses import replace
from typing import Any

import pytest

from store.record import Seen
from tests.tui.builders import CI, LAPTOP, NOW_MS, OFF
from tests.tui.fakes import PROXY
from tui.format import Tone
from tui.state import View, client_lines, findings, follow_mark, headline, losses, ring

GONE = replace(PROXY, alive=False)
HOSTILE = "\x1b]0;x\x07"


def view(**changes: Any) -> View:
    """A store that is read, with records and a living proxy."""
    base = View(NOW_MS, opened=True, keys=(LAPTOP,), proxies=(PROXY,), records=3)
    return replace(base, **changes)


@pytest.mark.check(86)
@pytest.mark.parametrize(
    ("changes", "text", "tone"),
    [
        ({}, "● LIVE", Tone.OK),
        ({"opened": False}, "… OPENING", Tone.NEUTRAL),
        ({"records": 0}, "○ WAITING", Tone.WARNING),
        ({"records": 0, "proxies": ()}, "○ WAITING", Tone.WARNING),
        ({"proxies": ()}, "○ NO PROXY", Tone.WARNING),
        ({"paused": True}, "‖ PAUSED", Tone.WARNING),
        ({"paused": True, "held": 37}, "‖ PAUSED +37 new", Tone.WARNING),
        (
            {"lost": "database is locked"},
            "✗ STORE: database is locked (retrying 1s)",
            Tone.ERROR,
        ),
        ({"lost": HOSTILE}, "✗ STORE: ␛]0;x␇ (retrying 1s)", Tone.ERROR),
        (
            {"proxies": (replace(PROXY, error="disk full"),)},
            "▲ LOSING RECORDS: disk full",
            Tone.ERROR,
        ),
        ({"proxies": (GONE, PROXY)}, "● LIVE", Tone.OK),
    ],
)
def test_headline(changes: dict[str, Any], text: str, tone: Tone) -> None:
    assert (text, tone) == headline(view(**changes))


def test_a_proxy_that_went_has_a_time_and_a_pid() -> None:
    text, tone = headline(view(proxies=(GONE, replace(GONE, pid=1, heartbeat_ms=0))))

    assert text.startswith("○ PROXY GONE since ")
    assert text.endswith(" (pid 4121)")
    assert tone is Tone.ERROR


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "↓ follow"),
        ({"following": False}, "f follow"),
        ({"following": False, "unseen": 12}, "+12 new ↑"),
        ({"paused": True}, "f follow"),
    ],
)
def test_follow_mark(changes: dict[str, Any], text: str) -> None:
    assert text == follow_mark(view(**changes))[0]


def test_losses() -> None:
    refusing = replace(PROXY, refused=2)
    assert "" == losses(view())
    assert "1 record lost" == losses(view(proxies=(replace(PROXY, lost_records=1), PROXY)))
    assert "2 calls refused" == losses(view(proxies=(refusing,)))
    assert "3 records lost, 2 calls refused" == losses(
        view(proxies=(replace(refusing, lost_records=3),))
    )


def test_a_ring_is_told_while_it_holds_something() -> None:
    holding = replace(PROXY, ring_exchanges=1_200)
    assert "" == ring(view())
    assert "ring 1,200" == ring(view(proxies=(PROXY, holding)))
    assert "ring 2,400" == ring(view(proxies=(holding, holding)))
    assert "" == ring(view(proxies=(replace(holding, alive=False),)))


CALLER = Seen("sk-ant-t…0000", "api\x1b.test", "cli/1", 3, NOW_MS - 60_000, NOW_MS - 12_000)

FINDINGS: list[tuple[dict[str, Any], list[tuple[str, str, str, str]]]] = [
    (
        {"opened": False, "keys": (), "proxies": (), "records": 0},
        [
            ("…", "store", "Opening store…", ""),
            ("✗", "proxy", "none has recorded here", "flowtap proxy"),
            ("✗", "keys", "0 of 0 keys opted in", "a  opt a key in"),
            ("·", "traffic", "no LLM request seen yet", ""),
        ],
    ),
    (
        {"lost": "No store at /x", "keys": (OFF,), "proxies": ()},
        [
            ("✗", "store", "No store at /x", "retrying every second"),
            ("✗", "proxy", "none has recorded here", "flowtap proxy"),
            ("✗", "keys", "0 of 1 key opted in", "a  opt a key in"),
            ("·", "traffic", "no LLM request seen yet", ""),
        ],
    ),
    (
        {
            "keys": (LAPTOP, CI, OFF),
            "records": 0,
            "proxies": (
                replace(
                    PROXY,
                    seen=3,
                    unmatched=3,
                    last_unmatched_ms=NOW_MS - 12_000,
                    last_unmatched_host="api\x1b.test",
                    last_unmatched_fingerprint="sk-ant-a…9Qz1",
                ),
            ),
        },
        [
            ("✓", "store", "ready, 0 records", ""),
            ("✓", "proxy", "last heartbeat 2s ago, listening on 127.0.0.1:8080", ""),
            ("✓", "keys", "2 of 3 keys opted in", ""),
            ("▲", "traffic", "3 LLM requests seen, none matched an opted-in key", ""),
            (" ", "", "last: api␛.test  sk-ant-a…9Qz1  12s ago", ""),
        ],
    ),
    (
        {
            "proxies": (replace(PROXY, seen=3, unmatched=2, last_unmatched_ms=NOW_MS),),
            "seen": (CALLER, replace(CALLER, fingerprint=None, client=None), *[CALLER] * 5),
        },
        [
            ("✓", "store", "ready, 3 records", ""),
            ("✓", "proxy", "last heartbeat 2s ago, listening on 127.0.0.1:8080", ""),
            ("✓", "keys", "1 of 1 key opted in", ""),
            (
                "▲",
                "traffic",
                "3 LLM requests seen, 1 matched an opted-in key",
                "press a caller's number to record it",
            ),
            (" ", "press 1", "12s ago   sk-ant-t…0000  api␛.test  cli/1", ""),
            (" ", "press 2", "12s ago   no credential  api␛.test", ""),
            (" ", "press 3", "12s ago   sk-ant-t…0000  api␛.test  cli/1", ""),
            (" ", "press 4", "12s ago   sk-ant-t…0000  api␛.test  cli/1", ""),
            (" ", "", "3 more: a", ""),
        ],
    ),
    (
        {"proxies": (replace(PROXY, seen=1, unmatched=0),)},
        [
            ("✓", "store", "ready, 3 records", ""),
            ("✓", "proxy", "last heartbeat 2s ago, listening on 127.0.0.1:8080", ""),
            ("✓", "keys", "1 of 1 key opted in", ""),
            ("✓", "traffic", "1 LLM request seen, all of opted-in keys", ""),
        ],
    ),
]


@pytest.mark.check(113)
@pytest.mark.parametrize(("changes", "expected"), FINDINGS)
def test_findings(changes: dict[str, Any], expected: list[tuple[str, str, str, str]]) -> None:
    assert expected == [
        (line.mark, line.about, line.found, line.todo) for line in findings(view(**changes))
    ]


def test_the_lines_for_a_client_of_a_proxy_that_stands_in_for_an_api() -> None:
    """It takes another address and no certificate."""
    address = "reverse:https://api.anthropic.com@127.0.0.1:8081"
    lines = client_lines(view(proxies=(replace(PROXY, address=address),)))

    assert ["export ANTHROPIC_BASE_URL=http://127.0.0.1:8081"] == lines


@pytest.mark.parametrize(
    ("address", "export"),
    [
        ("127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("0.0.0.0:9000,[::]:9000", "http://127.0.0.1:9000"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("", "http://127.0.0.1:8080"),
    ],
)
def test_the_lines_for_a_client_name_the_proxy_that_lives(address: str, export: str) -> None:
    lines = client_lines(view(proxies=(replace(PROXY, address=address),)))

    assert f"export HTTPS_PROXY={export}" == lines[0]
    assert 3 == len(lines)
