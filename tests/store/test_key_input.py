"""What a key may be called and what may be its secret, told before anything is made."""

import pytest

from store.errors import BadInput
from store.key_input import NAME_LIMIT, checked_name, checked_secret


@pytest.mark.parametrize("name", ["a", "work", "two words", "ключ", "x" * NAME_LIMIT])
def test_a_name(name: str) -> None:
    assert name == checked_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        " a",
        "a ",
        "a\n",
        "\x1b[31m",
        "a\u202eb",
        "a\x00",
        "x" * (NAME_LIMIT + 1),
        "x" * 10**6,
    ],
)
def test_no_name(name: str) -> None:
    """One line that can be shown, however long or wild the name."""
    with pytest.raises(BadInput, match="1 to 64 printable characters") as caught:
        checked_name(name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("secret", ["sk-ant-test-0000", " sk-ant-test-0000\n", "\tx "])
def test_a_secret(secret: str) -> None:
    assert secret.strip() == checked_secret(secret)


@pytest.mark.parametrize("secret", ["", " \n", "Bearer sk-ant-test-0000", "sk-ant\ntest", "a\tb"])
def test_no_secret(secret: str) -> None:
    """And it is not repeated."""
    with pytest.raises(BadInput) as caught:
        checked_secret(secret)
    assert "ant" not in str(caught.value)
