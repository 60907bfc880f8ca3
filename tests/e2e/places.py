"""Where our side of the proxy can be made to raise (raising.py), and what is then of the record."""

NONE = "none"
"""It is not known to be a model call yet: nothing is recorded, nothing counted."""

LOST = "lost"
"""No record; it is counted."""

CUT = "cut"
"""A record that ends there and says so."""

OPEN = "open"
"""A record that nothing here can end: it is ended when the store is closed."""

PLACES: dict[str, str] = {
    "recorder.detect": NONE,
    "recorder.path_of": NONE,
    "recorder.credentials": LOST,
    "Admission.begin": LOST,
    "HashedKeys.match": LOST,
    "recorder.request_head": LOST,
    "LocalWriter.begin": LOST,
    "Tap.__init__": CUT,
    "Exchange.__init__": CUT,
    "tap.monotonic_ns": CUT,
    "Meter.__init__": CUT,
    "Meter.add": CUT,
    "Meter.passed": CUT,
    "Exchange.now": CUT,
    "Exchange.wire": CUT,
    "exchange.response_head": CUT,
    "Exchange.head": CUT,
    "InFlight.end": CUT,
    "LocalRecording.request_chunk": CUT,
    "LocalRecording.request_end": CUT,
    "LocalRecording.response_head": CUT,
    "LocalRecording.response_chunk": CUT,
    "LocalRecording.response_chunk+Complaints.say": CUT,
    "LocalRecording.end": OPEN,
}

RING_PLACES = (
    "admission.client_of",
    "admission.fingerprint",
    "LocalWriter.unmatched",
    "LocalWriter.new_id",
    "Ring.hold",
    "Ring.grow",
    "Ring.end",
    "Held.__init__",
    "Held.request_chunk",
    "Held.response_head",
    "Held.response_chunk",
    "Held.end",
    "Keeping.poll",
    "Keeping.step",
    "LocalWriter.asks",
)
"""What runs for a call of no key that is on, where there is a ring: it passes, and is no loss."""

HOOKS = (
    "Recorder.requestheaders",
    "Recorder.request",
    "Recorder.responseheaders",
    "Recorder.response",
    "Recorder.error",
    "Recorder.client_disconnected",
)
"""Raising outside of their guard, as if that were broken: mitmproxy's own is what is left."""
