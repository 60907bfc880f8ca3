"""Ids never go back, whatever the clock does and whoever asks."""

import itertools
from threading import Thread

import pytest
from ulid import ULID

from store.ids import LAST_MS, IdSource
from store.record import RECORD_ID, id_bytes

NOW_MS = 1_700_000_000_000


@pytest.mark.check(56)
@pytest.mark.parametrize(
    "clock",
    [
        [NOW_MS] * 2_000,
        [NOW_MS, NOW_MS - 3_600_000, NOW_MS - 1, NOW_MS, NOW_MS + 1, 0],
        [NOW_MS + 31_536_000_000, NOW_MS, NOW_MS + 1],
        [-5, LAST_MS, LAST_MS + 1, 2**70],
    ],
    ids=["one millisecond", "steps back", "a year ahead", "beyond what fits"],
)
def test_ids_grow(clock: list[int]) -> None:
    source = IdSource()
    ids = [source.new(now_ms) for now_ms in clock]

    assert all(before < after for before, after in itertools.pairwise(ids))
    assert all(RECORD_ID.match(each) for each in ids)


def test_the_random_part_counted_to_its_end_goes_into_the_next_millisecond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = IdSource()
    first = source.new(NOW_MS)
    source._generator.policy.prev_randomness = b"\xff" * 10  # type: ignore[attr-defined]
    second = source.new(NOW_MS)

    assert first < second
    assert NOW_MS + 1 == ULID.from_str(second).milliseconds


@pytest.mark.check(56)
def test_threads_share_a_source() -> None:
    source = IdSource()
    made: list[list[str]] = [[] for _ in range(4)]

    def mint(into: list[str]) -> None:
        into.extend(source.new(NOW_MS) for _ in range(2_000))

    threads = [Thread(target=mint, args=(each,)) for each in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(each == sorted(each) for each in made)
    assert 8_000 == len({record_id for each in made for record_id in each})


def test_an_id_s_bytes_are_those_of_the_ulid() -> None:
    for _ in range(200):
        ulid = ULID()

        assert ulid.bytes == id_bytes(str(ulid))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0" * 25,
        "0" * 27,
        "8" + "0" * 25,
        "I" + "0" * 25,
        "0" * 25 + "\n",
        "../" * 9,
        "\u0660" * 26,
    ],
)
def test_what_is_no_id_has_no_bytes(text: str) -> None:
    with pytest.raises(ValueError, match="id"):
        id_bytes(text)
