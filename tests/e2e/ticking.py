"""A mitmproxy script: our addon, that looks often for what mitmproxy has dropped, and waits for nothing."""

import runpy
from pathlib import Path

addons = runpy.run_path(str(Path(__file__).parents[2] / "addon" / "main.py"))["addons"]

from addon import exchange, recorder  # noqa: E402 - found by main.py, in a checkout of any place

exchange.EARLY_S = 3600.0
recorder.TICK_S = 0.2
