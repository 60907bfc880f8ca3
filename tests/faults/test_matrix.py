"""Every fault has tests, every test named exists, and the page says what the table says."""

import ast
from collections import Counter
from pathlib import Path

from tests.faults.matrix import HELD, PAGE, REPO, ROWS, figures_of, outcomes_of, page

LAST = 51


def functions(module: Path) -> set[str]:
    """The tests of a module."""
    tree = ast.parse(module.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {each.name for each in ast.walk(tree) if isinstance(each, kinds)}


def test_every_fault_has_tests_that_exist() -> None:
    assert [*range(1, LAST + 1)] == [row.number for row in ROWS]
    assert all(row.tests for row in ROWS)
    named = [(test, row.number) for row in ROWS for test in row.tests]
    assert [] == [each for each, count in Counter(named).items() if count > 1]
    for test, _ in named:
        module, _, name = test.partition("::")
        assert name.partition("[")[0] in functions(REPO / "tests" / f"{module}.py"), test


def test_no_fault_test_is_forgotten() -> None:
    """What stands in tests/faults holds a row, but for what holds more than one fault can say."""
    named = {test.partition("[")[0] for row in ROWS for test in row.tests}
    here = {
        f"faults/{module.stem}::{name}"
        for module in (REPO / "tests" / "faults").glob("test_*.py")
        for name in functions(module)
        if name.startswith("test_") and module.stem != "test_matrix"
    }
    assert BESIDE == here - named


BESIDE = {
    "faults/test_damage::test_a_part_that_cannot_be_opened_is_told",
    "faults/test_damage::test_an_old_reader_is_told_when_the_store_goes_away",
    "faults/test_damage::test_bytes_that_pretend_to_be_a_record_become_none",
    "faults/test_damage::test_damaged_keys_are_not_blamed_on_the_index",
    "faults/test_processes::test_a_proxy_killed_when_it_was_asked_is_told_as_silent_at_once",
}
"""Faults beyond the table."""


def test_the_page_says_what_the_table_says() -> None:
    """docs/faults.md is of this table: `make faults` makes it anew."""
    text = PAGE.read_text()
    outcomes = outcomes_of(text)
    assert page(outcomes, figures_of(text)) == text
    for row in ROWS:
        said = outcomes[row.number]
        assert said == HELD or "not played" in said, f"row {row.number}: {said}"
