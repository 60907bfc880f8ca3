"""Folds Gemini's stream of partial responses (AI Studio, Vertex, Code Assist) into one response.

Pure. There is no terminal event: complete is a stream whose candidates all have a finishReason.
Source: the generateContent reference, and the recorded streams.
"""

from typing import Any

from collectors.accumulate import Items, Node, Text, freeze
from collectors.collector import Collector
from collectors.json_path import set_path
from collectors.json_view import as_dict, as_index, get_str
from collectors.outcome import Outcome

_UNFINISHED = ("", "FINISH_REASON_UNSPECIFIED", 0)
"""What some servers send where there is no finishReason yet."""

_MERGED = frozenset({"citationMetadata"})
"""Fields whose arrays come in parts; of every other field of a candidate the last counts."""


class _Candidate:
    """One candidate as it grows."""

    __slots__ = ("call", "content", "fields", "finish", "parts")

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.content: dict[str, Any] | None = None
        self.parts = Items()
        self.finish: Any = None
        self.call: Node | None = None
        """A functionCall that will continue."""


class GeminiCollector(Collector):
    """Partial responses in, the whole response out."""

    def __init__(self) -> None:
        super().__init__()
        self._chunks = 0
        self._top: dict[str, Any] = {}
        self._candidates: dict[int, _Candidate] = {}

    def _fold(self, name: str | None, data: dict[str, Any]) -> None:
        inner = as_dict(data.get("response"))
        if inner is not None and "candidates" not in data:
            # Code Assist wraps each chunk; what stands beside it (traceId) is kept.
            data = {**{key: data[key] for key in data if key != "response"}, **inner}
        error = data.get("error")
        if error is None and name == "error":
            error = data
        if error:
            self._fail(error)
            if "candidates" not in data:
                return
        self._chunks += 1
        for key, value in data.items():
            if key == "candidates":
                if isinstance(value, list):
                    for candidate in value:
                        self._candidate(candidate)
                elif value is not None:
                    self._warnings.note("candidates that are no list")
            elif key != "error" and (value is not None or key not in self._top):
                self._top[key] = value

    def _candidate(self, data: Any) -> None:
        if not isinstance(data, dict):
            self._warnings.note("a candidate that is no object")
            return
        index = as_index(data.get("index", 0))
        if index is None:
            self._warnings.note("a candidate with an invalid index")
            return
        candidate = self._candidates.get(index)
        if candidate is None:
            candidate = self._candidates[index] = _Candidate()
        for key, value in data.items():
            if key == "content":
                if isinstance(value, dict):
                    self._content(candidate, value)
            elif key == "finishReason":
                if value is not None and value not in _UNFINISHED:
                    candidate.finish = value
            elif key in _MERGED and isinstance(value, dict):
                self._merged(candidate.fields, key, value)
            elif value is not None or key not in candidate.fields:
                candidate.fields[key] = value

    @staticmethod
    def _merged(fields: dict[str, Any], key: str, value: dict[str, Any]) -> None:
        """Objects whose arrays extend by what is new in them."""
        held = fields.get(key)
        if type(held) is not Node:
            held = fields[key] = Node()
        for name, item in value.items():
            before = held.get(name)
            if type(before) is Items and isinstance(item, list):
                # Looked for one by one, but not in lists that nobody writes.
                seen = before if len(before) < 1000 else []
                before.extend([part for part in item if part not in seen])
            elif isinstance(item, list):
                held[name] = Items(item)
            elif item is not None:
                held[name] = item

    def _content(self, candidate: _Candidate, content: dict[str, Any]) -> None:
        if candidate.content is None:
            candidate.content = {}
        for key, value in content.items():
            if key != "parts" and value is not None:
                candidate.content[key] = value
        parts = content.get("parts")
        if parts is None:
            return
        candidate.content.setdefault("parts", None)
        for part in parts if isinstance(parts, list) else (parts,):
            if isinstance(part, dict):
                self._part(candidate, part)
            else:
                self._warnings.note("a part that is no object")

    def _part(self, candidate: _Candidate, part: dict[str, Any]) -> None:
        call = part.get("functionCall")
        if isinstance(call, dict) and self._streamed_call(candidate, part, call):
            return
        text = part.get("text")
        parts = candidate.parts
        if isinstance(text, str) and part.keys() <= {"text", "thought"}:
            last = parts[-1] if parts else None
            thought = bool(part.get("thought"))
            if (
                type(last) is Node
                and type(last.get("text")) is Text
                and last.keys() <= {"text", "thought"}
                and bool(last.get("thought")) is thought
            ):
                last["text"].add(text)
                return
            if not text and parts:
                # Says nothing; the trailer of many streams.
                return
            node = Node(part)
            node["text"] = Text(text)
            parts.append(node)
            return
        parts.append(part)

    def _streamed_call(
        self, candidate: _Candidate, part: dict[str, Any], call: dict[str, Any]
    ) -> bool:
        """Take in a piece of a functionCall that streams; False if it is a whole one."""
        node = candidate.call
        more = call.get("willContinue") is True
        name = get_str(call, "name")
        said = get_str(call, "id")
        if node is not None and name is not None and (said is None or said != node.get("id")):
            # A new call though the last was to go on.
            self._warnings.note("a function call was to continue and did not")
            node = candidate.call = None
        if node is None:
            if not more and "partialArgs" not in call:
                return False
            node = Node()
            holder = Node(part)
            holder["functionCall"] = node
            candidate.parts.append(holder)
        else:
            holder = candidate.parts[-1] if candidate.parts else Node()
            if type(holder) is Node and holder.get("functionCall") is node:
                for key, value in part.items():
                    if key != "functionCall":
                        holder[key] = value
        for key, value in call.items():
            if key == "args" and isinstance(value, dict):
                for arg, item in value.items():
                    set_path(node, ("args", arg), item, join=False)
            elif key == "partialArgs":
                self._partial_args(node, value)
            elif key != "willContinue" and value is not None:
                node[key] = value
        candidate.call = node if more else None
        if not more:
            node.setdefault("args", Node())
        return True

    def _partial_args(self, node: Node, pieces: Any) -> None:
        for piece in pieces if isinstance(pieces, list) else ():
            path = get_str(piece, "jsonPath")
            value_key = next((key for key in piece if key in _VALUES), None) if path else None
            if path is None or value_key is None:
                self._warnings.note("a piece of an argument without path or value")
                continue
            value = None if value_key == "nullValue" else piece[value_key]
            if not set_path(node, path, value, join=value_key == "stringValue", root="args"):
                self._warnings.note(f"an argument's path that could not be followed: {path}")

    @property
    def terminal(self) -> bool:
        """Every candidate has its finishReason, or the prompt was blocked and there is none."""
        if self._candidates:
            return all(candidate.finish is not None for candidate in self._candidates.values())
        return self._blocked is not None

    @property
    def _blocked(self) -> str | None:
        return get_str(self._top.get("promptFeedback"), "blockReason")

    def outcome(self) -> Outcome:
        """The response as far as it came. Never raises."""
        if not self._chunks:
            return self._finish(None, True, (), "no chunks in the stream")
        notes: list[str] = []
        result = dict(self._top)
        candidates = sorted(self._candidates.items())
        if candidates:
            result = {"candidates": [self._result(item) for _, item in candidates], **result}
        if any(candidate.call is not None for _, candidate in candidates):
            notes.append("a function call is not whole")
        truncated = not self.terminal or self._error is not None
        error = (
            f"blocked: {self._blocked}" if self._blocked is not None and not candidates else None
        )
        return self._finish(result, truncated, tuple(notes), error)

    @staticmethod
    def _result(candidate: _Candidate) -> dict[str, Any]:
        result: dict[str, Any] = {}
        if candidate.content is not None:
            content = dict(candidate.content)
            if "parts" in content or candidate.parts:
                content["parts"] = freeze(candidate.parts)
            result["content"] = content
        if candidate.finish is not None:
            result["finishReason"] = candidate.finish
        result.update({key: freeze(value) for key, value in candidate.fields.items()})
        return result


_VALUES = frozenset({"stringValue", "numberValue", "boolValue", "nullValue"})
