"""Rules of keys: what can be one, what it matches, and that hostile values cost nothing but a look."""

import base64
import json
import time
from collections.abc import Callable
from fnmatch import translate
from re import compile as compiled

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import BadInput
from store.key_rules import (
    LEAST_LITERALS,
    MOST_LITERALS,
    PATTERN_LIMIT,
    VALUE_LIMIT,
    Glob,
    Rules,
    claim_rule,
    claim_texts,
    describe,
    glob_rule,
    header_rule,
    jwt_claims,
)
from store.record import Headers, KeyKind, KeyRule

OPENAI = "https://api.openai.com/auth"


def jwt(claims: object) -> bytes:
    """A token nobody signed."""
    return b".".join(part64(json.dumps(each).encode()) for each in ({"alg": "none"}, claims, 0))


def part64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


# -- making rules ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "made", "said"),
    [
        (
            glob_rule(" sk-ant-oat01-*\n"),
            KeyRule(KeyKind.GLOB, "", "sk-ant-oat01-*"),
            "credential sk-ant-oat01-*",
        ),
        (glob_rule("*test?"), KeyRule(KeyKind.GLOB, "", "*test?"), "credential *test?"),
        (
            header_rule("ChatGPT-Account-Id", "acct_1"),
            KeyRule(KeyKind.HEADER, "chatgpt-account-id", "acct_1"),
            "header chatgpt-account-id: acct_1",
        ),
        (
            header_rule(" x-app ", "cli"),
            KeyRule(KeyKind.HEADER, "x-app", "cli"),
            "header x-app: cli",
        ),
        (
            header_rule("user-agent", "claude-cli/* (external, cli)"),
            KeyRule(KeyKind.HEADER, "user-agent", "claude-cli/* (external, cli)"),
            "header user-agent: claude-cli/* (external, cli)",
        ),
        (
            header_rule("x-auth-request-email", "*@example.test"),
            KeyRule(KeyKind.HEADER, "x-auth-request-email", "*@example.test"),
            "header x-auth-request-email: *@example.test",
        ),
        (
            claim_rule("sub", "user-7"),
            KeyRule(KeyKind.CLAIM, "sub", "user-7"),
            "JWT claim sub = user-7 (not verified)",
        ),
        (
            claim_rule(f"{OPENAI}.chatgpt_account_id", "7"),
            KeyRule(KeyKind.CLAIM, f"{OPENAI}.chatgpt_account_id", "7"),
            f"JWT claim {OPENAI}.chatgpt_account_id = 7 (not verified)",
        ),
        (
            claim_rule("имя", "Zoë B*"),
            KeyRule(KeyKind.CLAIM, "имя", "Zoë B*"),
            "JWT claim имя = Zoë B* (not verified)",
        ),
    ],
)
def test_rules_are_made_and_said(rule: KeyRule, made: KeyRule, said: str) -> None:
    assert made == rule
    assert said == describe(rule)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("", "is empty"),
        (" \t", "is empty"),
        ("*", "at least 4 characters beside"),
        ("sk-*", "match nearly anything.*got sk-[*]"),
        ("?" * 100, "at least 4"),
        (
            "sk-ant-test-0000",
            "has a `[*]` or `[?]` in it; give the secret to `flowtap keys add NAME`",
        ),
        ("x" * (MOST_LITERALS + 1) + "*", "at most 24 characters.*give the secret"),
        ("Bearer sk-test*", "without `Bearer`"),
        ("sk-tést-*", "characters no API key has"),
        ("sk-test\0*", "printable"),
        ("sk-test\x1b[2J*", "printable"),
        ("sk-\u202etest*", "printable"),
        ("sk-test\n*", "printable"),
        ("sk-test" + "*" * PATTERN_LIMIT, "at most 256"),
    ],
)
def test_what_is_no_glob_is_refused(pattern: str, says: str) -> None:
    refused(lambda: glob_rule(pattern), says)


def test_a_secret_given_as_a_glob_is_not_repeated() -> None:
    secret = "sk-ant-test-0000000000000000"
    for pattern in (secret, secret + "*", f"*{secret}", secret[:-1] + "?"):
        with pytest.raises(BadInput) as caught:
            glob_rule(pattern)
        assert secret[:-1] not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "proxy-authorization",
        "x-api-key",
        "X-Goog-Api-Key",
        "api-key",
        "cookie",
        "Set-Cookie",
        "x-auth-token",
        "x-amz-security-token",
        "openai_api_key",
        "ocp-apim-subscription-key",
        "cf-access-jwt-assertion",
        "x-client-secret",
        "x-apikey",
        "sec-websocket-protocol",
    ],
)
def test_headers_that_carry_secrets_are_refused(name: str) -> None:
    refused(
        lambda: header_rule(name, "sk-test*"),
        f"The header {name.lower()} carries a secret; give the secret to `flowtap keys add NAME`",
    )


@pytest.mark.parametrize(
    ("name", "pattern", "says"),
    [
        ("", "acct_1", "is not a header's name"),
        ("x app", "acct_1", "'x app' is not a header's name"),
        ("x-app:", "acct_1", "not a header's name"),
        (":authority", "api.test", "not a header's name"),
        ("x-äpp", "acct_1", "not a header's name"),
        ("x\n", "acct\n1", "printable"),
        ("x" * 257, "acct_1", "x…' is not a header's name"),
        ("host", "api.test", "on everybody's requests"),
        ("Content-Type", "application/json", "on everybody's requests"),
        ("x-app", "", "header x-app is empty"),
        ("x-app", "*", "header x-app would match nearly anything.*at least 4"),
        ("x-app", "cl*", "at least 4"),
        ("x-app", "cl\ti", "printable"),
        ("x-app", "клиент", "no header carries"),
        ("x-app", "x" * 257, "at most 256"),
    ],
)
def test_what_is_no_header_rule_is_refused(name: str, pattern: str, says: str) -> None:
    refused(lambda: header_rule(name, pattern), says)


@pytest.mark.parametrize(
    ("path", "pattern", "says"),
    [
        ("", "user-7", "1 to 256 printable"),
        (" ", "user-7", "1 to 256 printable"),
        ("x" * 257, "user-7", "1 to 256 printable"),
        ("a\0b", "user-7", "printable"),
        ("a" + ".a" * 17, "user-7", "at most 16 dots"),
        ("sub", "", "claim sub is empty"),
        ("sub", "**", "claim sub would match nearly anything"),
        ("sub", "u\x1b[m", "printable"),
    ],
)
def test_what_is_no_claim_rule_is_refused(path: str, pattern: str, says: str) -> None:
    refused(lambda: claim_rule(path, pattern), says)


def refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@given(st.text(max_size=300), st.text(max_size=300))
def test_whatever_is_given_is_a_rule_or_bad_input(name: str, pattern: str) -> None:
    makes: list[Callable[[], KeyRule]] = [
        lambda: glob_rule(pattern),
        lambda: header_rule(name, pattern),
        lambda: claim_rule(name, pattern),
    ]
    for make in makes:
        try:
            rule = make()
        except BadInput as exc:
            said = str(exc)
        else:
            said = describe(rule)
            literals = rule.pattern.translate({ord("*"): None, ord("?"): None})
            assert len(literals) >= LEAST_LITERALS or literals == rule.pattern
        assert said.isprintable()


# -- matching --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (
            "sk-test-*",
            ["sk-test-", "sk-test-0", "sk-test-*"],
            ["sk-test", "SK-TEST-0", "a sk-test-"],
        ),
        ("*-test", ["-test", "sk-test", "-test-test"], ["sk-test0", "test"]),
        ("ab*ba", ["abba", "ab-ba", "abbaba"], ["aba", "ab", "abbab"]),
        ("a?c", ["abc", "a?c", "a\nc"], ["ac", "abbc", "abcd"]),
        ("a*b*c", ["abc", "a-b-c", "abcbc", "abbc"], ["acb", "ac", "abcb"]),
        ("*b?d*", ["bcd", "abcde", "bbbd"], ["bd", "abcxe", ""]),
        ("a**b", ["ab", "acb"], ["a", "b"]),
        ("*x?*?x*", ["xabx", "xaaax"], ["xx", "xax", "xa"]),
        ("????", ["abcd"], ["abc", "abcde"]),
        ("[a].(b)", ["[a].(b)"], ["a.b", "axb"]),
        ("exact", ["exact"], ["exact ", "exac", ""]),
    ],
)
def test_a_glob_is_of_the_whole_value_and_case_sensitive(
    pattern: str, yes: list[str], no: list[str]
) -> None:
    glob = Glob(pattern)
    assert yes == [each for each in yes + no if glob.matches(each)]


@given(
    st.text(st.sampled_from("ab*?\n"), max_size=12),
    st.text(st.sampled_from("ab*?\n"), max_size=24),
)
def test_a_glob_agrees_with_the_standard_library_s(pattern: str, value: str) -> None:
    assert (compiled(translate(pattern)).match(value) is not None) == Glob(pattern).matches(value)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("*".join(["a"] * 128), "a" * VALUE_LIMIT),
        ("*".join(["a"] * 127) + "b", "a" * VALUE_LIMIT),
        ("a?" * 64 + "*" + "?a" * 60 + "b*", "a" * VALUE_LIMIT),
        ("*?" * 100 + "bbbb", "a" * VALUE_LIMIT),
        ("*" + "a" * 200 + "b*", "a" * VALUE_LIMIT),
        ("*" + "ab" * 100 + "?*", "ab" * (VALUE_LIMIT // 2)),
    ],
)
def test_a_hostile_value_is_matched_in_linear_time(pattern: str, value: str) -> None:
    """Held as a ratio: a value of twice the length takes about twice as long, and not four times."""
    glob = Glob(pattern)

    def seconds(text: str) -> float:
        def once() -> float:
            begun = time.perf_counter()
            glob.matches(text)
            return time.perf_counter() - begun

        return min(once() for _ in range(5))

    whole, part = seconds(value), seconds(value[: VALUE_LIMIT // 8])
    # Eight times the length: sixty-four times were quadratic.
    assert whole < 40 * part + 0.001


def test_a_value_beyond_the_limit_matches_nothing() -> None:
    glob = Glob("test*")
    assert glob.matches("test" + "0" * (VALUE_LIMIT - 4))
    assert not glob.matches("test" + "0" * (VALUE_LIMIT - 3))


RULES = Rules(
    [
        (claim_rule("sub", "user-7"), "claim"),
        (header_rule("x-account", "acct_7*"), "header"),
        (header_rule("x-other", "seven"), "other"),
        (glob_rule("sk-test-7*"), "glob"),
    ]
)


@pytest.mark.parametrize(
    ("credentials", "headers", "whose"),
    [
        ([], (), []),
        ([b"sk-test-70"], (), ["glob"]),
        ([b"x", b"sk-test-7"], (), ["glob"]),
        ([b"SK-TEST-70", b"\xff"], (), []),
        ([], ((b"X-Account", b" acct_7b "),), ["header"]),
        ([], ((b"x-account", b"acct_8"), (b"X-ACCOUNT", b"acct_7")), ["header"]),
        ([], ((b"x-accounts", b"acct_7"), (b"y-account", b"acct_7")), []),
        ([], ((b"x-other", b"seven"), (b"x-account", b"\xff")), ["other"]),
        ([jwt({"sub": "user-7"})], (), ["claim"]),
        ([jwt({"sub": "user-8"})], (), []),
        (
            [jwt({"sub": "user-7"}), b"sk-test-7"],
            ((b"x-account", b"acct_7"),),
            ["glob", "header", "claim"],
        ),
    ],
)
def test_globs_come_before_headers_and_those_before_claims(
    credentials: list[bytes], headers: Headers, whose: list[str]
) -> None:
    assert whose == list(RULES.matching(credentials, headers))


def test_only_what_there_are_rules_for_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwanted(_: object) -> None:
        raise AssertionError("looked at")

    monkeypatch.setattr("store.key_rules.jwt_claims", unwanted)
    token = jwt({"sub": "user-7"})
    none: Rules[str] = Rules(())
    assert not none
    for rules in (
        none,
        Rules([(glob_rule("sk-test*"), "")]),
        Rules([(header_rule("x-a", "1"), "")]),
    ):
        assert [] == list(rules.matching([token], ((b"x-b", b"1"),)))
    with pytest.raises(AssertionError):
        list(RULES.matching([token], ()))


# -- JSON Web Tokens -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "path", "texts"),
    [
        ({"sub": "a"}, "sub", ["a"]),
        ({"sub": "a"}, "sub.a", []),
        ({"sub": "a"}, "su", []),
        ({"n": 7, "f": 1.5, "b": True, "z": None, "o": {}}, "n", ["7"]),
        ({"f": 1.5}, "f", ["1.5"]),
        ({"b": True}, "b", []),
        ({"z": None}, "z", []),
        ({"o": {"a": "b"}}, "o", []),
        ({"o": {"a": "b"}}, "o.a", ["b"]),
        ({"aud": ["a", 1, None, "b", ["c"]]}, "aud", ["a", "b"]),
        ({OPENAI: {"chatgpt_account_id": "7"}}, f"{OPENAI}.chatgpt_account_id", ["7"]),
        ({f"{OPENAI}.chatgpt_account_id": "7"}, f"{OPENAI}.chatgpt_account_id", ["7"]),
        ({"a.b": {"c.d": "1"}, "a": {"b": {"c": {"d": "2"}}}}, "a.b.c.d", ["2", "1"]),
        ({"": {"": "x"}}, ".", ["x"]),
        ({"a": [{"b": "c"}]}, "a.b", []),
    ],
)
def test_a_claim_is_found_by_its_path(
    claims: dict[str, object], path: str, texts: list[str]
) -> None:
    assert texts == list(claim_texts(claims, path))
    assert claims == jwt_claims(jwt(claims))


HEAD = part64(b'{"alg":"none"}')


@pytest.mark.parametrize(
    "credential",
    [
        b"",
        b"sk-ant-test-0000",
        b"..",
        b"a.b",
        b"a.b.c",
        HEAD + b"." + part64(b'{"sub":"user-7"}'),
        HEAD + b"." + part64(b'{"sub":"user-7"}') + b".c.d",
        HEAD + b"." + part64(b'{"sub":"user-7"}') + b"=.c",
        HEAD + b"." + part64(b'{"sub":"user-7"}') + b".\n",
        HEAD + b".=.c",
        HEAD + b".AAAAA.c",
        HEAD + b"." + part64(b"{") + b".c",
        HEAD + b"." + part64(b'["user-7"]') + b".c",
        HEAD + b"." + part64(b'"user-7"') + b".c",
        HEAD + b"." + part64(b'{"sub":"user-\xff"}') + b".c",
        HEAD + b"." + part64(b'{"sub":"user-7"}'.decode().encode("utf-16")) + b".c",
        HEAD + b"." + part64(b"[" * 40_000) + b".c",
        HEAD + b"." + part64(b'{"a":' * 9_000) + b".c",
        HEAD + b"." + part64(b'{"a":' + b"9" * 9_000 + b"}") + b".c",
        HEAD + b"." + part64(b'{"sub":"user-7","x":"' + b"x" * VALUE_LIMIT + b'"}') + b".c",
    ],
)
def test_what_is_no_token_matches_nothing(credential: bytes) -> None:
    assert jwt_claims(credential) is None
    assert [] == list(RULES.matching([credential], ()))


def test_a_deep_token_with_every_reading_of_a_path_ends() -> None:
    """Each object of the payload is met once at most, however many readings the path has."""

    def nested(depth: int) -> object:
        return {"a": nested(depth - 1), "a.a": nested(depth - 2)} if depth > 1 else "user-7"

    claims = nested(14)
    assert isinstance(claims, dict)
    assert len(list(claim_texts(claims, ".".join(["a"] * 13)))) > 100


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(
    st.binary() | st.binary().map(lambda data: HEAD + b"." + part64(data) + b".c") | JSON.map(jwt)
)
def test_no_credential_makes_matching_raise(credential: bytes) -> None:
    list(RULES.matching([credential], ((credential, credential), (b"x-account", credential))))


@given(st.text(), st.text(max_size=20), st.text())
def test_a_claim_is_found_by_its_own_name_whatever_that_is(
    outer: str, name: str, text: str
) -> None:
    assert text in list(claim_texts({name: text}, name))
    assert text in list(claim_texts({outer: {name: text}}, f"{outer}.{name}"))
