"""What a user asks of running proxies, and what they answer: to record what their memory holds.

The ask is a row of keys.db, which every writer reads again when it changes, so that waiting for
asks costs nothing; the answers are rows of index.db, the one database a writer changes. Who asked
removes both; what a killed one left goes with the next ask or sweep.
"""

import sqlite3
import time
from collections import deque
from collections.abc import Iterable

from store.index import Index
from store.layout import Layout, is_held
from store.record import Ask, Kept

FRESH_S = 30.0
"""An ask met later than that is not answered: who asked has stopped waiting."""

LEFT_MS = 60_000
"""What is older was left by a process that was killed."""

POLL_S = 0.05


class NewAsks:
    """The asks that a writer has not met yet: read by its thread, taken by the loop."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        # Those before its start are not its own: nobody waits for it.
        self._met = {row[0] for row in self._rows()}
        self._new: deque[Ask] = deque()

    def _rows(self) -> list[tuple[str, str, int, str | None, int]]:
        return self._connection.execute(
            "SELECT id, key_id, since_ms, fingerprint, created_ms FROM asks ORDER BY created_ms"
        ).fetchall()

    def read(self) -> list[Ask]:
        """Those that are new and fresh, each once; to be given to `put` once their keys are known."""
        rows = self._rows()
        oldest_ms = time.time_ns() // 1_000_000 - FRESH_S * 1000
        new = [
            Ask(ask_id, key_id, since_ms, fingerprint)
            for ask_id, key_id, since_ms, fingerprint, created_ms in rows
            if ask_id not in self._met and created_ms >= oldest_ms
        ]
        self._met = {row[0] for row in rows}
        return new

    def put(self, asks: Iterable[Ask]) -> None:
        """Let the loop have them."""
        self._new.extend(asks)

    def take(self) -> list[Ask]:
        """All there are; the loop alone takes."""
        return [self._new.popleft() for _ in range(len(self._new))]


def rings(layout: Layout, index: Index) -> tuple[set[str], int]:
    """The running proxies: the writers of those that have a ring, and how many have none."""
    rows = index.connection.execute("SELECT writer, has_ring FROM proxies").fetchall()
    living = [(writer, has_ring) for writer, has_ring in rows if _living(layout, writer)]
    return {writer for writer, has_ring in living if has_ring}, sum(not ring for _, ring in living)


def _living(layout: Layout, writer: str) -> bool:
    return is_held(layout.live / writer / "lock")


def await_answers(
    layout: Layout, index: Index, ask_id: str, expected: set[str], timeout_s: float
) -> Kept:
    """Wait until all of `expected` have answered or are gone, or the time is up; without those that have no ring."""
    give_up = time.monotonic() + timeout_s
    while True:
        # Asked first: one that answers and leaves in between has answered.
        living = {writer for writer in expected if _living(layout, writer)}
        answers: dict[str, int] = dict(
            index.connection.execute(
                "SELECT writer, records FROM answers WHERE ask = ?", (ask_id,)
            ).fetchall()
        )
        if living <= answers.keys() or time.monotonic() >= give_up:
            return Kept(
                records=sum(answers.values()),
                answered=len(answers),
                without_ring=0,
                silent=len(expected - answers.keys()),
            )
        time.sleep(POLL_S)
