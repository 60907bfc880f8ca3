"""docs/clients.md says what the clients' rows want; `make clients` holds the rows against the clients."""

import re
from pathlib import Path

import pytest

from tests.clients.clients import CLIENTS
from tests.clients.page import BEGIN, END, PAGE, table, versions, wanted, with_table
from tui.client_env import client_environment


def test_the_page_is_of_these_clients_and_of_their_pinned_versions() -> None:
    """A changed pin or row wants a `make clients`. What is not pinned is the version it last ran with."""
    page = PAGE.read_text()
    named = versions(page)
    rows = [wanted(client, client.pinned() or named[client.name]) for client in CLIENTS]
    assert table(rows) in page
    assert with_table(page, rows) == page


def test_the_page_names_every_variable() -> None:
    """By hand it is done with what `flowtap run` sets."""
    page = PAGE.read_text()
    names = set(client_environment("", Path(), Path()))
    assert set() == {name for name in names if f"`{name}`" not in page}
    assert set() == {name for client in CLIENTS for name in client.goes_by} - names


@pytest.mark.parametrize("marks", ["", BEGIN, f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_page_without_its_marks_is_left_alone(marks: str) -> None:
    with pytest.raises(ValueError, match="marks"):
        with_table(f"# Clients\n{marks}\n", [])


def test_the_table_is_replaced_and_nothing_else() -> None:
    """Also where a cell has what a regular expression would take for a group."""
    row = wanted(CLIENTS[0], r"1.0\1")
    page = f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n"
    made = with_table(page, [row])
    assert ("before\n\n", "\n\nafter\n") == (made.partition(BEGIN)[0], made.partition(END)[2])
    assert "old" not in made
    assert {CLIENTS[0].name: r"1.0\1"} == versions(made)
    assert made == with_table(made, [row])


def test_names_are_told_apart() -> None:
    """They are the rows' names, and the tests'."""
    names = [client.name for client in CLIENTS]
    assert len(names) == len(set(names))
    assert [] == [name for name in names if re.search(r"[|\n]", name)]
