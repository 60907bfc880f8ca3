"""A mitmproxy script of the demonstration: whatever host is asked for, go to the upstream on loopback.

Loaded by mitmproxy beside the recorder, never imported by the UI.
"""

import os

from mitmproxy.proxy.server_hooks import ServerConnectionHookData

VARIABLE = "FLOWTAP_DEMO_UPSTREAM"


def server_connect(data: ServerConnectionHookData) -> None:
    """To loopback, always; name and SNI stay what they are."""
    data.server.address = ("127.0.0.1", int(os.environ[VARIABLE]))
