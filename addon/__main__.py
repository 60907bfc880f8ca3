"""`python -m addon ARGS...`: stock mitmdump with the recorder loaded, on loopback.

All arguments are mitmdump's own. `flowtap proxy` calls `main`.
"""

import os
import sys
from collections.abc import Sequence

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "main.py")


def mitmdump_arguments(argv: Sequence[str]) -> list[str]:
    """`argv` with the recorder put before it, and loopback as the default place to listen.

    `--set` is mitmproxy's weakest word: a `listen_host` in its config file and `--listen-host`
    override it, a `--mode ...@host:port` does not ask it. Twice it is refused, hence the look.
    """
    told = any(arg.removeprefix("--set=").startswith("listen_host=") for arg in argv)
    ours = ["-s", SCRIPT]
    return ours + ([] if told else ["--set", "listen_host=127.0.0.1"]) + list(argv)


def main(argv: Sequence[str]) -> int:
    """Run the proxy until it is stopped; the exit status. SystemExit where mitmdump does so."""
    from mitmproxy.tools.main import mitmdump

    mitmdump(mitmdump_arguments(argv))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
