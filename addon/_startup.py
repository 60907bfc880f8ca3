"""Makes `mitmdump -s addon` work as typed. Run by a .pth line at the start of mitmproxy's tools.

mitmproxy's `-s` takes files only, and it has no plugins; what is left is to rewrite the
argument before it is parsed. Only the value of `-s`/`--scripts` is touched, and only where it
names our folder. Runs before site-packages is complete, so: standard library only.
"""

import os
import sys
from collections.abc import Iterator, Sequence

TOOLS = frozenset({"mitmdump", "mitmproxy", "mitmweb"})
MAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "main.py")


def is_tool(program: str) -> bool:
    """Whether `sys.argv[0]` is one of mitmproxy's, on Windows too."""
    return os.path.basename(program).removesuffix(".exe") in TOOLS


def script(value: str) -> str:
    """The file to run for an `-s` value; the value itself unless it names our folder.

    Ours is a folder that holds this very pair of files, in any checkout, and the bare word
    `addon` where there is nothing of that name.
    """
    path = os.path.expanduser(value.strip("'\" "))  # as mitmproxy reads it
    main = os.path.join(path, "main.py")
    if os.path.isfile(main) and os.path.isfile(os.path.join(path, "_startup.py")):
        return main
    if path == "addon" and not os.path.lexists(path):
        return MAIN
    return value


def rewritten(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments, with script values replaced; `--` ends them as argparse has it."""
    options, value_next = True, False
    for argument in arguments:
        if value_next:
            yield script(argument)
            value_next = False
            continue
        if argument == "--":
            options = False
        if not options:
            yield argument
        elif argument in ("-s", "--scripts"):
            value_next = True
            yield argument
        elif argument.startswith("--scripts="):
            yield "--scripts=" + script(argument.removeprefix("--scripts="))
        elif argument.startswith("-s"):
            yield "-s" + script(argument.removeprefix("-s"))
        else:
            yield argument


if is_tool(sys.argv[0]):
    sys.argv[1:] = rewritten(sys.argv[1:])
