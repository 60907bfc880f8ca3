"""Complete over the protocols; bodies that were not streamed."""

import json
from typing import Any

import pytest

from collectors.collector import MAX_WARNINGS
from collectors.protocol import LlmProtocol
from collectors.registry import FOLDS, fold, fold_body, new_collector
from tests.collectors.folding import event, folded


@pytest.mark.check(97)
def test_every_protocol_has_its_row() -> None:
    """A new protocol without a word on how it is folded is found here."""
    assert set(LlmProtocol) == set(FOLDS)


def test_no_fold_is_said() -> None:
    assert new_collector(LlmProtocol.EMBEDDINGS) is None
    outcome = fold(LlmProtocol.EMBEDDINGS, [event({"data": []})])
    assert (None, "embeddings has no fold, see the events", True) == (
        outcome.result,
        outcome.error,
        outcome.truncated,
    )


@pytest.mark.check(111)
def test_the_capture_side_can_tell_protocols_without_any_fold() -> None:
    """collectors.protocol, which the addon imports, brings no collector with it."""
    import subprocess
    import sys

    code = (
        "import sys, collectors.protocol;"
        "print([m for m in sys.modules if m in ('collectors.registry', 'collectors.chat',"
        " 'collectors.messages', 'collectors.responses', 'collectors.gemini')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert "[]" == done.stdout.strip()


M, R, C, G = LlmProtocol.MESSAGES, LlmProtocol.RESPONSES, LlmProtocol.CHAT, LlmProtocol.GEMINI


@pytest.mark.check(98)
@pytest.mark.parametrize(
    ("protocol", "body", "result", "error", "truncated"),
    [
        (M, {"type": "message", "content": []}, ..., None, False),
        (M, {"type": "error", "error": {"type": "t", "message": "m"}}, ..., "t: m", True),
        (C, {"choices": []}, ..., None, False),
        (C, {"error": {"message": "m", "type": "t"}}, ..., "t: m", True),
        (C, {"error": "words"}, ..., "words", True),
        (C, {"error": None, "choices": []}, ..., None, False),
        (C, {"detail": "Not Found"}, ..., "Not Found", True),
        (C, {"object": "error", "message": "m", "type": "t"}, ..., "t: m", True),
        (R, {"object": "response", "status": "completed", "error": None}, ..., None, False),
        (R, {"object": "response", "status": "incomplete"}, ..., None, True),
        (R, {"object": "response", "status": "queued"}, ..., None, True),
        (R, {"object": "response.compaction", "output": []}, ..., None, False),
        (R, {"status": "failed", "error": {"code": "c", "message": "m"}}, ..., "c: m", True),
        (G, {"candidates": [{}]}, ..., None, False),
        (G, [{"error": {"code": 429, "message": "m", "status": "S"}}], None, "S: m", True),
        (C, [{"error": {"code": 429, "message": "m"}}], {"error": {"code": 429, "message": "m"}}, "429: m", True),
        (G, {"promptFeedback": {"blockReason": "SAFETY"}}, ..., "blocked: SAFETY", True),
        (LlmProtocol.EMBEDDINGS, {"data": []}, ..., None, False),
        (LlmProtocol.COHERE, {"id": "i", "message": "m"}, ..., "m", True),
        (LlmProtocol.COHERE, {"id": "i", "message": {"role": "assistant"}}, ..., None, False),
        (LlmProtocol.OLLAMA, {"error": "no such model"}, ..., "no such model", True),
        (None, {"x": 1}, ..., None, False),
        (C, [1], None, "the body is no JSON object", True),
        (C, [{"x": 1}], None, "the body is no JSON object", True),
        (C, 7, None, "the body is no JSON object", True),
        (C, b"", None, "the body is empty", True),
        (C, b" \n", None, "the body is empty", True),
        (C, b"<html>", None, "the body is not JSON", True),
        (C, b'{"cut":', None, "the body is not JSON", True),
        (C, b"[" * 10_000, None, "the body is not JSON", True),
    ],
)  # fmt: skip
def test_bodies(
    protocol: LlmProtocol | None, body: Any, result: Any, error: str | None, truncated: bool
) -> None:
    """A message is its own result, an error body its error. (... is the body itself.)"""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    outcome = fold_body(protocol, data)
    expected = body if result is ... else result
    assert (expected, error, truncated) == (outcome.result, outcome.error, outcome.truncated)


def test_a_gemini_array_is_folded() -> None:
    body = [
        {"candidates": [{"content": {"parts": [{"text": "a"}]}}]},
        {"candidates": [{"content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"}]},
    ]
    outcome = fold_body(G, json.dumps(body).encode())
    assert outcome.result is not None
    assert [{"text": "ab"}] == outcome.result["candidates"][0]["content"]["parts"]
    assert not outcome.truncated


def test_warnings_are_bounded() -> None:
    """A stream of noise gives a short list that says how much more there was."""
    outcome = folded(M, [{"type": f"noise {n}"} for n in range(MAX_WARNINGS + 30)])
    assert MAX_WARNINGS + 1 == len(outcome.warnings)
    assert "1 event of unknown type noise 0" == outcome.warnings[0]
    assert "30 more warnings" == outcome.warnings[-1]
