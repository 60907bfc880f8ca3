"""OpenAI's own SDK over a WebSocket, through a real proxy: it hears what was said, and it is all on record."""

import json
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="the SDKs are not installed on Python 3.12 (pyproject.toml)")

import openai
from openai.types.responses import Response

from store.record import Verdict
from tests.e2e.authored import RESPONSES
from tests.e2e.harness import KEY, Call, done, records, running
from tests.e2e.websocket import accept
from tui.client_env import client_environment, write_bundle
from tui.record_json import events_of, outcome_of

MESSAGES = [
    line.removeprefix(b"data:").strip()
    for line in b"".join(RESPONSES).splitlines()
    if line.startswith(b"data:") and line.removeprefix(b"data:").strip()[:1] == b"{"
]
"""The authored stream's events as a WebSocket carries them."""


def in_lane(message: bytes, lane: str) -> bytes:
    """As the API repeats a request's lane in every event of its answer: at the end."""
    return json.dumps({**json.loads(message), "stream_id": lane}).encode()


@pytest.mark.check(12, 14, 97, 98)
# The SDK's use of its library, not ours to mend.
@pytest.mark.filterwarnings(r"ignore:connect\(\) must be used:DeprecationWarning")
def test_openai_sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm-up, then two lanes at once: three records, each folds to what the SDK was given."""
    asked: list[bytes] = []
    lanes = [MESSAGES, MESSAGES[:-4] + MESSAGES[-1:]]

    def script(call: Call) -> None:
        server = accept(call)
        asked.append(server.hear() or b"")
        server.say(MESSAGES[0], MESSAGES[-1])
        asked.extend((server.hear() or b"", server.hear() or b""))
        longest = max(map(len, lanes))
        for at in range(longest):
            for lane, messages in zip("ab", lanes, strict=True):
                if at < len(messages):
                    server.say(in_lane(messages[at], lane))
        while server.hear() is not None:
            pass
        call.cut()

    with running(tmp_path, script) as (proxy, _):
        bundle = write_bundle(tmp_path, proxy.ca_file)
        for name in ("ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        address = f"127.0.0.1:{proxy.port}"
        for name, value in client_environment(address, proxy.ca_file, bundle).items():
            monkeypatch.setenv(name, value)
        count = 2 + sum(map(len, lanes))
        with (
            openai.OpenAI(api_key=KEY, max_retries=0) as client,
            client.responses.connect() as connection,
        ):
            connection.response.create(model="gpt-test-5", input="warm", generate=False)
            heard = [json.loads(connection.recv_bytes()) for _ in range(2)]
            for lane in "ab":
                # The SDK puts the tools behind the lane, and the input before it.
                connection.response.create(
                    model="gpt-test-5",
                    input=f"{lane} " * 20_000,
                    stream_id=lane,
                    tools=[
                        {
                            "type": "function",
                            "name": "f",
                            "strict": None,
                            "parameters": {"properties": {"stream_id": {"type": "string"}}},
                            "description": "d" * 40_000,
                        }
                    ],
                )
            heard += [json.loads(connection.recv_bytes()) for _ in range(count - 2)]
        found = done(proxy.store, "/responses", 3)
        assert 3 == len(records(proxy.store))
    assert asked == [record.request_body.data for record in found]
    said = [MESSAGES[:1] + MESSAGES[-1:]]
    said += [
        [in_lane(each, lane) for each in messages]
        for lane, messages in zip("ab", lanes, strict=True)
    ]
    everything = [json.loads(each) for messages in said for each in messages]
    assert sorted(map(json.dumps, everything)) == sorted(map(json.dumps, heard))
    for record, messages in zip(found, said, strict=True):
        meta = record.meta
        assert messages == [data for _, data in record.response_body.chunks()]
        assert (Verdict.COMPLETE, None, "gpt-test-5") == (meta.verdict, meta.error, meta.model)
        events = events_of(record)
        outcome = outcome_of(record, events)
        assert outcome is not None
        assert outcome.result is not None
        last = json.loads(messages[-1])["response"]
        assert Response.model_validate(last).output == (
            Response.model_validate(outcome.result).output
        )
