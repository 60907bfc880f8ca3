"""Header rows: order, repeats, masks, and reveals that die with the block."""

import pytest

from store.masks import mask
from tests.tui.builders import SECRET
from tui.document.headers import HeaderBlock

HEADERS = (
    (b"Host", b"api.test"),
    (b"X-Api-Key", SECRET.encode()),
    (b"set-cookie", b"a=1"),
    (b"set-cookie", b"b=2"),
    (b"x-copy", SECRET.encode()),
    (b"x-\x1b[31m", b"v\x9b\xff"),
)


def block() -> HeaderBlock:
    return HeaderBlock(HEADERS, (SECRET,))


def shown(rows: HeaderBlock) -> list[str]:
    return [text.split(maxsplit=1)[1] for text in rows.texts]


@pytest.mark.check(18, 128)
def test_rows_keep_order_case_and_repeats_and_hide_secrets() -> None:
    assert [
        "Host        api.test",
        f"X-Api-Key   {mask(SECRET)}",
        "set-cookie  •••",
        "set-cookie  •••",
        f"x-copy      {mask(SECRET)}",
        "x-␛[31m     v\\x9bÿ",
    ] == block().texts


@pytest.mark.check(128)
def test_a_row_is_revealed_alone() -> None:
    rows = block()

    assert rows.toggle(1)
    assert not rows.toggle(0)
    assert ["api.test", SECRET, "•••", "•••", mask(SECRET)] == shown(rows)[:5]
    assert 3 == rows.hidden

    rows.toggle(1)
    assert mask(SECRET) == shown(rows)[1]


def test_all_rows_are_revealed_and_masked_together() -> None:
    rows = block()
    rows.toggle(2)

    rows.toggle_all()
    assert ["api.test", SECRET, "a=1", "b=2", SECRET] == shown(rows)[:5]
    rows.toggle_all()
    assert 4 == rows.hidden


@pytest.mark.check(135)
def test_a_row_is_copied_as_it_is_shown_but_unescaped() -> None:
    rows = block()

    assert f"X-Api-Key: {mask(SECRET)}" == rows.copied(1)
    rows.toggle(1)
    assert f"X-Api-Key: {SECRET}" == rows.copied(1)
    assert "x-\x1b[31m: v\x9bÿ" == rows.copied(5)


def test_names_and_values_have_their_tones() -> None:
    line = block().piece(1, 0, 200)

    assert [("X-Api-Key   ", "name"), (mask(SECRET), "masked")] == [
        (line.text[span.start : span.end], span.tone) for span in line.spans
    ]


def test_another_document_of_the_same_record_keeps_what_was_revealed() -> None:
    old, same, other = block(), block(), HeaderBlock(HEADERS[:2], ())
    old.toggle(1)

    same.adopt(old)
    other.adopt(old)

    assert {1} == same.revealed
    assert set() == other.revealed
