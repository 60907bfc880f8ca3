"""`flowtap fold`: files, folders, stdin, every framing; and the whole corpus against the independent folds."""

import json
import os
import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.collectors.corpus import PROTOCOLS, ROOT, expected, needs_corpus
from tests.tui.cli.conftest import Flowtap
from tests.tui.cli.stage import message

STREAM = b"".join(message("Hello, ", "world."))
CHAT = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
GEMINI = b'[{"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}]}]'
WHOLE = b'{"type":"message","role":"assistant","content":[{"type":"text","text":"hi"}]}'
UNTOLD = b'data: {"something":"else"}\n\n'


def fold(flowtap: Flowtap, *args: str, stdin: bytes = b"") -> list[dict[str, Any]]:
    ran = flowtap("fold", *args, stdin=stdin)
    assert (0, "") == (ran.status, ran.err)
    return [json.loads(line) for line in ran.lines]


@pytest.mark.check(97, 98, 110)
@pytest.mark.parametrize(
    ("body", "protocol", "truncated"),
    [
        (STREAM, "messages", False),
        (STREAM[: len(STREAM) // 2], "messages", True),
        (CHAT, "chat", False),
        (GEMINI, "gemini", False),
        (WHOLE, "messages", False),
    ],
)
def test_stdin(flowtap: Flowtap, body: bytes, protocol: str, truncated: bool) -> None:
    (line,) = fold(flowtap, "-", stdin=body)
    assert ("-", protocol) == (line["file"], line["protocol"])
    assert truncated == line["outcome"]["truncated"]
    assert line["outcome"]["result"] is not None


def test_files_and_folders(flowtap: Flowtap, tmp_path: Path) -> None:
    """In the order given; a folder's in the order of their names, however deep; stdin among them."""
    (tmp_path / "deep" / "er").mkdir(parents=True)
    named = {"deep/b.sse": STREAM, "deep/a.sse": CHAT, "deep/er/c": GEMINI, "z": WHOLE}
    for name, body in named.items():
        (tmp_path / name).write_bytes(body)
    arguments = [str(tmp_path / "z"), str(tmp_path / "deep"), "-"]
    lines = fold(flowtap, *arguments, stdin=STREAM)
    assert [
        (str(tmp_path / "z"), "messages"),
        (str(tmp_path / "deep" / "a.sse"), "chat"),
        (str(tmp_path / "deep" / "b.sse"), "messages"),
        (str(tmp_path / "deep" / "er" / "c"), "gemini"),
        ("-", "messages"),
    ] == [(line["file"], line["protocol"]) for line in lines]


@pytest.mark.check(110)
def test_a_protocol_that_is_named_counts(flowtap: Flowtap) -> None:
    """Over what the events tell, and where they tell nothing."""
    (line,) = fold(flowtap, "-", "--protocol", "chat", stdin=STREAM)
    assert "chat" == line["protocol"]
    assert "Hello, world." not in json.dumps(line["outcome"])
    ran = flowtap("fold", "-", "--protocol", "messages", stdin=UNTOLD)
    assert "messages" == json.loads(ran.out)["protocol"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is empty"),
        (b" \n\n", "the body is empty"),
        (bytes(range(256)) * 20, "not JSON"),
        (b'{"type":"message","content":[', "known protocol"),
        (UNTOLD, "name it with --protocol"),
        (b"[" * 100_000, ""),
        (b'data: {"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}\n\n", ""),
        (b"\x1f\x8b\x08\x00garbage", ""),
    ],
)
@pytest.mark.check(97)
def test_a_body_with_nothing_to_fold(flowtap: Flowtap, body: bytes, said: str) -> None:
    """Its line is printed all the same, with the reason; alone, it is bad input."""
    ran = flowtap("fold", "-", stdin=body)
    outcome = json.loads(ran.out)["outcome"]
    assert (None, True) == (outcome["result"], outcome["truncated"])
    assert said in outcome["error"]
    assert 2 == ran.status
    assert 1 == ran.err.count("\n")
    assert outcome["error"] in ran.err


def test_among_others_it_is_not(flowtap: Flowtap, tmp_path: Path) -> None:
    """One bad file in a folder of captures must not fail the folding of the others."""
    (tmp_path / "a").write_bytes(b"\x00\x01")
    (tmp_path / "b").write_bytes(STREAM)
    lines = fold(flowtap, str(tmp_path / "a"), str(tmp_path / "b"))
    assert [None, "messages"] == [line["protocol"] for line in lines]


def test_an_error_is_an_answer(flowtap: Flowtap) -> None:
    """A stream that only says what went wrong is understood."""
    body = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}\n\n'
    (line,) = fold(flowtap, "-", stdin=body)
    assert "overloaded_error: busy" == line["outcome"]["error"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_cannot_be_read(flowtap: Flowtap, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(STREAM)
    (tmp_path / "a").chmod(0)
    ran = flowtap("fold", str(tmp_path / "a"))
    assert (2, "") == (ran.status, ran.out)
    assert "cannot be read: Permission denied" in ran.err


@pytest.mark.parametrize(
    ("captured", "strict"), [("NaN", "NaN"), ("1e999", "inf"), ("-1e999", "-inf"), ("1.5", 1.5)]
)
def test_numbers_json_has_no_word_for(flowtap: Flowtap, captured: str, strict: object) -> None:
    """What Python's parser lets in does not get out: the output is strict JSON."""
    body = STREAM.replace(b'"id": "msg_1"', b'"id": "msg_1", "x": [%s]' % captured.encode())
    ran = flowtap("fold", "-", stdin=body)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    (line,) = [json.loads(text, parse_constant=refuse) for text in ran.lines]
    assert [strict] == line["outcome"]["result"]["x"]


def test_hostile_names_and_bodies_stay_visible(flowtap: Flowtap, tmp_path: Path) -> None:
    """A file's name is data as well."""
    evil = tmp_path / "\x1b[31m\u202e.sse"
    evil.write_bytes(b"".join(message("\x1b]0;x\x07\x9b\u202e")))
    (line,) = fold(flowtap, str(tmp_path))
    assert str(evil) == line["file"]
    ran = flowtap("fold", str(tmp_path))
    assert ran.out.isascii()
    assert "\x1b" not in ran.out
    evil.write_bytes(b"")
    ran = flowtap("fold", str(evil))
    assert 2 == ran.status
    assert ran.err.rstrip("\n").isprintable()


@needs_corpus
@pytest.mark.check(97, 98, 110)
def test_the_whole_corpus(
    flowtap: Flowtap, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As somebody would do it: fold all to a file, have the independent comparison read it."""
    ran = flowtap("fold", *(str(ROOT / protocol) for protocol in PROTOCOLS))
    assert (0, "") == (ran.status, ran.err)
    outcomes = tmp_path / "outcomes.jsonl"
    outcomes.write_text(ran.out)
    script = runpy.run_path(str(ROOT.parent / "check_folds.py"))
    assert 0 == script["main"](ROOT, outcomes), capsys.readouterr().out
    told = {"/".join(Path(row["file"]).parts[-2:]): row for row in map(json.loads, ran.lines)}
    for name, row in expected().items():
        assert row["protocol"] == told[name]["protocol"]


@needs_corpus
@pytest.mark.check(97)
def test_every_file_of_the_corpus_has_its_line(flowtap: Flowtap) -> None:
    """Also of protocols that have no fold, and what is no stream at all."""
    lines = fold(flowtap, str(ROOT))
    files = sorted(str(path) for path in ROOT.rglob("*") if path.is_file())
    assert files == [line["file"] for line in lines]
    for line in lines:
        assert line["outcome"]["result"] is not None or line["outcome"]["error"]
