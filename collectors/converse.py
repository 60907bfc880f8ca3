"""Folds a stream of Amazon Bedrock's Converse into the response that Converse gives unstreamed.

Pure. Complete is a stream whose `messageStop` and `metadata` came: the latter is the last and has
the usage. An event's type is its name or, as Nova has it under InvokeModelWithResponseStream, the
one key of its data. Source: the ConverseStream reference of Amazon Bedrock Runtime.
"""

from collections.abc import Callable
from typing import Any

from collectors.accumulate import Node, extend, freeze, grow, join
from collectors.collector import Collector
from collectors.json_view import INVALID, as_dict, as_index, one_line, parse
from collectors.outcome import Outcome

_PADDING = "p"

_DELTA_FIELDS = frozenset({"text", "toolUse", "toolResult", "reasoningContent", "citation"})
"""What a delta may hold, beside what folds by its shape."""


class ConverseCollector(Collector):
    """Events of a converse stream in, the response out."""

    def __init__(self) -> None:
        super().__init__()
        self._message = Node()
        self._top = Node()
        self._blocks: dict[int, Node] = {}
        self._invoked = False
        """The types are keys of the data: Nova under InvokeModel, a block for each piece of text."""
        self._seen = False
        self._stopped = False
        self._ended = False

    def _fold(self, name: str | None, data: dict[str, Any]) -> None:
        handler = _EVENTS.get(name or "")
        if handler is not None:
            self._seen = True
            handler(self, data)
            return
        known = False
        for key, value in data.items():
            handler = _EVENTS.get(key)
            if handler is not None and isinstance(value, dict):
                known = self._seen = self._invoked = True
                handler(self, value)
            elif key.endswith("Exception") and isinstance(value, dict):
                known = True
                self._fail({"type": key, **value})
        if known:
            for key, value in data.items():
                if key.startswith("amazon-bedrock-"):
                    self._top[key] = value
        elif name == "error" or data.get("error") or data.keys() == {"message"}:
            self._fail(data.get("error") or data)
        else:
            what = name if name and name != "chunk" else next(iter(data), "")
            self._warnings.event(f"of unknown type {what}")

    def _start(self, data: dict[str, Any]) -> None:
        for key, value in data.items():
            if key != _PADDING:
                self._message[key] = value

    def _block(self, data: dict[str, Any]) -> Node | None:
        index = as_index(data.get("contentBlockIndex"))
        if index is None:
            self._warnings.event("with an invalid index of a block")
            return None
        return self._blocks.setdefault(index, Node())

    def _block_start(self, data: dict[str, Any]) -> None:
        block, start = self._block(data), as_dict(data.get("start"))
        if block is None:
            return
        for key, value in (start or {}).items():
            if isinstance(value, dict):
                # Deltas continue what is in it; what it says is said whole.
                block[key] = Node(value)
            else:
                grow(block, key, value)

    def _block_delta(self, data: dict[str, Any]) -> None:
        block, delta = self._block(data), as_dict(data.get("delta"))
        if block is None:
            return
        if delta is None:
            self._warnings.event("without a delta")
            return
        for key, piece in delta.items():
            if key == "text" and isinstance(piece, str):
                join(block, key, piece)
            elif key == "toolUse" and isinstance(piece, dict):
                self._tool_use(block, piece)
            elif key == "toolResult" and isinstance(piece, list):
                extend(_node(block, key), "content", piece)
            elif key == "reasoningContent" and isinstance(piece, dict):
                _reason(_node(block, key), piece)
            elif key == "citation" and isinstance(piece, dict):
                extend(block, "citations", [piece])
            elif key in _DELTA_FIELDS:
                self._warnings.event(f"with a delta whose {key} is of another kind")
            else:
                self._warnings.event(f"with a delta of unknown type {key}, folded by its fields")
                grow(block, key, piece)

    @staticmethod
    def _tool_use(block: Node, piece: dict[str, Any]) -> None:
        held = _node(block, "toolUse")
        for key, value in piece.items():
            if key == "input" and isinstance(value, str):
                join(held, key, value)
            else:
                grow(held, key, value)

    def _block_stop(self, data: dict[str, Any]) -> None:
        self._block(data)

    def _stop(self, data: dict[str, Any]) -> None:
        self._stopped = True
        self._take(data)

    def _metadata(self, data: dict[str, Any]) -> None:
        self._ended = True
        self._take(data)

    def _take(self, data: dict[str, Any]) -> None:
        for key, value in data.items():
            if key != _PADDING and (value is not None or key not in self._top):
                self._top[key] = value

    @property
    def terminal(self) -> bool:
        """`messageStop` and `metadata` were seen."""
        return self._stopped and self._ended

    def outcome(self) -> Outcome:
        """The response as far as it came. Never raises."""
        if not self._seen:
            return self._finish(None, True, (), "no message in the stream")
        notes: list[str] = []
        content: list[dict[str, Any]] = []
        for _, block in sorted(self._blocks.items()):
            made = _content(block, notes)
            if self._invoked and content and made.keys() == content[-1].keys() == {"text"}:
                content[-1]["text"].append(made["text"])
            elif self._invoked and made.keys() == {"text"}:
                content.append({"text": [made["text"]]})
            else:
                content.append(made)
        if self._invoked:
            content = [
                {"text": "".join(one["text"])} if one.keys() == {"text"} else one for one in content
            ]
        message = {"role": "assistant", **freeze(self._message), "content": content}
        result: dict[str, Any] = {"output": {"message": message}, "stopReason": None}
        result.update(freeze(self._top))
        return self._finish(result, not self.terminal or self.failed, tuple(notes))


def _node(block: Node, key: str) -> Node:
    held = block.get(key)
    if type(held) is not Node:
        held = block[key] = Node()
    return held


def _reason(held: Node, piece: dict[str, Any]) -> None:
    """Text and signature are those of `reasoningText`; a signature comes once, whole."""
    for key, value in piece.items():
        if key == "text" and isinstance(value, str):
            join(_node(held, "reasoningText"), key, value)
        elif key == "signature":
            grow(_node(held, "reasoningText"), key, value)
        else:
            grow(held, key, value)


def _content(block: Node, notes: list[str]) -> dict[str, Any]:
    """The block as it stands in a message."""
    made: dict[str, Any] = freeze(block)
    tool = made.get("toolUse")
    if isinstance(tool, dict) and not isinstance(tool.get("input"), dict):
        raw = tool.get("input") or "{}"
        value = parse(raw) if isinstance(raw, str) else INVALID
        if value is INVALID:
            notes.append(f"the input of a tool is not JSON: {one_line(str(raw), 200)}")
            value = {}
        made["toolUse"] = {**tool, "input": value}
    if "citations" in made:
        # Cited text is a kind of block of its own.
        inner = {"content": [{"text": made.pop("text", "")}], "citations": made.pop("citations")}
        made = {**made, "citationsContent": inner}
    return made


_EVENTS: dict[str, Callable[[ConverseCollector, dict[str, Any]], None]] = {
    "messageStart": ConverseCollector._start,
    "contentBlockStart": ConverseCollector._block_start,
    "contentBlockDelta": ConverseCollector._block_delta,
    "contentBlockStop": ConverseCollector._block_stop,
    "messageStop": ConverseCollector._stop,
    "metadata": ConverseCollector._metadata,
}
