"""Our options, and what we ask of mitmproxy's. A wrong value stops the start with one message.

mitmproxy converts `--set` values for a script's options after the script's `load`, in a task
that swallows the error: the addon is then missing and the proxy runs on unrecorded. So `load`
converts them itself, while it can still be heard.
"""

import logging
from collections.abc import Iterator
from typing import Any

from mitmproxy import ctx, exceptions
from mitmproxy.addonmanager import Loader, traverse

logger = logging.getLogger(__name__)

STORE = "flowtap_store"
STREAM_REQUESTS = "flowtap_stream_requests"
QUIET = "flowtap_quiet_server_log"
PARENT = "flowtap_parent"

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
