"""What a client needs in its environment to go through the proxy and trust it.

SSL_CERT_FILE and its kin replace a client's trust store, so they get a bundle of the usual
roots and the proxy's certificate; NODE_EXTRA_CA_CERTS adds to it. Node's fetch asks the
environment for a proxy only when told so.
"""

import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from store.errors import StoreUnavailable
from store.layout import write_beside

CONFDIR = "~/.mitmproxy"
CA_FILE = "mitmproxy-ca-cert.pem"
BUNDLE = "ca-bundle.pem"


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
    ours = x509.load_pem_x509_certificate(certificate.read_bytes())
    blocks = [ours.public_bytes(Encoding.PEM)]
    roots = _roots()
    if roots is not None:
        for root in x509.load_pem_x509_certificates(roots.read_bytes()):
            if root.subject != ours.subject:
                blocks.append(root.public_bytes(Encoding.PEM))
    bundle = folder / BUNDLE
    write_beside(bundle, b"".join(blocks))
    return bundle


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
