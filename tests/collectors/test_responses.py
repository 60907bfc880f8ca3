"""Responses: the design's table, one row each."""

from typing import Any

import pytest

from collectors.protocol import LlmProtocol
from tests.collectors.folding import Row, folded, warned

R = {"id": "resp_1", "object": "response", "status": "in_progress", "model": "m", "output": []}


def ev(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


def at(kind: str, index: Any = 0, /, **fields: Any) -> dict[str, Any]:
    return ev(kind, output_index=index, item_id=f"i{index}", **fields)


def added(index: Any = 0, /, **item: Any) -> dict[str, Any]:
    return ev("output_item.added", output_index=index, item={"id": f"i{index}", **item})


def done(index: Any = 0, /, **item: Any) -> dict[str, Any]:
    return ev("output_item.done", output_index=index, item={"id": f"i{index}", **item})


def ends(kind: str = "completed", **fields: Any) -> dict[str, Any]:
    return ev(kind, response={**R, "status": kind, **fields})


CREATED = ev("created", response=R)
BEGUN = [CREATED, ev("in_progress", response=R)]
MESSAGE = added(type="message", role="assistant", content=[], status="in_progress")
PART = at(
    "content_part.added",
    content_index=0,
    part={"type": "output_text", "text": "", "annotations": []},
)


def text(*pieces: str, kind: str = "output_text") -> list[dict[str, Any]]:
    return [at(f"{kind}.delta", content_index=0, delta=piece) for piece in pieces]


def message(**part: Any) -> dict[str, Any]:
    return {
        "id": "i0",
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [{"type": "output_text", **part}],
    }


HELLO = message(text="ab", annotations=[])
STREAMED = [*BEGUN, MESSAGE, PART, *text("a", "b")]
ERROR = {"type": "error", "code": "server_error", "message": "no", "param": None}


def fields(kind: str, *events: Any, **more: Any) -> list[Any]:
    """An item of that type, these events, and a cut."""
    return [CREATED, added(type=kind, **more), *events]


def item(kind: str, **more: Any) -> list[dict[str, Any]]:
    return [{"id": "i0", "type": kind, **more}]


OUTPUT = [
    # result: the output
    Row("cut", STREAMED, [HELLO], truncated=True),
    Row(
        "completed",
        [*STREAMED, ends(output=[{"type": "message", "n": 1}])],
        [{"type": "message", "n": 1}],
    ),
    Row("completed, empty though items streamed (Codex)", [*STREAMED, ends()], [HELLO]),
    Row(
        "completed, empty, items done",
        [*STREAMED, done(type="message", content=[{"type": "output_text", "text": "ab"}]), ends()],
        item("message", content=[{"type": "output_text", "text": "ab"}]),
    ),
    Row("the fast path", [*BEGUN, ends(output=[{"n": 1}])], [{"n": 1}]),
    Row(
        "incomplete", [*STREAMED, ends("incomplete", output=[{"n": 1}])], [{"n": 1}], truncated=True
    ),
    Row(
        "failed",
        [*STREAMED, ends("failed", error={"code": "server_error", "message": "no"})],
        [HELLO],
        error="server_error: no",
        truncated=True,
    ),
    Row(
        "failed without saying why",
        [CREATED, ends("failed")],
        [],
        error="response.failed without an error",
        truncated=True,
    ),
    Row("cancelled", [*STREAMED, ends("cancelled")], [HELLO], truncated=True),
    Row("error, flat", [*STREAMED, ERROR], [HELLO], error="server_error: no", truncated=True),
    Row(
        "error, nested",
        [*STREAMED, {"type": "error", "error": {"type": "t", "message": "no"}}],
        [HELLO],
        error="t: no",
        truncated=True,
    ),
    Row(
        "error, empty",
        [*STREAMED, {"type": "error"}],
        [HELLO],
        error="error without a message",
        truncated=True,
    ),
    Row(
        "error, then completed",
        [*STREAMED, ERROR, ends(output=[{"n": 1}])],
        [{"n": 1}],
        error="server_error: no",
        truncated=True,
    ),
    Row(
        "the first error counts",
        [*STREAMED, ERROR, ends("failed", error={"message": "2"})],
        [HELLO],
        error="server_error: no",
        truncated=True,
    ),
    Row(
        "arguments",
        fields(
            "function_call",
            *(at("function_call_arguments.delta", delta=d) for d in "{}"),
            name="f",
            arguments="",
        ),
        item("function_call", name="f", arguments="{}"),
        truncated=True,
    ),
    Row(
        "arguments, done",
        fields(
            "function_call",
            at("function_call_arguments.delta", delta="{"),
            at("function_call_arguments.done", arguments="{}"),
        ),
        item("function_call", arguments="{}"),
        truncated=True,
    ),
    Row(
        "custom tool input",
        fields("custom_tool_call", *(at("custom_tool_call_input.delta", delta=d) for d in "ab")),
        item("custom_tool_call", input="ab"),
        truncated=True,
    ),
    Row(
        "mcp arguments and status",
        fields(
            "mcp_call",
            at("mcp_call.in_progress"),
            at("mcp_call_arguments.delta", delta="{}"),
            at("mcp_call.failed"),
        ),
        item("mcp_call", status="failed", arguments="{}"),
        truncated=True,
    ),
    Row(
        "code",
        fields(
            "code_interpreter_call",
            at("code_interpreter_call_code.delta", delta="1+"),
            at("code_interpreter_call_code.delta", delta="1"),
            at("code_interpreter_call.interpreting"),
        ),
        item("code_interpreter_call", code="1+1", status="interpreting"),
        truncated=True,
    ),
    Row(
        "status of any item",
        fields(
            "file_search_call", at("file_search_call.searching"), at("file_search_call.completed")
        ),
        item("file_search_call", status="completed"),
        truncated=True,
    ),
    Row(
        "web search",
        fields(
            "web_search_call", at("web_search_call.in_progress"), at("web_search_call.searching")
        ),
        item("web_search_call", status="searching"),
        truncated=True,
    ),
    Row(
        "reasoning summary",
        fields(
            "reasoning",
            at(
                "reasoning_summary_part.added",
                summary_index=0,
                part={"type": "summary_text", "text": ""},
            ),
            *(at("reasoning_summary_text.delta", summary_index=0, delta=d) for d in "ab"),
            at("reasoning_summary_text.done", summary_index=0, text="ab"),
            at(
                "reasoning_summary_part.done",
                summary_index=0,
                part={"type": "summary_text", "text": "ab"},
            ),
            at("reasoning_summary_text.delta", summary_index=1, delta="c"),
            summary=[],
        ),
        item(
            "reasoning",
            summary=[{"type": "summary_text", "text": "ab"}, {"type": "summary_text", "text": "c"}],
        ),
        truncated=True,
    ),
    Row(
        "reasoning text",
        fields("reasoning", *text("a", "b", kind="reasoning_text")),
        item("reasoning", content=[{"type": "reasoning_text", "text": "ab"}]),
        truncated=True,
    ),
    Row(
        "refusal",
        fields("message", *text("a", "b", kind="refusal")),
        item("message", content=[{"type": "refusal", "refusal": "ab"}]),
        truncated=True,
    ),
    Row(
        "refusal, done",
        fields("message", at("refusal.done", content_index=0, refusal="no")),
        item("message", content=[{"type": "refusal", "refusal": "no"}]),
        truncated=True,
    ),
    Row(
        "annotations outlive the done text",
        [
            *STREAMED,
            at("output_text.annotation.added", content_index=0, annotation={"n": 1}),
            at("output_text.done", content_index=0, text="ab!"),
        ],
        [message(text="ab!", annotations=[{"n": 1}])],
        truncated=True,
    ),
    Row(
        "logprobs extend",
        [CREATED, MESSAGE, PART, *({**t, "logprobs": [{"t": t["delta"]}]} for t in text("a", "b"))],
        [message(text="ab", annotations=[], logprobs=[{"t": "a"}, {"t": "b"}])],
        truncated=True,
    ),
    Row(
        "the last partial image, labelled",
        fields(
            "image_generation_call",
            *(
                at(
                    "image_generation_call.partial_image",
                    partial_image_index=n,
                    partial_image_b64=f"p{n}",
                )
                for n in (0, 1)
            ),
        ),
        item("image_generation_call", result="p1", partial_image_index=1),
        truncated=True,
    ),
    Row(
        "the final image",
        fields(
            "image_generation_call",
            at("image_generation_call.partial_image", partial_image_index=0, partial_image_b64="p"),
            done(type="image_generation_call", result="f"),
        ),
        item("image_generation_call", result="f"),
        truncated=True,
    ),
    Row(
        "a delta for a part of another type",
        [*STREAMED, *text("x", kind="refusal")],
        [HELLO],
        truncated=True,
        warning="of type response.refusal.delta for a part of another type, ignored",
    ),
    Row(
        "text without its part",
        [CREATED, MESSAGE, *text("a", "b")],
        [message(text="ab")],
        truncated=True,
    ),
    Row(
        "text without its item",
        [CREATED, *text("a", "b")],
        item("message", content=[{"type": "output_text", "text": "ab"}]),
        truncated=True,
        warning="for an item that was never announced",
    ),
    Row(
        "a gap in the output",
        [CREATED, added(2, type="a"), added(0, type="b"), ends()],
        [{"id": "i0", "type": "b"}, {"id": "i2", "type": "a"}],
        warning="gaps",
    ),
    Row(
        "odd indexes",
        [
            CREATED,
            added(-1, type="a"),
            added("x", type="a"),
            MESSAGE,
            PART,
            *text("a", "b"),
            ends(),
        ],
        [HELLO],
        warning="invalid output_index",
    ),
    Row(
        "a huge index allocates nothing",
        [CREATED, added(2**60, type="a"), ends()],
        [{"id": f"i{2**60}", "type": "a"}],
        warning="gaps",
    ),
    Row(
        "the id changes (Copilot)",
        [
            CREATED,
            MESSAGE,
            PART,
            {**text("ab")[0], "item_id": "other"},
            done(type="message", content=[{"type": "output_text", "text": "ab"}], id="third"),
            ends(),
        ],
        [{"type": "message", "content": [{"type": "output_text", "text": "ab"}], "id": "third"}],
    ),
    Row(
        "by id where there is no index",
        [
            CREATED,
            {"type": "response.output_item.added", "item": {"id": "a", "type": "message"}},
            {"type": "response.output_text.delta", "item_id": "a", "delta": "x"},
        ],
        [{"id": "a", "type": "message", "content": [{"type": "output_text", "text": "x"}]}],
        truncated=True,
    ),
    Row(
        "type only in the event's name",
        [
            ("response.created", {"response": R}),
            ("response.output_text.delta", {"output_index": 0, "delta": "a"}),
            (
                "response.completed",
                {"response": {**R, "status": "completed", "output": [{"n": 1}]}},
            ),
        ],
        [{"n": 1}],
        warning="never announced",
    ),
    Row(
        "completed without a response",
        [*STREAMED, ev("completed")],
        [HELLO],
        warning="response.completed without a response",
        truncated=True,
    ),
    Row(
        "another status than the event's",
        [*STREAMED, ev("completed", response={**R, "status": "incomplete"})],
        [HELLO],
        warning="response.completed with the status incomplete",
        truncated=True,
    ),
    Row("no status", [*STREAMED, ev("completed", response={"id": "resp_1"})], [HELLO]),
    Row("queued alone", [ev("queued", response={**R, "status": "queued"})], [], truncated=True),
    Row(
        "created without output",
        [ev("created", response={"id": "resp_1"}), MESSAGE, PART, *text("a", "b")],
        [HELLO],
        truncated=True,
    ),
    Row(
        "late start, without created",
        [*text("a"), ends(output=[{"n": 1}])],
        [{"n": 1}],
        warning="never announced",
    ),
    Row(
        "done counts, with its annotations",
        [
            *STREAMED,
            done(
                type="message", content=[{"type": "output_text", "text": "AB", "annotations": [1]}]
            ),
        ],
        item("message", content=[{"type": "output_text", "text": "AB", "annotations": [1]}]),
        truncated=True,
    ),
    Row(
        "done without what was streamed",
        [*STREAMED, done(type="message", content=[])],
        item("message", content=HELLO["content"]),
        truncated=True,
    ),
    Row(
        "part done",
        [
            CREATED,
            MESSAGE,
            PART,
            *text("a"),
            at(
                "content_part.done",
                content_index=0,
                part={"type": "output_text", "text": "A", "annotations": [1]},
            ),
        ],
        [message(text="A", annotations=[1])],
        truncated=True,
    ),
    Row(
        "an emptied done erases nothing",
        [
            CREATED,
            MESSAGE,
            PART,
            *text("a", "b"),
            at("output_text.done", content_index=0, text=""),
            at(
                "content_part.done",
                content_index=0,
                part={"type": "output_text", "text": "", "annotations": []},
            ),
        ],
        [HELLO],
        truncated=True,
    ),
    Row("[DONE] at the end", [*STREAMED, ends(), "[DONE]"], [HELLO]),
    Row("keep-alives", [{"type": "keepalive"}, *STREAMED, {"type": "ping"}, ends()], [HELLO]),
    Row(
        "unknown event",
        [*STREAMED, ev("wonder.happened"), ends()],
        [HELLO],
        warning="1 event of unknown type response.wonder.happened",
    ),
    Row("not JSON", [*STREAMED, "{cut", ends()], [HELLO], warning="1 event not in JSON"),
    Row(
        "shell commands",
        fields(
            "shell_call",
            *(at("shell_call_command.delta", command_index=0, delta=d) for d in ("l", "s")),
            at("shell_call_command.done", command_index=1, command="pwd"),
            action={"commands": []},
        ),
        item("shell_call", action={"commands": ["ls", "pwd"]}),
        truncated=True,
    ),
    Row(
        "patch",
        fields(
            "apply_patch_call",
            *(at("apply_patch_call_operation_diff.delta", delta=d) for d in "+-"),
            operation={"type": "update_file", "diff": ""},
        ),
        item("apply_patch_call", operation={"type": "update_file", "diff": "+-"}),
        truncated=True,
    ),
    Row(
        "a second response",
        [
            *STREAMED,
            ends(),
            ev("created", response={**R, "id": "2"}),
            added(type="b"),
            ev("completed", response={**R, "id": "2", "status": "completed"}),
        ],
        item("b"),
        warning="another response.created",
    ),
    Row(
        "sequence numbers jump",
        [
            {**e, "sequence_number": n}
            for e, n in zip([*STREAMED, ends()], (0, 1, 2, 5, 6, 6, 7), strict=True)
        ],
        [HELLO],
        warning="sequence_number jumped 2 times",
    ),
    Row("not streamed after all", [{**R, "status": "completed", "output": [{"n": 1}]}], [{"n": 1}]),
    Row(
        "compaction",
        [{"id": "c", "object": "response.compaction", "output": [{"type": "compaction"}]}],
        [{"type": "compaction"}],
    ),
]


@pytest.mark.check(97, 98, 99, 103, 104, 105)
@pytest.mark.parametrize("row", OUTPUT, ids=str)
def test_table(row: Row) -> None:
    outcome = folded(LlmProtocol.RESPONSES, row.events)
    assert outcome.result is not None
    assert row.result == outcome.result["output"]
    assert (row.error, row.truncated) == (outcome.error, outcome.truncated)
    assert warned(outcome, row.warning), outcome.warnings


@pytest.mark.check(104)
def test_the_envelope_is_the_terminal_event_s() -> None:
    """id, status, usage and the like come from the end, whatever the output is taken from."""
    usage = {"total_tokens": 9}
    outcome = folded(
        LlmProtocol.RESPONSES, [*STREAMED, {**ends(usage=usage), "copilot_usage": {"n": 1}}]
    )
    assert {
        **R,
        "status": "completed",
        "usage": usage,
        "copilot_usage": {"n": 1},
        "output": [HELLO],
    } == outcome.result


def test_spoken_answers() -> None:
    """Audio has no item: transcript joined, base64 in its pieces."""
    outcome = folded(
        LlmProtocol.RESPONSES,
        [
            CREATED,
            ev("audio.delta", delta="QQ=="),
            ev("audio.transcript.delta", delta="a"),
            ev("audio.transcript.delta", delta="b"),
            ev("audio.transcript.done"),
            ev("audio.done"),
            ends(),
        ],
    )
    assert outcome.result is not None
    assert {"data": ["QQ=="], "transcript": "ab"} == outcome.result["audio"]
    assert () == outcome.warnings


@pytest.mark.check(98)
@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([], "no response.created and no terminal event in the stream"),
        (text("a"), "no response.created and no terminal event in the stream"),
        ([ERROR], "server_error: no"),
        ([{"error": {"message": "no", "type": "t"}}], "t: no"),
        ([{"type": "error", "error": "words"}], "words"),
    ],
)
def test_nothing_to_fold(events: list[Any], error: str) -> None:
    outcome = folded(LlmProtocol.RESPONSES, events)
    assert (None, error, True) == (outcome.result, outcome.error, outcome.truncated)
