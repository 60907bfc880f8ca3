"""The messages of one WebSocket sorted into turns. Pure: bytes in, decisions out; it keeps no message.

A turn is one `response.create` and what answers it, up to `response.completed`, `.failed`,
`.incomplete`, `.cancelled`, `.done` or `error`. As OpenAI's reference of the events has it: a
create may name a lane (`stream_id`), which the events of its answer repeat; within a lane turns
are answered one after the other, lanes overlap. Which of several open turns a message of the
server's belongs to is told by

1. the lane. An event without one may be any turn's if it has that turn's id, or if no turn without
   a lane is open; one of a lane that nobody asked for may be that of a turn without one;
2. of the turns left, the response's id, once an event has said whose it is. An id that is new is
   that of the oldest turn without one; what has no id is of the oldest turn.

`response.created` with no turn waiting for it begins a turn that nobody asked for in a message:
the successor of a steered response. Messages between turns (rate limits, acknowledgements)
belong to none, nor does what comes of a response after its `error`.
"""

import re
from collections import OrderedDict, deque
from dataclasses import dataclass

from collectors.json_ends import string_from_start
from collectors.websocket import message_type

CREATES = frozenset({"response.create", "response.append"})
"""What a client begins a turn with; the second in the first version that Codex spoke."""

CREATED = "response.created"

TERMINAL = frozenset(
    {f"response.{how}" for how in ("completed", "failed", "incomplete", "cancelled", "done")}
    | {"error"}
)

_TELLS_ITS_ID = (TERMINAL - {"error"}) | {CREATED, "response.queued", "response.in_progress"}
"""These carry the response, which begins with its id."""

ID_SCAN = 1024
"""Bytes looked at for the response, and in it for its id."""

FAILED_KEPT = 16
"""Ids of failed responses remembered, for what may still come of them."""

_RESPONSE = re.compile(rb'"response"\s*:\s*\{')
_RESPONSE_ID = re.compile(rb'"(?:previous_)?response_id"\s*:\s*"([^"\\]{1,256})"')
_LANE = re.compile(rb'"stream_id"\s*:\s*"([^"\\]{1,256})"')
# Quotes inside a JSON string are escaped, so these are keys, though perhaps not outermost ones.


@dataclass(frozen=True, slots=True)
class Part:
    """A message's place: in which turn, and whether that begins or ends with it."""

    turn: int
    """Turns are numbered as they begin, from 0."""
    begins: bool = False
    ends: bool = False


class _Turn:
    """A turn that has not ended."""

    __slots__ = ("lane", "number", "response_id")

    def __init__(self, number: int, lane: bytes | None) -> None:
        self.number = number
        self.lane = lane
        self.response_id: str | None = None


class _Line:
    """Turns in the order in which they are answered. Ordered dicts: a plain one slows down as
    its first is taken out again and again."""

    def __init__(self) -> None:
        self.open: OrderedDict[int, _Turn] = OrderedDict()
        self.waiting: OrderedDict[int, _Turn] = OrderedDict()
        """Those without an id yet."""

    def add(self, turn: _Turn) -> None:
        self.open[turn.number] = self.waiting[turn.number] = turn

    def remove(self, turn: _Turn) -> None:
        del self.open[turn.number]
        self.waiting.pop(turn.number, None)


class Turns:
    """The turns of one socket; every message passes through, in its order."""

    def __init__(self) -> None:
        self._begun = 0
        self._all = _Line()
        self._lanes: dict[bytes | None, _Line] = {}
        self._by_id: dict[str, _Turn] = {}
        self._in_lane: dict[tuple[bytes | None, str], _Turn] = {}
        self._failed: deque[tuple[bytes | None, str]] = deque(maxlen=FAILED_KEPT)

    def client(self, message: bytes) -> Part | None:
        """Where a message of the client's belongs; None: to no turn."""
        if message_type(message) in CREATES:
            return Part(self._begin(_found(_LANE, b'"stream_id"', message)).number, begins=True)
        if not self._all.open:
            return None
        said = _found(_RESPONSE_ID, b'response_id"', message)
        lane = _found(_LANE, b'"stream_id"', message)
        turn = self._named(lane, None if said is None else said.decode("utf-8", "replace"))
        if turn is None:
            line = self._line(lane)
            turn = _first(line.open) if line is not None else None
        return None if turn is None else Part(turn.number)

    def server(self, message: bytes) -> Part | None:
        """Where a message of the server's belongs; None: to no turn."""
        kind = message_type(message)
        begins = kind == CREATED
        if not (self._all.open or begins):
            return None
        response_id = _response_id(kind, message)
        lane = _found(_LANE, b'"stream_id"', message)
        turn = self._named(lane, response_id)
        if turn is None:
            if not begins and (lane, response_id) in self._failed:
                return None
            turn = self._answered(lane, response_id, begins)
            if turn is None:
                if not begins:
                    return None
                turn = self._begin(lane)
                self._name(turn, response_id)
                return Part(turn.number, begins=True)
        if kind in TERMINAL:
            self._end(turn, failed=kind == "error")
            return Part(turn.number, ends=True)
        return Part(turn.number)

    def _named(self, lane: bytes | None, response_id: str | None) -> _Turn | None:
        """The turn whose response has that id. Some servers give the same to all, so what says
        its lane is looked for there alone."""
        if response_id is None:
            return None
        turn = self._in_lane.get((lane, response_id))
        if turn is None and (lane is None or lane not in self._lanes):
            turn = self._by_id.get(response_id)
        return turn

    def _answered(self, lane: bytes | None, response_id: str | None, begins: bool) -> _Turn | None:
        """The turn that an event with an id not seen before, or with none, is of."""
        line = self._line(lane)
        if line is None:
            return None
        if response_id is not None or begins:
            turn = _first(line.waiting)
            if turn is not None:
                self._name(turn, response_id)
                return turn
            if begins and line is not self._lanes.get(lane):
                return None
        return _first(line.open)

    def _line(self, lane: bytes | None) -> _Line | None:
        """The turns among which one of that lane is looked for."""
        line = self._lanes.get(lane)
        if line is not None:
            return line
        return self._all if lane is None else self._lanes.get(None)

    def _begin(self, lane: bytes | None) -> _Turn:
        turn = _Turn(self._begun, lane)
        self._begun += 1
        self._all.add(turn)
        self._lanes.setdefault(lane, _Line()).add(turn)
        return turn

    def _name(self, turn: _Turn, response_id: str | None) -> None:
        if response_id is not None:
            turn.response_id = response_id
            self._by_id[response_id] = self._in_lane[turn.lane, response_id] = turn
            for line in (self._all, self._lanes[turn.lane]):
                line.waiting.pop(turn.number, None)

    def _end(self, turn: _Turn, *, failed: bool) -> None:
        self._all.remove(turn)
        line = self._lanes[turn.lane]
        line.remove(turn)
        if not line.open:
            del self._lanes[turn.lane]
        if turn.response_id is not None:
            key = (turn.lane, turn.response_id)
            # Where ids are not unique another turn may have taken its place.
            if self._by_id.get(turn.response_id) is turn:
                del self._by_id[turn.response_id]
            if self._in_lane.get(key) is turn:
                del self._in_lane[key]
            if failed:
                self._failed.append(key)


def _first(turns: OrderedDict[int, _Turn]) -> _Turn | None:
    return next(iter(turns.values()), None)


def _found(pattern: re.Pattern[bytes], sure: bytes, message: bytes) -> bytes | None:
    """What the pattern finds; `sure` is in whatever it matches, and much faster looked for."""
    if sure not in message:
        return None
    match = pattern.search(message)
    return match[1] if match else None


def _response_id(kind: str | None, message: bytes) -> str | None:
    """The id of the response that an event is of, if it says."""
    if kind in _TELLS_ITS_ID:
        match = _RESPONSE.search(message, 0, ID_SCAN)
        if match is not None:
            at = match.end() - 1
            return string_from_start(message[at : at + ID_SCAN], "id")
        return None
    found = _found(_RESPONSE_ID, b'"response_id"', message)
    return found.decode("utf-8", "replace") if found is not None else None
