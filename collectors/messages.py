"""Folds an Anthropic Messages stream into the message it would have been without streaming.

Pure. The events' own `type` decides, not the `event:` line. Complete is a stream whose
`message_stop` was seen. Source: the Messages streaming reference, and the recorded streams where
they differ from it.
"""

from collections.abc import Callable
from typing import Any

from collectors.accumulate import Items, Node, Text, freeze, grow, merge
from collectors.collector import Collector
from collectors.json_view import INVALID, as_index, compact, get_dict, one_line, parse
from collectors.outcome import Outcome

FRAGMENT = 120
"""Characters of an unfinished tool input that a warning shows; the block has all of them."""


class _Block:
    """One content block as it grows."""

    __slots__ = ("citations", "index", "input", "parsed", "start", "stopped", "texts")

    def __init__(self, index: int, start: dict[str, Any]) -> None:
        self.index = index
        self.start = start
        self.texts = Node()
        """Fields that come in deltas, by their name in the block."""
        self.input: Text | None = None
        self.citations: Items | None = None
        self.stopped = False
        self.parsed: Any = None
        """The input, once the block was stopped."""

    def takes(self, kind: str, field: str) -> bool:
        """Whether a delta for `field` belongs to this block."""
        return self.start.get("type") == kind or field in self.start


class MessagesCollector(Collector):
    """Messages events in, the message out."""

    def __init__(self) -> None:
        super().__init__()
        self._message: dict[str, Any] | None = None
        self._usage: dict[str, Any] = {}
        self._blocks: list[_Block] = []
        self._open: dict[int, _Block] = {}
        self._stopped = False

    def _fold(self, name: str | None, data: dict[str, Any]) -> None:
        kind = data.get("type")
        if kind == "content_block_delta":
            # Nearly all events of a stream.
            self._block_delta(data)
            return
        if not isinstance(kind, str):
            kind = name
        handler = _EVENTS.get(kind) if kind is not None else None
        if handler is not None:
            handler(self, data)
        elif "error" in data or name == "error":
            self._fail(data.get("error", data))
        else:
            self._warnings.event(f"of unknown type {kind}")

    def _started(self, kind: str) -> bool:
        """False, and the error noted, before the message has begun."""
        if self._message is None:
            self._fail(f"unexpected '{kind}' before message_start")
            return False
        return True

    def _message_start(self, data: dict[str, Any]) -> None:
        message = get_dict(data, "message")
        if not message:
            self._warnings.note("message_start without a message")
        if self._message is not None:
            self._warnings.note(
                "another message_start: the blocks of both are shown, the rest is of the last"
            )
            message = {**self._message, **message}
        self._message = dict(message)
        self._usage = merge(self._usage, get_dict(message, "usage"))
        self._open = {}
        self._stopped = False
        # Streams begin empty; a prefilled answer would stand here.
        content = get_dict(data, "message").get("content")
        for start in content if isinstance(content, list) else ():
            if isinstance(start, dict):
                block = _Block(-1, start)
                block.stopped = True
                self._blocks.append(block)

    def _block_start(self, data: dict[str, Any]) -> None:
        if not self._started("content_block_start"):
            return
        index = as_index(data.get("index"))
        if index is None:
            self._warnings.event("with an invalid index")
            return
        start = data.get("content_block")
        if not isinstance(start, dict):
            self._warnings.note("content_block_start without a block")
            start = {}
        if index in self._open:
            self._warnings.note(f"block {index} started twice, shown as two blocks")
        block = _Block(index, start)
        self._open[index] = block
        self._blocks.append(block)

    def _block_delta(self, data: dict[str, Any]) -> None:
        if self._message is None:
            self._started("content_block_delta")
            return
        index = data.get("index")
        block = self._open.get(index) if type(index) is int else None
        if block is None:
            if as_index(index) is None:
                self._warnings.event("with an invalid index")
            else:
                self._warnings.event("for a block that never started")
            return
        delta = data.get("delta")
        if not isinstance(delta, dict):
            self._warnings.event("without a delta")
            return
        kind = delta.get("type")
        known = _DELTAS.get(kind) if isinstance(kind, str) else None
        if known is None:
            self._warnings.event(f"with a delta of unknown type {kind}, folded by its fields")
            for key, piece in delta.items():
                if key != "type":
                    self._grow(block, key, piece)
            return
        field, block_type, target = known
        if not block.takes(block_type, target):
            self._warnings.event(f"with a {kind} for a {block.start.get('type')} block, ignored")
            return
        piece = delta.get(field)
        if isinstance(piece, str):
            if target == "input":
                if block.input is None:
                    block.input = Text()
                block.input.add(piece)
                block.stopped = False
            elif target == "signature":
                block.texts[target] = piece
            else:
                held = block.texts.get(target)
                if type(held) is Text:
                    held.pieces.append(piece)
                    held.size += len(piece)
                else:
                    self._grow(block, target, piece)
        elif target == "citations":
            if piece is not None:
                self._cite(block, piece)
        elif piece is not None:
            self._warnings.event(f"with a {kind} that is no text")
        if len(delta) > 2:
            for key, extra in delta.items():
                if key == "citations" and isinstance(extra, list):
                    for citation in extra:
                        self._cite(block, citation)
                elif key not in ("type", field, "citations") and extra is not None:
                    self._grow(block, key, extra)

    @staticmethod
    def _grow(block: _Block, key: str, piece: Any) -> None:
        """Continue a field of the block from what its start said."""
        if key not in block.texts and isinstance(piece, str):
            start = block.start.get(key)
            if isinstance(start, str) and start:
                block.texts[key] = Text(start)
        grow(block.texts, key, piece)

    @staticmethod
    def _cite(block: _Block, citation: Any) -> None:
        if block.citations is None:
            start = block.start.get("citations")
            block.citations = Items(start if isinstance(start, list) else ())
        block.citations.append(citation)

    def _block_stop(self, data: dict[str, Any]) -> None:
        if not self._started("content_block_stop"):
            return
        index = data.get("index")
        block = self._open.get(index) if type(index) is int else None
        if block is None:
            self._warnings.event("for a block that never started")
            return
        if not block.stopped:
            block.stopped = True
            if block.input:
                block.parsed = parse(block.input.join())

    def _message_delta(self, data: dict[str, Any]) -> None:
        if not self._started("message_delta") or self._message is None:
            return
        for source in (get_dict(data, "delta"), data):
            for key, value in source.items():
                if source is data and key in ("type", "delta", "usage"):
                    continue
                if value is not None or key not in self._message:
                    self._message[key] = value
        # Cumulative, but some servers repeat only part of it, or nulls.
        self._usage = merge(self._usage, get_dict(data, "usage"))

    def _message_stop(self, data: dict[str, Any]) -> None:
        if not self._started("message_stop") or self._message is None:
            return
        self._stopped = True
        for key, value in data.items():
            # Bedrock puts its invocation metrics here.
            if key != "type" and value is not None:
                self._message[key] = value

    def _error_event(self, data: dict[str, Any]) -> None:
        self._fail(data.get("error", {k: v for k, v in data.items() if k != "type"}))

    def _whole_message(self, data: dict[str, Any]) -> None:
        """A message that was not streamed after all."""
        self._message_start({"message": data})
        self._stopped = True

    def _ping(self, data: dict[str, Any]) -> None:
        """A keep-alive, allowed anywhere."""

    @property
    def terminal(self) -> bool:
        """message_stop was seen."""
        return self._stopped

    def outcome(self) -> Outcome:
        """The message as far as it came. Never raises."""
        if self._message is None:
            return self._finish(None, True, (), "no message_start in the stream")
        notes: list[str] = []
        result = dict(self._message)
        result["content"] = [self._content(block, notes) for block in self._blocks]
        if self._usage or "usage" in result:
            result["usage"] = self._usage
        if self._open and len(self._open) != max(self._open) + 1:
            notes.append("the indexes of the blocks have gaps, which are closed")
        if self._stopped and not all(block.stopped for block in self._blocks):
            notes.append("a block never stopped")
        return self._finish(result, not self._stopped or self._error is not None, tuple(notes))

    @staticmethod
    def _content(block: _Block, notes: list[str]) -> dict[str, Any]:
        content = dict(block.start)
        content.update(freeze(block.texts))
        if block.citations is not None:
            content["citations"] = list(block.citations)
        if not block.input:
            if block.input is not None:
                content.setdefault("input", {})
            return content
        raw = block.input.join()
        value = block.parsed
        if not block.stopped:
            # Only what ends like an object can be one; a live view asks often.
            value = parse(raw) if raw.rstrip().endswith(("}", "]")) else INVALID
        if value is INVALID:
            content["input"] = {}
            content["partial_json"] = raw
            name = content.get("name")
            notes.append(
                f"the input of {name if isinstance(name, str) else 'a tool'} is not whole JSON: "
                + one_line(raw, FRAGMENT)
            )
        else:
            content["input"] = value
            if not isinstance(value, dict):
                notes.append(f"a tool input is no object: {one_line(compact(value), FRAGMENT)}")
        return content


_DELTAS: dict[str, tuple[str, str, str]] = {
    # delta type: (its field, type of the blocks it is for, field of the block)
    "text_delta": ("text", "text", "text"),
    "thinking_delta": ("thinking", "thinking", "thinking"),
    "signature_delta": ("signature", "thinking", "signature"),
    "citations_delta": ("citation", "text", "citations"),
    # tool_use, server_tool_use, mcp_tool_use: whatever has an input.
    "input_json_delta": ("partial_json", "tool_use", "input"),
    "compaction_delta": ("content", "compaction", "content"),
}

_EVENTS: dict[str, Callable[[MessagesCollector, dict[str, Any]], None]] = {
    "message_start": MessagesCollector._message_start,
    "content_block_start": MessagesCollector._block_start,
    "content_block_delta": MessagesCollector._block_delta,
    "content_block_stop": MessagesCollector._block_stop,
    "message_delta": MessagesCollector._message_delta,
    "message_stop": MessagesCollector._message_stop,
    "message": MessagesCollector._whole_message,
    "error": MessagesCollector._error_event,
    "ping": MessagesCollector._ping,
}
