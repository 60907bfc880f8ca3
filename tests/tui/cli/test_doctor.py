"""`flowtap doctor`: what it says, its exit status, and that it leaves everything as it is."""

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import trustme

from store.layout import Lock
from store.location import open_store
from store.record import RequestHead, Transport
from tests.tui.cli.conftest import Flowtap
from tests.tui.cli.stage import HOSTILE, NOW_MS, SECRET, Stage, is_root, listing
from tests.tui.cli.test_bad_input import cut, garbage, torn
from tests.tui.cli.test_json_page import check, section
from tui.__main__ import main

QUIET = ("sqlite", "proxies", "certificate", "versions")
"""What depends on the machine, or on a proxy that no test has running."""


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable is in the way, nothing is waited for."""
    from tui.health.set_up import NO_PROXY_VARIABLES, PROXY_VARIABLES, ROOT_VARIABLES

    for name in (*PROXY_VARIABLES, *NO_PROXY_VARIABLES, *ROOT_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("store.examine.LOCK_WAIT_S", 0.05)
    monkeypatch.setattr("store.examine.BUSY_S", 0.05)
    monkeypatch.setattr("store.examine.AGAIN_S", 0.0)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "own"
    store = open_store(str(path))
    key = store.add_key("work", SECRET, 315_360_000)
    writer = store.writer()
    store.close()
    head = RequestHead("POST", "https", "api.anthropic.com", 443, "/v1/messages", "HTTP/1.1", ())
    for number in range(3):
        recording = writer.begin(key, NOW_MS + number, head, "messages")
        recording.request_chunk(0, b"x" * 100)
        recording.end(1, Transport.COMPLETE)
    writer.close()
    return path


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    """A copy of a store with three records, this test's own."""
    return Path(shutil.copytree(template, tmp_path / "own"))


@pytest.fixture
def confdir(tmp_path: Path) -> Path:
    """mitmproxy's folder, as it makes it."""
    folder = tmp_path / "mitmproxy"
    folder.mkdir()
    (folder / "mitmproxy-ca-cert.pem").write_bytes(trustme.CA().cert_pem.bytes())
    (folder / "mitmproxy-ca.pem").write_bytes(b"key")
    (folder / "mitmproxy-ca.pem").chmod(0o600)
    return folder


def told(
    flowtap: Flowtap, root: Path, confdir: Path, *args: str, status: int | None = None
) -> dict[str, tuple[str, str]]:
    """Level and text by check; what is said depends on nothing but the store."""
    ran = flowtap("doctor", "--json", "--confdir", str(confdir), *args, store=root)
    assert "" == ran.err
    assert status in (None, ran.status)
    values = [json.loads(line) for line in ran.lines]
    found = {value["check"]: (value["level"], value["text"]) for value in values}
    assert len(found) == len(values)
    assert ran.status == any(level == "problem" for level, _ in found.values())
    return found


def bad(found: dict[str, tuple[str, str]]) -> set[str]:
    return {check for check, (level, _) in found.items() if level != "ok" and check not in QUIET}


def test_a_store_that_is_well(flowtap: Flowtap, root: Path, confdir: Path) -> None:
    before = listing(root)
    found = told(flowtap, root, confdir, "--deep", status=0)
    assert set() == bad(found)
    assert ("warning", "none is running, so nothing is recorded") == found["proxies"]
    assert "3 of 3 records" in found["records"][1]
    assert before == listing(root)
    assert "records" not in told(flowtap, root, confdir)


def test_with_a_proxy(flowtap: Flowtap, stage: Stage, confdir: Path) -> None:
    """Also while it writes."""
    found = told(flowtap, stage.root, confdir, "--deep", status=0)
    assert set() == bad(found)
    assert "ok" == found["proxies"][0]
    assert "127.0.0.1:9" in found["proxies"][1]
    assert "1 process writing, 1 record in flight" in found["writers"][1]


def test_as_text(flowtap: Flowtap, root: Path, confdir: Path) -> None:
    """A line a check, then how many; what is wrong named below."""
    ran = flowtap("doctor", "--confdir", str(confdir), store=root)
    assert (0, "") == (ran.status, ran.err)
    *lines, blank, last = ran.lines
    assert "" == blank
    assert all(line.split()[0] in ("ok", "warning") for line in lines)
    assert last.startswith(f"{len(lines)} checks: ")
    assert last.endswith("0 problems")
    (root / "keys.db").chmod(0o644)
    ran = flowtap("doctor", "--confdir", str(confdir), store=root)
    assert 1 == ran.status
    assert f"{root}/keys.db: is open to others (mode 0644)" in ran.out
    assert "chmod -R go-rwx" in ran.out


def test_as_json(flowtap: Flowtap, root: Path, confdir: Path) -> None:
    """docs/json.md, both ways."""
    (root / "quarantine" / "k").mkdir(parents=True, mode=0o700)
    piece = root / "quarantine" / "k" / "01JX4000000000000000000000-7.bad"
    piece.write_bytes(b"x")
    (segment,) = (root / "segments").rglob("*.seg")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    ran = flowtap("doctor", "--deep", "--json", "--confdir", str(confdir), store=root)
    assert 1 == ran.status
    values = [json.loads(line) for line in ran.lines]
    check(values, section("Finding"), always=False)
    for value in values:
        assert {"check", "level", "text", "advice", "details"} == value.keys()
        for detail in value["details"]:
            assert {"text", "file", "record", "start", "end"} == detail.keys()
    by_check = {value["check"]: value for value in values}
    assert [(str(piece), 7, 8)] == [
        (each["file"], each["start"], each["end"]) for each in by_check["quarantine"]["details"]
    ]
    (damaged,) = by_check["records"]["details"]
    assert damaged["record"] is not None
    assert (str(segment), True) == (damaged["file"], damaged["start"] < damaged["end"])


def newer(root: Path) -> None:
    with closing(sqlite3.connect(root / "index.db")) as connection, connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('flowtap-index', 'm999_wings', '2099')"
        )


def harm(file: str, how: Callable[[Path], None]) -> Callable[[Path], None]:
    def harming(root: Path) -> None:
        for leftover in ("-wal", "-shm"):
            (root / f"{file}{leftover}").unlink(missing_ok=True)
        how(root / file)

    return harming


def no_segments(root: Path) -> None:
    shutil.rmtree(root / "segments")


def planted(root: Path) -> None:
    (root / "segments" / "link").symlink_to("/etc")


def died(root: Path) -> None:
    folder = root / "live" / ("d" * 16)
    folder.mkdir(mode=0o700)
    for name in ("lock", "01JX4000000000000000000000.part"):
        (folder / name).touch(mode=0o600)


def no_secret(root: Path) -> None:
    (root / "secret").unlink()


def no_lock(root: Path) -> None:
    (root / "lock.ckpt").unlink()


def emptied(root: Path) -> None:
    for path in root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


STATES: list[tuple[str, Callable[[Path], None], int, set[str]]] = [
    ("damaged index", harm("index.db", garbage), 1, {"index.db", "schema", "segments"}),
    ("torn index", harm("index.db", torn), 1, {"index.db", "schema", "segments"}),
    ("cut index", harm("index.db", cut), 1, {"index.db", "schema", "segments"}),
    ("damaged keys", harm("keys.db", garbage), 1, {"keys.db", "schema", "keys"}),
    ("no index", harm("index.db", Path.unlink), 1, {"index.db", "schema", "segments"}),
    ("newer", newer, 1, {"schema"}),
    ("no segments", no_segments, 1, {"segments"}),
    ("planted", planted, 1, {"files"}),
    ("died", died, 0, {"writers"}),
    ("no secret", no_secret, 1, {"keys"}),
    ("no lock", no_lock, 0, {"locks"}),
    ("emptied", emptied, 1, {"keys.db", "index.db", "schema", "keys", "segments", "locks"}),
    ("open", lambda root: root.chmod(0o755), 1, {"folder"}),
]


@pytest.mark.check(50, 95)
@pytest.mark.parametrize(
    ("change", "status", "checks"), [row[1:] for row in STATES], ids=[row[0] for row in STATES]
)
def test_a_store_that_is_not_well(
    flowtap: Flowtap,
    root: Path,
    confdir: Path,
    change: Callable[[Path], None],
    status: int,
    checks: set[str],
) -> None:
    """Exactly that is told, and left as it is."""
    change(root)
    before = listing(root)
    for deep in ((), ("--deep",)):
        assert checks == bad(told(flowtap, root, confdir, *deep, status=status)) - {"records"}
    assert before == listing(root)


def test_a_locked_store(flowtap: Flowtap, root: Path, confdir: Path) -> None:
    lock = Lock(root / "lock.ckpt")
    lock.take()
    with closing(sqlite3.connect(root / "keys.db", isolation_level=None)) as hogging:
        hogging.execute("BEGIN EXCLUSIVE")
        found = told(flowtap, root, confdir)
    lock.release()
    assert "locked by another process" in found["keys.db"][1]
    assert "lock.ckpt is kept" in found["locks"][1]


def test_no_store(flowtap: Flowtap, tmp_path: Path, confdir: Path) -> None:
    """The set-up is looked at all the same, and no store is made."""
    found = told(flowtap, tmp_path / "absent", confdir, status=1)
    assert "there is no store" in found["folder"][1]
    assert {"folder", "certificate", "trust", "environment", "sqlite", "versions"} == set(found)
    assert not (tmp_path / "absent").exists()


@pytest.mark.check(95)
@pytest.mark.skipif(not is_root(), reason="only root can give a folder to another user")
def test_another_user_s_store(flowtap: Flowtap, root: Path, confdir: Path) -> None:
    os.chown(root, 54321, 54321)
    found = told(flowtap, root, confdir, status=1)
    assert "belongs to another user (uid 54321)" in found["folder"][1]
    assert "files" not in found


@pytest.mark.skipif(is_root(), reason="root may read anything")
def test_folders_one_may_not_enter(flowtap: Flowtap, root: Path, confdir: Path) -> None:
    (root / "segments").chmod(0)
    try:
        assert "files" in bad(told(flowtap, root, confdir, "--deep", status=1))
    finally:
        (root / "segments").chmod(0o700)


def test_the_set_up(
    flowtap: Flowtap, root: Path, confdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = root / "roots.pem"
    roots.write_bytes(trustme.CA().cert_pem.bytes())
    roots.chmod(0o600)
    monkeypatch.setenv("HTTPS_PROXY", "http://corp.test:3128")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    (root / "ca-bundle.pem").write_bytes(roots.read_bytes())
    (root / "ca-bundle.pem").chmod(0o600)
    (confdir / "mitmproxy-ca.pem").chmod(0o644)
    found = told(flowtap, root, confdir, status=1)
    assert {"environment", "trust"} == bad(found)
    assert "problem" == found["certificate"][0]
    said = found["environment"][1]
    for words in ("corp.test:3128", "NO_PROXY leads past", "SSL_CERT_FILE: no such file"):
        assert words in said
    (root / "ca-bundle.pem").write_bytes(
        roots.read_bytes() + (confdir / "mitmproxy-ca-cert.pem").read_bytes()
    )
    assert "flowtap run's bundle: has it" in told(flowtap, root, confdir)["trust"][1]


def test_no_certificate(flowtap: Flowtap, root: Path, tmp_path: Path) -> None:
    found = told(flowtap, root, tmp_path / "nothing", status=0)
    assert "warning" == found["certificate"][0]
    assert "trust" not in found
    (tmp_path / "mitmproxy-ca-cert.pem").write_bytes(b"no certificate")
    found = told(flowtap, root, tmp_path, status=1)
    assert "problem" == found["certificate"][0]


def test_hostile_names_reach_no_terminal(flowtap: Flowtap, root: Path, confdir: Path) -> None:
    evil = root / "segments" / f"x{''.join(HOSTILE)}\n.seg"
    evil.touch(mode=0o644)
    with closing(sqlite3.connect(root / "index.db")) as connection, connection:
        connection.execute("UPDATE records SET segment = ?", (f"k/{''.join(HOSTILE)}.seg",))
    for args in ((), ("--json",)):
        ran = flowtap("doctor", "--deep", "--confdir", str(confdir), *args, store=root)
        assert 1 == ran.status
        assert not set(HOSTILE) & set(ran.out)


def test_on_a_terminal(
    root: Path,
    confdir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Wrapped at its width, in colour unless told otherwise."""
    monkeypatch.setenv("FLOWTAP_STORE", str(root))
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert 0 == main(["doctor", "--confdir", str(confdir)])
    coloured = capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    assert 0 == main(["doctor", "--confdir", str(confdir)])
    plain = capsys.readouterr().out
    assert "\x1b[33mwarning\x1b[0m" in coloured
    assert "\x1b" not in plain
    long = [line for line in plain.splitlines() if len(line) > 60]
    # A path is not cut.
    assert all("/" in line for line in long)


def test_a_check_that_fails_is_told_and_the_others_go_on(
    flowtap: Flowtap, root: Path, confdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise OSError(5, "Input/output error")

    for name in ("entries", "space", "locks", "log", "keys", "writers", "segments", "pieces"):
        monkeypatch.setattr(f"store.examine.Examination.{name}", failing)
    found = told(flowtap, root, confdir, status=1)
    assert 8 == sum("Input/output error" in text for _, text in found.values())
    assert "ok" == found["index.db"][0]


def test_the_help_tells_the_statuses(flowtap: Flowtap) -> None:
    ran = flowtap("doctor", "--help")
    for words in ("Exit status", "0  all is well", "1  there is a problem", "2  bad input"):
        assert words in ran.out
