"""Retentions: what is one, how it is said, what a change deletes, who is expired."""

import pytest

from store.errors import BadInput
from store.retention import (
    LOWER_WARNING,
    MAX_S,
    OFF_WARNING,
    PRESETS,
    change_warning,
    checked_retention,
    cutoff_ms,
    format_retention,
    parse_retention,
    preset_of,
)


@pytest.mark.check(8)
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 1),
        ("3600", 3600),
        ("45s", 45),
        ("30m", 1_800),
        ("2h", 7_200),
        ("3d", 259_200),
        ("2H", 7_200),
        ("3D", 259_200),
        ("45S", 45),
        ("30M", 1_800),
        ("  2h\t", 7_200),
        ("2 h", 7_200),
        ("2  H ", 7_200),
        ("007", 7),
        ("3650d", MAX_S),
        (str(MAX_S), MAX_S),
    ],
)
def test_a_retention_is_parsed(text: str, seconds: int) -> None:
    assert seconds == parse_retention(text)


@pytest.mark.check(3, 8, 11)
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "soon",
        "5x",
        "1h30m",
        "-5m",
        "3.5h",
        "1e3",
        "+5",
        "h",
        "5 5",
        "off",
        "\u0663",
        "5min",
    ],
)
def test_what_is_no_duration_is_refused_by_its_rule(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_retention(text)

    assert str(caught.value).startswith(
        "Retention must be an integer number of seconds, or a value like 30m / 2h / 3d."
    )


@pytest.mark.check(3, 8)
@pytest.mark.parametrize("text", ["0", "0s", "0m", "0h", "0d", "3651d", "999999999999d"])
def test_a_retention_out_of_range_is_refused_by_its_rule(text: str) -> None:
    with pytest.raises(BadInput, match="from 1 second to 10 years"):
        parse_retention(text)


@pytest.mark.check(3)
@pytest.mark.parametrize("seconds", [0, -1, MAX_S + 1, True, False])
def test_numbers_that_are_no_retention(seconds: int) -> None:
    with pytest.raises(BadInput):
        checked_retention(seconds)


@pytest.mark.check(9)
@pytest.mark.parametrize(
    ("seconds", "preset", "text"),
    [
        (None, "Off", "off"),
        (3_600, "1h", "1h"),
        (21_600, "6h", "6h"),
        (86_400, "24h", "1d"),
        (604_800, "7d", "7d"),
        (45, "Custom…", "45s"),
        (90, "Custom…", "90s"),
        (1_800, "Custom…", "30m"),
        (7_200, "Custom…", "2h"),
        (259_200, "Custom…", "3d"),
    ],
)
def test_how_a_retention_is_said(seconds: int | None, preset: str, text: str) -> None:
    assert (preset, text) == (preset_of(seconds), format_retention(seconds))
    assert seconds is None or seconds == parse_retention(text)


def test_presets_stand_in_their_order() -> None:
    assert ["Off", "1h", "6h", "24h", "7d"] == [name for name, _ in PRESETS]


@pytest.mark.check(10)
@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        (3_600, None, OFF_WARNING),
        (3_600, 60, LOWER_WARNING),
        (60, 3_600, None),
        (None, 60, None),
        (None, None, None),
        (60, 60, None),
    ],
)
def test_only_a_change_that_deletes_is_warned_of(
    old: int | None, new: int | None, warning: str | None
) -> None:
    assert warning == change_warning(old, new)


@pytest.mark.check(10)
@pytest.mark.parametrize(
    ("old", "new", "pinned", "warning"),
    [
        (3_600, None, 1, f"{OFF_WARNING[:-1]}, including 1 pinned record."),
        (3_600, None, 12, f"{OFF_WARNING[:-1]}, including 12 pinned records."),
        (3_600, 60, 1, f"{LOWER_WARNING[:-1]}; 1 pinned record stays."),
        (3_600, 60, 12, f"{LOWER_WARNING[:-1]}; 12 pinned records stay."),
        (60, 3_600, 1, None),
        (None, None, 1, None),
    ],
)
def test_a_warning_tells_of_pinned_records(
    old: int | None, new: int | None, pinned: int, warning: str | None
) -> None:
    assert warning == change_warning(old, new, pinned)


def test_the_warnings_are_the_words_agreed_on() -> None:
    assert OFF_WARNING == "Saving will immediately delete the records of this key."
    assert LOWER_WARNING == "Saving will immediately delete records older than the new window."


@pytest.mark.check(68)
def test_the_cutoff_is_the_instant_before_which_records_are_expired() -> None:
    assert 40_000 == cutoff_ms(100_000, 60)
