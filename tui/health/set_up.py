"""What is around the store: the proxy's certificate, who trusts it, this shell's variables, versions.

The variables are of the shell that `flowtap doctor` was started in; `flowtap run` sets its own.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from tui.health.finding import Finding, Level
from tui.listeners import EVERYWHERE

DAY_MS = 86_400_000
SOON_MS = 30 * DAY_MS

HOSTS = (
    "api.anthropic.com",
    "api.openai.com",
    "chatgpt.com",
    "generativelanguage.googleapis.com",
)
"""APIs that NO_PROXY should not name; whoever uses others sees what it does to these."""

PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
NO_PROXY_VARIABLES = ("NO_PROXY", "no_proxy")
ROOT_VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "CODEX_CA_CERTIFICATE",
)
OUR_BUNDLE = "flowtap run's bundle"
SYSTEM = "the system's roots"

LOOPBACK = ("localhost", "127.0.0.1", "::1", "[::1]")


@dataclass(frozen=True, slots=True)
class CaSeen:
    """The certificate authority that mitmproxy made for itself."""

    path: str
    missing: bool = False
    error: str | None = None
    not_before_ms: int = 0
    not_after_ms: int = 0
    keys: tuple[tuple[str, int, int], ...] = ()
    """The files that hold its private key: (path, permission bits, uid)."""


@dataclass(frozen=True, slots=True)
class RootsSeen:
    """A file of roots that clients trust."""

    path: str
    what: str
    """OUR_BUNDLE or SYSTEM."""
    missing: bool = False
    has_it: bool = False
    has_another: bool = False
    """A certificate of the same name and another key: clients that try that first report a bad signature."""


@dataclass(frozen=True, slots=True)
class EnvironmentSeen:
    """This shell's variables."""

    variables: Mapping[str, str]
    roots: Mapping[str, bool | None]
    """Of the variables that name files of roots: whether the certificate is in it; None: no such file."""
    listeners: tuple[str, ...] = ()
    """Where the proxies listen, as their status rows say."""


def certificate(seen: CaSeen, now_ms: int, uid: int) -> Finding:
    """Whether it is there, secret and in time."""
    if seen.missing:
        return Finding(
            "certificate",
            Level.WARNING,
            f"{seen.path} is not there",
            "mitmproxy makes it at its first start: flowtap proxy",
        )
    if seen.error is not None:
        return Finding(
            "certificate",
            Level.PROBLEM,
            f"{seen.path} cannot be used: {seen.error}",
            "Remove mitmproxy's certificates; it makes them anew, and clients are to be told",
        )
    for path, mode, owner in seen.keys:
        if owner != uid:
            return Finding(
                "certificate",
                Level.PROBLEM,
                f"its private key {path} belongs to another user (uid {owner})",
                "Who has it can read your traffic: remove it and let mitmproxy make another",
            )
        if mode & 0o077:
            return Finding(
                "certificate",
                Level.PROBLEM,
                f"its private key {path} is open to others (mode {mode:04o})",
                f"Who has it can read your traffic: chmod 600 {path}",
            )
    until = f"{datetime.fromtimestamp(seen.not_after_ms / 1000, UTC):%Y-%m-%d}"
    if now_ms < seen.not_before_ms:
        return Finding(
            "certificate", Level.PROBLEM, f"{seen.path} is not valid yet", "Is the clock right?"
        )
    if now_ms > seen.not_after_ms:
        return Finding(
            "certificate",
            Level.PROBLEM,
            f"{seen.path} expired on {until}",
            "Remove mitmproxy's certificates; it makes them anew, and clients are to be told",
        )
    if now_ms > seen.not_after_ms - SOON_MS:
        return Finding(
            "certificate",
            Level.WARNING,
            f"{seen.path} expires on {until}",
            "Remove mitmproxy's certificates before; it makes them anew",
        )
    return Finding(
        "certificate", Level.OK, f"{seen.path}, valid until {until}, its key yours alone"
    )


def trust(seen: Sequence[RootsSeen]) -> Finding:
    """Who trusts it."""
    said, advice = [], []
    for roots in seen:
        if roots.has_another:
            said.append(f"{roots.what} ({roots.path}) have another one of the same name")
            advice.append(f"Take the other one out of {roots.path}")
        elif roots.missing:
            said.append(f"{roots.what}: none yet")
        elif roots.has_it:
            said.append(f"{roots.what}: has it")
        else:
            said.append(f"{roots.what}: without it")
    bundle = next((roots for roots in seen if roots.what == OUR_BUNDLE), None)
    stale = bundle is not None and not bundle.missing and not bundle.has_it
    if stale:
        advice.append(
            "The next flowtap run makes its bundle anew; start anew what uses the old one"
        )
    bad = stale or any(roots.has_another for roots in seen)
    return Finding(
        "trust",
        Level.WARNING if bad else Level.OK,
        "; ".join(said) or "nobody is known to",
        ". ".join(advice) or None,
    )


def environment(seen: EnvironmentSeen) -> Finding:
    """Variables that lead clients past the proxy, or keep them from trusting it."""
    told: list[tuple[str, str]] = []
    ours = False
    for name in PROXY_VARIABLES:
        value = seen.variables.get(name, "").strip()
        if not value:
            continue
        where = _host_and_port(value)
        if where is not None and is_ours(where, seen.listeners):
            ours = True
        else:
            shown = "what is no address" if where is None else f"{where[0]}:{where[1]}"
            told.append(
                (
                    f"{name} points at {shown}, where no proxy of this store listens",
                    f"Unset {name}, or point it at the proxy",
                )
            )
    for name in NO_PROXY_VARIABLES:
        covered = [host for host in HOSTS if covers(seen.variables.get(name, ""), host)]
        if covered:
            told.append(
                (
                    f"{name} leads past the proxy: {', '.join(covered)}",
                    f"Take them out of {name}, also for flowtap run",
                )
            )
    absent = [name for name, has_it in seen.roots.items() if has_it is None]
    if absent:
        names = ", ".join(absent)
        told.append((f"{names}: no such file", f"Unset {names}, or name files that are there"))
    without = [name for name, has_it in seen.roots.items() if has_it is False]
    if ours and without:
        told.append(
            (
                f"clients go to the proxy, whose certificate is not in {', '.join(without)}",
                'Use flowtap run, or: eval "$(flowtap run --print-env)"',
            )
        )
    if not told:
        text = "clients of this shell go to the proxy" if ours else "no variable is in the way"
        return Finding("environment", Level.OK, text)
    return Finding(
        "environment",
        Level.WARNING,
        "; ".join(text for text, _ in told),
        ". ".join(dict.fromkeys(advice for _, advice in told)),
    )


def _host_and_port(value: str) -> tuple[str, int] | None:
    """Of a proxy's URL; what else is in it may be a password."""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        return (parts.hostname, parts.port or 80) if parts.hostname else None
    except ValueError:
        return None


def is_ours(where: tuple[str, int], listeners: Iterable[str]) -> bool:
    """Whether one of the listeners, `host:port` or `mode@host:port` each, is there."""
    host, port = where
    for listener in (each for address in listeners for each in address.split(",")):
        listening, _, number = listener.strip().rpartition("@")[2].rpartition(":")
        if number == str(port) and (
            listening in EVERYWHERE
            or listening == host
            or (listening in LOOPBACK and host in LOOPBACK)
        ):
            return True
    return False


def covers(no_proxy: str, host: str) -> bool:
    """Whether such a list names the host: itself, a domain above it, or `*`."""
    for entry in re.split(r"[,\s]+", no_proxy.lower()):
        name = re.sub(r":\d+\Z", "", entry)
        if name == "*":
            return True
        name = name.removeprefix("*").removeprefix(".")
        if name and (host == name or host.endswith(f".{name}")):
            return True
    return False


def versions(seen: Mapping[str, str | None]) -> Finding:
    """Of flowtap and of what it stands on; None: not installed."""
    text = ", ".join(f"{name} {version or '(not there)'}" for name, version in seen.items())
    mitmproxy = seen.get("mitmproxy")
    if mitmproxy is None:
        return Finding(
            "versions",
            Level.PROBLEM,
            text,
            "Without mitmproxy nothing is recorded: install flowtap anew",
        )
    if mitmproxy.partition(".")[0] != "12":
        return Finding(
            "versions", Level.WARNING, text, "flowtap is made for mitmproxy 12; install that"
        )
    return Finding("versions", Level.OK, text)
