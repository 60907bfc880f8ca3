"""`flowtap verify`: a line a direction, and an exit status a script can go by."""

import gzip
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.location import open_reader, open_store
from store.record import Key, Passed, State, Transport, Wire
from tests.e2e.harness import wait_for
from tests.tui.cli.conftest import Flowtap
from tests.tui.cli.stage import NOW_MS, SECRET, SSE, Exchange, listing, message, put
from tests.tui.cli.test_json_page import check, section
from tui.__main__ import main

ANSWER = b"".join(message("Hello."))
PACKED = gzip.compress(ANSWER, mtime=0)
REQUEST = b'{"model":"claude-test-1","messages":[]}'


def passed(data: bytes) -> Passed:
    return Passed(len(data), hashlib.sha256(data).hexdigest())


def wire(response: bytes) -> Wire:
    return Wire(passed(REQUEST), passed(response))


EXCHANGES: dict[str, tuple[Exchange, Wire | None]] = {
    "same": (Exchange(response=[ANSWER[:9], ANSWER[9:]]), wire(ANSWER)),
    "packed": (
        Exchange(response=[PACKED], response_headers=(*SSE, ("Content-Encoding", "gzip"))),
        wire(PACKED),
    ),
    "other": (Exchange(response=[ANSWER]), wire(ANSWER[::-1])),
    "missing": (Exchange(response=[ANSWER[:-5]]), wire(ANSWER)),
    "untold": (Exchange(response=[ANSWER]), None),
    "live": (Exchange(response=[ANSWER], live=True), None),
}


class Verified:
    """A store with those, and one more whose bytes are gone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        store = open_store(str(root))
        key = store.add_key("work", SECRET, 315_360_000)
        self.lost = self._lost(store.add_key("gone", f"{SECRET}-gone", 315_360_000))
        self.writer = store.writer()
        store.close()
        self.ids = {
            name: put(self.writer, key, exchange, NOW_MS + 1000 * number, told)
            for number, (name, (exchange, told)) in enumerate(EXCHANGES.items(), 1)
        }

    def _lost(self, key: Key) -> str:
        store = open_store(str(self.root))
        writer = store.writer()
        store.close()
        record_id = put(writer, key, Exchange(response=[ANSWER]), NOW_MS, wire(ANSWER))
        writer.close()
        for segment in (self.root / "segments" / key.id).iterdir():
            segment.unlink()
        return record_id


@pytest.fixture(scope="module")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verified]:
    made = Verified(tmp_path_factory.mktemp("verified") / "store")
    try:

        def settled() -> bool:
            reader = open_reader(str(made.root))
            try:
                records = reader.records()
                live = reader.get(made.ids["live"]) if len(records) == 7 else None
            finally:
                reader.close()
            done = sum(meta.state is State.DONE for meta in records)
            return done == 6 and live is not None and live.response_body.data == ANSWER

        wait_for(settled, "the records")
        yield made
    finally:
        made.writer.close()


def found(flowtap: Flowtap, verified: Verified, *args: str) -> dict[str, Any]:
    ran = flowtap("verify", "--json", *args, store=verified.root)
    (line,) = ran.lines
    value: dict[str, Any] = json.loads(line)
    return value


@pytest.mark.parametrize(
    ("name", "status", "lines"),
    [
        ("same", 0, [f"same  39 bytes {passed(REQUEST).sha256[:12]}", "same  {n} bytes {sha}"]),
        ("packed", 0, ["same  39 bytes", "same  {n} bytes {sha}"]),
        (
            "other",
            1,
            [
                "same  39 bytes",
                f"differs  {{n}} bytes {{sha}}  passed {{n}} bytes {passed(ANSWER[::-1]).sha256[:12]}"
                "  as many bytes passed, and not these",
            ],
        ),
        (
            "missing",
            1,
            [
                "same  39 bytes",
                f"differs  {{n}} bytes {{sha}}  passed {len(ANSWER)} bytes"
                f" {passed(ANSWER).sha256[:12]}  5 of {len(ANSWER)} bytes are missing",
            ],
        ),
        ("untold", 1, ["cannot be told  39 bytes", "cannot be told  {n} bytes {sha}  it was not"]),
        ("live", 1, ["cannot be told  39 bytes", "cannot be told  {n} bytes {sha}  still in flig"]),
    ],
)
def test_a_line_a_direction(
    flowtap: Flowtap, verified: Verified, name: str, status: int, lines: list[str]
) -> None:
    exchange, _ = EXCHANGES[name]
    stored = passed(b"".join(exchange.response))
    ran = flowtap("verify", verified.ids[name], store=verified.root)
    assert (status, "", 2) == (ran.status, ran.err, len(ran.lines))
    for line, direction, start in zip(ran.lines, ("request ", "response"), lines, strict=True):
        said = start.format(n=stored.bytes, sha=stored.sha256[:12])
        assert line.startswith(f"{direction}  {said}")
        assert line.isprintable()


def test_damaged(flowtap: Flowtap, verified: Verified) -> None:
    """One line that names the record and the file; not bad input."""
    ran = flowtap("verify", verified.lost, store=verified.root)
    assert (1, "", 1) == (ran.status, ran.err, len(ran.lines))
    assert ran.out.startswith(f"damaged   Record {verified.lost}: ")
    assert ".seg" in ran.out
    as_json = found(flowtap, verified, verified.lost)
    assert ("damaged", None, None) == (
        as_json["result"],
        as_json["request"],
        as_json["response"],
    )
    assert ".seg" in as_json["why"]


def test_several(flowtap: Flowtap, verified: Verified) -> None:
    """Each under its id, once; the status is the worst's."""
    ids = verified.ids
    ran = flowtap("verify", ids["same"], ids["packed"], ids["same"], store=verified.root)
    assert (0, [ids["same"], ids["packed"]]) == (ran.status, ran.lines[::3])
    ran = flowtap("verify", ids["same"], verified.lost, ids["packed"], store=verified.root)
    assert 1 == ran.status
    assert [ids["same"], verified.lost, ids["packed"]] == [
        line for line in ran.lines if len(line) == 26
    ]


@pytest.mark.parametrize("how", ["file", "stdin"])
@pytest.mark.parametrize(
    ("name", "direction", "data", "status", "word"),
    [
        ("same", "response", ANSWER, 0, "same"),
        ("same", "request", REQUEST, 0, "same"),
        ("same", "request", REQUEST + b"\n", 1, "prefix only"),
        ("same", "response", ANSWER[:-1], 1, "differs"),
        ("same", "response", b"", 1, "differs"),
        ("packed", "response", PACKED, 0, "same"),
        ("packed", "response", ANSWER, 0, "same after decoding"),
        ("packed", "response", ANSWER + b".", 1, "prefix only"),
        ("untold", "response", ANSWER, 1, "same"),
        ("live", "response", ANSWER, 1, "same"),
        ("missing", "response", ANSWER, 1, "differs"),
    ],
)
def test_a_file(
    flowtap: Flowtap,
    verified: Verified,
    tmp_path: Path,
    how: str,
    name: str,
    direction: str,
    data: bytes,
    status: int,
    word: str,
) -> None:
    """What the client saved; of the other direction only the proxy can tell."""
    file = tmp_path / "body"
    file.write_bytes(data)
    given = str(file) if how == "file" else "-"
    ran = flowtap(
        "verify", verified.ids[name], f"--{direction}", given, store=verified.root, stdin=data
    )
    assert (status, "") == (ran.status, ran.err)
    (line,) = (line for line in ran.lines if line.startswith(direction))
    assert word == line[10:].split("  ")[0]


def test_both_files_as_json(flowtap: Flowtap, verified: Verified, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(REQUEST)
    value = found(
        flowtap,
        verified,
        verified.ids["packed"],
        *("--request", str(tmp_path / "sent"), "--response", str(tmp_path / "sent")),
    )
    assert ("differs", "same", "differs") == (
        value["result"],
        value["request"]["result"],
        value["response"]["result"],
    )
    assert {"bytes": 39, "sha256": passed(REQUEST).sha256} == value["request"]["file"]
    assert value["request"]["file"] == value["request"]["stored"] == value["request"]["passed"]
    assert 0 == value["response"]["first_difference"]


def test_all(flowtap: Flowtap, verified: Verified) -> None:
    """Newest first; as text those that are not the same, then how many of what."""
    ran = flowtap("verify", "--all", store=verified.root)
    assert (1, "") == (ran.status, ran.err)
    ids = verified.ids
    named = [ids["live"], ids["untold"], ids["missing"], ids["other"], verified.lost]
    assert named == list(dict.fromkeys(line[:26] for line in ran.lines[:-1]))
    assert "7 records: 2 same, 2 cannot be told, 2 differs, 1 damaged" == ran.lines[-1]
    as_json = flowtap("verify", "--all", "--json", store=verified.root)
    assert 1 == as_json.status
    values = [json.loads(line) for line in as_json.lines]
    assert [*reversed(ids.values()), verified.lost] == [value["id"] for value in values]
    assert ["unknown", "unknown", "differs", "differs", "same", "same", "damaged"] == [
        value["result"] for value in values
    ]


@pytest.mark.parametrize(
    ("exchanges", "status", "summary"),
    [
        ([], 0, "0 records: nothing to verify"),
        (["same"] * 3, 0, "3 records: 3 same"),
        (["same", "untold"], 0, "2 records: 1 same, 1 cannot be told"),
        (["same", "other"], 1, "2 records: 1 same, 1 differs"),
        (["same"] * 205, 0, "205 records: 205 same"),
    ],
    ids=["none", "same", "untold", "other", "pages"],
)
def test_all_of_a_store(
    flowtap: Flowtap, tmp_path: Path, exchanges: list[str], status: int, summary: str
) -> None:
    """What cannot be told does not make a sound store fail."""
    store = open_store(str(tmp_path / "own"))
    key = store.add_key("work", SECRET, 315_360_000)
    writer = store.writer()
    store.close()
    for number, name in enumerate(exchanges):
        put(writer, key, EXCHANGES[name][0], NOW_MS + number, EXCHANGES[name][1])
    writer.close()
    before = listing(tmp_path / "own")
    ran = flowtap("verify", "--all", store=tmp_path / "own")
    assert (status, summary) == (ran.status, ran.lines[-1])
    assert before == listing(tmp_path / "own")


def test_progress_on_a_terminal(
    verified: Verified, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr alone, and nothing of it is left when the next line comes."""
    monkeypatch.setenv("FLOWTAP_STORE", str(verified.root))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("tui.cli.progress.PROGRESS_S", 0.0)
    assert 1 == main(["verify", "--all"])
    out, err = capsys.readouterr()
    assert "\r" not in out
    assert "7 of 7 records" in err
    assert err.endswith("\r\x1b[K")


def test_a_lost_end_is_a_prefix(flowtap: Flowtap, verified: Verified, tmp_path: Path) -> None:
    """The recorder failed and said so: what is there is what passed first."""
    store = open_store(str(tmp_path / "own"))
    key = store.add_key("work", SECRET, 315_360_000)
    writer = store.writer()
    store.close()
    cut = Exchange(response=[ANSWER[:50]], transport=Transport.RECORDER_FAILED)
    record_id = put(writer, key, cut, NOW_MS, wire(ANSWER))
    writer.close()
    ran = flowtap("verify", record_id, store=tmp_path / "own")
    assert 1 == ran.status
    assert ran.lines[1].startswith("response  prefix only  50 bytes")


def test_the_help_tells_the_statuses(flowtap: Flowtap) -> None:
    ran = flowtap("verify", "--help")
    assert 0 == ran.status
    for word in ("Exit status", "0  the same", "1  it differs", "2  bad input", "curl -o FILE"):
        assert word in ran.out


def test_the_page_says_what_is_printed(
    flowtap: Flowtap, verified: Verified, tmp_path: Path
) -> None:
    """docs/json.md, both ways: every record's, with and without files."""
    file = tmp_path / "file"
    file.write_bytes(b"{")
    args = ("--request", str(file), "--response", str(file))
    values = [found(flowtap, verified, key) for key in (verified.lost, *verified.ids.values())]
    values.append(found(flowtap, verified, verified.ids["same"], *args))
    check(values, section("Verification"), always=False)
    for value in values:
        assert {"id", "result", "why", "request", "response"} == value.keys()
        if value["request"] is not None:
            assert value["request"].keys() == value["response"].keys() == {
                "result", "why", "stored", "passed", "file", "decoded", "first_difference"
            }  # fmt: skip
