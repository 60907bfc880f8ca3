"""The store's files: whose they are, who may read them, how much room there is, what is corrupt."""

from collections.abc import Callable, Sequence

from store.health import (
    Entry,
    PieceSeen,
    SpaceSeen,
)
from tui.format import plural, size
from tui.health.finding import Detail, Finding, Level, unchecked

NEEDED = {"folder": 0o700, "file": 0o600}
"""Permissions without which the store cannot be used."""

SPACE_LOW = 1 << 30
SPACE_OUT = 64 << 20
"""Two segments: with less the next ones may not fit."""


type _Wrong = tuple[list[Entry], str, Callable[[Entry], str], str]
"""Files that are wrong: which, what with all, what with each, what to do."""


def folder(path: str, entry: Entry | None, uid: int) -> Finding:
    """The store's folder itself; nothing below it is looked at unless this is well or a warning."""
    if entry is None:
        return Finding(
            "folder",
            Level.PROBLEM,
            f"there is no store at {path}",
            "A proxy makes it (flowtap proxy); or name another one: --store DIR",
        )
    if entry.uid != uid:
        return Finding(
            "folder",
            Level.PROBLEM,
            f"{path} belongs to another user (uid {entry.uid})",
            "flowtap uses a folder of one's own alone: name one with --store DIR",
        )
    if entry.mode & 0o077:
        return Finding(
            "folder",
            Level.PROBLEM,
            f"{path} is open to others (mode {entry.mode:04o}, not 0700)",
            f"Close it: chmod 700 {path}",
        )
    return Finding("folder", Level.OK, f"{path}, mode {entry.mode:04o}, yours alone")


def files(path: str, entries: Sequence[Entry], uid: int) -> Finding:
    """Modes and owners of everything in it, and what is no file of ours."""
    ours = [each for each in entries if each.kind in NEEDED]
    wrong: list[_Wrong] = [
        (
            [each for each in entries if each.kind not in NEEDED],
            "that flowtap did not make",
            lambda each: "is a link" if each.kind == "link" else "is no plain file",
            "Remove what you did not put there",
        ),
        (
            [each for each in entries if each.uid != uid],
            "of another user",
            lambda each: f"belongs to another user (uid {each.uid})",
            "Remove what you did not put there",
        ),
        (
            [each for each in ours if each.mode & 0o077],
            "open to others",
            lambda each: f"is open to others (mode {each.mode:04o})",
            f"Close to others what is yours: chmod -R go-rwx {path}",
        ),
        (
            [each for each in ours if each.mode & NEEDED[each.kind] != NEEDED[each.kind]],
            "closed to yourself",
            lambda each: f"is closed to yourself (mode {each.mode:04o})",
            f"Open to yourself what is yours: chmod -R u+rwX {path}",
        ),
    ]
    found = [row for row in wrong if row[0]]
    if not found:
        return Finding(
            "files", Level.OK, f"{plural(len(entries), 'file')} and folders, all yours alone"
        )
    return Finding(
        "files",
        Level.PROBLEM,
        ", ".join(f"{plural(len(few), 'file')} {what}" for few, what, _, _ in found),
        ". ".join(dict.fromkeys(advice for _, _, _, advice in found)),
        tuple(Detail(say(each), each.path) for few, _, say, _ in found for each in few),
    )


def space(seen: SpaceSeen) -> Finding:
    """Room on the disk."""
    if seen.free is None or seen.total is None:
        return unchecked("space", "the file system does not say", level=Level.WARNING)
    text = f"{size(seen.free)} free of {size(seen.total)}, {size(seen.taken)} taken by the store"
    advice = "Make room, or shorten a retention: flowtap keys set NAME 6h"
    if seen.free < SPACE_OUT:
        return Finding("space", Level.PROBLEM, text, advice)
    if seen.free < SPACE_LOW:
        return Finding("space", Level.WARNING, text, advice)
    return Finding("space", Level.OK, text)


def quarantine(pieces: Sequence[PieceSeen]) -> Finding:
    """Corrupt pieces that were put aside."""
    if not pieces:
        return Finding("quarantine", Level.OK, "nothing corrupt was put aside")
    taken = sum(piece.size for piece in pieces)
    return Finding(
        "quarantine",
        Level.PROBLEM,
        f"{plural(len(pieces), 'corrupt piece')} put aside, {size(taken)}",
        "Look to the disk. They go with their key's retention; copy them, or remove them, before",
        tuple(
            Detail(
                f"bytes {piece.start} to {piece.start + piece.size} of {piece.source}",
                piece.path,
                start=piece.start,
                end=piece.start + piece.size,
            )
            for piece in pieces
        ),
    )
