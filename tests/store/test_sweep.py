"""The sweep: everything expired, everybody's turn, and purges that were cut short."""

import threading
from pathlib import Path

import pytest

from store import purge as purge_module
from store import sweep as sweep_module
from store.layout import Lock
from store.local import LocalStore
from store.purge_index import PurgeIndex
from store.reader import LocalReader
from store.segments import SegmentWriter
from store.sweep import JUMP_S, SteadyClock
from tests.store.builders import SECRET, done, files_with, record, segment_files, until, writing
from tests.store.test_local import CANARY, old_and_new


@pytest.mark.check(70)
def test_a_sweep_deletes_what_expired_and_what_is_left_of_keys_that_are_off(
    store: LocalStore, reader: LocalReader, root: Path
) -> None:
    keys = [store.add_key(f"k{each}", f"{SECRET}{each}", 24 * 3600) for each in range(2)]
    for key in keys:
        old_and_new(store, reader, key)
    store._keys.set_retention("k0", 3600)
    store._keys.set_retention("k1", None)

    assert 12 == store.sweep()
    assert 0 == store.sweep()
    assert [] == files_with(root, CANARY)
    assert {keys[0].id} == {path.parent.name for path in segment_files(root)}
    assert 4 == len(reader.records())


@pytest.mark.check(70)
def test_only_one_process_sweeps(store: LocalStore, reader: LocalReader) -> None:
    old_and_new(store, reader, store.add_key("one", SECRET, 24 * 3600))
    store._keys.set_retention("one", 3600)
    lock = Lock(store.layout.sweep_lock)
    lock.take()
    assert 0 == store.sweep()
    lock.release()
    assert 4 == store.sweep()


@pytest.mark.check(71)
def test_one_key_s_failure_stops_no_other(
    store: LocalStore, reader: LocalReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [store.add_key(f"k{each}", f"{SECRET}{each}", 24 * 3600) for each in range(3)]
    for key in keys:
        old_and_new(store, reader, key)
        store._keys.set_retention(key.name, 3600)
    purge = purge_module.purge_key

    def failing(layout: object, index: object, key_id: str, *args: object) -> int:
        if key_id == keys[1].id:
            raise RuntimeError("the cause")
        return purge(layout, index, key_id, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(sweep_module, "purge_key", failing)
    lines: list[str] = []

    assert 8 == store.sweep(lines.append)
    assert ["sweep of key k1 failed: RuntimeError: the cause"] == lines
    monkeypatch.undo()
    assert 4 == store.sweep(lines.append)
    assert [] == files_with(root, CANARY)


class Killed(BaseException):
    """Ends a purge where a kill would."""


BOUNDARY = [
    "_take_stock",
    "doom",
    "_rewrite",
    "append_raw",
    "sync",
    "move",
    "unlink",
    "buried",
    "checkpoint",
]
WHOLE = ["doom", "move", "unlink", "buried"]
KILLS = [
    *((step, 4, "start") for step in BOUNDARY),
    *((step, 0, "start") for step in WHOLE),
    *((step, 4, by) for step in ("doom", "move", "unlink") for by in ("sweep", "rebuild")),
    *((step, 0, "rebuild") for step in ("move", "unlink")),
]


@pytest.mark.check(69)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("step", "new", "finisher"), KILLS)
def test_a_purge_killed_anywhere_is_finished_and_never_undone(
    store: LocalStore,
    reader: LocalReader,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    after: bool,
    finisher: str,
    new: int,
) -> None:
    key = store.add_key("one", SECRET, 24 * 3600)
    _, kept = old_and_new(store, reader, key, new=new)
    owner: object = {
        "doom": PurgeIndex,
        "move": PurgeIndex,
        "buried": PurgeIndex,
        "checkpoint": PurgeIndex,
        "append_raw": SegmentWriter,
        "sync": SegmentWriter,
        "unlink": Path,
    }.get(step, purge_module)
    original = getattr(owner, step)

    def killing(*args: object, **kwargs: object) -> object:
        if not after:
            raise Killed
        original(*args, **kwargs)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, killing)
        with pytest.raises(Killed):
            store.set_retention("one", 3600)
    # Raised again at once: what the purge had begun to delete must not come back for that.
    store._keys.set_retention("one", 48 * 3600)
    survivors = [row.id for row in reader.records()]
    assert set(kept) <= set(survivors)
    assert survivors == kept[::-1] or step == "_take_stock" or (step == "doom" and not after)
    if finisher == "start":
        store.writer().close()
    elif finisher == "rebuild":
        store.rebuild()
    else:
        store.sweep()

    assert survivors == [row.id for row in reader.records()]
    assert all(reader.get(each) is not None for each in survivors)
    if survivors == kept[::-1]:
        store.writer().close()
        store.sweep()
        assert [] == files_with(root, CANARY)
        assert survivors == [row.id for row in reader.records()]
        assert all(reader.get(each) is not None for each in survivors)


@pytest.mark.check(62, 70)
def test_a_writer_sweeps_by_itself(
    store: LocalStore, reader: LocalReader, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_and_new(store, reader, store.add_key("one", SECRET, 24 * 3600))
    store._keys.set_retention("one", 3600)
    monkeypatch.setattr("store.local.FIRST_SWEEP_S", 0.05)
    monkeypatch.setattr("store.local.SWEEP_EVERY_S", 0.05)
    with writing(store):
        until(lambda: not files_with(root, CANARY))


@pytest.mark.check(72)
def test_a_sweep_that_takes_long_keeps_no_record_waiting(
    store: LocalStore, reader: LocalReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = store.add_key("one", SECRET, 3600)
    hanging, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> int:
        hanging.set()
        go_on.wait(20)
        return 0

    monkeypatch.setattr("store.local.FIRST_SWEEP_S", 0.0)
    monkeypatch.setattr("store.local.sweep", slow)
    with writing(store) as writer:
        assert hanging.wait(20)
        done(reader, record(writer, key).id)
        go_on.set()


@pytest.mark.parametrize(
    ("readings", "jumps"),
    [
        ([(60, 60), (120, 120)], [False, False]),
        ([(31_536_000, 60), (31_536_060, 120)], [True, False]),
        ([(-3_600, 60), (-3_540, 120)], [False, False]),
        ([(60 + JUMP_S, 60)], [False]),
        ([(61 + JUMP_S, 60)], [True]),
    ],
    ids=["steady", "a year ahead", "an hour back", "at the limit", "beyond it"],
)
def test_a_clock_that_jumps_ahead_is_believed_the_second_time(
    readings: list[tuple[float, float]], jumps: list[bool]
) -> None:
    clock = SteadyClock(0.0, 0.0)

    assert jumps == [clock.jumped(*reading) for reading in readings]
