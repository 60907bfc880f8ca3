"""Folds an OpenAI Responses stream into the response it would have been without streaming.

Pure. The terminal event carries the envelope, and the output too if it is not empty; recorded
streams of the Codex backend end with an empty one although items streamed, so items are folded
all the way. Items are known by output_index (their ids change between events at some servers).
Source: the Responses streaming reference, and the recorded streams.
"""

from collections.abc import Callable
from typing import Any

from collectors.accumulate import ByIndex, Items, Node, Text, freeze
from collectors.collector import Collector
from collectors.json_view import as_index, get_str, one_line
from collectors.outcome import Outcome

_TERMINAL = {
    # event: the status it should carry
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
    "response.done": None,
}

_ENVELOPE = frozenset({"response.created", "response.queued", "response.in_progress"})

_KEEP_ALIVE = frozenset({"ping", "keepalive", "response.keepalive", "response.heartbeat"})

_STATUSES = frozenset(
    {"in_progress", "searching", "completed", "generating", "interpreting", "failed"}
    | {"incomplete", "queued", "cancelled"}
)


class _Item:
    """One item of the output as it grows."""

    __slots__ = ("content", "done", "fields", "start", "summary")

    def __init__(self, start: dict[str, Any]) -> None:
        self.start = start
        self.done: dict[str, Any] | None = None
        """The item as output_item.done gave it; it counts before all that was folded."""
        self.content: dict[int, Node] = {}
        self.summary: dict[int, Node] = {}
        self.fields = Node()
        """Everything else that came in events of its own: arguments, input, code, status, …"""

    def result(self) -> dict[str, Any]:
        """The item as far as it came."""
        folded: dict[str, Any] = {**self.start, **freeze(self.fields)}
        for key, parts in (("content", self.content), ("summary", self.summary)):
            if parts:
                folded[key] = [freeze(parts[index]) for index in sorted(parts)]
        if self.done is None:
            return folded
        # Some servers finish an item without repeating what they streamed of it.
        missing = {
            key: folded[key]
            for key in (*self.fields, "content", "summary")
            if key not in _UNDONE and folded.get(key) and not self.done.get(key)
        }
        return {**self.done, **missing}


_UNDONE = frozenset({"status", "result", "partial_image_index"})
"""Fields that a finished item does not take from the fold."""


class ResponsesCollector(Collector):
    """Responses events in, the response out."""

    def __init__(self) -> None:
        super().__init__()
        self._envelope: dict[str, Any] | None = None
        self._terminal: dict[str, Any] | None = None
        self._success = False
        self._items: dict[int, _Item] = {}
        self._by_id: dict[str, int] = {}
        self._next_index = 0
        """Where an item without index goes: behind all others."""
        self._audio: Node | None = None
        self._sequence: int | None = None
        self._gaps = 0

    def _fold(self, name: str | None, data: dict[str, Any]) -> None:
        kind = data.get("type")
        if not isinstance(kind, str) or not kind:
            kind = name or ""
        sequence = data.get("sequence_number")
        if type(sequence) is int:
            if self._sequence is not None and sequence != self._sequence + 1:
                self._gaps += 1
            self._sequence = sequence
        rule = _TEXTS.get(kind)
        if rule is not None:
            # Nearly all events of a stream.
            self._text(rule, kind, data)
            return
        handler = _EVENTS.get(kind)
        if handler is not None:
            handler(self, kind, data)
        elif kind in _KEEP_ALIVE:
            pass
        elif data.get("object") in ("response", "response.compaction"):
            # Not streamed after all.
            self._end("", {"response": data})
        elif kind == "error" or (data.get("error") and not kind.startswith("response.")):
            self._error_event(kind, data)
        elif not self._status(kind, data):
            self._warnings.event(f"of unknown type {kind}")

    # The envelope

    def _begin(self, kind: str, data: dict[str, Any]) -> None:
        response = data.get("response")
        if not isinstance(response, dict):
            self._warnings.note(f"{kind} without a response")
            response = {}
        if kind == "response.created" and self._terminal is not None:
            self._warnings.note("another response.created: only the last response is shown")
            self._terminal = None
            self._success = False
            self._items = {}
            self._by_id = {}
            self._next_index = 0
            self._audio = None
        self._envelope = {**(self._envelope or {}), **response}

    def _end(self, kind: str, data: dict[str, Any]) -> None:
        response = data.get("response")
        if not isinstance(response, dict):
            self._warnings.note(f"{kind} without a response")
            response = dict(self._envelope or {})
        status = response.get("status")
        expected = _TERMINAL.get(kind)
        if expected is not None and status is None:
            response = {**response, "status": expected}
        elif expected is not None and status != expected:
            self._warnings.note(f"{kind} with the status {one_line(str(status), 40)}")
        # Copilot and others put fields of their own beside the response.
        beside = {k: v for k, v in data.items() if k not in _OF_THE_EVENT and k not in response}
        self._terminal = {**response, **beside}
        self._success = response.get("status") in ("completed", None)
        if expected is not None and expected != "completed":
            self._success = False
        error = response.get("error")
        if error:
            self._fail(error)
        elif kind == "response.failed":
            self._fail("response.failed without an error")

    def _error_event(self, _kind: str, data: dict[str, Any]) -> None:
        error = data.get("error")
        if not error:
            # Flat: code, message and param stand in the event itself.
            error = {k: v for k, v in data.items() if k not in _OF_THE_EVENT and v is not None}
        self._fail(error)

    # The items

    def _find(self, data: dict[str, Any], item_type: str) -> _Item | None:
        """The item an event belongs to, made up if it never was announced."""
        index = data.get("output_index")
        said = data.get("item_id")
        if type(index) is not int or index < 0:
            if index is not None:
                self._warnings.event("with an invalid output_index")
                return None
            known = self._by_id.get(said) if isinstance(said, str) else None
            if known is None and said is None and self._items:
                known = self._next_index - 1
            index = known if known is not None else self._next_index
        item = self._items.get(index)
        if item is None:
            self._warnings.event("for an item that was never announced")
            item = self._new_item(index, {"type": item_type})
            if isinstance(said, str):
                item.start["id"] = said
                self._by_id[said] = index
        return item

    def _new_item(self, index: int, start: dict[str, Any]) -> _Item:
        item = self._items[index] = _Item(start)
        self._next_index = max(self._next_index, index + 1)
        return item

    def _item_event(self, kind: str, data: dict[str, Any]) -> None:
        value = data.get("item")
        if not isinstance(value, dict):
            self._warnings.event("without an item")
            return
        said = get_str(value, "id")
        index = data.get("output_index")
        if type(index) is not int or index < 0:
            if index is not None:
                self._warnings.event("with an invalid output_index")
                return
            known = self._by_id.get(said) if said is not None else None
            index = known if known is not None else self._next_index
        if said is not None:
            self._by_id[said] = index
        item = self._items.get(index)
        if item is None:
            item = self._new_item(index, value)
        elif kind.endswith(".added"):
            item.start = {**item.start, **value}
        if kind.endswith(".done"):
            item.done = value

    def _parts(self, kind: str, data: dict[str, Any]) -> tuple[dict[int, Node], int] | None:
        summary = "summary" in kind
        item = self._find(data, "reasoning" if "reasoning" in kind else "message")
        index = as_index(data.get("summary_index" if summary else "content_index", 0))
        if item is None or index is None:
            self._warnings.event("with an invalid index of a part")
            return None
        return (item.summary if summary else item.content), index

    def _part_event(self, kind: str, data: dict[str, Any]) -> None:
        place = self._parts(kind, data)
        part = data.get("part")
        if place is None or not isinstance(part, dict):
            self._warnings.event("without a part")
            return
        parts, index = place
        held = parts.get(index)
        if held is None or kind.endswith(".added"):
            parts[index] = _node(part)
            return
        # Done: what it says counts, but an emptied text does not erase a streamed one.
        for key, value in part.items():
            if value not in ("", [], None) or key not in held:
                held[key] = Text(value) if key in _PART_TEXTS and isinstance(value, str) else value

    def _text(self, rule: "_Rule", kind: str, data: dict[str, Any]) -> None:
        place, part_type, field = rule
        delta = kind.endswith(".delta")
        piece = data.get("delta" if delta else field)
        if not isinstance(piece, str):
            self._warnings.event(f"of type {kind} without its text")
            return
        if place == "field":
            item = self._find(data, part_type)
            if item is not None:
                _say(item.fields, field, piece, delta, item.start.get(field))
            return
        found = self._parts(kind, data)
        if found is None:
            return
        parts, index = found
        node = parts.get(index)
        if node is None:
            node = parts[index] = Node({"type": part_type})
        elif node.get("type", part_type) != part_type:
            self._warnings.event(f"of type {kind} for a part of another type, ignored")
            return
        _say(node, field, piece, delta, None)
        logprobs = data.get("logprobs")
        if isinstance(logprobs, list) and logprobs:
            held = node.get("logprobs")
            if not delta or type(held) is not Items:
                held = node["logprobs"] = Items()
            held.extend(logprobs)

    def _annotation(self, kind: str, data: dict[str, Any]) -> None:
        found = self._parts(kind, data)
        annotation = data.get("annotation")
        if found is None or annotation is None:
            self._warnings.event("without an annotation")
            return
        parts, index = found
        node = parts.get(index)
        if node is None:
            node = parts[index] = Node({"type": "output_text"})
        held = node.get("annotations")
        if type(held) is not Items:
            held = node["annotations"] = Items(held if isinstance(held, list) else ())
        held.append(annotation)

    def _status(self, kind: str, data: dict[str, Any]) -> bool:
        """`response.<item type>.<status>`, for any type of item; False if it is not such."""
        _, _, rest = kind.partition("response.")
        item_type, _, status = rest.rpartition(".")
        if status not in _STATUSES or not item_type or "output_index" not in data:
            return False
        item = self._find(data, item_type)
        if item is not None:
            item.fields["status"] = status
        return True

    def _partial_image(self, _kind: str, data: dict[str, Any]) -> None:
        item = self._find(data, "image_generation_call")
        image = data.get("partial_image_b64")
        if item is None or not isinstance(image, str):
            self._warnings.event("without a partial image")
            return
        # The index beside it says that the image is not the final one.
        item.fields["result"] = image
        item.fields["partial_image_index"] = data.get("partial_image_index")

    def _patch_diff(self, kind: str, data: dict[str, Any]) -> None:
        item = self._find(data, "apply_patch_call")
        piece = data.get("delta", data.get("diff"))
        if item is not None and isinstance(piece, str):
            node = _below(item, "operation")
            _say(node, "diff", piece, kind.endswith(".delta"), node.get("diff"))

    def _shell_command(self, kind: str, data: dict[str, Any]) -> None:
        item = self._find(data, "shell_call")
        index = as_index(data.get("command_index", 0))
        piece = data.get("delta", data.get("command"))
        if item is None or index is None or not isinstance(piece, str):
            self._warnings.event("without a command")
            return
        action = _below(item, "action")
        commands = action.get("commands")
        if type(commands) is not ByIndex:
            commands = action["commands"] = ByIndex()
        held = commands.get(index)
        if type(held) is Text and kind.endswith(".delta"):
            held.add(piece)
        else:
            commands[index] = Text(piece)

    def _audio_event(self, kind: str, data: dict[str, Any]) -> None:
        if self._audio is None:
            self._audio = Node()
        piece = data.get("delta")
        if kind.endswith(".done") or not isinstance(piece, str):
            return
        if "transcript" in kind:
            _say(self._audio, "transcript", piece, True, None)
        else:
            # Each piece is base64 of its own: kept as a list.
            held = self._audio.get("data")
            if type(held) is not Items:
                held = self._audio["data"] = Items()
            held.append(piece)

    @property
    def terminal(self) -> bool:
        """completed, incomplete, failed or cancelled was seen."""
        return self._terminal is not None

    def outcome(self) -> Outcome:
        """The response as far as it came. Never raises."""
        envelope = self._terminal if self._terminal is not None else self._envelope
        if envelope is None:
            why = "no response.created and no terminal event in the stream"
            return self._finish(None, True, self._notes(), why)
        result = dict(envelope)
        output = result.get("output")
        if self._terminal is None or (not output and self._items):
            result["output"] = [self._items[index].result() for index in sorted(self._items)]
        if self._audio is not None:
            result.setdefault("audio", freeze(self._audio))
        truncated = not self._success or self._error is not None
        return self._finish(result, truncated, self._notes())

    def _notes(self) -> tuple[str, ...]:
        notes = []
        if self._items and len(self._items) != max(self._items) + 1:
            notes.append("the indexes of the output have gaps, which are closed")
        if self._gaps:
            notes.append(f"sequence_number jumped {self._gaps} time{'s' if self._gaps > 1 else ''}")
        return tuple(notes)


_OF_THE_EVENT = frozenset({"type", "event_id", "sequence_number", "response"})

_PART_TEXTS = frozenset({"text", "refusal"})


def _node(part: dict[str, Any]) -> Node:
    """A part that will grow."""
    node = Node(part)
    for key in _PART_TEXTS:
        if isinstance(node.get(key), str):
            node[key] = Text(node[key])
    return node


def _say(node: Node, field: str, piece: str, delta: bool, start: Any) -> None:
    """Append a delta to a field (that may have begun in the item), or set it whole."""
    held = node.get(field)
    if not delta:
        # An emptied text at the end does not erase a streamed one.
        if piece or not held:
            node[field] = Text(piece)
    elif type(held) is Text:
        held.pieces.append(piece)
        held.size += len(piece)
    else:
        text = node[field] = Text(start if isinstance(start, str) else "")
        text.add(piece)


def _below(item: _Item, key: str) -> Node:
    """An object inside an item that will grow."""
    node = item.fields.get(key)
    if type(node) is not Node:
        start = item.start.get(key)
        node = item.fields[key] = Node(start if isinstance(start, dict) else {})
    return node


type _Rule = tuple[str, str, str]

_RULES: dict[str, _Rule] = {
    # event without .delta/.done: (where, type of the part or of a missing item, field)
    "output_text": ("content", "output_text", "text"),
    "refusal": ("content", "refusal", "refusal"),
    "reasoning_text": ("content", "reasoning_text", "text"),
    "reasoning_summary_text": ("summary", "summary_text", "text"),
    "reasoning_summary": ("summary", "summary_text", "text"),
    "function_call_arguments": ("field", "function_call", "arguments"),
    "mcp_call_arguments": ("field", "mcp_call", "arguments"),
    "custom_tool_call_input": ("field", "custom_tool_call", "input"),
    "code_interpreter_call_code": ("field", "code_interpreter_call", "code"),
}

_TEXTS: dict[str, _Rule] = {
    f"response.{event}.{end}": rule for event, rule in _RULES.items() for end in ("delta", "done")
}

_EVENTS: dict[str, Callable[[ResponsesCollector, str, dict[str, Any]], None]] = {
    **dict.fromkeys(_ENVELOPE, ResponsesCollector._begin),
    **dict.fromkeys(_TERMINAL, ResponsesCollector._end),
    "error": ResponsesCollector._error_event,
    "response.output_item.added": ResponsesCollector._item_event,
    "response.output_item.done": ResponsesCollector._item_event,
    "response.content_part.added": ResponsesCollector._part_event,
    "response.content_part.done": ResponsesCollector._part_event,
    "response.reasoning_part.added": ResponsesCollector._part_event,
    "response.reasoning_part.done": ResponsesCollector._part_event,
    "response.reasoning_summary_part.added": ResponsesCollector._part_event,
    "response.reasoning_summary_part.done": ResponsesCollector._part_event,
    "response.output_text.annotation.added": ResponsesCollector._annotation,
    "response.image_generation_call.partial_image": ResponsesCollector._partial_image,
    "response.apply_patch_call_operation_diff.delta": ResponsesCollector._patch_diff,
    "response.apply_patch_call_operation_diff.done": ResponsesCollector._patch_diff,
    "response.shell_call_command.added": ResponsesCollector._shell_command,
    "response.shell_call_command.delta": ResponsesCollector._shell_command,
    "response.shell_call_command.done": ResponsesCollector._shell_command,
    "response.audio.delta": ResponsesCollector._audio_event,
    "response.audio.done": ResponsesCollector._audio_event,
    "response.audio.transcript.delta": ResponsesCollector._audio_event,
    "response.audio.transcript.done": ResponsesCollector._audio_event,
}
