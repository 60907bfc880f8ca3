"""WebSockets that speak Responses: one record for each turn, however it or its socket ends.

The handshake is no record of its own: its two heads are those of every turn. Which messages are
a turn's is for addon.turns to say; here they become a record, if the key is on when the turn
begins. Each message is one chunk, verbatim; between them nothing is kept. What is kept nowhere
else is not held here either: mitmproxy's own list of a socket's messages, which grows for as long
as that lives, is cut to the last one of sockets that are recorded.
"""

import time
from collections.abc import Callable

from mitmproxy.http import HTTPFlow

from addon.admission import Admission
from addon.credential import credentials
from addon.exchange import error_line, request_head, response_head
from addon.turns import Turns
from collectors.protocol import LlmProtocol
from store.contract import Recording, Writer
from store.record import RequestHead, ResponseHead, Transport

ABNORMAL = 1006
"""The code of a socket that was dropped without a goodbye (RFC 6455, 7.1.5)."""


class _Recorded:
    """A turn that is being recorded."""

    __slots__ = ("headed", "recording", "started_ns")

    def __init__(self, recording: Recording, started_ns: int) -> None:
        self.recording = recording
        self.started_ns = started_ns
        self.headed = False
        """Its answer has begun."""

    def now(self) -> int:
        """Milliseconds since the turn began."""
        return (time.monotonic_ns() - self.started_ns) // 1_000_000


class _Socket:
    """One socket, from its handshake to its end."""

    __slots__ = (
        "client_id",
        "found",
        "last_ns",
        "live",
        "recorded",
        "request",
        "response",
        "turns",
        "unmatched",
    )

    def __init__(self, client_id: str, request: RequestHead, found: list[bytes]) -> None:
        self.client_id = client_id
        self.request = request
        self.found = found
        """The handshake's credentials, which are every turn's."""
        self.response: ResponseHead | None = None
        self.turns = Turns()
        self.live: dict[int, _Recorded] = {}
        """The turns that are recorded and have not ended, by their numbers."""
        self.recorded = False
        """Some turn of it was."""
        self.unmatched = False
        """It has been counted as of no key that is on."""
        self.last_ns = time.monotonic_ns()


class Sockets:
    """The open sockets of one proxy; each method is what a hook does, and the hooks are guarded."""

    def __init__(self, timed_out: Callable[[float], str | None], admission: Admission) -> None:
        """`timed_out` says whether so many seconds of silence were ended by mitmproxy itself."""
        self._open: dict[str, _Socket] = {}
        self._timed_out = timed_out
        self._admission = admission

    def handshake(self, flow: HTTPFlow, writer: Writer | None) -> None:
        """A client asks for a socket. The store may be out of reach now, and not for its turns."""
        head = request_head(flow)
        socket = _Socket(flow.client_conn.id, head, credentials(head.headers, head.path))
        self._open[flow.id] = socket
        if writer is not None:
            socket.unmatched = self._admission.unmatched(writer, socket.found, head)

    def answered(self, flow: HTTPFlow) -> None:
        """The upstream's answer to the handshake, before anybody rewrites it."""
        socket = self._open.get(flow.id)
        if socket is not None and flow.response is not None:
            socket.response = response_head(flow.response)

    def opened(self, flow: HTTPFlow) -> None:
        """The handshake is over; one that was refused is forgotten."""
        if flow.websocket is None:
            self._open.pop(flow.id, None)

    def message(self, flow: HTTPFlow, writer: Writer | None) -> None:
        """A message passes."""
        socket = self._open.get(flow.id)
        if socket is None or flow.websocket is None or not flow.websocket.messages:
            return
        message = flow.websocket.messages[-1]
        if socket.recorded:
            # Those who come after us in this hook want the last, nobody an earlier one.
            del flow.websocket.messages[:-1]
        if message.dropped:
            return
        now_ns = socket.last_ns = time.monotonic_ns()
        data = message.content
        part = socket.turns.client(data) if message.from_client else socket.turns.server(data)
        if part is None:
            return
        if part.begins:
            self._begin(socket, part.turn, writer, now_ns)
        live = socket.live.get(part.turn)
        if live is None:
            return
        recording, at_ms = live.recording, live.now()
        if message.from_client:
            if data:
                recording.request_chunk(at_ms, data)
            if part.begins:
                recording.request_end(at_ms)
            return
        if not live.headed:
            live.headed = True
            if part.begins:
                # Nobody asked for it in a message.
                recording.request_end(at_ms)
            if socket.response is not None:
                recording.response_head(at_ms, socket.response)
        if data:
            recording.response_chunk(at_ms, data)
        if part.ends:
            self._end(socket, part.turn, Transport.COMPLETE)

    def ended(self, flow: HTTPFlow) -> None:
        """The socket is closed, by whom mitmproxy says; a turn that has ended does not mind."""
        data = flow.websocket
        socket = self._open.get(flow.id)
        if socket is None or data is None:
            return
        code = ABNORMAL if data.close_code is None else data.close_code
        who = "client" if data.closed_by_client else "upstream"
        reason = f", {data.close_reason}" if data.close_reason else ""
        transport = Transport.CLIENT_CLOSED if data.closed_by_client else Transport.UPSTREAM_CLOSED
        text = f"The {who} closed the WebSocket ({code}{reason})."
        if data.closed_by_client and code == ABNORMAL:
            idle = self._timed_out((time.monotonic_ns() - socket.last_ns) / 1e9)
            if idle is not None:
                transport, text = Transport.KILLED, idle
        self.broken(flow.id, transport, text)

    def broken(self, flow_id: str, transport: Transport, text: str) -> None:
        """The socket is gone, or never came to be."""
        socket = self._open.get(flow_id)
        if socket is not None:
            self._end_live(socket, transport, text)
            self._open.pop(flow_id, None)

    def failed(self, flow_id: str, text: str) -> None:
        """Something of ours raised: its turns end as the prefixes they are; its next ones are new."""
        socket = self._open.get(flow_id)
        if socket is not None:
            self._end_live(socket, Transport.RECORDER_FAILED, text)

    def left(self, client_id: str, transport: Transport, text: str) -> None:
        """The client is gone: its sockets are, whether or not anybody said so."""
        for flow_id in [key for key, each in self._open.items() if each.client_id == client_id]:
            self.broken(flow_id, transport, text)

    def end_turns(self, transport: Transport, text: str) -> None:
        """End every turn as of now. The sockets stay: after a reload their next turns are recorded."""
        for socket in self._open.values():
            self._end_live(socket, transport, text)

    def _begin(self, socket: _Socket, turn: int, writer: Writer | None, now_ns: int) -> None:
        """A turn begins: record it, if the key is on now."""
        if writer is None:
            return
        unmatched = writer.counters.unmatched
        recording = self._admission.begin(
            writer,
            socket.found,
            socket.request,
            LlmProtocol.RESPONSES.value,
            time.time_ns() // 1_000_000,
            # Once a socket: its turns would count one client many times.
            count=not socket.unmatched,
        )
        socket.unmatched |= writer.counters.unmatched > unmatched
        if recording is None:
            return
        socket.recorded = True
        socket.live[turn] = _Recorded(recording, now_ns)

    def _end(
        self, socket: _Socket, turn: int, transport: Transport, text: str | None = None
    ) -> None:
        """The one place where a turn's record ends, once."""
        live = socket.live.get(turn)
        if live is not None:
            live.recording.end(live.now(), transport, None if text is None else error_line(text))
            del socket.live[turn]

    def _end_live(self, socket: _Socket, transport: Transport, text: str) -> None:
        for turn in list(socket.live):
            self._end(socket, turn, transport, text)
