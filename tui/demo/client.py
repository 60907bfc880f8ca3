"""The clients of the demonstration: ask for a play through the proxy and read it to its end."""

import http.client
import json
import ssl
from pathlib import Path

from tui.demo.play import Ending, Play
from tui.demo.upstream import PLAY_HEADER

TIMEOUT_S = 30.0

LEAVE_AFTER = 2_000
"""Bytes after which a client that is to leave leaves."""


def perform(play: Play, address: str, certificate: Path) -> None:
    """Send the play's request by way of the proxy at `address` (`host:port`) and take its answer."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=str(certificate))
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=TIMEOUT_S)
    connection.set_tunnel(play.host, 443)
    try:
        body = json.dumps(play.request).encode()
        connection.request("POST", play.path, body, dict(play.headers) | {PLAY_HEADER: play.name})
        response = connection.getresponse()
        taken = 0
        while data := response.read1(65536):
            taken += len(data)
            if play.ending is Ending.LEFT and taken > LEAVE_AFTER:
                return
    except (http.client.HTTPException, OSError):
        if play.ending is Ending.WHOLE:
            raise
    finally:
        connection.close()
