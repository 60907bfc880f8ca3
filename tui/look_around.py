"""Looks at what is around a store, for `flowtap doctor`: certificates, variables, versions. I/O only."""

import contextlib
import os
import platform
import sqlite3
import ssl
import stat
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from cryptography import x509

from tui.client_env import BUNDLE, CA_FILE, SYSTEM_ROOTS, certificates, subject_of
from tui.health.set_up import (
    OUR_BUNDLE,
    ROOT_VARIABLES,
    SYSTEM,
    CaSeen,
    EnvironmentSeen,
    RootsSeen,
)

KEY_FILES = ("mitmproxy-ca.pem", "mitmproxy-ca.p12")
"""What mitmproxy keeps the private key in."""


class Certificate:
    """The proxy's certificate, as far as it can be read."""

    def __init__(self, confdir: str) -> None:
        self._folder = Path(confdir).expanduser()
        self._path = self._folder / CA_FILE
        self._pem = next(iter(certificates(self._path)), b"")

    def seen(self) -> CaSeen:
        """It, and who may read its key."""
        if not os.path.lexists(self._path):
            return CaSeen(str(self._path), missing=True)
        keys = []
        for name in KEY_FILES:
            with contextlib.suppress(OSError):
                info = os.stat(self._folder / name)
                keys.append((str(self._folder / name), stat.S_IMODE(info.st_mode), info.st_uid))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = x509.load_pem_x509_certificate(self._pem)
        except ValueError:
            return CaSeen(str(self._path), error="it holds no certificate", keys=tuple(keys))
        return CaSeen(
            str(self._path),
            not_before_ms=int(found.not_valid_before_utc.timestamp() * 1000),
            not_after_ms=int(found.not_valid_after_utc.timestamp() * 1000),
            keys=tuple(keys),
        )

    def is_in(self, path: Path) -> bool:
        """Whether a file of certificates has it."""
        return bool(self._pem) and any(_same(each, self._pem) for each in certificates(path))

    def another_is_in(self, path: Path) -> bool:
        """Whether it has one of the same name and another key."""
        name = subject_of(self._pem) if self._pem else None
        return name is not None and any(
            not _same(each, self._pem) and subject_of(each) == name for each in certificates(path)
        )


def _same(one: bytes, other: bytes) -> bool:
    """Line ends and blanks are no difference."""
    return one.split() == other.split()


def roots_seen(certificate: Certificate, store: Path) -> list[RootsSeen]:
    """`flowtap run`'s bundle, and the system's roots."""
    bundle = store / BUNDLE
    found = [
        RootsSeen(
            str(bundle),
            OUR_BUNDLE,
            missing=not bundle.is_file(),
            has_it=certificate.is_in(bundle),
        )
    ]
    usual = (ssl.get_default_verify_paths().openssl_cafile, *SYSTEM_ROOTS)
    system = next((Path(name) for name in usual if name and Path(name).is_file()), None)
    if system is not None:
        found.append(
            RootsSeen(
                str(system),
                SYSTEM,
                has_it=certificate.is_in(system),
                has_another=certificate.another_is_in(system),
            )
        )
    return found


def environment_seen(
    certificate: Certificate, variables: Mapping[str, str], listeners: tuple[str, ...]
) -> EnvironmentSeen:
    """The variables, and whether the files they name have the certificate."""
    roots: dict[str, bool | None] = {}
    for name in ROOT_VARIABLES:
        named = variables.get(name)
        if named:
            path = Path(named)
            roots[name] = certificate.is_in(path) if path.is_file() else None
    return EnvironmentSeen(variables, roots, listeners)


def versions_seen() -> dict[str, str | None]:
    """Of flowtap and of what it stands on, by name."""
    return {
        "flowtap": _version("flowtap"),
        "Python": platform.python_version(),
        "mitmproxy": _version("mitmproxy"),
        "SQLite": sqlite3.sqlite_version,
        "zstandard": _version("zstandard"),
        "textual": _version("textual"),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
