"""What one choice of a chat completion grows by: each field of a delta, by one table.

Pure. Servers send the same thing in many ways: tool calls without index, ids with every piece,
content as text and then as a list. The rules stand at the fields they are for.
"""

from collections.abc import Callable
from typing import Any

from collectors.accumulate import Items, Node, Text, freeze, grow
from collectors.collector import Warnings
from collectors.json_view import as_index, get_str

PADDING = frozenset({"obfuscation", "p"})
"""Random fill against traffic analysis; no part of the message."""


class Choice:
    """One choice as it grows."""

    __slots__ = (
        *("audio", "by_id", "by_index", "calls", "content", "extra", "finish"),
        *("items", "logprobs", "message", "next_index", "parts", "whole"),
    )

    def __init__(self) -> None:
        self.message = Node()
        """Fields of the message, but for its content."""
        self.content = Text()
        self.parts: Items | None = None
        """The content where it came as a list of typed parts (Mistral's thinking)."""
        self.extra = Node()
        """Fields beside the message."""
        self.finish: str | None = None
        self.logprobs: Node | None = None
        self.calls: list[Call] = []
        """In the order they began."""
        self.by_index: dict[int, Call] = {}
        """Where a delta with that index goes."""
        self.by_id: dict[str, Call] = {}
        self.next_index = 0
        """Where a call without index goes: behind all others."""
        self.items: dict[str, int] = {}
        """Where the reasoning item with that id stands."""
        self.audio: list[str] = []
        """Pieces of base64."""
        self.whole: dict[str, Any] | None = None
        """A whole `message`, from servers that do not send (only) deltas."""

    def result(self, index: int, notes: list[str]) -> dict[str, Any]:
        """The choice in its non-streaming shape."""
        message: dict[str, Any] = freeze(self.message)
        text = self.content.join()
        if self.parts is not None:
            content: Any = freeze(self.parts)
        else:
            content = text or None
        if self.whole is not None and content is None and not self.calls:
            # Only here: where there are deltas too, it repeats them.
            message = {**message, **self.whole}
        else:
            role = {"role": message.pop("role")} if "role" in message else {}
            message = {**role, **message, "content": content}
        if self.calls:
            calls = sorted(self.calls, key=lambda call: call.index)
            message["tool_calls"] = [call.result() for call in calls]
            if any(call.id is None for call in calls):
                notes.append("a tool call without id")
        if self.audio:
            audio = message.get("audio")
            # Each piece is base64 of its own: they join unless one but the last is padded.
            joined = not any(piece.endswith("=") for piece in self.audio[:-1])
            message["audio"] = {
                **(audio if isinstance(audio, dict) else {}),
                "data": "".join(self.audio) if joined else list(self.audio),
            }
        result = {"index": index, "message": message, **freeze(self.extra)}
        if self.logprobs is not None:
            result["logprobs"] = freeze(self.logprobs)
        result["finish_reason"] = self.finish
        return result


class Call:
    """One tool call as it grows."""

    __slots__ = ("arguments", "body", "extra", "id", "index", "kind", "name")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id: str | None = None
        self.kind = "function"
        """Where name and text stand: `function` {name, arguments} or `custom` {name, input}."""
        self.name: str | None = None
        self.arguments: Any = Text()
        self.body = Node()
        """Other fields beside the name."""
        self.extra = Node()
        """Other fields of the call."""

    def result(self) -> dict[str, Any]:
        """The call in its non-streaming shape."""
        text = "input" if self.kind == "custom" else "arguments"
        return {
            "id": self.id,
            **freeze(self.extra),
            self.kind: {"name": self.name, text: freeze(self.arguments), **freeze(self.body)},
        }


def fold_delta(choice: Choice, delta: dict[str, Any], warnings: Warnings) -> None:
    """Take in what a delta says of each field of the message."""
    for key, value in delta.items():
        if value is None:
            # Said once as null stays visible as null.
            if key not in choice.message:
                choice.message[key] = None
        elif key == "content":
            # Nearly all deltas.
            if type(value) is str and choice.parts is None:
                choice.content.pieces.append(value)
            else:
                _content(choice, value, warnings)
        elif key not in PADDING:
            handler = DELTAS.get(key)
            if handler is None:
                grow(choice.message, key, value)
            else:
                handler(choice, key, value, warnings)


def _content(choice: Choice, value: Any, warnings: Warnings) -> None:
    """Content as a list of typed parts, or text after one."""
    if not isinstance(value, (str, list)):
        warnings.note("a content that is neither text nor a list")
        return
    if choice.parts is None:
        choice.parts = Items()
        text = choice.content.join()
        if text:
            _part(choice.parts, {"type": "text", "text": text})
    for part in value if isinstance(value, list) else (value,):
        if isinstance(part, str):
            _part(choice.parts, {"type": "text", "text": part})
        elif type(part) is dict:
            _part(choice.parts, part)
        else:
            warnings.note("a part of the content that is no object")


def fold_logprobs(choice: Choice, data: dict[str, Any]) -> None:
    """Lists of tokens extend."""
    if choice.logprobs is None:
        choice.logprobs = Node()
    for key, value in data.items():
        if type(value) is list:
            held = choice.logprobs.get(key)
            if type(held) is not Items:
                held = choice.logprobs[key] = Items()
            held.extend(value)
        elif value is not None or key not in choice.logprobs:
            choice.logprobs[key] = value


def _part(parts: Items, part: dict[str, Any]) -> None:
    """Continue the last part if this is of the same type, else begin one."""
    kind = part.get("type")
    if kind == "text" and part.get("text") == "":
        return
    last = parts[-1] if parts else None
    if type(last) is not Node or last.get("type") != kind or kind not in ("text", "thinking"):
        last = Node()
        parts.append(last)
    for key, value in part.items():
        if key == kind and isinstance(value, str):
            held = last.get(key)
            if type(held) is Text:
                held.add(value)
            else:
                last[key] = Text(value)
        elif key == kind and isinstance(value, list):
            # Mistral: thinking is itself a list of parts.
            held = last.get(key)
            if type(held) is not Items:
                held = last[key] = Items()
            for inner in value:
                if type(inner) is dict:
                    _inner_part(held, inner)
                else:
                    held.append(inner)
        elif value is not None or key not in last:
            last[key] = value


def _inner_part(parts: Items, part: dict[str, Any]) -> None:
    last = parts[-1] if parts else None
    text = part.get("text")
    if (
        type(last) is Node
        and isinstance(text, str)
        and part.get("type") == last.get("type")
        and type(last.get("text")) is Text
    ):
        last["text"].add(text)
        return
    node = Node(part)
    if isinstance(text, str):
        node["text"] = Text(text)
    parts.append(node)


def _joined(choice: Choice, key: str, value: Any, _: Warnings) -> None:
    """Strings that always join, however alike they are."""
    held = choice.message.get(key)
    if type(value) is not str:
        grow(choice.message, key, value)
    elif type(held) is Text:
        held.add(value)
    else:
        choice.message[key] = Text(value)


def _first(choice: Choice, key: str, value: Any, _: Warnings) -> None:
    if not choice.message.get(key):
        choice.message[key] = value


def _last(choice: Choice, key: str, value: Any, _: Warnings) -> None:
    if value != "" or key not in choice.message:
        choice.message[key] = value


def _appended(choice: Choice, key: str, value: Any, warnings: Warnings) -> None:
    held = _held_items(choice, key, value, warnings)
    if held is None:
        return
    held.extend(value)


def _audio(choice: Choice, key: str, value: Any, _: Warnings) -> None:
    if type(value) is dict:
        data = value.get("data")
        if isinstance(data, str):
            if data:
                choice.audio.append(data)
            value = {name: item for name, item in value.items() if name != "data"}
    grow(choice.message, key, value)


def _held_items(choice: Choice, key: str, value: Any, warnings: Warnings) -> Items | None:
    """The list a field grows in; None, with a warning, where what came is no list."""
    if type(value) is not list:
        warnings.note(f"{key} that is no list")
        return None
    held = choice.message.get(key)
    if type(held) is not Items:
        held = choice.message[key] = Items()
    return held


def _reasoning_details(choice: Choice, key: str, value: Any, warnings: Warnings) -> None:
    """OpenRouter: typed pieces; those of the same type and index are one."""
    held = _held_items(choice, key, value, warnings)
    if held is None:
        return
    for piece in value:
        last = held[-1] if held else None
        if (
            type(piece) is dict
            and type(last) is Node
            and last.get("type") == piece.get("type")
            and last.get("index") == piece.get("index")
            and (piece.get("id") in (None, "") or last.get("id") in (None, "", piece["id"]))
        ):
            node = last
        elif type(piece) is dict:
            node = Node()
            held.append(node)
        else:
            held.append(piece)
            continue
        for name, item in piece.items():
            before = node.get(name)
            if name in ("text", "summary", "data") and isinstance(item, str):
                if type(before) is Text:
                    before.add(item)
                else:
                    node[name] = Text(item)
            elif item is not None or name not in node:
                node[name] = item


def _reasoning_items(choice: Choice, key: str, value: Any, warnings: Warnings) -> None:
    """Whole items, said again as they change: by id, the last counts."""
    held = _held_items(choice, key, value, warnings)
    if held is None:
        return
    for item in value:
        name = get_str(item, "id")
        place = choice.items.get(name) if name is not None else None
        if place is not None:
            held[place] = item
            continue
        if name is not None:
            choice.items[name] = len(held)
        held.append(item)


def _add_name(held: str | None, name: str) -> str:
    """A name that may be continued, or said again; and again as far as it is known."""
    if held is None or name.startswith(held):
        return name
    return held + name


def _function_call(choice: Choice, key: str, value: Any, warnings: Warnings) -> None:
    """The call of before tool calls were."""
    if type(value) is not dict:
        warnings.note(f"{key} that is no object")
        return
    held = choice.message.get(key)
    if type(held) is not Node:
        held = choice.message[key] = Node()
    for name, item in value.items():
        if name == "name" and isinstance(item, str):
            held[name] = _add_name(held.get(name), item)
        elif name == "arguments" and isinstance(item, str):
            before = held.get(name)
            if type(before) is Text:
                before.add(item)
            else:
                held[name] = Text(item)
        else:
            grow(held, name, item)


def _tool_calls(choice: Choice, key: str, value: Any, warnings: Warnings) -> None:
    if type(value) is not list:
        warnings.note(f"{key} that is no list")
        return
    for item in value:
        if type(item) is dict:
            _tool_call(choice, item, warnings)
        else:
            warnings.note("a tool call that is no object")


def _tool_call(choice: Choice, item: dict[str, Any], warnings: Warnings) -> None:
    kind = "custom" if isinstance(item.get("custom"), dict) else "function"
    body = item.get(kind)
    if type(body) is not dict:
        body = {}
    call = _find_call(choice, item, get_str(body, "name"), warnings)
    if kind == "custom":
        call.kind = kind
    for name, part in item.items():
        if name == "id":
            if call.id is None and isinstance(part, str) and part:
                call.id = part
        elif name not in ("index", kind) or (name == kind and part is not body):
            grow(call.extra, name, part)
    for name, part in body.items():
        if name == "name" and isinstance(part, str):
            call.name = _add_name(call.name, part)
        elif name in ("arguments", "input") and part is not None:
            if isinstance(part, str) and type(call.arguments) is Text:
                call.arguments.add(part)
            elif isinstance(part, dict) and not call.arguments:
                # An object where text is the rule; kept as it came.
                call.arguments = part
            else:
                warnings.note("arguments of a tool call that do not join")
        elif part is not None:
            grow(call.body, name, part)


def _find_call(choice: Choice, item: dict[str, Any], name: str | None, warnings: Warnings) -> Call:
    """The call a delta belongs to: by index, else by id, else the last unless a new name comes."""
    said = get_str(item, "id")
    index = as_index(item.get("index"))
    call: Call | None = None
    if index is not None:
        call = choice.by_index.get(index)
        if call is not None and said and call.id and said != call.id and name:
            # Gemini's and other gateways give every call the index 0.
            warnings.note(f"tool calls that share the index {index}, told apart by their ids")
            call = None
        elif call is not None:
            return call
    else:
        if item.get("index") is not None:
            warnings.note("a tool call with an invalid index")
        if said:
            call = choice.by_id.get(said)
        elif choice.calls and not (name and choice.calls[-1].name):
            call = choice.calls[-1]
        if call is not None:
            return call
        index = choice.next_index
    call = Call(index)
    choice.calls.append(call)
    choice.by_index[index] = call
    choice.next_index = max(choice.next_index, index + 1)
    if said:
        choice.by_id.setdefault(said, call)
    return call


DELTAS: dict[str, Callable[[Choice, str, Any, Warnings], None]] = {
    "role": _first,
    "refusal": _joined,
    "reasoning": _joined,
    "reasoning_content": _joined,
    "reasoning_text": _joined,
    "reasoning_opaque": _last,
    "reasoning_items": _reasoning_items,
    "reasoning_details": _reasoning_details,
    "annotations": _appended,
    "audio": _audio,
    "function_call": _function_call,
    "tool_calls": _tool_calls,
}
"""Fields of a delta that are known; every other folds by its shape."""
