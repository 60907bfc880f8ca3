"""The credentials a request carries. Pure: header bytes and a path in, credential bytes out.

Clients put one and the same API key in different places: Anthropic's Python SDK sends
`Authorization: Bearer`, Claude Code `x-api-key`, Gemini `x-goog-api-key` or `?key=`, Azure
`api-key`. All of them are looked at for every host; which one counts is for the key ring to say.

This runs for every model call that passes, recorded or not, so it is a scan over the raw
bytes: mitmproxy's `headers.get` decodes and lowers every name at each look-up and costs
sixteen times as much.
"""

from operator import itemgetter
from urllib.parse import unquote_to_bytes

from store.fingerprint import fingerprint
from store.record import Headers

__all__ = ["credentials", "fingerprint", "socket_credentials"]

_RANK = {b"authorization": 0, b"x-api-key": 1, b"x-goog-api-key": 2, b"api-key": 3}
_QUERY_RANK = len(_RANK)
_QUERY_NAMES = frozenset({"key", "api_key", "api-key"})

_LENGTHS = frozenset(map(len, _RANK))
"""Asked before a name is lowered: most of a request's headers are out by their length alone."""


def credentials(headers: Headers, path: str) -> list[bytes]:
    """Every credential of a request, each once, in the order in which a match counts.

    `Authorization: Bearer` first, then `x-api-key`, `x-goog-api-key`, `api-key`, then `key`,
    `api_key` and `api-key` of the query, percent-decoded. Blank ones are left out.

    `Authorization: Basic` is not among them: its password belongs to a user of a gateway, no
    LLM API takes its key that way, and to look inside would mean to decode base64 for every
    call. `Proxy-Authorization` is the proxy's own.
    """
    found: list[tuple[int, bytes]] = []
    for name, value in headers:
        if len(name) in _LENGTHS:
            rank = _RANK.get(name.lower())
            if rank is None:
                continue
            if rank == 0:
                scheme, _, value = value.strip().partition(b" ")
                if scheme.lower() != b"bearer":
                    continue
            found.append((rank, value.strip()))
    if "key=" in path:
        found += ((_QUERY_RANK, value) for value in _from_query(path))
    if len(found) > 1:
        found.sort(key=itemgetter(0))
    return list(dict.fromkeys([value for _, value in found if value]))


def _from_query(path: str, names: frozenset[str] = _QUERY_NAMES) -> list[bytes]:
    """The values of the query's credential parameters. `+` stays: it is no blank in a key."""
    _, _, query = path.partition("?")
    pairs = (part.partition("=") for part in query.split("&"))
    return [
        unquote_to_bytes(value.encode("latin-1", "replace")).strip()
        for name, _, value in pairs
        if name in names
    ]


_SUBPROTOCOL = b"openai-insecure-api-key."


def socket_credentials(headers: Headers, path: str) -> list[bytes]:
    """As `credentials`, of the handshake of a WebSocket, and behind those what only such carry.

    A browser's can have no header: OpenAI's key then is a subprotocol, Google's ephemeral token the
    query's `access_token`; its SDK sends that as `Authorization: Token`.
    """
    found = credentials(headers, path)
    for name, value in headers:
        lowered = name.lower()
        if lowered == b"sec-websocket-protocol":
            offered = (each.strip() for each in value.split(b","))
            found += [
                each[len(_SUBPROTOCOL) :] for each in offered if each.startswith(_SUBPROTOCOL)
            ]
        elif lowered == b"authorization" and value[:6].lower() == b"token ":
            found.append(value[6:].strip())
    found += _from_query(path, frozenset({"access_token"}))
    return list(dict.fromkeys(each for each in found if each))
