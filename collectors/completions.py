"""Folds an OpenAI legacy completions stream, of whatever server, into a text completion.

Pure. Complete is a stream whose `[DONE]` came and whose choices all have a finish reason. Source:
the Completions streaming reference; what servers such as vLLM add folds by its shape
(collectors.accumulate.grow).
"""

from typing import Any

from collectors.accumulate import Node, Text, freeze, grow
from collectors.collector import Collector
from collectors.json_view import as_index
from collectors.outcome import Outcome

_PADDING = frozenset({"obfuscation", "p"})

_FIRST = frozenset(
    {"id", "object", "created", "model", "system_fingerprint", "service_tier", "provider"}
)
"""Said with every chunk: the first that is not empty counts."""


class CompletionsCollector(Collector):
    """Text completion chunks in, the completion out."""

    def __init__(self) -> None:
        super().__init__()
        self._top = Node()
        self._usage: Any = None
        self._choices: dict[int, Node] = {}
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
        for key, value in data.items():
            if value is None or key in _PADDING or key == "error":
                continue
            if key == "choices":
                if type(value) is list:
                    for choice in value:
                        self._choice(choice)
            elif key in _FIRST:
                if not self._top.get(key):
                    self._top[key] = value
            elif key == "usage":
                if value or self._usage is None:
                    self._usage = value
            elif value not in ("", [], {}) or key not in self._top:
                self._top[key] = value
        if "choices" not in data and data.get("object") != "text_completion":
            self._warnings.event("without choices, only other fields kept")
        if error:
            self._fail(error)

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
            choice = self._choices[index] = Node(text=Text())
        for key, value in data.items():
            if key == "text":
                # Not by `grow`: a piece that is all that came before is none the less a piece.
                if isinstance(value, str):
                    choice["text"].add(value)
                elif value is not None:
                    self._warnings.note("a choice whose text is no string")
            elif key != "index":
                grow(choice, key, value)

    @property
    def terminal(self) -> bool:
        """`[DONE]` was seen and every choice has its finish reason."""
        choices = self._choices.values()
        return self._chunks > 0 and self._done and all(map(_finished, choices))

    def outcome(self) -> Outcome:
        """The completion as far as it came. Never raises."""
        if not self._chunks:
            return self._finish(None, True, (), "no chunks in the stream")
        result: dict[str, Any] = freeze(self._top)
        result["choices"] = [
            {"index": index, "finish_reason": None, **freeze(choice)}
            for index, choice in sorted(self._choices.items())
        ]
        if self._usage is not None:
            result["usage"] = self._usage
        return self._finish(result, not self.terminal or self.failed)


def _finished(choice: Node) -> bool:
    return isinstance(choice.get("finish_reason"), str) and choice["finish_reason"] != ""
