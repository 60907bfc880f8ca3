"""docs/json.md and the real output say the same: every key is documented, every documented key is there."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collectors.protocol import LlmProtocol
from store.record import KeyKind, State, Transport, Verdict
from store.verification import Result
from tests.tui.cli.conftest import Flowtap
from tests.tui.cli.stage import SECRET, Stage, message
from tui.health.finding import Level

PAGE = Path(__file__).parents[3] / "docs" / "json.md"

OPAQUE = {"outcome.result"}
"""Objects whose fields are the protocol's."""

TYPES: dict[str, type] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "object": dict,
    "array": list,
    "null": type(None),
}


def section(title: str) -> dict[str, str]:
    """The fields of a section's table with their types."""
    text = PAGE.read_text(encoding="utf-8")
    body = re.split(r"^## ", text, flags=re.MULTILINE)
    (found,) = (part for part in body if part.startswith(f"{title}\n"))
    rows = re.findall(r"^\| `([^`]+)` \| ([a-z ]+) \| (.+) \|$", found, flags=re.MULTILINE)
    fields = {name: kind for name, kind, _ in rows}
    assert len(fields) == len(rows) == found.count("\n| `")
    return fields


def walk(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field's path with its value; `[]` stands for the items of an array of objects."""
    for name, item in value.items():
        path = f"{prefix}{name}"
        yield path, item
        if path in OPAQUE:
            continue
        if isinstance(item, dict):
            yield from walk(item, f"{path}.")
        elif isinstance(item, list):
            for entry in item:
                if isinstance(entry, dict):
                    yield from walk(entry, f"{path}[].")


def check(objects: list[Any], fields: dict[str, str], *, always: bool = True) -> None:
    """Both ways; and each value has a type that is documented, each documented type a value somewhere."""
    assert objects
    seen: dict[str, set[type]] = {}
    for item in objects:
        paths = dict(walk(item))
        if always:
            assert set(fields) == set(paths)
        for path, value in walk(item):
            seen.setdefault(path, set()).add(type(value))
    assert set(fields) == set(seen)
    for path, kinds in seen.items():
        documented = {TYPES[name] for name in fields[path].split(" or ")}
        assert kinds <= documented, f"{path}: {kinds}"


def lines(flowtap: Flowtap, *args: str, **more: Any) -> list[Any]:
    ran = flowtap(*args, **more)
    assert 0 == ran.status
    return [json.loads(line, parse_constant=_refuse) for line in ran.lines]


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


@pytest.mark.check(30)
def test_rows(flowtap: Flowtap, stage: Stage) -> None:
    rows = lines(flowtap, "ls", "--json", store=stage.root)
    check(rows, section("Record row"))
    for row in rows:
        assert row["started_at"].endswith("Z")


@pytest.mark.check(30, 31)
def test_records(flowtap: Flowtap, stage: Stage) -> None:
    """The row's fields are in every record; the others by the kind of its response."""
    records = [
        record
        for key in stage.ids.values()
        for record in lines(flowtap, "show", key, "--json", store=stage.root)
    ]
    check(records, section("Record row") | section("Record"), always=False)
    rows = {row["id"]: row for row in lines(flowtap, "ls", "--json", store=stage.root)}
    for record in records:
        assert set(section("Record row")) <= dict(walk(record)).keys()
        assert {"request", "response", "outcome"} <= record.keys()
        row = rows[record["id"]]
        # Of one in flight, `show` has counted what there is.
        counted = {"response_bytes", "ttft_ms"} if record["state"] == "live" else set()
        for name in row.keys() - counted:
            assert row[name] == record[name]
    kinds = {record["response"]["type"]: record["response"].keys() for record in records}
    head = {"type", "status", "reason", "http_version", "headers"}
    assert {"stream": head | {"events"}, "bytes": head | {"body"}, "none": {"type"}} == kinds


@pytest.mark.check(5, 6)
def test_keys(flowtap: Flowtap, tmp_path: Path) -> None:
    """A key that goes by a rule has one, the others have none."""
    root = tmp_path / "own"
    fields = section("Key")
    always = {name for name in fields if not name.startswith("rule.")}
    change = section("Key change")
    changes = [
        *lines(flowtap, "keys", "add", "work", "--json", store=root, stdin=SECRET.encode()),
        *lines(flowtap, "keys", "add", "rule", "--header", "x-a=b", "--json", store=root),
        *lines(flowtap, "keys", "set", "work", "1h", "--json", store=root),
        *lines(flowtap, "keys", "rename", "work", "w", "--json", store=root),
    ]
    check(changes, fields | change, always=False)
    flowtap("keys", "add", "off", store=root, stdin=b"sk-ant-test-0000-another-one")
    listed = lines(flowtap, "keys", "list", "--json", store=root)
    check(listed, fields, always=False)
    removed = lines(flowtap, "keys", "remove", "w", "rule", "--yes", "--json", store=root)
    check(removed, fields | change, always=False)
    for key in listed:
        assert always == {name for name, _ in walk(key) if not name.startswith("rule.")}
    for key in (*changes, *removed):
        assert always | change.keys() == {
            name for name, _ in walk(key) if not name.startswith("rule.")
        }


def test_folds(flowtap: Flowtap) -> None:
    streams = [b"".join(message("hi")), b'data: {"choices":[]}\n\n', b"".join(message("x")[:3])]
    folds = [fold for data in streams for fold in lines(flowtap, "fold", "-", stdin=data)]
    check(folds, section("Fold line"))


@pytest.mark.parametrize(
    ("title", "field", "values"),
    [
        ("Record row", "state", State),
        ("Record row", "verdict", Verdict),
        ("Record row", "transport", Transport),
        ("Record row", "protocol", LlmProtocol),
        ("Key", "kind", KeyKind),
        ("Verification", "result", Result),
        ("Finding", "level", Level),
    ],
)
def test_every_word_is_on_the_page(title: str, field: str, values: type) -> None:
    """The enumerations, whole."""
    page = PAGE.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    (line,) = re.findall(rf"^\| `{field}` \|.*$", page, re.MULTILINE)
    assert {str(value) for value in values} <= set(re.findall(r"`([^`]+)`", line))  # type: ignore[attr-defined]
