"""An open store with a key that is on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.local import LocalStore
from store.reader import LocalReader
from store.record import Key
from tests.store.builders import SECRET


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that gathers for milliseconds: most of a test's time would be its waiting.

    tests/faults runs writers at their own pace.
    """
    monkeypatch.setattr("store.writer.DRAIN_S", 0.005)
    monkeypatch.setattr("store.filing.SYNC_S", 0.01)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> Iterator[LocalStore]:
    store = LocalStore(root)
    yield store
    store.close()


@pytest.fixture
def key(store: LocalStore) -> Key:
    return store.add_key("one", SECRET, 3600)


@pytest.fixture
def reader(store: LocalStore) -> Iterator[LocalReader]:
    reader = store.reader()
    yield reader
    reader.close()
