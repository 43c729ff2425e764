"""`patina mcp test` and `patina mcp doctor`: what they print, and how they end."""

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.cli.support import home, in_process
from tests.mcp.house import ODD

DEMO = (sys.executable, "-m", "patina.mcp.demo_server")
CANARY = "canary-0123456789-secret"
Capture = pytest.CaptureFixture[str]


def add(name: str, *command: str, options: tuple[str, ...] = ()) -> None:
    assert in_process("mcp", "add", *options, name, "--", *command) == 0


def configured(text: str) -> None:
    home().mkdir(parents=True, exist_ok=True)
    (home() / "config.toml").write_text(f"version = 1\n{text}")


def said(capsys: Capture, code: int, *arguments: str) -> str:
    capsys.readouterr()
    assert in_process("mcp", *arguments) == code
    return capsys.readouterr().out


def told(capsys: Capture, code: int, *arguments: str) -> Any:
    return json.loads(said(capsys, code, *arguments, "--json"))


class _Old(BaseHTTPRequestHandler):
    """A server of the handshake era over Streamable HTTP."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        method = message.get("method")
        results: dict[str, Any] = {
            "initialize": {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {"listChanged": True}, "resources": {"subscribe": True}},
                "serverInfo": {"name": "far \x1b[31m", "version": "7"},
            },
            "tools/list": {
                "tools": [
                    {"name": "good", "description": "d" * 100, "inputSchema": {"type": "object"}},
                    {"name": "a.b", "inputSchema": {"type": "object"}},
                    {
                        "name": "bad",
                        "inputSchema": {"type": "object", "properties": {"a": {"type": 3}}},
                    },
                    {"name": "left_out", "inputSchema": {"type": "object"}},
                ]
            },
            "ping": {},
        }
        if "id" not in message:
            self.answer(202, b"")
        elif method in results:
            self.rpc(message, result=results[method])
        else:
            self.rpc(message, error={"code": -32601, "message": "unknown"})

    def do_GET(self) -> None:
        self.answer(405, b"")

    def do_DELETE(self) -> None:
        self.answer(200, b"")

    def rpc(self, message: Any, **more: Any) -> None:
        answer = {"jsonrpc": "2.0", "id": message["id"], **more}
        self.answer(200, json.dumps(answer).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Mcp-Session-Id", "session-77")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def old_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Old) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/mcp"
        finally:
            server.shutdown()
            thread.join(5)


# M-13
def test_a_server_that_works(capsys: Capture) -> None:
    add("good", *DEMO, options=("--env", f"A_TOKEN={CANARY}", "--env", "PLAIN=some-value"))
    out = said(capsys, 0, "test", "good")
    assert out.startswith("ok    good: connected in ")
    assert "MCP 2025-11-25 (handshake), 4 tools, about " in out
    found = told(capsys, 0, "test", "good")
    assert found["connected"] is True
    assert found["tools"] == 4
    assert found["tokens"] > 0
    assert found["diagnosis"] is None
    assert "timeline" not in found
    out = said(capsys, 0, "doctor", "good")
    for words in (
        "consent       given for this command",
        "-m patina.mcp.demo_server",
        "program       /",
        "folder        /",
        "PATH          of the environment: /",
        "of its own: A_TOKEN, PLAIN",
        "withheld: ",
        "runtime       python",
        "process started",
        "initialize answered",
        "tools/list answered",
        "protocol      MCP 2025-11-25 (handshake)",
        "offers        tools",
        "models get    4 tools, ",
        "add: ",
    ):
        assert words in out
    assert CANARY not in out
    assert "some-value" not in out
    found = told(capsys, 0, "doctor", "good")
    assert found["start"]["argv"][1:] == list(DEMO[1:])
    assert found["start"]["runtimes"][0]["version"].startswith("Python 3")
    names = {tool["tool"] for tool in found["offered"]}
    assert {"add", "echo"} < names
    assert len(names) == 4
    assert sum(tool["tokens"] for tool in found["offered"]) == found["tokens"]
    assert CANARY not in json.dumps(found)


def test_a_remote_server(capsys: Capture) -> None:
    with old_server() as url:
        configured(
            f'[mcp_servers.far]\ntransport = "streamable-http"\nurl = "{url}?key={CANARY}"\n'
            'allowed_tools = ["good", "a.b", "bad"]\n'
        )
        out = said(capsys, 0, "doctor", "far")
        assert f"address       {url}?key=***" in out
        assert "resolves to   127.0.0.1" in out
        assert "proxy         none" in out
        assert "speaks        streamable-http" in out
        assert "reached" in out
        assert "server        far \\x1b[31m 7" in out
        assert "offers        resources (subscribe), tools (listChanged)" in out
        assert "models get    3 tools" in out
        assert "left_out: left out by allowed_tools" in out
        assert "renamed far__a_b_" in out
        assert "bad: " in out
        assert "INVALID: the schema is not valid" in out
        assert "session" not in out
        assert CANARY not in out
        out = said(capsys, 0, "doctor", "far", "--debug-mcp")
        assert "session       session-77" in out
        assert "session_id" not in told(capsys, 0, "test", "far")
        assert told(capsys, 0, "test", "far", "--debug-mcp")["session_id"] == "session-77"
        skipped = told(capsys, 1, "test", "far", "--offline")
        assert skipped["diagnosis"]["kind"] == "offline"
    found = told(capsys, 1, "test", "far")
    assert found["diagnosis"]["kind"] == "refused"
    assert CANARY not in json.dumps(found)
    out = said(capsys, 1, "doctor", "far")
    assert "FAIL  far: Nothing listens at" in out


@pytest.mark.skipif(os.name == "nt", reason="the broken servers are POSIX scripts")
def test_servers_that_do_not_work(capsys: Capture, tmp_path: Path) -> None:
    add("ends", sys.executable, str(ODD), "exits", str(tmp_path))
    out = said(capsys, 1, "test", "ends")
    assert "FAIL  ends: It exited with code 3 before it was ready." in out
    assert "no configuration found" in out
    assert "patina mcp logs ends" in out
    out = said(capsys, 1, "doctor", "ends")
    assert "its log       no configuration found" in out
    assert "server/discover asked" in out
    found = told(capsys, 1, "doctor", "ends")
    assert found["diagnosis"]["kind"] == "exited"
    assert found["lines"] == ["no configuration found"]
    configured('[mcp_servers.gone]\ncommand = "no-such-program"\n')
    found = told(capsys, 1, "test", "gone")
    assert found["diagnosis"]["kind"] == "no_program"
    assert "Install no-such-program" in found["diagnosis"]["hint"]
    assert "FAIL  gone: " in said(capsys, 1, "doctor", "gone")


@pytest.mark.skipif(os.name == "nt", reason="the broken server is a POSIX script")
def test_secrets_in_words_are_masked_and_hints_are_whole(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE_API_KEY", CANARY)
    script = tmp_path / "server.py"
    script.write_text(f"import sys; sys.exit('{CANARY}: OTHER_TOKEN is required')")
    add("s", sys.executable, str(script), CANARY)
    for arguments in (("test", "s"), ("doctor", "s"), ("test", "s", "--json")):
        out = said(capsys, 1, *arguments)
        assert CANARY not in out
        assert "patina mcp edit s --env OTHER_TOKEN=secret:s/OTHER_TOKEN" in out
    found = told(capsys, 1, "doctor", "s")
    assert found["diagnosis"]["kind"] == "missing_variable"
    assert CANARY not in json.dumps(found)


def test_what_may_not_start_is_not_started(capsys: Capture) -> None:
    demo = f'command = {json.dumps(sys.executable)}\nargs = ["-m", "patina.mcp.demo_server"]\n'
    configured(f"[mcp_servers.new]\n{demo}[mcp_servers.off]\nenabled = false\n{demo}")
    capsys.readouterr()
    assert in_process("mcp", "test", "new") == 4
    assert "--approve start:new" in capsys.readouterr().err
    out = said(capsys, 4, "doctor", "new")
    assert "consent       never given for this command" in out
    assert "skip  new: " in out
    assert "patina mcp trust new" in out
    assert not list(home().glob("state/logs/mcp/*"))
    assert "connected" in said(capsys, 0, "test", "new", "--approve", "start:new")
    assert "given for this run" in said(capsys, 0, "doctor", "new", "--approve", "start:new")
    assert in_process("mcp", "test", "off") == 2
    assert in_process("mcp", "test", "unknown") == 2
    assert in_process("mcp", "doctor", "unknown") == 2
    assert "skip  off: It is disabled." in said(capsys, 0, "doctor", "off")


def test_all_servers_in_brief(capsys: Capture) -> None:
    assert said(capsys, 0, "doctor") == ""
    assert told(capsys, 0, "doctor") == []
    add("one", *DEMO)
    add("two", *DEMO)
    with (home() / "config.toml").open("a") as file:
        file.write('[mcp_servers.new]\ncommand = "sh"\n')
    out = said(capsys, 0, "doctor")
    assert [line[:10] for line in out.splitlines() if line[0] != " "] == [
        "ok    one:",
        "ok    two:",
        "skip  new:",
    ]
    with (home() / "config.toml").open("a") as file:
        file.write('[mcp_servers.gone]\ncommand = "no-such-program"\n')
    found = told(capsys, 1, "doctor")
    assert [one["server"] for one in found] == ["one", "two", "new", "gone"]
    assert [one["connected"] for one in found] == [True, True, False, False]
