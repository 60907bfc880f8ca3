"""Every record read: what is damaged is named, with its file and its bytes, and nothing else is."""

import os
from pathlib import Path

import pytest

from store.deep_look import DeepLook
from store.examine import Examination
from store.local import LocalStore
from store.reader import LocalReader
from store.segments import read_record
from tests.store.builders import segment_files
from tests.store.test_examine import COUNT, deep
from tests.store.test_examine import made as made


@pytest.mark.check(50)
def test_each_damaged_record_is_named(
    store: LocalStore, reader: LocalReader, root: Path, made: list[str]
) -> None:
    (file,) = segment_files(root)
    whole = file.read_bytes()
    places = reader.select("SELECT id, start, record_at FROM records ORDER BY start")
    ends = [*(start for _, start, _ in places[1:]), len(whole)]
    for (record_id, start, _), end in zip(places, ends, strict=True):
        for at in range(start, end, 61):
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
            with Examination(root) as look:
                (found,) = deep(look).damage
            assert (record_id, str(file)) == (found.record, found.file)
            assert record_id in found.text
            assert found.start is not None
            assert found.end is not None
            assert start <= found.start <= at < found.end <= end
    file.write_bytes(whole)


def test_damage_nobody_knows_a_record_of(
    store: LocalStore, reader: LocalReader, root: Path, made: list[str]
) -> None:
    (file,) = segment_files(root)
    whole = file.read_bytes()
    file.write_bytes(whole + b"garbage" * 9)
    with Examination(root) as look:
        (found,) = deep(look).damage
    assert (None, len(whole), len(whole) + 63) == (found.record, found.start, found.end)


def test_records_whose_file_is_gone(store: LocalStore, root: Path, made: list[str]) -> None:
    (file,) = segment_files(root)
    file.unlink()
    with Examination(root) as look:
        seen = deep(look)
    assert (COUNT, set(made)) == (seen.records, {each.record for each in seen.damage})
    assert all("not on the disk" in each.text for each in seen.damage)


def test_a_read_error_is_told(
    store: LocalStore, root: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", failing)
    with Examination(root) as look:
        seen = deep(look)
    assert COUNT + 1 == len(seen.damage)
    assert all("Input/output error" in each.text for each in seen.damage)


def test_what_is_purged_meanwhile_is_no_damage(
    store: LocalStore, root: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def purging(*args: object) -> object:
        monkeypatch.undo()
        store.set_retention("one", None)
        return read_record(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("store.deep_look.read_record", purging)
    with Examination(root) as look:
        assert () == deep(look).damage


def test_progress(store: LocalStore, root: Path, made: list[str]) -> None:
    told: list[tuple[int, int]] = []
    with Examination(root) as look:
        DeepLook(look).everything(lambda at, total: told.append((at, total)))
    assert [(number, COUNT) for number in range(1, COUNT + 1)] == told


def test_rows_that_make_no_sense(store: LocalStore, root: Path, made: list[str]) -> None:
    with store._managed() as index, index.transaction() as connection:
        connection.execute("UPDATE records SET verdict = 'wonderful' WHERE id = ?", (made[0],))
        connection.execute("UPDATE records SET start = 'x' WHERE id = ?", (made[1],))
    with Examination(root) as look:
        named = {each.record for each in deep(look).damage}
    assert {made[0], made[1]} <= named
