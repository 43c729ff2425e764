"""One `patina chat` that outlives its tokens, and then its sign-in."""

import threading
import time
from collections.abc import Iterator

import pytest
from tests.cli.model_server import ModelServer, model_server
from tests.cli.terminal import CTRL_D, SECONDS, Terminal, terminal
from tests.mcp.auth.real.conftest import NAME, Desk, let_tokens_end

pytest.importorskip("pty")

ONCE = ["login", "consent"]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with model_server() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test-canary-0123456789")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


def call(screen: Terminal, text: str) -> None:
    screen.type(f'call {NAME}__read {{"text": "{text}"}}\n')


def test_a_chat_outlives_its_tokens_and_its_sign_in(desk: Desk, model: ModelServer) -> None:
    desk.add()
    allowed = desk.run("permissions", "add", "allow", "--server", NAME)
    assert allowed.returncode == 0, allowed.stderr
    desk.log_in()
    with terminal("chat", "--plain", "-m", "openai/one", variables=desk.variables) as screen:
        screen.see("> ")
        for number in range(2):
            call(screen, f"number {number}")
            screen.see(f"The tool said: read number {number}")
            let_tokens_end()
        assert desk.prompts() == ONCE
        assert not desk.trouble()

        desk.place.revoke()
        let_tokens_end()
        call(screen, "after all")
        screen.see("wants you to sign in")
        assert len(desk.pages()) == 1  # nothing opens before the person agreed
        screen.see("[C] Cancel ")
        screen.type("y\n")
        screen.see("The tool said: read after all")  # the same call, made again
        assert desk.prompts() == ONCE * 2
        assert len(desk.pages()) == 2

        let_tokens_end()
        call(screen, "at last")
        screen.see("The tool said: read at last")
        screen.see("\r\n> ")
        screen.type(CTRL_D)
        assert screen.end() == 0
    assert desk.prompts() == ONCE * 2
    assert len(desk.pages()) == 2


def test_a_chat_that_was_refused_goes_on_when_somebody_signs_in_elsewhere(
    desk: Desk, model: ModelServer
) -> None:
    desk.add()
    with terminal("chat", "--plain", "-m", "openai/one", variables=desk.variables) as screen:
        screen.see("> ")
        deadline = time.monotonic() + SECONDS
        while not desk.carried():  # it was there, and was refused
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)
        desk.log_in()
        # The chat looks by itself: there is nothing to press.
        offered: list[str] = []
        while not offered:
            assert time.monotonic() < deadline
            screen.type("say hello\n")
            screen.see("hello")
            screen.see("hello")
            tools = model.requests[-1][1].get("tools", [])
            offered = [tool["function"]["name"] for tool in tools if NAME in str(tool)]
            threading.Event().wait(0.5)
        assert f"{NAME}__read" in offered
    assert desk.prompts() == ONCE
