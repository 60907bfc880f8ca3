"""Folds an OpenAI Chat Completions stream, of whatever server, into a chat completion.

Pure. Complete is a stream whose `[DONE]` came and whose choices all have a finish reason. Servers
differ in what they add; unknown fields fold by their shape (collectors.accumulate.grow). Source:
the Chat Completions streaming reference, and the recorded streams of some twenty servers.
"""

from collections.abc import Callable
from typing import Any

from collectors.accumulate import Items, Node, Text, freeze, grow
from collectors.collector import Collector, Warnings
from collectors.json_view import as_index, get_str
from collectors.outcome import Outcome

_PADDING = frozenset({"obfuscation", "p"})
"""Random fill against traffic analysis; no part of the message."""

_FIRST = frozenset(
    {"id", "object", "created", "model", "system_fingerprint", "service_tier", "provider"}
)
"""Said with every chunk: the first that is not empty counts."""


class _Choice:
    """One choice as it grows."""

    __slots__ = (
        *("audio", "by_index", "calls", "content", "extra", "finish"),
        *("logprobs", "message", "parts", "whole"),
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
        self.calls: list[_Call] = []
        """In the order they began."""
        self.by_index: dict[int, _Call] = {}
        """Where a delta with that index goes."""
        self.audio: list[str] = []
        """Pieces of base64."""
        self.whole: dict[str, Any] | None = None
        """A whole `message`, from servers that do not send (only) deltas."""


class _Call:
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


class ChatCollector(Collector):
    """Chat completion chunks in, the completion out."""

    def __init__(self) -> None:
        super().__init__()
        self._top = Node()
        self._settled = set(_PADDING)
        """Fields of a chunk that need no second look."""
        self._usage: Any = None
        self._choices: dict[int, _Choice] = {}
        self._chunks = 0

    def _fold(self, name: str | None, data: dict[str, Any]) -> None:
        error = data.get("error")
        if error is None and name == "error" and "choices" not in data:
            # `error: {json}` lines and events named error may hold the error itself.
            error = data
        if error and "choices" not in data:
            self._fail(error)
            return
        self._chunks += 1
        settled = self._settled
        for key, value in data.items():
            if key in settled or value is None:
                continue
            if key == "choices":
                if type(value) is list:
                    for choice in value:
                        self._choice(choice)
            elif key in _FIRST:
                if value not in ("", 0):
                    self._top[key] = value
                    settled.add(key)
            elif key == "usage":
                if value or self._usage is None:
                    self._usage = value
            elif key != "error":
                self._extra(key, value)
        if "choices" not in data:
            self._warnings.event("without choices, only other fields kept")
        if error:
            self._fail(error)

    def _extra(self, key: str, value: Any) -> None:
        """An unknown field beside the choices: objects merge, of others the last counts."""
        held = self._top.get(key)
        if isinstance(held, dict) and isinstance(value, dict):
            self._top[key] = {**held, **value}
        elif value not in ("", []) or key not in self._top:
            self._top[key] = value

    def _choice(self, data: Any) -> None:
        if type(data) is not dict:
            self._warnings.note("a choice that is no object")
            return
        index = as_index(data.get("index", 0))
        if index is None:
            self._warnings.note("a choice with an invalid index")
            return
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice()
        for key, value in data.items():
            if key == "delta":
                if type(value) is dict:
                    self._delta(choice, value)
            elif key == "finish_reason":
                if isinstance(value, str) and value:
                    choice.finish = value
            elif key == "index":
                pass
            elif value is None:
                if key not in choice.extra:
                    choice.extra[key] = None
            elif key == "message":
                if type(value) is dict:
                    choice.whole = value
            elif key == "logprobs" and type(value) is dict:
                self._logprobs(choice, value)
            elif key == "text" or isinstance(value, (list, dict)):
                grow(choice.extra, key, value)
            else:
                choice.extra[key] = value

    @staticmethod
    def _logprobs(choice: _Choice, data: dict[str, Any]) -> None:
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

    def _delta(self, choice: _Choice, delta: dict[str, Any]) -> None:
        for key, value in delta.items():
            if value is None:
                # Said once as null stays visible as null.
                if key not in choice.message:
                    choice.message[key] = None
            elif key == "content":
                if type(value) is str:
                    if choice.parts is None:
                        choice.content.pieces.append(value)
                    else:
                        self._part(choice.parts, {"type": "text", "text": value})
                elif type(value) is list:
                    self._content_list(choice, value)
                else:
                    self._warnings.note("a content that is neither text nor a list")
            elif key in _PADDING:
                pass
            else:
                handler = _DELTAS.get(key)
                if handler is None:
                    grow(choice.message, key, value)
                else:
                    handler(choice, key, value, self._warnings)

    def _content_list(self, choice: _Choice, parts: list[Any]) -> None:
        if choice.parts is None:
            choice.parts = Items()
            text = choice.content.join()
            if text:
                self._part(choice.parts, {"type": "text", "text": text})
        for part in parts:
            if isinstance(part, str):
                part = {"type": "text", "text": part}
            if type(part) is dict:
                self._part(choice.parts, part)
            else:
                self._warnings.note("a part of the content that is no object")

    def _part(self, parts: Items, part: dict[str, Any]) -> None:
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
                        self._inner_part(held, inner)
                    else:
                        held.append(inner)
            elif value is not None or key not in last:
                last[key] = value

    @staticmethod
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

    @property
    def terminal(self) -> bool:
        """`[DONE]` was seen and every choice has its finish reason."""
        # A completion that was not streamed after all has no [DONE] to come.
        ended = self._done or self._top.get("object") == "chat.completion"
        choices = self._choices.values()
        return self._chunks > 0 and ended and all(choice.finish is not None for choice in choices)

    def outcome(self) -> Outcome:
        """The completion as far as it came. Never raises."""
        if not self._chunks:
            return self._finish(None, True, (), "no chunks in the stream")
        notes: list[str] = []
        result: dict[str, Any] = dict(self._top)
        if result.get("object") == "chat.completion.chunk":
            result["object"] = "chat.completion"
        choices = sorted(self._choices.items())
        result["choices"] = [self._result(index, choice, notes) for index, choice in choices]
        if self._usage is not None:
            result["usage"] = self._usage
        truncated = not self.terminal or self._error is not None
        return self._finish(result, truncated, tuple(notes))

    @staticmethod
    def _result(index: int, choice: _Choice, notes: list[str]) -> dict[str, Any]:
        message: dict[str, Any] = freeze(choice.message)
        text = choice.content.join()
        if choice.parts is not None:
            content: Any = freeze(choice.parts)
        else:
            content = text or None
        if choice.whole is not None and content is None and not choice.calls:
            # Only here: where there are deltas too, it repeats them.
            message = {**message, **choice.whole}
        else:
            role = {"role": message.pop("role")} if "role" in message else {}
            message = {**role, **message, "content": content}
        if choice.calls:
            calls = sorted(choice.calls, key=lambda call: call.index)
            message["tool_calls"] = [call.result() for call in calls]
            if any(call.id is None for call in calls):
                notes.append("a tool call without id")
        if choice.audio:
            audio = message.get("audio")
            # Each piece is base64 of its own: they join unless one but the last is padded.
            joined = not any(piece.endswith("=") for piece in choice.audio[:-1])
            message["audio"] = {
                **(audio if isinstance(audio, dict) else {}),
                "data": "".join(choice.audio) if joined else list(choice.audio),
            }
        result = {"index": index, "message": message, **freeze(choice.extra)}
        if choice.logprobs is not None:
            result["logprobs"] = freeze(choice.logprobs)
        result["finish_reason"] = choice.finish
        return result


def _joined(choice: _Choice, key: str, value: Any, _: Warnings) -> None:
    """Strings that always join, however alike they are."""
    held = choice.message.get(key)
    if type(value) is not str:
        grow(choice.message, key, value)
    elif type(held) is Text:
        held.add(value)
    else:
        choice.message[key] = Text(value)


def _first(choice: _Choice, key: str, value: Any, _: Warnings) -> None:
    if not choice.message.get(key):
        choice.message[key] = value


def _last(choice: _Choice, key: str, value: Any, _: Warnings) -> None:
    if value != "" or key not in choice.message:
        choice.message[key] = value


def _appended(choice: _Choice, key: str, value: Any, warnings: Warnings) -> None:
    held = choice.message.get(key)
    if type(value) is not list:
        warnings.note(f"{key} that is no list")
        return
    if type(held) is not Items:
        held = choice.message[key] = Items()
    held.extend(value)


def _audio(choice: _Choice, key: str, value: Any, _: Warnings) -> None:
    if type(value) is dict:
        data = value.get("data")
        if isinstance(data, str):
            if data:
                choice.audio.append(data)
            value = {name: item for name, item in value.items() if name != "data"}
    grow(choice.message, key, value)


def _reasoning_details(choice: _Choice, key: str, value: Any, warnings: Warnings) -> None:
    """OpenRouter: typed pieces; those of the same type and index are one."""
    held = choice.message.get(key)
    if type(value) is not list:
        warnings.note(f"{key} that is no list")
        return
    if type(held) is not Items:
        held = choice.message[key] = Items()
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


def _reasoning_items(choice: _Choice, key: str, value: Any, warnings: Warnings) -> None:
    """Whole items, said again as they change: by id, the last counts."""
    held = choice.message.get(key)
    if type(value) is not list:
        warnings.note(f"{key} that is no list")
        return
    if type(held) is not Items:
        held = choice.message[key] = Items()
    for item in value:
        name = get_str(item, "id")
        place = next(
            (i for i, old in enumerate(held) if name is not None and get_str(old, "id") == name),
            None,
        )
        if place is None:
            held.append(item)
        else:
            held[place] = item


def _add_name(held: str | None, name: str) -> str:
    """A name that may be continued, or said again; and again as far as it is known."""
    if held is None or name.startswith(held):
        return name
    return held + name


def _function_call(choice: _Choice, key: str, value: Any, warnings: Warnings) -> None:
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


def _tool_calls(choice: _Choice, key: str, value: Any, warnings: Warnings) -> None:
    if type(value) is not list:
        warnings.note(f"{key} that is no list")
        return
    for item in value:
        if type(item) is dict:
            _tool_call(choice, item, warnings)
        else:
            warnings.note("a tool call that is no object")


def _tool_call(choice: _Choice, item: dict[str, Any], warnings: Warnings) -> None:
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


def _find_call(
    choice: _Choice, item: dict[str, Any], name: str | None, warnings: Warnings
) -> _Call:
    """The call a delta belongs to: by index, else by id, else the last unless a new name comes."""
    said = get_str(item, "id")
    index = as_index(item.get("index"))
    call: _Call | None = None
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
            call = next((call for call in choice.calls if call.id == said), None)
        elif choice.calls and not (name and choice.calls[-1].name):
            call = choice.calls[-1]
        if call is not None:
            return call
        index = max(choice.by_index, default=-1) + 1
    call = _Call(index)
    choice.calls.append(call)
    choice.by_index[index] = call
    return call


_DELTAS: dict[str, Callable[[_Choice, str, Any, Warnings], None]] = {
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
