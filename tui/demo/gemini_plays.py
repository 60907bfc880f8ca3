"""Plays of Gemini, written for this purpose; ids, keys and prices are obviously not real. Pure."""

import json
from typing import Any

from tui.demo.play import CI_SECRET, GOOGLE, Json, Play, google, plain, words

_GEMINI_MODEL = "gemini-3-pro"


def _gemini(parts: list[Json], finish: str | None = None, **more: Any) -> Json:
    candidate: Json = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": _GEMINI_MODEL, **more}


def _gemini_usage(prompt: int, answer: int, thoughts: int) -> Json:
    return {
        "promptTokenCount": prompt,
        "candidatesTokenCount": answer,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": prompt + answer + thoughts,
    }


def _gemini_request(question: str) -> Json:
    return {
        "contents": [{"role": "user", "parts": [{"text": question}]}],
        "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
    }


def thought() -> Play:
    """A thought, then text; framed with CRLF."""
    thoughts = "Weighing both: one scans, one asks an index. "
    answer = "Keyset paging asks for what is below the last id, so page one thousand costs what page one costs."
    chunks = [
        _gemini([{"text": thoughts, "thought": True}]),
        *(_gemini([{"text": word}]) for word in words(answer)),
        _gemini([{"text": ""}], "STOP", usageMetadata=_gemini_usage(22, 24, 31)),
    ]
    return Play(
        "gemini, a thought and text",
        GOOGLE,
        f"/v1beta/models/{_GEMINI_MODEL}:streamGenerateContent?alt=sse",
        google(CI_SECRET),
        _gemini_request("Offset or keyset paging?"),
        # Google frames with CRLF.
        tuple(plain(0.09, chunk, "\r\n") for chunk in chunks),
        "complete",
    )


def array() -> Play:
    """Without alt=sse: one JSON array, an item at a time."""
    answer = "Without alt=sse the stream is one JSON array, an item at a time."
    chunks = [
        *(_gemini([{"text": word}]) for word in words(answer)),
        _gemini([{"text": ""}], "STOP", usageMetadata=_gemini_usage(15, 14, 0)),
    ]
    texts = [json.dumps(chunk, indent=1).encode() for chunk in chunks]
    pieces = [(0.1, b"[" + texts[0]), *((0.1, b"\n,\r\n" + text) for text in texts[1:])]
    return Play(
        "gemini, a JSON array",
        GOOGLE,
        f"/v1beta/models/{_GEMINI_MODEL}:streamGenerateContent",
        google(CI_SECRET),
        _gemini_request("What if I leave alt=sse away?"),
        (*pieces, (0.0, b"\n]")),
        "complete",
        content_type="application/json; charset=UTF-8",
    )
