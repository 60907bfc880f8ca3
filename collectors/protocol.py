"""Which API a request speaks, by one table of method, path and content type. Host-independent.

Pure. Detection looks at the end of the path, so that any base path may stand before it; what no
row knows (model lists, token counting, batches, telemetry) is not model-invoking and not captured.
Where no path is known the first events tell (`sniff`).
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from collectors.event import Event
from collectors.json_view import INVALID, as_dict, dicts, get_dict, get_list, get_str, parse


class LlmProtocol(StrEnum):
    """The APIs told apart. The value is what `--protocol` takes and what the index stores."""

    MESSAGES = "messages"
    RESPONSES = "responses"
    CHAT = "chat"
    GEMINI = "gemini"
    COMPLETIONS = "completions"
    ANTHROPIC_COMPLETIONS = "anthropic-completions"
    EMBEDDINGS = "embeddings"
    IMAGES = "images"
    AUDIO = "audio"
    RERANK = "rerank"
    REALTIME = "realtime"
    GEMINI_LIVE = "gemini-live"
    OLLAMA = "ollama"
    COHERE = "cohere"
    CONVERSE = "converse"
    BEDROCK_INVOKE = "bedrock-invoke"
    ASSISTANTS = "assistants"
    INTERACTIONS = "gemini-interactions"


SESSIONS: Final = frozenset({LlmProtocol.REALTIME, LlmProtocol.GEMINI_LIVE})
"""Spoken over a WebSocket that is one exchange from its handshake to its close: both sides talk when
they like, and no message of the protocol's own ends it."""

_CAPTURED: Final[tuple[tuple[str, LlmProtocol | None], ...]] = (
    # (how the path ends, protocol); the first that matches counts, None is "not captured".
    # Anthropic. Not /threads/{id}/messages, which stores a message and asks no model.
    (r"/publishers/anthropic/models/count-tokens:rawPredict", None),
    (r"/publishers/anthropic/models/[^/]+:(?:rawPredict|streamRawPredict)", LlmProtocol.MESSAGES),
    (r"/publishers/mistralai/models/[^/]+:(?:rawPredict|streamRawPredict)", LlmProtocol.CHAT),
    (r"/model/[^/]*anthropic[^/]*/invoke(?:-with-response-stream)?", LlmProtocol.MESSAGES),
    # Bedrock: Converse, which Nova speaks under InvokeModel too; other models, each its own.
    (r"/model/[^/]+/converse(?:-stream)?", LlmProtocol.CONVERSE),
    (
        r"/model/[^/]*nova-(?!canvas|reel)[^/]*/invoke(?:-with-response-stream)?",
        LlmProtocol.CONVERSE,
    ),
    (r"/model/[^/]+/invoke(?:-with-response-stream)?", LlmProtocol.BEDROCK_INVOKE),
    (r"/threads/[^/]+/messages", None),
    (r"/threads(?:/[^/]+)?/runs(?:/[^/]+/submit_tool_outputs)?", LlmProtocol.ASSISTANTS),
    (r"(?:^|/v\d[^/]*|/anthropic)/complete", LlmProtocol.ANTHROPIC_COMPLETIONS),
    (r"(?:^|/v\d[^/]*|/anthropic)/messages", LlmProtocol.MESSAGES),
    # OpenAI and what is compatible with it; Azure's deployments, OpenRouter, Vertex's openapi.
    (r"/chat/completions", LlmProtocol.CHAT),
    (r"/agents/completions", LlmProtocol.CHAT),
    (r"/completions", LlmProtocol.COMPLETIONS),
    (r"/responses(?:/compact)?", LlmProtocol.RESPONSES),
    (r"/embeddings", LlmProtocol.EMBEDDINGS),
    (r"/v\d[^/]*/embed", LlmProtocol.EMBEDDINGS),
    (r"/api/embed", LlmProtocol.EMBEDDINGS),
    (r"/images/(?:generations|edits|variations)", LlmProtocol.IMAGES),
    (r"/audio/(?:speech|transcriptions|translations)", LlmProtocol.AUDIO),
    (r"/rerank", LlmProtocol.RERANK),
    (r"/api/(?:chat|generate)", LlmProtocol.OLLAMA),
    (r"(?:^|/)v2/chat", LlmProtocol.COHERE),
    # Google: models/…, tunedModels/…, endpoints/…, and Code Assist's v1internal.
    (r":(?:generateContent|streamGenerateContent)", LlmProtocol.GEMINI),
    (r"/v\d[^/]*/interactions", LlmProtocol.INTERACTIONS),
    (r":(?:embedContent|batchEmbedContents)", LlmProtocol.EMBEDDINGS),
    (r"/models/imagen[^/]*:predict", LlmProtocol.IMAGES),
)

_SOCKETS: Final[tuple[tuple[str, LlmProtocol | None], ...]] = (
    # The same for WebSockets, which open with GET. Codex and the SDKs speak Responses over one.
    (r"/responses", LlmProtocol.RESPONSES),
    # OpenAI, Azure and what is compatible with them; transcription has the path of a conversation.
    (r"/realtime(?:/translations)?", LlmProtocol.REALTIME),
    # google.ai.generativelanguage.v1beta.GenerativeService.…, for ephemeral tokens …Constrained;
    # Vertex: google.cloud.aiplatform.v1beta1.LlmBidiService/….
    (r"/ws/google\.[^/]+[./]BidiGenerateContent(?:Constrained)?", LlmProtocol.GEMINI_LIVE),
)


def _compiled(
    rows: tuple[tuple[str, LlmProtocol | None], ...],
) -> tuple[tuple[re.Pattern[str], LlmProtocol | None], ...]:
    return tuple(
        (re.compile(rf"(?:{pattern})\Z", re.IGNORECASE), protocol) for pattern, protocol in rows
    )


_TABLE, _SOCKET_TABLE = _compiled(_CAPTURED), _compiled(_SOCKETS)


def clean_path(path: str) -> str:
    """The path without query, fragment, trailing slashes and `%3A` for the colon."""
    path = path.partition("?")[0].partition("#")[0].rstrip("/")
    return path.replace("%3A", ":").replace("%3a", ":") if "%" in path else path


def detect(method: str, path: str, *, websocket: bool = False) -> LlmProtocol | None:
    """The protocol of a model-invoking request, or None: not to be captured.

    A WebSocket opens with GET; everything else is a POST.
    """
    if method.upper() != ("GET" if websocket else "POST"):
        return None
    path = clean_path(path)
    for pattern, protocol in _SOCKET_TABLE if websocket else _TABLE:
        if pattern.search(path):
            return protocol
    return None


def asks_for_websocket(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request's headers ask to go on as a WebSocket (RFC 6455, 4.1)."""
    return any(
        len(name) == 7 and name.lower() == b"upgrade" and value.strip().lower() == b"websocket"
        for name, value in headers
    )


EVENT_STREAM = "text/event-stream"
NDJSON = frozenset(
    {
        "application/x-ndjson",
        "application/ndjson",
        "application/stream+json",
        "application/jsonl",
        "application/x-jsonlines",
        "application/x-json-stream",
    }
)
AWS_EVENT_STREAM = "application/vnd.amazon.eventstream"
JSON = "application/json"


WEBSOCKET = "websocket"
"""Where a media type tells the framing, this stands for messages of a WebSocket, which have none."""

SWITCHING_PROTOCOLS = 101
"""The status that tells them: of what is recorded, only a WebSocket's turn or session has it."""


_MEDIA_TYPE = re.compile(r"\s*([!#$%&'*+.^_`|~\w-]+/[!#$%&'*+.^_`|~\w-]+)\s*(?:[;,]|\Z)", re.ASCII)
"""RFC 9110's type "/" subtype, up to its parameters."""


@lru_cache(maxsize=256)
def media_type(content_type: str | None) -> str:
    """The media type alone, in lower case, or "" if there is none that can be read."""
    match = _MEDIA_TYPE.match(content_type or "")
    return match[1].lower() if match else ""


def framing_of(content_type: str | None, status: int | None) -> str:
    """What a response's body is made of: its media type, or WEBSOCKET."""
    return WEBSOCKET if status == SWITCHING_PROTOCOLS else media_type(content_type)


def is_streamed(content_type: str | None, path: str = "", status: int | None = None) -> bool:
    """Whether a response is events: by its media type; Gemini's JSON array by the path as well.

    The messages of a WebSocket are, whatever the head says.
    """
    kind = framing_of(content_type, status)
    if kind in (EVENT_STREAM, AWS_EVENT_STREAM, WEBSOCKET) or kind in NDJSON:
        return True
    return kind == JSON and clean_path(path).endswith(":streamGenerateContent")


_SNIFFED_EVENTS = 8
"""How many events are looked at; the kind of a stream shows in the first, after pings and errors."""


def sniff(source: Iterable[Event] | bytes) -> LlmProtocol | None:
    """The protocol by the shape of the first few events, or of a body; None if nothing tells.

    An error alone tells least: it counts only where nothing else did.
    """
    if isinstance(source, bytes):
        from_body = Event(0, None, source.decode("utf-8", "replace").removeprefix("\ufeff"))
        source = (from_body,)
    weak: LlmProtocol | None = None
    for event in islice(source, _SNIFFED_EVENTS):
        value = parse(event.data)
        if value is INVALID:
            continue
        for item in value[:_SNIFFED_EVENTS] if isinstance(value, list) else (value,):
            data = as_dict(item)
            if data is None:
                continue
            found = _by_shape(event.name, data)
            if found is not None:
                return found
            weak = weak or _by_error(data)
    return weak


_MESSAGES_TYPES = frozenset(
    {"message_start", "message_delta", "message_stop"}
    | {"content_block_start", "content_block_delta", "content_block_stop"}
)


_CONVERSE_TYPES = frozenset(
    {"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop"}
)

_COHERE_TYPES = frozenset(
    {"message-start", "message-end", "tool-plan-delta", "content-start", "content-delta"}
    | {"content-end", "tool-call-start", "tool-call-delta", "tool-call-end"}
    | {"citation-start", "citation-end"}
)


_REALTIME = ("session.", "transcription_session.", "conversation.", "input_audio_buffer.")
"""Before the responses of a session, whose events are called as those of Responses are."""


def _by_shape(name: str | None, data: dict[str, Any]) -> LlmProtocol | None:
    kind = get_str(data, "type") or name or ""
    if kind in _MESSAGES_TYPES or (kind == "message" and "content" in data and "role" in data):
        return LlmProtocol.MESSAGES
    if kind == "completion" and "completion" in data:
        return LlmProtocol.ANTHROPIC_COMPLETIONS
    if (get_str(data, "event_type") or "").startswith(("interaction.", "step.")):
        return LlmProtocol.INTERACTIONS
    if (name or "").startswith("thread."):
        return LlmProtocol.ASSISTANTS
    if name in _CONVERSE_TYPES or data.keys() & _CONVERSE_TYPES:
        return LlmProtocol.CONVERSE
    if "stopReason" in data and get_dict(get_dict(data, "output"), "message"):
        return LlmProtocol.CONVERSE
    if kind in _COHERE_TYPES:
        return LlmProtocol.COHERE
    if kind.startswith(_REALTIME):
        return LlmProtocol.REALTIME
    if isinstance(data.get("done"), bool) and data.keys() & {"message", "response"}:
        return LlmProtocol.OLLAMA
    what = get_str(data, "object") or ""
    if kind.startswith("response.") or what in ("response", "response.compaction"):
        return LlmProtocol.RESPONSES
    if kind.startswith(("image_generation.", "image_edit.")):
        return LlmProtocol.IMAGES
    if kind.startswith(("transcript.", "speech.audio.")):
        return LlmProtocol.AUDIO
    if what.startswith("chat.completion"):
        return LlmProtocol.CHAT
    if what.startswith("text_completion"):
        return LlmProtocol.COMPLETIONS
    if isinstance(data.get("choices"), list):
        for choice in dicts(data, "choices"):
            if "text" in choice and "delta" not in choice and "message" not in choice:
                return LlmProtocol.COMPLETIONS
        return LlmProtocol.CHAT
    inner = get_dict(data, "response") or data
    if any(key in inner for key in ("candidates", "promptFeedback", "usageMetadata")):
        return LlmProtocol.GEMINI
    if what == "list" and any(get_list(item, "embedding") for item in dicts(data, "data")):
        return LlmProtocol.EMBEDDINGS
    if isinstance(data.get("embeddings"), list) or "embedding" in data:
        return LlmProtocol.EMBEDDINGS
    if any("relevance_score" in item for item in dicts(data, "results")):
        return LlmProtocol.RERANK
    if any("b64_json" in item or "revised_prompt" in item for item in dicts(data, "data")):
        return LlmProtocol.IMAGES
    return None


def _by_error(data: dict[str, Any]) -> LlmProtocol | None:
    """Whose error this may be."""
    error = as_dict(data.get("error"))
    if data.get("type") == "error":
        if "sequence_number" in data or error is None or "param" in error:
            return LlmProtocol.RESPONSES
        return LlmProtocol.MESSAGES
    if error is None:
        return None
    return LlmProtocol.GEMINI if get_str(error, "status") else LlmProtocol.CHAT
