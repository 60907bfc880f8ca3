"""`flowtap index`: what it builds and drops, and what searches say of it."""

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from store.fulltext import why_not
from tests.tui.cli.conftest import Flowtap
from tests.tui.cli.stage import EXCHANGES, Stage, listing

needs_fts = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture
def root(stage: Stage, tmp_path: Path) -> Path:
    """A copy of the stage's store, its part of a record in flight included."""
    copy = Path(shutil.copytree(stage.root, tmp_path / "own"))
    for suffix in ("-shm",):
        (copy / f"index.db{suffix}").unlink(missing_ok=True)
    return copy


@needs_fts
def test_it_is_built_used_and_dropped(flowtap: Flowtap, root: Path, stage: Stage) -> None:
    before = listing(root)
    scanned = flowtap("search", "hello", "--json", store=root)
    assert before == listing(root)
    ran = flowtap("index", store=root)
    assert (0, f"{len(EXCHANGES) - 1} records indexed\n", "") == (ran.status, ran.out, ran.err)
    assert flowtap("index", store=root).out == "0 records indexed\n"
    found = flowtap("search", "hello", "--json", store=root)
    assert found.out == scanned.out
    assert flowtap("search", "hello", "--json", "--scan", store=root).out == scanned.out
    assert flowtap("search", "nowhere to be found", store=root).status == 1
    ran = flowtap("index", "--drop", store=root)
    assert (0, "No index any more.\n", "") == (ran.status, ran.out, ran.err)
    assert not (root / "fulltext").exists()


@needs_fts
def test_what_the_index_ruled_out_is_said(
    flowtap: Flowtap, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flowtap("index", store=root)
    monkeypatch.setattr("tui.cli.search._on_terminal", lambda: True)
    ran = flowtap("search", "hello", store=root)
    ruled_out = len(EXCHANGES) - 2
    assert f"1 hit in {len(EXCHANGES)} records, {ruled_out} of them ruled out" in ran.err


@needs_fts
def test_watching_ends_with_ctrl_c(
    flowtap: Flowtap, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two looks; what was built stays."""
    looks = iter(range(3))

    def interrupted() -> None:
        if next(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("tui.cli.index._wait", interrupted)
    monkeypatch.setattr(os, "nice", lambda _: 0)
    ran = flowtap("index", "--watch", store=root)
    assert (130, "") == (ran.status, ran.out)
    assert ran.err == f"{len(EXCHANGES) - 1} records indexed\n"


def test_without_fts_it_is_one_line(
    flowtap: Flowtap, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = listing(root)
    monkeypatch.setattr("store.fulltext._TABLES", ("CREATE VIRTUAL TABLE x USING nothing()",))
    ran = flowtap("index", store=root)
    assert (2, "") == (ran.status, ran.out)
    assert ran.err.count("\n") == 1
    assert f"SQLite ({sqlite3.sqlite_version}) has no FTS5 with trigrams" in ran.err
    assert before == listing(root)
