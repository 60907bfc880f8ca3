"""How far the fault tests go: shortly in every run of the tests, at length by `make faults`."""

import os

import pytest

VARIABLE = "FLOWTAP_FAULTS"
AT_LENGTH = os.environ.get(VARIABLE) == "length"

only_at_length = pytest.mark.skipif(not AT_LENGTH, reason="at length: `make faults` runs it")


def reach(short: int, at_length: int) -> int:
    """A count by how far the run goes."""
    return at_length if AT_LENGTH else short
