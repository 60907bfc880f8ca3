"""Every recorded stream folds to what independent accumulators made of it, and none raises."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from collectors.outcome import Outcome
from collectors.protocol import LlmProtocol, sniff
from collectors.registry import fold, new_collector
from tests.collectors.corpus import PROTOCOLS, ROOT, expected, files, needs_corpus, read

pytestmark = needs_corpus


def folded(path: Path) -> tuple[LlmProtocol | None, Outcome | None]:
    events = read(path.read_bytes())
    protocol = sniff(events)
    return protocol, None if protocol is None else fold(protocol, events)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, tuple[LlmProtocol | None, Outcome | None]]:
    return {f"{path.parent.name}/{path.name}": folded(path) for path in files()}


@pytest.fixture(scope="module")
def views() -> dict[str, Any]:
    """The reductions that the comparison script applies to both sides."""
    found: dict[str, Any] = runpy.run_path(str(ROOT.parent / "check_folds.py"))["VIEWS"]
    return found


@pytest.mark.check(97, 98, 100, 101, 103, 104, 105, 106, 107, 108, 109)
def test_every_fold_agrees_with_the_independent_ones(
    outcomes: dict[str, tuple[LlmProtocol | None, Outcome | None]], views: dict[str, Any]
) -> None:
    """Protocol and view are those of expected.jsonl, row for row."""
    differing = []
    for name, row in expected().items():
        protocol, outcome = outcomes[name]
        result = outcome.result if outcome is not None else None
        view = views[row["protocol"]](result) if result is not None else None
        if (row["protocol"], row["view"]) != (protocol, json.loads(json.dumps(view))):
            differing.append(name)
    assert [] == differing


@pytest.mark.check(97, 110)
def test_streams_of_the_four_are_told_by_their_events(
    outcomes: dict[str, tuple[LlmProtocol | None, Outcome | None]],
) -> None:
    """No path is known, and still every stream of the four folders is recognised."""
    wrong = {
        name: protocol
        for name, (protocol, _) in outcomes.items()
        if name.partition("/")[0] in PROTOCOLS and name.partition("/")[0] != protocol
    }
    assert {} == wrong


def test_streams_of_other_protocols_are_not_taken_for_one_of_the_four(
    outcomes: dict[str, tuple[LlmProtocol | None, Outcome | None]],
) -> None:
    """What is none of the four is never folded as if it were."""
    wrong = {
        name: protocol
        for name, (protocol, _) in outcomes.items()
        if name.partition("/")[0] not in (*PROTOCOLS, "bedrock") and protocol in PROTOCOLS
    }
    assert {} == wrong


@pytest.mark.check(98)
def test_results_are_plain_json(
    outcomes: dict[str, tuple[LlmProtocol | None, Outcome | None]],
) -> None:
    """What a fold gives can be written and read back as strict JSON, unchanged."""
    for _, outcome in outcomes.values():
        if outcome is not None:
            text = json.dumps(outcome.result, allow_nan=False)
            assert outcome.result == json.loads(text)


@pytest.mark.check(97, 98)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cut_at_every_event_never_raises_and_is_truncated(protocol: str) -> None:
    """Asked after each event, a collector answers; and only the end can be complete."""
    for path in files(protocol):
        collector = new_collector(LlmProtocol(protocol))
        assert collector is not None
        events = read(path.read_bytes())
        # Long streams are asked now and then: what differs is in the first hundred.
        for number, event in enumerate(events):
            collector.feed(event)
            if number < 100 or number % 97 == 0:
                outcome = collector.outcome()
                assert outcome.result is not None or outcome.error is not None
        assert collector.outcome() == fold(LlmProtocol(protocol), events)
