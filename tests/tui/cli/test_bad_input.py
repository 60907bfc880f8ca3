"""Bad input: one clear line on stderr, status 2, no traceback, nothing printed and nothing changed."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from store.location import open_reader, open_store
from store.record import RequestHead, Transport
from tests.tui.cli.conftest import Flowtap
from tests.tui.cli.stage import NOW_MS, SECRET, Stage, is_root, listing

MISSING = "01JX4000000000000000000000"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store: `work` is on and has a record, `idle` is off."""
    path = tmp_path_factory.mktemp("template") / "own"
    store = open_store(str(path))
    key = store.add_key("work", SECRET, 315_360_000)
    store.add_key("idle", "sk-ant-test-0000-idle-idle-idle")
    writer = store.writer()
    store.close()
    head = RequestHead("POST", "https", "api.anthropic.com", 443, "/v1/messages", "HTTP/1.1", ())
    writer.begin(key, NOW_MS, head, "messages").end(1, Transport.COMPLETE)
    writer.close()
    return path


@pytest.fixture(scope="module")
def record_id(template: Path) -> str:
    """The record's."""
    reader = open_reader(str(template))
    try:
        (meta,) = reader.records()
        return meta.id
    finally:
        reader.close()


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Path:
    """A copy of it, this test's own."""
    return Path(shutil.copytree(template, tmp_path / "own"))


# What is given, what the line has to say; the secret of a new key comes on stdin.
ROWS: list[tuple[str, str]] = [
    # commands and options
    ("frobnicate", "No such command 'frobnicate'"),
    ("ls --frobnicate", "No such option '--frobnicate'"),
    ("keys frobnicate", "No such command 'frobnicate'"),
    ("--key work ls", "go with the UI"),
    ("show", "Missing argument 'ID'"),
    ("show {missing} {missing}", "unexpected extra argument"),
    ("keys add", "Missing argument 'NAME'"),
    ("keys set work", "Missing argument 'RETENTION|off'"),
    ("keys rename work", "Missing argument 'NEW_NAME'"),
    ("keys remove", "Missing argument 'NAME…'"),
    ("fold", "Missing argument 'FILE…'"),
    ("run", "Missing argument '[--] CMD…'"),
    ("run --print-env", "No proxy is running"),
    ("run --print-env true", "--print-env runs no command"),
    ("run --json true", "--json goes with --print-env"),
    ("ls --limit", "requires an argument"),
    # limits, cursors, ids
    ("ls --limit abc", "--limit takes a whole number from 1 to 200, got 'abc'"),
    ("ls --limit 0", "got '0'"),
    ("ls --limit 000", "got '000'"),
    ("ls --limit -1", "got '-1'"),
    ("ls --limit 1.5", "got '1.5'"),
    ("ls --limit=", "got ''"),
    ("ls --limit ٣", "got '٣'"),
    ("ls --limit 1_0", "got '1_0'"),
    ("tail --count 0", "0 is not in the range x>=1"),
    ("tail --count x", "'x' is not a valid integer"),
    ("ls --before 123", "'123' is not a record id"),
    ("show 123", "'123' is not a record id"),
    ("show ../../etc/passwd", "is not a record id"),
    ("show {missing}", "No record 01JX4"),
    ("show {missing} --protocol smtp", "'smtp' is not one of"),
    # keys
    ("ls --key nobody", "No key is named 'nobody'. Keys: idle, work"),
    ("tail --key nobody", "No key is named 'nobody'"),
    ("purge --key nobody", "No key is named 'nobody'"),
    ("keys set nobody 1h", "No key is named 'nobody'"),
    ("keys rename nobody other", "No key is named 'nobody'"),
    ("keys remove work nobody --yes", "No key is named 'nobody'"),
    ("keys add work", "already a key named 'work'"),
    ("keys rename idle work", "already a key named 'work'"),
    ("keys add other --env FLOWTAP_TEST_TAKEN", "already the key 'work'"),
    ("keys add other --env FLOWTAP_TEST_UNSET", "No secret in the environment variable"),
    ("keys add other --env FLOWTAP_TEST_BLANK", "No secret in the environment variable"),
    ("keys add other --env FLOWTAP_TEST_TWO", "has blanks in it"),
    ("keys add other --env FLOWTAP_TEST_BYTES", "characters no API key has"),
    ("keys add \x1b[31m", "printable"),
    ("keys add sk-name sk-ant-test-0000-as-argument", "unexpected extra argument"),
    # keys that go by a rule, or by a caller
    ("keys add other --glob sk-ant-test-0000-whole", "instead"),
    ("keys add other --glob=", "is empty"),
    ("keys add other --glob sk-*", "would match nearly anything"),
    ("keys add work --glob sk-ant-oat01-*", "already a key named 'work'"),
    ("keys add other --header chatgpt-account-id", "--header takes NAME=PATTERN"),
    ("keys add other --header x-api-key=sk-ant-*", "carries a secret"),
    ("keys add other --header =sk-ant-*", "is not a header's name"),
    ("keys add other --header accept=text/*", "tells no key apart"),
    ("keys add other --claim sub", "--claim takes PATH=PATTERN"),
    ("keys add other --claim =user-*", "A claim is named by"),
    ("keys add other --claim sub=", "is empty"),
    ("keys add other --glob sk-ant-oat01-* --claim sub=user-*", "goes by one of"),
    ("keys add other --glob sk-ant-oat01-* --glob sk-ant-oat02-*", "goes by one of"),
    ("keys add other --env FLOWTAP_TEST_TAKEN --glob sk-ant-oat01-*", "goes by one of"),
    ("keys add other --header x-team=red-* --seen sk-ant-t...0000", "goes by one of"),
    ("keys add other --seen nobody", "No unmatched call had that fingerprint"),
    ("keys add other --seen=", "No unmatched call had that fingerprint"),
    ("keys add other --glob sk-ant-oat01-* --retention soon", "or a value like"),
    # pins
    ("pin", "Missing argument 'ID…'"),
    ("pin 123", "'123' is not a record id"),
    ("pin {missing}", "No record 01JX4"),
    ("pin {record} {missing}", "No record 01JX4"),
    ("pin {record} --yes", "No such option '--yes'"),
    ("unpin", "Missing argument 'ID…'"),
    ("unpin 123", "'123' is not a record id"),
    ("unpin {record} {missing} --yes", "No record 01JX4"),
    ("ls --pinned {record}", "unexpected extra argument"),
    ("--store {absent} pin {missing}", "No store at"),
    ("--store {absent} unpin {missing}", "No store at"),
    # verify
    ("verify", "Name the records to verify, or give --all"),
    ("verify {record} --all", "Name the records to verify, or give --all"),
    ("verify 123", "'123' is not a record id"),
    ("verify {missing}", "No record 01JX4"),
    ("verify {record} {missing}", "No record 01JX4"),
    ("verify {record} {missing} --request {file}", "--request and --response go with one record"),
    ("verify --all --response {file}", "--request and --response go with one record"),
    ("verify {record} --request - --response -", "Only one of --request and --response"),
    ("verify {record} --response {absent}", "cannot be read: No such file"),
    ("verify {record} --response {empty}", "cannot be read: Is a directory"),
    ("verify {record} --request=", "cannot be read"),
    # stats
    ("stats --by nobody", "'nobody' is not one of"),
    ("stats --by=", "is not one of"),
    ("stats --since soon", "--since takes a time like 90m, 24h or 7d; got 'soon'"),
    ("stats --since 0", "--since takes a time"),
    ("stats --since=", "--since takes a time"),
    ("stats --since -5m", "--since takes a time"),
    ("stats --key nobody", "No key is named 'nobody'. Keys: idle, work"),
    ("stats everything", "unexpected extra argument"),
    ("--store {absent} stats", "No store at"),
    ("stats --store {file}", "is not a directory"),
    # search
    ("search", "Missing argument 'TEXT'"),
    ("search=", "No such command"),
    ("search --in", "Missing argument 'TEXT'"),
    ("search {empty} words", "unexpected extra argument"),
    ("search \n", "There is nothing to search for"),
    ("search {long}", "at most 1000 characters"),
    ("search \udcff", "not valid UTF-8"),
    ("search word --limit 0", "0 is not in the range"),
    ("search word --limit x", "'x' is not a valid integer"),
    ("search word --since soon", "--since takes a time like 90m, 24h or 7d; got 'soon'"),
    ("search word --since 0", "--since takes a time"),
    ("search word --key nobody", "No key is named 'nobody'"),
    ("--store {absent} search word", "No store at"),
    ("search word --store {file}", "is not a directory"),
    # index
    ("index everything", "unexpected extra argument"),
    ("index --watch --drop", "exclude each other"),
    ("--store {absent} index", "No store at"),
    ("index --store {file}", "is not a directory"),
    # doctor
    ("doctor everything", "unexpected extra argument"),
    ("doctor --shallow", "No such option '--shallow'"),
    ("doctor --store {file}", "is not a directory"),
    ("doctor --store {file}/below", "Not a directory"),
    ("doctor --store=", "--store is empty"),
    ("--store ftp://user:secret@host/x doctor", "Store ftp://…: no backend"),
    ("--store {long} doctor", "File name too long"),
    # keep
    ("keep --last soon", "--last takes a time like 90s, 5m or 2h; got 'soon'"),
    ("keep --last 0", "--last takes a time"),
    ("keep --last=", "--last takes a time"),
    ("keep --retention soon", "or a value like"),
    ("keep --retention 0", "from 1 second to 10 years"),
    ("keep --as \x1b[31m", "printable"),
    ("keep --as work", "'work' records traffic of its own"),
    ("keep --seen nobody", "No unmatched call had that fingerprint"),
    ("keep everything", "unexpected extra argument"),
    # retentions
    ("keys add other --retention 0", "from 1 second to 10 years"),
    ("keys add other --retention 1h30m", "or a value like 30m / 2h / 3d"),
    ("keys set work 0", "from 1 second to 10 years"),
    ("keys set work 0d", "from 1 second to 10 years"),
    ("keys set work 1h30m", "or a value like 30m / 2h / 3d. Got '1h30m'"),
    ("keys set work 3.5h", "or a value like"),
    ("keys set work soon", "or a value like"),
    ("keys set work 5x", "or a value like"),
    ("keys set work 315360001", "from 1 second to 10 years"),
    ("keys set -- work -5m", "or a value like"),
    # what deletes, unasked
    ("keys set work 1h", "delete records older than the new window. Give --yes"),
    ("keys set work off", "delete the records of this key. Give --yes"),
    ("keys remove work", "Give --yes"),
    # stores
    ("--store {file} ls", "is not a directory"),
    ("--store {file}/below ls", "Not a directory"),
    ("--store {file}/below keys add other", "ot a directory"),
    ("ls --store {file}", "is not a directory"),
    ("keys list --store {file}", "is not a directory"),
    ("--store {absent} ls", "No store at"),
    ("--store {absent} show {missing}", "No store at"),
    ("--store {absent} tail", "No store at"),
    ("--store {absent} purge", "No store at"),
    ("--store {absent} rebuild", "No store at"),
    ("--store {absent} keys set work 1h", "No store at"),
    ("--store {absent} keys add other --env FLOWTAP_TEST_UNSET", "No secret"),
    ("--store {absent} keys add \x1b[31m", "printable"),
    ("--store {absent} keys add other --env FLOWTAP_TEST_TWO", "has blanks in it"),
    ("--store {absent} keys add other --glob sk-ant-test-0000-whole", "instead"),
    ("--store {absent} keys add other --seen sk-ant-t...0000", "No store at"),
    ("--store {absent} run --key \x1b[31m --retention 1h true", "printable"),
    (
        "--store {absent} run --key new --retention 1h --env FLOWTAP_TEST_TWO true",
        "has blanks in it",
    ),
    ("--store {absent} verify --all", "No store at"),
    ("--store {absent} verify {missing}", "No store at"),
    ("--store {absent} keep", "No store at"),
    ("--store= ls", "--store is empty"),
    ("ls --store=", "--store is empty"),
    ("--store ~nobody-of-that-name/x ls", "home directory"),
    ("--store ftp://user:secret@host/x ls", "Store ftp://…: no backend"),
    ("--store {long} ls", "File name too long"),
    # fold
    ("fold {absent}", "No file"),
    ("fold {store} --protocol smtp", "'smtp' is not one of"),
    ("fold {empty}", "No file in"),
    # run
    ("run no-such-command-anywhere", "No command no-such-command-anywhere"),
    ("run --retention 1h true", "--retention goes with --key"),
    ("run --key work --retention 0 true", "from 1 second to 10 years"),
    ("run --key work --retention 1h true", "keeps records 3650d; lower it with"),
    ("run --key idle true", "is off: give it a --retention"),
    ("run --key new true", "is new: give it a --retention"),
    ("run --key new --retention 1h --env FLOWTAP_TEST_UNSET true", "No secret in"),
    ("run --key new --retention 1h true", "No API key in the environment"),
    ("run --port 99999 true", "99999 is not in the range"),
    ("--store {absent} run --key new --retention 1h true", "No API key in the environment"),
    # the UI
    ("", "The UI needs a terminal"),
    ("--record {missing}", "The UI needs a terminal"),
]


@pytest.mark.check(3, 8, 10, 11, 50, 95, 96)
@pytest.mark.parametrize(("line", "said"), ROWS, ids=[repr(row[0]) for row in ROWS])
def test_bad_input(
    flowtap: Flowtap,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_id: str,
    line: str,
    said: str,
) -> None:
    places = {
        "record": record_id,
        "missing": MISSING,
        "store": str(root),
        "file": str(tmp_path / "file"),
        "absent": str(tmp_path / "absent" / "store"),
        "empty": str(tmp_path / "empty"),
        "long": "x" * 5000,
    }
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "empty").mkdir()
    from tui.cli.proxy import SECRET_VARIABLES

    for name in SECRET_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FLOWTAP_TEST_TAKEN", SECRET)
    monkeypatch.setenv("FLOWTAP_TEST_BLANK", "  ")
    monkeypatch.setenv("FLOWTAP_TEST_TWO", "Bearer sk-ant-test-0000")
    monkeypatch.setenv("FLOWTAP_TEST_BYTES", os.fsdecode(b"sk-ant-test-\xff\xfe-0000"))
    args = [word.format(**places) for word in line.split(" ")] if line else []
    before = listing(tmp_path)
    ran = flowtap(*args, store=root, stdin=b"sk-ant-test-0000-on-stdin")
    assert (2, "") == (ran.status, ran.out)
    (said_line,) = ran.err.split("\n")[:-1]
    assert said_line.startswith("flowtap: ")
    assert said in said_line
    assert said_line.isprintable()
    assert before == listing(tmp_path)


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (b"", "No secret in stdin"),
        (b" \n\t ", "No secret in stdin"),
        (b"\xff\xfe", "not text"),
        ("sk-ant-test-ü".encode(), "characters no API key has"),
        (b"sk-ant-test-1\nsk-ant-test-2\n", "has blanks in it"),
        (SECRET.encode(), "already the key 'work'"),
        (SECRET.encode() + b"\n", "already the key 'work'"),
    ],
)
def test_a_secret_that_is_none(flowtap: Flowtap, root: Path, stdin: bytes, said: str) -> None:
    """On stdin; and what was read is not repeated."""
    before = listing(root)
    ran = flowtap("keys", "add", "other", "--retention", "1h", store=root, stdin=stdin)
    assert (2, "") == (ran.status, ran.out)
    assert said in ran.err
    assert 1 == ran.err.count("\n")
    assert "sk-ant-test" not in ran.err
    assert before == listing(root)


def test_a_closed_stdin(flowtap: Flowtap, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`<&-`: Python has no stdin at all then."""
    flowtap("keys", "list", store=root)
    monkeypatch.setattr(sys, "stdin", None)
    from tui.__main__ import main

    before = listing(root)
    for args in (["keys", "add", "x"], ["keys", "set", "work", "1h"], [], ["fold", "-"]):
        assert 2 == main(args)
    assert before == listing(root)


def garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 64)


def torn(path: Path) -> None:
    """A database whose first page is whole and whose others are noise."""
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


COMMANDS = [
    ("ls",),
    ("ls", "--json"),
    ("show", MISSING),
    ("tail", "--count", "1"),
    ("purge",),
    ("verify", "--all"),
    ("keep",),
    ("stats",),
    ("search", "word"),
    ("keys", "list"),
    ("keys", "seen"),
]


@pytest.mark.check(50)
@pytest.mark.parametrize("damage", [garbage, torn, cut])
@pytest.mark.parametrize("file", ["index.db", "keys.db"])
def test_a_damaged_database(
    flowtap: Flowtap, root: Path, file: str, damage: Callable[[Path], None]
) -> None:
    """Which file, and what to do; it is left as it is."""
    for leftover in ("-wal", "-shm"):
        (root / f"{file}{leftover}").unlink(missing_ok=True)
    damage(root / file)
    before = listing(root)
    for command in COMMANDS:
        if command == ("keys", "list") and file == "index.db":
            continue
        ran = flowtap(*command, store=root)
        assert (2, "") == (ran.status, ran.out), command
        assert 1 == ran.err.count("\n"), command
        assert str(root) in ran.err, command
        assert before == listing(root), command


def test_a_record_whose_bytes_are_gone(flowtap: Flowtap, root: Path) -> None:
    """The list still works; show names the record and the file."""
    (record_id,) = [line.split()[0] for line in flowtap("ls", store=root).lines]
    for segment in (root / "segments").rglob("*.seg"):
        segment.unlink()
    before = listing(root)
    ran = flowtap("show", record_id, store=root)
    assert (2, "") == (ran.status, ran.out)
    assert record_id in ran.err
    assert ".seg" in ran.err
    assert 1 == ran.err.count("\n")
    assert 1 == len(flowtap("ls", store=root).lines)
    assert before == listing(root)


@pytest.mark.check(95)
@pytest.mark.skipif(not is_root(), reason="only root can give a folder to another user")
def test_a_store_of_another_user(flowtap: Flowtap, root: Path) -> None:
    os.chown(root, 54321, 54321)
    before = listing(root)
    for command in (*COMMANDS, ("keys", "add", "x"), ("run", "true")):
        ran = flowtap(*command, store=root, stdin=b"sk-ant-test-0000-on-stdin")
        assert (2, "") == (ran.status, ran.out), command
        assert "belongs to another user (uid 54321)" in ran.err
        assert 1 == ran.err.count("\n")
    assert before == listing(root)


@pytest.mark.check(95)
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc is where even root cannot write")
@pytest.mark.parametrize(
    "command",
    [("keys", "add", "x"), ("run", "true"), ("run", "--key", "x", "--retention", "1h", "true")],
)
def test_a_store_that_cannot_be_made(
    flowtap: Flowtap, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    ran = flowtap(*command, store=Path("/proc/flowtap/store"), stdin=b"sk-ant-test-0000-on-stdin")
    assert (2, "") == (ran.status, ran.out)
    assert "/proc/flowtap" in ran.err
    assert 1 == ran.err.count("\n")


@pytest.mark.skipif(is_root(), reason="root may write anywhere")
def test_a_store_that_cannot_be_written(flowtap: Flowtap, root: Path) -> None:
    before = listing(root)
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        folder.chmod(0o500)
    try:
        for file in ("keys.db", "index.db"):
            (root / file).chmod(0o400)
        ran = flowtap("keys", "rename", "idle", "other", store=root)
        assert (2, "") == (ran.status, ran.out)
        assert 1 == ran.err.count("\n")
    finally:
        for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
            folder.chmod(0o700)
        for file in ("keys.db", "index.db"):
            (root / file).chmod(0o600)
    assert before == listing(root)


def test_output_that_cannot_be_written(stage: Stage, tmp_path: Path) -> None:
    """A full disk behind `>`: one line, and Python does not complain a second time at its exit."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    import subprocess

    for args in (["--help"], ["ls"], ["show", stage.ids["stream"], "--json"]):
        with full.open("wb") as out:
            ran = subprocess.run(  # noqa: S603
                [sys.executable, "-m", "tui", "--store", str(stage.root), *args]
                if args != ["--help"]
                else [sys.executable, "-m", "tui", *args],
                stdout=out,
                stderr=subprocess.PIPE,
                text=True,
            )
        assert 2 == ran.returncode
        assert 1 == ran.stderr.count("\n")
        assert "No space left" in ran.stderr


def test_a_bug_of_ours_is_one_line_and_a_file(
    flowtap: Flowtap, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even then no traceback, which could quote what was captured."""
    import store.reader

    def broken(*_: object, **__: object) -> None:
        raise KeyError(f"captured {SECRET}")

    monkeypatch.setattr(store.reader.LocalReader, "records", broken)
    ran = flowtap("ls", store=root)
    assert (1, "") == (ran.status, ran.out)
    assert 1 == ran.err.count("\n")
    assert "KeyError" in ran.err
    assert SECRET not in ran.err
    (report,) = (tmp_path / "state").rglob("crash.txt")
    assert 0o600 == report.stat().st_mode & 0o777
    shutil.rmtree(tmp_path / "state")
