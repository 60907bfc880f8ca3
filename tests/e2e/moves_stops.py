"""The ends that a proxy makes of what is in flight: signals, its own patience, a reload."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from store.record import Record, State
from tests.e2e import moves_http2 as h2
from tests.e2e.harness import Call, Client, Proxy, head, wait_for
from tests.e2e.http2 import H2Client
from tests.e2e.moves_http1 import (
    ASKED,
    FIRST,
    LAST,
    PREFIX,
    REFUSAL,
    Play,
    Up,
    asked,
    chunk,
    finishes,
    part,
    prefix,
    released,
    says,
    silent,
    streams,
    whole,
)
from tests.e2e.stage import H1, H2, SIGNALS, Scene, Stage, copied_addon, touch

POSITIONS = ("streaming", "waiting", "uploading", "http2", "early", "held")
"""Where exchanges stand when the proxy is stopped."""


def stopped(signals: Sequence[str], position: str) -> Play:
    """The proxy gets one of those signals with an exchange in each of POSITIONS; a record for each."""

    def play(stage: Stage, case: str) -> list[Record]:
        found = []
        for name in signals:
            if name not in stage.memo:
                stage.memo[name] = _stop(stage, name)
            (record,) = stage.memo[name][position]
            found.append(record)
        return found

    return play


@contextlib.contextmanager
def _opened(stage: Stage, proxy: Proxy, cases: dict[str, str]) -> Iterator[None]:
    """An exchange at each of those positions, under its case's name; all that passed is on disk."""
    scenes = {
        position: Scene(stage, proxy, case, "hold-responseheaders" if position == "held" else "")
        for position, case in cases.items()
    }
    by_path = {scene.path: position for position, scene in scenes.items()}

    def script(call: Call) -> None:
        position = by_path[call.path]
        SCRIPTS[position](call, scenes[position])

    stage.h1.script = script
    stage.h2.early = None
    stage.h2.streams = lambda stream: h2.headed(FIRST)(stream, scenes["http2"])
    with contextlib.ExitStack() as stack:
        for position, scene in scenes.items():
            if position == "http2":
                stack.enter_context(H2Client(proxy, H2)).post(scene.path, ASKED)
            else:
                client = stack.enter_context(Client(proxy, H1))
                ask = part if position in ("uploading", "early") else whole
                client.send(ask(scene, H1))
        for position, scene in scenes.items():
            # More than what is on disk nobody can ask of a killed process.
            scene.live(_is_at(position))
        yield


SCRIPTS: dict[str, Up] = {
    "streaming": asked(streams(FIRST, then=silent)),
    "waiting": asked(silent),
    "uploading": prefix(silent),
    "early": prefix(says(head(413, [("content-length", str(len(REFUSAL)))]) + REFUSAL, silent)),
    "held": asked(streams(FIRST, then=silent)),
}


def _is_at(position: str) -> Callable[[Record], bool]:
    """Whether a record in flight is where it is to be."""
    asks = PREFIX if position in ("uploading", "early") else ASKED
    gets = {"streaming": FIRST, "http2": FIRST, "early": REFUSAL}.get(position, b"")

    def ready(record: Record) -> bool:
        headed = position in ("waiting", "uploading") or record.response is not None
        return headed and (asks, gets) == (record.request_body.data, record.response_body.data)

    return ready


def _stop(stage: Stage, name: str) -> dict[str, list[Record]]:
    cases = {position: f"{name}-{position}" for position in POSITIONS}
    with stage.another(name) as proxy, _opened(stage, proxy, cases):
        status = proxy.signal(SIGNALS[name])
    if name == "SIGKILL":
        with stage.another(name):
            return {position: stage.ended(case) for position, case in cases.items()}
    assert 0 == status
    # Written before it was gone: nothing is waited for.
    found = {position: stage.found(case) for position, case in cases.items()}
    assert all(r.meta.state is State.DONE for records in found.values() for r in records)
    return found


def overdue(position: str) -> Play:
    """mitmproxy's watchdog finds an exchange in each of four positions."""

    def play(stage: Stage, case: str) -> list[Record]:
        if "overdue" not in stage.memo:
            stage.memo["overdue"] = _overdue(stage)
        return stage.memo["overdue"][position]

    return play


def _overdue(stage: Stage) -> dict[str, list[Record]]:
    cases = {name: f"overdue-{name}" for name in ("streaming", "waiting", "uploading", "http2")}
    with _opened(stage, stage.proxy("impatient"), cases):
        return {position: stage.ended(case) for position, case in cases.items()}


def reloaded(stage: Stage, case: str) -> list[Record]:
    """mitmproxy runs main.py anew while a stream is open; the client gets the rest all the same."""
    folder = stage.folder / "checkout"
    folder.mkdir()
    main = copied_addon(folder)
    with stage.another("reload", script=main) as proxy:
        scene = Scene(stage, proxy, case)
        up = asked(streams(FIRST, then=released(chunk(LAST, finishes))))
        stage.h1.script = lambda call: up(call, scene)
        with Client(proxy, H1) as client:
            client.send(whole(scene, H1))
            client.read_until(FIRST)
            touch(main)
            wait_for(lambda: proxy.log.count("flowtap: recording 1 key") == 2, "the reload")
            found = stage.ended(case)
            scene.released.set()
            client.read_until(LAST + b"\r\n0\r\n\r\n")
        # And it records again.
        assert found == stage.none(case, proxy)
    return found
