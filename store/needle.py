"""What is looked for in texts: where it is, whether a body can have it at all, and what stands around. Pure.

Smart case, as where a document is searched: without a capital letter any case is found, with one
only what is written alike.
"""

import re
from dataclasses import dataclass
from itertools import accumulate

from store.errors import BadInput

AROUND = 60
"""Characters of a text shown on either side of what was found."""

LONGEST = 1_000
"""Characters of what can be looked for."""

# What JSON writes of a text as it is: neither escaped by all (quote, backslash), nor by some (the
# slash by PHP, <>& by Go, the others by .NET), nor put between names and values by
# collectors.texts (the colon).
_PLAIN_RUN = re.compile(r"[ !#$%()*,\-.0-9;=?@A-Z\[\]^_a-z{|}~]+")

_NUMBER = re.compile(r"[0-9.eE\- ]*\Z")
"""What may be a number, which JSON can write in several ways."""

# Escapes of characters that are among the plain ones, or are once their case is folded.
_PLAIN_ESCAPED = re.compile(
    r"\\u(?:00[2-7][0-9a-f]|00df|0130|0149|017f|01f0|1e9[6-9ae]|212a|fb0[0-6])", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Snippet:
    """What was found with what stands around it, as it is in the text: to be escaped where shown."""

    before: str
    match: str
    after: str
    cut_before: bool
    """The text goes on before it,"""
    cut_after: bool
    """and behind it."""


class Needle:
    """One text that is looked for in many."""

    def __init__(self, text: str) -> None:
        """BadInput where nothing can be found, or everything."""
        if not text.strip():
            raise BadInput("There is nothing to search for: the text is empty.")
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise BadInput("The text to search for is not valid UTF-8.")
        if len(text) > LONGEST:
            raise BadInput(f"A text to search for is at most {LONGEST} characters long.")
        self.text = text
        self.exact = any(char.isupper() for char in text)
        self.folded = text.casefold()
        self._wanted = text if self.exact else self.folded
        # A space may have come between a name and its value, and so not stand in the body.
        runs = [run.lstrip(" ") for run in _PLAIN_RUN.findall(self._wanted)]
        self._runs = [run for run in runs if _NUMBER.match(run) is None]

    def find(self, text: str) -> tuple[int, int] | None:
        """Where it is first: the first character, and the one behind the last."""
        if self.exact:
            at = text.find(self.text)
            return None if at < 0 else (at, at + len(self.text))
        folded = text.casefold()
        at = folded.find(self.folded)
        if at < 0:
            return None
        end = at + len(self.folded)
        if len(folded) == len(text):
            return at, end
        # Some characters became several (ß is ss): the hit is of those that it touches.
        ends = list(accumulate(len(char.casefold()) for char in text[:end]))
        first = next(number for number, behind in enumerate(ends) if behind > at)
        last = next(number for number, behind in enumerate(ends) if behind >= end)
        return first, last + 1

    def may_be_in(self, body: str) -> bool:
        """False if no text of this JSON body can have it; quick, where parsing is not."""
        if not self._runs:
            return True
        looked_in = body if self.exact else body.casefold()
        if all(run in looked_in for run in self._runs):
            return True
        return _PLAIN_ESCAPED.search(body) is not None


def snippet(text: str, found: tuple[int, int], around: int = AROUND) -> Snippet:
    """What was found in its surroundings."""
    start, end = found
    begin, behind = max(0, start - around), end + around
    return Snippet(
        text[begin:start], text[start:end], text[end:behind], begin > 0, behind < len(text)
    )
