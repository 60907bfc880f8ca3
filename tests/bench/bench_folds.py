"""Split, decode and fold per event, beside the official SDKs' accumulators. Prints, asserts nothing.

    python -m tests.bench.bench_folds

Over the recorded streams that the SDK's accumulator takes without raising; the same bytes, in one
run, the best of a few rounds. The SDKs' time is decoding with their own parsers and accumulating,
without network.
"""

import json
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from collectors.event import Event
from collectors.framing import EventReader
from collectors.protocol import LlmProtocol
from collectors.registry import new_collector
from collectors.sse import SseParser
from tests.collectors.corpus import ROOT, files

ROUNDS = 4


def ours(protocol: LlmProtocol) -> Callable[[bytes], int]:
    """Bytes to outcome, as the UI does it."""

    def run(data: bytes) -> int:
        reader = EventReader("text/event-stream")
        collector = new_collector(protocol)
        assert collector is not None
        count = 0
        for event in [*reader.feed(0, data), *reader.close()]:
            collector.feed(event)
            count += 1
        collector.outcome()
        return count

    return run


def _events(data: bytes, decoder: Any) -> Iterable[Any]:
    return [event for event in decoder.iter_bytes(iter([data])) if event.data != "[DONE]"]


def anthropic_sdk(data: bytes) -> int:
    """anthropic's SSEDecoder, event models and accumulate_event."""
    from anthropic._models import construct_type
    from anthropic._streaming import SSEDecoder
    from anthropic.lib.streaming._messages import accumulate_event
    from anthropic.types import RawMessageStreamEvent

    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    count = 0
    for event in _events(data, SSEDecoder()):
        count += 1
        value = json.loads(event.data)
        if value["type"] == "ping":
            continue
        typed: Any = construct_type(type_=RawMessageStreamEvent, value=value)
        snapshot = accumulate_event(event=typed, current_snapshot=snapshot, json_bufs=buffers)
    return count


def openai_chat_sdk(data: bytes) -> int:
    """openai's SSEDecoder, chunk model and ChatCompletionStreamState."""
    from openai._models import construct_type
    from openai._streaming import SSEDecoder
    from openai.lib.streaming.chat import ChatCompletionStreamState
    from openai.types.chat import ChatCompletionChunk

    state: Any = ChatCompletionStreamState()
    count = 0
    for event in _events(data, SSEDecoder()):
        count += 1
        typed: Any = construct_type(type_=ChatCompletionChunk, value=json.loads(event.data))
        state.handle_chunk(typed)
    return count


def openai_responses_sdk(data: bytes) -> int:
    """openai's SSEDecoder, event models and ResponseStreamState."""
    from openai import omit
    from openai._models import construct_type
    from openai._streaming import SSEDecoder
    from openai.lib.streaming.responses._responses import ResponseStreamState
    from openai.types.responses import ResponseStreamEvent

    state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
    count = 0
    for event in _events(data, SSEDecoder()):
        count += 1
        typed: Any = construct_type(type_=ResponseStreamEvent, value=json.loads(event.data))
        state.handle_event(typed)
    return count


SDKS: dict[LlmProtocol, Callable[[bytes], int] | None] = {
    LlmProtocol.MESSAGES: anthropic_sdk,
    LlmProtocol.RESPONSES: openai_responses_sdk,
    LlmProtocol.CHAT: openai_chat_sdk,
    LlmProtocol.GEMINI: None,
}


def per_event(runs: list[Callable[[bytes], int]], bodies: list[bytes]) -> list[float]:
    """Microseconds an event of each, the best round; in turns, so that noise falls on all."""
    best = [float("inf")] * len(runs)
    for _ in range(ROUNDS):
        for number, run in enumerate(runs):
            begin = time.process_time()
            count = sum(run(body) for body in bodies)
            taken = (time.process_time() - begin) / max(1, count) * 1e6
            best[number] = min(best[number], taken)
    return best


def main(argv: Sequence[str] = ()) -> None:
    """Print one line a protocol, then the live view's cost and the framing alone."""
    if not ROOT.is_dir():
        print(f"no recorded streams at {ROOT}")  # noqa: T201
        return
    # The SDKs' models complain of what they do not know; that is theirs, and costs them time.
    warnings.simplefilter("ignore")
    for protocol, sdk in SDKS.items():
        bodies = [path.read_bytes() for path in files(protocol.value) if path.suffix == ".sse"]
        refused = 0
        if sdk is not None:
            accepted = []
            for body in bodies:
                try:
                    sdk(body)
                    accepted.append(body)
                except Exception:  # whatever it raises, it does not take this stream
                    refused += 1
            bodies = accepted
        mine, *theirs = per_event([ours(protocol), *([sdk] if sdk is not None else [])], bodies)
        line = f"{protocol:10} {len(bodies):4} streams  ours {mine:6.1f} µs/event"
        if theirs:
            line += f"  SDK {theirs[0]:7.1f} µs/event  ratio {theirs[0] / mine:5.1f}"
            line += f"  (SDK raised on {refused})"
        print(line)  # noqa: T201

    data = b"".join(path.read_bytes() for path in files("chat"))

    def framing(body: bytes) -> int:
        parser = SseParser()
        return len(parser.feed(0, body))

    print(f"framing alone: {per_event([framing], [data])[0]:.1f} µs/event")  # noqa: T201
    for count in (1_000, 10_000, 100_000):
        chunk = Event(
            0, None, json.dumps({"choices": [{"index": 0, "delta": {"content": "word "}}]})
        )
        collector = new_collector(LlmProtocol.CHAT)
        assert collector is not None
        begin = time.process_time()
        for _ in range(count):
            collector.feed(chunk)
        fed = time.process_time()
        collector.outcome()
        asked = time.process_time()
        print(  # noqa: T201
            f"{count:7} events: feed {(fed - begin) / count * 1e6:.1f} µs each, "
            f"first outcome {(asked - fed) * 1e3:.2f} ms"
        )


if __name__ == "__main__":
    main()
