"""A chat whose model calls a tool that has to be asked about, for tests of that question."""

import json
import sys
from collections.abc import Iterator

import pytest
from tests.cli.conftest import transcripts
from tests.cli.model_server import ModelServer, model_server
from tests.cli.support import home, in_process
from tests.cli.terminal import Terminal

DEMO = (sys.executable, "-m", "patina.mcp.demo_server")
LAST = "[I] Inspect"
PROMPT = "\r\n> "
ESC = "\x1b"
DOWN = "\x1b[B"
THREE = 'calls 3 demo__echo {"text": "number #"}'
LEFT = "\x1b[D"


@pytest.fixture
def near() -> Iterator[ModelServer]:
    with model_server() as server:
        home().mkdir(parents=True)
        (home() / "config.toml").write_text(
            'default_model = "near/one"\n[chat]\ntitles = "off"\n'
            f'[providers.near]\nkind = "openai_compatible"\nbase_url = "{server.url}"\n'
        )
        assert in_process("mcp", "add", "demo", "--", *DEMO) == 0
        yield server


def call(text: str, tool: str = "echo") -> str:
    """The line that makes the model call a tool of the demo server."""
    return f"call demo__{tool} {json.dumps({'text': text})}"


def decisions() -> list[dict[str, object]]:
    """All decisions that were written."""
    lines = [line for path in transcripts() for line in path.read_text().splitlines()]
    return [item for item in map(json.loads, lines) if item["k"] == "decision"]


def asked(screen: Terminal, text: str = "hello", tool: str = "echo") -> str:
    """Have the model call a tool; what the question shows."""
    screen.type(f"{call(text, tool)}\n")
    return screen.see(LAST)


def is_as_before(screen: Terminal) -> bool:
    """Whether the terminal hands out whole lines and shows what is typed."""
    import termios

    flags = termios.tcgetattr(screen.descriptor)[3]
    return bool(flags & termios.ICANON and flags & termios.ECHO and flags & termios.ISIG)
