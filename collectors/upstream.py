"""Who an upstream is, by its host and one table. Pure; used when reading, so a table can grow later.

An unknown host is its own name. Kinds group what is coloured alike: a vendor's own API, a cloud
that resells models, a router in front of many, a machine of one's own.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Upstream:
    """Whom a request went to."""

    id: str
    """Stable, lower case: what a filter takes."""
    name: str
    """What the list shows."""
    kind: str
    """anthropic, openai, google, cloud, router, vendor, local or unknown."""


type Row = tuple[str, str, str, str]
"""(host pattern, id, name, kind); in a pattern `*` stands for one or more characters."""

UPSTREAMS: tuple[Row, ...] = (
    ("api.anthropic.com", "anthropic", "Anthropic", "anthropic"),
    ("*.anthropic.com", "anthropic", "Anthropic", "anthropic"),
    ("api.openai.com", "openai", "OpenAI", "openai"),
    ("*.api.openai.com", "openai", "OpenAI", "openai"),
    ("chatgpt.com", "codex", "ChatGPT (Codex)", "openai"),
    ("models.inference.ai.azure.com", "github", "GitHub Models", "router"),
    ("*.openai.azure.com", "azure", "Azure OpenAI", "cloud"),
    ("*.services.ai.azure.com", "azure", "Azure AI", "cloud"),
    ("*.cognitiveservices.azure.com", "azure", "Azure AI", "cloud"),
    ("*.inference.ai.azure.com", "azure", "Azure AI", "cloud"),
    ("models.github.ai", "github", "GitHub Models", "router"),
    ("api.githubcopilot.com", "copilot", "GitHub Copilot", "router"),
    ("*.githubcopilot.com", "copilot", "GitHub Copilot", "router"),
    ("generativelanguage.googleapis.com", "gemini", "Gemini", "google"),
    ("cloudcode-pa.googleapis.com", "code-assist", "Gemini Code Assist", "google"),
    ("aiplatform.googleapis.com", "vertex", "Vertex AI", "google"),
    ("*-aiplatform.googleapis.com", "vertex", "Vertex AI", "google"),
    ("aiplatform.*.rep.googleapis.com", "vertex", "Vertex AI", "google"),
    ("bedrock-runtime.*.amazonaws.com", "bedrock", "Amazon Bedrock", "cloud"),
    ("bedrock-runtime-fips.*.amazonaws.com", "bedrock", "Amazon Bedrock", "cloud"),
    ("openrouter.ai", "openrouter", "OpenRouter", "router"),
    ("ai-gateway.vercel.sh", "vercel", "Vercel AI Gateway", "router"),
    ("gateway.ai.cloudflare.com", "cloudflare", "Cloudflare AI Gateway", "router"),
    ("router.huggingface.co", "huggingface", "Hugging Face", "router"),
    ("api.mistral.ai", "mistral", "Mistral", "vendor"),
    ("codestral.mistral.ai", "mistral", "Mistral", "vendor"),
    ("api.groq.com", "groq", "Groq", "vendor"),
    ("api.deepseek.com", "deepseek", "DeepSeek", "vendor"),
    ("api.x.ai", "xai", "xAI", "vendor"),
    ("api.together.xyz", "together", "Together", "vendor"),
    ("api.together.ai", "together", "Together", "vendor"),
    ("api.fireworks.ai", "fireworks", "Fireworks", "vendor"),
    ("api.cerebras.ai", "cerebras", "Cerebras", "vendor"),
    ("api.cohere.com", "cohere", "Cohere", "vendor"),
    ("api.cohere.ai", "cohere", "Cohere", "vendor"),
    ("api.perplexity.ai", "perplexity", "Perplexity", "vendor"),
    ("api.moonshot.ai", "moonshot", "Moonshot", "vendor"),
    ("api.z.ai", "zai", "Z.ai", "vendor"),
    ("api.minimax.io", "minimax", "MiniMax", "vendor"),
    ("dashscope*.aliyuncs.com", "dashscope", "DashScope", "vendor"),
    ("localhost", "local", "localhost", "local"),
    ("*.localhost", "local", "localhost", "local"),
    ("127.*", "local", "localhost", "local"),
    ("::1", "local", "localhost", "local"),
    ("0.0.0.0", "local", "localhost", "local"),  # noqa: S104 - a name to recognise, not to bind
    ("host.docker.internal", "local", "localhost", "local"),
)
"""The first row that matches counts; a user's own rows go before these."""


def _compile(rows: Iterable[Row]) -> tuple[tuple[re.Pattern[str], Upstream], ...]:
    return tuple(
        (
            re.compile(".+".join(re.escape(part) for part in pattern.lower().split("*")) + r"\Z"),
            Upstream(id=id_, name=name, kind=kind),
        )
        for pattern, id_, name, kind in rows
    )


_TABLE = _compile(UPSTREAMS)


def upstream_of(host: str, extra: Iterable[Row] = ()) -> Upstream:
    """Who that host is (without port); `extra` rows count before the built-in ones. Never raises."""
    name = host.strip().rstrip(".").lower()
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    for pattern, upstream in (*_compile(extra), *_TABLE):
        if pattern.match(name):
            return upstream
    return Upstream(id=name, name=name, kind="unknown")
