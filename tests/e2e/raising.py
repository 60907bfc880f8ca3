"""A mitmproxy script: our addon, raising where the latest request says: `raise=PLACE`, or `PLACE+PLACE`.

Requests come one at a time in the test. A place is armed from its request's headers on, so it is
also armed where nothing but the recording tells which exchange it was.
"""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mitmproxy import http

addons: list[Any] = runpy.run_path(str(Path(__file__).parents[2] / "addon" / "main.py"))["addons"]

from addon import (  # noqa: E402 - found by main.py
    admission,
    complaints,
    exchange,
    in_flight,
    keeping,
    meter,
    recorder,
    ring,
    tap,
)
from store import handover, keys, writer  # noqa: E402
from tests.e2e.places import HOOKS, PLACES, RING_PLACES  # noqa: E402

complaints.EVERY_S = 0.0

_OWNERS: dict[str, Any] = {
    "admission": admission,
    "Admission": admission.Admission,
    "Keeping": keeping.Keeping,
    "Meter": meter.Meter,
    "Ring": ring.Ring,
    "Held": ring.Held,
    "recorder": recorder,
    "Recorder": recorder.Recorder,
    "exchange": exchange,
    "Exchange": exchange.Exchange,
    "InFlight": in_flight.InFlight,
    "tap": tap,
    "Tap": tap.Tap,
    "Complaints": complaints.Complaints,
    "HashedKeys": keys.HashedKeys,
    "LocalWriter": writer.LocalWriter,
    "LocalRecording": handover.LocalRecording,
}

_armed: list[str] = []


class Arm:
    """Loaded before ours: notes the place before any hook of ours runs."""

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        global _armed
        _armed = flow.request.path.rpartition("raise=")[2].split("+")


def _raising(place: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **keywords: Any) -> Any:
        if place in _armed:
            raise ZeroDivisionError(place)
        return inner(*args, **keywords)

    return run


for _place in {place for each in (*PLACES, *HOOKS, *RING_PLACES) for place in each.split("+")}:
    _owner, _, _name = _place.partition(".")
    setattr(_OWNERS[_owner], _name, _raising(_place, getattr(_OWNERS[_owner], _name)))

addons = [Arm(), *addons]
