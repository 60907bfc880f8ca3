"""A mitmproxy script: our addon on a store that is in trouble while the file FLOWTAP_TEST_TROUBLE names is there.

With FLOWTAP_TEST_STRANGE mitmproxy's insides are not as we know them.
"""

import os
import runpy
from pathlib import Path

addons = runpy.run_path(str(Path(__file__).parents[2] / "addon" / "main.py"))["addons"]

from addon import insides  # noqa: E402 - found by main.py, in a checkout of any place
from store import writer  # noqa: E402

_sign = Path(os.environ["FLOWTAP_TEST_TROUBLE"])


def _trouble(_: object) -> str | None:
    return "the disk is full" if _sign.exists() else None


writer.LocalWriter.trouble = property(_trouble)  # type: ignore[assignment, method-assign]

if os.environ.get("FLOWTAP_TEST_STRANGE"):
    insides.layers_of = lambda flow: iter(())
