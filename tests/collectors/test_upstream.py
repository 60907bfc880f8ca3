"""Who an upstream is."""

import pytest

from collectors.upstream import UPSTREAMS, Upstream, upstream_of


@pytest.mark.check(36)
@pytest.mark.parametrize(
    ("host", "id_", "kind"),
    [
        ("api.anthropic.com", "anthropic", "anthropic"),
        ("API.Anthropic.com.", "anthropic", "anthropic"),
        ("api.openai.com", "openai", "openai"),
        ("eu.api.openai.com", "openai", "openai"),
        ("chatgpt.com", "codex", "openai"),
        ("generativelanguage.googleapis.com", "gemini", "google"),
        ("cloudcode-pa.googleapis.com", "code-assist", "google"),
        ("us-east5-aiplatform.googleapis.com", "vertex", "google"),
        ("aiplatform.googleapis.com", "vertex", "google"),
        ("my-resource.openai.azure.com", "azure", "cloud"),
        ("models.inference.ai.azure.com", "github", "router"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "bedrock", "cloud"),
        ("openrouter.ai", "openrouter", "router"),
        ("api.mistral.ai", "mistral", "vendor"),
        ("api.groq.com", "groq", "vendor"),
        ("api.deepseek.com", "deepseek", "vendor"),
        ("api.x.ai", "xai", "vendor"),
        ("api.together.xyz", "together", "vendor"),
        ("api.fireworks.ai", "fireworks", "vendor"),
        ("localhost", "local", "local"),
        ("127.0.0.1", "local", "local"),
        ("[::1]", "local", "local"),
        ("::1", "local", "local"),
        ("app.localhost", "local", "local"),
        ("llm.example.org", "llm.example.org", "unknown"),
        ("api.openai.com.evil.example", "api.openai.com.evil.example", "unknown"),
        ("notapi.openai.com", "notapi.openai.com", "unknown"),
        (".openai.azure.com", ".openai.azure.com", "unknown"),
        ("", "", "unknown"),
        ("*[(", "*[(", "unknown"),
    ],
)
def test_table(host: str, id_: str, kind: str) -> None:
    upstream = upstream_of(host)
    assert (id_, kind) == (upstream.id, upstream.kind)


@pytest.mark.check(36)
def test_an_unknown_host_is_its_own_name() -> None:
    assert Upstream("h.example", "h.example", "unknown") == upstream_of("h.example")


@pytest.mark.check(36)
def test_a_users_rows_count_first() -> None:
    rows = (("*.example", "mine", "My gateway", "router"), ("api.openai.com", "x", "X", "vendor"))
    assert Upstream("mine", "My gateway", "router") == upstream_of("llm.example", rows)
    assert "x" == upstream_of("api.openai.com", rows).id


def test_every_row_can_be_reached() -> None:
    """No row is hidden by one before it."""
    hidden = [
        pattern
        for pattern, id_, name, kind in UPSTREAMS
        if upstream_of(pattern.replace("*", "zz")) != Upstream(id_, name, kind)
    ]
    assert [] == hidden
