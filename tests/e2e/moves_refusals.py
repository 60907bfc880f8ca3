"""Calls that `flowtap_required` refuses in the state table: the store is in trouble just for them."""

import contextlib
from collections.abc import Iterator

from store.record import Record
from tests.e2e import moves_http1 as h1
from tests.e2e.harness import Client
from tests.e2e.http2 import H2Client
from tests.e2e.moves_http1 import ASKED, Ask, Play
from tests.e2e.stage import H1, H2, Scene, Stage

RIG = "required"


@contextlib.contextmanager
def _trouble(stage: Stage) -> Iterator[list[str]]:
    """The store fails; gives the calls that reach an upstream meanwhile."""
    reached: list[str] = []
    stage.h1.script = lambda call: reached.append(call.path)
    stage.h2.streams = lambda stream: reached.append("a stream")
    stage.sign.touch()
    try:
        yield reached
    finally:
        stage.sign.unlink()


def over_http1(ask: Ask = h1.whole) -> Play:
    """A 503 that says why, and nothing upstream."""

    def run(stage: Stage, case: str) -> list[Record]:
        proxy = stage.proxy(RIG)
        scene = Scene(stage, proxy, case)
        with _trouble(stage) as reached, Client(proxy, H1) as client:
            client.send(ask(scene, H1))
            answer = client.read_until(b'"}}')
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"flowtap_store_unavailable" in answer
        assert [] == reached
        return stage.none(case, proxy)

    return run


def over_http2(stage: Stage, case: str) -> list[Record]:
    """The same over HTTP/2."""
    proxy = stage.proxy(RIG)
    scene = Scene(stage, proxy, case)
    with _trouble(stage) as reached, H2Client(proxy, H2) as client:
        stream = client.post(scene.path, ASKED)
        assert "end" == client.read_stream(stream)
        assert b"flowtap_store_unavailable" in client.bodies[stream]
    assert [] == reached
    return stage.none(case, proxy)
