"""A store with a key that is on, in a folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.local import LocalStore
from store.reader import LocalReader
from store.record import Key
from tests.store.builders import SECRET


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
    return store.add_key("one", SECRET, 24 * 3600)


@pytest.fixture
def reader(store: LocalStore) -> Iterator[LocalReader]:
    reader = store.reader()
    yield reader
    reader.close()
