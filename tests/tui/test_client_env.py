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

CERTIFICATE_VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "CODEX_CA_CERTIFICATE",
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


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """No client has been told of any roots."""
    for name in (*CERTIFICATE_VARIABLES, "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


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


@pytest.mark.parametrize("variable", CERTIFICATE_VARIABLES)
def test_whatever_roots_a_client_was_told_of_are_in_the_bundle(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Each of the variables is replaced, so what it named must not be lost: not for a host past the proxy."""
    ours, company = authority("mitm"), authority("company")
    (tmp_path / CA_FILE).write_bytes(pem(ours))
    (tmp_path / "company.pem").write_bytes(pem(company))
    monkeypatch.setenv(variable, str(tmp_path / "company.pem"))
    found = subjects(write_bundle(folder, tmp_path / CA_FILE))
    assert {der(ours), der(company)} <= set(found)
    assert len(set(found)) == len(found)
    # SSL_CERT_FILE alone stands for the system's roots.
    assert (variable == "SSL_CERT_FILE") == (len(found) == 2)


def test_node_is_given_its_users_own_roots_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy's certificate alone, unless the user has named others; a run in a run names ours."""
    certificate, bundle = tmp_path / "ca", tmp_path / "bundle"
    for told, wanted in ((tmp_path / "company.pem", bundle), (certificate, certificate)):
        monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(told))
        found = client_environment("127.0.0.1:8080", certificate, bundle)
        assert str(wanted) == found["NODE_EXTRA_CA_CERTS"]


def test_a_run_within_a_run_keeps_the_users_roots_and_sees_them_change(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inner one is told of the outer's bundle, on the same store or another, and goes to what is behind it."""
    ours, outer, company, added = map(authority, ("mitm", "mitm", "company", "added"))
    (tmp_path / CA_FILE).write_bytes(pem(ours))
    (tmp_path / "outer.pem").write_bytes(pem(outer))
    file = tmp_path / "the company's.pem"
    file.write_bytes(pem(company))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    another = tmp_path / "another"
    another.mkdir()
    bundle = write_bundle(another, tmp_path / "outer.pem")
    told = client_environment("127.0.0.1:1", tmp_path / "outer.pem", bundle)
    for name in CERTIFICATE_VARIABLES:
        monkeypatch.setenv(name, told[name])
    for place in (folder, another, another):
        assert {der(ours), der(company)} == set(subjects(write_bundle(place, tmp_path / CA_FILE)))
    file.write_bytes(pem(company) + pem(added))
    found = subjects(write_bundle(another, tmp_path / CA_FILE))
    assert {der(ours), der(company), der(added)} == set(found)


def test_a_users_file_that_has_our_bundles_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SUSE calls the system's roots ca-bundle.pem."""
    ours, company = authority("mitm"), authority("company")
    (tmp_path / CA_FILE).write_bytes(pem(ours))
    (tmp_path / BUNDLE).write_bytes(pem(company))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / BUNDLE))
    assert {der(ours), der(company)} == set(subjects(write_bundle(folder, tmp_path / CA_FILE)))


@pytest.mark.parametrize("named", ["", "absent.pem", "."], ids=["empty", "absent", "a folder"])
def test_a_variable_that_names_no_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """The client could not read it either: the others are there."""
    ours, company = authority("mitm"), authority("company")
    (tmp_path / CA_FILE).write_bytes(pem(ours))
    (tmp_path / "company.pem").write_bytes(pem(company))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "company.pem"))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(tmp_path / named) if named else "")
    assert {der(ours), der(company)} == set(subjects(write_bundle(folder, tmp_path / CA_FILE)))


def test_without_a_choice_of_the_users_it_is_the_systems_roots(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its OpenSSL was built for another system, Python does not know their place: we look."""
    ours, system = authority("mitm"), authority("system")
    (tmp_path / CA_FILE).write_bytes(pem(ours))
    (tmp_path / "roots.crt").write_bytes(pem(system))
    # typeshed says `str`, the standard library's documentation None, where there is no such file.
    nowhere = ssl.DefaultVerifyPaths(None, None, "SSL_CERT_FILE", "", "SSL_CERT_DIR", "")  # type: ignore[arg-type]
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nowhere)
    places = (str(tmp_path / "absent.crt"), str(tmp_path / "roots.crt"))
    monkeypatch.setattr("tui.client_env.SYSTEM_ROOTS", places)
    assert {der(ours), der(system)} == set(subjects(write_bundle(folder, tmp_path / CA_FILE)))
    monkeypatch.setattr("tui.client_env.SYSTEM_ROOTS", ())
    # Then certifi's, as many as there are.
    assert 50 < len(subjects(write_bundle(folder, tmp_path / CA_FILE)))
