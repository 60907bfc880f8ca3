"""The same over HTTP/3, through a proxy in reverse mode: what the upstream does, what the client does, and the play."""

from collections.abc import Callable

from store.record import Record
from tests.e2e.harness import DEADLINE_S
from tests.e2e.http3 import IDLE_S, H3Client, H3Stream
from tests.e2e.moves_http1 import ASKED, PREFIX, REFUSAL, Play
from tests.e2e.stage import H3, Scene, Stage
from tests.e2e.upstream import Gone

type Up = Callable[[H3Stream, Scene], None]
type Down = Callable[[H3Client, int, Scene], None]

LOST_S = 2.0
"""How long a silent connection is given where it is to be lost: long enough for a handshake on a busy
machine, as every datagram counts anew."""


def play(
    up: Up,
    down: Down,
    *,
    body: bytes = ASKED,
    end: bool = True,
    rig: str = "http3",
    client_idle_s: float = IDLE_S,
    upstream_idle_s: float = IDLE_S,
) -> Play:
    """One exchange; the record must be done while the client's connection is still open, unless it
    closed it."""

    def run(stage: Stage, case: str) -> list[Record]:
        proxy = stage.proxy(rig)
        scene = Scene(stage, proxy, case)
        stage.h3.streams = lambda stream: up(stream, scene)
        stage.h3.idle_s = upstream_idle_s
        with H3Client(proxy, H3, idle_s=client_idle_s) as client:
            down(client, client.post(scene.path, body, end=end), scene)
            return stage.ended(case)

    return run


# -- upstream -------------------------------------------------------------------------------------


def asked(then: Up) -> Up:
    """Read the whole request, say so, and go on."""

    def up(stream: H3Stream, scene: Scene) -> None:
        stream.read_body()
        scene.reached.set()
        then(stream, scene)

    return up


def prefix(then: Up) -> Up:
    """Read what there is of the request, say so, and go on."""

    def up(stream: H3Stream, scene: Scene) -> None:
        while PREFIX not in stream.body:
            if not stream.read_some():
                raise Gone
        scene.reached.set()
        then(stream, scene)

    return up


def silent(stream: H3Stream, scene: Scene) -> None:
    """Say nothing more until the proxy gives it up."""
    stream.wait_closed()


def streams(*events: bytes, then: Callable[[H3Stream], None]) -> Up:
    """An event stream, and then that."""

    def up(stream: H3Stream, scene: Scene) -> None:
        stream.start()
        for event in events:
            stream.chunk(event)
        then(stream)

    return up


def does(act: Callable[[H3Stream], None]) -> Up:
    """No head before it."""

    def up(stream: H3Stream, scene: Scene) -> None:
        act(stream)

    return up


def received(event: bytes, then: Callable[[H3Stream], None]) -> Up:
    """An event, and that once the client has it: a reset overtakes what was sent before it."""

    def up(stream: H3Stream, scene: Scene) -> None:
        stream.start()
        stream.chunk(event)
        scene.wait_released()
        then(stream)

    return up


def reads_rest(then: Up) -> Up:
    """The rest of a request, after its beginning."""

    def up(stream: H3Stream, scene: Scene) -> None:
        stream.read_body()
        assert ASKED == stream.body
        then(stream, scene)

    return up


def refuses(stream: H3Stream, scene: Scene) -> None:
    """A whole answer, and nothing of it is left to come once the client has its body."""
    stream.start(413)
    stream.last(REFUSAL)


def checksums(stream: H3Stream) -> None:
    stream.trailers([(b"x-checksum", b"1")])


def informs(stream: H3Stream) -> None:
    """103, then the answer."""
    stream.start(103)
    stream.start()
    stream.wait_closed()


# -- client ---------------------------------------------------------------------------------------


def ends(client: H3Client, stream: int, scene: Scene) -> None:
    """Read until the stream is over."""
    client.read_stream(stream)


def after(mark: bytes, then: Down) -> Down:
    """Once those bytes have come."""

    def down(client: H3Client, stream: int, scene: Scene) -> None:
        client.read_stream(stream, mark)
        then(client, stream, scene)

    return down


def when_reached(then: Down) -> Down:
    """Once the upstream has the request, or what there is of it."""

    def down(client: H3Client, stream: int, scene: Scene) -> None:
        assert scene.reached.wait(DEADLINE_S)
        then(client, stream, scene)

    return down


def stops(client: H3Client, stream: int, scene: Scene) -> None:
    client.stop(stream)


def aborts(client: H3Client, stream: int, scene: Scene) -> None:
    client.abort(stream)


def hangs_up(client: H3Client, stream: int, scene: Scene) -> None:
    client.close()


def vanishes(client: H3Client, stream: int, scene: Scene) -> None:
    client.vanish()


def releases(client: H3Client, stream: int, scene: Scene) -> None:
    """Let the upstream go on, and read to the end."""
    scene.released.set()
    client.read_stream(stream)


def sends_rest(client: H3Client, stream: int, scene: Scene) -> None:
    client.more(stream, ASKED[len(PREFIX) :])
    client.read_stream(stream)


def stays(client: H3Client, stream: int, scene: Scene) -> None:
    """Do nothing more."""
