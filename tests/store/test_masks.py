"""What is hidden, in which form, wherever it stands: the tables are the specification."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.masks import SENSITIVE_HEADERS, credentials, mask, mask_all, mask_header, mask_path

SECRET = "sk-ant-test-0000-1111-2222-AA3f9Qz1"


@pytest.mark.check(128)
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", ""),
        ("short", "•••••"),
        ("x" * 16, "•" * 16),
        ("12345678_12345678", "12345678•12345678"),
        (SECRET, "sk-ant-t" + "•" * (len(SECRET) - 16) + "AA3f9Qz1"),
    ],
)
def test_mask(value: str, shown: str) -> None:
    assert shown == mask(value)


@given(st.text())
def test_a_mask_keeps_the_length_and_hides_the_middle(value: str) -> None:
    assert len(value) == len(mask(value))
    assert value[8:-8] == "" or "•" * len(value[8:-8]) == mask(value)[8:-8]


@pytest.mark.check(128)
@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/v1/messages?beta=true", "/v1/messages?beta=true"),
        ("/v1beta/m:g?key=AIza-test-0000", "/v1beta/m:g?key=••••••••••••••"),
        ("/m:g?alt=sse&key=AIza-test&x=1", "/m:g?alt=sse&key=•••••••••&x=1"),
        ("/m?monkey=banana", "/m?monkey=banana"),
        ("/m?API_KEY=abc", "/m?API_KEY=•••"),
    ],
)
def test_a_key_in_the_query_is_masked(path: str, shown: str) -> None:
    assert shown == mask_path(path)


@pytest.mark.check(128)
@pytest.mark.parametrize(
    "name",
    [
        b"authorization",
        b"proxy-authorization",
        b"cookie",
        b"set-cookie",
        b"x-api-key",
        b"x-goog-api-key",
        b"api-key",
    ],
)
def test_sensitive_headers_are_masked_whatever_their_case(name: bytes) -> None:
    assert name in SENSITIVE_HEADERS
    assert mask(SECRET) == mask_header(name.title(), SECRET)


@pytest.mark.check(128)
def test_a_value_that_repeats_the_credential_is_masked_wherever_it_stands() -> None:
    headers = ((b"Authorization", f"Bearer {SECRET}".encode()), (b"x-copy", SECRET.encode()))
    secrets = credentials(headers, "/m?key=AIza-test-0000")

    assert (SECRET, "AIza-test-0000") == secrets
    assert f"as {mask(SECRET)}" == mask_header(b"x-copy", f"as {SECRET}", secrets)
    assert f'{{"k": "{mask(SECRET)}"}}' == mask_all(f'{{"k": "{SECRET}"}}', secrets)


def test_a_browser_socket_carries_its_key_as_a_subprotocol() -> None:
    value = b"realtime, openai-insecure-api-key.sk-test-0000, openai-beta.realtime-v1"

    assert ("sk-test-0000",) == credentials(((b"sec-websocket-protocol", value),), "/v1/realtime")


def test_a_short_credential_masks_no_ordinary_words() -> None:
    assert () == credentials(((b"x-api-key", b"test"),), "/v1/messages")


def test_a_key_that_was_percent_encoded_is_hidden_in_either_form() -> None:
    secrets = credentials((), "/m:g?key=AIza%2Dtest%2D0000")

    assert {"AIza%2Dtest%2D0000", "AIza-test-0000"} == set(secrets)
