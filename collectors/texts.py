"""What a reader sees of a request or an answer, as plain texts: prompts, tool calls, tool results.

Pure. What is searched, and what a turn brought. Bodies come decoded; a wrong shape is absence, never
an exception. Left out is what nobody reads: settings, tool definitions, signatures, encrypted
reasoning, files and pictures in base64.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Final

from collectors.json_view import (
    INVALID,
    as_dict,
    compact,
    dicts,
    get_dict,
    get_list,
    get_str,
    mend_text,
    parse,
    parse_bytes,
)
from collectors.protocol import LlmProtocol


@dataclass(frozen=True, slots=True)
class Text:
    """One text of a body."""

    role: str
    """system, user, assistant or tool, whatever the protocol calls them."""
    kind: str
    """text, thinking, refusal, tool_call, tool_result or other."""
    text: str
    """Valid Unicode, never empty; of a tool call its name and arguments, a line each."""
    new: bool = True
    """The turn brought it: it stands behind the last thing that the model had said."""


type _Entries = Iterable[tuple[bool, Iterable[Text]]]
"""Of each message or item in order: whether the model said it, and its texts."""


def request_texts(protocol: LlmProtocol | None, body: bytes) -> Iterator[Text]:
    """Every text of a request in its order, none if it is no request of a protocol known here.

    Of a WebSocket's messages, a line each, those of all.
    """
    read = _REQUESTS.get(protocol) if protocol is not None else None
    if read is None:
        return
    value = parse_bytes(body)
    lines = (
        [value] if value is not INVALID else map(parse, body.decode("utf-8", "replace").split("\n"))
    )
    for line in lines:
        data = as_dict(line)
        if data is not None:
            yield from _mended(read(data))


def new_texts(protocol: LlmProtocol | None, body: bytes) -> Iterator[Text]:
    """Of those what the turn brought: the last user turn with the results of its tools; of a
    conversation's first turn everything, the system prompt too."""
    return (text for text in request_texts(protocol, body) if text.new)


def answer_texts(protocol: LlmProtocol | None, result: dict[str, Any]) -> Iterator[Text]:
    """Every text of a final message, folded or sent whole; none if the protocol has no messages."""
    read = _ANSWERS.get(protocol) if protocol is not None else None
    if read is not None:
        yield from _mended(read(result))


def _mended(texts: Iterable[Text]) -> Iterator[Text]:
    for text in texts:
        if text.text:
            mended = mend_text(text.text)
            yield text if mended is text.text else replace(text, text=mended)


def _turn(
    system: Iterable[Text], entries: _Entries, *, first: bool | None = None
) -> Iterator[Text]:
    """System and messages with what is new marked. `first`: it is known whether all of it is new."""
    read = [(said, list(texts)) for said, texts in entries]
    end = len(read)
    # What stands at the end in the model's name is the client's: the answer is to go on from it.
    while end and read[end - 1][0]:
        end -= 1
    if end == 0:
        # Nothing but the model's words: nobody brought anything.
        end = len(read)
    begin = end
    while begin and not read[begin - 1][0]:
        begin -= 1
    all_new = begin == 0 if first is None else first
    for text in system:
        yield text if all_new else replace(text, new=False)
    for at, (_, texts) in enumerate(read):
        for text in texts:
            yield text if at >= begin else replace(text, new=False)


# -- values ---------------------------------------------------------------------------------------

_ENCODED: Final = frozenset(
    {"data", "file_data", "b64_json", "signature", "thoughtSignature", "thought_signature"}
    | {"encrypted_content", "encrypted_index", "encrypted_stdout"}
)
_NOTHING: Final[frozenset[str]] = frozenset()
_LABELS: Final = frozenset({"type", "id", "call_id", "tool_use_id", "cache_control"})


def _leaves(value: Any, without: frozenset[str] = _ENCODED | _LABELS) -> str:
    """The words and numbers of a JSON value, a line each, under their names."""
    lines: list[str] = []
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        name, item = stack.pop()
        if isinstance(item, dict):
            below = [(str(key), one) for key, one in item.items() if key not in without]
            stack.extend(reversed(below))
        elif isinstance(item, list):
            stack.extend((name, one) for one in reversed(item))
        elif isinstance(item, str):
            if item and not item.startswith("data:"):
                lines.append(f"{name}: {item}" if name else item)
        elif item is not None and not (isinstance(item, float) and not isfinite(item)):
            lines.append(f"{name}: {compact(item)}" if name else compact(item))
    return "\n".join(lines)


def _call(name: str | None, arguments: Any) -> Text:
    if isinstance(arguments, str):
        parsed = parse(arguments) if arguments.lstrip()[:1] in ("{", "[") else INVALID
        given = arguments if parsed is INVALID else _leaves(parsed, _NOTHING)
    else:
        # Arguments may be named like what is left out elsewhere: `data`, `id`.
        given = _leaves(arguments, _NOTHING)
    return Text("assistant", "tool_call", "\n".join(filter(None, (name, given))))


def _role(value: Any) -> str:
    role = get_str(value, "role") or "user"
    return _ROLES.get(role, "user")


_ROLES: Final = {
    "system": "system",
    "developer": "system",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}


# -- Messages -------------------------------------------------------------------------------------


def _messages_request(body: dict[str, Any]) -> Iterator[Text]:
    entries = [
        (message.get("role") == "assistant", _blocks(_role(message), message.get("content")))
        for message in dicts(body, "messages")
    ]
    return _turn(_blocks("system", body.get("system")), entries)


def _blocks(role: str, content: Any) -> Iterator[Text]:
    if isinstance(content, str):
        yield Text(role, "text", content)
        return
    for block in content if isinstance(content, list) else ():
        kind = get_str(block, "type") or ""
        if kind == "text":
            yield Text(role, "text", get_str(block, "text") or "")
        elif kind == "thinking":
            yield Text(role, "thinking", get_str(block, "thinking") or "")
        elif kind.endswith("tool_use"):
            yield _call(get_str(block, "name"), block.get("input"))
        elif kind.endswith("tool_result"):
            yield Text("tool", "tool_result", _result(block.get("content")))
        elif kind == "document":
            source = get_dict(block, "source")
            plain = get_str(source, "data") if source.get("type") == "text" else None
            yield Text(role, "other", "\n".join(filter(None, (_leaves(block), plain))))
        else:
            yield Text(role, "other", _leaves(block))


def _result(content: Any) -> str:
    """What a tool gave back: text, blocks, or any JSON."""
    if isinstance(content, list):
        return "\n".join(
            get_str(one, "text") or "" if get_str(one, "type") == "text" else _leaves(one)
            for one in content
        )
    return _leaves(content)


def _messages_answer(result: dict[str, Any]) -> Iterator[Text]:
    return _blocks("assistant", result.get("content"))


# -- Responses ------------------------------------------------------------------------------------


def _responses_request(body: dict[str, Any]) -> Iterator[Text]:
    given = body.get("input")
    if isinstance(given, str):
        entries = [(False, [Text("user", "text", given)])]
    else:
        entries = [(_is_models(item), list(_item(item))) for item in dicts(body, "input")]
    system = [Text("system", "text", get_str(body, "instructions") or "")]
    # The items before are at the server.
    first = False if get_str(body, "previous_response_id") else None
    return _turn(system, entries, first=first)


def _is_models(item: dict[str, Any]) -> bool:
    kind = get_str(item, "type") or "message"
    if kind == "message":
        return item.get("role") == "assistant"
    return kind == "reasoning" or kind.endswith("_call")


def _item(item: dict[str, Any]) -> Iterator[Text]:
    kind = get_str(item, "type") or "message"
    if kind == "message":
        role = _role(item)
        content = item.get("content")
        if isinstance(content, str):
            yield Text(role, "text", content)
        for one in dicts(item, "content"):
            yield _content(role, one)
    elif kind == "reasoning":
        for one in (*dicts(item, "summary"), *dicts(item, "content")):
            yield Text("assistant", "thinking", get_str(one, "text") or "")
    elif kind in ("function_call", "mcp_call"):
        yield _call(get_str(item, "name"), item.get("arguments"))
        if output := item.get("output"):
            yield Text("tool", "tool_result", _result(output))
    elif kind == "custom_tool_call":
        yield _call(get_str(item, "name"), item.get("input"))
    elif kind.endswith("_output"):
        yield Text("tool", "tool_result", _result(item.get("output")))
    elif kind.endswith("_call"):
        picture = kind == "image_generation_call"
        shown = {key: one for key, one in item.items() if not (picture and key == "result")}
        yield Text("assistant", "tool_call", _leaves(shown))
    else:
        yield Text("user", "other", _leaves(item))


def _content(role: str, content: dict[str, Any]) -> Text:
    if text := get_str(content, "refusal"):
        return Text(role, "refusal", text)
    text = get_str(content, "text") or get_str(content, "transcript")
    return Text(role, "text", text) if text else Text(role, "other", _leaves(content))


def _responses_answer(result: dict[str, Any]) -> Iterator[Text]:
    for item in dicts(result, "output"):
        yield from _item(item)


# -- Chat Completions -----------------------------------------------------------------------------


def _chat_request(body: dict[str, Any]) -> Iterator[Text]:
    messages = list(dicts(body, "messages"))
    return _turn((), [(each.get("role") == "assistant", _chat(each)) for each in messages])


def _chat(message: dict[str, Any]) -> Iterator[Text]:
    role = _role(message)
    kind = "tool_result" if role == "tool" else "text"
    for field in ("reasoning_content", "reasoning"):
        if text := get_str(message, field):
            yield Text(role, "thinking", text)
            break
    content = message.get("content")
    if isinstance(content, str):
        yield Text(role, kind, content)
    for one in get_list(message, "content"):
        shown = get_str(one, "text")
        refused = get_str(one, "refusal")
        if shown is not None:
            yield Text(role, kind, shown)
        elif refused is not None:
            yield Text(role, "refusal", refused)
        else:
            yield Text(role, "other", _leaves(one))
    if refusal := get_str(message, "refusal"):
        yield Text(role, "refusal", refusal)
    for call in (*dicts(message, "tool_calls"), {"function": message.get("function_call")}):
        function = get_dict(call, "function") or get_dict(call, "custom")
        if function:
            given = function.get("arguments", function.get("input"))
            yield _call(get_str(function, "name"), given)
    if heard := get_str(get_dict(message, "audio"), "transcript"):
        yield Text(role, "text", heard)


def _chat_answer(result: dict[str, Any]) -> Iterator[Text]:
    for choice in dicts(result, "choices"):
        yield from _chat({"role": "assistant"} | get_dict(choice, "message"))


def _completions_request(body: dict[str, Any]) -> Iterator[Text]:
    prompt = body.get("prompt")
    for one in prompt if isinstance(prompt, list) else [prompt]:
        if isinstance(one, str):
            yield Text("user", "text", one)


def _completions_answer(result: dict[str, Any]) -> Iterator[Text]:
    for choice in dicts(result, "choices"):
        yield Text("assistant", "text", get_str(choice, "text") or "")


# -- Gemini ---------------------------------------------------------------------------------------


def _gemini_request(body: dict[str, Any]) -> Iterator[Text]:
    # Code Assist wraps it.
    inner = get_dict(body, "request") or body
    system = get_dict(inner, "systemInstruction") or get_dict(inner, "system_instruction")
    single = as_dict(inner.get("contents"))
    contents = [single] if single is not None else list(dicts(inner, "contents"))
    return _turn(
        _parts("system", system),
        [(each.get("role") == "model", _parts(_role(each), each)) for each in contents],
    )


def _parts(role: str, content: dict[str, Any]) -> Iterator[Text]:
    for part in dicts(content, "parts"):
        call = _either(part, "functionCall", "function_call")
        answer = _either(part, "functionResponse", "function_response")
        text = get_str(part, "text")
        if call:
            yield _call(get_str(call, "name"), call.get("args"))
        elif answer:
            shown = (get_str(answer, "name") or "", _leaves(answer.get("response"), _ENCODED))
            yield Text("tool", "tool_result", "\n".join(shown))
        elif text is not None:
            yield Text(role, "thinking" if part.get("thought") is True else "text", text)
        else:
            yield Text(role, "other", _leaves(part))


def _either(value: dict[str, Any], one: str, other: str) -> dict[str, Any]:
    return get_dict(value, one) or get_dict(value, other)


def _gemini_answer(result: dict[str, Any]) -> Iterator[Text]:
    inner = get_dict(result, "response") or result
    for candidate in dicts(inner, "candidates"):
        yield from _parts("assistant", get_dict(candidate, "content"))


# -- Realtime -------------------------------------------------------------------------------------


def _realtime_answer(result: dict[str, Any]) -> Iterator[Text]:
    for role, field in (("user", "input_transcript"), ("assistant", "output_transcript")):
        yield Text(role, "text", get_str(result, field) or "")
    for item in dicts(result, "conversation"):
        yield from _item(item)


type _Read = Callable[[dict[str, Any]], Iterable[Text]]

_REQUESTS: Final[dict[LlmProtocol, _Read]] = {
    LlmProtocol.MESSAGES: _messages_request,
    LlmProtocol.RESPONSES: _responses_request,
    LlmProtocol.CHAT: _chat_request,
    LlmProtocol.COMPLETIONS: _completions_request,
    LlmProtocol.GEMINI: _gemini_request,
}
_ANSWERS: Final[dict[LlmProtocol, _Read]] = {
    LlmProtocol.MESSAGES: _messages_answer,
    LlmProtocol.RESPONSES: _responses_answer,
    LlmProtocol.CHAT: _chat_answer,
    LlmProtocol.COMPLETIONS: _completions_answer,
    LlmProtocol.GEMINI: _gemini_answer,
    LlmProtocol.REALTIME: _realtime_answer,
}
