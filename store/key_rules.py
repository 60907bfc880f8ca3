"""The rules by which a key goes that has no fixed secret: checked, compiled, matched, and said. Pure.

Tokens rotate, so a key may also go by what stays: a credential's prefix, a header that names
an account, a claim of the JSON Web Token that is the credential. A rule is written by the
store's owner and kept in clear text, so it must not be a secret; what it is held against
comes from strangers, so matching takes time linear in the value, and never raises.

A claim is decoded and not verified: who can send can claim. That decides what is recorded,
never who may do what.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from store.errors import BadInput
from store.masks import SENSITIVE_HEADERS
from store.record import Headers, KeyKind, KeyRule

PATTERN_LIMIT = 256
"""Characters of a pattern, a header's name, or a claim's path."""

LEAST_LITERALS = 4
"""Fewer match strangers' keys as well: `sk-*` is everybody."""

MOST_LITERALS = 24
"""Of a credential: more would keep most of a secret in clear text. A Gemini key has 39 characters."""

PATH_DOTS = 16
"""What a claim's path is looked for in grows with them."""

VALUE_LIMIT = 64 * 1024
"""A longer value matches nothing, and the payload of a longer token is not decoded."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A header's name (RFC 9110, 5.6.2)."""

_JWT = re.compile(rb"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*")
"""The compact form (RFC 7515, 3.1). The signature is absent where the token says so (`none`)."""

_SECRET_WORDS = frozenset(
    {
        *("apikey", "authorization", "bearer", "cookie", "credential", "credentials", "jwt"),
        *("key", "passwd", "password", "secret", "signature", "token"),
    }
)
_SECRET_NAMES = frozenset(name.decode("ascii") for name in SENSITIVE_HEADERS) | {
    # A browser's WebSocket to OpenAI carries the key in it.
    "sec-websocket-protocol",
}
_EVERYBODYS = frozenset(
    {
        *("accept", "accept-encoding", "accept-language", "connection", "content-encoding"),
        *("content-length", "content-type", "host", "te", "transfer-encoding"),
    }
)
"""They tell what is sent, not who sends it."""

_INSTEAD = "give the secret to `flowtap keys add NAME` instead"


# -- making rules ----------------------------------------------------------------------------


def glob_rule(pattern: str) -> KeyRule:
    """A rule on a credential's text, `sk-ant-oat01-*`; BadInput if it is the secret itself, or anybody's."""
    checked = _pattern("A credential's glob", pattern)
    if any(character.isspace() for character in checked):
        raise BadInput("A credential's glob has no blanks; give it alone, without `Bearer`.")
    if not checked.isascii():
        raise BadInput("A credential's glob has characters no API key has.")
    literals = _literals(checked)
    # The texts of these two do not repeat the pattern: it may be a secret.
    if literals == len(checked):
        raise BadInput(f"A credential's glob has a `*` or `?` in it; {_INSTEAD}.")
    if literals > MOST_LITERALS:
        raise BadInput(
            f"A credential's glob has at most {MOST_LITERALS} characters beside `*` and `?`, since"
            f" it is kept in clear text; shorten it, or {_INSTEAD}."
        )
    return KeyRule(KeyKind.GLOB, "", checked)


def header_rule(name: str, pattern: str) -> KeyRule:
    """A rule on a request header's value, `chatgpt-account-id`; BadInput if that header carries a secret or tells nobody apart."""
    lowered = name.strip().lower()
    if len(lowered) > PATTERN_LIMIT or _TOKEN.fullmatch(lowered) is None:
        raise BadInput(f"{_shown(name)} is not a header's name.")
    if _carries_secret(lowered):
        raise BadInput(f"The header {lowered} carries a secret; {_INSTEAD}.")
    if lowered in _EVERYBODYS:
        raise BadInput(f"The header {lowered} is on everybody's requests and tells no key apart.")
    checked = _pattern(f"The glob of header {lowered}", pattern)
    if not checked.isascii():
        raise BadInput(f"The glob of header {lowered} has characters that no header carries.")
    return KeyRule(KeyKind.HEADER, lowered, checked)


def claim_rule(path: str, pattern: str) -> KeyRule:
    """A rule on a claim of a credential that is a JSON Web Token, `sub`; BadInput if it is none.

    `path`: names joined by dots. Names that hold dots themselves stand as they are:
    `https://api.openai.com/auth.chatgpt_account_id`.
    """
    checked = path.strip()
    if not 1 <= len(checked) <= PATTERN_LIMIT or not checked.isprintable():
        raise BadInput(
            f"A claim is named by 1 to {PATTERN_LIMIT} printable characters; got {_shown(path)}."
        )
    if checked.count(".") > PATH_DOTS:
        raise BadInput(f"A claim's path has at most {PATH_DOTS} dots; got {_shown(path)}.")
    return KeyRule(KeyKind.CLAIM, checked, _pattern(f"The glob of claim {checked}", pattern))


def checked_rule(rule: KeyRule) -> KeyRule:
    """`rule` itself if it can be one, whoever made it; BadInput as above."""
    match rule.kind:
        case KeyKind.GLOB:
            return glob_rule(rule.pattern)
        case KeyKind.HEADER:
            return header_rule(rule.name, rule.pattern)
        case KeyKind.CLAIM:
            return claim_rule(rule.name, rule.pattern)
        case KeyKind.SECRET | KeyKind.KEPT:
            raise BadInput(f"A key of kind {rule.kind} goes by no rule.")


def describe(rule: KeyRule) -> str:
    """What a rule matches, for people."""
    if rule.kind is KeyKind.HEADER:
        return f"header {rule.name}: {rule.pattern}"
    if rule.kind is KeyKind.CLAIM:
        return f"JWT claim {rule.name} = {rule.pattern} (not verified)"
    return f"credential {rule.pattern}"


def _pattern(what: str, pattern: str) -> str:
    """The pattern without blanks around; BadInput if it is none or matches nearly anything."""
    checked = pattern.strip()
    if not checked:
        raise BadInput(f"{what} is empty.")
    if len(checked) > PATTERN_LIMIT or not checked.isprintable():
        raise BadInput(f"{what} is at most {PATTERN_LIMIT} printable characters.")
    literals = _literals(checked)
    if literals < min(LEAST_LITERALS, len(checked)):
        raise BadInput(
            f"{what} would match nearly anything: it needs at least {LEAST_LITERALS} characters"
            f" beside `*` and `?`; got {checked}."
        )
    return checked


def _literals(pattern: str) -> int:
    return len(pattern) - pattern.count("*") - pattern.count("?")


def _carries_secret(name: str) -> bool:
    return name in _SECRET_NAMES or not _SECRET_WORDS.isdisjoint(re.split(r"[-_.]", name))


def _shown(text: str) -> str:
    """Not more of it than fits a line."""
    return repr(text if len(text) <= 80 else text[:79] + "…")


# -- matching --------------------------------------------------------------------------------


class Glob:
    """A pattern compiled: `*` is any text, `?` any one character, over the whole value.

    Between two stars stands a piece of fixed width, and its leftmost place is as good as any
    later one, so nothing is ever tried twice.
    """

    __slots__ = ("_end", "_least", "_middle", "_start", "_whole")

    def __init__(self, pattern: str) -> None:
        pieces = pattern.split("*")
        self._whole = len(pieces) == 1
        """There is no star: the value is as long as the pattern."""
        self._least = sum(map(len, pieces))
        self._start = _Piece(pieces[0])
        self._end = _Piece(pieces[-1])
        self._middle = [_Piece(piece) for piece in pieces[1:-1] if piece]

    def matches(self, value: str) -> bool:
        """Whether the whole value is of the pattern."""
        size = len(value)
        if size < self._least or size > VALUE_LIMIT or (self._whole and size > self._least):
            return False
        last = size - self._end.width
        if not (self._start.stands(value, 0) and self._end.stands(value, last)):
            return False
        at = self._start.width
        for piece in self._middle:
            found = piece.find(value, at, last)
            if found < 0:
                return False
            at = found + piece.width
        return True


class _Piece:
    """Literal characters and `?`, of fixed width."""

    __slots__ = ("_literal", "_odd", "width")

    def __init__(self, text: str) -> None:
        self.width = len(text)
        self._literal = text
        self._odd: re.Pattern[str] | None = None
        if "?" in text:
            # No repetition in it: a look at one place takes at most `width` steps.
            self._odd = re.compile(
                "".join("." if each == "?" else re.escape(each) for each in text), re.DOTALL
            )

    def stands(self, value: str, at: int) -> bool:
        """It stands at `at`."""
        if self._odd is None:
            return value.startswith(self._literal, at)
        return self._odd.match(value, at) is not None

    def find(self, value: str, start: int, end: int) -> int:
        """Where it stands first between the two, or -1."""
        if self._odd is None:
            return value.find(self._literal, start, end)
        found = self._odd.search(value, start, end)
        return -1 if found is None else found.start()


class Rules[T]:
    """Rules compiled, each of somebody's: whom a request matches, in the order in which it counts."""

    def __init__(self, rules: Iterable[tuple[KeyRule, T]]) -> None:
        self._globs: list[tuple[Glob, T]] = []
        self._headers: dict[bytes, list[tuple[Glob, T]]] = {}
        self._claims: list[tuple[str, Glob, T]] = []
        for rule, owner in rules:
            glob = Glob(rule.pattern)
            if rule.kind is KeyKind.GLOB:
                self._globs.append((glob, owner))
            elif rule.kind is KeyKind.HEADER:
                name = rule.name.encode("latin-1", "replace")
                self._headers.setdefault(name, []).append((glob, owner))
            elif rule.kind is KeyKind.CLAIM:
                self._claims.append((rule.name, glob, owner))
        # Most of a request's headers are out by their length alone.
        self._lengths = frozenset(map(len, self._headers))

    def __bool__(self) -> bool:
        return bool(self._globs or self._headers or self._claims)

    def matching(self, credentials: Sequence[bytes], headers: Headers) -> Iterator[T]:
        """Whose rules match: by credentials' text first, then by headers, then by claims. Only
        what there are rules for is looked at."""
        if self._globs:
            yield from self._by_glob(credentials)
        if self._headers:
            yield from self._by_header(headers)
        if self._claims:
            yield from self._by_claim(credentials)

    def _by_glob(self, credentials: Sequence[bytes]) -> Iterator[T]:
        for credential in credentials:
            text = credential.decode("latin-1")
            for glob, owner in self._globs:
                if glob.matches(text):
                    yield owner

    def _by_header(self, headers: Headers) -> Iterator[T]:
        for name, value in headers:
            if len(name) not in self._lengths:
                continue
            for glob, owner in self._headers.get(name.lower(), ()):
                if glob.matches(value.decode("latin-1").strip()):
                    yield owner

    def _by_claim(self, credentials: Sequence[bytes]) -> Iterator[T]:
        for credential in credentials:
            claims = jwt_claims(credential)
            if claims is None:
                continue
            for path, glob, owner in self._claims:
                if any(glob.matches(text) for text in claim_texts(claims, path)):
                    yield owner


# -- JSON Web Tokens -------------------------------------------------------------------------


def jwt_claims(credential: bytes) -> dict[str, Any] | None:
    """The claims of a credential that is a JSON Web Token (RFC 7519), not verified, or None."""
    found = _JWT.fullmatch(credential)
    if found is None or len(found[1]) > VALUE_LIMIT:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(found[1] + b"==").decode())
    except (ValueError, RecursionError):
        # No base64, no UTF-8, no JSON, a number of ten thousand digits, or brackets as deep.
        return None
    return claims if isinstance(claims, dict) else None


def claim_texts(claims: dict[str, Any], path: str) -> Iterator[str]:
    """What stands at a path, as text: a text, a number, or each text of a list.

    A name may hold dots itself, so at each object the whole rest of the path is tried as a
    name, then each shorter piece of it that ends before a dot. No object is met twice.
    """
    if path in claims:
        yield from _texts(claims[path])
    at = path.find(".")
    while at >= 0:
        inner = claims.get(path[:at])
        if isinstance(inner, dict):
            yield from claim_texts(inner, path[at + 1 :])
        at = path.find(".", at + 1)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, list):
        yield from (each for each in value if isinstance(each, str))
