"""The same counts for every protocol."""

from typing import Any

import pytest

from collectors.protocol import LlmProtocol
from collectors.registry import fold
from collectors.usage import NO_USAGE, Usage, usage_of
from tests.collectors.corpus import PROTOCOLS, files, needs_corpus, read

M, R, C, G = LlmProtocol.MESSAGES, LlmProtocol.RESPONSES, LlmProtocol.CHAT, LlmProtocol.GEMINI

NONSENSE: list[Any] = [
    [],
    "x",
    7,
    {"input_tokens": -1, "prompt_tokens": "3", "promptTokenCount": True},
    {"output_tokens": 2**70, "completion_tokens": 1.5, "candidatesTokenCount": [1]},
]

ROWS: list[tuple[str, LlmProtocol | None, Any, Usage]] = [
    ("Messages: cached parts stand beside the input", M, {"usage": {"input_tokens": 3,
        "cache_read_input_tokens": 10, "cache_creation_input_tokens": 5, "output_tokens": 7}},
        Usage(18, 7, 10, 5, None)),
    ("Messages: no cache reported", M, {"usage": {"input_tokens": 3, "output_tokens": 7}}, Usage(3, 7)),
    ("Messages: nulls are absent", M, {"usage": {"input_tokens": 3, "cache_read_input_tokens": None}},
        Usage(3)),
    ("Messages: writes by lifetime", M, {"usage": {"input_tokens": 1, "cache_creation":
        {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3}}}, Usage(6, None, None, 5)),
    ("Messages: zeros that were said", M, {"usage": {"input_tokens": 0, "output_tokens": 0,
        "cache_read_input_tokens": 0}}, Usage(0, 0, 0)),
    ("Messages: thinking", M, {"usage": {"output_tokens": 9, "output_tokens_details":
        {"thinking_tokens": 4}}}, Usage(None, 9, None, None, 4)),
    ("Chat: cached and reasoned are within", C, {"usage": {"prompt_tokens": 20, "completion_tokens": 9,
        "total_tokens": 29, "prompt_tokens_details": {"cached_tokens": 16},
        "completion_tokens_details": {"reasoning_tokens": 4}}}, Usage(20, 9, 16, None, 4)),
    ("Chat: xAI counts reasoning beside the completion", C, {"usage": {"prompt_tokens": 20,
        "completion_tokens": 5, "total_tokens": 29, "completion_tokens_details": {"reasoning_tokens": 4}}},
        Usage(20, 9, None, None, 4)),
    ("Chat: DeepSeek's cache", C, {"usage": {"prompt_tokens": 20, "prompt_cache_hit_tokens": 8}},
        Usage(20, None, 8)),
    ("Chat: OpenRouter's cache writes", C, {"usage": {"prompt_tokens": 20, "prompt_tokens_details":
        {"cached_tokens": 0, "cache_write_tokens": 3}}}, Usage(20, None, 0, 3)),
    ("Chat: Groq's own place", C, {"x_groq": {"usage": {"prompt_tokens": 1, "completion_tokens": 2}}},
        Usage(1, 2)),
    ("Chat: no usage", C, {"usage": None, "choices": []}, NO_USAGE),
    ("Responses", R, {"usage": {"input_tokens": 20, "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 3}, "total_tokens": 29}},
        Usage(20, 9, 4, None, 3)),
    ("Gemini: cached within, thoughts beside", G, {"usageMetadata": {"promptTokenCount": 20,
        "cachedContentTokenCount": 4, "candidatesTokenCount": 5, "thoughtsTokenCount": 6,
        "totalTokenCount": 31}}, Usage(20, 11, 4, None, 6)),
    ("Gemini: tool use beside the prompt", G, {"usageMetadata": {"promptTokenCount": 20,
        "toolUsePromptTokenCount": 7}}, Usage(27)),
    ("Gemini: thoughts alone", G, {"usageMetadata": {"thoughtsTokenCount": 6}}, Usage(None, 6, None, None, 6)),
    ("Gemini: nothing counted", G, {"usageMetadata": {"trafficType": "ON_DEMAND"}}, NO_USAGE),
    ("embeddings", LlmProtocol.EMBEDDINGS, {"usage": {"prompt_tokens": 8, "total_tokens": 8}}, Usage(8)),
    ("images", LlmProtocol.IMAGES, {"usage": {"input_tokens": 50, "output_tokens": 4160,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}}}, Usage(50, 4160)),
    ("rerank", LlmProtocol.RERANK, {"meta": {"tokens": {"input_tokens": 7}}}, Usage(7)),
    ("Ollama", LlmProtocol.OLLAMA, {"prompt_eval_count": 5, "eval_count": 3, "usage": {"input_tokens": 9}}, Usage(5, 3)),
    ("Cohere: cached and reasoned are within", LlmProtocol.COHERE, {"usage": {"cached_tokens": 64,
        "tokens": {"input_tokens": 70, "output_tokens": 9, "reasoning_tokens": 4},
        "billed_units": {"input_tokens": 2}}}, Usage(70, 9, 64, None, 4)),
    ("Cohere: what is paid for alone", LlmProtocol.COHERE, {"usage": {"billed_units": {"input_tokens": 2}}}, Usage(2)),
    ("Converse: cached parts stand beside the input", LlmProtocol.CONVERSE, {"usage": {"inputTokens": 11,
        "outputTokens": 3, "cacheReadInputTokens": 5, "cacheWriteInputTokens": 7}}, Usage(23, 3, 5, 7)),
    ("Converse, as Nova's under InvokeModel", LlmProtocol.CONVERSE, {"usage": {"inputTokens": 11,
        "cacheReadInputTokenCount": 5, "cacheWriteInputTokenCount": 0}}, Usage(16, None, 5, 0)),
    ("InvokeModel: Bedrock's count", LlmProtocol.BEDROCK_INVOKE, {"amazon-bedrock-invocationMetrics": {
        "inputTokenCount": 5, "outputTokenCount": 2, "cacheReadInputTokenCount": 1}}, Usage(6, 2, 1)),
    ("Interactions: thoughts beside", LlmProtocol.INTERACTIONS, {"interaction": {"usage": {"total_input_tokens": 20,
        "total_tool_use_tokens": 1, "total_output_tokens": 3, "total_thought_tokens": 4,
        "total_cached_tokens": 2}}}, Usage(21, 7, 2, None, 4)),
    ("Interactions: unstreamed", LlmProtocol.INTERACTIONS, {"usage": {"total_input_tokens": 20}}, Usage(20)),
    ("Assistants", LlmProtocol.ASSISTANTS, {"usage": {"prompt_tokens": 5, "completion_tokens": 2}}, Usage(5, 2)),
    ("no protocol", None, {"usage": {"input_tokens": 1}}, Usage(1)),
    ("no result", C, None, NO_USAGE),
    *((f"nonsense {n}: {protocol}", protocol, {"usage": odd, "usageMetadata": odd}, NO_USAGE)
        for protocol in (M, C, G) for n, odd in enumerate(NONSENSE)),
]  # fmt: skip


@pytest.mark.check(33)
@pytest.mark.parametrize(
    ("protocol", "result", "usage"),
    [row[1:] for row in ROWS],
    ids=[row[0] for row in ROWS],
)
def test_table(protocol: LlmProtocol | None, result: Any, usage: Usage) -> None:
    """What was reported, summed as each source counts; what was not is None, never 0."""
    assert usage == usage_of(protocol, result)


@needs_corpus
@pytest.mark.check(33)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_recorded_totals_are_input_and_output(protocol: str) -> None:
    """Where a stream reports a total, it is the sum of what we call input and output."""
    checked = 0
    for path in files(protocol):
        result = fold(LlmProtocol(protocol), read(path.read_bytes())).result
        reported = (result or {}).get("usage") or (result or {}).get("usageMetadata") or {}
        total = reported.get("total_tokens", reported.get("totalTokenCount"))
        usage = usage_of(LlmProtocol(protocol), result)
        if not total or usage.input is None or usage.output is None:
            continue
        assert total == usage.input + usage.output, path.name
        checked += 1
    assert checked > 0 or protocol == "messages"
