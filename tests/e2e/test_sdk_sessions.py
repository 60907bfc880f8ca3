"""The SDKs' own realtime clients through a real proxy: they hear what was said, and it is all on record."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="the SDKs are not installed on Python 3.12 (pyproject.toml)")

import openai
from google import genai
from google.genai import types

from store.record import Record, Transport, Verdict
from tests.e2e.harness import KEY, Call, Proxy, Upstream, done, running
from tests.e2e.test_capture_sessions import ANSWER, STARTED, conversing, messages
from tests.e2e.websocket import accept
from tui.client_env import client_environment, write_bundle
from tui.record_json import events_of, outcome_of


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Proxy, Upstream]]:
    """A proxy, and the environment that `flowtap run` gives a client."""
    with running(tmp_path, conversing()) as (proxy, upstream):
        bundle = write_bundle(tmp_path, proxy.ca_file)
        for name in ("ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        address = f"127.0.0.1:{proxy.port}"
        for name, value in client_environment(address, proxy.ca_file, bundle).items():
            monkeypatch.setenv(name, value)
        yield proxy, upstream


def session(proxy: Proxy, path: str) -> Record:
    (record,) = done(proxy.store, path)
    assert (Transport.COMPLETE, Verdict.COMPLETE, None) == (
        record.meta.transport,
        record.meta.verdict,
        record.meta.error,
    )
    return record


@pytest.mark.check(12, 14, 97, 98)
# The SDK's use of its library, not ours to mend.
@pytest.mark.filterwarnings(r"ignore:connect\(\) must be used:DeprecationWarning")
def test_openai_realtime(rig: tuple[Proxy, Upstream]) -> None:
    """Asked by its own methods; what it heard is what is stored, and what it says of itself is told."""
    proxy, upstream = rig
    asked: list[bytes] = []

    def script(call: Call) -> None:
        server = accept(call)
        server.say(STARTED)
        while (message := server.hear()) is not None:
            asked.append(message)
            if b"response.create" in message:
                server.say(*ANSWER)
        call.cut()

    upstream.script = script
    with (
        openai.OpenAI(api_key=KEY, max_retries=0) as client,
        client.realtime.connect(model="gpt-realtime-test") as connection,
    ):
        connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
        connection.input_audio_buffer.append(audio="AAAA")
        connection.response.create()
        heard = [json.loads(connection.recv_bytes()) for _ in range(1 + len(ANSWER))]
    record = session(proxy, "/v1/realtime")
    assert asked == messages(record.request_body)
    assert heard == [json.loads(each) for each in messages(record.response_body)]
    assert "gpt-realtime-test" == record.meta.model
    events = events_of(record)
    outcome = outcome_of(record, events)
    assert outcome is not None
    assert (None, False, ()) == (outcome.error, outcome.truncated, outcome.warnings)


@pytest.mark.check(12, 14)
def test_gemini_live(rig: tuple[Proxy, Upstream]) -> None:
    """Google's SDK, which sends its fields with underscores and hears binary messages."""
    proxy, upstream = rig
    asked: list[bytes] = []
    text = b'{"serverContent":{"modelTurn":{"parts":[{"text":"Hello"}]}}}'
    last = b'{"serverContent":{"turnComplete":true}}'

    def script(call: Call) -> None:
        server = accept(call)
        asked.append(server.hear() or b"")
        server.say_binary(b'{"setupComplete":{}}')
        asked.append(server.hear() or b"")
        server.say_binary(text)
        server.say_binary(last)
        assert server.hear() is None
        call.cut()

    upstream.script = script

    async def talk() -> list[str]:
        client = genai.Client(api_key=KEY)
        heard = []
        async with client.aio.live.connect(
            model="gemini-live-test",
            config=types.LiveConnectConfig(response_modalities=[types.Modality.TEXT]),
        ) as live:
            await live.send_client_content(
                turns=types.Content(role="user", parts=[types.Part(text="hi")])
            )
            async for message in live.receive():
                heard.append(message.text or "")
        return heard

    assert "Hello" == "".join(asyncio.run(talk()))
    record = session(proxy, "BidiGenerateContent")
    assert asked == messages(record.request_body)
    assert [b'{"setupComplete":{}}', text, last] == messages(record.response_body)
    assert ("gemini-live", "gemini-live-test") == (record.meta.protocol, record.meta.model)
    assert ["setup", "client_content"] == [
        event.name for event in events_of(record) or () if event.from_client
    ]
