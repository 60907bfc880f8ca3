"""What a client needs in its environment to go through the proxy and trust it.

SSL_CERT_FILE and its kin replace a client's trust store, so they get a bundle of the usual
roots and the proxy's certificate; NODE_EXTRA_CA_CERTS adds to it. Node's fetch asks the
environment for a proxy only when told so.
"""

import os
import re
import ssl
import warnings
from pathlib import Path

from cryptography import x509

from store.errors import StoreUnavailable
from store.layout import write_beside

CONFDIR = "~/.mitmproxy"
CA_FILE = "mitmproxy-ca-cert.pem"
BUNDLE = "ca-bundle.pem"

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def client_environment(address: str, certificate: Path, bundle: Path) -> dict[str, str]:
    """The variables, and only those; `address` is `host:port`."""
    proxy = f"http://{address}"
    return {
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "SSL_CERT_FILE": str(bundle),
        "REQUESTS_CA_BUNDLE": str(bundle),
        "CURL_CA_BUNDLE": str(bundle),
        "NODE_EXTRA_CA_CERTS": str(certificate),
        "NODE_USE_ENV_PROXY": "1",
        "CODEX_CA_CERTIFICATE": str(bundle),
    }


def ca_certificate(confdir: str = CONFDIR) -> Path:
    """The proxy's own certificate, made by mitmproxy at its first start; StoreUnavailable if absent."""
    path = Path(confdir).expanduser() / CA_FILE
    if not path.exists():
        raise StoreUnavailable(f"{path} is not there; mitmproxy makes it at its first start.")
    return path


def write_bundle(folder: Path, certificate: Path) -> Path:
    """The proxy's certificate and the usual roots in one file in `folder`.

    Roots of the proxy's own name but another key are left out: a client that tries those
    first reports a bad signature.
    """
    ours = certificate.read_bytes()
    name = _subject(ours)
    roots = _roots()
    blocks = [] if roots is None else _PEM.findall(roots.read_bytes())
    kept = [ours.strip(), *(block for block in blocks if _subject(block) != name)]
    bundle = folder / BUNDLE
    write_beside(bundle, b"\n".join(kept) + b"\n")
    return bundle


def _subject(pem: bytes) -> x509.Name | None:
    """Whose certificate it is; None for one that does not parse, which is the clients' business."""
    with warnings.catch_warnings():
        # Some roots in use break RFC 5280, and are trusted all the same.
        warnings.simplefilter("ignore")
        try:
            return x509.load_pem_x509_certificate(pem).subject
        except ValueError:
            return None


def _roots() -> Path | None:
    """The roots clients trust today: the user's own choice, the system's, else certifi's."""
    defaults = ssl.get_default_verify_paths()
    for name in (os.environ.get("SSL_CERT_FILE"), defaults.cafile, _certifi()):
        if name and Path(name).is_file() and Path(name).name != BUNDLE:
            return Path(name)
    return None


def _certifi() -> str | None:
    try:
        import certifi
    except ImportError:
        return None
    return certifi.where()
