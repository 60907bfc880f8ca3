"""The upstream of the client tests, asked directly and as a company's proxy, over both versions of HTTP."""

import ssl
from collections.abc import Iterator

import httpx
import pytest

from tests.clients.answers import answer
from tests.clients.api import Api, Over
from tests.e2e.harness import DEADLINE_S

URL = "https://api.openai.com/v1/chat/completions"
ASK = b'{"model":"m","stream":true}'


@pytest.fixture
def api() -> Iterator[Api]:
    with Api("Zürich 🌦 it is") as api:
        yield api


def client(api: Api, *, http2: bool, through: bool) -> httpx.Client:
    """One that trusts the upstream."""
    context = ssl.create_default_context()
    api.ca.configure_trust(context)
    proxy = f"http://127.0.0.1:{api.port}" if through else None
    return httpx.Client(
        http2=http2, verify=context, proxy=proxy, timeout=DEADLINE_S, trust_env=False
    )


@pytest.mark.parametrize(("http2", "over"), [(False, Over.HTTP1), (True, Over.HTTP2)], ids=str)
@pytest.mark.parametrize("through", [False, True], ids=["directly", "through CONNECT"])
def test_it_answers_what_it_was_told_to(api: Api, http2: bool, over: Over, through: bool) -> None:
    """The same bytes over both, and it remembers what was asked; of what asks no model too."""
    url = URL if through else URL.replace("api.openai.com", f"127.0.0.1:{api.port}")
    with client(api, http2=http2, through=through) as asking:
        model = asking.post(url, content=ASK)
        other = asking.get(url.replace("chat/completions", "models"))
    body = b"".join(answer("POST", URL, ASK, api.text).chunks)
    assert (200, body) == (model.status_code, model.content)
    assert 404 == other.status_code
    assert "text/event-stream; charset=utf-8" == model.headers["content-type"]
    first, second = api.asked
    assert (over, "POST", "/v1/chat/completions", ASK) == (
        first.over, first.method, first.path, first.body
    )  # fmt: skip
    assert (True, body, False) == (first.model_call, first.answer, second.model_call)
    assert (["api.openai.com"] if through else []) == api.hosts


def test_nobody_elses_host_is_reached(api: Api) -> None:
    """What a client tries to reach besides its API is refused, and known."""
    with (
        client(api, http2=False, through=True) as asking,
        pytest.raises(httpx.ProxyError, match="403"),
    ):
        asking.get("https://telemetry.example.com/")
    assert (["telemetry.example.com"], []) == (api.hosts, api.asked)
