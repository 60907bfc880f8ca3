"""OpenAI's SDK: the Responses API streamed, or with `async` Chat Completions, asynchronously."""

import asyncio
import sys

import openai


def responses() -> str:
    with openai.OpenAI().responses.stream(model="gpt-test-5", input="Say hello.") as stream:
        return stream.get_final_response().output_text


async def chat() -> str:
    stream = await openai.AsyncOpenAI().chat.completions.create(
        model="gpt-test-1", messages=[{"role": "user", "content": "Say hello."}], stream=True
    )
    deltas = [choice.delta.content async for chunk in stream for choice in chunk.choices]
    return "".join(delta or "" for delta in deltas)


sys.stdout.write(asyncio.run(chat()) if "async" in sys.argv else responses())
