"""What is made of certificates, variables and versions: a row a case."""

import pytest

from tests.tui.health.test_files import OK, PROBLEM, US, WARNING, holds
from tui.health import set_up
from tui.health.finding import Level
from tui.health.set_up import DAY_MS, OUR_BUNDLE, SYSTEM, CaSeen, EnvironmentSeen, RootsSeen

NOW = 1_000 * DAY_MS
KEY = "/home/me/.mitmproxy/mitmproxy-ca.pem"


def ca(days: int = 900, *, since: int = -10, keys: tuple[tuple[str, int, int], ...] = ()) -> CaSeen:
    return CaSeen(
        "/home/me/.mitmproxy/mitmproxy-ca-cert.pem",
        not_before_ms=NOW + since * DAY_MS,
        not_after_ms=NOW + days * DAY_MS,
        keys=keys,
    )


@pytest.mark.parametrize(
    ("seen", "level", "words"),
    [
        (ca(), OK, ["valid until", "yours alone"]),
        (ca(keys=((KEY, 0o600, US),)), OK, []),
        (ca(keys=((KEY, 0o400, US),)), OK, []),
        (ca(keys=((KEY, 0o640, US),)), PROBLEM, ["open to others (mode 0640)", f"chmod 600 {KEY}"]),
        (ca(keys=((KEY, 0o600, US), ("/x.p12", 0o604, US))), PROBLEM, ["/x.p12"]),
        (ca(keys=((KEY, 0o600, US + 1),)), PROBLEM, ["another user"]),
        (ca(30), OK, []),
        (ca(29), WARNING, ["expires on 1972-10-26"]),
        (ca(-1), PROBLEM, ["expired on"]),
        (ca(since=1), PROBLEM, ["not valid yet", "clock"]),
        (CaSeen("/c", missing=True), WARNING, ["is not there", "flowtap proxy"]),
        (CaSeen("/c", error="it holds no certificate"), PROBLEM, ["holds no certificate"]),
    ],
)
def test_certificate(seen: CaSeen, level: Level, words: list[str]) -> None:
    holds(set_up.certificate(seen, NOW, US), level, *words)


@pytest.mark.parametrize(
    ("seen", "level", "words"),
    [
        ([], OK, ["nobody"]),
        ([RootsSeen("/b", OUR_BUNDLE, missing=True)], OK, ["none yet"]),
        ([RootsSeen("/b", OUR_BUNDLE, has_it=True), RootsSeen("/s", SYSTEM)], OK, ["without it"]),
        ([RootsSeen("/b", OUR_BUNDLE)], WARNING, ["without it", "flowtap run"]),
        ([RootsSeen("/s", SYSTEM, has_it=True)], OK, ["has it"]),
        ([RootsSeen("/s", SYSTEM, has_another=True)], WARNING, ["another one", "/s"]),
        ([RootsSeen("/s", SYSTEM, has_it=True, has_another=True)], WARNING, ["another one"]),
    ],
)
def test_trust(seen: list[RootsSeen], level: Level, words: list[str]) -> None:
    holds(set_up.trust(seen), level, *words)


OURS = ("127.0.0.1:8080,socks5@127.0.0.1:1080", "*:9090")


@pytest.mark.parametrize(
    ("variables", "roots", "level", "words"),
    [
        ({}, {}, OK, ["no variable is in the way"]),
        ({"HTTPS_PROXY": ""}, {}, OK, ["no variable"]),
        ({"HTTPS_PROXY": "http://127.0.0.1:8080"}, {}, OK, ["go to the proxy"]),
        ({"https_proxy": "http://localhost:8080/"}, {}, OK, ["go to the proxy"]),
        ({"HTTPS_PROXY": "127.0.0.1:8080"}, {}, OK, ["go to the proxy"]),
        ({"HTTPS_PROXY": "http://192.0.2.7:9090"}, {}, OK, ["go to the proxy"]),
        ({"ALL_PROXY": "socks5h://127.0.0.1:1080"}, {}, OK, ["go to the proxy"]),
        ({"HTTPS_PROXY": "http://127.0.0.1:8081"}, {}, WARNING, ["127.0.0.1:8081", "no proxy of this store"]),
        ({"HTTPS_PROXY": "http://corp.test:3128"}, {}, WARNING, ["corp.test:3128"]),
        ({"https_proxy": "http://me:pa55@corp.test"}, {}, WARNING, ["corp.test:80"]),
        ({"HTTPS_PROXY": "http://[::1"}, {}, WARNING, ["what is no address"]),
        ({"HTTPS_PROXY": "http://x:99999"}, {}, WARNING, ["what is no address"]),
        ({"NO_PROXY": "localhost,.anthropic.com"}, {}, WARNING, ["api.anthropic.com", "NO_PROXY"]),
        ({"no_proxy": "*"}, {}, WARNING, ["no_proxy", "api.openai.com"]),
        ({"NO_PROXY": "localhost,127.0.0.1,intern.test"}, {}, OK, []),
        ({}, {"SSL_CERT_FILE": False}, OK, ["no variable"]),
        ({}, {"SSL_CERT_FILE": True}, OK, ["no variable"]),
        ({}, {"SSL_CERT_FILE": None}, WARNING, ["SSL_CERT_FILE: no such file"]),
        (
            {"HTTPS_PROXY": "http://127.0.0.1:8080"},
            {"SSL_CERT_FILE": False, "CURL_CA_BUNDLE": True, "REQUESTS_CA_BUNDLE": False},
            WARNING,
            ["not in SSL_CERT_FILE, REQUESTS_CA_BUNDLE", "--print-env"],
        ),
        ({"HTTPS_PROXY": "http://127.0.0.1:8080"}, {"SSL_CERT_FILE": True}, OK, []),
    ],
)  # fmt: skip
def test_environment(
    variables: dict[str, str], roots: dict[str, bool | None], level: Level, words: list[str]
) -> None:
    found = set_up.environment(EnvironmentSeen(variables, roots, OURS))
    holds(found, level, *words)
    assert "pa55" not in found.text


@pytest.mark.parametrize(
    ("no_proxy", "host", "said"),
    [
        ("", "api.openai.com", False),
        ("api.openai.com", "api.openai.com", True),
        ("API.OpenAI.com", "api.openai.com", True),
        ("openai.com", "api.openai.com", True),
        (".openai.com", "api.openai.com", True),
        ("*.openai.com", "api.openai.com", True),
        ("api.openai.com:443", "api.openai.com", True),
        ("a.test b.test openai.com", "api.openai.com", True),
        ("a.test,\topenai.com", "api.openai.com", True),
        ("*", "api.openai.com", True),
        ("penai.com", "api.openai.com", False),
        ("com.api.openai", "api.openai.com", False),
        ("www.api.openai.com", "api.openai.com", False),
        (",, .", "api.openai.com", False),
        ("10.0.0.0/8", "api.openai.com", False),
    ],
)
def test_what_no_proxy_names(no_proxy: str, host: str, said: bool) -> None:
    assert said == set_up.covers(no_proxy, host)


@pytest.mark.parametrize(
    ("mitmproxy", "level"),
    [("12.2.3", OK), ("11.0.2", WARNING), ("13.0.0", WARNING), (None, PROBLEM)],
)
def test_versions(mitmproxy: str | None, level: Level) -> None:
    found = set_up.versions({"flowtap": "0.1.0", "mitmproxy": mitmproxy})
    holds(found, level, "flowtap 0.1.0")
