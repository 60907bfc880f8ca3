"""Folds the server's side of an OpenAI Realtime session into the conversation it was.

Pure. A session has no message of the API's own to fold to, so the shape is ours: the session as
last configured, its conversation item by item in the order of first sight, each response by its
envelope, and the tokens of all responses added up. Audio is not kept, only how much of it there was
(`audio_bytes`, decoded): an hour is 170 MB, and the events still have it. What the client said
shows in what the server made of it, the items and their transcripts.

No event ends a session. One is cut if a response was under way when it ended; its socket says the
rest. Most errors leave it open, yet the first one is the outcome's, as everywhere.
Source: the Realtime reference of server events, those of translation, and of the beta their older
names, which other servers still speak.
"""

from collections.abc import Callable
from typing import Any

from collectors.accumulate import Node, Text, freeze
from collectors.collector import Collector
from collectors.json_view import as_count, as_index, dicts, error_text, get_dict, get_str
from collectors.outcome import Outcome

_SILENT = ("input_audio_buffer.", "output_audio_buffer.", "rate_limits.", "mcp_list_tools.")
"""Events of these say nothing of what was said."""

_KEEP_ALIVE = frozenset({"ping", "keepalive", "session.ping"})

_STATUSES = frozenset({"in_progress", "completed", "failed"})


class _Item:
    """One item of the conversation as it grows."""

    __slots__ = ("content", "fields")

    def __init__(self) -> None:
        self.fields = Node()
        self.content: dict[int, Node] = {}

    def take(self, value: dict[str, Any]) -> None:
        """What an event says of the item as a whole: the last counts, and nothing empty erases."""
        for key, said in value.items():
            if key == "content" and isinstance(said, list):
                for index, part in enumerate(said):
                    if isinstance(part, dict):
                        self.part(index, part)
            elif said not in ("", None, []) or key not in self.fields:
                self.fields[key] = said

    def part(self, index: int, value: dict[str, Any]) -> None:
        """The same of a part of its content."""
        held = self.content.setdefault(index, Node())
        for key, said in value.items():
            if key == "audio" and isinstance(said, str):
                held["audio_bytes"] = _decoded(said) or held.get("audio_bytes", 0)
            elif said not in ("", None, []) or key not in held:
                held[key] = said

    def result(self) -> dict[str, Any]:
        """The item as far as it came."""
        result: dict[str, Any] = freeze(self.fields)
        if self.content:
            result["content"] = [freeze(self.content[index]) for index in sorted(self.content)]
        return result


class RealtimeCollector(Collector):
    """Server events of a Realtime session in, the session out."""

    def __init__(self) -> None:
        super().__init__()
        self._session: dict[str, Any] | None = None
        self._items: dict[str, _Item] = {}
        self._responses: dict[str, dict[str, Any]] = {}
        self._open: set[str] = set()
        """Responses that have begun and not ended."""
        self._cut = False
        """A response said of itself that it is not whole."""
        self._usage = Node()
        self._transcription_usage = Node()
        self._said = Node()
        """What a translation says, which is no item's."""
        self._errors = 0

    def _fold(self, name: str | None, data: dict[str, Any]) -> None:
        kind = data.get("type")
        if not isinstance(kind, str) or not kind:
            kind = name or ""
        rule = _TEXTS.get(kind)
        if rule is not None:
            # Nearly all events of a session, but for audio.
            self._text(rule, kind, data)
            return
        handler = _EVENTS.get(kind)
        if handler is not None:
            handler(self, kind, data)
        elif kind.startswith(_SILENT) or kind in _KEEP_ALIVE:
            pass
        elif kind == "error" or (data.get("error") and not kind):
            self._said_error(data.get("error") or {k: v for k, v in data.items() if k != "type"})
        elif not self._status(kind, data):
            self._warnings.event(f"of unknown type {kind}")

    def _said_error(self, error: Any) -> None:
        """The first is the session's; most leave it open, so there may be more."""
        self._errors += 1
        if self.failed:
            self._warnings.note(f"another error: {error_text(error)}")
        self._fail(error)

    # The session

    def _configured(self, kind: str, data: dict[str, Any]) -> None:
        session = data.get("session")
        if isinstance(session, dict):
            self._session = {**(self._session or {}), **session}
        else:
            self._warnings.note(f"{kind} without a session")

    def _conversation(self, _kind: str, data: dict[str, Any]) -> None:
        found = get_str(get_dict(data, "conversation"), "id")
        if found is not None:
            self._session = {**(self._session or {}), "conversation_id": found}

    # The conversation

    def _item(self, said: Any, *, announced: bool = False) -> _Item:
        """The item of that id, made up if it was never announced."""
        key = said if isinstance(said, str) else ""
        if not key:
            self._warnings.event("for an item without an id")
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _Item()
            if key and not announced:
                self._warnings.event("for an item that was never announced")
                item.fields["id"] = key
        return item

    def _item_event(self, _kind: str, data: dict[str, Any]) -> None:
        value = data.get("item")
        if not isinstance(value, dict):
            self._warnings.event("without an item")
            return
        item = self._item(value.get("id"), announced=True)
        item.take(value)
        response_id = get_str(data, "response_id")
        if response_id is not None:
            item.fields["response_id"] = response_id

    def _part_event(self, _kind: str, data: dict[str, Any]) -> None:
        part, index = data.get("part"), as_index(data.get("content_index", 0))
        if not isinstance(part, dict) or index is None:
            self._warnings.event("without a part")
            return
        self._of(data).part(index, part)

    def _of(self, data: dict[str, Any]) -> _Item:
        """The item an event of a response is about."""
        item = self._item(data.get("item_id"))
        response_id = get_str(data, "response_id")
        if response_id is not None:
            item.fields.setdefault("response_id", response_id)
        return item

    def _text(self, rule: "_Rule", kind: str, data: dict[str, Any]) -> None:
        part_type, field = rule
        delta = kind.endswith(".delta")
        piece = data.get("delta" if delta else field)
        if not isinstance(piece, str):
            self._warnings.event(f"of type {kind} without its text")
            return
        if not part_type:
            _say(
                self._said if kind.startswith("session.") else self._of(data).fields,
                field,
                piece,
                delta,
            )
            return
        index = as_index(data.get("content_index", 0))
        if index is None:
            self._warnings.event("with an invalid index of a part")
            return
        part = self._of(data).content.setdefault(index, Node({"type": part_type}))
        _say(part, field, piece, delta)
        if not delta and isinstance(data.get("usage"), dict):
            _add(self._transcription_usage, data["usage"])

    def _audio(self, kind: str, data: dict[str, Any]) -> None:
        piece, index = data.get("delta"), as_index(data.get("content_index", 0))
        if not isinstance(piece, str) or index is None:
            self._warnings.event(f"of type {kind} without its audio")
            return
        if kind.startswith("session."):
            node, key = self._said, "output_audio_bytes"
        else:
            part_type = "output_audio" if "output" in kind else "audio"
            node = self._of(data).content.setdefault(index, Node({"type": part_type}))
            key = "audio_bytes"
        node[key] = node.get(key, 0) + _decoded(piece)

    def _not_transcribed(self, _kind: str, data: dict[str, Any]) -> None:
        index = as_index(data.get("content_index", 0))
        if index is not None:
            part = self._item(data.get("item_id")).content.setdefault(index, Node())
            part["transcription_error"] = error_text(data.get("error"))

    def _truncated(self, _kind: str, data: dict[str, Any]) -> None:
        """Played only so far, so the server forgets the rest of the transcript."""
        index = as_index(data.get("content_index", 0))
        if index is not None:
            part = self._item(data.get("item_id")).content.setdefault(index, Node())
            part["truncated_at_ms"] = data.get("audio_end_ms")

    def _deleted(self, _kind: str, data: dict[str, Any]) -> None:
        self._item(data.get("item_id")).fields["deleted"] = True

    def _status(self, kind: str, data: dict[str, Any]) -> bool:
        """`response.<item type>.<status>`; False if it is not such."""
        head, _, status = kind.rpartition(".")
        if status not in _STATUSES or not head.startswith("response.") or "item_id" not in data:
            return False
        self._of(data).fields["status"] = status
        return True

    # Its responses

    def _response(self, kind: str, data: dict[str, Any]) -> None:
        response = data.get("response")
        if not isinstance(response, dict):
            self._warnings.note(f"{kind} without a response")
            return
        key = get_str(response, "id") or ""
        made = []
        for value in dicts(response, "output"):
            item = self._item(value.get("id"), announced=True)
            item.take(value)
            item.fields.setdefault("response_id", key)
            made.append(value.get("id"))
        held = self._responses.get(key, {})
        self._responses[key] = {**held, **response, "output": made or held.get("output", [])}
        if kind == "response.created":
            self._open.add(key)
            return
        self._open.discard(key)
        usage = response.get("usage")
        if isinstance(usage, dict):
            _add(self._usage, usage)
        status = response.get("status")
        details = get_dict(response, "status_details")
        if status == "failed":
            self._said_error(details.get("error") or "response.done with the status failed")
        elif status == "incomplete":
            self._cut = True

    @property
    def terminal(self) -> bool:
        """No response is under way."""
        return not self._open

    def outcome(self) -> Outcome:
        """The session as far as it came. Never raises."""
        if self._session is None and not (self._items or self._responses or self._said):
            return self._finish(None, True, (), "no session and no response in the messages")
        session = self._session or {}
        result: dict[str, Any] = {"object": "realtime.session", "session": session}
        for key in ("id", "model"):
            if key in session:
                result[key] = session[key]
        result.update(freeze(self._said))
        result["conversation"] = [item.result() for item in self._items.values()]
        result["responses"] = list(self._responses.values())
        for key, usage in (
            ("usage", self._usage),
            ("transcription_usage", self._transcription_usage),
        ):
            if usage:
                result[key] = freeze(usage)
        truncated = bool(self._open) or self._cut or self.failed
        notes = ("a response had not ended",) if self._open else ()
        return self._finish(result, truncated, notes)


def _say(node: Node, field: str, piece: str, delta: bool) -> None:
    """Append a delta, or set the text whole; an emptied one at the end erases nothing."""
    held = node.get(field)
    if not delta:
        if piece or not held:
            node[field] = Text(piece)
    elif type(held) is Text:
        held.add(piece)
    else:
        text = node[field] = Text(held if isinstance(held, str) else "")
        text.add(piece)


def _decoded(base64: str) -> int:
    """How many bytes base64 stands for."""
    return max(0, len(base64) * 3 // 4 - base64[-2:].count("="))


def _add(total: Node, usage: dict[str, Any]) -> None:
    """Add counts to counts, level by level; what is no count is left as it was first said."""
    for key, said in usage.items():
        if isinstance(said, dict):
            below = total.setdefault(key, Node())
            if type(below) is Node:
                _add(below, said)
            continue
        # Seconds of audio may be half ones.
        seconds = type(said) is float and 0 <= said < _MANY
        count = said if seconds else as_count(said)
        held = total.get(key, 0)
        if count is not None and type(held) in (int, float):
            total[key] = held + count
        elif key not in total:
            total[key] = said


_MANY = 1e12


type _Rule = tuple[str, str]

_RULES: dict[str, _Rule] = {
    # event without .delta/.done: (type of the part; "" for the item itself, field)
    "response.output_text": ("output_text", "text"),
    "response.output_audio_transcript": ("output_audio", "transcript"),
    "response.function_call_arguments": ("", "arguments"),
    "response.mcp_call_arguments": ("", "arguments"),
    "session.input_transcript": ("", "input_transcript"),
    "session.output_transcript": ("", "output_transcript"),
    # Of the beta.
    "response.text": ("text", "text"),
    "response.audio_transcript": ("audio", "transcript"),
}

_TEXTS: dict[str, _Rule] = {
    f"{event}.{end}": rule for event, rule in _RULES.items() for end in ("delta", "done")
} | {
    f"conversation.item.input_audio_transcription.{end}": ("input_audio", "transcript")
    for end in ("delta", "completed")
}

_EVENTS: dict[str, Callable[[RealtimeCollector, str, dict[str, Any]], None]] = {
    "session.created": RealtimeCollector._configured,
    "session.updated": RealtimeCollector._configured,
    "transcription_session.created": RealtimeCollector._configured,
    "transcription_session.updated": RealtimeCollector._configured,
    "conversation.created": RealtimeCollector._conversation,
    "conversation.item.created": RealtimeCollector._item_event,
    "conversation.item.added": RealtimeCollector._item_event,
    "conversation.item.done": RealtimeCollector._item_event,
    "conversation.item.retrieved": RealtimeCollector._item_event,
    "conversation.item.deleted": RealtimeCollector._deleted,
    "conversation.item.truncated": RealtimeCollector._truncated,
    "conversation.item.input_audio_transcription.failed": RealtimeCollector._not_transcribed,
    # Parts, with a speaker each, of what `completed` says whole.
    "conversation.item.input_audio_transcription.segment": lambda *_: None,
    "response.created": RealtimeCollector._response,
    "response.done": RealtimeCollector._response,
    "response.output_item.added": RealtimeCollector._item_event,
    "response.output_item.done": RealtimeCollector._item_event,
    "response.content_part.added": RealtimeCollector._part_event,
    "response.content_part.done": RealtimeCollector._part_event,
    "response.output_audio.delta": RealtimeCollector._audio,
    "response.audio.delta": RealtimeCollector._audio,
    "session.output_audio.delta": RealtimeCollector._audio,
    "response.output_audio.done": lambda *_: None,
    "response.audio.done": lambda *_: None,
    "session.closed": lambda *_: None,
}
