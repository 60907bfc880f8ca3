"""Our options through mitmproxy's own machinery: wrong ones stop the start, auto knows when not to."""

import logging
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import exceptions
from mitmproxy.addons import (
    anticache,
    anticomp,
    blocklist,
    maplocal,
    mapremote,
    modifybody,
    modifyheaders,
    script,
    serverplayback,
    stickyauth,
    stickycookie,
)
from mitmproxy.test import taddons

from addon import settings
from addon.recorder import Recorder
from tests.addon.fakes import FakeWriter, Opener


def recorder() -> Recorder:
    return Recorder(Opener(FakeWriter()))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["flowtap_quiet_server_log=yes"], "boolean"),
        (["flowtap_store"], "flowtap_store"),
        (["flowtap_store=a", "flowtap_store=b"], "multiple values"),
        (["flowtap_stream_requests=maybe"], "must be one of auto, yes, no"),
        (["flowtap_stream_requests="], "must be one of auto, yes, no"),
        (["flowtap_ring=64"], "a size from 64k to 16g (64m, say), or 0 for none, not '64'"),
        (["flowtap_ring=64 m"], "a size from 64k to 16g"),
        (["flowtap_ring=63k"], "a size from 64k to 16g"),
        (["flowtap_ring=17g"], "a size from 64k to 16g"),
        (["flowtap_required=1"], "boolean"),
        (["flowtap_max_size=10"], "flowtap_max_size must be a size from 1m to 1048576g (10g, say)"),
        (["flowtap_max_size=ten"], "or 0 for no limit, not 'ten'"),
        (["flowtap_max_size=1023k"], "a size from 1m"),
        (["flowtap_max_size=1048577g"], "a size from 1m to 1048576g"),
        (["flowtap_max_size=10 g"], "a size from 1m"),
    ],
)
async def test_a_wrong_option_stops_the_start(
    given: list[str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One error that names it; mitmproxy alone would drop the addon in silence and run on."""
    with taddons.context() as context:
        context.options.set(*given, defer=True)
        with pytest.raises(exceptions.OptionsError):
            context.master.addons.add(recorder())
    (error,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert error.message.startswith("flowtap: ")
    assert said in error.message


async def test_right_options_are_taken() -> None:
    """Given before the addon is there, as on a command line."""
    with taddons.context() as context:
        context.options.set(
            "flowtap_store=/x",
            "flowtap_stream_requests=no",
            "flowtap_quiet_server_log=false",
            "flowtap_ring=64m",
            "flowtap_required=true",
            "flowtap_max_size=10G",
            defer=True,
        )
        context.master.addons.add(recorder())
        options = context.options
        assert ("/x", "no", False) == (
            options.flowtap_store,
            options.flowtap_stream_requests,
            options.flowtap_quiet_server_log,
        )
        assert 64 << 20 == settings.ring_bytes()
        assert settings.required() is True
        assert 10 << 30 == settings.max_bytes()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", None), ("0", None), ("1m", 1 << 20), ("1048576g", 1 << 50), ("500M", 500 << 20)],
)
async def test_a_cap(text: str, expected: int | None) -> None:
    with taddons.context(recorder()) as context:
        context.options.update(flowtap_max_size=text)
        assert expected == settings.max_bytes()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("0", 0),
        ("1k", 1024),
        ("64m", 64 << 20),
        ("64M", 64 << 20),
        ("1g", 1 << 30),
        ("00", None),
        ("0m", None),
        ("064m", None),
        ("64", None),
        ("64mb", None),
        ("1.5g", None),
        ("-1m", None),
        (" 1m", None),
        ("1m\n", None),
        ("\u0661m", None),
        ("off", None),
    ],
)
def test_sizes(text: str, expected: int | None) -> None:
    """Strict: what looks like a size and is none is a misprint."""
    if expected is None:
        with pytest.raises(ValueError, match="no size"):
            settings.size_of(text)
    else:
        assert expected == settings.size_of(text)


@pytest.fixture
async def mitm() -> Any:
    """mitmproxy with the addons that act on requests, and ours."""
    ours = recorder()
    others = [
        anticache.AntiCache(), anticomp.AntiComp(), blocklist.BlockList(), maplocal.MapLocal(),
        mapremote.MapRemote(), modifybody.ModifyBody(), modifyheaders.ModifyHeaders(),
        serverplayback.ServerPlayback(), stickyauth.StickyAuth(), stickycookie.StickyCookie(),
    ]  # fmt: skip
    with taddons.context(*others, ours) as context:
        context.ours = ours
        yield context


@pytest.mark.check(15)
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"anticache": True}, False),
        ({"anticomp": True}, False),
        ({"block_list": ["/~all/403"]}, False),
        ({"map_remote": ["/~all/a/b"]}, False),
        ({"modify_body": ["/~q/a/b"]}, False),
        ({"stickyauth": "."}, False),
        ({"stickycookie": "."}, False),
        ({"modify_headers": ["/~all/x-a/b"]}, True),
        ({"anticache": True, "flowtap_stream_requests": "yes"}, True),
        ({"flowtap_stream_requests": "no"}, False),
    ],
)
async def test_auto_streams_unless_the_whole_request_is_needed(
    mitm: Any, options: dict[str, Any], expected: bool
) -> None:
    """A streamed request cannot be blocked or rewritten, so those options keep working."""
    mitm.configure(mitm.ours, **options)
    assert expected is settings.streams_requests(mitm.ours)


async def test_every_named_option_is_mitmproxys(mitm: Any) -> None:
    """A renamed option would be ignored in silence. `intercept` is the interactive tools' own."""
    assert {"intercept"} == set(settings.NEEDS_WHOLE_REQUEST) - set(mitm.options.keys())


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def request(flow): pass\n", False),
        ("class A:\n    def request(self, flow): pass\naddons = [A()]\n", False),
        ("def requestheaders(flow): pass\n", False),
        ("def responseheaders(flow): pass\ndef response(flow): pass\n", True),
    ],
)
async def test_auto_and_other_scripts(
    mitm: Any, tmp_path: Path, source: str, expected: bool
) -> None:
    """A script that may block or answer gets whole requests; another changes nothing."""
    file = tmp_path / "other.py"
    file.write_text(source)
    loader = script.ScriptLoader()
    mitm.master.addons.add(loader)
    loader.addons.append(script.Script(str(file), reload=False))
    assert expected is settings.streams_requests(mitm.ours)
