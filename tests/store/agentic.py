"""Authored requests of agents, as they grow: history sent again with each turn, a marker that moves."""

import json
import random
from collections.abc import Iterator


def session(
    seed: int, turns: int = 50, start: int = 200_000, end: int = 1_000_000, tools: int = 80_000
) -> Iterator[bytes]:
    """Bodies of a Messages session from about `start` to about `end` bytes.

    Tools and system prompt (`tools` bytes) are those of every session; a cache_control marker is
    on the last message alone, so it moves; a value in the system prompt changes each turn.
    """
    shared = _Prose(0)
    own = _Prose(seed)
    catalogue = [
        {
            "name": f"tool_{n}",
            "description": shared(tools // 20),
            "input_schema": {"type": "object"},
        }
        for n in range(20)
    ]
    messages: list[dict[str, object]] = [{"role": "user", "content": own(start - tools)}]
    for _ in range(turns):
        marked = [*messages]
        last = marked[-1]
        marked[-1] = {
            "role": last["role"],
            "content": [
                {"type": "text", "text": last["content"], "cache_control": {"type": "ephemeral"}}
            ],
        }
        yield json.dumps(
            {
                "model": "claude-test-1",
                "system": f"billing cch={own.random.getrandbits(20):05x}; " + shared(200),
                "messages": marked,
                "tools": catalogue,
                "stream": True,
            }
        ).encode()
        size = (end - start) // max(1, turns - 1)
        messages += [
            {"role": "assistant", "content": own(size // 4)},
            {"role": "user", "content": own(size - size // 4)},
        ]


class _Prose:
    """Text that compresses about as prose and code do."""

    def __init__(self, seed: int) -> None:
        self.random = chance = random.Random(seed)  # noqa: S311 - the same each time
        self._words = [
            "".join(chance.choices("etaoinshrdlu_.(){}", k=chance.randint(2, 11)))
            for _ in range(4_000)
        ]
        self._weights = [1 / (n + 10) for n in range(len(self._words))]

    def __call__(self, size: int) -> str:
        words = self.random.choices(self._words, self._weights, k=size // 6)
        return " ".join(words)[:size]
