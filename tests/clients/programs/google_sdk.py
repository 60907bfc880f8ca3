"""Google's SDK, streaming; with `async` asynchronously."""

import asyncio
import sys
from typing import Any

from google import genai

ASK: dict[str, Any] = {"model": "gemini-test-3", "contents": "Say hello."}


def plain() -> str:
    with genai.Client() as client:
        return "".join(chunk.text or "" for chunk in client.models.generate_content_stream(**ASK))


async def asynchronous() -> str:
    async with genai.Client().aio as client:
        chunks = await client.models.generate_content_stream(**ASK)
        return "".join([chunk.text or "" async for chunk in chunks])


sys.stdout.write(asyncio.run(asynchronous()) if "async" in sys.argv else plain())
