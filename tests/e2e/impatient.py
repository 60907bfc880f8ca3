"""A mitmproxy script: our addon, with the half minutes it waits shortened to what a test can wait."""

import runpy
from pathlib import Path

addons = runpy.run_path(str(Path(__file__).parents[2] / "addon" / "main.py"))["addons"]

from mitmproxy.proxy import server  # noqa: E402

from addon import exchange, recorder  # noqa: E402 - found by main.py, in a checkout of any place

server.UDP_TIMEOUT = 2
exchange.EARLY_S = 0.5
recorder.TICK_S = 0.2
