"""One row a protocol: how it is folded. Complete over the enum; a test holds it so.

Pure. Protocols whose answers need no fold are there too, with None: recorded, shown as they are.
"""

from collections.abc import Callable, Iterable
from typing import Any

from collectors.anthropic_completions import AnthropicCompletionsCollector
from collectors.chat import ChatCollector
from collectors.cohere import CohereCollector
from collectors.collector import Collector
from collectors.completions import CompletionsCollector
from collectors.converse import ConverseCollector
from collectors.event import Event
from collectors.gemini import GeminiCollector
from collectors.json_view import INVALID, as_dict, error_text, get_str, parse_bytes
from collectors.media import AudioCollector, ImagesCollector
from collectors.messages import MessagesCollector
from collectors.ollama import OllamaCollector
from collectors.outcome import Outcome
from collectors.protocol import LlmProtocol
from collectors.realtime import RealtimeCollector
from collectors.responses import ResponsesCollector

NO_FOLD = None
"""Events of this protocol are shown as they are."""

FOLDS: dict[LlmProtocol, Callable[[], Collector] | None] = {
    LlmProtocol.MESSAGES: MessagesCollector,
    LlmProtocol.RESPONSES: ResponsesCollector,
    LlmProtocol.CHAT: ChatCollector,
    LlmProtocol.GEMINI: GeminiCollector,
    LlmProtocol.COMPLETIONS: CompletionsCollector,
    LlmProtocol.ANTHROPIC_COMPLETIONS: AnthropicCompletionsCollector,
    LlmProtocol.EMBEDDINGS: NO_FOLD,
    LlmProtocol.IMAGES: ImagesCollector,
    LlmProtocol.AUDIO: AudioCollector,
    LlmProtocol.RERANK: NO_FOLD,
    LlmProtocol.REALTIME: RealtimeCollector,
    LlmProtocol.GEMINI_LIVE: NO_FOLD,
    LlmProtocol.OLLAMA: OllamaCollector,
    LlmProtocol.COHERE: CohereCollector,
    LlmProtocol.CONVERSE: ConverseCollector,
    # Of Claude these are Messages, of Nova Converse; each other model has a form of its own.
    LlmProtocol.BEDROCK_INVOKE: NO_FOLD,
    LlmProtocol.ASSISTANTS: NO_FOLD,
    LlmProtocol.INTERACTIONS: NO_FOLD,
}


def new_collector(protocol: LlmProtocol) -> Collector | None:
    """A fresh collector, or None where there is nothing to fold."""
    make = FOLDS[protocol]
    return make() if make is not None else None


def fold(protocol: LlmProtocol, events: Iterable[Event]) -> Outcome:
    """What the events come to. Never raises; a protocol without a fold says so in the error."""
    collector = new_collector(protocol)
    if collector is None:
        return Outcome(None, f"{protocol} has no fold, see the events", True)
    for event in events:
        collector.feed(event)
    return collector.outcome()


def fold_body(protocol: LlmProtocol | None, body: bytes) -> Outcome:
    """A body that was not streamed is its own result; an error body is its error. Never raises."""
    if not body.strip():
        return Outcome(None, "the body is empty", True)
    value = parse_bytes(body)
    if value is INVALID:
        return Outcome(None, "the body is not JSON", True)
    if isinstance(value, list) and protocol is LlmProtocol.GEMINI:
        return fold(protocol, (Event(0, None, body.decode("utf-8", "replace")),))
    first = value[0] if isinstance(value, list) and value else value
    data = as_dict(first)
    if data is None:
        return Outcome(None, "the body is no JSON object", True)
    error = body_error(data)
    if error is not None:
        return Outcome(data, error, True)
    if isinstance(value, list):
        return Outcome(None, "the body is no JSON object", True)
    return Outcome(data, None, _is_cut(protocol, data))


def body_error(data: dict[str, Any]) -> str | None:
    """`type: message` of an error body, in any of the shapes they come in; None if it is none."""
    error = data.get("error")
    if error:
        return error_text(error)
    if data.get("type") == "error":
        return error_text({key: item for key, item in data.items() if key != "type"})
    if get_str(data, "object") == "error" or (
        data.keys() <= {"detail", "message", "code"} and data
    ):
        return error_text(data)
    if data.keys() == {"id", "message"} and get_str(data, "message"):
        # Cohere's.
        return error_text(data)
    blocked = as_dict(data.get("promptFeedback"))
    if blocked is not None and get_str(blocked, "blockReason") and not data.get("candidates"):
        return f"blocked: {blocked['blockReason']}"
    return None


def _is_cut(protocol: LlmProtocol | None, data: dict[str, Any]) -> bool:
    """A whole body is complete, unless a response says that it is not."""
    return protocol is LlmProtocol.RESPONSES and data.get("status") in (
        "incomplete",
        "cancelled",
        "in_progress",
        "queued",
    )
