"""Folds a stream of Anthropic's legacy Text Completions into the completion.

Pure. Complete is a stream that gave a stop reason. Source: the reference of `/v1/complete`, with
`completion`, `ping` and `error` events.
"""

from typing import Any

from collectors.accumulate import Node, Text, freeze
from collectors.collector import Collector
from collectors.outcome import Outcome


class AnthropicCompletionsCollector(Collector):
    """Completion events in, the completion out."""

    def __init__(self) -> None:
        super().__init__()
        self._top = Node()
        self._text = Text()
        self._seen = False

    def _fold(self, name: str | None, data: dict[str, Any]) -> None:
        kind = data.get("type")
        if not isinstance(kind, str) or not kind:
            # Bedrock's events have no type.
            kind = "completion" if "completion" in data else name or ""
        if kind == "completion":
            self._seen = True
            self._completion(data)
        elif kind == "error" or (data.get("error") and kind != "ping"):
            self._fail(data.get("error") or {k: v for k, v in data.items() if k != "type"})
        elif kind != "ping":
            self._warnings.event(f"of unknown type {kind}")

    def _completion(self, data: dict[str, Any]) -> None:
        for key, value in data.items():
            if key == "completion":
                if isinstance(value, str):
                    self._text.add(value)
                elif value is not None:
                    self._warnings.note("a completion that is no string")
            elif key != "p" and (value is not None or key not in self._top):
                # `p` is Bedrock's padding.
                self._top[key] = value

    @property
    def terminal(self) -> bool:
        """A stop reason was given."""
        reason = self._top.get("stop_reason")
        return isinstance(reason, str) and reason != ""

    def outcome(self) -> Outcome:
        """The completion as far as it came. Never raises."""
        if not self._seen:
            return self._finish(None, True, (), "no completion in the stream")
        result: dict[str, Any] = {
            "type": "completion",
            **freeze(self._top),
            "completion": self._text.join(),
        }
        result.setdefault("stop_reason", None)
        return self._finish(result, not self.terminal or self.failed)
