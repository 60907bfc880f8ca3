"""Which turn each message of a socket belongs to: scripts of a socket, and any mixture of lanes."""

import json
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.turns import FAILED_KEPT, Part, Turns


def create(**fields: Any) -> bytes:
    return json.dumps({"type": "response.create", "model": "m", **fields}).encode()


def event(kind: str, of: str | None = None, /, **fields: Any) -> bytes:
    """An event of the server's; with an id it carries a response."""
    response = {} if of is None else {"response": {"id": of}}
    return json.dumps({"type": kind, "sequence_number": 1, **response, **fields}).encode()


def delta(**fields: Any) -> bytes:
    return event("response.output_text.delta", item_id="msg_1", delta="d", **fields)


CLIENT, SERVER = "client", "server"
type Step = tuple[str, bytes, Part | None]


def asks(turn: int, **fields: Any) -> Step:
    return CLIENT, create(**fields), Part(turn, begins=True)


def gets(turn: int | None, message: bytes, *, begins: bool = False, ends: bool = False) -> Step:
    return SERVER, message, None if turn is None else Part(turn, begins, ends)


def says(turn: int | None, message: bytes) -> Step:
    return CLIENT, message, None if turn is None else Part(turn)


SCRIPTS: dict[str, list[Step]] = {
    "two turns, one after the other": [
        asks(0),
        gets(0, event("response.created", "r1")),
        gets(0, delta()),
        gets(0, event("response.completed", "r1"), ends=True),
        asks(1),
        gets(1, event("response.created", "r2")),
        gets(1, event("response.completed", "r2"), ends=True),
    ],
    "between turns": [
        says(None, b'{"type":"response.processed","response_id":"r1"}'),
        gets(None, event("codex.rate_limits")),
        gets(None, event("response.completed", "r0")),
        asks(0),
        gets(0, event("codex.rate_limits")),
        gets(0, event("response.completed", "r1"), ends=True),
        gets(None, event("codex.rate_limits")),
        says(None, b'{"type":"response.processed","response_id":"r1"}'),
    ],
    "every end": [
        asks(0),
        gets(0, event("response.failed", "r"), ends=True),
        asks(1),
        gets(1, event("response.incomplete", "r"), ends=True),
        asks(2),
        gets(2, event("response.cancelled", "r"), ends=True),
        asks(3),
        gets(3, event("response.done", "r"), ends=True),
        asks(4),
        gets(4, event("error", status=400, error={"message": "no"}), ends=True),
    ],
    "an end by name only": [
        asks(0),
        gets(0, b'{"type":"response.completed"}', ends=True),
    ],
    "what is no event belongs to the turn": [
        asks(0),
        gets(0, b"\xff\x00"),
        gets(0, b""),
        gets(0, b'["response.completed"]'),
        gets(0, b'{"delta":"\\"type\\":\\"error\\""}'),
        gets(0, delta(text='{"type":"response.completed","stream_id":"a"}')),
    ],
    "two at once, told apart by their ids": [
        asks(0),
        asks(1),
        gets(0, event("response.created", "r1")),
        gets(1, event("response.created", "r2")),
        gets(1, event("response.in_progress", "r2")),
        gets(0, delta()),
        gets(1, delta(response_id="r2")),
        gets(1, event("response.completed", "r2"), ends=True),
        gets(0, delta()),
        gets(0, event("response.completed", "r1"), ends=True),
    ],
    "two at once without ids: the oldest": [
        asks(0),
        asks(1),
        gets(0, event("response.created")),
        gets(0, delta()),
        gets(0, event("response.completed"), ends=True),
        gets(1, delta()),
        gets(1, event("response.completed"), ends=True),
    ],
    "lanes": [
        asks(0, stream_id="a"),
        asks(1, stream_id="b"),
        asks(2, stream_id="a"),
        asks(3),
        gets(1, event("response.created", "r1", stream_id="b")),
        gets(0, event("response.created", "r0", stream_id="a")),
        gets(3, event("response.created", "r3")),
        gets(1, delta(stream_id="b")),
        gets(0, delta(stream_id="a")),
        gets(3, delta()),
        gets(0, event("error", stream_id="a", error={}), ends=True),
        gets(2, event("response.created", "r2", stream_id="a")),
        gets(3, event("response.completed", "r3"), ends=True),
        gets(2, event("response.completed", "r2", stream_id="a"), ends=True),
        gets(1, event("response.completed", "r1", stream_id="b"), ends=True),
    ],
    "a lane that stands anywhere in a large request": [
        asks(0, input="x" * 50_000, stream_id="a", tools=["y" * 50_000]),
        asks(1, input="x" * 50_000, stream_id="b", tools=["y" * 50_000]),
        gets(1, delta(stream_id="b")),
        gets(0, delta(stream_id="a")),
    ],
    "lanes with one id for all": [
        asks(0, stream_id="a"),
        asks(1, stream_id="b"),
        asks(2, stream_id="a"),
        gets(0, event("response.created", "same", stream_id="a")),
        gets(1, event("response.created", "same", stream_id="b")),
        gets(0, event("response.in_progress", "same", stream_id="a")),
        gets(1, event("error", stream_id="b"), ends=True),
        gets(0, event("response.completed", "same", stream_id="a"), ends=True),
        gets(2, event("response.created", "same", stream_id="a")),
        gets(2, event("response.completed", "same", stream_id="a"), ends=True),
    ],
    "lanes that the server does not repeat": [
        asks(0, stream_id="a"),
        asks(1, stream_id="b"),
        gets(0, event("response.created", "r0")),
        gets(1, event("response.created", "r1")),
        gets(1, event("response.completed", "r1"), ends=True),
        gets(0, event("response.completed", "r0"), ends=True),
    ],
    "a lane that nobody asked for": [
        asks(0),
        gets(0, event("response.created", "r0", stream_id="z")),
        gets(0, delta(stream_id="z")),
        gets(0, event("response.completed", "r0", stream_id="z"), ends=True),
    ],
    "what is left of a lane is not another lane's": [
        asks(0, stream_id="a"),
        asks(1, stream_id="b"),
        gets(0, event("response.completed", "r0", stream_id="a"), ends=True),
        gets(None, event("response.steer.pending", stream_id="a")),
        gets(1, delta(stream_id="b")),
    ],
    "an answer that nobody asked for: the successor of a steered one": [
        asks(0),
        gets(0, event("response.created", "r0")),
        says(0, b'{"type":"response.steer","previous_response_id":"r0","input":"stop"}'),
        gets(0, event("response.steer.accepted")),
        gets(0, event("response.incomplete", "r0"), ends=True),
        gets(1, event("response.created", "r1"), begins=True),
        gets(1, delta()),
        gets(1, event("response.completed", "r1"), ends=True),
    ],
    "a successor in a lane of its own": [
        asks(0, stream_id="a"),
        asks(1, stream_id="b"),
        gets(0, event("response.created", "r0", stream_id="a")),
        gets(1, event("response.created", "r1", stream_id="b")),
        gets(0, event("response.incomplete", "r0", stream_id="a"), ends=True),
        gets(2, event("response.created", "r2", stream_id="a"), begins=True),
        gets(1, delta(stream_id="b")),
        gets(2, event("response.completed", "r2", stream_id="a"), ends=True),
    ],
    "what the client says within a turn": [
        asks(0),
        asks(1),
        gets(0, event("response.created", "r0")),
        gets(1, event("response.created", "r1")),
        says(1, b'{"type":"response.cancel","response_id":"r1"}'),
        says(0, b'{"type":"response.cancel"}'),
        says(0, b"no JSON"),
        says(0, b'{"type":"response.cancel","response_id":"r9"}'),
    ],
    "what the client says within a lane": [
        asks(0, stream_id="a"),
        asks(1, stream_id="b"),
        says(1, b'{"type":"response.cancel","stream_id":"b"}'),
        says(None, b'{"type":"response.cancel","stream_id":"c"}'),
    ],
    "what comes of a response after its error": [
        asks(0),
        gets(0, event("response.created", "r0")),
        gets(0, event("error", error={"message": "no"}), ends=True),
        asks(1),
        gets(None, event("response.failed", "r0")),
        gets(1, event("response.created", "r1")),
    ],
    "a server with one id for everything": [
        asks(0),
        gets(0, event("response.created", "same")),
        gets(0, event("response.completed", "same"), ends=True),
        asks(1),
        gets(1, event("response.completed", "same"), ends=True),
        asks(2),
        gets(2, event("response.created", "same")),
        gets(2, event("error"), ends=True),
        asks(3),
        gets(3, event("response.created", "same")),
        gets(3, event("response.completed", "same"), ends=True),
    ],
    "a server with an id for every event": [
        asks(0),
        gets(0, event("response.created", "a")),
        gets(0, event("response.in_progress", "b")),
        gets(0, event("response.created", "c")),
        gets(0, event("response.completed", "d"), ends=True),
    ],
    "the type anywhere": [
        (CLIENT, b'{"model":"m","type":"response.create"}', Part(0, begins=True)),
        gets(0, b'{"response":{"id":"r1"},"type":"response.created"}'),
        gets(0, b'{"response":{"x":{},"id":"r1"},"type":"response.completed"}', ends=True),
    ],
    "Codex's first version": [
        asks(0),
        gets(0, event("response.completed", "r0"), ends=True),
        (CLIENT, b'{"type":"response.append","input":[]}', Part(1, begins=True)),
        gets(1, event("response.completed", "r1"), ends=True),
    ],
}


@pytest.mark.check(14)
@pytest.mark.parametrize("steps", SCRIPTS.values(), ids=SCRIPTS)
def test_a_socket(steps: list[Step]) -> None:
    turns = Turns()
    for at, (who, message, part) in enumerate(steps):
        found = turns.client(message) if who == CLIENT else turns.server(message)
        assert part == found, (at, message[:200])


@given(st.data())
def test_any_mixture_of_lanes(data: st.DataObject) -> None:
    """However lanes overlap, each message is told to its turn, and nothing is remembered of the ended."""
    turns = Turns()
    asked: defaultdict[str | None, list[int]] = defaultdict(list)
    begun: set[int] = set()
    count = 0
    # A server with one id for all can only be understood where it says every lane.
    same = data.draw(st.booleans(), "one id for all")
    lanes = st.sampled_from(["a", "b"] if same else [None, "a", "b"])

    def name(number: int) -> str:
        return "same" if same else f"r{number}"

    def fields(lane: str | None) -> dict[str, str]:
        return {} if lane is None else {"stream_id": lane}

    for _ in range(data.draw(st.integers(0, 40))):
        busy = [lane for lane, waiting in asked.items() if waiting]
        if not busy or data.draw(st.integers(0, 3)) == 0:
            lane = data.draw(lanes)
            assert Part(count, begins=True) == turns.client(create(**fields(lane)))
            asked[lane].append(count)
            count += 1
            continue
        lane = data.draw(st.sampled_from(busy))
        number = asked[lane][0]
        kind: str
        said: str | None
        if number not in begun:
            begun.add(number)
            kind, said, ends = "response.created", name(number), False
        else:
            kind, said, ends = data.draw(
                st.sampled_from(
                    [
                        ("response.output_text.delta", None, False),
                        ("response.in_progress", name(number), False),
                        ("response.completed", name(number), True),
                        ("error", None, True),
                    ]
                )
            )
        assert Part(number, ends=ends) == turns.server(event(kind, said, **fields(lane)))
        if ends:
            asked[lane].pop(0)
    for lane, waiting in asked.items():
        for number in waiting:
            assert Part(number, ends=True) == turns.server(event("error", **fields(lane)))
    assert (0, {}, {}, {}) == (
        len(turns._all.open),
        turns._lanes,
        turns._by_id,
        turns._in_lane,
    )
    assert len(turns._failed) <= FAILED_KEPT


LANES = st.sampled_from([{}, {}, {"stream_id": "a"}, {"stream_id": "b"}])
IDS = st.sampled_from([None, "r1", "r2"])
KINDS = st.sampled_from(
    ["response.created", "response.in_progress", "response.completed", "error", "other"]
)
PIECES = st.one_of(
    st.binary(max_size=30),
    st.builds(lambda lane: create(**lane), LANES),
    st.builds(lambda kind, of, lane: event(kind, of, **lane), KINDS, IDS, LANES),
    st.builds(lambda of, lane: delta(response_id=of or "", **lane), IDS, LANES),
)


@given(st.lists(st.tuples(st.booleans(), PIECES), max_size=30))
def test_no_sequence_breaks_it(messages: list[tuple[bool, bytes]]) -> None:
    """Turns begin once, in order, and nothing belongs to one that has not begun or has ended."""
    turns = Turns()
    open_turns: set[int] = set()
    count = 0
    for from_client, message in messages:
        part = turns.client(message) if from_client else turns.server(message)
        if part is None:
            continue
        if part.begins:
            assert count == part.turn
            count += 1
            open_turns.add(part.turn)
        assert part.turn in open_turns
        if part.ends:
            open_turns.remove(part.turn)
    assert open_turns == set(turns._all.open)
    named = (*turns._by_id.values(), *turns._in_lane.values())
    assert {turn.number for turn in named} <= open_turns
    assert open_turns == {n for line in turns._lanes.values() for n in line.open}
