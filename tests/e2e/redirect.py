"""A mitmproxy script: whatever host a client asks for, the connection goes to the test's upstream.

Name, SNI and certificate checks stay as they are. It has no `request` hook, so flowtap streams.
"""

import os

from mitmproxy.proxy.server_hooks import ServerConnectionHookData

PORT = int(os.environ["FLOWTAP_TEST_UPSTREAM"])


def server_connect(data: ServerConnectionHookData) -> None:
    """To loopback, always."""
    data.server.address = ("127.0.0.1", PORT)
