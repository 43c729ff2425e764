"""Nothing heavy stands between a command and what it is for."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

# What `--version`, `--help` and `ask` never need. The HTTP client of `ask` is httpcore2 alone.
HEAVY = {
    *("mcp", "mcp_types", "pydantic", "jsonschema", "httpx2", "tomlkit", "keyring"),
    *("cryptography", "textual", "starlette", "genai_prices", "reportlab"),
}
REPLY = "Hello from the endpoint."


class Endpoint(BaseHTTPRequestHandler):
    """Answers every request with one streamed chat completion."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b"".join(
            b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
            for choice in (
                {"index": 0, "delta": {"role": "assistant", "content": REPLY}},
                {"index": 0, "delta": {}, "finish_reason": "stop"},
            )
        )
        body += b"data: [DONE]\n\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join(5)


def imported(*arguments: str, **variables: str) -> tuple[set[str], str]:
    """Run Patina; return the names of the packages it imported, and its output."""
    result = subprocess.run(
        [sys.executable, "-P", "-X", "importtime", "-m", "patina", *arguments],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    lines = [line for line in result.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}, result.stdout


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_version_imports_next_to_nothing() -> None:
    modules, output = imported("--version")
    assert output.startswith("patina ")
    assert not packages(modules) & (HEAVY | {"click", "msgspec", "anyio", "asyncio"})


def test_help_imports_no_engine() -> None:
    modules, output = imported("--help")
    assert "ask" in output
    assert not packages(modules) & (HEAVY | {"anyio", "asyncio", "httpcore2"})


def test_ask_with_the_demo_model() -> None:
    modules, output = imported("ask", "-m", "demo", "hello")
    assert output
    assert not packages(modules) & HEAVY


def test_ask_over_http_with_a_configuration(endpoint: str) -> None:
    home = Path(os.environ["PATINA_HOME"])
    home.mkdir(parents=True)
    (home / "config.toml").write_text(
        f'[providers.near]\nkind = "openai_compatible"\nbase_url = "{endpoint}"\n'
        '[permissions]\ndefault = "deny"\n'
    )
    modules, output = imported("ask", "-m", "near/any", "hello")
    assert output == f"{REPLY}\n"
    assert "httpcore2" in modules
    assert not packages(modules) & HEAVY


@pytest.mark.parametrize("command", [["sessions", "list"], ["config", "path"], ["keys", "list"]])
def test_small_commands_start_no_engine(command: list[str]) -> None:
    modules, _ = imported(*command)
    assert not packages(modules) & {"mcp", "pydantic", "jsonschema", "httpx2", "httpcore2"}
