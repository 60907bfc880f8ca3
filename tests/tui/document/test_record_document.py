"""A record's four sections: what each says for every sort of response, and what is copied from it."""

import gzip
import json
from typing import Any

import pytest

from collectors.protocol import LlmProtocol
from store.masks import mask
from store.record import Headers, State, Verdict
from tests.tui.builders import LIVE, SECRET, STREAM_HEADERS, body, meta, record
from tests.tui.scenes import ANSWER, message_events, streamed
from tui.document import answer, response
from tui.document.lines import Section
from tui.document.names import COLLECTED, EVENTS, JSON, RAW, RESPONSE_BODY
from tui.document.record_document import LARGE, RecordDocument

JSON_HEADERS: Headers = ((b"content-type", b"application/json"),)


def texts(section: Section) -> list[str]:
    return [text for block in section.blocks for text in block.texts]


def body_of(document: RecordDocument) -> list[str]:
    return texts(document.sections()[3])


def tones(section: Section) -> set[str]:
    return {
        span.tone
        for block in section.blocks
        for at, text in enumerate(block.texts)
        for span in block.piece(at, 0, len(text)).spans
    }


def answered(data: bytes, headers: Headers = JSON_HEADERS, **changes: Any) -> RecordDocument:
    row = meta(streamed=False, content_type="application/json", **changes)
    return RecordDocument(record(row, response_headers=headers, response_body=body(data)))


@pytest.mark.check(127)
def test_four_sections_in_order() -> None:
    made = RecordDocument(streamed(meta())).sections()

    assert [1, 2, 3, 4] == [section.number for section in made]
    assert ["REQUEST HEADERS", "REQUEST BODY", "RESPONSE HEADERS", "RESPONSE BODY"] == [
        section.title for section in made
    ]
    assert "POST https://api.anthropic.com/v1/messages?beta=true" == made[0].about[0].text
    assert ["200 OK", "ttft 1.2s   total 8.1s"] == [line.text for line in made[2].about]


@pytest.mark.check(119, 128)
def test_a_key_in_the_query_is_masked_in_the_heading() -> None:
    row = meta(path="/v1beta/models/m:generateContent?key=AIza-test-0000-not-a-key", port=8443)
    about = RecordDocument(record(row)).sections()[0].about[0].text

    assert "AIza-test-0000-not-a-key" not in about
    assert about.startswith("POST https://api.anthropic.com:8443/v1beta/")


@pytest.mark.check(127, 134)
def test_no_response_says_so_and_why() -> None:
    row = meta(status=None, verdict=Verdict.FAILED, error="connect timeout", streamed=False)
    made = RecordDocument(record(row, response_headers=None)).sections()

    assert "No response" == made[2].about[0].text
    assert ["No response body was produced.", " connect timeout "] == texts(made[3])
    assert "banner-error" in tones(made[3])


@pytest.mark.check(129)
def test_a_json_body_is_indented_and_its_raw_view_is_not() -> None:
    document = answered(b'{"a":[1]}')

    assert ["{", '  "a": [', "    1", "  ]", "}"] == body_of(document)
    document.view[RESPONSE_BODY] = RAW
    document.build(RESPONSE_BODY, RAW)
    assert ['{"a":[1]}'] == body_of(document)


def test_a_text_body_is_plain() -> None:
    document = answered(b"upstream says no\n\x1b[31mred", ((b"content-type", b"text/plain"),))

    assert ["upstream says no", "␛[31mred"] == body_of(document)
    assert () == document.sections()[3].views


@pytest.mark.check(129)
def test_bytes_that_are_no_text_are_said_to_be_so_and_shown_as_base64() -> None:
    document = answered(b"abc\xff\xfe")
    section = document.sections()[3]

    assert [
        " Could not decode the response body (not valid UTF-8 at byte 3); showing raw base64 below. ",
        "YWJj//4=",
    ] == texts(section)
    assert "banner-warning" in tones(section)


def test_a_compressed_body_is_shown_decoded_with_both_sizes() -> None:
    packed = gzip.compress(b'{"a": "' + b"x" * 20_000 + b'"}', mtime=0)
    document = answered(packed, (*JSON_HEADERS, (b"content-encoding", b"gzip")))

    assert "{" == body_of(document)[0]
    assert document.sections()[3].right[-1].startswith("gzip ")
    assert document.sections()[3].right[-1].endswith("→ 20 KB")


def test_an_unknown_encoding_is_said_and_the_bytes_are_shown() -> None:
    document = answered(b"plain", ((b"content-encoding", b"x-secret-sauce"),))

    assert "x-secret-sauce" in body_of(document)[0]
    assert "plain" == body_of(document)[-1]


@pytest.mark.check(29)
def test_an_empty_body_is_an_empty_body() -> None:
    assert ["The body is empty."] == body_of(answered(b""))


@pytest.mark.check(130)
def test_a_stream_opens_on_its_collected_answer() -> None:
    document = RecordDocument(streamed(meta()))
    section = document.sections()[3]

    assert "collected" == section.view
    assert 4 == len(section.views)
    assert "thinking  39 B" == texts(section)[0]
    assert ANSWER in texts(section)
    assert '⚙ Bash  {"command":"pytest -q tests/test_store.py"}' == texts(section)[-1]
    assert ("tool_use", "in 81 K", "cache 81 K", "out 855") == section.right[:4]


@pytest.mark.check(131)
def test_events_have_their_time_their_name_and_indented_json() -> None:
    chunks = [
        b'event: message_start\ndata: {"type":"message_start"}\n\n',
        b"data: not json\x1b[2J\n\n",
    ]
    document = RecordDocument(streamed(meta(), chunks))
    document.view[RESPONSE_BODY] = EVENTS
    document.build(RESPONSE_BODY, EVENTS)

    assert [
        "+100ms    message_start",
        "  {",
        '    "type": "message_start"',
        "  }",
        "+200ms    (unlabeled)",
        "  not json␛[2J",
    ] == body_of(document)
    assert "events 2" == document.sections()[3].view


@pytest.mark.check(132)
def test_a_cut_stream_has_an_amber_banner_and_what_came() -> None:
    section = RecordDocument(streamed(meta(), message_events(end=False))).sections()[3]

    assert [f" {response.TRUNCATED} "] == texts(section)[:1]
    assert ANSWER in texts(section)
    assert "banner-warning" in tones(section)
    assert "banner-error" not in tones(section)


@pytest.mark.check(132)
def test_an_error_in_the_stream_wins_over_the_cut() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    chunks = [*message_events(end=False), f"event: error\ndata: {json.dumps(error)}\n\n".encode()]
    section = RecordDocument(streamed(meta(), chunks)).sections()[3]

    assert [" Stream error: overloaded_error: Overloaded "] == texts(section)[:1]
    assert "banner-error" in tones(section)
    assert "banner-warning" not in tones(section)


@pytest.mark.check(133)
def test_nothing_to_fold_says_so_under_the_banner() -> None:
    shown = texts(RecordDocument(streamed(meta(), [b": ping\n\n"])).sections()[3])

    assert shown[0].startswith(" Stream error: ")
    assert response.NOTHING == shown[1]


@pytest.mark.check(133)
def test_a_collector_that_raises_does_not_take_the_screen_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from collectors.messages import MessagesCollector

    def broken(self: MessagesCollector, event: object) -> None:
        raise RuntimeError("boom\x1b]0;x\x07")

    monkeypatch.setattr(MessagesCollector, "feed", broken)
    shown = texts(RecordDocument(streamed(meta())).sections()[3])

    assert " Could not collect stream: RuntimeError: boom␛]0;x␇ " == shown[0]
    assert response.NOTHING == shown[1]


def test_a_stream_nobody_folds_shows_its_events() -> None:
    row = meta(protocol="rerank", path="/v1/rerank")
    section = RecordDocument(streamed(row, [b'data: {"x":1}\n\n'])).sections()[3]

    assert "No collector for POST /v1/rerank — showing events." == texts(section)[0]
    assert "events 1" == section.view


@pytest.mark.check(128)
def test_the_credential_is_masked_wherever_a_body_repeats_it() -> None:
    document = RecordDocument(
        record(
            meta(streamed=False),
            request_body=json.dumps({"note": f"my key is {SECRET}"}).encode(),
            response_headers=JSON_HEADERS,
            response_body=body(json.dumps({"echo": SECRET}).encode()),
        )
    )
    request, answered_with = texts(document.sections()[1]), texts(document.sections()[3])

    assert f'  "note": "my key is {mask(SECRET)}"' == request[1]
    assert f'  "echo": "{mask(SECRET)}"' == answered_with[1]
    assert (1, True) == (document.copied(4)[1], SECRET not in document.copied(4)[0])

    document.toggle_body(4)
    document.build(4, document.view[4])
    assert f'  "echo": "{SECRET}"' == texts(document.sections()[3])[1]
    assert SECRET in document.copied(4)[0]
    assert SECRET not in document.copied(2)[0]


@pytest.mark.check(135)
def test_what_is_copied_follows_the_view() -> None:
    document = RecordDocument(
        streamed(meta(), [b'event: x\ndata: {"type":"y"}\n\n', b"data: z\n\n"])
    )

    def copied(view: str) -> str:
        document.view[RESPONSE_BODY] = view
        return document.copied(RESPONSE_BODY)[0]

    assert 'event: x\ndata: {"type":"y"}\n\ndata: z\n' == copied(EVENTS)
    assert 'event: x\ndata: {"type":"y"}\n\ndata: z\n\n' == copied(RAW)
    whole = RecordDocument(streamed(meta()))
    assert "tool_use" == json.loads(whole.copied(RESPONSE_BODY)[0])["stop_reason"]
    assert 1 == whole.copied(1)[1]
    whole.request_headers.toggle_all()
    assert f"X-Api-Key: {SECRET}" in whole.copied(1)[0]
    assert 0 == whole.copied(1)[1]


def test_a_large_body_is_raw_first_and_swapped_when_made() -> None:
    data = json.dumps({"items": ["x" * 100] * (LARGE // 80)}).encode()
    document = answered(data)
    first = body_of(document)

    assert not document.built(RESPONSE_BODY)
    assert [data.decode()] == first
    document.build(RESPONSE_BODY, JSON)
    assert "{" == body_of(document)[0]
    assert first is not body_of(document)


def test_a_large_body_with_the_credential_in_it_is_not_shown_before_it_is_masked() -> None:
    data = json.dumps({"items": [SECRET] * (LARGE // 40)}).encode()

    assert ["Formatting…"] == body_of(answered(data))


def test_a_record_in_flight_waits_then_grows_then_is_whole() -> None:
    row = meta(**{**LIVE, "streamed": False})
    waiting = RecordDocument(record(row, response_headers=None), live=True)
    assert "waiting" == waiting.sections()[2].about[0].text
    assert ["Waiting for the response…"] == body_of(waiting)

    chunks = [(100 * at, chunk) for at, chunk in enumerate(message_events())]
    growing = RecordDocument(
        record(meta(**{**LIVE, "status": 200}), response_headers=STREAM_HEADERS), live=True
    )
    seen = []
    for count in range(1, len(chunks) + 1):
        assert growing.grow(chunks[:count])
        assert not growing.grow(chunks[:count])
        seen.append("\n".join(body_of(growing)))
        assert response.TRUNCATED not in seen[-1]
    assert any("The off-by-one is in" in text and ANSWER not in text for text in seen)
    assert ANSWER in seen[-1]
    assert COLLECTED == growing.view[RESPONSE_BODY]
    assert RAW not in growing.views(RESPONSE_BODY)


def test_the_done_record_is_seen_as_the_one_in_flight_was() -> None:
    old = RecordDocument(
        record(meta(**{**LIVE, "status": 200}), response_headers=STREAM_HEADERS), live=True
    )
    old.view[RESPONSE_BODY] = EVENTS
    old.request_headers.toggle(1)
    fresh = RecordDocument(streamed(meta(state=State.DONE)))

    fresh.adopt(old)

    assert EVENTS == fresh.view[RESPONSE_BODY]
    assert fresh.built(RESPONSE_BODY)
    assert {1} == fresh.request_headers.revealed


PARTS: list[tuple[LlmProtocol | None, dict[str, Any], list[tuple[str, str, str]]]] = [
    (
        LlmProtocol.MESSAGES,
        {
            "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "redacted_thinking", "data": "x" * 2048},
                {"type": "text", "text": "hi"},
                {"type": "tool_use", "name": "Bash", "input": {"a": 1}},
                {"type": "novel", "x": 1},
            ]
        },
        [
            ("thinking", "hm", ""),
            ("note", "redacted thinking, 2.0 KB", ""),
            ("text", "hi", ""),
            ("tool", '{"a":1}', "Bash"),
            ("json", '{\n  "type": "novel",\n  "x": 1\n}', "novel"),
        ],
    ),
    (
        LlmProtocol.RESPONSES,
        {
            "output": [
                {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
                {"type": "reasoning", "summary": [], "encrypted_content": "x" * 100},
                {
                    "type": "message",
                    "content": [
                        {"type": "output_text", "text": "hi"},
                        {"type": "refusal", "refusal": "no"},
                    ],
                },
                {"type": "function_call", "name": "f", "arguments": '{"a": 1}'},
                {"type": "function_call", "name": "g", "arguments": '{"a": '},
                {"type": "custom_tool_call", "name": "apply_patch", "input": "*** Begin"},
            ]
        },
        [
            ("thinking", "hm", ""),
            ("note", "encrypted reasoning, 100 B", ""),
            ("text", "hi", ""),
            ("refusal", "no", ""),
            ("tool", '{"a":1}', "f"),
            ("tool", '{"a": ', "g"),
            ("tool", "*** Begin", "apply_patch"),
        ],
    ),
    (
        LlmProtocol.CHAT,
        {
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "reasoning_content": "hm",
                        "content": "hi",
                        "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
                    },
                },
                {
                    "index": 1,
                    "message": {"content": [{"type": "text", "text": "yo"}], "refusal": "no"},
                },
            ]
        },
        [
            ("note", "choice 0", ""),
            ("thinking", "hm", ""),
            ("text", "hi", ""),
            ("tool", "{}", "f"),
            ("note", "choice 1", ""),
            ("text", "yo", ""),
            ("refusal", "no", ""),
        ],
    ),
    (
        LlmProtocol.GEMINI,
        {
            "candidates": [
                {
                    "content": {
                        "parts": [
                            {"text": "hm", "thought": True},
                            {"text": "hi"},
                            {"functionCall": {"name": "f", "args": {"a": 1}}},
                            {"inlineData": {"mimeType": "image/png"}},
                        ]
                    }
                }
            ]
        },
        [
            ("thinking", "hm", ""),
            ("text", "hi", ""),
            ("tool", '{"a":1}', "f"),
            ("json", '{\n  "inlineData": {\n    "mimeType": "image/png"\n  }\n}', ""),
        ],
    ),
    (LlmProtocol.COMPLETIONS, {"choices": [{"text": "hi"}]}, [("text", "hi", "")]),
    (LlmProtocol.EMBEDDINGS, {"data": []}, [("json", '{\n  "data": []\n}', "")]),
    (None, {"a": 1}, [("json", '{\n  "a": 1\n}', "")]),
    (LlmProtocol.MESSAGES, {"content": "odd"}, [("json", '{\n  "content": "odd"\n}', "")]),
]


@pytest.mark.parametrize(("protocol", "result", "parts"), PARTS)
def test_an_answer_in_its_parts(
    protocol: LlmProtocol | None, result: dict[str, Any], parts: list[tuple[str, str, str]]
) -> None:
    found = answer.parts(protocol, result)

    assert parts == [(part.kind, part.text, part.label) for part in found]
    assert answer.blocks(found)


@pytest.mark.parametrize(
    ("protocol", "result", "reason"),
    [
        (LlmProtocol.MESSAGES, {"stop_reason": "end_turn"}, "end_turn"),
        (LlmProtocol.MESSAGES, {"stop_reason": None}, ""),
        (LlmProtocol.RESPONSES, {"status": "completed"}, "completed"),
        (
            LlmProtocol.RESPONSES,
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            "max_output_tokens",
        ),
        (
            LlmProtocol.CHAT,
            {"choices": [{"finish_reason": "stop"}, {"finish_reason": "length"}]},
            "stop, length",
        ),
        (LlmProtocol.GEMINI, {"candidates": [{"finishReason": "STOP"}]}, "STOP"),
    ],
)
def test_why_an_answer_ended(protocol: LlmProtocol, result: dict[str, Any], reason: str) -> None:
    assert reason == answer.stop_reason(protocol, result)
