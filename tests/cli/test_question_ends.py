"""The question about a tool call: several at once, other windows, and every way to leave it."""

import os
import signal
from pathlib import Path

import pytest
from tests.cli.model_server import ModelServer
from tests.cli.question_chat import (
    ESC,
    LAST,
    PROMPT,
    THREE,
    asked,
    call,
    decisions,
    is_as_before,
    near,
)
from tests.cli.support import home
from tests.cli.terminal import CTRL_C, CTRL_D, terminal

from patina.cli.output import text_width

pytest.importorskip("pty")
__all__ = ["near"]


def test_the_terminal_is_as_it_was_after_every_end(near: ModelServer) -> None:
    for end in ("interrupt", "terminate", "closed"):
        with terminal("ask", call("hello")) as screen:
            screen.see(LAST)
            assert not is_as_before(screen)
            if end == "interrupt":
                screen.type(CTRL_C)
            elif end == "terminate":
                os.kill(screen.process.pid, signal.SIGTERM)
            else:
                screen.type(CTRL_D)
            screen.process.wait(60)
            assert is_as_before(screen)
            codes = {"interrupt": 130, "terminate": 143, "closed": 4}
            assert screen.process.returncode == codes[end]
    assert decisions() == []  # nobody answered


def test_a_chat_that_is_ended_leaves_the_terminal_as_it_was(near: ModelServer) -> None:
    with terminal("chat") as screen:
        screen.see(PROMPT)
        asked(screen)
        assert not is_as_before(screen)
        os.kill(screen.process.pid, signal.SIGTERM)
        screen.see("\n")
        assert screen.end() == 143
        assert is_as_before(screen)


def test_a_narrow_window_holds_every_row(near: ModelServer) -> None:
    import fcntl
    import struct
    import termios

    width = 28
    with terminal("chat") as screen:
        screen.see(PROMPT)
        fcntl.ioctl(screen.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 12, width, 0, 0))
        screen.type(f"{call('wide 日本語 ' * 4)}\n")
        screen.see("Allow tool?")
        shown = screen.see(LAST)
        rows = [row.strip("\r") for row in shown.split("\n")[1:]]
        assert len(rows) >= 12
        assert max(map(text_width, rows)) < width
        screen.type("\t")
        screen.see(">[A] Allow once<")
        screen.see(LAST)
        screen.type(ESC)
        screen.see("denied")
        screen.see("\n> ")
        screen.type(CTRL_D)
        assert screen.end() == 0


def test_a_dumb_terminal_takes_letters_with_enter(near: ModelServer) -> None:
    with terminal("ask", call("hello"), variables={"TERM": "dumb"}) as screen:
        screen.see(LAST)
        assert is_as_before(screen)
        screen.type("q\n")
        screen.see("Type one of the letters")
        screen.see(LAST)
        screen.type("a\n")
        screen.see("The tool said: hello")
        assert screen.end() == 0
        assert "\x1b" not in screen.shown


def test_a_call_by_hand_asks_the_same(near: ModelServer) -> None:
    with terminal("mcp", "call", "demo", "echo", "text=hi", variables={"EDITOR": ""}) as screen:
        shown = screen.see(LAST)
        assert "Allow tool?  demo.echo" in shown
        assert "[S]" not in shown
        assert "[W]" not in shown
        screen.type("e")
        screen.see("New arguments, JSON")
        screen.type('{"text": "changed"}\n')
        screen.see(LAST)
        screen.type("a")
        screen.see("changed\r\n")
        assert screen.end() == 0


def test_calls_of_one_message_are_asked_together(near: ModelServer) -> None:
    with terminal("chat") as screen:
        screen.see(PROMPT)
        screen.type(f"{THREE}\n")
        shown = screen.see(LAST)
        assert "1 of 3" in shown
        assert "[L] Allow all 3 once" in shown
        assert "number 1" in shown
        screen.type("l")
        rest = screen.see("[B] Back")
        assert "2 of 3" in rest
        assert "number 2" in rest
        assert "number 3" in rest
        screen.type("b")
        assert "1 of 3" in screen.see(LAST)
        screen.type(ESC)  # this one only
        shown = screen.see(LAST)
        assert "2 of 3" in shown
        assert "[L] Allow all 2 once" in shown
        screen.type("l")
        screen.see("[B] Back")
        screen.type("l")
        screen.see("The tool said: number 3")
        screen.see(PROMPT)
        screen.type(CTRL_D)
        assert screen.end() == 0
    assert [one["choice"] for one in decisions()] == ["deny", "allow_once", "allow_once"]


def test_arguments_that_were_changed_stay_so_where_all_are_allowed(near: ModelServer) -> None:
    with terminal("chat", variables={"EDITOR": "", "VISUAL": ""}) as screen:
        screen.see(PROMPT)
        screen.type(f"{THREE}\n")
        screen.see(LAST)
        screen.type("e")
        screen.see("New arguments, JSON")
        screen.type('{"text": "harmless"}\n')
        screen.see("as you changed them")
        screen.see(LAST)
        screen.type("w")  # no rule about what was changed is offered
        offers = screen.see("Number (Enter: back): ")
        assert "Always allow demo.echo\r\n" in offers
        assert "number 1" not in offers
        screen.type("\n")
        screen.see(LAST)
        screen.type("l")
        screen.see("[B] Back")
        screen.type("l")
        screen.see("The tool said: number 3")
        screen.see(PROMPT)
        screen.type(CTRL_D)
        assert screen.end() == 0
        assert "The tool said: number 1" not in screen.shown
    changed = sorted(str(one.get("arguments", "")) for one in decisions())
    assert changed == ["", "", '{"text":"harmless"}']


def test_a_long_turn_asks_whether_to_go_on(near: ModelServer) -> None:
    text = (home() / "config.toml").read_text()
    (home() / "config.toml").write_text(text.replace("[chat]\n", "[chat]\nrounds = 1\n"))
    for key, said in (("a", "The tool said: hello"), ("d", "")):
        with terminal("ask", call("hello"), "--approve", "all") as screen:
            shown = screen.see("[D] Stop")
            assert "Go on?" in shown
            assert "[A] Go on" in shown
            assert "[I]" not in shown
            screen.type(key)
            if said:
                screen.see(said)
            assert (screen.end() == 0) is bool(said)


def test_what_is_answered_elsewhere_closes_here(near: ModelServer) -> None:
    program = (str(Path(__file__).with_name("two_fronts.py")),)
    with terminal(call("hello"), program=program) as screen:
        screen.see(LAST)
        os.kill(screen.process.pid, signal.SIGUSR1)
        screen.see("\r\nAnswered elsewhere: allowed once.")
        screen.see("The tool said: hello")
        assert screen.end() == 0
        assert is_as_before(screen)
    (decision,) = decisions()
    assert decision["rule"] == "user"
