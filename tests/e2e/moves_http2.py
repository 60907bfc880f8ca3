"""The same over HTTP/2: what a stream of the upstream does, what the client does, and the play."""

from collections.abc import Callable

from store.record import Record
from tests.e2e.http2 import H2Client, Stream
from tests.e2e.moves_http1 import ASKED, FIRST, LAST, PREFIX, REFUSAL, STREAM, Play, Up
from tests.e2e.stage import H2, Scene, Stage

type Streams = Callable[[Stream, Scene], None]
type Down = Callable[[H2Client, int, Scene], None]


def play(
    streams: Streams,
    down: Down,
    *,
    body: bytes = ASKED,
    end: bool = True,
    early: bool = False,
    rig: str = "main",
    host: str = H2,
    over_h1: Up | None = None,
) -> Play:
    """One exchange over HTTP/2; `early`: the upstream acts at each DATA frame of the request.
    `over_h1` for a host whose upstream has no HTTP/2. The record must be done while the client's
    connection is still open, unless it closed it.
    """

    def run(stage: Stage, case: str) -> list[Record]:
        proxy = stage.proxy(rig)
        scene = Scene(stage, proxy, case)
        stage.h2.streams = lambda stream: streams(stream, scene)
        stage.h2.early = stage.h2.streams if early else None
        if over_h1 is not None:
            stage.h1.script = lambda call: over_h1(call, scene)
        with H2Client(proxy, host) as client:
            down(client, client.post(scene.path, body, end=end), scene)
            return stage.ended(case)

    return run


def reached(then: Streams) -> Streams:
    def up(stream: Stream, scene: Scene) -> None:
        scene.reached.set()
        then(stream, scene)

    return up


def quiet(stream: Stream, scene: Scene) -> None:
    """No answer."""


def headed(*chunks: bytes, then: Callable[[Stream], None] = lambda stream: None) -> Streams:
    """A head, DATA frames, and then that."""

    def up(stream: Stream, scene: Scene) -> None:
        stream.start()
        for chunk in chunks:
            stream.chunk(chunk)
        then(stream)

    return up


def at_once(then: Callable[[Stream], None]) -> Streams:
    """No head before it."""

    def up(stream: Stream, scene: Scene) -> None:
        then(stream)

    return up


def empty(stream: Stream) -> None:
    stream.start(end=True)


def informs(stream: Stream) -> None:
    """103, then the answer."""
    stream.inform(103)
    stream.start()
    stream.chunk(STREAM)
    stream.finish()


def checksums(stream: Stream) -> None:
    stream.trailers([("x-checksum", "1")])


def goes_away_late(stream: Stream, scene: Scene) -> None:
    """Wants to restart, and would finish what it has begun."""
    stream.start()
    stream.chunk(FIRST)
    stream.go_away_later()
    scene.wait_released()
    stream.chunk(LAST)
    stream.finish()


def refuses_early(stream: Stream) -> None:
    """A whole answer at the first bytes of the upload, and nothing of it is left to come once the
    client has its body."""
    if stream.body == PREFIX:
        stream.start(413)
        stream.last(REFUSAL)


def ends(client: H2Client, stream: int, scene: Scene) -> None:
    """Read until the stream is over."""
    client.read_stream(stream)


def ends_and_releases(client: H2Client, stream: int, scene: Scene) -> None:
    """The same, and let the upstream go on."""
    client.read_stream(stream)
    scene.released.set()


def cancels(mark: bytes | None = None) -> Down:
    """RST_STREAM once those bytes have come, or the request is with the upstream."""

    def down(client: H2Client, stream: int, scene: Scene) -> None:
        if mark is None:
            scene.wait_reached()
        else:
            client.read_stream(stream, mark)
        client.cancel(stream)

    return down


def hangs_up(mark: bytes) -> Down:
    """Close the connection once those bytes have come."""

    def down(client: H2Client, stream: int, scene: Scene) -> None:
        client.read_stream(stream, mark)
        client.close()

    return down


def sends_rest(mark: bytes) -> Down:
    """The rest of the upload once those bytes have come."""

    def down(client: H2Client, stream: int, scene: Scene) -> None:
        client.read_stream(stream, mark)
        client.more(stream, ASKED[len(PREFIX) :])

    return down


def stays(mark: bytes) -> Down:
    """Read that, and do nothing more: the stream stays open."""

    def down(client: H2Client, stream: int, scene: Scene) -> None:
        client.read_stream(stream, mark)

    return down
