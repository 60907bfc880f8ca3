"""Folds OpenAI's streams of audio and images: transcriptions, speech, images as they are made.

Pure. What was said is kept, sound and pictures are counted: `audio_bytes`, `image_bytes`, as decoded
from base64. Source: the streaming references of Audio and Images. `completed` or `done` ends them;
of several images in one stream nothing says how many are to come.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from collectors.accumulate import Items, Node, Text, freeze, join
from collectors.collector import Collector
from collectors.json_view import as_count
from collectors.outcome import Outcome

_KEEP_ALIVE = frozenset({"ping", "keepalive"})


class _MediaCollector(Collector):
    """What both share: a table of events by their type."""

    nothing = "no events"

    def __init__(self) -> None:
        super().__init__()
        self._top = Node()
        self._seen = False
        self._ended = False

    def _fold(self, name: str | None, data: dict[str, Any]) -> None:
        kind = data.get("type")
        if not isinstance(kind, str) or not kind:
            kind = name or ""
        if self._take(kind, data):
            self._seen = True
        elif kind == "error" or (data.get("error") and not kind):
            self._fail(data.get("error") or {k: v for k, v in data.items() if k != "type"})
        elif kind not in _KEEP_ALIVE:
            self._warnings.event(f"of unknown type {kind}" if kind else "without a type")

    @abstractmethod
    def _take(self, kind: str, data: dict[str, Any]) -> bool:
        """Fold it, if it is one of the protocol's own."""

    def _keep(self, data: dict[str, Any], without: frozenset[str]) -> None:
        """What an event says beside its delta; the last counts, null never erases."""
        for key, value in data.items():
            if key not in without and (value is not None or key not in self._top):
                self._top[key] = value

    @property
    def terminal(self) -> bool:
        """The protocol's own end was seen."""
        return self._ended

    def outcome(self) -> Outcome:
        """The answer as far as it came. Never raises."""
        if not self._seen:
            return self._finish(None, True, (), self.nothing)
        return self._finish(self._result(), not self.terminal or self.failed)

    def _result(self) -> dict[str, Any]:
        found: dict[str, Any] = freeze(self._top)
        return found


class AudioCollector(_MediaCollector):
    """Events of a transcription or of speech in, the transcription or the size of the sound out."""

    nothing = "no transcript and no audio in the stream"

    def _take(self, kind: str, data: dict[str, Any]) -> bool:
        handler = AUDIO_EVENTS.get(kind)
        if handler is not None:
            handler(self, data)
        return handler is not None

    def _text_delta(self, data: dict[str, Any]) -> None:
        delta = data.get("delta")
        if isinstance(delta, str):
            join(self._top, "text", delta)
        else:
            self._warnings.event("of type transcript.text.delta without its text")
        if isinstance(data.get("logprobs"), list):
            self._list("logprobs").extend(data["logprobs"])
        # A segment_id says which of the segments it will be in.
        self._keep(data, _TAKEN)

    def _list(self, key: str) -> Items:
        held = self._top.get(key)
        if type(held) is not Items:
            held = self._top[key] = Items()
        return held

    def _segment(self, data: dict[str, Any]) -> None:
        segment = {key: value for key, value in data.items() if key != "type"}
        self._list("segments").append(segment)

    def _text_done(self, data: dict[str, Any]) -> None:
        self._ended = True
        text = data.get("text")
        if isinstance(text, str) and (text or not self._top.get("text")):
            self._top["text"] = Text(text)
        if isinstance(data.get("logprobs"), list) and data["logprobs"]:
            self._top["logprobs"] = data["logprobs"]
        self._keep(data, _TAKEN)

    def _audio_delta(self, data: dict[str, Any]) -> None:
        audio = data.get("audio")
        if isinstance(audio, str):
            self._top["audio_bytes"] = self._top.get("audio_bytes", 0) + decoded_size(audio)
        else:
            self._warnings.event("of type speech.audio.delta without its audio")
        self._keep(data, _TAKEN)

    def _audio_done(self, data: dict[str, Any]) -> None:
        self._ended = True
        self._keep(data, _TAKEN)


_TAKEN = frozenset(
    {"type", "delta", "text", "logprobs", "segment_id", "audio", "audio_bytes", "segments", "error"}
)

AUDIO_EVENTS: dict[str, Callable[[AudioCollector, dict[str, Any]], None]] = {
    "transcript.text.delta": AudioCollector._text_delta,
    "transcript.text.segment": AudioCollector._segment,
    "transcript.text.done": AudioCollector._text_done,
    "speech.audio.delta": AudioCollector._audio_delta,
    "speech.audio.done": AudioCollector._audio_done,
}


class ImagesCollector(_MediaCollector):
    """Events of an image being made in, what is said of the images out."""

    nothing = "no image in the stream"

    def __init__(self) -> None:
        super().__init__()
        self._images: list[dict[str, Any]] = []
        self._partial: dict[str, Any] | None = None
        """The last sketch, until the image itself comes."""

    def _take(self, kind: str, data: dict[str, Any]) -> bool:
        if kind not in IMAGE_EVENTS:
            return False
        image: dict[str, Any] = {}
        if isinstance(data.get("b64_json"), str):
            image["image_bytes"] = decoded_size(data["b64_json"])
        else:
            self._warnings.event(f"of type {kind} without its image")
        if kind.endswith(".completed"):
            self._ended = True
            self._partial = None
            self._images.append(image)
        else:
            index = as_count(data.get("partial_image_index"))
            self._partial = {**image, "partial_image_index": index}
        if "created_at" in data:
            self._top["created"] = data["created_at"]
        self._keep(data, _OF_AN_IMAGE)
        return True

    def _result(self) -> dict[str, Any]:
        partial = [self._partial] if self._partial is not None else []
        return {**freeze(self._top), "data": [*self._images, *partial]}

    @property
    def terminal(self) -> bool:
        """An image was completed, and no other begun."""
        return self._ended and self._partial is None


_OF_AN_IMAGE = frozenset(
    {"type", "b64_json", "created_at", "created", "partial_image_index", "data", "error"}
)

IMAGE_EVENTS = frozenset(
    f"{made}.{how}"
    for made in ("image_generation", "image_edit")
    for how in ("partial_image", "completed")
)


def decoded_size(base64: str) -> int:
    """How many bytes base64 stands for."""
    return max(0, len(base64) * 3 // 4 - base64[-2:].count("="))
