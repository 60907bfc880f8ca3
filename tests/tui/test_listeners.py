"""What clients are told of where a proxy listens."""

import pytest

from tui.listeners import client_variables, http_proxy

ANTHROPIC = "reverse:https://api.anthropic.com"
OPENAI = "reverse:https://api.openai.com/"
LOCAL = "reverse:http://localhost:11434"


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("*:8080", "127.0.0.1:8080"),
        ("0.0.0.0:9000,[::]:9000", "127.0.0.1:9000"),
        (":::9000", "127.0.0.1:9000"),
        ("[::1]:9000", "[::1]:9000"),
        ("192.168.1.2:8080, 127.0.0.1:9090", "192.168.1.2:8080"),
        (f"{ANTHROPIC}@127.0.0.1:8081,127.0.0.1:8080", "127.0.0.1:8080"),
        (f"socks5@127.0.0.1:1080,{LOCAL}@127.0.0.1:8082", None),
        ("local:codex", None),
        ("", None),
    ],
)
def test_the_proxy_for_https_proxy(address: str, reached: str | None) -> None:
    """Never a listener that is no HTTP proxy."""
    assert reached == http_proxy(address)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:8080", [("HTTPS_PROXY", "http://127.0.0.1:8080")]),
        ("127.0.0.1:8080,127.0.0.1:9090", [("HTTPS_PROXY", "http://127.0.0.1:8080")]),
        (f"{ANTHROPIC}@127.0.0.1:8081", [("ANTHROPIC_BASE_URL", "http://127.0.0.1:8081")]),
        (f"{OPENAI}@0.0.0.0:8081", [("OPENAI_BASE_URL", "http://127.0.0.1:8081/v1")]),
        (
            "reverse:generativelanguage.googleapis.com:443@127.0.0.1:8081",
            [("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:8081")],
        ),
        ("reverse:http3://api.anthropic.com@127.0.0.1:8081", []),
        (f"{LOCAL}@127.0.0.1:8081", []),
        (
            f"socks5@[::1]:1080,{ANTHROPIC}@127.0.0.1:8081,127.0.0.1:8080",
            [
                ("HTTPS_PROXY", "http://127.0.0.1:8080"),
                ("ALL_PROXY", "socks5h://[::1]:1080"),
                ("ANTHROPIC_BASE_URL", "http://127.0.0.1:8081"),
            ],
        ),
        ("wireguard@0.0.0.0:51820", []),
        ("", []),
    ],
)
def test_what_a_client_needs(address: str, expected: list[tuple[str, str]]) -> None:
    assert expected == client_variables(address)
