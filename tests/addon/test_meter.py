"""What passed, counted and hashed however it is cut."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addon.meter import Meter
from store.record import Passed


@pytest.mark.check(12, 32)
@given(st.lists(st.binary(max_size=50)))
def test_any_split_is_one_body(chunks: list[bytes]) -> None:
    """However it is cut."""
    meter = Meter()
    for chunk in chunks:
        meter.add(chunk)
    body = b"".join(chunks)
    assert Passed(len(body), sha256(body).hexdigest()) == meter.passed()


def test_it_can_be_asked_at_any_time() -> None:
    """What has passed so far, and then what has passed since as well."""
    meter = Meter()
    assert Passed(0, sha256().hexdigest()) == meter.passed()
    meter.add(b"a")
    assert Passed(1, sha256(b"a").hexdigest()) == meter.passed()
    meter.add(b"b")
    assert Passed(2, sha256(b"ab").hexdigest()) == meter.passed()


@pytest.mark.check(45)
def test_it_never_raises_and_says_when_it_does_not_know() -> None:
    """A wrong hash would accuse the store; none accuses nobody."""
    meter = Meter()
    meter.add(b"a")
    meter.add("no bytes")  # type: ignore[arg-type]
    meter.add(b"b")
    assert meter.passed() is None
