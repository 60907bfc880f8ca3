"""What holds for every protocol that folds, beside those that the long tables are about."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.event import Event
from collectors.facts import stream_facts
from collectors.protocol import LlmProtocol, sniff
from collectors.registry import FOLDS, fold, new_collector
from collectors.usage import usage_of
from tests.collectors.corpus import files, needs_corpus, read
from tests.collectors.folding import event
from tests.collectors.streams import sse
from tests.collectors.test_hostile import KEYS, SCALARS, VALUES

FOLDED = [protocol for protocol, make in FOLDS.items() if make is not None]

WORDS: dict[LlmProtocol, tuple[str, str]] = {
    # protocol: types or names of events; keys; so that random objects get past the first check
    LlmProtocol.COMPLETIONS: ("text_completion", "choices text finish_reason logprobs tokens"),
    LlmProtocol.ANTHROPIC_COMPLETIONS: ("completion ping", "completion stop_reason"),
    LlmProtocol.OLLAMA: ("x", "message response thinking content done tool_calls images logprobs"),
    LlmProtocol.COHERE: (
        "message-start content-start content-delta content-end tool-plan-delta tool-call-start "
        "tool-call-delta tool-call-end citation-start citation-end message-end debug",
        "delta message content tool_calls citations tool_plan finish_reason",
    ),
    LlmProtocol.CONVERSE: (
        "messageStart contentBlockStart contentBlockDelta contentBlockStop messageStop metadata "
        "throttlingException",
        "contentBlockIndex delta start toolUse input text toolResult reasoningContent signature "
        "redactedContent citation citations messageStop contentBlockDelta validationException",
    ),
    LlmProtocol.AUDIO: (
        "transcript.text.delta transcript.text.segment transcript.text.done speech.audio.delta "
        "speech.audio.done",
        "delta text logprobs audio audio_bytes segments usage",
    ),
    LlmProtocol.IMAGES: (
        "image_generation.partial_image image_generation.completed image_edit.completed",
        "b64_json partial_image_index created_at data",
    ),
}


def objects(types: list[str], keys: list[str]) -> st.SearchStrategy[Any]:
    values = st.recursive(
        st.one_of(SCALARS, st.sampled_from([*types, ""])),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from([*keys, *KEYS[:4]]), inner, max_size=5),
        ),
        max_leaves=12,
    )
    return st.builds(
        lambda kind, rest: {**rest, **({"type": kind} if kind else {})},
        st.sampled_from([None, *types]),
        st.dictionaries(
            st.sampled_from([*keys, "index", "error", "delta", "usage"]), values, max_size=6
        ),
    )


def streams(protocol: LlmProtocol) -> st.SearchStrategy[list[Event]]:
    types, keys = (words.split() for words in WORDS[protocol])
    found = objects(types, keys)
    return st.lists(
        st.builds(
            lambda name, data: event(data, name),
            st.sampled_from([None, "error", "chunk", *types]),
            st.one_of(found, found, found, VALUES, st.text(max_size=8)),
        ),
        max_size=8,
    )


@pytest.mark.check(97)
@pytest.mark.parametrize("protocol", list(WORDS))
@given(data=st.data())
def test_random_events_never_raise(protocol: LlmProtocol, data: st.DataObject) -> None:
    """Any JSON in any event: no exception, folding twice is equal, asking in between changes nothing,
    and the outcome is plain JSON that says what it is."""
    events = data.draw(streams(protocol))
    asked = new_collector(protocol)
    assert asked is not None
    for item in events:
        asked.feed(item)
        asked.outcome()
    outcome = fold(protocol, events)
    assert repr(outcome) == repr(asked.outcome())
    assert outcome.result is not None or (outcome.error is not None and outcome.truncated)
    assert outcome.truncated or outcome.error is None
    json.dumps(outcome.result).encode()
    "\n".join((outcome.error or "", *outcome.warnings)).encode()
    usage_of(protocol, outcome.result)
    sniff(events)
    stream_facts(protocol, sse([(one.name, one.data) for one in events]), b"", True)


ODD: list[Any] = [None, True, 7, 1.5, "s", [], [1], ["s"], [{"index": 0, "s": "s"}], {}, {"s": "s"},
                  {"content": "s"}, {"content": [1]}, {"input": {}}, {"input": "s"}, {"text": {}}]  # fmt: skip


@pytest.mark.check(97)
@pytest.mark.parametrize("protocol", list(WORDS))
def test_a_field_may_change_its_kind(protocol: LlmProtocol) -> None:
    """Every key of the protocol's with one kind of value, then another, wherever it may stand."""
    types, keys = (words.split() for words in WORDS[protocol])
    for kind in types:
        for key in keys:
            for first in ODD:
                for then in ODD:
                    collector = new_collector(protocol)
                    assert collector is not None
                    for value in (first, then):
                        said = {key: value}
                        for data in (
                            said,
                            {"message": said, "index": 0},
                            {"delta": said, "start": said, "contentBlockIndex": 0, "index": 0},
                            {"delta": {"message": said}, "index": 0},
                            {"choices": [said]},
                        ):
                            collector._fold(kind, {"type": kind, **data})
                    json.dumps(collector.outcome().result)


def test_all_that_fold_are_tried() -> None:
    """A protocol that gets a fold is tried with random events here, or where the four are."""
    elsewhere = {"messages", "responses", "chat", "gemini", "realtime"}
    assert {str(protocol) for protocol in FOLDED} - elsewhere == {str(p) for p in WORDS}


@pytest.mark.parametrize("protocol", FOLDED)
def test_nothing_of_a_stranger_is_lost_in_silence(protocol: LlmProtocol) -> None:
    """Events that the protocol does not know are warned of, or there is an error that says why."""
    strangers = [event({"type": "x.y", "x": 1}), event("plain words"), event("[1]"), event("7")]
    outcome = fold(protocol, strangers)
    assert outcome.truncated
    assert outcome.warnings
    assert outcome.result is not None or outcome.error is not None


@pytest.mark.check(97)
@pytest.mark.parametrize("protocol", [p for p in LlmProtocol if p not in FOLDED])
def test_without_a_fold_the_outcome_says_so(protocol: LlmProtocol) -> None:
    outcome = fold(protocol, [event({"x": 1})])
    assert (None, f"{protocol} has no fold, see the events", True) == (
        outcome.result,
        outcome.error,
        outcome.truncated,
    )


# Recorded streams

FOLDERS = {
    "completions": LlmProtocol.COMPLETIONS,
    "anthropic-completions": LlmProtocol.ANTHROPIC_COMPLETIONS,
    "ollama": LlmProtocol.OLLAMA,
    "cohere": LlmProtocol.COHERE,
    "transcription": LlmProtocol.AUDIO,
}


def strings(value: Any) -> Iterator[str]:
    """Every string of a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


PIECES: dict[str, Any] = {
    # folder: what a piece of the text is, by a reading of its own
    "completions": lambda d: [choice["text"] for choice in d.get("choices", [])],
    "anthropic-completions": lambda d: [d.get("completion", "")],
    "ollama": lambda d: [d.get("message", {}).get("content", ""), d.get("response", "")],
    "cohere": lambda d: [
        one for one in strings((d.get("delta") or {}).get("message", {}).get("tool_plan"))
    ],
    "transcription": lambda d: [d.get("delta", "")],
}


@needs_corpus
@pytest.mark.check(97, 98, 110)
@pytest.mark.parametrize("folder", FOLDERS)
def test_recorded_streams(folder: str) -> None:
    """Told by their events, whole, without a warning, and no piece of text is missing."""
    protocol = FOLDERS[folder]
    for path in files(folder):
        events = read(path.read_bytes())
        assert protocol is sniff(events), path.name
        outcome = fold(protocol, events)
        assert (None, False, ()) == (outcome.error, outcome.truncated, outcome.warnings), path.name
        data = [json.loads(one.data) for one in events if one.data.strip() not in ("", "[DONE]")]
        text = "".join(piece for item in data for piece in PIECES[folder](item))
        assert any(text in found for found in strings(outcome.result)), path.name
        for count in range(0, len(events), 7):
            assert fold(protocol, events[:count]).truncated or count >= len(events) - 1, path.name


@needs_corpus
@pytest.mark.check(97, 98, 110)
def test_recorded_streams_of_converse() -> None:
    """What Bedrock sent in Converse's events is whole, and of every piece of text it has all."""
    checked = 0
    for path in files("bedrock"):
        events = read(path.read_bytes())
        if sniff(events) is not LlmProtocol.CONVERSE:
            continue
        outcome = fold(LlmProtocol.CONVERSE, events)
        assert (None, False) == (outcome.error, outcome.truncated), path.name
        assert outcome.result is not None
        assert (outcome.result["usage"] or {}).get("inputTokens") is not None
        text = ""
        for one in events:
            data = json.loads(one.data)
            delta = data.get("contentBlockDelta", data).get("delta", {})
            text += delta.get("text", "")
        content = outcome.result["output"]["message"]["content"]
        assert text == "".join(block.get("text", "") for block in content), path.name
        checked += 1
    assert checked > 20
