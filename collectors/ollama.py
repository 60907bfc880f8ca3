"""Folds a stream of Ollama's `/api/chat` or `/api/generate` into the answer they give unstreamed.

Pure. Complete is a stream whose last object says `done`. Source: Ollama's API reference; an object
a line, each with a piece of the text and, the last, with the counts; an error is an object of its
own. Tool calls come whole.
"""

from typing import Any

from collectors.accumulate import Node, extend, freeze, grow, join
from collectors.collector import Collector
from collectors.outcome import Outcome

_DELTAS = frozenset({"response", "thinking"})
"""Of `/api/generate`, beside the model's name."""

_MESSAGE_DELTAS = frozenset({"content", "thinking"})

_LISTS = frozenset({"tool_calls", "logprobs", "images"})
"""Each object says more of them. Any other list, such as `context`, is said whole."""


class OllamaCollector(Collector):
    """Objects of either stream in, its answer out."""

    def __init__(self) -> None:
        super().__init__()
        self._top = Node()
        self._message = Node()
        self._seen = False

    def _fold(self, name: str | None, data: dict[str, Any]) -> None:
        error = data.get("error")
        if error or name == "error":
            self._fail(error or data)
            if not data.keys() & {"message", "response", "done"}:
                return
        if not data.keys() & {"message", "response", "done", "thinking"}:
            self._warnings.event("without a message or a response, only other fields kept")
        self._seen = True
        for key, value in data.items():
            if key == "message":
                self._say(value)
            elif key in _DELTAS and isinstance(value, str):
                join(self._top, key, value)
            elif key in _LISTS and isinstance(value, list):
                extend(self._top, key, value)
            elif key != "error" and (value not in ("", None) or key not in self._top):
                self._top[key] = value

    def _say(self, value: Any) -> None:
        if type(value) is not dict:
            if value is not None:
                self._warnings.event("whose message is no object")
            return
        for key, piece in value.items():
            if key in _MESSAGE_DELTAS and isinstance(piece, str):
                join(self._message, key, piece)
            elif key in _LISTS and isinstance(piece, list):
                extend(self._message, key, piece)
            elif key not in _LISTS and key not in _MESSAGE_DELTAS:
                grow(self._message, key, piece)

    @property
    def terminal(self) -> bool:
        """`done` was said."""
        return self._top.get("done") is True

    def outcome(self) -> Outcome:
        """The answer as far as it came. Never raises."""
        if not self._seen:
            return self._finish(None, True, (), "no answer in the stream")
        result: dict[str, Any] = freeze(self._top)
        if self._message:
            result["message"] = freeze(self._message)
        return self._finish(result, not self.terminal or self.failed)
