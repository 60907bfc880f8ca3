"""Callers of no key that is on: found by what a user types of their fingerprint."""

from collections.abc import Iterable

from store.errors import BadInput
from store.record import Seen

ELLIPSIS = "…"


def fingerprint_of(found: Iterable[Seen], text: str) -> str:
    """The fingerprint meant by `text`: all of it (three dots for its `…`), or a beginning no other has.

    BadInput where there is none or several; it does not repeat `text`, which may be a secret.
    """
    wanted = text.strip().replace("...", ELLIPSIS)
    known = list(dict.fromkeys(seen.fingerprint for seen in found if seen.fingerprint))
    if wanted in known:
        return wanted
    matching = [fingerprint for fingerprint in known if wanted and fingerprint.startswith(wanted)]
    if len(matching) > 1:
        raise BadInput(
            f"{len(matching)} fingerprints begin like that: {', '.join(matching)}. Give one whole."
        )
    if not matching:
        raise BadInput("No unmatched call had that fingerprint; see: flowtap keys seen")
    return matching[0]
