"""`flowtap verify`: what is stored of an exchange, held against what passed and what the client saved."""

from collections import Counter
from collections.abc import Iterator

import click

from store.contract import PAGE_CAP, Reader
from store.errors import BadInput, BodyMissing
from store.location import open_reader
from store.record import Passed
from store.verification import Direction, Result, Verification
from store.verification import verify as compare
from tui.cli.common import STDIN, json_line, read_input, store_option
from tui.cli.progress import Progress
from tui.format import plural, thousands
from tui.record_json import damaged_json, verification_json
from tui.safe_text import escape

NOT_THE_SAME = 1
DAMAGED = "damaged"
SHOWN_DIGITS = 12
"""Of a hash: enough for the eye to compare; `--json` has all 64."""

_WORDS = {
    Result.SAME: "same",
    Result.UNKNOWN: "cannot be told",
    Result.PREFIX: "prefix only",
    Result.DIFFERS: "differs",
}


@click.command()
@click.argument("record_ids", nargs=-1, metavar="[ID]…")
@click.option(
    "--request", "request_file", metavar="FILE", help="The body the client sent; - for stdin."
)
@click.option(
    "--response", "response_file", metavar="FILE", help="The body the client got; - for stdin."
)
@click.option("--all", "everything", is_flag=True, help="Every record, newest first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line (docs/json.md).")
@store_option
def verify(
    record_ids: tuple[str, ...],
    request_file: str | None,
    response_file: str | None,
    everything: bool,
    as_json: bool,
    store: str | None,
) -> int:
    """Hold what is stored against what passed the proxy.

    The proxy counts and hashes each body where it hands it on, apart from what is kept of it.
    A FILE that the client saved is a third witness: the body as it was sent, as curl -o FILE
    saves it (without --raw, which leaves the chunks' sizes in), or with its content-encoding
    undone (curl --compressed), which is then said.

    \b
    Exit status:
      0  the same
      1  it differs, a part is missing, the record is damaged, or it cannot be told
         (with --all, what cannot be told does not count)
      2  bad input
    """
    if everything == bool(record_ids):
        raise BadInput("Name the records to verify, or give --all.")
    if len(set(record_ids)) != 1 and not (request_file is response_file is None):
        raise BadInput("--request and --response go with one record.")
    if request_file == response_file == STDIN:
        raise BadInput("Only one of --request and --response can be stdin.")
    reader = open_reader(store)
    try:
        if everything:
            return _verify_all(reader, as_json=as_json)
        wanted = list(dict.fromkeys(record_ids))
        for record_id in wanted:
            if reader.meta(record_id) is None:
                raise _absent(record_id)
        files = [
            None if name is None else read_input(name) for name in (request_file, response_file)
        ]
        same = True
        for record_id in wanted:
            found = _compared(reader, record_id, *files)
            if found is None:
                raise _absent(record_id)
            same = same and _result(found) == Result.SAME
            if as_json:
                click.echo(json_line(_json(record_id, found)))
                continue
            if len(wanted) > 1:
                click.echo(record_id)
            for line in _lines(found):
                click.echo(line)
        return 0 if same else NOT_THE_SAME
    finally:
        reader.close()


def _absent(record_id: str) -> BadInput:
    return BadInput(f"No record {record_id}: unknown, expired, or of a key that is off.")


def _compared(
    reader: Reader, record_id: str, request: bytes | None = None, response: bytes | None = None
) -> Verification | BodyMissing | None:
    """The comparison, or why the record's bytes cannot be read; None where there is no record any more."""
    try:
        record = reader.get(record_id)
    except BodyMissing as exc:
        return exc
    return None if record is None else compare(record, request, response)


def _result(found: Verification | BodyMissing) -> str:
    return DAMAGED if isinstance(found, BodyMissing) else str(found.result)


def _json(record_id: str, found: Verification | BodyMissing) -> dict[str, object]:
    if isinstance(found, BodyMissing):
        return damaged_json(record_id, str(found))
    return verification_json(record_id, found)


def _lines(found: Verification | BodyMissing) -> Iterator[str]:
    """One a direction; one alone of what is damaged."""
    if isinstance(found, BodyMissing):
        yield f"damaged   {escape(str(found))}"
        return
    yield f"request   {_direction(found.request)}"
    yield f"response  {_direction(found.response)}"


def _direction(found: Direction) -> str:
    word = _WORDS[found.result]
    if found.decoded and found.result is Result.SAME:
        word = "same after decoding"
    parts = [word, _amount(found.stored)]
    if found.passed is not None and found.passed != found.stored:
        parts.append(f"passed {_amount(found.passed)}")
    if found.file is not None and found.file != found.stored:
        parts.append(f"file {_amount(found.file)}")
    return "  ".join([*parts, escape(found.why)]).rstrip()


def _amount(found: Passed) -> str:
    return f"{plural(found.bytes, 'byte')} {found.sha256[:SHOWN_DIGITS]}"


# -- all of them ---------------------------------------------------------------------------------


def _verify_all(reader: Reader, *, as_json: bool) -> int:
    """A line for each that is not the same (as JSON: for each), then how many there were of what."""
    progress, total = Progress(), reader.counts().records
    counts: Counter[str] = Counter()
    for record_id in _ids(reader):
        found = _compared(reader, record_id)
        if found is None:
            # It expired while we looked at others.
            continue
        result = _result(found)
        counts[result] += 1
        progress.at(counts.total(), total)
        if as_json:
            progress.clear()
            click.echo(json_line(_json(record_id, found)))
        elif result != Result.SAME:
            progress.clear()
            for line in _lines(found):
                click.echo(f"{record_id}  {line}")
    progress.clear()
    if not as_json:
        click.echo(_summary(counts))
    bad = sum(counts[result] for result in (Result.PREFIX, Result.DIFFERS, DAMAGED))
    return NOT_THE_SAME if bad else 0


def _ids(reader: Reader) -> Iterator[str]:
    before: str | None = None
    while page := reader.records(before=before, limit=PAGE_CAP):
        for meta in page:
            yield meta.id
        before = page[-1].id


def _summary(counts: Counter[str]) -> str:
    said = [
        f"{thousands(counts[result])} {word}"
        for result, word in (*_WORDS.items(), (DAMAGED, DAMAGED))
        if counts[result]
    ]
    return f"{plural(counts.total(), 'record')}: {', '.join(said) or 'nothing to verify'}"
