"""What is made of a store's files, locks and databases: a row a case."""

import pytest

from store.health import (
    DatabaseSeen,
    Entry,
    Holder,
    LockSeen,
    LogSeen,
    PieceSeen,
    SpaceSeen,
)
from tui.health import databases, files
from tui.health.finding import Finding, Level, unchecked, worst

OK, WARNING, PROBLEM = Level.OK, Level.WARNING, Level.PROBLEM
ROOT, US, THEM = "/data/flowtap", 1000, 1001
GB, MB = 1 << 30, 1 << 20


def holds(found: Finding, level: Level, *words: str) -> None:
    """The level, the words in what is said; a thing to do exactly where something is wrong."""
    said = f"{found.text}. {found.advice}"
    assert level == found.level, said
    for word in words:
        assert word in said
    assert found.advice is not None or level is OK or "cannot be" in said
    assert not found.text.endswith(".")
    assert not (found.advice or "").endswith(".")


def entry(path: str = "x", kind: str = "file", mode: int = 0o600, uid: int = US) -> Entry:
    return Entry(f"{ROOT}/{path}", kind, mode, uid)


@pytest.mark.check(95)
@pytest.mark.parametrize(
    ("seen", "level", "words"),
    [
        (Entry(ROOT, "folder", 0o700, US), OK, ["0700", ROOT]),
        (Entry(ROOT, "folder", 0o500, US), OK, ["0500"]),
        (
            Entry(ROOT, "folder", 0o750, US),
            PROBLEM,
            ["open to others", "0750", f"chmod 700 {ROOT}"],
        ),
        (Entry(ROOT, "folder", 0o701, US), PROBLEM, ["open to others"]),
        (Entry(ROOT, "folder", 0o700, THEM), PROBLEM, ["another user (uid 1001)", "--store DIR"]),
        (None, PROBLEM, ["no store at", "flowtap proxy"]),
    ],
)
def test_folder(seen: Entry | None, level: Level, words: list[str]) -> None:
    holds(files.folder(ROOT, seen, US), level, *words)


@pytest.mark.check(95)
@pytest.mark.parametrize(
    ("seen", "level", "words", "details"),
    [
        ([], OK, ["0 files"], 0),
        ([entry(), entry("y", "folder", 0o700)], OK, ["2 files and folders"], 0),
        ([entry(mode=0o640)], PROBLEM, ["1 file open to others", "chmod -R go-rwx"], 1),
        ([entry(mode=0o602)], PROBLEM, ["open to others"], 1),
        ([entry(kind="folder", mode=0o755)], PROBLEM, ["open to others"], 1),
        ([entry(kind="link", mode=0o777)], PROBLEM, ["did not make", "Remove"], 1),
        ([entry(kind="other")], PROBLEM, ["did not make"], 1),
        ([entry(uid=THEM)], PROBLEM, ["of another user", "Remove"], 1),
        ([entry(mode=0o400)], PROBLEM, ["closed to yourself", "chmod -R u+rwX"], 1),
        ([entry(kind="folder", mode=0o600)], PROBLEM, ["closed to yourself"], 1),
        ([entry(kind="link", uid=THEM), entry(mode=0o644)], PROBLEM, ["1 file open", "did not make"], 3),
    ],
)  # fmt: skip
def test_files(seen: list[Entry], level: Level, words: list[str], details: int) -> None:
    found = files.files(ROOT, seen, US)
    holds(found, level, *words)
    assert details == len(found.details)
    assert all(detail.file and detail.text for detail in found.details)


@pytest.mark.parametrize(
    ("free", "level"),
    [
        (GB, OK),
        (GB - 1, WARNING),
        (64 * MB, WARNING),
        (64 * MB - 1, PROBLEM),
        (0, PROBLEM),
        (None, WARNING),
    ],
)
def test_space(free: int | None, level: Level) -> None:
    total = None if free is None else 100 * GB
    holds(files.space(SpaceSeen(free, total, 5 * MB)), level)


def test_quarantine() -> None:
    holds(files.quarantine([]), OK, "nothing")
    found = files.quarantine(
        [PieceSeen("/q/a-5.bad", "a", 5, 100), PieceSeen("/q/b-0.bad", "b", 0, 28)]
    )
    holds(found, PROBLEM, "2 corrupt pieces", "128 B", "retention")
    assert [("/q/a-5.bad", 5, 105), ("/q/b-0.bad", 0, 28)] == [
        (detail.file, detail.start, detail.end) for detail in found.details
    ]


@pytest.mark.parametrize(
    ("seen", "level", "words"),
    [
        ([LockSeen("lock.schema"), LockSeen("lock.sweep")], OK, ["none"]),
        ([LockSeen("lock.sweep", held=True)], OK, ["lock.sweep"]),
        ([LockSeen("lock.ckpt", error="No locks available")], PROBLEM, ["No locks", "local disk"]),
        ([LockSeen("lock.ckpt", missing=True)], WARNING, ["lock.ckpt", "next proxy"]),
        (
            [LockSeen("lock.ckpt", held=True, stuck=True, holders=(Holder(7, "mitmdump"),))],
            WARNING,
            ["lock.ckpt", "mitmdump (pid 7)"],
        ),
        ([LockSeen("lock.ckpt", held=True, stuck=True)], WARNING, ["lock.ckpt is kept, and"]),
    ],
)
def test_locks(seen: list[LockSeen], level: Level, words: list[str]) -> None:
    holds(databases.locks(seen), level, *words)


INDEX, KEYS = f"{ROOT}/index.db", f"{ROOT}/keys.db"


@pytest.mark.check(50)
@pytest.mark.parametrize(
    ("seen", "new", "level", "words"),
    [
        (DatabaseSeen(INDEX), False, OK, ["whole"]),
        (DatabaseSeen(INDEX, missing=True), False, PROBLEM, [INDEX, "flowtap rebuild"]),
        (DatabaseSeen(INDEX, missing=True), True, WARNING, ["not there yet", "flowtap proxy"]),
        (DatabaseSeen(INDEX, error="file is not a database"), False, PROBLEM, ["flowtap rebuild"]),
        (DatabaseSeen(INDEX, damage=("Page 3: x",)), False, PROBLEM, ["damaged", "rebuild"]),
        (DatabaseSeen(KEYS, damage=("Page 3: x",)), False, PROBLEM, ["damaged", "a copy"]),
        (DatabaseSeen(KEYS, missing=True), False, PROBLEM, [KEYS, "a copy"]),
        (DatabaseSeen(KEYS, error="database is locked", locked=True), False, WARNING, ["locked"]),
    ],
)
def test_database(seen: DatabaseSeen, new: bool, level: Level, words: list[str]) -> None:
    found = databases.database(seen, new=new)
    holds(found, level, *words)
    assert found.check == seen.path.rpartition("/")[2]
    assert len(seen.damage) == len(found.details)


@pytest.mark.parametrize(
    ("seen", "level", "words"),
    [
        ([DatabaseSeen(KEYS), DatabaseSeen(INDEX)], OK, ["this version"]),
        ([DatabaseSeen(KEYS, older=("m9_x",)), DatabaseSeen(INDEX)], WARNING, ["older", "m9_x"]),
        ([DatabaseSeen(KEYS), DatabaseSeen(INDEX, newer=("m99_y",))], PROBLEM, ["newer", "m99_y"]),
        (
            [DatabaseSeen(KEYS, older=("m9_x",)), DatabaseSeen(INDEX, newer=("m99_y",))],
            PROBLEM,
            ["Update this one"],
        ),
        ([DatabaseSeen(KEYS), DatabaseSeen(INDEX, error="x")], WARNING, ["cannot be told"]),
        ([DatabaseSeen(KEYS, missing=True), DatabaseSeen(INDEX)], WARNING, ["cannot be told"]),
    ],
)
def test_schema(seen: list[DatabaseSeen], level: Level, words: list[str]) -> None:
    holds(databases.schema(seen), level, *words)


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ((3, 6, 23), OK),
        ((3, 7, 0), WARNING),
        ((3, 40, 1), WARNING),
        ((3, 44, 5), WARNING),
        ((3, 44, 6), OK),
        ((3, 45, 0), WARNING),
        ((3, 50, 6), WARNING),
        ((3, 50, 7), OK),
        ((3, 50, 99), OK),
        ((3, 51, 0), WARNING),
        ((3, 51, 2), WARNING),
        ((3, 51, 3), OK),
        ((3, 52, 0), OK),
        ((4, 0, 0), OK),
    ],
)
def test_sqlite(version: tuple[int, int, int], level: Level) -> None:
    holds(databases.sqlite(version), level, ".".join(map(str, version)))


@pytest.mark.parametrize(
    ("seen", "level", "words"),
    [
        (LogSeen(0), OK, ["0 B"]),
        (LogSeen(256 * MB), OK, ["256 MB"]),
        (LogSeen(256 * MB + 1), PROBLEM, ["nobody can empty", "purged"]),
        (LogSeen(GB, (Holder(9, "flowtap"),)), PROBLEM, ["flowtap (pid 9)"]),
        (LogSeen(0, (Holder(9, ""),)), OK, ["process (pid 9)"]),
        (LogSeen(0, tuple(Holder(each, "x") for each in range(7))), OK, ["x (pid 4), 2 more"]),
    ],
)
def test_log(seen: LogSeen, level: Level, words: list[str]) -> None:
    holds(databases.log(seen), level, *words)


def test_the_worst() -> None:
    assert [OK, OK, WARNING, PROBLEM, PROBLEM] == [
        worst(levels)
        for levels in ([], [OK], [OK, WARNING], [PROBLEM, WARNING], [WARNING, OK, PROBLEM])
    ]
    assert PROBLEM == unchecked("x", "why").level
