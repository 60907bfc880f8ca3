"""An LLM API on loopback that plays authored streams over TLS, with their own timing and endings."""

import contextlib
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tui.demo.play import Ending, Play

PLAY_HEADER = "x-demo-play"
"""Which play a request asks for; several have the same path."""


class Upstream:
    """The server. Use as a context."""

    def __init__(self, folder: Path, plays: Sequence[Play], speed: float = 1.0) -> None:
        """`folder` takes the certificate; `speed` 2.0 plays twice as fast."""
        by_name = {play.name: play for play in plays}

        class Handler(_Handler):
            scripts = by_name
            pace = 1.0 / speed

        self._server = _Server(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_certificate(folder, sorted({play.host for play in plays})))
        self._server.socket = context.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves is part of the play, no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    scripts: dict[str, Play]
    pace: float

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the terminal is the UI's."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        play = self.scripts.get(self.headers.get(PLAY_HEADER, ""))
        if play is None:
            self.send_error(404)
            return
        self.send_response(play.status)
        for name, value in play.answer:
            self.send_header(name, value)
        self.send_header("content-type", play.content_type)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for pause_s, data in play.pieces:
            time.sleep(pause_s * self.pace)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        if play.ending is Ending.CUT:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(b"0\r\n\r\n")


def _certificate(folder: Path, hosts: Sequence[str]) -> Path:
    """A certificate of its own signing for `hosts`, with its key, as one PEM file in `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "flowtap demo upstream")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "upstream.pem"
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
