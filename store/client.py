"""Which client sent a request, told by its user-agent. Pure; what it says is the client's own word."""

import re

from store.record import Headers, header

CLIENT_CAP = 64
"""Characters of a client's name that are kept: clients choose them, and there is a row for each."""

_PRODUCT = re.compile(rb"\s*([!-~]{1,%d})" % CLIENT_CAP)


def client_of(headers: Headers) -> str | None:
    """The client by its user-agent: the first product and its version, `claude-cli/2.1.197`.

    Printable ASCII alone and at most CLIENT_CAP characters, since it is stored and shown on a
    terminal; None where there is none.
    """
    found = _PRODUCT.match(header(headers, b"user-agent") or b"")
    return None if found is None else found[1].decode("ascii")
