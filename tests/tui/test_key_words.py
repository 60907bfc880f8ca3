"""What is said of keys, callers and keeping: each text once."""

from dataclasses import replace
from typing import Any

import pytest

from store import key_rules
from store.record import Kept, Key, KeyKind, Seen
from tests.tui.builders import LAPTOP, NOW_MS, OFF
from tests.tui.fakes import PROXY
from tui.format import clock
from tui.key_words import (
    RING_COMMAND,
    caller_words,
    changed_words,
    kept_words,
    match_words,
    name_for,
    ring_words,
    state_words,
)

KEPT = replace(LAPTOP, name="kept", last4="", kind=KeyKind.KEPT, retention_s=86_400)
CALLER = Seen(
    fingerprint="sk-ant-t…0000",
    host="api.anthropic.com",
    client="claude-cli/2.1.197",
    count=12,
    first_ms=NOW_MS - 60_000,
    last_ms=NOW_MS - 12_000,
)


def ruled(rule: Any) -> Key:
    """A key that goes by a rule."""
    return replace(LAPTOP, last4="", kind=rule.kind, rule=rule)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (LAPTOP, "secret …9Qz1"),
        (replace(LAPTOP, last4=""), "secret"),
        (ruled(key_rules.glob_rule("sk-ant-oat01-*")), "credential sk-ant-oat01-*"),
        (
            ruled(key_rules.header_rule("ChatGPT-Account-Id", "1234-*")),
            "header chatgpt-account-id: 1234-*",
        ),
        (
            ruled(key_rules.claim_rule("sub", "user-*")),
            "JWT claim sub = user-* (not verified)",
        ),
        (KEPT, "kept from memory"),
    ],
)
def test_what_a_key_goes_by(key: Key, text: str) -> None:
    assert text == match_words(key)


@pytest.mark.parametrize(
    ("key", "deleted", "text"),
    [
        (LAPTOP, 0, "laptop: recorded, kept 7d"),
        (OFF, 0, "old: off, nothing is recorded"),
        (KEPT, 0, "kept: kept 1d"),
        (replace(LAPTOP, retention_s=3600), 310, "laptop: 310 records purged (retention 1h)"),
        (OFF, 1, "old: 1 record purged (off)"),
    ],
)
def test_what_a_change_came_to(key: Key, deleted: int, text: str) -> None:
    assert text == changed_words(key, deleted)


def test_the_state_of_a_key_is_said_in_words() -> None:
    assert "recorded, kept 7d" == state_words(LAPTOP)


def test_a_caller_is_its_key_or_its_fingerprint() -> None:
    assert "sk-ant-t…0000" == caller_words(CALLER, [LAPTOP, OFF])
    assert "old (off)" == caller_words(replace(CALLER, key_id=OFF.id), [LAPTOP, OFF])
    # Removed a moment ago.
    assert "sk-ant-t…0000" == caller_words(replace(CALLER, key_id="gone"), [LAPTOP])
    assert "no credential" == caller_words(replace(CALLER, fingerprint=None))


@pytest.mark.parametrize(
    ("client", "name"),
    [
        ("claude-cli/2.1.197", "claude-cli"),
        ("laptop/1", ""),  # taken
        (None, ""),
        ("\x1b]0;x\x07/1", ""),
        ("two words/1", ""),
        ("x" * 33, ""),
        ("/", ""),
    ],
)
def test_the_name_offered_is_plain_and_free_or_nothing(client: str | None, name: str) -> None:
    assert name == name_for(replace(CALLER, client=client), [LAPTOP])


def test_what_is_in_memory() -> None:
    ring = replace(PROXY, ring_exchanges=12, ring_bytes=3_250_586, ring_since_ms=NOW_MS)
    gone = replace(ring, alive=False)
    other = replace(ring, ring_exchanges=1, ring_bytes=0, ring_since_ms=NOW_MS - 3_600_000)

    assert "" == ring_words([PROXY, gone])
    assert f"12 exchanges (3.1 MB) since {clock(NOW_MS)}" == ring_words([gone, ring])
    assert f"13 exchanges (3.1 MB) since {clock(NOW_MS - 3_600_000)}" == ring_words([ring, other])
    assert "1 exchange (0 B)" == ring_words([replace(other, ring_since_ms=None)])


@pytest.mark.parametrize(
    ("kept", "window", "text", "done"),
    [
        (Kept(3, 1, 0, 0), "5m", "3 exchanges kept as kept, for 1d", True),
        (Kept(1, 1, 1, 1), "5m", "1 exchange kept as kept, for 1d; 1 proxy did not answer", True),
        (
            Kept(0, 1, 0, 0),
            "5m",
            "Nothing to keep: no exchange of the last 5m is in memory.",
            False,
        ),
        (Kept(0, 2, 0, 0), "all", "Nothing to keep: no exchange is in memory.", False),
        (
            Kept(0, 1, 0, 2),
            "1m",
            "Nothing to keep: no exchange of the last 1m is in memory; 2 proxies did not answer.",
            False,
        ),
        (Kept(0, 0, 1, 1), "5m", "Nothing kept: 1 proxy did not answer.", False),
        (
            Kept(0, 0, 1, 0),
            "5m",
            f"Nothing kept: the proxy has no ring. Start it with one: {RING_COMMAND}",
            False,
        ),
        (
            Kept(0, 0, 0, 0),
            "5m",
            f"Nothing kept: no proxy is running. Start one with a ring: {RING_COMMAND}",
            False,
        ),
    ],
)
def test_what_keeping_came_to(kept: Kept, window: str, text: str, done: bool) -> None:
    assert (text, done) == kept_words(kept, "kept", 86_400, window)
