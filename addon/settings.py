"""Our options, and what we ask of mitmproxy's. A wrong value stops the start with one message.

mitmproxy converts `--set` values for a script's options after the script's `load`, in a task
that swallows the error: the addon is then missing and the proxy runs on unrecorded. So `load`
converts them itself, while it can still be heard.
"""

import logging
import re
from collections.abc import Iterator
from typing import Any

from mitmproxy import ctx, exceptions
from mitmproxy.addonmanager import Loader, traverse

logger = logging.getLogger(__name__)

STORE = "flowtap_store"
STREAM_REQUESTS = "flowtap_stream_requests"
QUIET = "flowtap_quiet_server_log"
PARENT = "flowtap_parent"
RING = "flowtap_ring"
REQUIRED = "flowtap_required"
MAX_SIZE = "flowtap_max_size"

STREAM_CHOICES = ("auto", "yes", "no")

NEEDS_WHOLE_REQUEST = (
    "anticache",
    "anticomp",
    "block_list",
    "intercept",
    "map_local",
    "map_remote",
    "modify_body",
    "server_replay",
    "stickyauth",
    "stickycookie",
)
"""mitmproxy's options whose addons act in the `request` hook. Once a request streams, that
hook comes after the upstream has it: a blocked call would go through. `modify_headers`,
`proxyauth` and `upstream_auth` act before and go on working."""

WHOLE_REQUEST_HOOKS = ("request", "requestheaders")
"""Of other scripts. In the second they may answer, and mitmproxy does not survive an answer on a
request that streams: the client would wait for ever."""

TCP_TIMEOUT_S = 3600
"""mitmproxy's own 600 s without a byte cut long silent generations, and look like the client."""


_SIZE = re.compile(r"([1-9][0-9]{0,8})([kmg])\Z", re.ASCII | re.IGNORECASE)
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

RING_LEAST, RING_MOST = 64 << 10, 16 << 30
"""A smaller ring would hold no call of an agent, a larger one is a misprint."""


MAX_SIZE_LEAST, MAX_SIZE_MOST = 1 << 20, 1 << 50
"""In less there is no room for a session of an agent; more is a misprint."""


def add_options(loader: Loader) -> None:
    """Register the options and convert what `--set` gave for them; OptionsError after saying why."""
    loader.add_option(
        STORE,
        str,
        "",
        "Where flowtap records: a directory, or the URL of a scale-out store. Empty means the "
        "FLOWTAP_STORE environment variable, else the user's data directory. "
        "Read at start-up only.",
    )
    loader.add_option(
        STREAM_REQUESTS,
        str,
        "auto",
        "Stream the bodies of recorded requests to the upstream while they arrive. A streamed "
        "request cannot be blocked, mapped or rewritten any more, so auto streams unless an "
        f"option that does so is set ({', '.join(NEEDS_WHOLE_REQUEST)}) or another script has a "
        "request or requestheaders hook; yes streams always; no never does, and the partial body of an upload "
        "that was cut is not recorded. Responses of recorded requests are always streamed.",
        choices=STREAM_CHOICES,
    )
    loader.add_option(
        QUIET,
        bool,
        True,
        "Show only warnings of mitmproxy's connection log (client connect, streaming response "
        "from ...). Writing it costs more than recording does. No effect with -v.",
    )
    loader.add_option(
        PARENT,
        int,
        0,
        "Stop in order once the process of this id is no longer the proxy's parent; 0 for never. "
        "`flowtap` gives it to the proxy it starts, so that none is left behind.",
    )
    loader.add_option(
        RING,
        str,
        "",
        "Hold the latest model calls of keys that are off or unknown in so much memory (64m, "
        "512k, 1g), for `flowtap keep` to record them when something has just gone wrong. Nothing of "
        "them is on disk before, but for what the system swaps out. Such calls are streamed as "
        "recorded ones are. Empty or 0: nothing is held. May be changed while the proxy runs.",
    )
    loader.add_option(
        REQUIRED,
        bool,
        False,
        "Refuse what cannot be recorded: while the store is out of reach or in trouble, calls "
        "of keys that are on are answered 503 and do not go upstream (while it has never been "
        "open: all model calls, since nobody knows which keys are on). Else they pass unrecorded.",
    )
    loader.add_option(
        MAX_SIZE,
        str,
        "",
        "How much the records of the store may take on the disk, of all keys together (10g, 500m). "
        "Where they take more, the oldest are deleted within a minute, but none that is pinned. "
        "Index and keys come on top. Empty or 0: no limit but the retentions. May be changed while "
        "the proxy runs; while several run, the smallest counts.",
    )
    try:
        loader.master.options.process_deferred()
        check()
    except exceptions.OptionsError as error:
        logger.error("flowtap: %s", error)
        raise


def check() -> None:
    """OptionsError for a value outside its choices: mitmproxy lets `--set` give any."""
    value = getattr(ctx.options, STREAM_REQUESTS)
    if value not in STREAM_CHOICES:
        raise exceptions.OptionsError(
            f"{STREAM_REQUESTS} must be one of {', '.join(STREAM_CHOICES)}, not {value!r}"
        )

    ring_bytes()
    max_bytes()


def size_of(text: str) -> int:
    """Bytes, of `64m`, `512k` or `1g`; 0 of an empty text or `0`; ValueError of anything else."""
    if text in ("", "0"):
        return 0
    found = _SIZE.match(text)
    if found is None:
        raise ValueError(f"{text!r} is no size")
    return int(found[1]) * _UNITS[found[2].lower()]


def ring_bytes() -> int:
    """How much memory the ring may take, 0 for none; OptionsError if that makes no sense."""
    return _size(RING, RING_LEAST, RING_MOST, "a size from 64k to 16g (64m, say), or 0 for none")


def max_bytes() -> int | None:
    """How much the store may take, None for no limit; OptionsError if that makes no sense."""
    wanted = "a size from 1m to 1048576g (10g, say), or 0 for no limit"
    return _size(MAX_SIZE, MAX_SIZE_LEAST, MAX_SIZE_MOST, wanted) or None


def _size(option: str, least: int, most: int, wanted: str) -> int:
    value = getattr(ctx.options, option)
    try:
        size = size_of(value)
    except ValueError:
        size = -1
    if size and not least <= size <= most:
        raise exceptions.OptionsError(f"{option} must be {wanted}, not {value!r}")
    return size


def required() -> bool:
    """Whether what cannot be recorded is refused."""
    return bool(getattr(ctx.options, REQUIRED))


def unknown() -> list[str]:
    """Options named flowtap_… that were set and that nobody has: misspelt."""
    return sorted(name for name in ctx.options.deferred if name.startswith("flowtap_"))


def streams_requests(ours: object) -> bool:
    """Whether the bodies of recorded requests are streamed, as things stand."""
    choice = getattr(ctx.options, STREAM_REQUESTS)
    if choice != "auto":
        return bool(choice == "yes")
    if any(getattr(ctx.options, name, None) for name in NEEDS_WHOLE_REQUEST):
        return False
    return not any(
        callable(getattr(addon, hook, None))
        for addon in _scripted()
        if addon is not ours
        for hook in WHOLE_REQUEST_HOOKS
    )


NEEDS_MESSAGES = ("save_stream_file", "hardump")
"""mitmproxy's options whose addons write a WebSocket down when it ends, from the list of all its
messages."""


def messages_needed(ours: object) -> bool:
    """Whether somebody else reads all messages of a WebSocket: such an option, the screens of
    mitmproxy and mitmweb, or another script when it ends."""
    if any(getattr(ctx.options, name, None) for name in NEEDS_MESSAGES):
        return True
    if ctx.master.addons.get("view") is not None:
        return True
    return any(
        callable(getattr(addon, "websocket_end", None))
        for addon in _scripted()
        if addon is not ours
    )


def _scripted() -> Iterator[Any]:
    """The addons that came with scripts, ours among them."""
    loader = ctx.master.addons.get("scriptloader")
    for script in getattr(loader, "addons", ()):
        yield from traverse(script.addons)
