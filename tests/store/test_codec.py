"""Values to rows and frames and back: header bytes are any bytes, in order, with repeats."""

import sqlite3
from contextlib import closing
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.codec import (
    COLUMNS,
    end_from_json,
    end_json,
    meta_from_json,
    meta_from_row,
    meta_values,
    pack_json,
    record_json,
    request_from_json,
    request_json,
    response_from_json,
    response_json,
    unpack_json,
    wire_from_json,
)
from store.record import Ending, RecordMeta, RequestHead, ResponseHead, State, Transport, Wire
from tests.store.builders import WIRE, meta, request_head, response_head

ID = "01JX4000000000000000000000"
HEADERS = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=40))).map(tuple)


@pytest.mark.check(18, 19)
@given(headers=HEADERS, path=st.text(), status=st.integers(0, 999), reason=st.text())
def test_heads_come_back_byte_for_byte(
    headers: tuple[tuple[bytes, bytes], ...], path: str, status: int, reason: str
) -> None:
    request = RequestHead("POST", "https", "h", 443, path, "HTTP/2", headers)
    response = ResponseHead(status, reason, "HTTP/2", headers)
    packed = pack_json(record_json(meta(ID), request, response, {}))
    value = unpack_json(packed)

    assert request == request_from_json(value["request"])
    assert response == response_from_json(value["response"])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"state": State.LIVE, "verdict": None, "transport": None, "completed_ms": None},
        {"streamed": False, "status": None, "error": "no response", "lost_bytes": 9},
    ],
)
def test_a_row_comes_back(changes: dict[str, Any]) -> None:
    row = meta(ID, **changes)
    values = meta_values(row) | {"seq": 7}

    assert replace(row, seq=7) == meta_from_row([values[name] for name in COLUMNS])
    assert row == meta_from_json(record_json(row, request_head(), None, {}))


@pytest.mark.parametrize("client", ["claude-cli/2.1.197", None])
def test_the_client_of_an_older_version_s_record_is_told_by_its_head(client: str | None) -> None:
    headers = () if client is None else ((b"User-Agent", client.encode() + b" (external)"),)
    value = record_json(meta(ID), request_head(headers=headers), None, {})
    del value["meta"]["client"]

    assert meta(ID, client=client) == meta_from_json(value)


@pytest.mark.parametrize(
    ("field", "told", "kept"),
    [
        ("model", "\ud800x", "?x"),
        ("error", "a\0b", "a\0b"),
        ("path", "/\udcff", "/?"),
        ("input_tokens", 2**63, None),
        ("input_tokens", -(2**63) - 1, None),
        ("output_tokens", 2**63 - 1, 2**63 - 1),
        ("cache_read_tokens", 1.5, None),
        ("model", ["m"], None),
        ("model", {"m": 1}, None),
        ("model", b"m", None),
    ],
)
def test_a_row_holds_only_what_a_column_can(field: str, told: object, kept: object) -> None:
    changes: dict[str, Any] = {field: told}
    values = meta_values(meta(ID, **changes))
    with closing(sqlite3.connect(":memory:")) as connection:
        (stored,) = connection.execute("SELECT ?", (values[field],)).fetchone()

    assert kept == stored


def test_fields_added_later_and_fields_gone_are_tolerated() -> None:
    value = record_json(meta(ID), request_head(), response_head(), {})
    value["meta"]["new"] = 1
    for name in ("request_bytes", "lost_bytes", "streamed", "reasoning_tokens"):
        del value["meta"][name]
    read = meta_from_json(value)

    assert (0, 0, False, None) == (
        read.request_bytes,
        read.lost_bytes,
        read.streamed,
        read.reasoning_tokens,
    )


@pytest.mark.parametrize("wire", [None, WIRE])
def test_what_passed_comes_back(wire: Wire | None) -> None:
    record = pack_json(record_json(meta(ID), request_head(), None, {}, wire))
    end = Ending(9, Transport.COMPLETE, "x", wire)

    assert wire == wire_from_json(unpack_json(record))
    assert end == end_from_json(unpack_json(pack_json(end_json(end, 3))), 9)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"wire": None},
        {"wire": []},
        {"wire": {"request": {"bytes": 1, "sha256": "x"}}},
        {"wire": {"request": 1, "response": 2}},
        {"wire": {name: {"bytes": "many", "sha256": "x"} for name in ("request", "response")}},
    ],
)
def test_what_passed_is_none_where_it_is_not_told(value: dict[str, Any]) -> None:
    assert wire_from_json(value) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"1", b"{", b"\xff", b'"x"', b"null"])
def test_what_is_no_object_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        unpack_json(data)


def test_columns_are_the_record_s_fields() -> None:
    names = [field.name for field in fields(RecordMeta)]
    assert [*COLUMNS, "pinned"] == names


def test_heads_in_json_have_every_field() -> None:
    assert {field.name for field in fields(RequestHead)} == set(request_json(request_head()))
    assert {field.name for field in fields(ResponseHead)} == set(response_json(response_head()))
