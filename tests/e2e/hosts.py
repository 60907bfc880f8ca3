"""A mitmproxy script: names lead to the test's own servers, as by an /etc/hosts that knows ports.

Unlike a redirect in `server_connect`, this is below mitmproxy: what it holds for the address stays
the name, so that what it makes of that (Host in reverse mode) is what it makes of it in the world.
"""

import asyncio
import json
import os
from typing import Any

import mitmproxy_rs

PORTS: dict[str, int] = json.loads(os.environ["FLOWTAP_TEST_HOSTS"])
"""By `tcp host:port` or `udp host:port`."""

_open_tcp = asyncio.open_connection
_open_udp = mitmproxy_rs.udp.open_udp_connection


async def open_tcp(host: str, port: int, **keywords: Any) -> Any:
    """For asyncio.open_connection, as mitmproxy calls it."""
    found = PORTS.get(f"tcp {host}:{port}")
    return await _open_tcp(*((host, port) if found is None else ("127.0.0.1", found)), **keywords)


async def open_udp(host: str, port: int, **keywords: Any) -> Any:
    """The same for UDP."""
    found = PORTS.get(f"udp {host}:{port}")
    return await _open_udp(*((host, port) if found is None else ("127.0.0.1", found)), **keywords)


asyncio.open_connection = open_tcp  # type: ignore[assignment]
mitmproxy_rs.udp.open_udp_connection = open_udp
