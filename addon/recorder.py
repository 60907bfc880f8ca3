"""The hooks: one record for each exchange of a key that is on, however it ends.

The lifecycle, against the orders in which mitmproxy's hooks really come: an exchange is in
addon.in_flight from `requestheaders` until its one end; every later hook of its flow finds nothing
and does nothing. `response` and `error` may both be missing, come late, or come after `done`, so a
client's disconnect, a sweep and `done` end what is left. Whether it is recorded, held in memory or
refused is for addon.admission to say. WebSockets have a life of their own: addon.sockets.

No hook may harm the traffic: whatever raises in here is caught, counted, and logged at most
once a minute, and the call goes on unrecorded; with `flowtap_required` it is refused, if nothing
has gone upstream. A record that had begun ends there and says so; what of `seen` is neither
recorded nor unmatched nor refused has none, and counts as lost.
"""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable

from mitmproxy import connection, ctx, exceptions, http, tls
from mitmproxy.addonmanager import Loader

from addon import settings
from addon.admission import Admission
from addon.complaints import Complaints
from addon.credential import credentials, socket_credentials
from addon.exchange import (
    Exchange,
    ending,
    error_line,
    error_told,
    method_of,
    path_of,
    request_head,
)
from addon.in_flight import InFlight
from addon.keeping import Keeping
from addon.link import Link, Opener
from addon.refusal import goes_upstream, refuse
from addon.sockets import Sockets
from addon.surroundings import (
    QuietServerLog,
    hang_up_in_order,
    listening,
    orphaned,
    raise_tcp_timeout,
    timed_out,
)
from addon.tap import Tap, after, before
from collectors.protocol import asks_for_websocket, detect
from store.contract import Counters, Recording
from store.errors import BadInput
from store.record import Transport

logger = logging.getLogger(__name__)

TICK_S = 5.0
"""How often overdue exchanges and a store out of reach are looked after."""

STOPPED = "The proxy was stopped."
LEFT = "Client disconnected."


def guarded[T](hook: Callable[["Recorder", T], None]) -> Callable[["Recorder", T], None]:
    """The traffic must not stop for the recorder: what a hook raises is counted and logged, and
    nothing is recorded any more of the exchanges it was about."""

    def run(self: "Recorder", subject: T) -> None:
        try:
            hook(self, subject)
        except Exception as error:
            if isinstance(subject, http.HTTPFlow):
                self._give_up(subject.id, error)
            elif isinstance(subject, connection.Client):
                for live in self._live.of_client(subject.id):
                    self._give_up(live.flow_id, error)
            self._failed(error)

    functools.update_wrapper(run, hook)
    return run


class Recorder:
    """The addon. Restartable: mitmproxy calls `running` again after `done` when it reloads."""

    name = "flowtap"

    def __init__(self, opener: Opener) -> None:
        self._link = Link(opener)
        self._live = InFlight()
        self._keeping = Keeping(self._failed)
        self._admission = Admission(self._keeping, self._failed, lambda: self._link.trouble)
        self._sockets = Sockets(
            timed_out,
            self._admission,
            lambda: self._link.writer,
            lambda: settings.messages_needed(self),
        )
        self._streams_requests = True
        self._server_log = QuietServerLog()
        self._tick_handle: asyncio.TimerHandle | None = None
        self._complaints = Complaints()
        self._addresses: list[str] = []
        self.failures = 0
        """How often a hook or a tap raised; the calls went on."""

    # -- the proxy's life: synchronous, since a reload calls these without awaiting ------------

    def load(self, loader: Loader) -> None:
        """Register our options, or stop the start."""
        settings.add_options(loader)

    def configure(self, updated: set[str]) -> None:
        """Refuse wrong values; take over what may change at run time."""
        settings.check()
        self._streams_requests = settings.streams_requests(self)
        self._admission.required = settings.required()
        if settings.RING in updated:
            self._keeping.configure(settings.ring_bytes())
        if self._link.writer is not None:
            self._link.writer.counters.max_bytes = settings.max_bytes()
        if self._tick_handle is None:
            return
        if settings.QUIET in updated:
            self._server_log.apply()
        if updated & {settings.RING, settings.REQUIRED, settings.MAX_SIZE}:
            self._say_options()

    def running(self) -> None:
        """Open the store and say so. An error logged here stops the start with exit 1."""
        if misspelt := settings.unknown():
            logger.error("flowtap: unknown option: %s", ", ".join(misspelt))
            return
        hang_up_in_order()
        self._server_log.apply()
        raise_tcp_timeout()
        self._addresses = listening()
        try:
            self._link.open(self._location, self._opened)
        except (BadInput, ImportError) as error:
            logger.error("flowtap: %s", error)
            return
        if self._link.trouble is not None:
            # A warning, not an error: an error at start-up would stop the proxy. The tick says
            # it again, as an error.
            logger.warning(
                "flowtap: NOT RECORDING, %s: %s (trying again every %d s)",
                "model calls are refused" if self._admission.required else "calls pass unrecorded",
                self._link.trouble,
                TICK_S,
            )
        self._tick_handle = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def done(self) -> None:
        """End what is in flight and write everything out, before this returns.

        On SIGTERM this comes before the `error` hooks of the flows in flight, whose reasons
        are wrong by then; some flows get no hook at all.
        """
        if self._tick_handle is not None:
            self._tick_handle.cancel()
            self._tick_handle = None
        try:
            for live in self._live.all():
                self._live.end_left(live, Transport.PROXY_SHUTDOWN, STOPPED)
            self._sockets.end_all(Transport.PROXY_SHUTDOWN, STOPPED)
        except Exception as error:  # The writer ends what is left, and must be closed for that.
            self._failed(error)
        try:
            self._keeping.close()
        except Exception as error:  # As above.
            self._failed(error)
        self._server_log.restore()
        self._link.close()

    # -- an exchange's life -------------------------------------------------------------------

    @guarded
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Record this exchange if it calls a model with a key that is on; else leave it alone."""
        writer = self._link.writer
        path, method = path_of(flow.request), method_of(flow.request)
        headers = flow.request.headers.fields
        socket = method == "GET" and asks_for_websocket(headers)
        protocol = detect(method, path, websocket=socket)
        if protocol is None:
            return
        admission = self._admission
        counters = Counters() if writer is None else writer.counters
        seen, recorded, recording = counters.seen, counters.recorded, None
        try:
            found = (socket_credentials if socket else credentials)(headers, path)
            if admission.required and goes_upstream(flow):
                why = admission.refusal(writer, found, headers)
                if why is not None:
                    refuse(flow, why)
                    return
            if socket:
                self._sockets.handshake(flow)
            elif writer is not None:
                started_ns, started_ms = time.monotonic_ns(), time.time_ns() // 1_000_000
                head = request_head(flow)
                recording = admission.begin(writer, found, head, protocol.value, started_ms)
                if recording is not None:
                    self._tee(flow, recording, started_ns)
        except Exception as error:
            refused = admission.required and goes_upstream(flow)
            if refused:
                refuse(flow, _broke(error, refused))
            if refused or not socket:
                # Where there is no record it counts as lost, or as refused.
                counters.seen = seen + 1
                counters.refused += refused and counters.recorded == recorded
            if recording is not None and flow.id not in self._live:
                recording.end(0, Transport.RECORDER_FAILED, _broke(error, refused))
            self._give_up(flow.id, error, refused=refused)
            raise

    @guarded
    def request(self, flow: http.HTTPFlow) -> None:
        """The request is whole; it was buffered, or streamed through our tap."""
        live = self._live.get(flow.id)
        if live is None:
            return
        live.request_passed()
        live.request_done = True
        live.recording.request_end(live.now())
        if live.early_ns is not None:
            self._live.end(live, Transport.COMPLETE)

    @guarded
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """The response begins."""
        live = self._live.get(flow.id)
        if live is None or flow.response is None:
            self._sockets.answered(flow)
            return
        # First: whatever fails below, the client gets its answer while it comes.
        if flow.error is None:
            stream = flow.response.stream
            flow.response.stream = live.response_stream = (
                after(stream, live.response_tap) if callable(stream) else live.response_tap
            )
        live.head(flow.response)

    @guarded
    def response(self, flow: http.HTTPFlow) -> None:
        """The response is whole. Its request may not be: some answers come early."""
        self._sockets.opened(flow)
        live = self._live.get(flow.id)
        if live is None or flow.response is None:
            return
        live.head(flow.response)
        live.response_passed(flow.response)
        if flow.error is not None:
            self._live.end(live, ending(flow), flow.error.msg)
        elif live.request_done:
            self._live.end(live, Transport.COMPLETE)
        else:
            live.early_ns = time.monotonic_ns()

    @guarded
    def error(self, flow: http.HTTPFlow) -> None:
        """The exchange broke: an error response of mitmproxy's own may follow, unseen."""
        if flow.error is None:
            return
        self._sockets.broken(flow.id, ending(flow), flow.error.msg)
        live = self._live.get(flow.id)
        if live is None:
            return
        if flow.response is not None:
            # Headers that mitmproxy found invalid come without `responseheaders`.
            live.head(flow.response)
        transport = ending(flow, live.refused)
        message = error_told(flow, transport)
        if transport is Transport.CLIENT_CLOSED:
            idle = timed_out(live.idle_s(), flow.client_conn.transport_protocol)
            if idle is not None:
                transport, message = Transport.KILLED, idle
        self._live.end(live, transport, message)

    @guarded
    def client_disconnected(self, client: connection.Client) -> None:
        """The safety net: comes after everything else, or instead of it."""
        for live in self._live.of_client(client.id):
            self._live.end_left(live, Transport.CLIENT_CLOSED, LEFT)
        self._sockets.left(client.id, Transport.CLIENT_CLOSED, LEFT)

    @guarded
    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """A message of a socket, whole, either way."""
        self._sockets.message(flow)

    @guarded
    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """A socket is closed."""
        self._sockets.ended(flow)

    @guarded
    def tls_failed_client(self, data: tls.TlsData) -> None:
        """The only sign here of a client that does not trust our CA: it never sends a request."""
        host = data.conn.sni
        if host is None and data.context.server.address is not None:
            host = data.context.server.address[0]
        self._complaints.say(
            f"TLS {host}",
            logging.WARNING,
            f"a client broke off TLS for {host or 'an unknown host'}, so nothing of it can be "
            f"recorded; does it trust mitmproxy's CA? ({data.conn.error or 'no reason given'})",
        )

    def _tee(self, flow: http.HTTPFlow, recording: Recording, started_ns: int) -> None:
        """Have its bodies told to the recording that has begun."""

        def failed(error: BaseException, flow_id: str = flow.id) -> None:
            self._give_up(flow_id, error)
            self._failed(error)

        live = Exchange(
            flow,
            recording,
            Tap(recording.request_chunk, started_ns, failed),
            Tap(recording.response_chunk, started_ns, failed),
            started_ns,
        )
        self._live.add(live)
        # A flow that already has an error or an answer never goes upstream; mitmproxy does
        # not survive a stream on it. What it streams anyway (stream_large_bodies) is ours too.
        stream = flow.request.stream
        if (self._streams_requests or stream) and goes_upstream(flow):
            flow.request.stream = live.request_stream = (
                before(live.request_tap, stream) if callable(stream) else live.request_tap
            )

    def _give_up(self, flow_id: str, error: BaseException, *, refused: bool = False) -> None:
        """Something of ours raised: what is recorded of the flow ends as the prefix it is."""
        text = _broke(error, refused)
        try:
            self._live.give_up(flow_id, text)
            self._sockets.failed(flow_id, text)
        except Exception as second:  # The writer ends it when it is closed.
            self._failed(second)

    # -- upkeep -------------------------------------------------------------------------------

    @property
    def _location(self) -> str:
        return str(getattr(ctx.options, settings.STORE))

    def _tick(self) -> None:
        """Every TICK_S: end overdue exchanges, try for a store that is out of reach."""
        if orphaned():
            ctx.master.shutdown()
            return
        self._tick_handle = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        with contextlib.suppress(exceptions.OptionsError):
            self._streams_requests = settings.streams_requests(self)
        for live in [live for live in self._live.all() if live.overdue]:
            self._live.end(live, Transport.COMPLETE)
        self._admission.look(self._link.writer)
        if self._link.writer is None:
            self._complaints.say("store", logging.ERROR, f"NOT RECORDING: {self._link.trouble}")
            self._link.reopen(self._location, self._opened)

    def _opened(self) -> None:
        """Tell the store where we listen, and the user that we record."""
        writer = self._link.writer
        if writer is None:
            return
        self._keeping.opened(writer)
        writer.counters.max_bytes = settings.max_bytes()
        writer.announce(",".join(self._addresses))
        on = writer.keys.on
        logger.info(
            "flowtap: recording %d key%s to %s", on, "" if on == 1 else "s", self._link.place
        )
        self._say_options()

    def _say_options(self) -> None:
        """What is out of the ordinary."""
        if self._admission.required:
            logger.warning(
                "flowtap: calls that cannot be recorded are refused (%s)", settings.REQUIRED
            )
        if self._keeping.ring is not None:
            logger.info(
                "flowtap: holding the latest calls of other keys in up to %s bytes of memory (%s)",
                f"{self._keeping.ring.limit:,}",
                settings.RING,
            )
        if (limit := settings.max_bytes()) is not None:
            logger.info(
                "flowtap: the oldest records go where they take more than %s bytes (%s)",
                f"{limit:,}",
                settings.MAX_SIZE,
            )

    def _failed(self, error: BaseException) -> None:
        """Count what raised in a hook or a tap."""
        self.failures += 1
        writer = self._link.writer
        if writer is not None:
            counters = writer.counters
            told = counters.recorded + counters.unmatched + counters.refused
            counters.lost = counters.seen - told
        refuses = self._admission.required
        traffic = "calls not begun are refused" if refuses else "the traffic is not affected"
        self._complaints.say(
            "failure",
            logging.ERROR,
            f"recording failed, {traffic} ({self.failures} so far): "
            f"{type(error).__name__}: {error_line(str(error))}",
            error,
        )


def _broke(error: BaseException, refused: bool = False) -> str:
    """What the record says. The class only: its text may hold anything, and is in the log."""
    then = "was refused" if refused else "went on"
    return f"Recording failed ({type(error).__name__}); the call {then}."
