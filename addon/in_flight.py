"""The exchanges that are being recorded now. Each is in here from its begin until its record has
ended, which happens once; every later hook of its flow finds nothing and does nothing."""

from collections import defaultdict

from addon.exchange import Exchange, error_line
from store.record import Transport

MISTAKEN = (Transport.COMPLETE, Transport.UPSTREAM_CLOSED, Transport.UPSTREAM_ERROR)
"""What mitmproxy says of an exchange whose real answer it lost."""


class InFlight:
    """By their flows and by their clients."""

    def __init__(self) -> None:
        self._live: dict[str, Exchange] = {}
        self._of_client: defaultdict[str, set[str]] = defaultdict(set)

    def __contains__(self, flow_id: str) -> bool:
        return flow_id in self._live

    def add(self, live: Exchange) -> None:
        """Its record has begun."""
        self._live[live.flow_id] = live
        self._of_client[live.client_id].add(live.flow_id)

    def get(self, flow_id: str) -> Exchange | None:
        """None once its record has ended, and where none ever began."""
        return self._live.get(flow_id)

    def all(self) -> list[Exchange]:
        """Those there are now."""
        return list(self._live.values())

    def of_client(self, client_id: str) -> list[Exchange]:
        """Those on one connection."""
        return [self._live[flow_id] for flow_id in self._of_client.get(client_id, ())]

    def end(self, live: Exchange, transport: Transport, message: str | None = None) -> None:
        """The one place where a record ends, once."""
        if live.flow_id not in self._live:
            return
        if live.lost is not None and transport in MISTAKEN:
            transport, message = Transport.KILLED, live.lost
        if message is None:
            message = live.unseen
        live.recording.end(
            live.now(),
            transport,
            error_line(message) if message is not None else None,
            live.wire(),
        )
        self._forget(live)

    def end_left(self, live: Exchange, transport: Transport, message: str) -> None:
        """End what no hook ended; an answer that is whole is whole, whoever leaves now."""
        if live.early_ns is not None:
            self.end(live, Transport.COMPLETE)
        else:
            self.end(live, transport, message)

    def give_up(self, flow_id: str, text: str) -> None:
        """Something of ours raised: end the record with the prefix it has, as simply as can be.
        Of what passed nothing is told, since more will."""
        live = self._live.get(flow_id)
        if live is not None:
            self._forget(live)
            at_ms = max(live.request_tap.last_ms, live.response_tap.last_ms)
            live.recording.end(at_ms, Transport.RECORDER_FAILED, text)

    def _forget(self, live: Exchange) -> None:
        del self._live[live.flow_id]
        flows = self._of_client[live.client_id]
        flows.discard(live.flow_id)
        if not flows:
            del self._of_client[live.client_id]
