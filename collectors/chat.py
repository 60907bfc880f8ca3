"""Folds an OpenAI Chat Completions stream, of whatever server, into a chat completion.

Pure. Complete is a stream whose `[DONE]` came and whose choices all have a finish reason. Servers
differ in what they add; unknown fields fold by their shape (collectors.accumulate.grow). Source:
the Chat Completions streaming reference, and the recorded streams of some twenty servers.
"""

from typing import Any

from collectors.accumulate import Node, freeze, grow
from collectors.chat_delta import PADDING, Choice, fold_delta, fold_logprobs
from collectors.collector import Collector
from collectors.json_view import as_index
from collectors.outcome import Outcome

_FIRST = frozenset(
    {"id", "object", "created", "model", "system_fingerprint", "service_tier", "provider"}
)
"""Said with every chunk: the first that is not empty counts."""


class ChatCollector(Collector):
    """Chat completion chunks in, the completion out."""

    def __init__(self) -> None:
        super().__init__()
        self._top = Node()
        self._settled = set(PADDING)
        """Fields of a chunk that need no second look."""
        self._usage: Any = None
        self._choices: dict[int, Choice] = {}
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
        if "choices" not in data and not str(data.get("object")).startswith("chat.completion"):
            # OpenAI sends chunks of padding alone while audio is made; those say nothing.
            self._warnings.event("without choices, only other fields kept")
        if error:
            self._fail(error)

    def _extra(self, key: str, value: Any) -> None:
        """An unknown field beside the choices: objects merge, of others the last counts."""
        held = self._top.get(key)
        if isinstance(held, dict) and isinstance(value, dict):
            if type(held) is not Node:
                held = self._top[key] = Node(held)
            held.update(value)
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
            choice = self._choices[index] = Choice()
        for key, value in data.items():
            if key == "delta":
                if type(value) is dict:
                    fold_delta(choice, value, self._warnings)
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
                fold_logprobs(choice, value)
            elif key == "text" or isinstance(value, (list, dict)):
                grow(choice.extra, key, value)
            else:
                choice.extra[key] = value

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
        result: dict[str, Any] = freeze(self._top)
        if result.get("object") == "chat.completion.chunk":
            result["object"] = "chat.completion"
        choices = sorted(self._choices.items())
        result["choices"] = [choice.result(index, notes) for index, choice in choices]
        if self._usage is not None:
            result["usage"] = self._usage
        truncated = not self.terminal or self._error is not None
        return self._finish(result, truncated, tuple(notes))
