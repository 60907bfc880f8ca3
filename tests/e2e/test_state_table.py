"""Every end of the state table, against real proxies: one record each, told right; and the page of them."""

from collections import Counter
from collections.abc import Iterator

import pytest

from store.location import open_reader
from tests.e2e.harness import records
from tests.e2e.stage import Stage
from tests.e2e.state_row import Row
from tests.e2e.state_table import PAGE, ROWS, observed, page


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Its proxies are shared by the rows; the last tests here look at what they leave."""
    with Stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


def played(row: Row) -> int:
    """How often a row is played."""
    return 3 if row.end.startswith("orderly stop") else 1


@pytest.mark.check(12, 15, 16, 23, 24, 29, 38, 39, 40, 41, 42, 45)
@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_end(stage: Stage, row: Row) -> None:
    """Exactly one record, or none; who ended it, the verdict, the bytes that had passed."""
    wanted = [] if row.want is None else [row.want] * played(row)
    assert wanted == observed(stage, row)


def test_the_page_says_what_the_rows_say() -> None:
    """docs/ends.md is that of this table: `python -m tests.e2e.state_table --write` makes it anew."""
    assert page({row.name: row.want for row in ROWS}) == PAGE.read_text()


def test_no_exchange_has_two_records(stage: Stage) -> None:
    """Also not a moment later, over all proxies that ran on the one store at the same time."""
    paths = Counter(record.request.path for record in records(stage.store))
    assert paths
    assert [] == [path for path, count in paths.items() if count > 1]


@pytest.mark.check(43)
def test_nothing_was_lost_and_nothing_of_ours_failed(stage: Stage) -> None:
    """In any of the proxies, through all of it, but for row 30's; mitmproxy's crashes are row 25's."""
    logs = stage.logs()
    logs.pop("raising", None)
    for name, log in logs.items():
        assert "recording failed" not in log, name
        assert "the store fails" not in log, name
        assert "Addon error" not in log, name
    reader = open_reader(str(stage.store))
    try:
        proxies = [p for p in reader.proxies() if p.pid != stage.proxy("raising").pid]
    finally:
        reader.close()
    assert [(0, 0)] * len(proxies) == [(p.lost_records, p.lost_bytes) for p in proxies]
