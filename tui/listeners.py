"""Where a proxy listens, as its status row tells: `host:port` of what HTTPS_PROXY may name, `mode@host:port` of the rest.

Pure. The row is another process's word: whoever shows what comes out of here escapes it.
"""

from collections.abc import Iterator

EVERYWHERE = ("", "0.0.0.0", "*", "::", "[::]")  # noqa: S104 - compared with, not bound

BASE_URLS = {
    "api.anthropic.com": ("ANTHROPIC_BASE_URL", ""),
    "api.openai.com": ("OPENAI_BASE_URL", "/v1"),
    "generativelanguage.googleapis.com": ("GOOGLE_GEMINI_BASE_URL", ""),
}
"""Where a client asks for the API's address, and with which path: by the API's host."""


def http_proxy(address: str) -> str | None:
    """`host:port` to point HTTPS_PROXY at: the first listener that is an HTTP proxy; None where all
    are of other modes. One on all interfaces is reached on loopback."""
    return next((where for mode, where in _listeners(address) if not mode), None)


def client_variables(address: str) -> list[tuple[str, str]]:
    """What a client's environment needs so that it comes here, a variable for each listener that has
    one: the first HTTP proxy, each API that is stood in for, SOCKS."""
    proxy = http_proxy(address)
    found = [] if proxy is None else [("HTTPS_PROXY", f"http://{proxy}")]
    for mode, where in _listeners(address):
        if mode.startswith("reverse:"):
            scheme, _, target = mode.removeprefix("reverse:").rpartition("://")
            host = target.rstrip("/").partition(":")[0]
            # One that stands in for an API over HTTP/3 listens on UDP alone.
            if host in BASE_URLS and scheme in ("", "http", "https"):
                name, path = BASE_URLS[host]
                found.append((name, f"http://{where}{path}"))
        elif mode == "socks5":
            found.append(("ALL_PROXY", f"socks5h://{where}"))
    return found


def _listeners(address: str) -> Iterator[tuple[str, str]]:
    """Each as (mode, or "" for an HTTP proxy, where a client of this machine reaches it)."""
    for listener in address.split(","):
        mode, _, where = listener.strip().rpartition("@")
        host, _, port = where.rpartition(":")
        if port.isdecimal():
            yield mode, f"127.0.0.1:{port}" if host in EVERYWHERE else where
