"""What a client needs in its environment to go through the proxy and trust it.

SSL_CERT_FILE and its kin replace a client's trust store, so they get a bundle of the usual
roots and the proxy's certificate; NODE_EXTRA_CA_CERTS adds to it. Node's fetch asks the
environment for a proxy only when told so. What each real client goes by is measured
(docs/clients.md).
"""

import itertools
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

SYSTEM_ROOTS = (
    # Where the systems keep them, for a Python whose OpenSSL was built for another place.
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)

_MARK = b"# flowtap: the proxy's certificate, and the roots of"
_SOURCE = b"#   "
_HEAD_BYTES = 65_536
"""More than the paths of a handful of files."""

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
        "NODE_EXTRA_CA_CERTS": str(_for_node(certificate, bundle)),
        "NODE_USE_ENV_PROXY": "1",
        "CODEX_CA_CERTIFICATE": str(bundle),
    }


def _for_node(certificate: Path, bundle: Path) -> Path:
    """The certificate alone, which Node reads at each start and adds to roots of its own; where
    the user has told it of more roots, the bundle, which has them."""
    theirs = os.environ.get("NODE_EXTRA_CA_CERTS")
    return bundle if theirs and Path(theirs) != certificate else certificate


def ca_certificate(confdir: str = CONFDIR) -> Path:
    """The proxy's own certificate, made by mitmproxy at its first start; StoreUnavailable if absent."""
    path = Path(confdir).expanduser() / CA_FILE
    if not path.exists():
        raise StoreUnavailable(f"{path} is not there; mitmproxy makes it at its first start.")
    return path


def write_bundle(folder: Path, certificate: Path) -> Path:
    """The proxy's certificate and the usual roots in one file in `folder`.

    The usual ones are those of every file that the user has told some client of; all clients get
    all. Roots of the proxy's own name but another key are left out: a client that tries those
    first reports a bad signature. The file says whence they are, for a run within a run.
    """
    ours = certificate.read_bytes()
    name = subject_of(ours)
    sources = {
        path: blocks
        for path in _sources()
        if (blocks := [each for each in certificates(path) if subject_of(each) != name])
    }
    kept = dict.fromkeys([ours.strip(), *(each for blocks in sources.values() for each in blocks)])
    head = [_MARK, *(_SOURCE + os.fsencode(path) for path in sources)]
    bundle = folder / BUNDLE
    write_beside(bundle, b"\n".join([*head, *kept]) + b"\n")
    return bundle


def certificates(path: Path) -> list[bytes]:
    """Those in a file; none where it cannot be read, as the client could not."""
    try:
        return _PEM.findall(path.read_bytes())
    except OSError:
        return []


def subject_of(pem: bytes) -> x509.Name | None:
    """Whose certificate it is; None for one that does not parse, which is the clients' business."""
    with warnings.catch_warnings():
        # Some roots in use break RFC 5280, and are trusted all the same.
        warnings.simplefilter("ignore")
        try:
            return x509.load_pem_x509_certificate(pem).subject
        except ValueError:
            return None


def _sources() -> list[Path]:
    """Where the roots are that clients trust today: the user's own choice, else the system's, else
    certifi's; and what the user has told single clients besides."""
    chosen = _behind("SSL_CERT_FILE")
    if not chosen:
        usual = (ssl.get_default_verify_paths().cafile, *SYSTEM_ROOTS, _certifi())
        chosen = [Path(name) for name in usual if name and Path(name).is_file()][:1]
    variables = (
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "CODEX_CA_CERTIFICATE",
    )
    return list(dict.fromkeys([*chosen, *(path for name in variables for path in _behind(name))]))


def _behind(variable: str) -> list[Path]:
    """The file that a variable names; if it is a bundle of ours, the files that was made of."""
    named = os.environ.get(variable)
    if not named or not Path(named).is_file():
        return []
    lines = _head(Path(named))
    if not lines or lines[0] != _MARK:
        return [Path(named)]
    told = itertools.takewhile(lambda line: line.startswith(_SOURCE), lines[1:])
    paths = [Path(os.fsdecode(line.removeprefix(_SOURCE))) for line in told]
    return [path for path in paths if path.is_file()]


def _head(path: Path) -> list[bytes]:
    """A file's first lines."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES).splitlines()
    except OSError:
        return []


def _certifi() -> str | None:
    try:
        import certifi
    except ImportError:
        return None
    return certifi.where()
