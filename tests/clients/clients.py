"""The clients: how each is run, and what is recorded of it. One row each; docs/clients.md is made of them.

A row says what `make clients` must see; a test without any client holds the page against it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from collectors.protocol import LlmProtocol
from tests.clients import installed
from tests.clients.api import Over
from tui.listeners import BASE_URLS

OPENAI = "https://api.openai.com/v1/chat/completions"
KEY = "sk-test-0000-clients-of-all-kinds"
QUESTION = "Say hello."


@dataclass(frozen=True, slots=True)
class Want:
    """One record."""

    protocol: LlmProtocol
    over: Over
    warm_up: bool = False
    """Asked for no answer, as Codex does before its first turn."""
    says_it: bool = True
    """It holds the answer that the client printed."""
    verdict: str = "complete"

    def __str__(self) -> str:
        return f"{self.protocol} (warm-up)" if self.warm_up else str(self.protocol)


@dataclass(frozen=True, slots=True)
class Base:
    """Where a client takes the address of its API from."""

    name: str
    path: str
    """What of a path stands in the address."""
    option: str | None = None
    """A name in its configuration, set by this option of its command; else an environment variable."""

    def told(self, address: str) -> tuple[list[str], dict[str, str]]:
        """Words for its command, and variables, that send it to `host:port`."""
        url = f"http://{address}{self.path}"
        if self.option is None:
            return [], {self.name: url}
        return [self.option, f'{self.name}="{url}"'], {}


@dataclass(frozen=True, slots=True)
class Client:
    """One way of calling a model."""

    name: str
    package: str
    """Its version is this one's: `pip:NAME`, `npm:NAME`, or a command that prints it."""
    command: tuple[str, ...]
    key: str
    """The environment variable it takes its key from."""
    goes_by: tuple[str, ...]
    """Those of the variables that `flowtap run` sets that suffice for it."""
    records: tuple[Want, ...]
    prints_body: bool = False
    """The answer's bytes as they came; else the text in them."""
    environment: dict[str, str] = field(default_factory=dict)
    base: Base | None = None
    """How it is told another address of its API, for a proxy in reverse mode."""
    side_calls: bool = False
    """It makes other calls with the same key, which ask no model."""

    def programs(self) -> Sequence[Path]:
        """Where its program is; installed.Missing if it cannot be had."""
        return [where() for where in _PROGRAMS[self.package.partition(":")[0]]]

    def pinned(self) -> str | None:
        """The version it must have; None where it is whatever this machine has."""
        kind, _, name = self.package.partition(":")
        match kind:
            case "pip":
                return installed.pinned_python()[name]
            case "npm":
                return installed.pinned_node()[name]
        return None


_PROGRAMS: dict[str, tuple[Callable[[], Path], ...]] = {
    "pip": (installed.python_programs,),
    "npm": (installed.node_programs,),
    "python": (installed.python_programs,),
    "node": (installed.node_programs,),
    "curl": (lambda: installed.system_programs("curl"),),
}

PROXY = "HTTPS_PROXY"
PYTHON = (PROXY, "SSL_CERT_FILE")
NODE = (PROXY, "NODE_EXTRA_CA_CERTS", "NODE_USE_ENV_PROXY")
CLI_NODE = (PROXY, "NODE_EXTRA_CA_CERTS")

MESSAGES = Want(LlmProtocol.MESSAGES, Over.HTTP1)
CHAT = Want(LlmProtocol.CHAT, Over.HTTP1)
RESPONSES = Want(LlmProtocol.RESPONSES, Over.HTTP1)
GEMINI = Want(LlmProtocol.GEMINI, Over.HTTP1)


def python_client(name: str, *words: str) -> tuple[str, ...]:
    """One of our programs on the Python with the clients."""
    return ("python", str(installed.PROGRAMS / name), *words)


def http_client(name: str) -> tuple[str, ...]:
    """One of Python's HTTP clients; its address is to be added."""
    return python_client("http_clients.py", name)


def node_client(name: str) -> tuple[str, ...]:
    """One of our programs on Node."""
    return ("node", str(installed.FOLDER / installed.PROGRAMS.name / name))


TO_ANTHROPIC = Base(*BASE_URLS["api.anthropic.com"])
TO_OPENAI = Base(*BASE_URLS["api.openai.com"])
TO_GEMINI = Base(*BASE_URLS["generativelanguage.googleapis.com"])
CODEX_TO_OPENAI = Base("openai_base_url", "/v1", option="--config")

ANTHROPIC, OPENAI_KEY, GEMINI_KEY = "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"

CLIENTS: tuple[Client, ...] = (
    Client(
        "Claude Code, `claude -p`",
        "npm:@anthropic-ai/claude-code",
        ("claude", "-p", QUESTION),
        ANTHROPIC,
        CLI_NODE,
        (MESSAGES,),
        side_calls=True,
        base=TO_ANTHROPIC,
    ),
    Client(
        "Codex CLI, `codex exec`",
        "npm:@openai/codex",
        ("codex", "exec", "--skip-git-repo-check", QUESTION),
        "CODEX_API_KEY",
        PYTHON,
        (
            Want(LlmProtocol.RESPONSES, Over.WEBSOCKET, warm_up=True, says_it=False),
            Want(LlmProtocol.RESPONSES, Over.WEBSOCKET),
        ),
        base=CODEX_TO_OPENAI,
    ),
    Client(
        "Gemini CLI, `gemini -p`",
        "npm:@google/gemini-cli",
        ("gemini", "-p", QUESTION),
        GEMINI_KEY,
        CLI_NODE,
        # First a small model is asked which large one to take.
        (Want(LlmProtocol.GEMINI, Over.HTTP1, says_it=False), GEMINI),
        environment={"GEMINI_CLI_TRUST_WORKSPACE": "true"},
    ),
    Client(
        "curl",
        "curl",
        (
            *("curl", "--silent", "--no-buffer", "--data"),
            '{"model": "gpt-test-1", "stream": true, "messages": []}',
            *("--header", f"Authorization: Bearer {KEY}", OPENAI),
        ),
        OPENAI_KEY,
        PYTHON,
        (Want(LlmProtocol.CHAT, Over.HTTP2),),
        prints_body=True,
    ),
    Client(
        "Python: anthropic",
        "pip:anthropic",
        python_client("anthropic_sdk.py"),
        ANTHROPIC,
        PYTHON,
        (MESSAGES,),
        base=TO_ANTHROPIC,
    ),
    Client(
        "Python: anthropic, async",
        "pip:anthropic",
        python_client("anthropic_sdk.py", "async"),
        ANTHROPIC,
        PYTHON,
        (MESSAGES,),
        base=TO_ANTHROPIC,
    ),
    Client(
        "Python: openai",
        "pip:openai",
        python_client("openai_sdk.py"),
        OPENAI_KEY,
        PYTHON,
        (RESPONSES,),
        base=TO_OPENAI,
    ),
    Client(
        "Python: openai, async",
        "pip:openai",
        python_client("openai_sdk.py", "async"),
        OPENAI_KEY,
        PYTHON,
        (CHAT,),
        base=TO_OPENAI,
    ),
    Client(
        "Python: google-genai",
        "pip:google-genai",
        python_client("google_sdk.py"),
        GEMINI_KEY,
        PYTHON,
        (GEMINI,),
        base=TO_GEMINI,
    ),
    Client(
        "Python: google-genai, async",
        "pip:google-genai",
        python_client("google_sdk.py", "async"),
        GEMINI_KEY,
        PYTHON,
        (GEMINI,),
        base=TO_GEMINI,
    ),
    Client(
        "Python: httpx with `http2=True`",
        "pip:httpx",
        (*http_client("httpx"), OPENAI),
        OPENAI_KEY,
        PYTHON,
        (Want(LlmProtocol.CHAT, Over.HTTP2),),
        prints_body=True,
    ),
    Client(
        "Python: requests",
        "pip:requests",
        (*http_client("requests"), OPENAI),
        OPENAI_KEY,
        (PROXY, "REQUESTS_CA_BUNDLE"),
        (CHAT,),
        prints_body=True,
    ),
    Client(
        "Python: aiohttp with `trust_env=True`",
        "pip:aiohttp",
        (*http_client("aiohttp-trust-env"), OPENAI),
        OPENAI_KEY,
        PYTHON,
        (CHAT,),
        prints_body=True,
    ),
    Client(
        "Python: urllib",
        "python",
        (*http_client("urllib"), OPENAI),
        OPENAI_KEY,
        PYTHON,
        (CHAT,),
        prints_body=True,
    ),
    Client(
        "Node: fetch",
        "node",
        (*node_client("fetch.mjs"), OPENAI),
        OPENAI_KEY,
        NODE,
        (CHAT,),
        prints_body=True,
    ),
    Client(
        "Node: @anthropic-ai/sdk",
        "npm:@anthropic-ai/sdk",
        node_client("anthropic_sdk.mjs"),
        ANTHROPIC,
        NODE,
        (MESSAGES,),
        base=TO_ANTHROPIC,
    ),
    Client(
        "Node: openai",
        "npm:openai",
        node_client("openai_sdk.mjs"),
        OPENAI_KEY,
        NODE,
        (RESPONSES,),
        base=TO_OPENAI,
    ),
    Client(
        "Node: @google/genai",
        "npm:@google/genai",
        node_client("google_sdk.mjs"),
        GEMINI_KEY,
        NODE,
        (GEMINI,),
        base=TO_GEMINI,
    ),
)
