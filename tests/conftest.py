"""What every test may count on, however the run was started."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def signals_of_a_terminal() -> Iterator[None]:
    """A run started by nohup, cron or as a background job ignores SIGHUP or SIGINT, and so would
    every process a test starts: a proxy that is to be stopped by one would go on."""
    before = {}
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) == signal.SIG_IGN:
            before[number] = signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
