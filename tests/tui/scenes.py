"""A filled store, as the pilot tests and a look at the screen want it: every sort of row once."""

import json
from typing import Any

from store.record import Body, Record, ResponseHead, State, Transport, Verdict
from tests.tui.builders import CI, LIVE, NOW_MS, STREAM_HEADERS, body, meta, record
from tests.tui.fakes import FakeLive, FakeStore

ANSWER = (
    "The off-by-one is in `purge_expired`: it keeps the record whose `completed_at` equals the "
    "cutoff. Fixed in store/sweep.py:41."
)


def sse(*events: Any) -> list[bytes]:
    """Events as a server sends them, one chunk each."""
    return [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events]


def message_events(text: str = ANSWER, *, end: bool = True) -> list[bytes]:
    """A Messages stream: thinking, the text in deltas of two words, a tool call, the end."""
    words = text.split(" ")
    deltas = [" ".join(words[at : at + 2]) + " " for at in range(0, len(words), 2)]
    deltas[-1] = deltas[-1].rstrip()
    start = {
        "type": "message_start",
        "message": {
            "id": "msg_test",
            "type": "message",
            "role": "assistant",
            "model": "claude-opus-4-5",
            "content": [],
            "usage": {"input_tokens": 12, "output_tokens": 1},
        },
    }
    thinking = [
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": ""},
        },
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {
                "type": "thinking_delta",
                "thinking": "I will check the retention sweep first.",
            },
        },
        {"type": "content_block_stop", "index": 0},
    ]
    answer = [
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        *(
            {
                "type": "content_block_delta",
                "index": 1,
                "delta": {"type": "text_delta", "text": delta},
            }
            for delta in deltas
        ),
    ]
    rest = [
        {"type": "content_block_stop", "index": 1},
        {
            "type": "content_block_start",
            "index": 2,
            "content_block": {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}},
        },
        {
            "type": "content_block_delta",
            "index": 2,
            "delta": {
                "type": "input_json_delta",
                "partial_json": '{"command": "pytest -q tests/test_store.py"}',
            },
        },
        {"type": "content_block_stop", "index": 2},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"output_tokens": 855},
        },
        {"type": "message_stop"},
    ]
    return sse(start, *thinking, *answer, *(rest if end else []))


REQUEST = {
    "model": "claude-opus-4-5",
    "max_tokens": 32000,
    "stream": True,
    "system": [{"type": "text", "text": "You fix bugs.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "The retention test fails, see tests/test_store.py"},
        {"role": "user", "content": "and fix it"},
    ],
}


def streamed(row: Any, chunks: list[bytes] | None = None) -> Record:
    """A whole streamed record."""
    return record(
        row,
        request_body=json.dumps(REQUEST).encode(),
        response_body=body(*(message_events() if chunks is None else chunks)),
    )


def filled(count: int = 40) -> FakeStore:
    """Records of every sort, the newest last."""
    store = FakeStore()
    odd: dict[int, dict[str, Any]] = {
        2: {
            "model": "gpt-5.2",
            "host": "api.openai.com",
            "path": "/v1/responses",
            "protocol": "responses",
            "verdict": Verdict.CLIENT_CLOSED,
            "transport": Transport.CLIENT_CLOSED,
            "duration_ms": 6_600,
        },
        3: {
            "status": 529,
            "verdict": Verdict.FAILED,
            "error": "overloaded_error: Overloaded",
            "duration_ms": 1_000,
            "response_bytes": 180,
            "input_tokens": None,
            "output_tokens": None,
        },
        4: {
            "status": 429,
            "verdict": Verdict.FAILED,
            "error": "rate_limit_error: This request would exceed your rate limit",
            "duration_ms": 210,
            "response_bytes": 260,
            "input_tokens": None,
            "output_tokens": None,
        },
        5: {"model": "claude-haiku-4-5", "request_bytes": 6_200, "response_bytes": 1_400},
        6: {
            "model": None,
            "host": "api.openai.com",
            "path": "/v1/chat/completions",
            "protocol": "chat",
            "status": None,
            "verdict": Verdict.FAILED,
            "transport": Transport.UPSTREAM_ERROR,
            "error": "connect timeout",
            "duration_ms": 30_000,
            "input_tokens": None,
            "output_tokens": None,
            "response_bytes": 0,
        },
        7: {
            "model": "gemini-3-pro",
            "host": "generativelanguage.googleapis.com",
            "path": "/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse&key=AIza-test-0000-not-a-key",
            "protocol": "gemini",
        },
        8: {"key_id": CI.id, "model": "gpt-4.1-nano", "path": "/v1/chat/completions"},
        9: {"verdict": Verdict.TRUNCATED, "transport": Transport.UPSTREAM_CLOSED},
    }
    for number in range(1, count + 1):
        back = count - number
        at = NOW_MS - 5_000 - back * back * 700
        row = meta(number, started_ms=at, completed_ms=at + 4000, **odd.get(back, {}))
        whole = streamed(row)
        if row.status is None:
            whole = record(row, response_headers=None)
        elif row.status >= 400:
            error = {"type": "error", "error": {"type": "x_error", "message": row.error}}
            row = meta(
                number,
                **{
                    **odd[back],
                    "started_ms": at,
                    "streamed": False,
                    "content_type": "application/json",
                },
            )
            whole = record(
                row,
                response_headers=((b"content-type", b"application/json"),),
                response_body=body(json.dumps(error).encode()),
            )
        elif row.verdict is Verdict.TRUNCATED:
            whole = streamed(row, message_events(end=False))
        store.put(row, whole)
    return store


def flying(store: FakeStore, number: int = 100) -> FakeLive:
    """A record in flight whose response has begun."""
    row = meta(number, **{**LIVE, "started_ms": NOW_MS - 12_400, "status": 200})
    live = store.begin(row, streamed(row))
    live.answer(ResponseHead(200, "OK", "HTTP/1.1", STREAM_HEADERS))
    return live


def landed(live: FakeLive, number: int = 100) -> Record:
    """What the store has of it at its end."""
    row = meta(number, started_ms=NOW_MS - 12_400, state=State.DONE)
    data = b"".join(chunk for _, chunk in live.chunks)
    arrivals = tuple((at, len(chunk)) for at, chunk in live.chunks)
    return record(row, response_body=Body(data, arrivals))
