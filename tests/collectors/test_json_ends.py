"""Outermost strings from either end of a JSON text: just what a parser finds, or less."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collectors.json_ends import string_from_end, string_from_start

FILL = st.text(alphabet='"\\{}[]:,m', max_size=12)
TREES = st.recursive(
    st.one_of(FILL, st.none(), st.integers(0, 9)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(FILL, st.just("model")), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(
    before=st.dictionaries(FILL, TREES, max_size=4),
    model=st.one_of(st.none(), st.text(alphabet='a"\\', min_size=1, max_size=6)),
    after=st.dictionaries(FILL, TREES, max_size=4),
    indent=st.one_of(st.none(), st.integers(0, 2)),
)
def test_scans_agree_with_parsing(
    before: dict[str, Any], model: str | None, after: dict[str, Any], indent: int | None
) -> None:
    """From either end, the scan finds just what the parser finds."""
    body = {**before, **({"model": model} if model is not None else {}), **after}
    text = json.dumps(body, indent=indent).encode()
    assert model == string_from_start(text, "model")
    assert model == string_from_end(text, "model")
    for cut in range(1, len(text), 3):
        # A window may say less, never other.
        assert string_from_start(text[:cut], "model") in (None, model)
        assert string_from_end(text[cut:], "model") in (None, model)
