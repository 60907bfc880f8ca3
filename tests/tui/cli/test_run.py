"""`flowtap run`: the command goes through the proxy, is recorded, and its exit status is ours.

One proxy runs for most of these tests, as if started by hand; the last ones start their own.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

from store.location import open_reader, open_store
from store.record import Key
from tests.e2e.harness import done, on_disk
from tests.e2e.upstream import Upstream, sse
from tests.tui.cli.conftest import Flowtap
from tests.tui.cli.stage import SECRET, message
from tests.tui.cli.test_json_page import section
from tui.cli.proxy import SECRET_VARIABLES
from tui.client_env import BUNDLE, CA_FILE, client_environment
from tui.proxy_process import ProxyProcess, running_proxy

CERTIFICATES = (
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("NODE_EXTRA_CA_CERTS", "CODEX_CA_CERTIFICATE"),
)


@dataclass(frozen=True, slots=True)
class Ground:
    """A store, mitmproxy's folder, and an upstream that its proxies trust."""

    store: Path
    confdir: Path
    upstream: Upstream


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("run")
    confdir = folder / "confdir"
    confdir.mkdir()
    with Upstream(sse(*message("Hello."))) as upstream:
        ca = confdir / "upstream.pem"
        upstream.ca.cert_pem.write_to_path(ca)
        (confdir / "config.yaml").write_text(f"ssl_verify_upstream_trusted_ca: {ca}\n")
        yield Ground(folder / "store", confdir, upstream)


@pytest.fixture(scope="module")
def proxy(ground: Ground) -> Iterator[ProxyProcess]:
    arguments = ["-q", "--set", f"confdir={ground.confdir}"]
    with ProxyProcess(ground.store, port=0, arguments=arguments) as started:
        yield started


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SECRET_VARIABLES, "NO_PROXY", "no_proxy", *CERTIFICATES):
        monkeypatch.delenv(name, raising=False)


def python(code: str) -> list[str]:
    return ["--", sys.executable, "-c", code]


def keys(root: Path) -> dict[str, Key]:
    reader = open_reader(str(root))
    try:
        return {key.name: key for key in reader.keys()}
    finally:
        reader.close()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import sys; sys.exit(0)", 0),
        ("import sys; sys.exit(7)", 7),
        ("import sys; sys.exit(255)", 255),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 143),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137),
    ],
)
def test_the_exit_status_is_the_commands(
    flowtap: Flowtap, ground: Ground, proxy: ProxyProcess, code: str, status: int
) -> None:
    """A signal's is 128 and its number, as of a shell."""
    ran = flowtap("run", "--confdir", str(ground.confdir), *python(code), store=ground.store)
    assert (status, "") == (ran.status, ran.err)


def test_the_environment(
    flowtap: Flowtap, ground: Ground, proxy: ProxyProcess, tmp_path: Path
) -> None:
    """Just those variables on top of ours, naming the running proxy and files that are there."""
    out = tmp_path / "env.json"
    code = f"import json, os; json.dump(dict(os.environ), open({str(out)!r}, 'w'))"
    ran = flowtap("run", "--confdir", str(ground.confdir), *python(code), store=ground.store)
    assert 0 == ran.status
    found: dict[str, str] = json.loads(out.read_text())
    certificate, bundle = ground.confdir / CA_FILE, ground.store / BUNDLE
    wanted = client_environment(proxy.address, certificate, bundle)
    assert f"http://{proxy.address}" == found["HTTPS_PROXY"] == found["https_proxy"]
    assert wanted == {name: found[name] for name in wanted}
    theirs = {"LC_CTYPE", "PYTHONPATH", *wanted}
    assert dict(os.environ).keys() - theirs == found.keys() - theirs
    assert certificate.read_bytes().strip() in bundle.read_bytes()


def test_print_env(flowtap: Flowtap, ground: Ground, proxy: ProxyProcess, tmp_path: Path) -> None:
    """For a shell to eval, and as JSON: what `run` would set, of the proxy that runs; nothing is run."""
    confdir = tmp_path / "the user's $HOME"
    confdir.mkdir()
    shutil.copy(ground.confdir / CA_FILE, confdir)
    options = ("run", "--confdir", str(confdir), "--print-env")
    wanted = client_environment(proxy.address, confdir / CA_FILE, ground.store / BUNDLE)
    as_json = flowtap(*options, "--json", store=ground.store)
    assert (0, "", 1) == (as_json.status, as_json.err, len(as_json.lines))
    assert wanted == json.loads(as_json.out)
    assert set(section("Client environment")) == set(wanted)
    exports = flowtap(*options, store=ground.store)
    assert (0, "", len(wanted)) == (exports.status, exports.err, len(exports.lines))
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    script = f"set -eu\n{exports.out}exec {sys.executable} -c '{code}'"
    found = subprocess.run(["sh", "-c", script], capture_output=True, check=True)  # noqa: S603, S607
    assert wanted.items() <= json.loads(found.stdout).items()


def test_print_env_opts_a_key_in(
    flowtap: Flowtap, ground: Ground, proxy: ProxyProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before a command."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test-0000-print-env-1")
    options = ["--key", "shell", "--retention", "2h", "--confdir", str(ground.confdir)]
    ran = flowtap("run", *options, "--print-env", store=ground.store)
    assert 0 == ran.status
    assert "export HTTPS_PROXY=" in ran.out
    assert 7200 == keys(ground.store)["shell"].retention_s


def test_print_env_without_a_proxy(
    flowtap: Flowtap, ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of its own would be gone at once: it says how to start one, and no key is made."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    options = ["--key", "shell", "--retention", "2h", "--confdir", str(ground.confdir)]
    ran = flowtap("run", *options, "--print-env", store=tmp_path / "store")
    assert (2, "", 1) == (ran.status, ran.out, ran.err.count("\n"))
    assert "flowtap proxy" in ran.err
    assert not (tmp_path / "store").exists()


def test_a_run_within_a_run_keeps_the_users_roots(
    flowtap: Flowtap,
    ground: Ground,
    proxy: ProxyProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The inner command trusts what the user trusts, and the proxy; once each."""
    company = trustme.CA(organization_name="company").cert_pem.bytes()
    (tmp_path / "company.pem").write_bytes(company)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "company.pem"))
    out = tmp_path / "bundle.pem"
    code = f"import os, shutil; shutil.copy(os.environ['SSL_CERT_FILE'], {str(out)!r})"
    inner = [sys.executable, "-m", "tui", "run", "--confdir", str(ground.confdir), *python(code)]
    ran = flowtap("run", "--confdir", str(ground.confdir), "--", *inner, store=ground.store)
    assert (0, "") == (ran.status, ran.err)
    trusted = out.read_bytes()
    for certificate in (company, (ground.confdir / CA_FILE).read_bytes()):
        assert 1 == trusted.count(certificate.strip())


def test_arguments_reach_the_command_untouched(
    flowtap: Flowtap, ground: Ground, proxy: ProxyProcess, tmp_path: Path
) -> None:
    """Also those that look like ours, with and without `--`."""
    out = tmp_path / "argv.json"
    code = f"import json, sys; json.dump(sys.argv[1:], open({str(out)!r}, 'w'))"
    words = ["--key", "x", "--store", "y", "--", "-h", "--help", "a b", ""]
    for dashes in (["--"], []):
        command = [*dashes, sys.executable, "-c", code, *words]
        ran = flowtap("run", "--confdir", str(ground.confdir), *command, store=ground.store)
        assert 0 == ran.status
        assert words == json.loads(out.read_text())


def test_a_file_that_is_no_program(
    flowtap: Flowtap, ground: Ground, proxy: ProxyProcess, tmp_path: Path
) -> None:
    """Executable by its mode, refused by the kernel."""
    file = tmp_path / "program"
    file.write_bytes(b"\x00\x01\x02")
    file.chmod(0o755)
    ran = flowtap("run", "--confdir", str(ground.confdir), str(file), store=ground.store)
    assert 2 == ran.status
    assert f"{file} cannot be run" in ran.err
    assert 1 == ran.err.count("\n")


def test_no_certificate_where_it_was_said_to_be(
    flowtap: Flowtap, ground: Ground, proxy: ProxyProcess, tmp_path: Path
) -> None:
    ran = flowtap("run", "--confdir", str(tmp_path), "true", store=ground.store)
    assert 2 == ran.status
    assert str(tmp_path / CA_FILE) in ran.err


CALL = """
import json, os, ssl, sys, urllib.request
request = urllib.request.Request(
    sys.argv[1],
    data=b'{"model": "claude-test-1"}',
    headers={"X-Api-Key": os.environ["ANTHROPIC_API_KEY"], "Content-Type": "application/json"},
)
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
with urllib.request.urlopen(request, context=context, timeout=30) as answer:
    assert b"message_stop" in answer.read()
"""


@pytest.mark.check(1, 7)
def test_a_new_key_is_taken_from_the_environment_and_recorded(
    flowtap: Flowtap, ground: Ground, proxy: ProxyProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable the client itself reads; its first call is on record."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    url = f"https://127.0.0.1:{ground.upstream.port}/v1/messages?case=run"
    options = ["--key", "me", "--retention", "1h", "--confdir", str(ground.confdir)]
    ran = flowtap("run", *options, *python(CALL), url, store=ground.store)
    assert (0, "") == (ran.status, ran.err)
    assert 3600 == keys(ground.store)["me"].retention_s
    (record,) = done(ground.store, "case=run")
    assert b'{"model": "claude-test-1"}' == record.request_body.data
    assert (200, "complete") == (record.meta.status, record.meta.verdict)
    assert [] == on_disk(ground.store / "keys.db", SECRET.encode())


@pytest.mark.parametrize(
    ("before", "asked", "after"),
    [
        (None, "1h", 3600),
        (3600, "2h", 7200),
        (3600, "60m", 3600),
        (3600, None, 3600),
    ],
)
def test_a_known_key_is_switched_on_or_raised(
    flowtap: Flowtap,
    ground: Ground,
    proxy: ProxyProcess,
    before: int | None,
    asked: str | None,
    after: int,
) -> None:
    """Never lowered: that is in the table of bad input."""
    store = open_store(str(ground.store))
    try:
        if "known" not in keys(ground.store):
            store.add_key("known", "sk-ant-test-0000-known-key")
        store.set_retention("known", before)
    finally:
        store.close()
    retention = [] if asked is None else ["--retention", asked]
    options = ["--key", "known", *retention, "--confdir", str(ground.confdir)]
    ran = flowtap("run", *options, "true", store=ground.store)
    assert (0, "") == (ran.status, ran.err)
    assert after == keys(ground.store)["known"].retention_s


@pytest.mark.parametrize("variable", SECRET_VARIABLES)
def test_a_new_key_is_found_where_its_client_looks(
    flowtap: Flowtap,
    ground: Ground,
    proxy: ProxyProcess,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    """Whichever of them is set, blanks around it or not."""
    monkeypatch.setattr("tui.cli.proxy.KEY_NEWS_S", 0)
    monkeypatch.setenv(variable, f" sk-test-0000-of-{variable} ")
    name = variable.lower().replace("_", "-")
    options = ["--key", name, "--retention", "1h", "--confdir", str(ground.confdir)]
    ran = flowtap("run", *options, "true", store=ground.store)
    assert (0, "") == (ran.status, ran.err)
    assert (3600, variable[-4:]) == (
        keys(ground.store)[name].retention_s,
        keys(ground.store)[name].last4,
    )


def test_two_secrets_in_the_environment_are_not_guessed_between(
    flowtap: Flowtap, ground: Ground, proxy: ProxyProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same secret twice is one; two are asked about, by name, and --env answers."""
    options = ["--retention", "1h", "--confdir", str(ground.confdir)]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0000-one-of-two-aaaa")
    monkeypatch.setenv("CODEX_API_KEY", "sk-test-0000-one-of-two-aaaa")
    ran = flowtap("run", "--key", "one", *options, "true", store=ground.store)
    assert 0 == ran.status
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-test-0000-two-of-two-bbbb")
    ran = flowtap("run", "--key", "two", *options, "true", store=ground.store)
    assert 2 == ran.status
    assert "GEMINI_API_KEY" in ran.err
    assert "--env VAR" in ran.err
    assert "of-two" not in ran.err
    assert "two" not in keys(ground.store)
    choice = ["--env", "GEMINI_API_KEY"]
    ran = flowtap("run", "--key", "two", *choice, *options, "true", store=ground.store)
    assert 0 == ran.status
    assert "bbbb" == keys(ground.store)["two"].last4


# -- with a proxy of its own ----------------------------------------------------------------------


def test_a_proxy_is_started_for_the_command_and_stopped_after_it(
    ground: Ground, tmp_path: Path
) -> None:
    """Nothing runs before and after; between, the call is recorded; the status is the command's."""
    store = tmp_path / "store"
    url = f"https://127.0.0.1:{ground.upstream.port}/v1/messages?case=own"
    ran = subprocess.run(  # noqa: S603
        [
            *(sys.executable, "-m", "tui", "--store", str(store), "run", "--port", "0"),
            *("--key", "me", "--retention", "1h", "--confdir", str(ground.confdir)),
            *python(CALL + "sys.exit(9)"),
            url,
        ],
        env={**os.environ, "ANTHROPIC_API_KEY": SECRET},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (9, "", "") == (ran.returncode, ran.stdout, ran.stderr)
    (record,) = done(store, "case=own")
    assert "complete" == record.meta.verdict
    assert running_proxy(store) is None
    assert 0o600 == (store / "proxy.log").stat().st_mode & 0o777


def test_a_proxy_that_does_not_start_is_said_with_its_last_words(
    flowtap: Flowtap, ground: Ground, tmp_path: Path
) -> None:
    """Status 2 and one line; the command does not run."""
    confdir = tmp_path / "confdir"
    confdir.mkdir()
    (confdir / "config.yaml").write_text("flowtap_stream_requests: perhaps\n")
    out = tmp_path / "ran"
    options = ["--confdir", str(confdir), "--port", "0"]
    command = python(f"open({str(out)!r}, 'w')")
    begun = time.monotonic()
    ran = flowtap("run", *options, *command, store=tmp_path / "store")
    assert 2 == ran.status
    assert ran.err.startswith("flowtap: The proxy did not start: ")
    assert "flowtap_stream_requests" in ran.err
    assert 1 == ran.err.count("\n")
    assert not out.exists()
    # It ended by itself: nobody waited for an answer that cannot come.
    assert time.monotonic() - begun < 25


def test_ctrl_c_is_the_commands(ground: Ground, proxy: ProxyProcess, tmp_path: Path) -> None:
    """It may go on and end as it likes; we wait, and the proxy still runs."""
    import signal

    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(5))\n"
        "print('ready', flush=True)\n"
        "time.sleep(30)\n"
    )
    process = subprocess.Popen(  # noqa: S603
        [
            *(sys.executable, "-m", "tui", "--store", str(ground.store)),
            *("run", "--confdir", str(ground.confdir), *python(code)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline()
        # As a terminal does it: to the whole group.
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (5, "") == (process.returncode, err)
    found: Any = running_proxy(ground.store)
    assert found is not None
    assert proxy.pid == found.pid
