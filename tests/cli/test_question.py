"""The question about a tool call, answered with single keys in a real terminal."""

import json
import sys

import pytest
from tests.cli.model_server import ModelServer
from tests.cli.question_chat import (
    DOWN,
    ESC,
    LAST,
    LEFT,
    PROMPT,
    asked,
    call,
    decisions,
    is_as_before,
    near,
)
from tests.cli.support import home
from tests.cli.terminal import CTRL_C, CTRL_D, terminal

from patina.cli.keyboard import key_of

pytest.importorskip("pty")
__all__ = ["near"]


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("a", "a"),
        ("A", "a"),
        ("a\n", "a"),
        ("aaa", "a"),
        ("\n", "enter"),
        ("\r", "enter"),
        ("\x1b", "esc"),
        ("\x1b[B\x1b[B", "down"),
        ("\x1b[5~", "page up"),
        ("\t", "tab"),
        ("\x1b[Z", "back"),
        ("\x04", "closed"),
        # What is pasted, and keys that nobody knows, press nothing.
        ("Allow all of it", ""),
        ("as", ""),
        ("\x1ba", ""),
        ("\x1b[200~a\x1b[201~", ""),
        ("\x1b[15~", ""),
        ("\x01", ""),
        ("\u202e", ""),
    ],
)
def test_what_is_typed_at_once_is_one_key_or_none(typed: str, key: str) -> None:
    assert key_of(typed) == key


def test_each_key_answers(near: ModelServer) -> None:  # C-17 C-18 C-19
    with terminal("chat") as screen:
        screen.see(PROMPT)
        shown = asked(screen)
        assert "Allow tool?  demo.echo  (demo)" in shown
        assert "it claims" in shown
        assert '"text": "hello"' in shown
        for choice in ("[A] Allow once", "[S] Allow for session", "[W]", "[D] Deny", "[E] Edit"):
            assert choice in shown
        # Nothing has the focus: Enter does nothing, nor does a key that is none.
        screen.type("\n")
        screen.see(LAST)
        screen.type("x")
        screen.see("Type one of the letters")
        screen.see(LAST)
        assert decisions() == []
        screen.type("a")
        screen.see("The tool said: hello")
        screen.see(PROMPT)
        asked(screen, "deny me")
        screen.type("d")
        screen.see("Why?")
        screen.type("use another folder\n")
        screen.see("demo.echo denied")
        assert "use another folder" in screen.see(PROMPT)
        asked(screen, "leave me")
        screen.type(ESC)
        screen.see("demo.echo denied")
        screen.see(PROMPT)
        asked(screen, "for now")
        screen.type("s")
        screen.see("The tool said: for now")
        screen.see(PROMPT)
        screen.type(f"{call('again')}\n")
        screen.see("The tool said: again")
        screen.see(PROMPT)
        screen.type(CTRL_D)
        assert screen.end() == 0
    made = [(one["choice"], one["rule"]) for one in decisions()]
    people = ["allow_once", "deny", "deny", "allow_session"]
    assert made == [*((choice, "user") for choice in people), ("allow_once", "session")]
    assert "use another folder" in str(decisions()[1]["reason"])


def test_enter_acts_on_what_has_the_focus(near: ModelServer) -> None:  # C-18
    with terminal("chat") as screen:
        screen.see(PROMPT)
        asked(screen)
        screen.type("\t")
        screen.see(">[A] Allow once<")
        screen.type(LEFT)
        screen.see(">[I] Inspect<")
        screen.type("\t")
        screen.see(">[A] Allow once<")
        screen.see(LAST)
        screen.type("\n")
        screen.see("The tool said: hello")
        screen.see(PROMPT)
        screen.type(CTRL_D)
        assert screen.end() == 0


def test_always_writes_the_rule_that_is_chosen(near: ModelServer) -> None:
    with terminal("chat") as screen:
        screen.see(PROMPT)
        asked(screen)
        screen.type("w")
        offers = screen.see("Number (Enter: back): ")
        assert "[[permissions.rules]]" in offers
        assert offers.index("  1  ") < offers.index("  2  ")
        screen.type("\n")  # back
        screen.see(LAST)
        screen.type("w")
        screen.see("Number (Enter: back): ")
        screen.type("77\n")
        screen.see("Type a number from 1 to")
        screen.see("Number (Enter: back): ")
        screen.type("2\n")
        screen.see("Last day it holds")
        screen.type("2001-01-01\n")
        screen.see("That day is over.")
        screen.see("Last day it holds")
        screen.type("nonsense\n")
        screen.see("That is no date.")
        screen.see("Last day it holds")
        screen.type("2999-12-31\n")
        screen.see("The tool said: hello")
        screen.see(PROMPT)
        screen.type(f"{call('something else')}\n")
        screen.see("The tool said: something else")
        screen.see(PROMPT)
        screen.type(CTRL_D)
        assert screen.end() == 0
    text = (home() / "config.toml").read_text()
    assert 'tool = "echo"' in text
    assert "2999-12-31" in text
    first, second = decisions()
    assert first["choice"] == "allow_always"
    assert str(second["rule"]).startswith("permissions.rules[")


def test_arguments_are_changed_on_a_line(near: ModelServer) -> None:
    with terminal("chat", variables={"EDITOR": "", "VISUAL": ""}) as screen:
        screen.see(PROMPT)
        asked(screen)
        for wrong, said in (
            ("{nonsense", "This is no JSON object"),
            ('{"no": 1}', "demo.echo"),
            ("[]", "This is no JSON object"),
        ):
            screen.type("e" if "nonsense" in wrong else "")
            screen.see("New arguments, JSON")
            screen.type(f"{wrong}\n")
            screen.see(said)
        screen.see("New arguments, JSON")
        screen.type('{"text": "better"}\n')
        shown = screen.see(LAST)
        assert "as you changed them" in shown
        assert '"text": "better"' in shown
        screen.type("a")
        screen.see("better")
        screen.see(PROMPT)
        screen.type(CTRL_D)
        assert screen.end() == 0
    assert json.loads(str(decisions()[0]["arguments"])) == {"text": "better"}


def test_arguments_are_changed_in_the_editor(near: ModelServer) -> None:
    editor = home() / "editor.py"
    editor.write_text(
        "import pathlib, sys\nfile = pathlib.Path(sys.argv[1])\nold = file.read_text()\n"
        "new = old.replace('oops', 'right') if 'oops' in old else old.replace('hello', 'oops')\n"
        "file.write_text(new + ('}' if 'oops' in new else ''))\n".replace(
            "new + (", "new.rstrip().rstrip('}') + '}' + ("
        )
    )
    with terminal("chat", variables={"VISUAL": f"{sys.executable} {editor}"}) as screen:
        screen.see(PROMPT)
        asked(screen)
        screen.type("e")
        screen.see("This is no JSON object")
        screen.see("Edit them again?")
        screen.type("y\n")
        shown = screen.see(LAST)
        assert '"text": "right"' in shown
        screen.type("a")
        screen.see("right")
        screen.see(PROMPT)
        screen.type(CTRL_D)
        assert screen.end() == 0


def test_inspecting_shows_what_is_hidden(near: ModelServer) -> None:
    with terminal("chat", variables={"NO_COLOR": "1"}) as screen:
        screen.see(PROMPT)
        shown = asked(screen, "evil \u202e\x1b[2J\u200b end")
        assert "\\u202e" in shown
        assert "\\u200b" in shown
        for hidden in ("\u202e", "\x1b[2J", "\u200b"):
            assert hidden not in shown.rpartition("Allow tool?")[2]
        screen.type("i")
        shown = screen.see(LAST)
        assert "The question, as it is kept:" in shown
        assert '"k":"ask"' in shown
        assert "The tool, in the words of demo:" in shown
        assert '"properties"' in shown
        assert "hash" in shown
        assert "\x1b[7m" not in screen.shown
        screen.type(ESC)
        screen.see("demo.echo denied")
        screen.see(PROMPT)
        screen.type(CTRL_D)
        assert screen.end() == 0


def test_long_arguments_scroll(near: ModelServer) -> None:
    with terminal("chat") as screen:
        screen.see(PROMPT)
        shown = asked(screen, " ".join(f"word{number}" for number in range(400)))
        assert "word399" not in shown.rpartition("Allow tool?")[2]
        assert "Lines 1 to 20 of" in shown
        screen.type(DOWN)
        screen.see("Lines 2 to 21 of")
        screen.see(LAST)
        screen.type(" ")
        screen.see("to 35 of 35")
        screen.type(f"{ESC}[F")
        screen.see("word399")
        screen.see(LAST)
        screen.type(f"{ESC}[H")
        screen.see("Lines 1 to 20 of")
        screen.see(LAST)
        screen.type("i")
        screen.see("word399")
        screen.see("The tool, in the words")
        screen.see(LAST)
        screen.type(ESC)
        screen.see("demo.echo denied")
        screen.see(PROMPT)
        screen.type(CTRL_D)
        assert screen.end() == 0


def test_what_was_typed_before_the_question_answers_nothing(near: ModelServer) -> None:
    with terminal("chat") as screen:
        screen.see(PROMPT)
        screen.type(f"{call('hello')}\n")
        screen.see("arguments:")
        for letter in "an answer as I write":
            screen.type(letter)
        screen.see(LAST)
        assert decisions() == []
        screen.type("allow this please")  # pasted
        screen.see(LAST)
        screen.type("\t")
        screen.see(">[A] Allow once<")
        assert decisions() == []
        screen.press_until(CTRL_C, PROMPT)
        screen.type(CTRL_D)
        assert screen.end() == 0
        assert is_as_before(screen)


def test_arguments_that_a_rule_denies_are_asked_about_again(near: ModelServer) -> None:
    with (home() / "config.toml").open("a") as file:
        file.write('[[permissions.rules]]\naction = "deny"\nargs = { text = "forbidden*" }\n')
    with terminal("chat", variables={"EDITOR": "", "VISUAL": ""}) as screen:
        screen.see(PROMPT)
        asked(screen)
        screen.type("e")
        screen.see("New arguments, JSON")
        screen.type('{"text": "forbidden words"}\n')
        screen.see(LAST)
        screen.type("a")
        screen.see("Not with these arguments")
        screen.see(LAST)
        screen.type("a")
        screen.see("The tool said: hello")
        screen.see(PROMPT)
        screen.type(CTRL_D)
        assert screen.end() == 0
