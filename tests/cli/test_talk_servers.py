"""What the plain chat says of MCP servers, in a real terminal."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest
from tests.cli.model_server import ModelServer, model_server
from tests.cli.support import home, patina
from tests.cli.terminal import CTRL_D, terminal

from patina.cli.talk_servers import ServerNews
from patina.model.events import ServerNotice

pytest.importorskip("pty")
PROMPT = "> "
LOST = ServerNotice(server="s", level="warning", text="S MCP disconnected. Reconnecting...")
FOUND = ServerNotice(server="s", level="success", text="S MCP connected.")
GIVEN_UP = ServerNotice(server="s", level="error", text="S MCP failed \x1b[2J to restart.")


@pytest.fixture
def near() -> Iterator[ModelServer]:
    with model_server() as server:
        home().mkdir(parents=True)
        (home() / "config.toml").write_text(
            'default_model = "near/one"\n[chat]\ntitles = "off"\n'
            f'[providers.near]\nkind = "openai_compatible"\nbase_url = "{server.url}"\n'
        )
        yield server


def test_only_what_was_missed_is_told_to_be_there(capsys: pytest.CaptureFixture[str]) -> None:
    news = ServerNews(terminal=True, dim=True)
    news.prompting(PROMPT)
    news.hear(FOUND)
    assert capsys.readouterr().out == ""
    news.hear(LOST)
    dim = "\x1b[2mS MCP disconnected. Reconnecting...\x1b[0m"
    assert capsys.readouterr().out == f"\r{dim}\n{PROMPT}"
    news.prompting(None)
    news.hear(FOUND)
    news.hear(GIVEN_UP)
    assert capsys.readouterr().out == ""  # an answer is being written
    news.prompting(PROMPT)
    shown = capsys.readouterr().out
    assert shown.startswith("\x1b[2mS MCP connected.\x1b[0m\n")
    assert "\x1b[2J" not in shown
    plain = ServerNews(terminal=False, dim=False)
    plain.hear(LOST)
    plain.prompting(PROMPT)
    assert capsys.readouterr() == ("", "S MCP disconnected. Reconnecting...\n")


# A-41 A-42 C-26
def test_a_server_dies_is_changed_and_disabled_while_a_chat_runs(near: ModelServer) -> None:
    demo = (sys.executable, "-m", "patina.mcp.demo_server")
    assert patina("mcp", "add", "demo", "--", *demo).returncode == 0
    with terminal("chat") as screen:
        screen.see(PROMPT)
        screen.press_until("/mcp\n", "connected")
        log = (home() / "state/logs/mcp/demo.log").read_text()
        pid = int(log.rpartition("started as process ")[2].partition(":")[0])
        os.kill(pid, signal.SIGKILL)
        screen.see("demo MCP disconnected. Reconnecting...")
        screen.see("demo MCP connected.")
        screen.type("/mcp restart demo\n")
        screen.see("demo is connected.")
        screen.type("/mcp nonsense\n")
        screen.see("/mcp does not know nonsense.")
        assert patina("mcp", "disable", "demo").returncode == 0
        screen.press_until("/mcp\n", "disabled")
        (home() / "config.toml").write_text("nonsense\n")
        screen.see("What was configured before stays in use.")
        screen.type(CTRL_D)
        assert screen.end() == 0


# C-15
def test_session_ids_are_shown_to_who_debugs(near: ModelServer) -> None:
    assert patina("mcp", "add", "demo", "--", sys.executable, "-c", "1").returncode == 0
    with terminal("--debug-mcp", "chat") as screen:
        screen.see(PROMPT)
        screen.type("/mcp\n")
        screen.see("session none")
        screen.see(PROMPT)
        screen.type(CTRL_D)
        assert screen.end() == 0
