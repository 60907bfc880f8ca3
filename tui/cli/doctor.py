"""`flowtap doctor`: looks at the store and the set-up, and says what is wrong and what to do. Changes nothing."""

import os
import shutil
import sqlite3
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from store.errors import BadInput
from store.examine import Examination, reason
from store.health import Entry, ProxySeen
from store.location import store_path
from tui.cli.common import json_line, store_option
from tui.cli.progress import Progress
from tui.client_env import CONFDIR
from tui.format import plural, thousands
from tui.health import contents, databases, files, set_up
from tui.health.finding import Detail, Finding, Level, unchecked
from tui.look_around import Certificate, environment_seen, roots_seen, versions_seen
from tui.safe_text import escape

A_PROBLEM = 1

COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}

SHOWN = 20
"""Details of a finding that are printed; --json has all."""

INDENT = 22
NARROWEST = 40


@click.command()
@click.option("--deep", is_flag=True, help="Also read every record: each frame, each body's hash.")
@click.option("--confdir", default=CONFDIR, show_default=True, help="mitmproxy's folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a check (docs/json.md).")
@store_option
def doctor(deep: bool, confdir: str, as_json: bool, store: str | None) -> int:
    """Check the store and the set-up: a line a check, and what to do.

    Nothing is changed. A store that is damaged, locked, not there or of another version is
    examined as far as it goes.

    \b
    Exit status:
      0  all is well, or there are warnings alone
      1  there is a problem
      2  bad input
    """
    root = store_path(store)
    progress = Progress()
    levels: Counter[Level] = Counter()
    printer: Callable[[Finding], None] = _print_json if as_json else _print_text
    with Examination(root) as look:
        for finding in _findings(look, root, confdir, progress, deep=deep):
            progress.clear()
            levels[finding.level] += 1
            printer(finding)
    progress.clear()
    if not as_json:
        warnings, problems = levels[Level.WARNING], levels[Level.PROBLEM]
        click.echo(
            f"\n{plural(levels.total(), 'check')}: {levels[Level.OK]} ok,"
            f" {plural(warnings, 'warning')}, {plural(problems, 'problem')}"
        )
    return A_PROBLEM if levels[Level.PROBLEM] else 0


def _findings(
    look: Examination, root: Path, confdir: str, progress: Progress, *, deep: bool
) -> Iterator[Finding]:
    uid = os.geteuid()
    now_ms = time.time_ns() // 1_000_000
    folder = files.folder(str(root), _root(look, root), uid)
    yield folder
    proxies: list[ProxySeen] = []
    # Of another user's store nothing is read, even where root could.
    if _is_ours(look, uid):
        yield from _store(look, progress, uid, deep=deep)
        proxies = _try(look.proxies, [])
        yield contents.proxies(proxies, now_ms)
    certificate = Certificate(confdir)
    seen = certificate.seen()
    yield set_up.certificate(seen, now_ms, uid)
    if not seen.missing:
        yield set_up.trust(roots_seen(certificate, root))
    listeners = tuple(proxy.address for proxy in proxies if proxy.alive)
    yield set_up.environment(environment_seen(certificate, os.environ, listeners))
    yield databases.sqlite(sqlite3.sqlite_version_info[:3])
    yield set_up.versions(versions_seen())


def _root(look: Examination, root: Path) -> Entry | None:
    """The store's folder; BadInput for what can be none."""
    try:
        entry = look.root()
    except OSError as exc:
        raise BadInput(f"Store {root}: {exc.strerror}.") from exc
    if entry is not None and entry.kind != "folder":
        raise BadInput(f"Store {root} is not a directory.")
    return entry


def _is_ours(look: Examination, uid: int) -> bool:
    entry = look.root()
    return entry is not None and entry.uid == uid


def _store(look: Examination, progress: Progress, uid: int, *, deep: bool) -> Iterator[Finding]:
    root = str(look.layout.root)
    yield _judged("files", lambda: files.files(root, list(look.entries()), uid))
    yield _judged("space", lambda: files.space(look.space()))
    yield _judged("locks", lambda: databases.locks(look.locks()))
    progress.say("reading keys.db and index.db")
    seen = look.databases()
    yield databases.schema(seen)
    new = all(database.missing for database in seen) and not look.on_disk()
    for database in seen:
        yield databases.database(database, new=new)
    yield _judged("log", lambda: databases.log(look.log()))
    yield _judged("keys", lambda: contents.keys(look.keys()))
    yield _judged("writers", lambda: contents.writers(look.writers()))
    progress.say("comparing the index with the files")
    yield _judged("segments", lambda: contents.segments(look.segments(), str(look.layout.segments)))
    yield _judged("quarantine", lambda: files.quarantine(look.pieces()))
    if deep:
        from store.deep_look import DeepLook

        yield _judged("records", lambda: contents.records(DeepLook(look).everything(progress.at)))


def _judged(check: str, judge: Callable[[], Finding]) -> Finding:
    """A check that cannot be made is a finding, and the others go on."""
    try:
        return judge()
    except (OSError, sqlite3.Error) as exc:
        return unchecked(check, reason(exc))


def _try[T](look: Callable[[], T], otherwise: T) -> T:
    try:
        return look()
    except (OSError, sqlite3.Error):
        return otherwise


def _print_json(finding: Finding) -> None:
    click.echo(
        json_line(
            {
                "check": finding.check,
                "level": str(finding.level),
                "text": finding.text,
                "advice": finding.advice,
                "details": [
                    {
                        "text": detail.text,
                        "file": detail.file,
                        "record": detail.record,
                        "start": detail.start,
                        "end": detail.end,
                    }
                    for detail in finding.details
                ],
            }
        )
    )


def _print_text(finding: Finding) -> None:
    advice = f". {finding.advice}" if finding.advice else ""
    line = f"{finding.level:<7}  {finding.check:<11}  {escape(finding.text + advice)}"
    if sys.stdout.isatty():
        width = max(shutil.get_terminal_size().columns, NARROWEST)
        line = textwrap.fill(line, width, subsequent_indent=" " * INDENT, break_on_hyphens=False)
        if not os.environ.get("NO_COLOR"):
            word = str(finding.level)
            line = click.style(word, fg=COLOURS[finding.level]) + line.removeprefix(word)
    click.echo(line)
    shown = finding.details[:SHOWN]
    for detail in shown:
        click.echo(" " * INDENT + escape(_detail(detail)))
    if len(finding.details) > len(shown):
        click.echo(" " * INDENT + f"and {thousands(len(finding.details) - len(shown))} more")


def _detail(detail: Detail) -> str:
    where = "" if detail.start is None else f" (bytes {detail.start} to {detail.end})"
    if detail.file is None or detail.file in detail.text:
        return f"{detail.text.rstrip('.')}{where}"
    return f"{detail.file}: {detail.text}{where}"
