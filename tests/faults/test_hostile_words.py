"""What a user or a client may type where the store looks something up: found, or BadInput; never SQL."""

import json

import pytest

from store.errors import BadInput
from store.local import LocalStore
from store.needle import Needle
from store.reader import LocalReader
from store.record import Key
from store.search import Hit, search
from tests.store.builders import done, record, writing

WORDS = [
    "'; DROP TABLE records; --",
    '" OR 1=1 --',
    "%_%",
    "a* OR b",
    "t:hello",
    "NEAR(a b)",
    "(((",
    '"',
    "\\",
    "a\0b",
    "-x",
    "^a$",
    "\ud800",
    "\u202egnp",
    "../../etc/passwd",
    "x" * 70_000,
]
REFUSED = ("\ud800", "x" * 70_000)
"""No text that could be written anywhere, and one that nobody means."""


@pytest.mark.parametrize("words", WORDS, ids=[ascii(each)[:24] for each in WORDS])
def test_whatever_is_looked_for_is_found_as_it_is_written(
    store: LocalStore, key: Key, reader: LocalReader, words: str
) -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": f"say {words}."}]})
    with writing(store) as writer:
        has = record(writer, key, request=[body.encode()]).id
        other = record(writer, key).id
        for each in (has, other):
            done(reader, each)
        if words in REFUSED:
            with pytest.raises(BadInput):
                Needle(words)
        else:
            hits = search(reader, Needle(f"say {words}."))
            assert [has] == [hit.meta.id for hit in hits if isinstance(hit, Hit)]
    for look in (reader.key, reader.get, reader.meta, store.remove_key):
        with pytest.raises(BadInput):
            look(words)
    with pytest.raises(BadInput):
        reader.records(before=words)
    assert [] == reader.records(key_id=words)
    assert [] == reader.news(0, key_id=words)
    assert {has, other} == {row.id for row in reader.records()}
