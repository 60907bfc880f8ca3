"""The real SDKs as the tests use them: each streams one answer and says what it made of it.

No proxy is known here: where a client goes, and whom it trusts, is in its environment.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip(
    "anthropic", reason="the SDKs are not installed on Python 3.12 (pyproject.toml)"
)

import anthropic
import openai
from anthropic.types import Message
from google import genai
from google.genai import types
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from collectors.protocol import LlmProtocol
from tests.e2e.authored import CHAT, GEMINI, MESSAGES, RESPONSES
from tests.e2e.harness import KEY

PROMPT = "What is the weather in Zürich? canary-prompt-7431"


@dataclass(frozen=True, slots=True)
class To:
    """Where a call goes, and what it says."""

    base: str | None
    """The upstream's address; None: the SDK's own."""
    key: str = KEY
    prompt: str = PROMPT

    @property
    def v1(self) -> str | None:
        """The address as OpenAI's SDK takes it."""
        return None if self.base is None else f"{self.base}/v1"

    @property
    def messages(self) -> list[Any]:
        """The conversation so far."""
        return [{"role": "user", "content": self.prompt}]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client got: every event as it handed it out, and the message it accumulated."""

    events: list[Any]
    message: Any


def plain(item: Any) -> Any:
    """A value of an SDK's types as JSON, absent and null alike left out."""
    return item.model_dump(mode="json", exclude_none=True, warnings=False)


# -- the clients ----------------------------------------------------------------------------------


LIMITS: dict[str, Any] = {"max_retries": 0, "timeout": 30.0}


def messages(to: To) -> Seen:
    with (
        anthropic.Anthropic(api_key=to.key, base_url=to.base, **LIMITS) as client,
        client.messages.stream(
            model="claude-test-1", max_tokens=100, messages=to.messages
        ) as stream,
    ):
        return Seen([plain(event) for event in stream], plain(stream.get_final_message()))


async def messages_async(to: To) -> Seen:
    async with (
        anthropic.AsyncAnthropic(api_key=to.key, base_url=to.base, **LIMITS) as client,
        client.messages.stream(
            model="claude-test-1", max_tokens=100, messages=to.messages
        ) as stream,
    ):
        events = [plain(event) async for event in stream]
        return Seen(events, plain(await stream.get_final_message()))


def completion(final: Any) -> Any:
    """A final completion without the chunks' own numbering, which the SDK leaves in its tool calls."""
    message = plain(final)
    for choice in message["choices"]:
        for call in choice["message"].get("tool_calls", []):
            call.pop("index")
    return message


CHAT_ASK: dict[str, Any] = {"model": "gpt-test-1", "stream_options": {"include_usage": True}}


def chat(to: To) -> Seen:
    with (
        openai.OpenAI(api_key=to.key, base_url=to.v1, **LIMITS) as client,
        client.chat.completions.stream(messages=to.messages, **CHAT_ASK) as stream,
    ):
        return Seen([plain(event) for event in stream], completion(stream.get_final_completion()))


async def chat_async(to: To) -> Seen:
    async with (
        openai.AsyncOpenAI(api_key=to.key, base_url=to.v1, **LIMITS) as client,
        client.chat.completions.stream(messages=to.messages, **CHAT_ASK) as stream,
    ):
        events = [plain(event) async for event in stream]
        return Seen(events, completion(await stream.get_final_completion()))


def responses(to: To) -> Seen:
    with (
        openai.OpenAI(api_key=to.key, base_url=to.v1, **LIMITS) as client,
        client.responses.stream(model="gpt-test-5", input=to.prompt) as stream,
    ):
        return Seen([plain(event) for event in stream], plain(stream.get_final_response()))


async def responses_async(to: To) -> Seen:
    async with (
        openai.AsyncOpenAI(api_key=to.key, base_url=to.v1, **LIMITS) as client,
        client.responses.stream(model="gpt-test-5", input=to.prompt) as stream,
    ):
        events = [plain(event) async for event in stream]
        return Seen(events, plain(await stream.get_final_response()))


def gemini(to: To) -> Seen:
    with genai.Client(api_key=to.key, http_options=types.HttpOptions(base_url=to.base)) as client:
        chunks = client.models.generate_content_stream(model="gemini-test-3", contents=to.prompt)
        return _gemini_seen(list(chunks))


async def gemini_async(to: To) -> Seen:
    options = types.HttpOptions(base_url=to.base)
    async with genai.Client(api_key=to.key, http_options=options).aio as client:
        chunks = await client.models.generate_content_stream(
            model="gemini-test-3", contents=to.prompt
        )
        return _gemini_seen([chunk async for chunk in chunks])


def _gemini_seen(chunks: list[types.GenerateContentResponse]) -> Seen:
    """This SDK accumulates nothing; its users do it like this."""
    parts = [
        part
        for chunk in chunks
        for candidate in chunk.candidates or []
        for part in (candidate.content.parts if candidate.content else None) or []
    ]
    last = chunks[-1]
    message = {
        "thought": "".join(part.text or "" for part in parts if part.thought),
        "text": "".join(part.text or "" for part in parts if not part.thought),
        "calls": [plain(part.function_call) for part in parts if part.function_call],
        "finish": [str(c.finish_reason and c.finish_reason.value) for c in last.candidates or []],
        "usage": plain(last.usage_metadata),
    }
    events = [
        chunk.model_dump(mode="json", exclude={"sdk_http_response"}, exclude_none=True)
        for chunk in chunks
    ]
    return Seen(events, message)


def raw_messages(to: To) -> bytes:
    with (
        anthropic.Anthropic(api_key=to.key, base_url=to.base, **LIMITS) as client,
        client.messages.with_streaming_response.create(
            model="claude-test-1", max_tokens=100, stream=True, messages=to.messages
        ) as response,
    ):
        return b"".join(response.http_response.iter_raw())


def raw_responses(to: To) -> bytes:
    with (
        openai.OpenAI(api_key=to.key, base_url=to.v1, **LIMITS) as client,
        client.responses.with_streaming_response.create(
            model="gpt-test-5", input=to.prompt, stream=True
        ) as response,
    ):
        return b"".join(response.http_response.iter_raw())


# -- what the fold must have made -----------------------------------------------------------------


def as_message(result: dict[str, Any]) -> Any:
    return plain(Message.model_validate(result))


def as_completion(result: dict[str, Any]) -> Any:
    return plain(ChatCompletion.model_validate(result))


def as_response(result: dict[str, Any]) -> Any:
    return plain(Response.model_validate(result))


def as_gemini(result: dict[str, Any]) -> Any:
    whole = types.GenerateContentResponse.model_validate(result)
    return _gemini_seen([whole]).message


@dataclass(frozen=True, slots=True)
class Case:
    """One API by its SDK."""

    protocol: LlmProtocol
    host: str
    path: str
    """How it ends: what stands before it is the SDK's choice."""
    chunks: list[bytes]
    sync: Callable[[To], Seen]
    asynchronous: Callable[[To], Awaitable[Seen]]
    shape: Callable[[dict[str, Any]], Any]
    """The fold's result as the SDK's own type has it."""

    def __str__(self) -> str:
        return str(self.protocol)


CASES = [
    Case(
        LlmProtocol.MESSAGES,
        "api.anthropic.com",
        "/v1/messages",
        MESSAGES,
        messages,
        messages_async,
        as_message,
    ),
    Case(
        LlmProtocol.CHAT,
        "api.openai.com",
        "/v1/chat/completions",
        CHAT,
        chat,
        chat_async,
        as_completion,
    ),
    Case(
        LlmProtocol.RESPONSES,
        "api.openai.com",
        "/v1/responses",
        RESPONSES,
        responses,
        responses_async,
        as_response,
    ),
    Case(
        LlmProtocol.GEMINI,
        "generativelanguage.googleapis.com",
        "/models/gemini-test-3:streamGenerateContent?alt=sse",
        GEMINI,
        gemini,
        gemini_async,
        as_gemini,
    ),
]
