"""Each client through `flowtap run`, for real: `make clients`. Not collected by the ordinary run.

What it printed is what was served, what was served is on record, whole, and nothing else is.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from store.record import Record, State, Transport, Verdict
from tests.clients.answers import text_of
from tests.clients.api import Api, Asked, Over
from tests.clients.clients import CLIENTS, KEY, Client, http_client, node_client
from tests.clients.house import House, Ran
from tests.clients.installed import Missing, run
from tests.clients.page import PAGE, Row, wanted, with_table
from tests.e2e.harness import wait_for
from tui.client_env import client_environment
from tui.document.turn import warms_up
from tui.record_json import events_of, outcome_of

ALL_VARIABLES = set(client_environment("", Path(), Path()))


@pytest.fixture(scope="session")
def seen(request: pytest.FixtureRequest) -> Iterator[dict[str, Row]]:
    """What was seen of each client; the page is written when there is something of all, and all is well."""
    rows: dict[str, Row] = {}
    yield rows
    if not request.session.testsfailed and all(client.name in rows for client in CLIENTS):
        ordered = [rows[client.name] for client in CLIENTS]
        PAGE.write_text(with_table(PAGE.read_text(), ordered))


@pytest.fixture
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    """It says something that only this test can know."""
    with Api(f"Zürich, 21 °C 🌦, said to {request.node.name}") as api:
        yield api


def programs_of(client: Client) -> Sequence[Path]:
    """Where that client's programs are; skips where it cannot be had."""
    try:
        return client.programs()
    except Missing as missing:
        pytest.skip(str(missing))


def environment_of(client: Client) -> dict[str, str]:
    """What its users set."""
    return {client.key: KEY, **client.environment}


def version_of(client: Client, programs: Sequence[Path]) -> str:
    """What it says of itself, or the pin it was installed by."""
    if pinned := client.pinned():
        return pinned
    program = client.command[0]
    (found,) = (folder / program for folder in programs if (folder / program).exists())
    said = run([str(found), "--version"])
    numbers = re.search(r"\d+(\.\d+)+", said)
    assert numbers is not None, said
    return numbers[0]


def over(record: Record) -> Over:
    """What a record came over."""
    if record.meta.status == 101:
        return Over.WEBSOCKET
    return Over.HTTP2 if record.request.http_version.startswith("HTTP/2") else Over.HTTP1


def printed(client: Client, ran: Ran) -> str:
    """The answer as the client gave it; agents end it with a line's end."""
    return ran.out if client.prints_body else ran.out.removesuffix("\n")


def row_of(client: Client, version: str, records: list[Record]) -> Row:
    """What the page says of those records."""
    return Row(
        client.name,
        version,
        client.goes_by,
        client.base.name if client.base else None,
        [over(record) for record in records],
        [f"{record.meta.protocol}{' (warm-up)' if warms_up(record) else ''}" for record in records],
        [str(record.meta.verdict) for record in records],
    )


def check_record(record: Record, asked: Asked) -> str:
    """The record is what the upstream had and said, whole; its text."""
    assert (asked.path, asked.body) == (record.request.path, record.request_body.data)
    assert asked.answer == record.response_body.data
    meta = record.meta
    # Some clients hang up once the protocol said that all is said.
    assert meta.transport in (Transport.COMPLETE, Transport.CLIENT_CLOSED)
    assert (Verdict.COMPLETE, None, 0) == (meta.verdict, meta.error, meta.lost_bytes)
    outcome = outcome_of(record, events_of(record))
    assert outcome is not None
    assert (None, False, ()) == (outcome.error, outcome.truncated, outcome.warnings)
    return text_of(meta.protocol, outcome.result)


@pytest.mark.parametrize("client", CLIENTS, ids=[client.name for client in CLIENTS])
def test_it_is_recorded(client: Client, api: Api, seen: dict[str, Row], tmp_path: Path) -> None:
    """With nothing set but its key: as many records as model calls, whole, and the answer it printed."""
    programs = programs_of(client)
    version = version_of(client, programs)
    house = House(tmp_path, api)
    ran = house.run(client.command, programs, environment_of(client))
    assert 0 == ran.status, ran
    records = house.records()
    calls = [asked for asked in api.asked if asked.model_call]
    assert wanted(client, version) == row_of(client, version, records), (ran, api.asked)
    texts = [check_record(*pair) for pair in zip(records, calls, strict=True)]
    said = [api.text for want in client.records if want.says_it]
    answers = [text for text, want in zip(texts, client.records, strict=True) if want.says_it]
    assert said == answers
    assert (calls[-1].answer.decode() if client.prints_body else api.text) == printed(client, ran)
    assert [(len(calls), len(calls), 0, 0, 0)] == [
        (proxy.seen, proxy.recorded, proxy.unmatched, proxy.lost_records, proxy.lost_bytes)
        for proxy in house.proxies()
    ]
    if client.side_calls:
        aside = {asked.path for asked in api.asked if not asked.model_call and KEY in asked.head}
        assert len(aside) > 3, api.asked
        assert set() == aside & {record.request.path for record in records}
    seen[client.name] = wanted(client, version)


# -- what it needs --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A home where a proxy runs."""
    with Api() as api:
        house = House(tmp_path_factory.mktemp("running"), api)
        with house.proxy():
            yield house


def new_records(house: House, before: set[str], count: int) -> list[Record]:
    """The records of a client through a proxy that runs on, once there are so many and all are done."""

    def probe() -> list[Record]:
        found = [record for record in house.records() if record.meta.id not in before]
        whole = all(record.meta.state is State.DONE for record in found)
        return found if whole and len(found) >= count else []

    return wait_for(probe, f"{count} records")


DISTINCT = list({(client.package, client.goes_by): client for client in reversed(CLIENTS)}.values())
"""The first of those that differ only in how a program calls the same package."""

DISTINCT.reverse()


@pytest.mark.parametrize("client", DISTINCT, ids=[client.name for client in DISTINCT])
def test_the_variables_it_goes_by_suffice(client: Client, running: House) -> None:
    """Of those that `flowtap run` sets, the page's alone; here through a proxy that runs already."""
    programs = programs_of(client)
    before = {record.meta.id for record in running.records()}
    others = [f"--unset={name}" for name in sorted(ALL_VARIABLES - set(client.goes_by))]
    ran = running.run(["env", *others, *client.command], programs, environment_of(client))
    assert 0 == ran.status, ran
    records = new_records(running, before, len(client.records))
    assert [want.protocol for want in client.records] == [r.meta.protocol for r in records]


WITH_BASE = [client for client in DISTINCT if client.base is not None]


@pytest.fixture(scope="module")
def reverse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, str]]:
    """A home where a proxy stands in for the API, and its address."""
    with Api("Said in the API's place, 🌦") as api:
        house = House(tmp_path_factory.mktemp("reverse"), api)
        house.add_key(KEY)
        with house.proxy("--mode", f"reverse:https://127.0.0.1:{api.port}") as address:
            yield house, address


@pytest.mark.parametrize("client", WITH_BASE, ids=[client.name for client in WITH_BASE])
def test_its_base_url_suffices(client: Client, reverse: tuple[House, str]) -> None:
    """Without the proxy's address and its certificate, by a proxy in reverse mode."""
    house, address = reverse
    programs = programs_of(client)
    before = {record.meta.id for record in house.records()}
    assert client.base is not None
    words, variables = client.base.told(address)
    # Whatever else it wants to reach, it does not.
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    here = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1")
    more = environment_of(client) | variables | nowhere | here
    ran = house.call([*client.command, *words], programs, more)
    assert 0 == ran.status, ran
    assert house.api.text == printed(client, ran)
    records = new_records(house, before, len(client.records))
    assert [want.protocol for want in client.records] == [r.meta.protocol for r in records]


# -- what goes past the proxy ---------------------------------------------------------------------


AIOHTTP = "Python: aiohttp with `trust_env=True`"
FETCH = "Node: fetch"


@pytest.mark.parametrize(
    ("client_name", "command", "through"),
    [
        (AIOHTTP, http_client("aiohttp-trust-env"), True),
        (AIOHTTP, http_client("aiohttp"), False),
        (FETCH, node_client("fetch.mjs"), True),
        (FETCH, ("env", "--unset=NODE_USE_ENV_PROXY", *node_client("fetch.mjs")), False),
    ],
    ids=["aiohttp with trust_env", "aiohttp", "fetch with the switch", "fetch"],
)
def test_who_goes_past_the_proxy(
    client_name: str, command: tuple[str, ...], through: bool, api: Api, tmp_path: Path
) -> None:
    """A client that asks no environment for a proxy: it gets its answer, and nothing is recorded.

    It calls the upstream by its own address, and its user trusts that: so the answer comes either way.
    """
    (client,) = (client for client in CLIENTS if client.name == client_name)
    programs = programs_of(client)
    house = House(tmp_path, api)
    roots = dict.fromkeys(("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"), str(house.upstream_ca))
    url = f"https://127.0.0.1:{api.port}/v1/chat/completions"
    ran = house.run([*command, url], programs, environment_of(client) | roots)
    assert 0 == ran.status, ran
    (asked,) = api.asked
    assert asked.answer.decode() == ran.out
    assert (["127.0.0.1"] if through else []) == api.hosts
    assert (1 if through else 0) == len(house.records())
