"""Growing values: strings that come in pieces, objects and arrays that come in parts.

Pure; knows no protocol. A growing value is made of Text, Node, Items and ByIndex; everything else
in it is a value out of the stream that nobody changes. `freeze` gives the plain value as it is
now, sharing those unchanging values, and changes nothing. Growing is linear: no string is joined
before it is asked for, and nothing is allocated by an index that a stream names.
"""

from typing import Any

from collectors.json_view import as_index


class Text:
    """A string in pieces."""

    __slots__ = ("pieces", "size")

    def __init__(self, first: str = "") -> None:
        self.pieces: list[str] = [first] if first else []
        self.size = len(first)

    def add(self, piece: str) -> None:
        """Append a piece."""
        self.pieces.append(piece)
        self.size += len(piece)

    def is_whole(self, piece: str) -> bool:
        """Whether the piece is all that came so far, again; the sizes settle it almost always."""
        return len(piece) == self.size and piece == self.join()

    def join(self) -> str:
        """The string so far; later joins are cheaper for it."""
        pieces = self.pieces
        if len(pieces) > 1:
            # The same string in one piece: what is seen from outside does not change.
            pieces[:] = ["".join(pieces)]
        return pieces[0] if pieces else ""

    def __bool__(self) -> bool:
        return self.size > 0


class Node(dict[str, Any]):
    """An object that grows."""

    __slots__ = ()


class Items(list[Any]):
    """An array that grows at its end; its items may grow too."""

    __slots__ = ()


class ByIndex(dict[int, Any]):
    """An array whose items name their place; gaps close when it is frozen."""

    __slots__ = ()


def freeze(value: Any) -> Any:
    """The plain value, as far as it has grown."""
    kind = type(value)
    if kind is Text:
        return value.join()
    if kind is Node:
        return {key: freeze(item) for key, item in value.items()}
    if kind is Items:
        return [freeze(item) for item in value]
    if kind is ByIndex:
        return [freeze(value[index]) for index in sorted(value)]
    return value


STABLE = frozenset(
    {"id", "type", "role", "name", "model", "object", "channel", "format", "status", "signature"}
    | {"finish_reason", "call_id", "item_id", "token_id", "phase", "language", "mime_type"}
)
"""Strings that are said again, never continued; the last that is not empty counts."""

_REPEAT = 16
"""A string as long as this that comes twice, the same, is a repeat and not a delta."""


def grow(node: Node, key: str, piece: Any) -> None:
    """Take in what a stream says of `key`, by the shape of it: the rule for unknown fields.

    Strings join unless STABLE or repeated whole; arrays of indexed objects merge by index, others
    extend; objects merge; of the rest the last counts. null never erases.
    """
    kind = type(piece)
    held = node.get(key)
    if piece is None:
        if key not in node:
            node[key] = None
    elif kind is str:
        if key in STABLE:
            if piece or held is None:
                node[key] = piece
        elif type(held) is Text:
            if len(piece) < _REPEAT or not held.is_whole(piece):
                held.add(piece)
        else:
            node[key] = Text(piece)
    elif kind is list:
        grow_list(node, key, piece)
    elif kind is dict:
        if type(held) is not Node:
            held = node[key] = Node()
        for name, item in piece.items():
            grow(held, name, item)
    else:
        node[key] = piece


def grow_list(node: Node, key: str, piece: list[Any]) -> None:
    """Extend the array under `key`, or merge by index where its items carry one."""
    held = node.get(key)
    if (
        piece
        and (held is None or type(held) is ByIndex)
        and all(type(item) is dict and as_index(item.get("index")) is not None for item in piece)
    ):
        if held is None:
            held = node[key] = ByIndex()
        for item in piece:
            child = held.get(item["index"])
            if child is None:
                child = held[item["index"]] = Node()
            for name, part in item.items():
                grow(child, name, part)
        return
    if type(held) is ByIndex:
        held = node[key] = Items(held[index] for index in sorted(held))
    elif type(held) is not Items:
        held = node[key] = Items()
    held.extend(piece)


def merge(held: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
    """A new object: `held` with what `news` says, objects merged, null as absence."""
    merged = dict(held)
    for key, item in news.items():
        if item is None:
            merged.setdefault(key, None)
            continue
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(item, dict):
            item = merge(before, item)
        merged[key] = item
    return merged


def join(node: Node, key: str, piece: str) -> None:
    """Append a delta to the string under `key`, also where it repeats what came so far."""
    held = node.get(key)
    if type(held) is not Text:
        held = node[key] = Text(held if isinstance(held, str) else "")
    held.add(piece)


def extend(node: Node, key: str, items: list[Any]) -> None:
    """Append items to the array under `key`, whatever they are."""
    held = node.get(key)
    if type(held) is not Items:
        held = node[key] = Items(held if isinstance(held, list) else ())
    held.extend(items)
