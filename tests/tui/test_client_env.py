"""The variables a client needs, and the bundle of roots they point at."""

import ssl
from pathlib import Path

import pytest
import trustme

from store.errors import StoreUnavailable
from tui.client_env import (
    BUNDLE,
    CA_FILE,
    ca_certificate,
    client_environment,
    write_bundle,
)


def authority(name: str) -> trustme.CA:
    """A root whose subject is that name; each has a key of its own."""
    return trustme.CA(organization_name=name, organization_unit_name="test")


def pem(ca: trustme.CA) -> bytes:
    return ca.cert_pem.bytes()


def subjects(bundle: Path) -> list[bytes]:
    """The certificates in a bundle that OpenSSL loads, as DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(bundle)
    return context.get_ca_certs(binary_form=True)


def der(ca: trustme.CA) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem(ca).decode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


def test_every_client_finds_its_variable(tmp_path: Path) -> None:
    """Python, curl, requests, Node and Codex each look elsewhere."""
    found = client_environment("127.0.0.1:8080", tmp_path / "ca", tmp_path / "bundle")
    assert {
        "HTTPS_PROXY": "http://127.0.0.1:8080",
        "https_proxy": "http://127.0.0.1:8080",
        "SSL_CERT_FILE": str(tmp_path / "bundle"),
        "REQUESTS_CA_BUNDLE": str(tmp_path / "bundle"),
        "CURL_CA_BUNDLE": str(tmp_path / "bundle"),
        "NODE_EXTRA_CA_CERTS": str(tmp_path / "ca"),
        "NODE_USE_ENV_PROXY": "1",
        "CODEX_CA_CERTIFICATE": str(tmp_path / "bundle"),
    } == found


def test_the_bundle_has_the_proxys_root_and_the_users_own(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE replaces a client's trust: what the user trusted before must be in it."""
    ours, company = authority("mitm"), authority("company")
    (tmp_path / CA_FILE).write_bytes(pem(ours))
    (tmp_path / "company.pem").write_bytes(b"# comment\n" + pem(company))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "company.pem"))
    bundle = write_bundle(folder, ca_certificate(str(tmp_path)))
    assert folder / BUNDLE == bundle
    assert {der(ours), der(company)} == set(subjects(bundle))
    assert 0o600 == bundle.stat().st_mode & 0o777


def test_an_older_root_of_the_same_name_is_left_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine's mitmproxy in the system's roots: same name, other key."""
    ours, stale, other = authority("mitm"), authority("mitm"), authority("other")
    (tmp_path / CA_FILE).write_bytes(pem(ours))
    (tmp_path / "roots.pem").write_bytes(pem(stale) + pem(other))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    bundle = write_bundle(folder, tmp_path / CA_FILE)
    assert {der(ours), der(other)} == set(subjects(bundle))


def test_a_root_that_does_not_parse_is_the_clients_business(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in the bundle as it stood before."""
    odd = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    (tmp_path / CA_FILE).write_bytes(pem(authority("mitm")))
    (tmp_path / "roots.pem").write_bytes(odd)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    assert odd in write_bundle(folder, tmp_path / CA_FILE).read_bytes()


def test_no_certificate_yet(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="mitmproxy makes it at its first start"):
        ca_certificate(str(tmp_path))
