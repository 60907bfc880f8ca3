"""What a reader sees of requests and answers, protocol by protocol, and what a turn brought."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.protocol import LlmProtocol
from collectors.texts import Text, answer_texts, new_texts, request_texts

MESSAGES, RESPONSES, CHAT, GEMINI = (
    LlmProtocol.MESSAGES,
    LlmProtocol.RESPONSES,
    LlmProtocol.CHAT,
    LlmProtocol.GEMINI,
)

type Shown = list[tuple[str, str, str]]


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def shown(texts: Any) -> Shown:
    return [(text.role, text.kind, text.text) for text in texts]


def call(name: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": "toolu_1", "name": name, "input": given}


REQUESTS: list[tuple[str, LlmProtocol, dict[str, Any], Shown]] = [
    # what is tried, protocol, body, texts
    (
        "a prompt as a string",
        MESSAGES,
        {"system": "be kind", "messages": [{"role": "user", "content": "hi"}]},
        [("system", "text", "be kind"), ("user", "text", "hi")],
    ),
    (
        "blocks of every kind",
        MESSAGES,
        {
            "model": "m",
            "tools": [{"name": "read", "description": "not searched"}],
            "system": [{"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}}],
            "messages": [
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                        {"type": "redacted_thinking", "data": "c2ln"},
                        call("read", path="a.py", lines=[1, 2]),
                        {"type": "server_tool_use", "name": "web_search", "input": {"query": "q"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "line\nline"},
                        {
                            "type": "tool_result",
                            "content": [
                                {"type": "text", "text": "a"},
                                {"type": "image", "source": {"type": "base64", "data": "aGk="}},
                            ],
                        },
                        {
                            "type": "document",
                            "title": "t",
                            "source": {"type": "text", "media_type": "text/plain", "data": "doc"},
                        },
                        {"type": "from_the_future", "words": ["x", {"y": 3}]},
                    ],
                },
            ],
        },
        [
            ("system", "text", "one"),
            ("assistant", "thinking", "hm"),
            ("assistant", "tool_call", "read\npath: a.py\nlines: 1\nlines: 2"),
            ("assistant", "tool_call", "web_search\nquery: q"),
            ("tool", "tool_result", "line\nline"),
            ("tool", "tool_result", "a\n"),
            ("user", "other", "title: t\nmedia_type: text/plain\ndoc"),
            ("user", "other", "words: x\ny: 3"),
        ],
    ),
    (
        "an input as a string",
        RESPONSES,
        {"instructions": "be kind", "input": "hi"},
        [("system", "text", "be kind"), ("user", "text", "hi")],
    ),
    (
        "items of every kind",
        RESPONSES,
        {
            "input": [
                {"role": "developer", "content": "rules"},
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "hi"},
                        {"type": "input_image", "image_url": "data:image/png;base64,aGk="},
                        {"type": "input_file", "filename": "f.txt", "file_data": "aGk="},
                    ],
                },
                {
                    "type": "reasoning",
                    "summary": [{"type": "summary_text", "text": "hm"}],
                    "encrypted_content": "x",
                },
                {"type": "function_call", "name": "ls", "arguments": '{"path":"a"}'},
                {"type": "function_call", "name": "ls", "arguments": '{"path":"a'},
                {"type": "function_call_output", "call_id": "c", "output": "a\nb"},
                {"type": "custom_tool_call", "name": "patch", "input": "*** Begin"},
                {
                    "type": "custom_tool_call_output",
                    "output": [{"type": "input_text", "text": "done"}],
                },
                {
                    "type": "local_shell_call",
                    "action": {"type": "exec", "command": ["ls", "-l"]},
                },
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "refusal", "refusal": "no"}],
                },
            ]
        },
        [
            ("system", "text", "rules"),
            ("user", "text", "hi"),
            ("user", "other", "filename: f.txt"),
            ("assistant", "thinking", "hm"),
            ("assistant", "tool_call", "ls\npath: a"),
            ("assistant", "tool_call", 'ls\n{"path":"a'),
            ("tool", "tool_result", "a\nb"),
            ("assistant", "tool_call", "patch\n*** Begin"),
            ("tool", "tool_result", "text: done"),
            ("assistant", "tool_call", "command: ls\ncommand: -l"),
            ("assistant", "refusal", "no"),
        ],
    ),
    (
        "messages of every role",
        CHAT,
        {
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                {
                    "role": "assistant",
                    "content": None,
                    "reasoning_content": "hm",
                    "tool_calls": [
                        {"id": "c", "function": {"name": "ls", "arguments": '{"n":1.5,"id":2}'}},
                        {"custom": {"name": "patch", "input": "text"}},
                    ],
                },
                {"role": "tool", "tool_call_id": "c", "content": "a b"},
                {"role": "assistant", "function_call": {"name": "old", "arguments": "{}"}},
            ]
        },
        [
            ("system", "text", "be kind"),
            ("user", "text", "hi"),
            ("assistant", "thinking", "hm"),
            ("assistant", "tool_call", "ls\nn: 1.5\nid: 2"),
            ("assistant", "tool_call", "patch\ntext"),
            ("tool", "tool_result", "a b"),
            ("assistant", "tool_call", "old"),
        ],
    ),
    (
        "parts of every kind, wrapped as Code Assist does",
        GEMINI,
        {
            "request": {
                "systemInstruction": {"parts": [{"text": "be kind"}]},
                "contents": [
                    {"role": "user", "parts": [{"text": "hi"}, {"inlineData": {"data": "aGk="}}]},
                    {
                        "role": "model",
                        "parts": [
                            {"text": "hm", "thought": True},
                            {"functionCall": {"name": "ls", "args": {"path": "a"}}},
                        ],
                    },
                    {
                        "role": "user",
                        "parts": [{"functionResponse": {"name": "ls", "response": {"out": "b"}}}],
                    },
                ],
            }
        },
        [
            ("system", "text", "be kind"),
            ("user", "text", "hi"),
            ("assistant", "thinking", "hm"),
            ("assistant", "tool_call", "ls\npath: a"),
            ("tool", "tool_result", "ls\nout: b"),
        ],
    ),
    (
        "one content that is no list, no role",
        GEMINI,
        {"contents": {"parts": [{"text": "hi"}]}},
        [("user", "text", "hi")],
    ),
    (
        "prompts",
        LlmProtocol.COMPLETIONS,
        {"prompt": ["a", "b", [1, 2]]},
        [("user", "text", "a"), ("user", "text", "b")],
    ),
    ("no texts known", LlmProtocol.EMBEDDINGS, {"input": "x"}, []),
    ("wrong shapes", MESSAGES, {"system": 1, "messages": [None, 3, {"content": [None, []]}]}, []),
    ("half a surrogate pair", MESSAGES, {"system": "\ud83d!"}, [("system", "text", "\ufffd!")]),
]


@pytest.mark.parametrize(
    ("protocol", "value", "expected"),
    [row[1:] for row in REQUESTS],
    ids=[row[0] for row in REQUESTS],
)
def test_texts_of_a_request(protocol: LlmProtocol, value: dict[str, Any], expected: Shown) -> None:
    assert shown(request_texts(protocol, body(**value))) == expected


def test_a_turn_of_several_messages_on_a_websocket() -> None:
    first = body(type="response.create", input="hi")
    second = body(type="response.inject", input=[{"role": "user", "content": "wait"}])
    found = shown(request_texts(RESPONSES, first + b"\n" + second))
    assert found == [("user", "text", "hi"), ("user", "text", "wait")]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str, role: str = "assistant") -> dict[str, Any]:
    return {"role": role, "content": text}


NEW: list[tuple[str, LlmProtocol, dict[str, Any], list[str]]] = [
    # which turn, protocol, body, what it brought
    ("first", MESSAGES, {"system": "s", "messages": [user("a")]}, ["s", "a"]),
    ("second", MESSAGES, {"system": "s", "messages": [user("a"), said("b"), user("c")]}, ["c"]),
    (
        "tool results of two messages",
        MESSAGES,
        {
            "messages": [
                user("a"),
                {"role": "assistant", "content": [call("ls")]},
                {"role": "user", "content": [{"type": "tool_result", "content": "r"}]},
                user("c"),
            ]
        },
        ["r", "c"],
    ),
    (
        "an answer begun by the client",
        MESSAGES,
        {"messages": [user("a"), said("b"), user("c"), said("{")]},
        ["c", "{"],
    ),
    ("nothing but the model's words", MESSAGES, {"system": "s", "messages": [said("b")]}, []),
    ("first", CHAT, {"messages": [said("s", "system"), user("a")]}, ["s", "a"]),
    ("second", CHAT, {"messages": [said("s", "system"), user("a"), said("b"), user("c")]}, ["c"]),
    ("the items before at the server", RESPONSES, {
        "instructions": "s", "previous_response_id": "resp_1",
        "input": [{"type": "function_call_output", "output": "r"}]}, ["r"]),
    ("behind a call", RESPONSES, {
        "instructions": "s",
        "input": [user("a"), {"type": "function_call", "name": "ls", "arguments": "{}"},
                  {"type": "function_call_output", "output": "r"}]}, ["r"]),
    ("second", GEMINI, {"contents": [
        {"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]},
        {"role": "user", "parts": [{"text": "c"}]}]}, ["c"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "value", "expected"),
    [row[1:] for row in NEW],
    ids=[f"{row[1]} {row[0]}" for row in NEW],
)
def test_what_a_turn_brought(
    protocol: LlmProtocol, value: dict[str, Any], expected: list[str]
) -> None:
    texts = [text.text for text in new_texts(protocol, body(**value))]
    assert texts == expected


ANSWERS: list[tuple[LlmProtocol, dict[str, Any], Shown]] = [
    (
        MESSAGES,
        {"content": [{"type": "text", "text": "hi"}, call("ls", path="a")]},
        [("assistant", "text", "hi"), ("assistant", "tool_call", "ls\npath: a")],
    ),
    (
        RESPONSES,
        {
            "output": [
                {"type": "reasoning", "summary": [{"text": "hm"}], "encrypted_content": "x"},
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": "hi"}],
                },
                {"type": "image_generation_call", "status": "completed", "result": "aGk="},
            ]
        },
        [
            ("assistant", "thinking", "hm"),
            ("assistant", "text", "hi"),
            ("assistant", "tool_call", "status: completed"),
        ],
    ),
    (
        CHAT,
        {"choices": [{"message": {"content": "hi"}}, {"message": {"refusal": "no"}}]},
        [("assistant", "text", "hi"), ("assistant", "refusal", "no")],
    ),
    (
        GEMINI,
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "hi"}]}}]},
        [("assistant", "text", "hi")],
    ),
    (LlmProtocol.COMPLETIONS, {"choices": [{"text": "hi"}]}, [("assistant", "text", "hi")]),
    (
        LlmProtocol.REALTIME,
        {
            "conversation": [
                {"type": "message", "role": "user", "content": [{"transcript": "hello"}]},
                {"type": "function_call", "name": "ls", "arguments": "{}"},
            ]
        },
        [("user", "text", "hello"), ("assistant", "tool_call", "ls")],
    ),
    (LlmProtocol.EMBEDDINGS, {"data": [{"embedding": [0.5]}]}, []),
]


@pytest.mark.parametrize(
    ("protocol", "value", "expected"), ANSWERS, ids=[str(row[0]) for row in ANSWERS]
)
def test_texts_of_an_answer(protocol: LlmProtocol, value: dict[str, Any], expected: Shown) -> None:
    assert shown(answer_texts(protocol, value)) == expected


NAMES = [
    "messages",
    "role",
    "content",
    "type",
    "text",
    "system",
    "input",
    "output",
    "name",
    "parts",
    "contents",
    "tool_calls",
    "function",
    "arguments",
    "choices",
    "message",
    "candidates",
    "assistant",
    "tool_use",
    "tool_result",
    "reasoning",
    "summary",
    "functionCall",
    "document",
]
WORDS = st.sampled_from(NAMES) | st.text(max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(WORDS, below, max_size=5),
    max_leaves=30,
)


@given(st.sampled_from(LlmProtocol), st.dictionaries(WORDS, JSON, max_size=5))
def test_any_value_gives_texts(protocol: LlmProtocol, value: dict[str, Any]) -> None:
    """Nothing raises, and what comes is text that can be written anywhere."""
    found = [*request_texts(protocol, json.dumps(value).encode()), *answer_texts(protocol, value)]
    for text in found:
        assert isinstance(text, Text)
        assert text.text
        text.text.encode()


@given(st.sampled_from(LlmProtocol), st.binary(max_size=200))
def test_any_bytes_give_texts(protocol: LlmProtocol, data: bytes) -> None:
    for text in request_texts(protocol, data):
        assert text.text


@pytest.mark.parametrize("protocol", list(LlmProtocol))
@pytest.mark.parametrize("deep", [b"[" * 100_000, b'{"messages":' * 5_000, b'{"input":[' * 300])
def test_depth_is_no_trouble(protocol: LlmProtocol, deep: bytes) -> None:
    assert list(request_texts(protocol, deep)) == []
