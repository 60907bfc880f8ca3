"""Where a value stands inside a growing object: the JSONPath subset that Gemini's partialArgs use.

Pure. `$.a.b[0]['c d']`: names, indexes, quoted names. Nothing is allocated by an index.
"""

import re
from itertools import pairwise
from typing import Any

from collectors.accumulate import ByIndex, Node, Text

MAX_STEPS = 64
"""Steps of a path; deeper is refused, as deeper JSON is."""

_STEP = re.compile(
    r"""\.(?P<name>[^.\[\]]+)|\[(?P<index>\d{1,9})\]|\['(?P<single>[^']*)'\]|\["(?P<double>[^"]*)"\]"""
)


def parse_path(path: str) -> tuple[str | int, ...] | None:
    """The steps of the path, or None if it is not of the subset."""
    steps: list[str | int] = []
    at = 1 if path.startswith("$") else 0
    if at == 0 and path and path[0] not in ".[":
        path = "." + path
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None or len(steps) >= MAX_STEPS:
            return None
        index = match["index"]
        if index is not None:
            steps.append(int(index))
        else:
            steps.append(
                next(g for g in (match["name"], match["single"], match["double"]) if g is not None)
            )
        at = match.end()
    return tuple(steps)


def set_path(
    node: Node, path: str | tuple[str | int, ...], value: Any, *, join: bool, root: str = ""
) -> bool:
    """Set the value there (below `root`), or append it to the string there; False if that cannot be."""
    if isinstance(path, str):
        steps = parse_path(path)
        if steps is None or not steps:
            return False
        path = (root, *steps) if root else steps
    here: Any = node
    for step, following in pairwise(path):
        wanted: type[Any] = ByIndex if isinstance(following, int) else Node
        below = here.get(step)
        if below is None:
            below = here[step] = wanted()
        elif type(below) is not wanted:
            return False
        here = below
    step = path[-1]
    held = here.get(step)
    if join and isinstance(value, str) and type(held) is Text:
        held.add(value)
    elif join and isinstance(value, str):
        here[step] = Text(value)
    else:
        here[step] = value
    return True
