"""`make faults`: every row at length, and the page of how they came out.

Nothing is written if a test failed, or if not all were asked for.
"""

import os
import sys
from collections import defaultdict

import pytest

from tests.faults.length import VARIABLE
from tests.faults.matrix import HELD, PAGE, ROWS, node, page

# For the tests, which are imported later, and the processes they start.
os.environ[VARIABLE] = "length"


class Outcomes:
    """What came of each test, by its name without and with its parameters."""

    def __init__(self) -> None:
        self.passed: set[str] = set()
        self.skipped: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self.figures: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """After each phase of a test."""
        names = (report.nodeid, report.nodeid.partition("[")[0])
        if report.skipped and isinstance(report.longrepr, tuple):
            reason = report.longrepr[2].removeprefix("Skipped: ")
            for name in names:
                self.skipped[name][report.nodeid] = reason
        elif report.when == "call" and report.passed:
            self.passed.update(names)
            self.figures += [
                str(value) for name, value in report.user_properties if name == "figures"
            ]

    def of(self, tests: tuple[str, ...]) -> str:
        """How a row came out."""
        reasons = {
            f"{test.partition('::')[2].removeprefix('test_')} not played: {reason}"
            for test in tests
            for reason in self.skipped[node(test)].values()
        }
        played = [test for test in tests if node(test) in self.passed]
        return "; ".join([HELD] * bool(played) + sorted(reasons))


def main() -> int:
    """Play every row; the exit status of pytest."""
    outcomes = Outcomes()
    tests = dict.fromkeys(node(test) for row in ROWS for test in row.tests)
    status = pytest.main([*sys.argv[1:], "--durations=10", *tests], plugins=[outcomes])
    told = outcomes.passed | outcomes.skipped.keys()
    # Of a choice of the tests (-k) no page can be made.
    if status == pytest.ExitCode.OK and tests.keys() <= told:
        PAGE.write_text(
            page({row.number: outcomes.of(row.tests) for row in ROWS}, outcomes.figures)
        )
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
