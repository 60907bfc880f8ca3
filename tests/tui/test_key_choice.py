"""The key selector's choice: who is in it, what comes next, what happens when a key goes."""

from dataclasses import replace

import pytest

from tests.tui.builders import CI, LAPTOP, OFF
from tui.key_choice import KeyChoice


def choice(selected: str | None = None) -> KeyChoice:
    made = KeyChoice()
    made.selected = selected
    assert made.update([CI, LAPTOP, OFF])
    return made


@pytest.mark.check(112)
def test_keys_with_a_retention_are_in_it() -> None:
    made = choice()

    assert [CI, LAPTOP] == made.keys
    assert "all keys" == made.label
    assert "laptop (9Qz1)" == choice(LAPTOP.id).label
    assert {CI.id: "ci", LAPTOP.id: "laptop"} == made.mixed
    assert {} == choice(CI.id).mixed
    assert LAPTOP == made.named("laptop")
    assert made.named("old") is None


def test_all_keys_then_each_in_turn() -> None:
    made = choice()
    seen = []
    for _ in range(4):
        made.selected = made.after
        seen.append(made.selected)

    assert [CI.id, LAPTOP.id, None, CI.id] == seen


@pytest.mark.check(114)
def test_a_selected_key_that_went_off_is_told() -> None:
    made = choice(LAPTOP.id)

    assert made.update([CI, LAPTOP])
    assert not made.update([CI, replace(LAPTOP, retention_s=None)])
    assert CI == made.first
    assert not made.update([])
    assert made.first is None
    assert made.after is None
