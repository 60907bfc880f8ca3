"""Anthropic's SDK as its users write it: the answer's text on stdout. `async` as the argument: asynchronously."""

import asyncio
import sys
from typing import Any

import anthropic

ASK: dict[str, Any] = {
    "model": "claude-test-1",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Say hello."}],
}


def plain() -> str:
    with anthropic.Anthropic().messages.stream(**ASK) as stream:
        return stream.get_final_text()


async def asynchronous() -> str:
    async with anthropic.AsyncAnthropic().messages.stream(**ASK) as stream:
        return await stream.get_final_text()


sys.stdout.write(asyncio.run(asynchronous()) if "async" in sys.argv else plain())
