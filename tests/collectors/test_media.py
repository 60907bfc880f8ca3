"""OpenAI's streams of audio and images: what is said is kept, sound and pictures are counted."""

import base64
from typing import Any, get_args

import pytest
from openai.types import image_edit_stream_event, image_gen_stream_event
from openai.types.audio import transcription_stream_event

from collectors.facts import Facts, body_facts, request_model, stream_facts
from collectors.media import AUDIO_EVENTS, IMAGE_EVENTS, decoded_size
from collectors.protocol import EVENT_STREAM, LlmProtocol, sniff
from collectors.usage import NO_USAGE, Usage
from tests.collectors.folding import Row, events_of, folded, warned
from tests.collectors.streams import check_cut_at_every_event, check_every_split, sse

AU, IM = LlmProtocol.AUDIO, LlmProtocol.IMAGES


def coded(size: int) -> str:
    return base64.b64encode(b"\1" * size).decode()


USED = {"type": "tokens", "input_tokens": 17, "output_tokens": 10, "total_tokens": 27,
        "input_token_details": {"audio_tokens": 17}}  # fmt: skip


def heard(delta: str, **rest: Any) -> dict[str, Any]:
    return {"type": "transcript.text.delta", "delta": delta, **rest}


def segment(number: int, text: str) -> dict[str, Any]:
    return {"type": "transcript.text.segment", "id": f"seg_{number}", "speaker": "A", "start": 0.5,
            "end": 1.25, "text": text}  # fmt: skip


def heard_all(text: str, **rest: Any) -> dict[str, Any]:
    return {"type": "transcript.text.done", "text": text, "usage": USED, **rest}


def sound(size: int) -> dict[str, Any]:
    return {"type": "speech.audio.delta", "audio": coded(size)}


SPOKEN = {"type": "speech.audio.done", "usage": USED}
PROB = {"token": "a", "logprob": -0.5, "bytes": [97]}
TRANSCRIPT = [heard("Hé"), heard("llo"), heard_all("Héllo"), "[DONE]"]
SPEECH = [sound(100), sound(7), sound(1), SPOKEN]


def without(item: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key != "type"}


AUDIO_ROWS = [
    Row("a transcript", TRANSCRIPT, {"text": "Héllo", "usage": USED}),
    Row("whole at its end", [heard_all("Hello")], {"text": "Hello", "usage": USED}),
    Row("an empty end erases nothing", [heard("Hello"), heard_all("")], {"text": "Hello", "usage": USED}),
    Row("silence", [heard_all("")], {"text": "", "usage": USED}),
    Row("segments by speakers", [segment(0, "Hi."), segment(1, "Yes?"), heard_all("Hi. Yes?")],
        {"segments": [without(segment(0, "Hi.")), without(segment(1, "Yes?"))], "text": "Hi. Yes?", "usage": USED}),
    Row("deltas of segments", [heard("Hi.", segment_id="seg_0"), segment(0, "Hi."), heard_all("Hi.")],
        {"segments": [without(segment(0, "Hi."))], "text": "Hi.", "usage": USED}),
    Row("log probabilities", [heard("a", logprobs=[PROB]), heard("a", logprobs=[PROB]), heard_all("aa")],
        {"text": "aa", "logprobs": [PROB, PROB], "usage": USED}),
    Row("log probabilities again", [heard("a", logprobs=[PROB]), heard_all("a", logprobs=[PROB])],
        {"text": "a", "logprobs": [PROB], "usage": USED}),
    Row("languages", [heard_all("a", languages=[{"code": "en"}])],
        {"text": "a", "usage": USED, "languages": [{"code": "en"}]}),
    Row("a transcript, cut", TRANSCRIPT[:2], {"text": "Héllo"}, truncated=True),
    Row("speech", SPEECH, {"audio_bytes": 108, "usage": USED}),
    Row("speech, cut", SPEECH[:2], {"audio_bytes": 107}, truncated=True),
    Row("an error after some", [heard("a"), {"type": "error", "error": {"type": "t", "message": "m"}}], {"text": "a"},
        error="t: m", truncated=True),
    Row("an error after the end", [*SPEECH, {"error": {"type": "t", "message": "m"}}],
        {"audio_bytes": 108, "usage": USED}, error="t: m", truncated=True),
    Row("no text", [{"type": "transcript.text.delta"}, heard_all("a")], {"text": "a", "usage": USED},
        warning="without its text"),
    Row("no audio", [{"type": "speech.audio.delta"}, SPOKEN], {"usage": USED}, warning="without its audio"),
    Row("unknown", [{"type": "speech.hum"}, *SPEECH], {"audio_bytes": 108, "usage": USED},
        warning="of unknown type speech.hum"),
    Row("no type", [{"x": 1}, *SPEECH], {"audio_bytes": 108, "usage": USED}, warning="without a type"),
    Row("keep-alives", [{"type": "ping"}, *SPEECH], {"audio_bytes": 108, "usage": USED}),
    Row("nothing", [], None, error="no transcript and no audio in the stream", truncated=True),
]  # fmt: skip

OF_ALL = {"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"}
IMAGE_USED = {"input_tokens": 50, "output_tokens": 60, "total_tokens": 110,
              "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}}  # fmt: skip


def sketch(number: int, size: int = 10, made: str = "image_generation") -> dict[str, Any]:
    return {"type": f"{made}.partial_image", "b64_json": coded(size), "created_at": 7,
            "partial_image_index": number, **OF_ALL}  # fmt: skip


def image(size: int = 30, made: str = "image_generation") -> dict[str, Any]:
    return {"type": f"{made}.completed", "b64_json": coded(size), "created_at": 8,
            "usage": IMAGE_USED, **OF_ALL}  # fmt: skip


IMAGE = [sketch(0), sketch(1, 20), image()]
WHOLE = [{"image_bytes": 30}]

IMAGE_ROWS = [
    Row("sketches, then the image", IMAGE, WHOLE),
    Row("an image alone", [image(), "[DONE]"], WHOLE),
    Row("edited", [sketch(0, made="image_edit"), image(made="image_edit")], WHOLE),
    Row("two", [sketch(0), image(), sketch(0), image(31)], [*WHOLE, {"image_bytes": 31}]),
    Row("cut: the last sketch", IMAGE[:2], [{"image_bytes": 20, "partial_image_index": 1}], truncated=True),
    Row("the second one cut", [image(), sketch(0)], [*WHOLE, {"image_bytes": 10, "partial_image_index": 0}],
        truncated=True),
    Row("refused", [sketch(0), {"type": "error", "error": {"code": "moderation_blocked", "message": "m"}}],
        [{"image_bytes": 10, "partial_image_index": 0}], error="moderation_blocked: m", truncated=True),
    Row("an error alone", [{"error": {"type": "t", "message": "m"}}], None, error="t: m", truncated=True),
    Row("no image", [{"type": "image_generation.completed"}], [{}], warning="without its image"),
    Row("unknown", [{"type": "image_generation.hum"}, image()], WHOLE, warning="of unknown type image_generation.hum"),
    Row("nothing", [], None, error="no image in the stream", truncated=True),
]  # fmt: skip


@pytest.mark.check(97, 98, 99)
@pytest.mark.parametrize("row", AUDIO_ROWS, ids=str)
def test_audio(row: Row) -> None:
    outcome = folded(AU, row.events)
    assert (row.result, row.error, row.truncated) == (
        outcome.result,
        outcome.error,
        outcome.truncated,
    )
    assert warned(outcome, row.warning), outcome.warnings


@pytest.mark.check(97, 98, 99)
@pytest.mark.parametrize("row", IMAGE_ROWS, ids=str)
def test_images(row: Row) -> None:
    outcome = folded(IM, row.events)
    assert (row.error, row.truncated) == (outcome.error, outcome.truncated)
    assert row.result == (None if outcome.result is None else outcome.result["data"])
    assert warned(outcome, row.warning), outcome.warnings


def test_what_is_said_of_the_images() -> None:
    """As where they come unstreamed, but for the pictures, of which none is kept."""
    outcome = folded(IM, IMAGE)
    assert {"created": 8, **OF_ALL, "usage": IMAGE_USED, "data": WHOLE} == outcome.result


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 1000])
def test_sizes(size: int) -> None:
    assert size == decoded_size(coded(size))


def types_of(union: Any) -> set[str]:
    """What the members of an SDK's union call themselves."""
    members = get_args(get_args(union)[0])
    return {get_args(one.model_fields["type"].annotation)[0] for one in members}


@pytest.mark.check(97)
def test_every_event_type_of_the_sdk_folds_and_has_a_row() -> None:
    """A type that a new version of the SDK adds is named here. It has none for speech."""
    speech = {kind for kind in AUDIO_EVENTS if kind.startswith("speech.")}
    told = types_of(transcription_stream_event.TranscriptionStreamEvent)
    assert told == set(AUDIO_EVENTS) - speech
    drawn = types_of(image_gen_stream_event.ImageGenStreamEvent)
    assert drawn | types_of(image_edit_stream_event.ImageEditStreamEvent) == IMAGE_EVENTS
    rows = [*AUDIO_ROWS, *IMAGE_ROWS]
    seen = {item.get("type") for row in rows for item in row.events if isinstance(item, dict)}
    assert IMAGE_EVENTS | set(AUDIO_EVENTS) <= seen


@pytest.mark.check(97, 98)
@pytest.mark.parametrize(("protocol", "stream"), [(AU, TRANSCRIPT[:-1]), (AU, SPEECH), (IM, IMAGE)])
def test_cut_and_split(protocol: LlmProtocol, stream: list[Any]) -> None:
    check_cut_at_every_event(protocol, stream)
    check_every_split(protocol, sse(stream), EVENT_STREAM)


@pytest.mark.check(33)
@pytest.mark.parametrize(
    ("protocol", "stream", "facts"),
    [
        (AU, TRANSCRIPT, Facts(None, Usage(17, 10), True)),
        (AU, TRANSCRIPT[:2], Facts()),
        (AU, [*(sound(3000) for _ in range(100)), SPOKEN], Facts(None, Usage(17, 10), True)),
        (IM, IMAGE, Facts(None, Usage(50, 60), True)),
        (IM, IMAGE[:2], Facts()),
        # Larger than both windows, and so is the last event alone.
        (IM, [sketch(0, 10**6), image(10**6)], Facts(None, Usage(50, 60), True)),
        (IM, [sketch(0, 10**6), sketch(1, 10**6)], Facts()),
        (IM, [{"error": {"type": "t", "message": "m"}}], Facts(error="t: m")),
    ],
    ids=["transcript", "cut", "speech", "image", "sketches", "large", "large, cut", "error"],
)
def test_facts(protocol: LlmProtocol, stream: list[Any], facts: Facts) -> None:
    assert facts == stream_facts(protocol, sse(stream), b"", True, EVENT_STREAM)


def test_answers_in_other_bytes() -> None:
    """Of sound and subtitles nothing is known here: whether they are whole, the transport says."""
    for body in (b"\xff\xfbsound", b"\xff" * 300_000, b"1\n00:00:00,000 --> 00:00:01,000\nHi.\n"):
        assert Facts(None, NO_USAGE, True) == body_facts(AU, body)
    assert "t: m" == body_facts(AU, b'{"error":{"type":"t","message":"m"}}').error
    assert Facts() == body_facts(IM, b'{"created":1,"data":[{"b64_json":"AA')


def test_told_by_the_events() -> None:
    assert AU is sniff(events_of(TRANSCRIPT)) is sniff(events_of(SPEECH))
    assert IM is sniff(events_of(IMAGE))
    form = (
        b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\ngpt-4o-transcribe\r\n--x--\r\n'
    )
    assert "gpt-4o-transcribe" == request_model("/v1/audio/transcriptions", AU, form)
