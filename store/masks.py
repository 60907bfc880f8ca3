"""Secrets hidden: in headers, in a path's query, and wherever else the request's own credential stands.

Pure. What is captured stays verbatim; this is for what is shown, printed, and said in an
index row. A mask keeps the length and eight characters at each end.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote

from store.record import Headers

SENSITIVE_HEADERS = frozenset(
    {
        b"authorization",
        b"proxy-authorization",
        b"cookie",
        b"set-cookie",
        b"x-api-key",
        b"x-goog-api-key",
        b"api-key",
    }
)

MASK = "•"
_KEPT = 8
"""Characters left at each end: enough to tell two keys apart, too few to use one."""

_SHORTEST_SECRET = 8
"""Anything shorter would mask ordinary words of a body."""

_QUERY_SECRET = re.compile(r"(?<=[?&])((?:key|api[_-]?key|access_token)=)([^&#]+)", re.IGNORECASE)
_BROWSER_KEY = re.compile(r"openai-insecure-api-key\.([^\s,]+)")
"""How a browser's WebSocket carries an OpenAI key: as a subprotocol."""

_CREDENTIAL_HEADERS = SENSITIVE_HEADERS - {b"cookie", b"set-cookie"}


def mask(value: str) -> str:
    """Length kept, first and last eight visible; sixteen or fewer are masked whole."""
    if len(value) <= 2 * _KEPT:
        return MASK * len(value)
    return value[:_KEPT] + MASK * (len(value) - 2 * _KEPT) + value[-_KEPT:]


def mask_path(path: str) -> str:
    """The path with a key in its query masked."""
    return _QUERY_SECRET.sub(lambda found: found[1] + mask(found[2]), path)


def credentials(headers: Headers, path: str) -> tuple[str, ...]:
    """Every secret a request carries, the longest first: what must not be shown elsewhere either."""
    queried = [match[2] for match in _QUERY_SECRET.finditer(path)]
    # A body would quote it without its percent signs.
    found = {*queried, *map(unquote, queried)}
    for name, raw in headers:
        value = raw.decode("latin-1").strip()
        if name.lower() in _CREDENTIAL_HEADERS:
            # `Bearer sk-…`: the scheme is no secret, and a body would quote the rest alone.
            found.add(value.rpartition(" ")[2])
        found.update(_BROWSER_KEY.findall(value))
    return tuple(
        sorted((s for s in found if len(s) >= _SHORTEST_SECRET), key=lambda s: (-len(s), s))
    )


def mask_all(text: str, secrets: Iterable[str]) -> str:
    """`text` with each occurrence of a secret masked."""
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, mask(secret))
    return text


def mask_header(name: bytes, value: str, secrets: Iterable[str] = ()) -> str:
    """A header's value as it may be shown unrevealed."""
    return mask(value) if name.lower() in SENSITIVE_HEADERS else mask_all(value, secrets)
