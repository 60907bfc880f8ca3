"""Every place a client puts its key in, and none where it does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.credential import credentials, fingerprint, socket_credentials
from store.record import Headers

KEY = b"sk-ant-test-0000"
OTHER = b"sk-test-1111"

PLACES: list[tuple[str, Headers, str, list[bytes]]] = [
    ("bearer", ((b"Authorization", b"Bearer " + KEY),), "/", [KEY]),
    ("bearer, lower case", ((b"authorization", b"bearer " + KEY),), "/", [KEY]),
    ("bearer, upper case", ((b"AUTHORIZATION", b"BEARER " + KEY),), "/", [KEY]),
    ("bearer, blanks around", ((b"authorization", b"  Bearer   " + KEY + b" "),), "/", [KEY]),
    ("x-api-key", ((b"X-Api-Key", KEY),), "/", [KEY]),
    ("x-goog-api-key", ((b"x-goog-api-key", KEY),), "/", [KEY]),
    ("api-key", ((b"api-key", KEY),), "/", [KEY]),
    ("header with blanks", ((b"x-api-key", b" " + KEY + b"\t"),), "/", [KEY]),
    ("key in the query", (), "/v1beta/m:generateContent?alt=sse&key=sk-test-1111", [OTHER]),
    ("api_key in the query", (), "/v1?api_key=sk-test-1111&x=1", [OTHER]),
    ("api-key in the query", (), "/v1?api-key=sk-test-1111", [OTHER]),
    ("percent-encoded", (), "/v1?key=sk%2Dtest%2d1111", [OTHER]),
    ("plus is itself", (), "/v1?key=a+b", [b"a+b"]),
    ("percent-encoded, not UTF-8", (), "/v1?key=a%FFb", [b"a\xffb"]),
    ("raw latin-1 byte in the query", (), "/v1?key=a\xffb", [b"a\xffb"]),
    ("broken escape stays", (), "/v1?key=a%2", [b"a%2"]),
    ("value with equals signs", (), "/v1?key=a=b==", [b"a=b=="]),
    (
        "precedence, not order",
        (
            (b"api-key", b"d"),
            (b"x-goog-api-key", b"c"),
            (b"x-api-key", b"b"),
            (b"authorization", b"Bearer a"),
        ),
        "/?key=e",
        [b"a", b"b", b"c", b"d", b"e"],
    ),
    ("repeated header", ((b"x-api-key", b"a"), (b"x-api-key", b"b")), "/", [b"a", b"b"]),
    ("the same key twice", ((b"x-api-key", KEY), (b"authorization", b"Bearer " + KEY)), "/", [KEY]),
    ("nothing", ((b"host", b"example.test"), (b"accept", b"*/*")), "/v1/messages", []),
    ("blank header", ((b"x-api-key", b"  "),), "/", []),
    ("bearer of nothing", ((b"authorization", b"Bearer "), (b"authorization", b"Bearer")), "/", []),
    ("blank query", (), "/?key=&api_key=%20", []),
    ("basic", ((b"authorization", b"Basic dXNlcjpzay10ZXN0"),), "/", []),
    ("no scheme", ((b"authorization", KEY),), "/", []),
    ("the proxy's own", ((b"proxy-authorization", b"Bearer " + KEY),), "/", []),
    ("another name of that length", ((b"x-api-kez", KEY), (b"accept-languag", KEY)), "/", []),
    ("another parameter that ends so", (), "/?monkey=banana&idempotency_key=1", []),
    ("in the path, not the query", (), "/key=abc/v1", []),
]


@pytest.mark.parametrize(
    ("headers", "path", "expected"),
    [row[1:] for row in PLACES],
    ids=[row[0] for row in PLACES],
)
def test_places(headers: Headers, path: str, expected: list[bytes]) -> None:
    """Each place a credential may stand in, and each that only looks like one."""
    assert expected == credentials(headers, path)


@given(
    st.lists(st.tuples(st.binary(max_size=16), st.binary(max_size=40))),
    st.binary(max_size=80).map(lambda raw: "/?key=" + raw.decode("latin-1")),
)
def test_any_bytes(headers: list[tuple[bytes, bytes]], path: str) -> None:
    """Whatever a client sends: no exception, no blank, nothing twice."""
    found = credentials(tuple(headers), path)
    assert all(found)
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        (b"sk-ant-test-00001", "sk-ant-t…0001"),
        (b"sk-ant-test-0000", "…"),
        (b"short", "…"),
        (b"", "…"),
        (b"\x1b]52;;x\x07 and more 0000", "?]52;;x?…0000"),
        (b"\xff" * 20, "????????…????"),
    ],
)
def test_fingerprint(credential: bytes, expected: str) -> None:
    """Never more than twelve characters, and none that could drive a terminal."""
    assert expected == fingerprint(credential)


SOCKETS: list[tuple[str, Headers, str, list[bytes]]] = [
    ("as any call's", ((b"x-api-key", KEY),), "/v1/realtime?key=sk-test-1111", [KEY, OTHER]),
    (
        "a browser's, behind those",
        (
            (b"Sec-WebSocket-Protocol", b"realtime, openai-insecure-api-key." + KEY + b" , x"),
            (b"authorization", b"Bearer " + OTHER),
        ),
        "/",
        [OTHER, KEY],
    ),
    ("no key among them", ((b"sec-websocket-protocol", b"realtime,openai-insecure-api-key."),), "/", []),
    ("an ephemeral token", (), "/ws/x?access_token=auth_tokens%2Fabc", [b"auth_tokens/abc"]),
    ("the same, as a header", ((b"Authorization", b"Token auth_tokens/abc"),), "/", [b"auth_tokens/abc"]),
    ("each once", ((b"authorization", b"Token " + KEY),), f"/?access_token={KEY.decode()}", [KEY]),
    ("a blank one", ((b"authorization", b"Token  "),), "/?access_token=", []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "path", "expected"), [row[1:] for row in SOCKETS], ids=[row[0] for row in SOCKETS]
)
def test_where_handshakes_put_them(headers: Headers, path: str, expected: list[bytes]) -> None:
    """Places that only a WebSocket's handshake has; other calls are not looked at there."""
    assert expected == socket_credentials(headers, path)
    assert set(credentials(headers, path)) <= {KEY, OTHER}
