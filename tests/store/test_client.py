"""The client's name, as far as it can be stored and shown."""

import pytest

from store.client import CLIENT_CAP, client_of
from store.local import LocalStore
from store.reader import LocalReader
from store.record import Headers, Key, Transport
from tests.store.builders import done, now_ms, request_head, until, writing


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (((b"User-Agent", b"claude-cli/2.1.197 (external, cli)"),), "claude-cli/2.1.197"),
        (((b"user-agent", b"codex_cli_rs/0.169.0 (Linux; x86_64)"),), "codex_cli_rs/0.169.0"),
        (((b"user-agent", b"OpenAI/Python 1.2"),), "OpenAI/Python"),
        (((b"user-agent", b"  curl/8  "),), "curl/8"),
        (((b"user-agent", b""),), None),
        (((b"user-agent", b"(comment)"),), "(comment)"),
        ((), None),
        (((b"user-agent", b"a\x1b]0;x\x07b"),), "a"),
        (((b"user-agent", b"\xff/1"),), None),
        (((b"user-agent", "caf\u00e9/1".encode()),), "caf"),
        (((b"user-agent", b"x" * 5000),), "x" * CLIENT_CAP),
        (((b"user-agent", b"a/1"), (b"User-Agent", b"b/2")), "a/1"),
    ],
)
def test_client(headers: Headers, expected: str | None) -> None:
    """The first product, as far as it can be printed."""
    assert expected == client_of(headers)


def test_a_row_tells_it_from_the_begin_on(store: LocalStore, reader: LocalReader, key: Key) -> None:
    head = request_head(headers=((b"User-Agent", b"codex_cli_rs/0.169.0 (Linux)"),))
    with writing(store) as writer:
        recording = writer.begin(key, now_ms(), head, "responses")
        live = until(lambda: reader.meta(recording.id))
        recording.end(5, Transport.COMPLETE)
        ended = done(reader, recording.id).meta
    store.rebuild()
    anew = reader.meta(recording.id)
    assert live is not None
    assert anew is not None
    assert ["codex_cli_rs/0.169.0"] * 3 == [row.client for row in (live, ended, anew)]
