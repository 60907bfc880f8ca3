"""Plays of OpenAI Responses, written for this purpose; ids, keys and prices are obviously not real. Pure."""

from typing import Any

from tui.demo.play import CI_SECRET, OPENAI, SYSTEM, Json, Piece, Play, bearer, named, words


def _response(model: str, status: str, output: list[Json], **more: Any) -> Json:
    return {
        "id": "resp_demo_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "model": model,
        "output": output,
        "error": None,
        "incomplete_details": None,
        "usage": None,
        **more,
    }


def _numbered(pieces: list[tuple[float, Json]]) -> tuple[Piece, ...]:
    return tuple(
        named(pause_s, data | {"sequence_number": number})
        for number, (pause_s, data) in enumerate(pieces)
    )


def _responses_request(question: str) -> Json:
    return {
        "model": "gpt-5.2",
        "stream": True,
        "instructions": SYSTEM,
        "input": [{"role": "user", "content": [{"type": "input_text", "text": question}]}],
        "reasoning": {"effort": "medium", "summary": "auto"},
    }


def reasoning() -> Play:
    """A reasoning summary, then text; the terminal event repeats all of it."""
    model = "gpt-5.2"
    thought = "**Comparing the two locks**\n\nOne is held for a life, one for a commit."
    answer = (
        "Hold the writer's own lock for its whole life: whoever finds it free knows that the"
        " writer is dead. Hold the folder's lock only from append to commit, so that a purge"
        " never waits longer than one sync."
    )
    reasoning: Json = {"type": "reasoning", "id": "rs_demo_1", "summary": []}
    summary_part = {"type": "summary_text", "text": ""}
    message: Json = {
        "type": "message",
        "id": "msg_demo_9",
        "status": "in_progress",
        "role": "assistant",
        "content": [],
    }
    part: Json = {"type": "output_text", "text": "", "annotations": []}
    done_reasoning = reasoning | {"summary": [summary_part | {"text": thought}]}
    done_message = message | {"status": "completed", "content": [part | {"text": answer}]}
    usage = {
        "input_tokens": 64,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 118,
        "output_tokens_details": {"reasoning_tokens": 64},
        "total_tokens": 182,
    }
    summary = {"item_id": "rs_demo_1", "output_index": 0, "summary_index": 0}
    text = {"item_id": "msg_demo_9", "output_index": 1, "content_index": 0}
    whole = _response(model, "completed", [done_reasoning, done_message], usage=usage)
    kind = "response."
    pieces: list[tuple[float, Json]] = [
        (0.3, {"type": f"{kind}created", "response": _response(model, "in_progress", [])}),
        (0.0, {"type": f"{kind}in_progress", "response": _response(model, "in_progress", [])}),
        (0.2, {"type": f"{kind}output_item.added", "output_index": 0, "item": reasoning}),
        (0.1, {"type": f"{kind}reasoning_summary_part.added", "part": summary_part} | summary),
        *(
            (0.05, {"type": f"{kind}reasoning_summary_text.delta", "delta": word} | summary)
            for word in words(thought)
        ),
        (0.0, {"type": f"{kind}reasoning_summary_text.done", "text": thought} | summary),
        (0.0, {"type": f"{kind}output_item.done", "output_index": 0, "item": done_reasoning}),
        (0.4, {"type": f"{kind}output_item.added", "output_index": 1, "item": message}),
        (0.0, {"type": f"{kind}content_part.added", "part": part} | text),
        *(
            (0.03, {"type": f"{kind}output_text.delta", "delta": word} | text)
            for word in words(answer)
        ),
        (0.0, {"type": f"{kind}output_text.done", "text": answer} | text),
        (0.0, {"type": f"{kind}output_item.done", "output_index": 1, "item": done_message}),
        (0.05, {"type": f"{kind}completed", "response": whole}),
    ]
    return Play(
        "responses, reasoning and text",
        OPENAI,
        "/v1/responses",
        bearer(CI_SECRET),
        _responses_request("Which lock should be held for how long?"),
        _numbered(pieces),
        "complete",
    )


def failed() -> Play:
    """The model fails after a second."""
    error = {"code": "server_error", "message": "The model had an error. Please try again."}
    failed = _response("gpt-5.2", "failed", [], error=error)
    pieces: list[tuple[float, Json]] = [
        (0.3, {"type": "response.created", "response": _response("gpt-5.2", "in_progress", [])}),
        (1.1, {"type": "response.failed", "response": failed}),
    ]
    return Play(
        "responses, failed",
        OPENAI,
        "/v1/responses",
        bearer(CI_SECRET),
        _responses_request("Try this."),
        _numbered(pieces),
        "failed",
    )
