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
    "HashedKeys.match": LOST,
    "recorder.request_head": LOST,
    "LocalWriter.begin": LOST,
    "Tap.__init__": CUT,
    "Exchange.__init__": CUT,
    "tap.monotonic_ns": CUT,
    "Exchange.now": CUT,
    "recorder.response_head": CUT,
    "Recorder._head": CUT,
    "Recorder._end": CUT,
    "LocalRecording.request_chunk": CUT,
    "LocalRecording.request_end": CUT,
    "LocalRecording.response_head": CUT,
    "LocalRecording.response_chunk": CUT,
    "LocalRecording.response_chunk+Complaints.say": CUT,
    "LocalRecording.end": OPEN,
}

HOOKS = (
    "Recorder.requestheaders",
    "Recorder.request",
    "Recorder.responseheaders",
    "Recorder.response",
    "Recorder.error",
    "Recorder.client_disconnected",
)
"""Raising outside of their guard, as if that were broken: mitmproxy's own is what is left."""
