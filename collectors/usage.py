"""The same token counts for every protocol, from a folded or a non-streamed result.

Pure. None is "not reported"; a 0 is one that the server said. `input` counts everything that was
read, cached or not; `output` everything that was written, reasoning included.
"""

from dataclasses import dataclass
from typing import Any

from collectors.json_view import as_count, get_dict
from collectors.protocol import LlmProtocol


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one exchange."""

    input: int | None = None
    """All input: fresh, read from a cache and written to one."""
    output: int | None = None
    """All output, reasoning included."""
    cache_read: int | None = None
    """Of the input: read from the prompt cache."""
    cache_write: int | None = None
    """Of the input: written to the prompt cache."""
    reasoning: int | None = None
    """Of the output: reasoning or thinking."""


NO_USAGE = Usage()


def usage_of(protocol: LlmProtocol | None, result: dict[str, Any] | None) -> Usage:
    """The counts that the result reports. Never raises, never invents a 0."""
    if not result:
        return NO_USAGE
    if protocol is LlmProtocol.MESSAGES:
        return _messages(get_dict(result, "usage"))
    if protocol is LlmProtocol.GEMINI or "usageMetadata" in result:
        return _gemini(get_dict(result, "usageMetadata"))
    if protocol is LlmProtocol.OLLAMA:
        return _ollama(result)
    if protocol is LlmProtocol.INTERACTIONS:
        return _interactions(get_dict(get_dict(result, "interaction") or result, "usage"))
    if protocol is LlmProtocol.CONVERSE:
        return _converse(get_dict(result, "usage"))
    if protocol is LlmProtocol.BEDROCK_INVOKE:
        return _invoke(result)
    if protocol is LlmProtocol.COHERE:
        return _cohere(get_dict(result, "usage"))
    if protocol is LlmProtocol.REALTIME and not get_dict(result, "usage"):
        # A session that only transcribes has no responses; what it counts is another model's.
        return _openai(get_dict(result, "transcription_usage"))
    return _openai(_openai_usage(result))


def _sum(*counts: int | None) -> int | None:
    """The sum of those that are known, None if none is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _messages(usage: dict[str, Any]) -> Usage:
    """Anthropic: input_tokens is the fresh part alone; cache reads and writes stand beside it.

    Source: platform.claude.com, "Prompt caching", tracking cache performance: total input =
    cache_read_input_tokens + cache_creation_input_tokens + input_tokens. Where the sum of the
    writes is absent, `cache_creation` has them by their lifetime. output_tokens includes thinking.
    """
    read = as_count(usage.get("cache_read_input_tokens"))
    write = as_count(usage.get("cache_creation_input_tokens"))
    if write is None:
        write = _sum(*(as_count(n) for n in get_dict(usage, "cache_creation").values()))
    return Usage(
        input=_sum(as_count(usage.get("input_tokens")), read, write),
        output=as_count(usage.get("output_tokens")),
        cache_read=read,
        cache_write=write,
        reasoning=as_count(get_dict(usage, "output_tokens_details").get("thinking_tokens")),
    )


def _openai_usage(result: dict[str, Any]) -> dict[str, Any]:
    """Where OpenAI's kin put it: `usage`, Groq's `x_groq.usage`, a rerank's `meta.tokens`."""
    return (
        get_dict(result, "usage")
        or get_dict(get_dict(result, "x_groq"), "usage")
        or get_dict(get_dict(result, "meta"), "tokens")
    )


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)


def _openai(usage: dict[str, Any]) -> Usage:
    """OpenAI (Responses: input/output_tokens; Chat and the rest: prompt/completion_tokens).

    Both include what was cached and what was reasoned: the details are "of which". Source: the
    usage objects in OpenAI's API reference. Servers of the kind add: DeepSeek
    prompt_cache_hit_tokens; OpenRouter cache_write_tokens. xAI counts reasoning beside the
    completion; its total says so, and only then is it added.
    """
    input_details = (
        get_dict(usage, "input_tokens_details")
        or get_dict(usage, "prompt_tokens_details")
        or get_dict(usage, "input_token_details")  # Realtime
    )
    output_details = (
        get_dict(usage, "output_tokens_details")
        or get_dict(usage, "completion_tokens_details")
        or get_dict(usage, "output_token_details")
    )
    prompt = _first(as_count(usage.get("input_tokens")), as_count(usage.get("prompt_tokens")))
    output = _first(as_count(usage.get("output_tokens")), as_count(usage.get("completion_tokens")))
    reasoning = _first(
        as_count(output_details.get("reasoning_tokens")), as_count(usage.get("reasoning_tokens"))
    )
    total = as_count(usage.get("total_tokens"))
    if output is not None and prompt is not None and reasoning and total is not None:  # noqa: SIM102
        if total == prompt + output + reasoning:
            output += reasoning
    return Usage(
        input=prompt,
        output=output,
        cache_read=_first(
            as_count(input_details.get("cached_tokens")),
            as_count(usage.get("prompt_cache_hit_tokens")),
            as_count(usage.get("cache_read_input_tokens")),
            as_count(usage.get("cached_tokens")),
        ),
        cache_write=_first(
            as_count(input_details.get("cache_write_tokens")),
            as_count(input_details.get("cache_creation_tokens")),
            as_count(usage.get("cache_creation_input_tokens")),
        ),
        reasoning=reasoning,
    )


def _gemini(usage: dict[str, Any]) -> Usage:
    """Google: promptTokenCount includes cachedContentTokenCount; tool use, candidates and thoughts
    stand beside each other. Source: UsageMetadata in the Gemini API reference (totalTokenCount is
    their sum).
    """
    thoughts = as_count(usage.get("thoughtsTokenCount"))
    return Usage(
        input=_sum(
            as_count(usage.get("promptTokenCount")),
            as_count(usage.get("toolUsePromptTokenCount")),
        ),
        output=_sum(as_count(usage.get("candidatesTokenCount")), thoughts),
        cache_read=as_count(usage.get("cachedContentTokenCount")),
        reasoning=thoughts,
    )


def _ollama(result: dict[str, Any]) -> Usage:
    """Ollama: evaluated tokens, of the prompt and of the answer, beside it. Its reference."""
    return Usage(
        input=as_count(result.get("prompt_eval_count")),
        output=as_count(result.get("eval_count")),
    )


def _cohere(usage: dict[str, Any]) -> Usage:
    """Cohere: `tokens` are what was read and written, `billed_units` what of it is paid for.

    Source: its chat reference, and the recorded streams, whose cached tokens are never more than
    the input. Embeddings and reranks report `meta` and not this.
    """
    tokens = get_dict(usage, "tokens") or get_dict(usage, "billed_units")
    return Usage(
        input=as_count(tokens.get("input_tokens")),
        output=as_count(tokens.get("output_tokens")),
        cache_read=as_count(usage.get("cached_tokens")),
        reasoning=as_count(tokens.get("reasoning_tokens")),
    )


def _converse(usage: dict[str, Any]) -> Usage:
    """Bedrock's Converse: cache reads and writes stand beside the input, as Anthropic's do.

    Source: TokenUsage in the Bedrock Runtime reference, and a recorded stream whose totalTokens is
    the sum of all four. Under InvokeModel the names of the cache's counts end in TokenCount.
    """
    read = _first(
        as_count(usage.get("cacheReadInputTokens")), as_count(usage.get("cacheReadInputTokenCount"))
    )
    write = _first(
        as_count(usage.get("cacheWriteInputTokens")),
        as_count(usage.get("cacheWriteInputTokenCount")),
    )
    return Usage(
        input=_sum(as_count(usage.get("inputTokens")), read, write),
        output=as_count(usage.get("outputTokens")),
        cache_read=read,
        cache_write=write,
    )


def _invoke(result: dict[str, Any]) -> Usage:
    """What Bedrock adds to the last event of any model's stream, else what the model itself said."""
    counts = get_dict(result, "amazon-bedrock-invocationMetrics")
    if not counts:
        return _openai(_openai_usage(result))
    read = as_count(counts.get("cacheReadInputTokenCount"))
    write = as_count(counts.get("cacheWriteInputTokenCount"))
    return Usage(
        input=_sum(as_count(counts.get("inputTokenCount")), read, write),
        output=as_count(counts.get("outputTokenCount")),
        cache_read=read,
        cache_write=write,
    )


def _interactions(usage: dict[str, Any]) -> Usage:
    """Google's Interactions: thoughts stand beside the output, tool use beside the input.

    Source: Usage in the Gemini API's interactions, and recorded streams whose total is their sum.
    """
    thoughts = as_count(usage.get("total_thought_tokens"))
    return Usage(
        input=_sum(
            as_count(usage.get("total_input_tokens")), as_count(usage.get("total_tool_use_tokens"))
        ),
        output=_sum(as_count(usage.get("total_output_tokens")), thoughts),
        cache_read=as_count(usage.get("total_cached_tokens")),
        reasoning=thoughts,
    )
