"""What the two sides of a session on a WebSocket do in the state table: one message each way, then an end."""

from collections.abc import Callable

from wsproto import ConnectionType

from store.record import Record, State
from tests.e2e.harness import KEY, Call, Client
from tests.e2e.moves_http1 import Down, Play, Up, play
from tests.e2e.stage import H1, SIGNALS, Scene, Stage
from tests.e2e.websocket import Peer, accept

SAID = b'{"type":"session.update","session":{}}'
HEARD = b'{"type":"session.created","session":{"id":"sess_1"}}'

type End = Callable[[Peer], object]


def hello(scene: Scene, host: str) -> bytes:
    """A session's opening."""
    return (
        b"GET /v1/realtime?%s&model=gpt-test-1 HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer %s\r\n\r\n"
        % (scene.path.partition("?")[2].encode(), host.encode(), KEY.encode())
    )


def hears(peer: Peer) -> None:
    """Until the other side closes."""
    assert peer.hear() is None


def closes(code: int) -> End:
    """A close frame, and the other side's."""

    def end(peer: Peer) -> None:
        peer.close(code)
        hears(peer)

    return end


def server(end: End) -> Up:
    """Hear one message, answer it with one, and end so."""

    def up(call: Call, scene: Scene) -> None:
        peer = accept(call)
        peer.hear()
        peer.say(HEARD)
        end(peer)
        call.cut()

    return up


def client(end: End) -> Down:
    """Say one message, hear one, and end so."""

    def down(connection: Client, scene: Scene) -> None:
        end(talking(connection))

    return down


def talking(connection: Client) -> Peer:
    """The client's end, after one message each way."""
    connection.read_until(b"\r\n\r\n")
    rest = connection.received.partition(b"\r\n\r\n")[2]

    def receive() -> bytes:
        before = len(connection.received)
        connection.read_more()
        return connection.received[before:]

    peer = Peer(ConnectionType.CLIENT, connection.send, receive, rest, None)
    peer.say(SAID)
    peer.hear_all(1)
    return peer


def session(up: End, down: Down) -> Play:
    """A session with those ends on either side."""
    return play(server(up), down, ask=hello)


def leaves(connection: Client, scene: Scene) -> None:
    """Gone without a goodbye."""
    talking(connection)
    connection.close()


def silently(peer: Peer) -> None:
    """Say nothing more: what comes behind is the end."""


def stopped(signal: str) -> Play:
    """The proxy gets that signal in mid-session."""

    def play(stage: Stage, case: str) -> list[Record]:
        def ready(record: Record) -> bool:
            return (SAID, HEARD) == (record.request_body.data, record.response_body.data)

        with stage.another(f"session-{signal}") as proxy:
            scene = Scene(stage, proxy, case)
            up = server(hears)
            stage.h1.script = lambda call: up(call, scene)
            with Client(proxy, H1) as connection:
                connection.send(hello(scene, H1))
                talking(connection)
                scene.live(ready)
                proxy.signal(SIGNALS[signal])
        if signal == "SIGKILL":
            with stage.another(f"session-{signal}"):
                return stage.ended(case)
        found = stage.found(case)
        assert all(record.meta.state is State.DONE for record in found)
        return found

    return play
