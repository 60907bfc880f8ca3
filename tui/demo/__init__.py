"""The demonstration: authored streams, an upstream that plays them, clients that ask for them."""

from pathlib import Path


def redirect_script() -> Path:
    """The mitmproxy script that brings every host to the upstream; it is loaded by path, not imported."""
    return Path(__file__).with_name("redirect.py")
