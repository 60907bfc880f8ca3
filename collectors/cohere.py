"""Folds a stream of Cohere's Chat, version 2, into the chat response.

Pure. Complete is a stream whose `message-end` came. Source: Cohere's "A Guide to Streaming
Responses" (v2) and the recorded streams.
"""

from collections.abc import Callable
from typing import Any

from collectors.accumulate import STABLE, Items, Node, freeze, grow, join
from collectors.collector import Collector
from collectors.json_view import as_index, get_dict
from collectors.outcome import Outcome

_FAILED = frozenset({"ERROR", "TIMEOUT"})
"""Finish reasons that say the answer is not whole."""


class CohereCollector(Collector):
    """Events of a v2 chat in, the response out."""

    def __init__(self) -> None:
        super().__init__()
        self._top = Node()
        self._message = Node()
        self._lists: dict[str, list[Node]] = {"content": [], "tool_calls": [], "citations": []}
        """In the order in which they started."""
        self._open: dict[tuple[str, int], Node] = {}
        """By index, the last that started there."""
        self._logprobs = Items()
        self._seen = False
        self._ended = False

    def _fold(self, name: str | None, data: dict[str, Any]) -> None:
        kind = data.get("type")
        if not isinstance(kind, str) or not kind:
            kind = name or ""
        handler = _EVENTS.get(kind)
        if handler is not None:
            self._seen = True
            handler(self, kind, data)
        elif kind == "error" or (not kind and (data.get("error") or "message" in data)):
            # What the API says in place of an answer is a `message` and an id.
            self._fail(data.get("error") or {k: v for k, v in data.items() if k != "type"})
        else:
            self._warnings.event(f"of unknown type {kind}" if kind else "without a type")

    def _start(self, _kind: str, data: dict[str, Any]) -> None:
        for key, value in data.items():
            if key not in ("type", "delta"):
                self._top[key] = value
        for key, value in get_dict(get_dict(data, "delta"), "message").items():
            if key in self._lists or key == "tool_plan":
                # Empty: what is in them is to come.
                if value:
                    self._warnings.note(f"message-start with {key}, not kept")
            else:
                self._message[key] = value

    def _begin(self, kind: str, data: dict[str, Any]) -> None:
        field, index = _FIELDS[kind.rpartition("-")[0]], as_index(data.get("index"))
        if index is None:
            self._warnings.event(f"of type {kind} with an invalid index")
            return
        if (field, index) in self._open:
            self._warnings.note(f"{field} {index} started twice, shown as two")
        self._grow(self._started(field, index), field, data)

    def _started(self, field: str, index: int) -> Node:
        node = self._open[field, index] = Node()
        self._lists[field].append(node)
        return node

    def _delta(self, kind: str, data: dict[str, Any]) -> None:
        field, index = _FIELDS[kind.rpartition("-")[0]], as_index(data.get("index"))
        if index is None:
            self._warnings.event(f"of type {kind} with an invalid index")
            return
        node = self._open.get((field, index))
        if node is None:
            self._warnings.event(f"of type {kind} for what never started")
            node = self._started(field, index)
        self._grow(node, field, data)

    def _grow(self, node: Node, field: str, data: dict[str, Any]) -> None:
        value = get_dict(get_dict(data, "delta"), "message").get(field)
        if type(value) is dict:
            _join_all(node, value)
        elif value is not None:
            self._warnings.event(f"whose {field} is no object")
        if data.get("logprobs") is not None:
            self._logprobs.append(data["logprobs"])

    def _plan(self, kind: str, data: dict[str, Any]) -> None:
        plan = get_dict(get_dict(data, "delta"), "message").get("tool_plan")
        if isinstance(plan, str):
            join(self._message, "tool_plan", plan)
        else:
            self._warnings.event(f"of type {kind} without its text")

    def _end(self, _kind: str, data: dict[str, Any]) -> None:
        self._ended = True
        for key, value in data.items():
            if key not in ("type", "delta") and value is not None:
                self._top[key] = value
        delta = get_dict(data, "delta")
        for key, value in delta.items():
            if key != "error" and (value is not None or key not in self._top):
                self._top[key] = value
        reason = delta.get("finish_reason")
        if delta.get("error"):
            self._fail(delta["error"])
        elif isinstance(reason, str) and reason in _FAILED:
            self._fail(f"finish_reason {reason}")

    def _debug(self, _kind: str, data: dict[str, Any]) -> None:
        """The prompt as the model had it."""
        self._top.update({key: value for key, value in data.items() if key != "type"})

    def _nothing(self, _kind: str, _data: dict[str, Any]) -> None:
        pass

    @property
    def terminal(self) -> bool:
        """`message-end` was seen."""
        return self._ended

    def outcome(self) -> Outcome:
        """The response as far as it came. Never raises."""
        if not self._seen:
            return self._finish(None, True, (), "no message in the stream")
        message: dict[str, Any] = {"role": "assistant", **freeze(self._message)}
        for field, found in self._lists.items():
            if found:
                message[field] = [freeze(node) for node in found]
        result: dict[str, Any] = {**freeze(self._top), "message": message}
        result.setdefault("finish_reason", None)
        if self._logprobs:
            result["logprobs"] = freeze(self._logprobs)
        return self._finish(result, not self._ended or self.failed)


def _join_all(node: Node, value: dict[str, Any]) -> None:
    """Append what are deltas by their shape, at every level."""
    for key, piece in value.items():
        if isinstance(piece, str) and key not in STABLE:
            join(node, key, piece)
        elif type(piece) is dict:
            held = node.get(key)
            if type(held) is not Node:
                held = node[key] = Node()
            _join_all(held, piece)
        else:
            grow(node, key, piece)


_FIELDS = {"content": "content", "tool-call": "tool_calls", "citation": "citations"}

_EVENTS: dict[str, Callable[[CohereCollector, str, dict[str, Any]], None]] = {
    "message-start": CohereCollector._start,
    "content-start": CohereCollector._begin,
    "content-delta": CohereCollector._delta,
    "content-end": CohereCollector._nothing,
    "tool-plan-delta": CohereCollector._plan,
    "tool-call-start": CohereCollector._begin,
    "tool-call-delta": CohereCollector._delta,
    "tool-call-end": CohereCollector._nothing,
    "citation-start": CohereCollector._begin,
    "citation-end": CohereCollector._nothing,
    "message-end": CohereCollector._end,
    "debug": CohereCollector._debug,
}
