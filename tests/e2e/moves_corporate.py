"""Ends that the proxy of a company makes, in upstream mode."""

from store.record import Record
from tests.e2e import moves_http1 as h1
from tests.e2e.harness import Client
from tests.e2e.moves_http1 import Ask, Down, Play, Up
from tests.e2e.stage import H1, PLAIN, Scene, Stage

UNAUTHORIZED = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
    b'Proxy-Authenticate: Basic realm="corp"\r\nContent-Length: 0\r\n\r\n'
)
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"


def play(up: Up, down: Down, *, refusal: bytes | None = None, plain: bool = False) -> Play:
    """One exchange through it; `refusal` is all it says; `plain`: without TLS, so without CONNECT."""
    ask: Ask = h1.absolute if plain else h1.whole
    through = h1.play(up, down, rig="corporate", host=PLAIN if plain else H1, ask=ask)

    def run(stage: Stage, case: str) -> list[Record]:
        stage.corporate.refusal = refusal
        return through(stage, case)

    return run


def cuts(client: Client, scene: Scene) -> None:
    """It is gone, with everything that went through it."""
    scene.stage.corporate.cut()
    client.read_to_end()
