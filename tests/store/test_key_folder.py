"""Writers share a key's folder; who purges has it alone, also when writers never pause."""

import threading
import time
from pathlib import Path

import pytest

from store.key_folder import seize, share
from store.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "s")
    layout.create()
    return layout


def test_writers_share_and_keep_a_purge_out(layout: Layout) -> None:
    one, two = share(layout, "k"), share(layout, "k")

    assert one is not None
    assert two is not None
    assert seize(layout, "k", timeout_s=0) is None
    one.release()
    assert seize(layout, "k", timeout_s=0) is None
    two.release()
    alone = seize(layout, "k", timeout_s=0)
    assert alone is not None
    assert share(layout, "k") is None
    assert seize(layout, "k", timeout_s=0) is None
    other = share(layout, "another")
    assert other is not None
    other.release()
    alone.release()


def test_writers_that_overlap_for_ever_do_not_keep_a_purge_waiting(layout: Layout) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            lock = share(layout, "k")
            time.sleep(0.05)
            if lock is not None:
                lock.release()

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
        time.sleep(0.012)
    try:
        alone = seize(layout, "k", timeout_s=20)
        assert alone is not None
        alone.release()
    finally:
        stop.set()
        for writer in writers:
            writer.join()


def test_while_a_purge_waits_for_a_stuck_writer_other_keys_get_their_turn(layout: Layout) -> None:
    stuck = share(layout, "k")
    assert stuck is not None
    purge = threading.Thread(target=lambda: seize(layout, "k", timeout_s=1.5))
    purge.start()
    other = share(layout, "another", timeout_s=20)
    purge.join()

    assert other is not None
    other.release()
    stuck.release()
