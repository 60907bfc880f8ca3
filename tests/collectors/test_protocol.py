"""Detection by path, by media type, and by the first events."""

import json
from typing import Any

import pytest

from collectors.protocol import (
    SESSIONS,
    LlmProtocol,
    asks_for_websocket,
    detect,
    framing_of,
    is_streamed,
    media_type,
    sniff,
)
from tests.collectors.folding import event

M, R, C, G = LlmProtocol.MESSAGES, LlmProtocol.RESPONSES, LlmProtocol.CHAT, LlmProtocol.GEMINI
RT, LIVE = LlmProtocol.REALTIME, LlmProtocol.GEMINI_LIVE
BIDI = "/ws/google.ai.generativelanguage"
VERTEX = "/v1/projects/p/locations/us-east5"

PATHS: list[tuple[str, LlmProtocol | None]] = [
    ("/v1/messages", M),
    ("/v1/messages?beta=true", M),
    ("/v1/messages/", M),
    ("/anthropic/v1/messages", M),
    ("/api/anthropic/v1/messages", M),
    ("/anthropic/messages", M),
    ("/messages", M),
    (f"{VERTEX}/publishers/anthropic/models/claude-sonnet-4@20250514:rawPredict", M),
    (f"{VERTEX}/publishers/anthropic/models/claude-sonnet-4@20250514:streamRawPredict", M),
    ("/model/us.anthropic.claude-3-5-sonnet-20241022-v2%3A0/invoke-with-response-stream", M),
    ("/model/anthropic.claude-v2/invoke", M),
    ("/v1/responses", R),
    ("/responses", R),
    ("/v1/responses/compact", R),
    ("/backend-api/codex/responses", R),
    ("/backend-api/codex/responses/compact", R),
    ("/openai/v1/responses?api-version=preview", R),
    ("/openai/responses?api-version=2025-03-01-preview", R),
    ("/v1/chat/completions", C),
    ("/chat/completions", C),
    ("/api/v1/chat/completions", C),
    ("/openai/v1/chat/completions", C),
    ("/openai/deployments/my-gpt/chat/completions?api-version=2024-06-01", C),
    (f"{VERTEX}/endpoints/openapi/chat/completions", C),
    (f"{VERTEX}/publishers/mistralai/models/mistral-large:streamRawPredict", C),
    ("/v1/agents/completions", C),
    ("/v1beta/models/gemini-2.5-pro:generateContent", G),
    ("/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", G),
    ("/v1beta/models/gemini-2.5-pro%3AstreamGenerateContent?alt=sse&key=x", G),
    ("/v1beta/tunedModels/mine:generateContent", G),
    (f"{VERTEX}/publishers/google/models/gemini-2.5-pro:streamGenerateContent", G),
    (f"{VERTEX}/endpoints/123:generateContent", G),
    ("/v1internal:streamGenerateContent?alt=sse", G),
    ("/v1internal:generateContent", G),
    ("/v1/completions", LlmProtocol.COMPLETIONS),
    ("/openai/deployments/d/completions", LlmProtocol.COMPLETIONS),
    ("/v1/fim/completions", LlmProtocol.COMPLETIONS),
    ("/v1/complete", LlmProtocol.ANTHROPIC_COMPLETIONS),
    ("/v1/completely", None),
    ("/v1/uploads/u1/complete", None),
    ("/v1/threads/runs", LlmProtocol.ASSISTANTS),
    ("/v1/threads/t1/runs", LlmProtocol.ASSISTANTS),
    ("/openai/threads/t1/runs?api-version=1", LlmProtocol.ASSISTANTS),
    ("/v1/threads/t1/runs/r1/submit_tool_outputs", LlmProtocol.ASSISTANTS),
    ("/v1beta/interactions", LlmProtocol.INTERACTIONS),
    ("/v1beta/interactions?alt=sse", LlmProtocol.INTERACTIONS),
    ("/api/chat", LlmProtocol.OLLAMA),
    ("/api/generate", LlmProtocol.OLLAMA),
    ("/api/pull", None),
    ("/v2/chat", LlmProtocol.COHERE),
    ("/api/embed", LlmProtocol.EMBEDDINGS),
    ("/v1/embeddings", LlmProtocol.EMBEDDINGS),
    ("/v2/embed", LlmProtocol.EMBEDDINGS),
    ("/v1beta/models/gemini-embedding-001:embedContent", LlmProtocol.EMBEDDINGS),
    ("/v1beta/models/gemini-embedding-001:batchEmbedContents", LlmProtocol.EMBEDDINGS),
    ("/v1/images/generations", LlmProtocol.IMAGES),
    ("/v1/images/edits", LlmProtocol.IMAGES),
    ("/v1beta/models/imagen-4.0-generate-001:predict", LlmProtocol.IMAGES),
    ("/v1/audio/speech", LlmProtocol.AUDIO),
    ("/v1/audio/transcriptions", LlmProtocol.AUDIO),
    ("/v1/audio/translations", LlmProtocol.AUDIO),
    ("/v1/rerank", LlmProtocol.RERANK),
    # Not model-invoking.
    ("/v1/messages/count_tokens", None),
    ("/v1/messages/count_tokens?beta=true", None),
    ("/v1/messages/batches", None),
    ("/v1/messages/batches/b1/cancel", None),
    (f"{VERTEX}/publishers/anthropic/models/count-tokens:rawPredict", None),
    ("/v1/threads/t1/messages", None),
    ("/v1/threads/t1/runs/r1/cancel", None),
    ("/v1beta/interactions/i1/cancel", None),
    ("/v1/responses/resp_1/cancel", None),
    ("/v1/responses/input_tokens", None),
    ("/v1/conversations/c1/items", None),
    ("/v1beta/models/gemini-2.5-pro:countTokens", None),
    ("/v1internal:countTokens", None),
    ("/v1internal:loadCodeAssist", None),
    ("/v1internal:recordCodeAssistMetrics", None),
    ("/v1/models", None),
    ("/v1beta/models", None),
    ("/v1/models/claude-sonnet-4", None),
    ("/api/event_logging/batch", None),
    ("/v1/files", None),
    ("/v1/moderations", None),
    ("/v1/chat/completions/chatcmpl-1/messages", None),
    ("/upload/v1beta/files", None),
    ("/myresponses", None),
    ("/chatmessages", None),
    ("", None),
    ("/", None),
]


@pytest.mark.check(13, 14)
@pytest.mark.parametrize(("path", "protocol"), PATHS, ids=[row[0] for row in PATHS])
def test_detect(path: str, protocol: LlmProtocol | None) -> None:
    """By the end of the path of a POST, whatever base path stands before it; no other method counts."""
    assert protocol == detect("POST", path)
    if path and protocol is not None and path != "/messages":
        assert protocol == detect("post", "/some/gateway" + path)
    for method in ("GET", "DELETE", "PUT", "OPTIONS", "HEAD"):
        assert detect(method, path) is None


@pytest.mark.check(14)
@pytest.mark.parametrize(
    ("path", "protocol"),
    [
        ("/v1/responses", R),
        ("/backend-api/codex/responses", R),
        ("/v1/realtime?model=gpt-realtime", RT),
        ("/v1/realtime?intent=transcription", RT),
        ("/v1/realtime?call_id=rtc_1", RT),
        ("/v1/realtime/translations?model=m", RT),
        ("/openai/realtime?api-version=2024-10-01-preview&deployment=d", RT),
        ("/openai/v1/realtime?model=d", RT),
        ("/openai/deployments/d/realtime", RT),
        ("/voice-live/realtime?api-version=1&model=m", RT),
        (f"{BIDI}.v1beta.GenerativeService.BidiGenerateContent?key=k", LIVE),
        (f"{BIDI}.v1alpha.GenerativeService.BidiGenerateContentConstrained", LIVE),
        (f"{BIDI}.v1beta.GenerativeService/BidiGenerateContent", LIVE),
        ("//ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent", LIVE),
        (f"{BIDI}.v1beta.GenerativeService.BidiGenerateMusic", None),
        ("/ws/example.BidiGenerateContent", None),
        ("/realtime/v1/websocket", None),
        ("/v1/realtime/calls", None),
        ("/v1/chat/completions", None),
        ("/", None),
    ],
)
def test_detect_websockets(path: str, protocol: LlmProtocol | None) -> None:
    """By the end of the path of a GET; none of them is a session where nobody asks for a socket."""
    assert protocol == detect("GET", path, websocket=True)
    assert detect("POST", path, websocket=True) is None
    assert detect("POST", path) not in SESSIONS


@pytest.mark.parametrize(
    ("headers", "asks"),
    [
        ([(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")], True),
        ([(b"upgrade", b" WebSocket ")], True),
        ([(b"Upgrade", b"h2c")], False),
        ([(b"X-Upgrade", b"websocket")], False),
        ([], False),
    ],
)
def test_asks_for_websocket(headers: list[tuple[bytes, bytes]], asks: bool) -> None:
    assert asks is asks_for_websocket(headers)


@pytest.mark.check(14, 22)
@pytest.mark.parametrize("content_type", [None, "text/event-stream", "application/json", "x"])
def test_messages_of_a_websocket_are_streamed(content_type: str | None) -> None:
    """Known by the status; its head says nothing of the messages, whatever it says."""
    assert "websocket" == framing_of(content_type, 101)
    assert is_streamed(content_type, "/v1/responses", 101)
    assert media_type(content_type) == framing_of(content_type, 200)
    assert "websocket" != framing_of("websocket", None), "no header can say it is one"


GENERATE = "/v1beta/models/gemini-2.5-pro:streamGenerateContent"


@pytest.mark.check(22)
@pytest.mark.parametrize(
    ("content_type", "path", "streamed"),
    [
        ("text/event-stream", "", True),
        ("text/event-stream; charset=utf-8", "", True),
        ("Text/Event-Stream;charset=UTF-8", "", True),
        (" text/event-stream ;x=y", "", True),
        ("application/x-ndjson", "", True),
        ("application/stream+json", "", True),
        ("application/vnd.amazon.eventstream", "", True),
        ("application/json", GENERATE, True),
        ("application/json; charset=UTF-8", GENERATE + "?key=x", True),
        ("application/json", "/v1/messages", False),
        ("application/json", "/v1beta/models/gemini-2.5-pro:generateContent", False),
        ("text/event-stream-not", "", False),
        ("text/html; x=text/event-stream", GENERATE, False),
        ("event-stream", "", False),
        ("", GENERATE, False),
        (None, GENERATE, False),
    ],
)
def test_is_streamed(content_type: str | None, path: str, streamed: bool) -> None:
    """By the parsed media type, never by a prefix of the header."""
    assert streamed is is_streamed(content_type, path)


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("text/plain", "text/plain"),
        ("TEXT/Plain;a=b", "text/plain"),
        ("a/b, c/d", "a/b"),
        ("text / plain", ""),
        ("texté/plain", ""),
        ("/", ""),
        ("\r\n", ""),
    ],
)
def test_media_type(content_type: str, kind: str) -> None:
    assert kind == media_type(content_type)


SHAPES: list[tuple[str, list[Any], LlmProtocol | None]] = [
    ("message_start", [{"type": "message_start", "message": {}}], M),
    ("ping first", [{"type": "ping"}, {"type": "content_block_delta"}], M),
    ("message body", [{"type": "message", "role": "assistant", "content": []}], M),
    ("response.created", [{"type": "response.created"}], R),
    ("only the event's name", [("response.created", {"response": {}})], R),
    ("interaction", [{"event_type": "interaction.created"}], LlmProtocol.INTERACTIONS),
    ("a step of one", [{"event_type": "step.delta"}], LlmProtocol.INTERACTIONS),
    ("a run", [("thread.run.created", {"id": "r"})], LlmProtocol.ASSISTANTS),
    ("a session", [{"type": "session.created"}, {"type": "response.created"}], RT),
    ("the client of one", [{"type": "input_audio_buffer.append"}], RT),
    ("response body", [{"object": "response"}], R),
    ("compaction body", [{"object": "response.compaction"}], R),
    ("chunk", [{"object": "chat.completion.chunk", "choices": []}], C),
    ("no object", [{"choices": [{"delta": {}}]}], C),
    ("completion body", [{"object": "chat.completion"}], C),
    ("text completion", [{"choices": [{"text": "a"}]}], LlmProtocol.COMPLETIONS),
    ("text_completion", [{"object": "text_completion", "choices": []}], LlmProtocol.COMPLETIONS),
    ("candidates", [{"candidates": []}], G),
    ("blocked", [{"promptFeedback": {}}], G),
    ("wrapped", [{"response": {"candidates": []}}], G),
    ("array", ['[{"candidates": []}]'], G),
    ("embeddings", [{"object": "list", "data": [{"embedding": [0.1]}]}], LlmProtocol.EMBEDDINGS),
    ("rerank", [{"results": [{"index": 0, "relevance_score": 0.1}]}], LlmProtocol.RERANK),
    ("images", [{"created": 1, "data": [{"b64_json": "x"}]}], LlmProtocol.IMAGES),
    ("image events", [{"type": "image_generation.partial_image"}], LlmProtocol.IMAGES),
    ("transcript", [{"type": "transcript.text.delta"}], LlmProtocol.AUDIO),
    ("error, then the kind", [{"error": {"message": "x"}}, {"candidates": []}], G),
    ("Anthropic's error", [{"type": "error", "error": {"type": "t", "message": "m"}}], M),
    ("OpenAI's error event", [{"type": "error", "code": "c", "message": "m"}], R),
    ("Google's error", [{"error": {"code": 400, "status": "INVALID_ARGUMENT"}}], G),
    ("any other error", [{"error": {"message": "m"}}], C),
    ("not JSON", ["hello", "[DONE]"], None),
    ("no objects", ["[1, 2]", "null", '"x"'], None),
    ("nothing known", [{"model": "llama3", "done": False}], None),
    ("nothing", [], None),
]


@pytest.mark.check(110)
@pytest.mark.parametrize(
    ("items", "protocol"), [row[1:] for row in SHAPES], ids=[row[0] for row in SHAPES]
)
def test_sniff(items: list[Any], protocol: LlmProtocol | None) -> None:
    events = [event(i[1], i[0]) if isinstance(i, tuple) else event(i) for i in items]
    assert protocol == sniff(events)


def test_sniff_of_a_body() -> None:
    assert M is sniff(json.dumps({"type": "message", "role": "assistant", "content": []}).encode())
    assert sniff(b"\xff\xfe") is None
