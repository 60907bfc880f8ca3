"""What the UI knows of the recording around it, in words: live, paused, gone, why nothing is there. Pure.

The texts are the product's (a test has each); colours are named by `Tone`. What comes from
another process (an error, a host) is escaped here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from store.record import Key, ProxyStatus, Seen
from tui.format import Tone, age, clock, plural, thousands
from tui.key_words import caller_words
from tui.listeners import client_variables
from tui.safe_text import escape

CA_FILE = "~/.mitmproxy/mitmproxy-ca-cert.pem"
DEFAULT_ADDRESS = "127.0.0.1:8080"

CALLERS = 4
"""Callers that are named where the list is empty, one for each of the keys 1 to 4."""


@dataclass(frozen=True, slots=True)
class View:
    """All that the words below depend on."""

    now_ms: int
    place: str = ""
    """The store's location, as the user gave it."""
    opened: bool = False
    """The store was read at least once."""
    lost: str | None = None
    """Why the store cannot be read now."""
    keys: tuple[Key, ...] = ()
    proxies: tuple[ProxyStatus, ...] = ()
    seen: tuple[Seen, ...] = ()
    """Who sent LLM calls of no key that is on, the latest first."""
    records: int = 0
    """Of all that may be shown."""
    paused: bool = False
    held: int = 0
    """News that came while paused."""
    unseen: int = 0
    """New rows above, while not following."""
    following: bool = True


def alive(proxies: Sequence[ProxyStatus]) -> ProxyStatus | None:
    """The proxy that records now: the living one with the newest heartbeat."""
    return max(
        (proxy for proxy in proxies if proxy.alive), key=lambda p: p.heartbeat_ms, default=None
    )


def headline(view: View) -> tuple[str, Tone]:
    """The state in the status bar."""
    if view.lost is not None:
        return f"✗ STORE: {escape(view.lost)} (retrying 1s)", Tone.ERROR
    if not view.opened:
        return "… OPENING", Tone.NEUTRAL
    if view.paused:
        return "‖ PAUSED" + (f" +{view.held} new" if view.held else ""), Tone.WARNING
    proxy = alive(view.proxies)
    if proxy is None and view.proxies:
        gone = max(view.proxies, key=lambda p: p.heartbeat_ms)
        return f"○ PROXY GONE since {clock(gone.heartbeat_ms)} (pid {gone.pid})", Tone.ERROR
    if proxy is None:
        return ("○ NO PROXY" if view.records else "○ WAITING"), Tone.WARNING
    if proxy.error:
        return f"▲ LOSING RECORDS: {escape(proxy.error)}", Tone.ERROR
    if not view.records:
        return "○ WAITING", Tone.WARNING
    return "● LIVE", Tone.OK


def losses(view: View) -> str:
    """What could not be kept, or was refused for it; or nothing."""
    lost = sum(proxy.lost_records for proxy in view.proxies)
    refused = sum(proxy.refused for proxy in view.proxies)
    said = [f"{plural(lost, 'record')} lost"] if lost else []
    if refused:
        said.append(f"{plural(refused, 'call')} refused")
    return ", ".join(said)


def ring(view: View) -> str:
    """`ring 12`: how many exchanges living proxies hold in memory; nothing where none does."""
    held = sum(proxy.ring_exchanges for proxy in view.proxies if proxy.alive)
    return f"ring {thousands(held)}" if held else ""


def follow_mark(view: View) -> tuple[str, Tone]:
    """The right end of the status bar."""
    if view.following and not view.paused:
        return "↓ follow", Tone.OK
    if view.unseen:
        return f"+{view.unseen} new ↑", Tone.LIVE
    return "f follow", Tone.NEUTRAL


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis: a mark, what it is about, what was found, what to do."""

    mark: str
    tone: Tone
    about: str
    found: str
    todo: str = ""


def findings(view: View) -> list[Finding]:
    """Why the list is empty, in the order in which things must be right."""
    return [_store(view), _proxy(view), _keys(view), *_traffic(view)]


def _store(view: View) -> Finding:
    if view.lost is not None:
        return Finding("✗", Tone.ERROR, "store", escape(view.lost), "retrying every second")
    if not view.opened:
        return Finding("…", Tone.NEUTRAL, "store", "Opening store…")
    return Finding("✓", Tone.OK, "store", f"ready, {plural(view.records, 'record')}")


def _proxy(view: View) -> Finding:
    proxy = alive(view.proxies)
    if proxy is not None:
        beat = age(proxy.heartbeat_ms, view.now_ms)
        if proxy.error:
            return Finding("✗", Tone.ERROR, "proxy", f"losing records: {escape(proxy.error)}")
        listening = f"last heartbeat {beat}, listening on {escape(proxy.address)}"
        return Finding("✓", Tone.OK, "proxy", listening)
    if view.proxies:
        gone = max(view.proxies, key=lambda p: p.heartbeat_ms)
        since = f"gone since {clock(gone.heartbeat_ms)} (pid {gone.pid})"
        return Finding("✗", Tone.ERROR, "proxy", since, "flowtap proxy")
    return Finding("✗", Tone.ERROR, "proxy", "none has recorded here", "flowtap proxy")


def _keys(view: View) -> Finding:
    on = sum(key.retention_s is not None for key in view.keys)
    found = f"{on} of {plural(len(view.keys), 'key')} opted in"
    if on:
        return Finding("✓", Tone.OK, "keys", found)
    return Finding("✗", Tone.ERROR, "keys", found, "a  opt a key in")


def _traffic(view: View) -> list[Finding]:
    seen = sum(proxy.seen for proxy in view.proxies)
    unmatched = sum(proxy.unmatched for proxy in view.proxies)
    if not seen:
        return [Finding("·", Tone.NEUTRAL, "traffic", "no LLM request seen yet")]
    requests = plural(seen, "LLM request")
    if not unmatched:
        return [Finding("✓", Tone.OK, "traffic", f"{requests} seen, all of opted-in keys")]
    some = "none" if unmatched >= seen else f"{seen - unmatched}"
    said = f"{requests} seen, {some} matched an opted-in key"
    if view.seen:
        todo = "press a caller's number to record it"
        return [Finding("▲", Tone.WARNING, "traffic", said, todo), *_callers(view)]
    # Of a proxy that told no more than its last one.
    lines = [Finding("▲", Tone.WARNING, "traffic", said)]
    last = max(
        (proxy for proxy in view.proxies if proxy.last_unmatched_ms is not None),
        key=lambda proxy: proxy.last_unmatched_ms or 0,
        default=None,
    )
    if last is not None and last.last_unmatched_ms is not None:
        host = escape(last.last_unmatched_host or "")
        fingerprint = escape(last.last_unmatched_fingerprint or "no key")
        when = age(last.last_unmatched_ms, view.now_ms)
        lines.append(Finding(" ", Tone.NEUTRAL, "", f"last: {host}  {fingerprint}  {when}"))
    return lines


def _callers(view: View) -> list[Finding]:
    found = []
    for number, seen in enumerate(view.seen[:CALLERS], 1):
        who = caller_words(seen, view.keys)
        told = (f"{age(seen.last_ms, view.now_ms):<8}", who, seen.host, seen.client or "")
        said = "  ".join(escape(one) for one in told).rstrip()
        found.append(Finding(" ", Tone.NEUTRAL, f"press {number}", said))
    if len(view.seen) > CALLERS:
        more = plural(len(view.seen) - CALLERS, "more", "more")
        found.append(Finding(" ", Tone.NEUTRAL, "", f"{more}: a"))
    return found


def client_lines(view: View) -> list[str]:
    """What to type in the client's shell so that it goes through the proxy."""
    proxy = alive(view.proxies)
    found = client_variables((proxy.address if proxy else "") or DEFAULT_ADDRESS)
    lines = [f"export {name}={escape(value)}" for name, value in found]
    if any(name in ("HTTPS_PROXY", "ALL_PROXY") for name, _ in found):
        lines += [
            f"export NODE_EXTRA_CA_CERTS={CA_FILE}   # Node",
            f"export SSL_CERT_FILE={CA_FILE}         # Python",
        ]
    return lines
