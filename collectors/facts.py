"""What the recording side needs to know of an exchange, cheaply, from bounded bytes.

Pure. It runs in a background thread of the proxy: what it reads is bounded (the sizes stand
below), no step holds the interpreter for milliseconds, and what it says agrees with the fold
wherever the bytes it looks at say it. Bodies come decoded.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, unquote

from collectors.aws_event_stream import first_message
from collectors.collector import Collector
from collectors.event import Event
from collectors.framing import EventReader
from collectors.json_ends import string_from_end, string_from_start
from collectors.json_view import (
    INVALID,
    as_count,
    as_dict,
    compact,
    error_text,
    get_dict,
    get_str,
    one_line,
    parse,
    parse_bytes,
)
from collectors.protocol import (
    AWS_EVENT_STREAM,
    EVENT_STREAM,
    SESSIONS,
    LlmProtocol,
    clean_path,
    media_type,
)
from collectors.registry import body_error, new_collector
from collectors.usage import NO_USAGE, Usage, usage_of
from collectors.websocket import message_type

WHOLE_BODY = 64 * 1024
"""Request bodies up to it are parsed: 0.3 ms. Larger ones are looked at from both ends."""

HEAD_SCAN = 16 * 1024
"""From the start of a large body: SDKs put the model first, curl users anywhere near it."""

TAIL_SCAN = 64 * 1024
"""From its end: some put it behind the messages, before a few settings and the tools."""

STREAM_HEAD = 32 * 1024
"""Of a stream's start: message_start and response.created echo tools and instructions."""

STREAM_TAIL = 256 * 1024
"""Of its end: response.completed repeats the whole output."""

WHOLE_STREAM = 64 * 1024
"""Streams up to it are folded: 2 to 3 ms of bytecode, which other threads may interrupt."""

DELTAS_LIMIT = 128 * 1024
"""Streams up to it are looked through for their text deltas: 0.2 ms, in one step."""

WHOLE_ANSWER = 256 * 1024
"""Non-streamed answers up to it are parsed: 1 to 2 ms."""

MODEL_LIMIT = 200
"""Characters of a model's name that are kept."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What an answer said of itself."""

    model: str | None = None
    usage: Usage = NO_USAGE
    terminal: bool = False
    """The protocol's own end was there: the answer is whole, whether or not it succeeded."""
    error: str | None = None
    """The first error, `type: message`, one line."""


# The request's model


_PATH_MODELS = (
    # Gemini and Vertex: models/NAME:verb, tunedModels/…, publishers/…/models/…; Vertex endpoints.
    re.compile(r"/(?:models|tunedModels|endpoints)/([^/:]+):[A-Za-z]+\Z"),
    # Azure: the deployment.
    re.compile(r"/deployments/([^/]+)/"),
    # Bedrock.
    re.compile(r"/model/([^/]+)/(?:invoke|converse)[a-z-]*\Z"),
)


def path_model(path: str) -> str | None:
    """The model that the path names, if paths of its kind do."""
    return _path_model(clean_path(path))


@lru_cache(maxsize=256)
def _path_model(path: str) -> str | None:
    # Without its query: a key in it is not to be remembered.
    for pattern in _PATH_MODELS:
        match = pattern.search(path)
        if match:
            return _model(unquote(match[1]))
    return None


def _session_model(path: str, protocol: LlmProtocol, first: bytes) -> str | None:
    """The model of a session: OpenAI's in the query (Azure: the deployment) or in the first
    message, a `session.update`; Gemini's there, a `setup`, as the last part of a resource's name."""
    query = parse_qs(path.partition("?")[2])
    for name in ("model", "deployment"):
        if name in query:
            return _model(query[name][0])
    opening = _SESSION.search(first[:HEAD_SCAN])
    if opening is None:
        return None
    start = opening.end() - 1
    if len(first) <= WHOLE_BODY:
        inner = "setup" if protocol is LlmProtocol.GEMINI_LIVE else "session"
        found = get_str(get_dict(parse_bytes(first), inner), "model")
    else:
        found = string_from_start(first[start : start + HEAD_SCAN], "model")
    return None if found is None else _model(found.rpartition("/")[2])


_SESSION = re.compile(rb'"(?:setup|session)"\s*:\s*\{')


def request_model(path: str, protocol: LlmProtocol | None, body: bytes) -> str | None:
    """The model a request asks for: the path's, else the top-level "model" of its body, else None.

    A "model" inside the messages is never taken for it, however large the body is.
    """
    if protocol in SESSIONS:
        return _session_model(path, protocol, body)
    model = path_model(path)
    if model is not None:
        return model
    if protocol in (LlmProtocol.IMAGES, LlmProtocol.AUDIO) and body.startswith(b"--"):
        return _multipart_model(body)
    return _top_string(body, "model")


def _model(value: str | None) -> str | None:
    return one_line(value, MODEL_LIMIT) or None if value is not None else None


_FORM_MODEL = re.compile(
    rb'name="?model"?[^\r\n]*\r?\n(?:[^\r\n]+\r?\n)*\r?\n([^\r\n]{1,200})\r?\n', re.IGNORECASE
)


def _multipart_model(body: bytes) -> str | None:
    """The form field of image edits and transcriptions; files between are not looked at."""
    for part in (body[:HEAD_SCAN], body[-HEAD_SCAN:]):
        match = _FORM_MODEL.search(part)
        if match:
            return _model(match[1].decode("utf-8", "replace"))
    return None


def _top_string(body: bytes, key: str) -> str | None:
    """The string under a top-level key of a JSON object."""
    if len(body) <= WHOLE_BODY:
        return _model(get_str(parse_bytes(body), key))
    found = string_from_start(body[:HEAD_SCAN], key)
    if found is None:
        found = string_from_end(body[-TAIL_SCAN:], key)
    return _model(found)


# Streams


def stream_facts(
    protocol: LlmProtocol | None,
    head: bytes,
    tail: bytes,
    whole: bool,
    content_type: str | None = None,
) -> Facts:
    """The facts of a decoded event stream, from its first and its last bytes.

    `whole`: head directly followed by tail is the entire stream (tail may be empty). Else at most
    STREAM_HEAD and STREAM_TAIL bytes are looked at, and what only the middle says is not known.
    """
    if whole:
        stream = _without_deltas(protocol, head + tail, content_type)
        if len(stream) <= WHOLE_STREAM or _may_hold_error(stream[STREAM_HEAD:-4096]):
            return _facts(protocol, list(_events(stream, content_type)))
        head, tail = stream, stream
    head = head[:STREAM_HEAD]
    tail = tail[-STREAM_TAIL:]
    return _window_facts(protocol, head, tail, content_type)


# One text fragment after the other, in the exact spelling of the APIs themselves: whatever is
# spelt otherwise stays and is folded. Quantifiers are possessive, so hostile bytes cost no more.
_STRING = rb'(?:"[^"\\\n]*+"|null)'
_DELTAS = {
    LlmProtocol.MESSAGES: re.compile(
        rb"(?<=\n\n)(?:(?:event: content_block_delta\n)?+"
        rb'data: \{"type":"content_block_delta",[^\n]*+\n\n)++'
    ),
    LlmProtocol.RESPONSES: re.compile(
        rb"(?<=\n\n)(?:(?:event: response\.[a-z_.]{1,60}\.delta\n)?+"
        rb'data: \{"type":"response\.[a-z_.]{1,60}\.delta",[^\n]*+\n\n)++'
    ),
    LlmProtocol.CHAT: re.compile(
        rb'(?<=\n\n)(?:data: \{(?:"(?:id|object|model|service_tier|system_fingerprint)":'
        + _STRING
        + rb',|"created":\d++,)*+"choices":\[\{"index":0,"delta":\{'
        rb'(?:"content":"(?:[^"\\\n]|\\.)*+")?+\},'
        rb'(?:"logprobs":null,)?+"finish_reason":null\}\]'
        rb'(?:,"usage":null|,"(?:obfuscation|service_tier|system_fingerprint)":'
        + _STRING
        + rb")*+\}\n\n)++"
    ),
}


def _without_deltas(protocol: LlmProtocol | None, stream: bytes, content_type: str | None) -> bytes:
    """The stream without the events that only add text: by far the most, and no fact is in them.

    One search at the speed of C instead of some ten microseconds an event. The first of them
    stays: that there was one is what a fold knows of them.
    """
    pattern = _DELTAS.get(protocol) if protocol is not None else None
    if pattern is None or media_type(content_type) not in ("", EVENT_STREAM):
        return stream
    if len(stream) > DELTAS_LIMIT or (first := pattern.search(stream)) is None:
        return stream
    kept = stream.index(b"\n\n", first.start())
    return stream[:kept] + pattern.sub(b"", stream[kept:])


_ERROR_MARKS = (b"\nerror:", b"\rerror:", b'"type":"error"', b'"type": "error"')
_ERROR_VALUE = re.compile(rb"\s*:\s*[^n\s]")


def _may_hold_error(data: bytes) -> bool:
    """Whether an event in these bytes may be an error; by plain searches, a regex would hold on."""
    if any(mark in data for mark in _ERROR_MARKS):
        return True
    at = data.find(b'"error"')
    while at >= 0:
        if _ERROR_VALUE.match(data, at + 7):
            return True
        at = data.find(b'"error"', at + 7)
    return False


def _events(data: bytes, content_type: str | None) -> Iterator[Event]:
    reader = EventReader(content_type)
    yield from reader.feed(0, data)
    yield from reader.close()


def _window_facts(
    protocol: LlmProtocol | None, head: bytes, tail: bytes, content_type: str | None
) -> Facts:
    """Facts of both ends, looking further back only while something is missing."""
    binary = media_type(content_type) == AWS_EVENT_STREAM
    opening = list(_events(head if binary else head[: _last_boundary(head)], content_type))
    begun = _facts(protocol, opening)
    facts = begun
    for size in (4096, 32768, STREAM_TAIL):
        window = tail[-size:]
        start = first_message(window) if binary else _first_boundary(window)
        if start is None and size < len(tail):
            continue
        if start is None:
            start = len(window)
        events = list(_events(window[start:], content_type))
        if size >= len(tail):
            # No more to come: what the cut event still shows counts too.
            events = [*_stand_in(protocol, window[:start]), *events]
        ended = _facts(protocol, [*_opener(protocol, opening), *events] if events else [])
        facts = _joined(protocol, begun, ended)
        if size >= len(tail) or (ended.terminal and ended.usage.output is not None):
            break
    return facts


def _joined(protocol: LlmProtocol | None, begun: Facts, ended: Facts) -> Facts:
    """What both ends say: the first model (Gemini, Responses: the last), the last usage, the first error."""
    first, last = begun, ended
    if protocol in (LlmProtocol.GEMINI, LlmProtocol.RESPONSES):
        first, last = ended, begun
    return Facts(
        model=first.model if first.model is not None else last.model,
        usage=ended.usage if ended.usage != NO_USAGE else begun.usage,
        terminal=begun.terminal or ended.terminal,
        error=begun.error if begun.error is not None else ended.error,
    )


def _opener(protocol: LlmProtocol | None, opening: list[Event]) -> list[Event]:
    """What events from the middle need before them: Messages' start, half of whose sum it is."""
    if protocol is not LlmProtocol.MESSAGES:
        return []
    starts = [event for event in opening if "message_start" in event.data]
    return starts or [Event(0, None, '{"type":"message_start","message":{"content":[]}}')]


_BOUNDARY = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n(?:,[\r\n]*)?(?=\{)")
"""Between events: a blank line; in JSON framings a line that begins with an object."""


def _first_boundary(data: bytes) -> int | None:
    match = _BOUNDARY.search(data)
    return match.end() if match else None


def _last_boundary(data: bytes) -> int:
    """Where the last whole event ends, else the end of the data."""
    end = max(data.rfind(b"\n\n"), data.rfind(b"\r\n\r\n"), data.rfind(b"\r\r"), data.rfind(b"\n{"))
    return (
        len(data)
        if end < 0
        else end
        + (4 if data[end : end + 2] == b"\r\n" else 2 if data[end + 1 : end + 2] != b"{" else 1)
    )


def _facts(protocol: LlmProtocol | None, events: Iterator[Event] | list[Event]) -> Facts:
    """What a fold of the events says."""
    collector: Collector | None = new_collector(protocol) if protocol is not None else None
    if collector is None:
        return _unfolded_facts(protocol, events)
    fed = False
    for event in events:
        collector.feed(event)
        fed = True
    if not fed:
        return Facts()
    outcome = collector.outcome()
    # An error of a fold that has no result may only say that there was nothing to fold.
    return Facts(
        model=result_model(outcome.result),
        usage=usage_of(protocol, outcome.result),
        terminal=collector.terminal,
        error=outcome.error if outcome.result is not None or collector.failed else None,
    )


def result_model(result: dict[str, Any] | None) -> str | None:
    """The model that answered."""
    for key in ("model", "modelVersion"):
        model = get_str(result, key)
        if model is not None:
            return _model(model)
    return None


def _unfolded_facts(protocol: LlmProtocol | None, events: Iterator[Event] | list[Event]) -> Facts:
    """Of protocols without a fold: the last usage, the first model and error. Whether a stream
    of theirs is whole is for the transport to say."""
    model: str | None = None
    error: str | None = None
    usage = NO_USAGE
    for event in events:
        data = as_dict(parse(event.data))
        if data is None:
            continue
        model = model or result_model(data)
        found = usage_of(protocol, data)
        if found != NO_USAGE:
            usage = found
        kind = get_str(data, "type") or event.name or ""
        if error is None and (data.get("error") or "error" in (kind, event.name)):
            error = error_text(data.get("error") or data)
    return Facts(model, usage, True, error)


# Sessions


_TOLD_BY = frozenset(
    {"session.created", "session.updated", "response.done", "error"}
    | {"conversation.item.input_audio_transcription.completed"}
)
"""The messages of a session that its facts are in; between them is audio."""


class SessionFacts:
    """The facts of a session, from every message of the server's: what it used is said piece by piece.

    One of thousands is parsed, the rest is looked at for its type.
    """

    def __init__(self, protocol: LlmProtocol) -> None:
        self._protocol = protocol
        self._collector = new_collector(protocol)

    def feed(self, message: bytes) -> None:
        """Let a message pass."""
        if self._collector is None or len(message) > WHOLE_ANSWER:
            return
        kind = message_type(message)
        if kind in _TOLD_BY:
            self._collector.feed(Event(0, kind, message.decode("utf-8", "replace")))

    def facts(self) -> Facts:
        """As far as it came. Whether it is whole is not for its messages to say."""
        if self._collector is None:
            return Facts()
        outcome = self._collector.outcome()
        return Facts(
            model=result_model(outcome.result),
            usage=usage_of(self._protocol, outcome.result),
            error=outcome.error if self._collector.failed else None,
        )


# Answers too large to parse


_USAGE_KEYS = ("usage", "usageMetadata")
_TRIES = 16


def _scan_usage(data: bytes) -> tuple[str, dict[str, Any]] | None:
    """The key and the usage object nearest to the end that counts anything.

    Inside a string the key's quotes would be escaped, so the plain bytes are a key.
    """
    for key in _USAGE_KEYS:
        quoted = f'"{key}"'.encode()
        end = len(data)
        for _ in range(_TRIES):
            end = data.rfind(quoted, 0, end)
            if end < 0:
                break
            value = _object_after(data, end + len(quoted))
            if value is not None and any(as_count(count) is not None for count in value.values()):
                return key, value
    return None


_DECODER = json.JSONDecoder(strict=False)


def _object_after(data: bytes, at: int) -> dict[str, Any] | None:
    """The object after a key's colon; a usage object is at most a few KB."""
    text = data[at : at + 8192].decode("utf-8", "replace").lstrip()
    if not text.startswith(":"):
        return None
    try:
        value, _ = _DECODER.raw_decode(text[1:].lstrip())
    except (ValueError, RecursionError):
        return None
    return as_dict(value)


_FINISH = re.compile(rb'"(finishReason|finish_reason)"\s*:\s*"([A-Za-z_]+)"')


def _stand_in(protocol: LlmProtocol | None, cut: bytes) -> list[Event]:
    """An event that says what can still be read of one whose beginning is not there."""
    found = _scan_usage(cut)
    finish = _FINISH.search(cut)
    data: dict[str, Any] = dict([found]) if found is not None else {}
    if protocol is LlmProtocol.RESPONSES:
        # Only a terminal event reports usage; it is the last, and larger than the window.
        data = {"type": "response.completed", "response": data} if data else {}
    elif protocol is LlmProtocol.IMAGES:
        # So too of images, each in one event.
        data = {"type": "image_generation.completed", **data} if data else {}
    elif protocol is LlmProtocol.MESSAGES:
        data = {"type": "message_delta", **data} if data else {}
    elif finish is not None:
        name, reason = (group.decode() for group in finish.groups())
        data["candidates" if name == "finishReason" else "choices"] = [{name: reason}]
    elif data and protocol in (LlmProtocol.CHAT, LlmProtocol.COMPLETIONS):
        data["choices"] = []
    return [Event(0, None, compact(data))] if data else []


def body_facts(protocol: LlmProtocol | None, body: bytes) -> Facts:
    """The facts of a decoded answer that was not streamed.

    Terminal is a JSON object that is whole and no error; of protocols that answer with other
    bytes (speech, images) nothing is known, and the transport decides.
    """
    folds = (
        protocol is not None
        and new_collector(protocol) is not None
        and protocol is not LlmProtocol.AUDIO
    )
    if len(body) > WHOLE_ANSWER:
        ends = body[-16:].rstrip().endswith((b"}", b"]"))
        model = _top_string(body, "modelVersion" if protocol is LlmProtocol.GEMINI else "model")
        found = _scan_usage(body[-STREAM_TAIL:]) or _scan_usage(body[:STREAM_HEAD])
        usage = usage_of(protocol, dict([found])) if found is not None else NO_USAGE
        return Facts(model, usage, ends or not folds, None)
    value = parse_bytes(body)
    data = as_dict(value[0] if isinstance(value, list) and value else value)
    if value is INVALID or data is None:
        return Facts(terminal=not folds)
    if isinstance(value, list) and protocol is LlmProtocol.GEMINI:
        return _facts(protocol, [Event(0, None, body.decode("utf-8", "replace"))])
    inner = get_dict(data, "response") if protocol is LlmProtocol.GEMINI else {}
    error = body_error(data)
    return Facts(
        model=result_model(inner or data),
        usage=usage_of(protocol, inner or data),
        terminal=error is None or error.startswith("blocked: "),
        error=error,
    )
