"""A folded message as something to read: text, thinking, tool calls, refusals. Pure.

Takes the message in its protocol's own shape, streamed and folded or sent whole. What it does
not know is shown as JSON: nothing is left out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from collectors.json_view import (
    INVALID,
    as_dict,
    compact,
    dicts,
    get_dict,
    get_list,
    get_str,
    parse,
)
from collectors.protocol import LlmProtocol
from store.masks import mask_all
from tui.document.json_text import highlight, pretty
from tui.document.lines import Block, Line, Span, SpanBlock, TextBlock, plain, toned
from tui.format import size
from tui.safe_text import escape, escape_lines

ARGUMENTS = 100
"""Characters up to which a tool's input stands beside its name."""


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of an answer."""

    kind: str
    """text, thinking, tool, refusal, note, json"""
    text: str
    label: str = ""
    """A tool's name; who speaks, where several do."""


def parts(protocol: LlmProtocol | None, result: dict[str, Any]) -> list[Part]:
    """The pieces in their order; the whole as JSON where the protocol has no messages."""
    read = _READERS.get(protocol) if protocol is not None else None
    found = list(read(result)) if read is not None else []
    return found or [Part("json", pretty(result))]


def _json(value: Any, label: str = "") -> Part:
    return Part("json", pretty(value), label)


def _arguments(value: Any) -> str:
    """A tool's input as JSON text: compact if short, indented if not; text that is no JSON as it is."""
    if isinstance(value, str):
        parsed = parse(value)
        if parsed is INVALID:
            return value
        value = parsed
    short = compact(value)
    return short if len(short) <= ARGUMENTS else pretty(value)


def _messages(result: dict[str, Any]) -> Iterator[Part]:
    for block in dicts(result, "content"):
        kind = block.get("type")
        if kind == "text":
            yield Part("text", get_str(block, "text") or "")
        elif kind == "thinking":
            yield Part("thinking", get_str(block, "thinking") or "")
        elif kind == "redacted_thinking":
            yield Part("note", f"redacted thinking, {size(len(get_str(block, 'data') or ''))}")
        elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
            yield Part("tool", _arguments(block.get("input")), get_str(block, "name") or "?")
        else:
            yield _json(block, str(kind))


def _responses(result: dict[str, Any]) -> Iterator[Part]:
    for item in dicts(result, "output"):
        kind = item.get("type")
        if kind == "message":
            for content in dicts(item, "content"):
                yield _responses_content(content)
        elif kind == "reasoning":
            shown = [*dicts(item, "summary"), *dicts(item, "content")]
            text = "\n\n".join(get_str(one, "text") or "" for one in shown)
            hidden = get_str(item, "encrypted_content")
            if text or not hidden:
                yield Part("thinking", text)
            if hidden:
                yield Part("note", f"encrypted reasoning, {size(len(hidden))}")
        elif kind in ("function_call", "mcp_call"):
            yield Part("tool", _arguments(item.get("arguments")), get_str(item, "name") or "?")
        elif kind == "custom_tool_call":
            yield Part("tool", get_str(item, "input") or "", get_str(item, "name") or "?")
        else:
            yield _json(item, str(kind))


def _responses_content(content: dict[str, Any]) -> Part:
    kind = content.get("type")
    if kind == "output_text":
        return Part("text", get_str(content, "text") or "")
    if kind == "refusal":
        return Part("refusal", get_str(content, "refusal") or "")
    return _json(content, str(kind))


def _chat(result: dict[str, Any]) -> Iterator[Part]:
    choices = list(dicts(result, "choices"))
    for choice in choices:
        if len(choices) > 1:
            yield Part("note", f"choice {choice.get('index', '?')}")
        message = get_dict(choice, "message")
        for field in ("reasoning_content", "reasoning"):
            if text := get_str(message, field):
                yield Part("thinking", text)
                break
        content = message.get("content")
        if isinstance(content, str) and content:
            yield Part("text", content)
        elif content:
            yield from (_chat_content(one) for one in get_list(message, "content"))
        if refusal := get_str(message, "refusal"):
            yield Part("refusal", refusal)
        for call in dicts(message, "tool_calls"):
            function = get_dict(call, "function") or get_dict(call, "custom")
            given = function.get("arguments", function.get("input"))
            yield Part("tool", _arguments(given), get_str(function, "name") or "?")
        for field in ("function_call", "audio", "images", "annotations"):
            if message.get(field):
                yield _json(message[field], field)


def _chat_content(value: Any) -> Part:
    text = get_str(value, "text")
    return Part("text", text) if text is not None else _json(value)


def _gemini(result: dict[str, Any]) -> Iterator[Part]:
    inner = get_dict(result, "response") or result
    candidates = list(dicts(inner, "candidates"))
    for at, candidate in enumerate(candidates):
        if len(candidates) > 1:
            yield Part("note", f"candidate {candidate.get('index', at)}")
        for part in dicts(get_dict(candidate, "content"), "parts"):
            call = as_dict(part.get("functionCall"))
            if call is not None:
                yield Part("tool", _arguments(call.get("args")), get_str(call, "name") or "?")
            elif "text" in part:
                kind = "thinking" if part.get("thought") is True else "text"
                yield Part(kind, get_str(part, "text") or "")
            else:
                yield _json(part)


def _realtime(result: dict[str, Any]) -> Iterator[Part]:
    for heard, field in (("heard", "input_transcript"), ("said", "output_transcript")):
        if text := get_str(result, field):
            yield Part("note", heard)
            yield Part("text", text)
    for item in dicts(result, "conversation"):
        kind = item.get("type")
        if kind == "message":
            yield Part("note", get_str(item, "role") or "?")
            for part in dicts(item, "content"):
                text = get_str(part, "transcript") or get_str(part, "text")
                if text is not None:
                    yield Part("text", text)
                elif (sound := part.get("audio_bytes")) or "audio" in str(part.get("type")):
                    length = f", {size(sound)}" if isinstance(sound, int) and sound else ""
                    yield Part("note", f"audio{length}, no transcript")
                else:
                    yield _json(part)
        elif kind in ("function_call", "mcp_call"):
            yield Part("tool", _arguments(item.get("arguments")), get_str(item, "name") or "?")
        else:
            yield _json(item, str(kind))


def _completions(result: dict[str, Any]) -> Iterator[Part]:
    for choice in dicts(result, "choices"):
        if text := get_str(choice, "text"):
            yield Part("text", text)


_READERS: dict[LlmProtocol, Callable[[dict[str, Any]], Iterator[Part]]] = {
    LlmProtocol.MESSAGES: _messages,
    LlmProtocol.RESPONSES: _responses,
    LlmProtocol.CHAT: _chat,
    LlmProtocol.GEMINI: _gemini,
    LlmProtocol.COMPLETIONS: _completions,
    LlmProtocol.REALTIME: _realtime,
}
"""Protocols whose answers are messages; the rest is JSON."""


def blocks(found: list[Part], secrets: tuple[str, ...] = ()) -> list[Block]:
    """The parts as blocks, a blank line between two."""
    made: list[Block] = []
    for part in found:
        if made:
            made.append(SpanBlock([Line("")]))
        made += _part_blocks(part, mask_all(part.text, secrets))
    return made


def _part_blocks(part: Part, text: str) -> list[Block]:
    if part.kind == "text":
        return [TextBlock(escape_lines(text), plain, words=True)]
    if part.kind == "thinking":
        label = _label("thinking", size(len(text.encode("utf-8", "replace"))) if text else "hidden")
        body = TextBlock(escape_lines(text), toned("thinking"), words=True, indent=4)
        return [label, body] if text else [label]
    if part.kind == "refusal":
        return [
            _label("refusal"),
            TextBlock(escape_lines(text), toned("error"), words=True, indent=4),
        ]
    if part.kind == "note":
        return [SpanBlock([_all(escape(text), "dim")])]
    if part.kind == "tool":
        name = f"⚙ {escape(part.label)}"
        if "\n" not in text and len(text) <= ARGUMENTS:
            shown = f"{name}  {escape(text)}"
            spans = (Span(0, len(name), "tool"), *_moved(highlight(escape(text)), len(name) + 2))
            return [SpanBlock([Line(shown, spans)], words=False, hang=2)]
        return [
            SpanBlock([_all(name, "tool")]),
            TextBlock(escape_lines(text), highlight, indent=4, hang=4),
        ]
    json = TextBlock(escape_lines(text), highlight, indent=4 if part.label else 2, hang=4)
    return [_label(part.label), json] if part.label else [json]


def _moved(spans: tuple[Span, ...], by: int) -> list[Span]:
    return [Span(span.start + by, span.end + by, span.tone) for span in spans]


def _all(text: str, tone: str) -> Line:
    return Line(text, (Span(0, len(text), tone),))


def _label(text: str, note: str = "") -> SpanBlock:
    text = escape(text)
    shown = f"{text}  {note}" if note else text
    return SpanBlock(
        [Line(shown, (Span(0, len(text), "label"), Span(len(text), len(shown), "faint")))]
    )


def stop_reason(protocol: LlmProtocol | None, result: dict[str, Any]) -> str:
    """Why the answer ended, in the protocol's word; nothing if it does not say."""
    if protocol is LlmProtocol.MESSAGES:
        return get_str(result, "stop_reason") or ""
    if protocol is LlmProtocol.RESPONSES:
        return get_str(get_dict(result, "incomplete_details"), "reason") or (
            get_str(result, "status") or ""
        )
    field, inside = ("choices", "finish_reason")
    if protocol is LlmProtocol.REALTIME:
        field, inside = ("responses", "status")
    if protocol is LlmProtocol.GEMINI:
        field, inside = ("candidates", "finishReason")
    found = [get_str(one, inside) or "" for one in dicts(result, field)]
    return ", ".join(dict.fromkeys(word for word in found if word))
