"""What the recorder reads and changes of the proxy it runs in, other than traffic."""

import asyncio
import contextlib
import logging
import os
import signal

from mitmproxy import ctx
from mitmproxy.proxy import server
from mitmproxy.proxy.mode_specs import ProxyMode, RegularMode, UpstreamMode

from addon import settings

logger = logging.getLogger(__name__)

SERVER_LOG = logging.getLogger("mitmproxy.proxy.server")
"""Where mitmproxy logs each connection and each streamed message: 300 us a request."""

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound


class QuietServerLog:
    """mitmproxy's connection log, at the level our option asks for."""

    def __init__(self) -> None:
        self._before: int | None = None

    def apply(self) -> None:
        """Raise or restore the level, as the options stand now."""
        verbose = getattr(ctx.options, "termlog_verbosity", None) == "debug"
        if not getattr(ctx.options, settings.QUIET) or verbose:
            self.restore()
        elif self._before is None:
            self._before = SERVER_LOG.level
            SERVER_LOG.setLevel(logging.WARNING)

    def restore(self) -> None:
        """As it was before us."""
        if self._before is not None:
            SERVER_LOG.setLevel(self._before)
            self._before = None


def hang_up_in_order() -> None:
    """Make a closed terminal an orderly stop; left alone where SIGHUP is ignored, as by nohup."""
    if not hasattr(signal, "SIGHUP") or signal.getsignal(signal.SIGHUP) != signal.SIG_DFL:
        return
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        # Refused off the main thread, and on Windows.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, ctx.master.shutdown)


def orphaned() -> bool:
    """The process that started this proxy, and was to end it, is gone."""
    parent = getattr(ctx.options, settings.PARENT)
    return bool(parent) and os.getppid() != parent


def raise_tcp_timeout() -> None:
    """Models think for longer than mitmproxy's default allows; a user's own value stands."""
    if not ctx.options.has_changed("tcp_timeout"):
        ctx.options.update(tcp_timeout=settings.TCP_TIMEOUT_S)
        logger.info(
            "flowtap: tcp_timeout raised to %d s, for models think long "
            "(--set tcp_timeout=N sets another)",
            settings.TCP_TIMEOUT_S,
        )


def timed_out(idle_s: float, transport_protocol: str = "tcp") -> str | None:
    """Why a connection closed after so long a silence, if it was mitmproxy's watchdog, which says
    that the client left; else None. HTTP/3's, over udp, is short and cannot be set."""
    udp = transport_protocol == "udp"
    limit = server.UDP_TIMEOUT if udp else ctx.options.tcp_timeout
    if not limit <= idle_s + 1 < limit + 10:
        return None
    said = "UDP connection" if udp else "connection"
    why = "" if udp else " (tcp_timeout)"
    return f"mitmproxy closed the {said} after {limit} s without a byte{why}"


def listening() -> list[str]:
    """Where the proxy listens: `host:port` of what is an HTTP proxy, `mode@host:port` of listeners in
    other modes, in mitmproxy's own words; warns if any is everywhere."""
    proxyserver = ctx.master.addons.get("proxyserver")
    if proxyserver is None:
        return []
    found: dict[str, None] = {}
    everywhere = False
    for instance in proxyserver.servers:
        mode = _said(instance.mode)
        for host, port, *_ in instance.listen_addrs:
            everywhere |= host in EVERYWHERE
            found[f"{mode}[{host}]:{port}" if ":" in host else f"{mode}{host}:{port}"] = None
    if everywhere:
        logger.warning(
            "flowtap: the proxy listens on all interfaces, whoever reaches this machine can "
            "use it; --listen-host 127.0.0.1 keeps it to yourself"
        )
    return list(found)


def _said(mode: ProxyMode) -> str:
    """What stands before the address of a listener in that mode."""
    if isinstance(mode, (RegularMode, UpstreamMode)):
        return ""
    return f"{mode.type_name}:{mode.data}@" if mode.data else f"{mode.type_name}@"
