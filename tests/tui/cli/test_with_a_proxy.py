"""verify, keys seen and keep where a real proxy runs: what it passed, whom it saw, what its ring held."""

import base64
import gzip
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.location import open_reader
from store.record import ProxyStatus, Record
from tests.e2e.harness import (
    KEY,
    OFF_KEY,
    UNKNOWN_KEY,
    Call,
    Client,
    Proxy,
    Upstream,
    done,
    on_disk,
    post,
    records,
    running,
    wait_for,
)
from tests.tui.cli.conftest import Flowtap
from tests.tui.cli.stage import message
from tui.demo.stage import begin, prepared

HOST = "api.anthropic.com"
ANSWER = message("Hello, ", "world.")
WHOLE = b"".join(ANSWER)
TOKEN = ".".join(
    base64.urlsafe_b64encode(part).rstrip(b"=").decode()
    for part in (b'{"alg":"none"}', b'{"sub":"user-42"}', b"not signed")
)


# -- verify ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def going(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy before an upstream that streams, gzipped where the path says so."""

    def script(call: Call) -> None:
        call.read_body()
        packed = "packed" in call.path
        headers = [("content-type", "text/event-stream")]
        call.start(200, [*headers, *([("content-encoding", "gzip")] if packed else [])])
        for piece in [gzip.compress(WHOLE)] if packed else ANSWER:
            call.chunk(piece)
        call.finish()

    with running(tmp_path_factory.mktemp("verify"), script) as (proxy, _):
        yield proxy


def saved(proxy: Proxy, case: str, folder: Path, *, raw: bool) -> tuple[Record, str, str]:
    """A call's record, and the files that its client kept of both bodies."""
    request = b'{"model":"claude-test-1","messages":[]}'
    (folder / "request").write_bytes(request)
    with (
        proxy.httpx() as client,
        client.stream(
            "POST",
            f"https://{HOST}/v1/messages?{case}",
            content=request,
            headers={"x-api-key": KEY},
        ) as response,
    ):
        got = response.iter_raw() if raw else response.iter_bytes()
        (folder / "response").write_bytes(b"".join(got))
    (record,) = done(proxy.store, case)
    return record, str(folder / "request"), str(folder / "response")


@pytest.mark.parametrize(
    ("case", "raw", "word"),
    [
        ("plain-raw", True, "same"),
        ("plain-read", False, "same"),
        ("packed-raw", True, "same"),
        ("packed-read", False, "same after decoding"),
    ],
)
def test_what_the_client_got_is_what_is_stored(
    flowtap: Flowtap, going: Proxy, tmp_path: Path, case: str, raw: bool, word: str
) -> None:
    record, request, response = saved(going, case, tmp_path, raw=raw)
    args = ("verify", record.meta.id, "--request", request, "--response", response)
    ran = flowtap(*args, store=going.store)
    assert (0, "") == (ran.status, ran.err)
    assert ran.lines[0].startswith(f"request   same  {len(record.request_body.data)} bytes")
    assert ran.lines[1].startswith(f"response  {word}  {len(record.response_body.data)} bytes")

    with Path(response).open("r+b") as file:
        file.seek(20)
        file.write(b"\0")
    ran = flowtap(*args, store=going.store)
    assert 1 == ran.status
    assert "the file differs from byte 20 on" in ran.lines[1]
    # By the proxy's own count it is the same: the client's file is what is wrong.
    ran = flowtap("verify", record.meta.id, store=going.store)
    assert (0, "") == (ran.status, ran.err)


def test_a_killed_proxy_cannot_tell(flowtap: Flowtap, tmp_path: Path) -> None:
    """What a client saved until then can: what is stored is the beginning of it, or all."""
    go_on = threading.Event()

    def script(call: Call) -> None:
        call.read_body()
        call.start(200, [("content-type", "text/event-stream")])
        call.chunk(WHOLE)
        go_on.wait(30)

    with running(tmp_path, script) as (proxy, _):
        with Client(proxy, HOST) as client:
            client.send(post("/v1/messages", b"{}"))
            client.read_until(b"message_stop")

            def stored() -> list[Record]:
                return [r for r in records(proxy.store) if r.response_body.data == WHOLE]

            (record,) = wait_for(stored, "all of the answer in the store")
            ran = flowtap("verify", record.meta.id, store=proxy.store)
            assert 1 == ran.status
            assert 2 == ran.out.count("still in flight")
            proxy.kill()
        go_on.set()
        # The next writer turns it into a record.
        with Upstream(script) as upstream, Proxy(proxy.store, tmp_path / "second", upstream):
            done(proxy.store)
        ran = flowtap("verify", record.meta.id, store=proxy.store)
        assert 1 == ran.status
        assert 2 == ran.out.count("cannot be told")
        assert 2 == ran.out.count("its proxy was killed")
        ran = flowtap("verify", "--all", store=proxy.store)
        assert (0, "1 record: 1 cannot be told") == (ran.status, ran.lines[-1])
        ran = flowtap("verify", record.meta.id, "--response", "-", store=proxy.store, stdin=WHOLE)
        assert ran.lines[1].startswith(f"response  same  {len(WHOLE)} bytes")
        longer = WHOLE + b"more"
        ran = flowtap("verify", record.meta.id, "--response", "-", store=proxy.store, stdin=longer)
        assert ran.lines[1].startswith(f"response  prefix only  {len(WHOLE)} bytes")


def test_however_an_exchange_ends_it_verifies(flowtap: Flowtap) -> None:
    """Every protocol, whole, slow, cut and erring: what is stored is what passed."""
    with prepared(20.0) as stage:
        for thread in list(begin(stage, threading.Event())):
            thread.join()
        count = sum(play.verdict is not None for play in stage.plays)
        done(stage.store, count=count)
        ran = flowtap("verify", "--all", store=stage.store)
    assert (0, f"{count} records: {count} same\n", "") == (ran.status, ran.out, ran.err)


# -- the ring -------------------------------------------------------------------------------------


RING = ("--set", "flowtap_ring=4m")


def told(proxy: Proxy) -> list[ProxyStatus]:
    """What it tells of itself, from half a second after it says in its log that it records."""
    reader = open_reader(str(proxy.store))
    try:
        return [status for status in reader.proxies() if status.alive]
    finally:
        reader.close()


def held(proxy: Proxy) -> int:
    """Exchanges in its ring."""
    return sum(status.ring_exchanges for status in told(proxy))


def call(proxy: Proxy, key: str, body: bytes) -> bytes:
    with proxy.httpx() as client:
        url = f"https://{HOST}/v1/messages"
        return client.post(url, content=body, headers={"x-api-key": key}).content


def test_keep_after_the_fact(flowtap: Flowtap, tmp_path: Path) -> None:
    """Of keys that are off or unknown nothing is on disk, until it is asked for."""

    def script(got: Call) -> None:
        got.answer(b"canary-answer to " + got.read_body())

    with running(tmp_path, script, RING) as (proxy, _):
        wait_for(lambda: told(proxy), "the proxy to be known")
        nothing = flowtap("keep", store=proxy.store)
        assert (0, "") == (nothing.status, nothing.err)
        assert "Nothing to keep" in nothing.out

        assert b"canary-answer to one" == call(proxy, UNKNOWN_KEY, b"one")
        assert b"canary-answer to two" == call(proxy, OFF_KEY, b"two")
        wait_for(lambda: held(proxy) == 2, "both in the ring")
        assert [] == on_disk(proxy.store, b"canary-answer")

        (of_one, of_two) = sorted(
            (
                json.loads(line)
                for line in flowtap("keys", "seen", "--json", store=proxy.store).lines
            ),
            key=lambda caller: caller["key"] or "",
        )
        assert (None, "idle") == (of_one["key"], of_two["key"])
        ran = flowtap("keep", "--seen", of_one["fingerprint"], store=proxy.store)
        assert (0, "1 exchange kept as kept, for 1d\n") == (ran.status, ran.out)
        ran = flowtap("keep", "--as", "later", "--retention", "1h", "--json", store=proxy.store)
        assert 0 == ran.status
        as_json = json.loads(ran.out)
        assert ("later", 3600, 1, 0, 0) == tuple(
            as_json[name] for name in ("key", "retention_s", "answered", "without_ring", "silent")
        )

        kept = done(proxy.store, count=1)
        bodies = {record.response_body.data for record in kept}
        assert b"canary-answer to one" in bodies
        rows = flowtap("ls", "--key", "kept", "--json", store=proxy.store).lines
        (row,) = (json.loads(line) for line in rows)
        ran = flowtap(*("verify", row["id"], "--request", "-"), store=proxy.store, stdin=b"one")
        assert (0, "") == (ran.status, ran.err)
        by_name = [
            json.loads(line) for line in flowtap("keys", "list", "--json", store=proxy.store).lines
        ]
        kinds = {key["name"]: (key["kind"], key["retention_s"]) for key in by_name}
        assert ("kept", 86_400) == kinds["kept"]
        assert 0 == proxy.stop()


def test_a_proxy_without_a_ring(flowtap: Flowtap, tmp_path: Path) -> None:
    def script(got: Call) -> None:
        got.answer(got.read_body())

    with running(tmp_path, script) as (proxy, _):
        wait_for(lambda: told(proxy), "the proxy to be known")
        ran = flowtap("keep", store=proxy.store)
        assert (1, "") == (ran.status, ran.out)
        assert "--set flowtap_ring=64m" in ran.err
        assert 1 == ran.err.count("\n")


def test_a_caller_is_seen_and_opted_in(flowtap: Flowtap, tmp_path: Path) -> None:
    """Whose secret nobody had to type: its next call is recorded."""

    def script(got: Call) -> None:
        got.answer(got.read_body())

    with running(tmp_path, script) as (proxy, _):
        call(proxy, UNKNOWN_KEY, b"canary-before")

        def callers() -> list[str]:
            return flowtap("keys", "seen", "--json", store=proxy.store).lines

        (line,) = wait_for(callers, "the caller")
        caller = json.loads(line)
        assert (HOST, 1, None) == (caller["host"], caller["count"], caller["key"])
        assert caller["client"].startswith("python-httpx/")
        dots = caller["fingerprint"].replace("…", "...")
        ran = flowtap("keys", "add", "new", "--seen", dots, "--retention", "1h", store=proxy.store)
        assert (0, "new: recorded, kept 1h\n") == (ran.status, ran.out)

        def recorded() -> list[Record]:
            call(proxy, UNKNOWN_KEY, b"canary-after")
            return records(proxy.store)

        first = wait_for(recorded, "a call of the new key")[0]
        assert b"canary-after" == first.request_body.data
        assert [] == on_disk(proxy.store, b"canary-before")


@pytest.mark.parametrize(
    ("option", "given", "headers"),
    [
        ("--glob", "sk-ant-test-*-stranger", {"x-api-key": UNKNOWN_KEY}),
        ("--header", "ChatGPT-Account-Id=1234-*", {"chatgpt-account-id": "1234-5678"}),
        ("--claim", "sub=user-*", {"authorization": f"Bearer {TOKEN}"}),
    ],
)
def test_a_key_that_goes_by_a_rule(
    flowtap: Flowtap, tmp_path: Path, option: str, given: str, headers: dict[str, str]
) -> None:
    """Its calls are recorded under it, whatever the secret is today."""

    def script(got: Call) -> None:
        got.answer(got.read_body())

    store = tmp_path / "store"
    added = ("keys", "add", "team", option, given, "--retention", "1h")
    assert 0 == flowtap(*added, store=store).status
    with (
        Upstream(script) as upstream,
        Proxy(store, tmp_path / "confdir", upstream) as proxy,
        proxy.httpx() as client,
    ):
        client.post(f"https://{HOST}/v1/messages", content=b"{}", headers=headers)
        (record,) = done(store)
        rows = [json.loads(line) for line in flowtap("ls", "--json", store=store).lines]
        assert [(record.meta.id, "team")] == [(row["id"], row["key"]) for row in rows]
        assert [] == flowtap("keys", "seen", "--json", store=store).lines
