"""The table of docs/clients.md: what was seen of each client, and what its row wants. Pure.

Everything outside of the two marks is written by hand.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.clients.clients import Client

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"
BEGIN = "<!-- made by `make clients` -->"
END = "<!-- end -->"
HEAD = ("client", "version", "goes by", "or by", "over", "records", "verdict")


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one client."""

    name: str
    version: str
    goes_by: Sequence[str]
    or_by: str | None
    """What sends it to a proxy in reverse mode."""
    over: Sequence[str]
    """Of each record."""
    records: Sequence[str]
    """The protocol of each."""
    verdicts: Sequence[str]

    def cells(self) -> tuple[str, ...]:
        """As the page has them."""
        return (
            self.name,
            self.version,
            " ".join(f"`{name}`" for name in self.goes_by),
            f"`{self.or_by}`" if self.or_by else "",
            ", ".join(dict.fromkeys(self.over)),
            f"{len(self.records)}: {', '.join(self.records)}",
            ", ".join(dict.fromkeys(self.verdicts)),
        )


def wanted(client: Client, version: str) -> Row:
    """The row of a client of that version that is as it should be."""
    return Row(
        client.name,
        version,
        client.goes_by,
        client.base.name if client.base else None,
        [want.over for want in client.records],
        [str(want) for want in client.records],
        [want.verdict for want in client.records],
    )


def table(rows: Sequence[Row]) -> str:
    """The table with its marks."""
    lines = [HEAD, ("---",) * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join([BEGIN, *(f"| {' | '.join(cells)} |" for cells in lines), END])


_TABLE = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)


def with_table(page: str, rows: Sequence[Row]) -> str:
    """The page with those rows in the place of the old ones; ValueError without marks."""
    if len(_TABLE.findall(page)) != 1:
        raise ValueError("the page's table has no marks, or several")
    return _TABLE.sub(lambda _: table(rows), page)


def versions(page: str) -> dict[str, str]:
    """The version of each client that the page names."""
    found = _TABLE.search(page)
    lines = found[0].splitlines()[3:-1] if found else []
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return {row[0]: row[1] for row in cells}
