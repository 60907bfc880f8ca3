"""The command line in this process, and a store for it."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import wait_for
from tests.tui.cli.stage import Ran, Stage
from tui.__main__ import main

type Flowtap = Callable[..., Ran]


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A store nobody changes, its writer alive."""
    made = Stage(tmp_path_factory.mktemp("stage") / "store")
    try:
        wait_for(made.settled, "the stage's records in its store")
        yield made
    finally:
        made.close()


@pytest.fixture
def flowtap(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Flowtap:
    """`flowtap("keys", "list", store=path, stdin=b"")`; the default store is one under tmp_path."""
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(*args: str, store: Path | None = None, stdin: bytes = b"") -> Ran:
        monkeypatch.setenv("FLOWTAP_STORE", str(store or tmp_path / "store"))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
        capsys.readouterr()
        status = main(args)
        out, err = capsys.readouterr()
        return Ran(status, out, err)

    return run
