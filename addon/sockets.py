"""WebSockets that call a model: what of them becomes a record, however they end.

Responses are spoken turn by turn, a record each (addon.turns says which messages are a turn's; what
is said between turns is not kept); the handshake is part of each, and a record only if it failed.
Anything else is a session, one record (addon.sessions). Every message is one chunk, verbatim.

What is kept nowhere else is not held here either: mitmproxy's own list of a socket's messages, which
grows for as long as that lives, is cut to the last one, unless somebody else needs it.
"""

import time
from collections.abc import Callable

from mitmproxy.http import HTTPFlow

from addon import hanging_up
from addon.admission import Admission
from addon.credential import socket_credentials
from addon.exchange import ending, path_of, request_head, response_head
from addon.sessions import Handshake, Recorded, Session
from addon.turns import CREATES, Turns
from collectors.protocol import SESSIONS, SWITCHING_PROTOCOLS, detect
from collectors.websocket import message_type
from store.contract import Writer
from store.record import ResponseHead, Transport

ABNORMAL = 1006
"""The code of a socket that was dropped without a goodbye (RFC 6455, 7.1.5)."""

UNREAD = "mitmproxy did not read this WebSocket (--set websocket=false); it passed unrecorded."
UNSEEN = "mitmproxy streamed the answer's body; it passed unrecorded."
REFUSED = "flowtap cannot record this now"


class TurnByTurn:
    """One socket of which each turn is a record."""

    __slots__ = ("_admission", "_handshake", "_open", "_pending", "_turns", "live")

    def __init__(self, handshake: Handshake, admission: Admission) -> None:
        self._handshake = handshake
        self._admission = admission
        self._turns = Turns()
        self._pending = True
        """The handshake has not been answered, and is a record if it never is."""
        self.live: dict[int, Recorded] = {}
        """The turns that are recorded and have not ended, by their numbers."""

    def opens(self, writer: Writer | None) -> None:
        """The handshake begins. The store may be out of reach now, and not for its turns."""
        if writer is not None:
            shake = self._handshake
            shake.unmatched = self._admission.unmatched(writer, shake.found, shake.request)

    def answered(self) -> None:
        """The upstream has answered it."""

    def opened(self) -> None:
        """With a socket."""
        self._pending = False

    def refused(
        self, body: bytes | None, transport: Transport, text: str | None, writer: Writer | None
    ) -> None:
        """The answer was no socket, but this."""
        self._failed_handshake(writer, self._handshake.response, body, transport, text)

    def needs(self, data: bytes) -> bool:
        """Whether a message of the client's may not pass unrecorded: one that begins a turn."""
        return message_type(data) in CREATES

    def lost(self, _: Writer | None) -> str | None:
        """Why the next turn would not be recorded, though the store is well: it will be."""

    def message(self, data: bytes, *, from_client: bool, writer: Writer | None) -> None:
        """A message passes."""
        part = self._turns.client(data) if from_client else self._turns.server(data)
        if part is None:
            return
        if part.begins and writer is not None:
            begun = self._handshake.begin(self._admission, writer)
            if begun is not None:
                self.live[part.turn] = begun
        live = self.live.get(part.turn)
        if live is None:
            return
        if from_client:
            live.client(data)
            return
        # It may be that nobody asked for it in a message.
        live.asked()
        live.head(self._handshake.response)
        live.server(data)
        if part.ends:
            self._end(part.turn, Transport.COMPLETE, None)

    def closed(self, _: int, transport: Transport, text: str) -> None:
        """The socket was closed: what has ended does not mind."""
        self._end_live(transport, text)

    def gone(self, transport: Transport, text: str, writer: Writer | None) -> None:
        """Nobody said goodbye, or there never was a socket."""
        self._failed_handshake(writer, None, b"", transport, text)
        self._end_live(transport, text)

    def pause(self, transport: Transport, text: str) -> None:
        """The recorder stops; if it runs again, the next turns are recorded."""
        self._end_live(transport, text)

    def fail(self, text: str) -> None:
        """Something of ours raised: its turns end as the prefixes they are; its next ones are new."""
        self._pending = False
        self._end_live(Transport.RECORDER_FAILED, text)

    def _failed_handshake(
        self,
        writer: Writer | None,
        head: ResponseHead | None,
        body: bytes | None,
        transport: Transport,
        text: str | None,
    ) -> None:
        """A handshake that led to nothing is an exchange that somebody will look for."""
        if not self._pending or writer is None:
            return
        self._pending = False
        record = self._handshake.begin(self._admission, writer, at_handshake=True)
        if record is not None:
            record.answer(head, body)
            record.end(transport, text)

    def _end(self, turn: int, transport: Transport, text: str | None) -> None:
        """The one place where a turn's record ends, once."""
        live = self.live.get(turn)
        if live is not None:
            live.end(transport, text)
            del self.live[turn]

    def _end_live(self, transport: Transport, text: str) -> None:
        for turn in list(self.live):
            self._end(turn, transport, text)


type Spoken = TurnByTurn | Session


class _Socket:
    """One socket, from its handshake to its end."""

    __slots__ = ("client_id", "handshake", "last_ns", "refused", "spoken", "trimmed")

    def __init__(self, client_id: str, handshake: Handshake, spoken: Spoken) -> None:
        self.client_id = client_id
        self.handshake = handshake
        self.spoken = spoken
        self.trimmed = True
        """Nobody else needs the list of its messages."""
        self.refused: str | None = None
        """Why it is being closed, since what comes could not be recorded."""
        self.last_ns = time.monotonic_ns()


class Sockets:
    """The open sockets of one proxy; each method is what a hook does, and the hooks are guarded."""

    def __init__(
        self,
        timed_out: Callable[[float], str | None],
        admission: Admission,
        writer: Callable[[], Writer | None],
        messages_needed: Callable[[], bool],
    ) -> None:
        """`timed_out` says whether so many seconds of silence were ended by mitmproxy itself,
        `writer` gives the one of now, and `messages_needed` says whether somebody else reads all
        messages of a socket."""
        self._open: dict[str, _Socket] = {}
        self._timed_out = timed_out
        self._admission = admission
        self._writer = writer
        self._messages_needed = messages_needed

    def handshake(self, flow: HTTPFlow) -> None:
        """A client asks for a socket. Nothing happens for one that calls no model."""
        protocol = detect("GET", path_of(flow.request), websocket=True)
        if protocol is None:
            return
        head = request_head(flow)
        shake = Handshake(head, socket_credentials(head.headers, head.path), protocol)
        kind: Callable[[Handshake, Admission], Spoken] = (
            Session if protocol in SESSIONS else TurnByTurn
        )
        socket = _Socket(flow.client_conn.id, shake, kind(shake, self._admission))
        self._open[flow.id] = socket
        socket.spoken.opens(self._writer())

    def answered(self, flow: HTTPFlow) -> None:
        """The upstream's answer to the handshake, before anybody rewrites it."""
        socket = self._open.get(flow.id)
        if socket is not None and flow.response is not None:
            self._answered(socket, flow)

    def opened(self, flow: HTTPFlow) -> None:
        """The handshake is over, with a socket or with another answer."""
        socket = self._open.get(flow.id)
        if socket is None or flow.response is None:
            return
        self._answered(socket, flow)
        if flow.websocket is not None:
            socket.trimmed = not self._messages_needed()
            socket.spoken.opened()
            return
        transport, text = Transport.COMPLETE, None
        if flow.error is not None:
            transport, text = ending(flow), flow.error.msg
        elif flow.response.status_code == SWITCHING_PROTOCOLS:
            # As with --set websocket=false.
            transport, text = Transport.RECORDER_FAILED, UNREAD
        body = flow.response.raw_content
        if body is None and text is None:
            # As with --set stream_large_bodies=1.
            text = UNSEEN
        socket.spoken.refused(body, transport, text, self._writer())
        self._open.pop(flow.id, None)

    def message(self, flow: HTTPFlow) -> None:
        """A message passes."""
        socket = self._open.get(flow.id)
        if socket is None or flow.websocket is None or not flow.websocket.messages:
            return
        message = flow.websocket.messages[-1]
        if socket.trimmed:
            # Those who come after us in this hook want the last, nobody an earlier one.
            del flow.websocket.messages[:-1]
        if socket.refused is not None:
            if message.injected and not message.content:
                hanging_up.finish(flow, from_client=message.from_client, reason=REFUSED)
            message.drop()
            return
        if message.dropped:
            return
        socket.last_ns = time.monotonic_ns()
        data, writer = message.content, self._writer()
        if message.from_client and self._admission.required and socket.spoken.needs(data):
            shake = socket.handshake
            why = self._admission.refusal(writer, shake.found, shake.request.headers)
            why = why or socket.spoken.lost(writer)
            if why is not None:
                socket.refused = why
                message.drop()
                hanging_up.begin(flow)
                return
        socket.spoken.message(data, from_client=message.from_client, writer=writer)

    def ended(self, flow: HTTPFlow) -> None:
        """The socket is closed, by whom mitmproxy says."""
        data = flow.websocket
        socket = self._open.get(flow.id)
        if socket is None or data is None:
            return
        code = ABNORMAL if data.close_code is None else data.close_code
        who = "client" if data.closed_by_client else "upstream"
        reason = f", {data.close_reason}" if data.close_reason else ""
        transport = Transport.CLIENT_CLOSED if data.closed_by_client else Transport.UPSTREAM_CLOSED
        text = f"The {who} closed the WebSocket ({code}{reason})."
        if socket.refused is not None:
            code, transport = ABNORMAL, Transport.KILLED
            text = f"flowtap closed the WebSocket, since it could not record: {socket.refused}"
        elif data.closed_by_client and code == ABNORMAL:
            idle = self._timed_out((time.monotonic_ns() - socket.last_ns) / 1e9)
            if idle is not None:
                transport, text = Transport.KILLED, idle
        socket.spoken.closed(code, transport, text)
        self._open.pop(flow.id, None)

    def broken(self, flow_id: str, transport: Transport, text: str) -> None:
        """The socket is gone, or never came to be."""
        socket = self._open.get(flow_id)
        if socket is not None:
            socket.spoken.gone(transport, text, self._writer())
            self._open.pop(flow_id, None)

    def failed(self, flow_id: str, text: str) -> None:
        """Something of ours raised: what is being recorded ends as a prefix."""
        socket = self._open.get(flow_id)
        if socket is not None:
            socket.spoken.fail(text)

    def left(self, client_id: str, transport: Transport, text: str) -> None:
        """The client is gone: its sockets are, whether or not anybody said so."""
        for flow_id in [key for key, each in self._open.items() if each.client_id == client_id]:
            self.broken(flow_id, transport, text)

    def end_all(self, transport: Transport, text: str) -> None:
        """End every record as of now. The sockets stay: after a reload they are recorded again."""
        for socket in self._open.values():
            socket.spoken.pause(transport, text)

    def _answered(self, socket: _Socket, flow: HTTPFlow) -> None:
        shake = socket.handshake
        if shake.response is None and flow.response is not None:
            shake.response = response_head(flow.response)
            socket.spoken.answered()
