"""`pin` and `unpin`: what they say, what they ask, and how pinned records are shown."""

import json
from pathlib import Path
from typing import Any

import pytest

from store.location import open_reader, open_store
from tests.tui.cli.conftest import Flowtap
from tests.tui.cli.stage import SECRET
from tests.tui.cli.test_keys import fill


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A key kept a day, with records of two hours, one hour and no age, the oldest first."""
    path = tmp_path / "store"
    store = open_store(str(path))
    store.add_key("work", SECRET, 86_400)
    store.close()
    fill(path, "work", [7_200, 3_600, 0])
    return path


def rows(flowtap: Flowtap, root: Path, *args: str) -> list[dict[str, Any]]:
    ran = flowtap("ls", "--json", *args, store=root)
    assert (0, "") == (ran.status, ran.err)
    return [json.loads(line) for line in ran.lines]


@pytest.fixture
def ids(flowtap: Flowtap, root: Path) -> list[str]:
    """The records, the oldest first."""
    return [row["id"] for row in reversed(rows(flowtap, root))]


def test_a_pinned_record_is_shown_as_such(flowtap: Flowtap, root: Path, ids: list[str]) -> None:
    ran = flowtap("pin", ids[0], ids[2], ids[0], store=root)
    assert (0, "2 records pinned\n", "") == (ran.status, ran.out, ran.err)
    ran = flowtap("pin", ids[0], ids[1], store=root)
    assert "1 record pinned, 1 already\n" == ran.out
    ran = flowtap("unpin", ids[1], store=root)
    assert "1 record unpinned\n" == ran.out

    assert [True, False, True] == [row["pinned"] for row in rows(flowtap, root)]
    pinned = rows(flowtap, root, "--pinned", "--key", "work")
    assert [ids[2], ids[0]] == [row["id"] for row in pinned]
    assert [ids[0]] == [row["id"] for row in rows(flowtap, root, "--pinned", "--before", ids[2])]
    lines = flowtap("ls", store=root).lines
    assert [f"{ids[2]} ◆  ", f"{ids[1]}    ", f"{ids[0]} ◆  "] == [line[:30] for line in lines]
    assert 2 == len(flowtap("ls", "--pinned", store=root).lines)
    assert "pinned   ◆ kept past its retention" in flowtap("show", ids[0], store=root).out
    assert "pinned" not in flowtap("show", ids[1], store=root).out
    assert json.loads(flowtap("show", ids[0], "--json", store=root).out)["pinned"]


@pytest.mark.check(10, 64)
def test_lowering_leaves_what_is_pinned_and_unpinning_asks_before_it_deletes(
    flowtap: Flowtap, root: Path, ids: list[str]
) -> None:
    flowtap("pin", ids[0], store=root)
    refused = flowtap("keys", "set", "work", "30m", store=root)
    assert 2 == refused.status
    told = (
        "Saving will immediately delete records older than the new window; 1 pinned record stays."
    )
    assert told in refused.err
    ran = flowtap("keys", "set", "work", "30m", "--yes", store=root)
    assert "work: recorded, kept 30m; 1 record deleted\n" == ran.out
    assert [ids[2], ids[0]] == [row["id"] for row in rows(flowtap, root)]

    refused = flowtap("unpin", *ids[::2], store=root)
    assert (2, "") == (refused.status, refused.out)
    told = "Unpinning immediately deletes 1 record whose retention has passed. Give --yes"
    assert told in refused.err
    assert 2 == len(rows(flowtap, root))
    ran = flowtap("unpin", *ids[::2], "--yes", store=root)
    assert "1 record unpinned, 1 not pinned before; 1 record deleted\n" == ran.out
    assert [ids[2]] == [row["id"] for row in rows(flowtap, root)]
    gone = flowtap("unpin", ids[0], store=root)
    assert 2 == gone.status
    assert f"No record {ids[0]}: unknown, expired, or of a key that is off." in gone.err


@pytest.mark.check(10, 65, 74)
@pytest.mark.parametrize("pinned", [0, 1, 2])
@pytest.mark.parametrize("how", ["off", "remove"])
def test_switching_off_tells_how_many_pinned_records_go(
    flowtap: Flowtap, root: Path, ids: list[str], how: str, pinned: int
) -> None:
    if pinned:
        flowtap("pin", *ids[:pinned], store=root)
    command = ("keys", "set", "work", "off") if how == "off" else ("keys", "remove", "work")
    refused = flowtap(*command, store=root)
    assert 2 == refused.status
    told = {0: ".", 1: ", including 1 pinned record.", 2: ", including 2 pinned records."}[pinned]
    assert f" the records of {'this key' if how == 'off' else 'work'}{told} Give" in refused.err
    assert "3 records deleted" in flowtap(*command, "--yes", store=root).out
    reader = open_reader(str(root))
    assert 0 == reader.pinned()
    reader.close()
