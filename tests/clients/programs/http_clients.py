"""Python's HTTP clients by hand: the body of a streamed chat completion as it came, on stdout.

`python http_clients.py httpx URL`: the client's name, then where to. Nothing is told to any of
them that their users would not tell: aiohttp reads the environment only with `trust_env`.
"""

import asyncio
import json
import os
import sys
import urllib.request
from typing import Any

ASK: dict[str, Any] = {
    "model": "gpt-test-1",
    "stream": True,
    "messages": [{"role": "user", "content": "Say hello."}],
}
HEADERS = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
TIMEOUT_S = 30


def by_httpx(url: str) -> bytes:
    import httpx

    with (
        httpx.Client(http2=True, timeout=TIMEOUT_S) as client,
        client.stream("POST", url, headers=HEADERS, json=ASK) as response,
    ):
        return b"".join(response.iter_bytes())


def by_requests(url: str) -> bytes:
    import requests

    answer = requests.post(url, headers=HEADERS, json=ASK, stream=True, timeout=TIMEOUT_S)
    return b"".join(answer.iter_content(None))


def by_aiohttp(url: str, *, trust_env: bool = False) -> bytes:
    import aiohttp

    async def call() -> bytes:
        async with (
            aiohttp.ClientSession(trust_env=trust_env) as session,
            session.post(url, headers=HEADERS, json=ASK) as response,
        ):
            body: bytes = await response.read()
            return body

    return asyncio.run(call())


def by_aiohttp_trusting(url: str) -> bytes:
    return by_aiohttp(url, trust_env=True)


def by_urllib(url: str) -> bytes:
    headers = HEADERS | {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(ASK).encode(), headers)  # noqa: S310 - https
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - https
        body: bytes = response.read()
        return body


CLIENTS = {
    "httpx": by_httpx,
    "requests": by_requests,
    "aiohttp": by_aiohttp,
    "aiohttp-trust-env": by_aiohttp_trusting,
    "urllib": by_urllib,
}

name, url = sys.argv[1:]
sys.stdout.buffer.write(CLIENTS[name](url))
