"""What servers ask while a command or a chat waits: typed at a real terminal, or given by flags."""

import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.model_server import ModelServer, model_server
from tests.cli.support import home, patina
from tests.cli.terminal import CTRL_C, CTRL_D, Terminal, terminal

from patina.assembly.browser import has_browser

SERVER = Path(__file__).with_name("asking_server.py")
CALL = ("mcp", "call", "--approve", "all", "asking")


@pytest.fixture(autouse=True)
def asking() -> None:
    added = patina("mcp", "add", "asking", "--", sys.executable, str(SERVER))
    assert added.returncode == 0, added.stderr


@pytest.fixture
def near() -> Iterator[ModelServer]:
    with model_server() as server:
        file = home() / "config.toml"
        file.write_text(
            'default_model = "near/one"\n[chat]\ntitles = "off"\n'
            f'[providers.near]\nkind = "openai_compatible"\nbase_url = "{server.url}"\n'
            + file.read_text("utf-8").replace("version = 1\n", "")
        )
        yield server


def given(screen: Terminal) -> dict[str, object]:
    """The raw answer that the server got, which is the tool's result."""
    answer = json.loads(screen.see("\r\n"))
    assert isinstance(answer, dict)
    return answer


# A form, field by field


def test_a_form_with_every_kind_of_field() -> None:
    with terminal(*CALL, "form") as screen:
        heading = screen.see("Full name, needed")
        assert "asking asks:\r\n    Who are you?" in heading  # further in than our own words
        assert ":decline refuses" in heading
        screen.type("\n")
        screen.see("Full name is needed.")
        screen.type("Ada Lovelace\n")
        screen.see("mail (an e-mail address)")
        screen.type("nonsense\n")
        screen.see("mail must be an e-mail address.")
        screen.type("\n")  # it is not needed
        screen.see("age (a whole number; 1 to 150)")
        screen.see("[42] > ")
        screen.type("0\n")
        screen.see("age must be at least 1.")
        screen.type("\n")  # the default
        screen.see("share (a number)")
        screen.type("2.5\n")
        assert "agree (y or n)" in screen.see("[no] > ")
        screen.type("yes\n")
        screen.see("  1  Cat (c)")
        screen.see("[Cat] > ")
        screen.type("2\n")
        screen.see("colours, needed")
        screen.type("\n")
        screen.see("colours must have at least 1 choices.")
        screen.type("red, 3\n")
        review = screen.see("[C] Cancel")
        assert "This goes to asking:" in review
        assert "colours: red, blue" in review
        assert "mail" not in review
        screen.type("e\n")
        screen.see("[Ada Lovelace] > ")
        screen.type("Ada\n")
        screen.see("mail")
        screen.see("> ")
        screen.type("a@b.example\n")
        for shown in ("[42] > ", "[2.5] > ", "[yes] > ", "[Dog] > ", "[red, blue] > "):
            screen.see(shown)
            screen.type(":none\n" if shown == "[2.5] > " else "\n")
        screen.see("[C] Cancel")
        screen.type("y\n")
        screen.see("y\r\n")
        answer = given(screen)
        assert screen.end() == 0
        assert "\x1b]" not in screen.shown
        assert "\x1b[2J" not in screen.shown
    assert answer == {
        "action": "accept",
        "content": {
            "name": "Ada",
            "mail": "a@b.example",
            "age": 42,
            "agree": True,
            "pet": "d",
            "colours": ["red", "blue"],
        },
    }


@pytest.mark.parametrize(
    ("typed", "action"), [(":decline\n", "decline"), (":cancel\n", "cancel"), (CTRL_D, "cancel")]
)
def test_a_form_can_be_left_at_any_field(typed: str, action: str) -> None:
    with terminal(*CALL, "form") as screen:
        screen.see("needed")
        screen.see("> ")
        screen.type(typed)
        screen.see(f'{{"action": "{action}"')
        assert screen.end() == 0


def test_ctrl_c_leaves_the_form_and_not_the_call() -> None:
    with terminal(*CALL, "form") as screen:
        screen.see("needed")
        screen.see("> ")
        screen.press_until(CTRL_C, '{"action": "cancel"')
        assert screen.end() == 0


@pytest.mark.parametrize(("typed", "action"), [("d\n", "decline"), ("c\n", "cancel")])
def test_a_form_can_be_refused_after_it_was_filled_in(typed: str, action: str) -> None:
    with terminal(*CALL, "needs") as screen:
        screen.see("word, needed")
        screen.see("> ")
        screen.type("w\n")
        screen.see("[C] Cancel")
        screen.type("x\n")
        screen.see("Type one of the letters")
        screen.type(typed)
        screen.see("No word.")
        assert screen.end() == 1


# Pages


def test_a_page_is_opened_after_a_yes_only(tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {opened}\n')
    browser.chmod(stat.S_IRWXU)
    for typed, action in (("d\n", "decline"), ("c\n", "cancel"), ("y\n", "accept")):
        with terminal(*CALL, "page", variables={"BROWSER": f"{browser} %s"}) as screen:
            screen.see("host  pages.example")
            screen.see("page  https://pages.example/start?a=b")
            screen.see("[C] Cancel")
            assert not opened.exists()
            screen.type(typed)
            screen.see(f'{{"action": "{action}"')
            assert screen.end() == 0
    assert opened.read_text() == "https://pages.example/start?a=b\n"


def test_a_page_may_take_longer_than_a_tool() -> None:
    edited = patina("mcp", "edit", "asking", "--tool-timeout", "1")
    assert edited.returncode == 0, edited.stderr
    done = patina(*CALL, "page", "stay=2", "--answer", "{}")
    assert (done.returncode, done.stderr.count("timed out")) == (0, 0), done.stderr
    declined = patina(*CALL, "page", "stay=2", "--decline")
    assert declined.returncode == 1
    assert "asking.page timed out after 1s" in declined.stderr


def test_over_ssh_a_page_is_only_named() -> None:
    with terminal(*CALL, "page", variables={"SSH_TTY": "/dev/pts/9", "BROWSER": ""}) as screen:
        screen.see("[C] Cancel")
        screen.type("y\n")
        screen.see("Open this page yourself: https://pages.example/start?a=b")
        screen.see('{"action": "accept"')
        assert screen.end() == 0


def test_where_a_browser_can_be_seen() -> None:
    assert has_browser({"BROWSER": "x", "SSH_TTY": "y"})
    assert not has_browser({"SSH_CONNECTION": "x", "DISPLAY": ":0"})
    if sys.platform == "linux":
        assert has_browser({"WAYLAND_DISPLAY": "w"})
        assert not has_browser({})


# Prompts for a model


def test_a_prompt_for_a_model_is_shown_changed_and_sent(near: ModelServer, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text(
        '#!/bin/sh\nsed -i.bak "s/say hello/say changed/; s/Be brief/Be long/" "$1"\n'
    )
    editor.chmod(stat.S_IRWXU)
    with terminal(*CALL, "sample", variables={"VISUAL": str(editor)}) as screen:
        shown = screen.see("[N] No")
        assert "model      near/one" in shown
        assert "at most    100 tokens" in shown
        assert "system     Be brief." in shown
        assert "user       say hello" in shown
        screen.type("e\n")
        assert "user       say changed" in screen.see("[N] No")
        screen.type("y\n")
        screen.see('"text": "changed"')
        assert screen.end() == 0
    messages = near.requests[-1][1]["messages"]
    assert [message["content"] for message in messages] == ["Be long.", "say changed"]


def test_a_broken_editor_changes_nothing(near: ModelServer) -> None:
    with terminal(*CALL, "sample", variables={"VISUAL": "false"}) as screen:
        screen.see("[N] No")
        screen.type("e\n")
        screen.see("The prompt is as it was.")
        screen.see("[N] No")
        screen.type("n\n")
        screen.see("error")
        assert screen.end() == 0
    assert all(not body for _, body in near.requests)


# Without a person


def test_answers_by_flag_in_the_order_of_the_questions() -> None:
    done = patina(*CALL, "two", "--answer", '{"word": "a"}', "--answer", '{"word": "b"}')
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert [one["content"]["word"] for one in answers] == ["a", "b"]
    rest = patina(*CALL, "two", "--answer", '{"word": "a"}', "--decline", "--json")
    assert [one["action"] for one in json.loads(json.loads(rest.stdout)["result_text"])] == [
        "accept",
        "decline",
    ]
    filled = patina(*CALL, "form", "--answer", '{"name": "Ada", "colours": ["red"]}')
    assert json.loads(filled.stdout)["content"]["age"] == 42  # the default


def test_nobody_is_there_to_answer() -> None:
    done = patina(*CALL, "form")
    assert json.loads(done.stdout) == {"action": "cancel"}
    assert done.returncode == 0
    assert "asking asks, and nobody is here to answer: Who are you?" in done.stderr
    assert "(values: name, colours)" in done.stderr
    assert "--answer JSON" in done.stderr
    assert "\x1b" not in done.stderr
    failed = patina(*CALL, "needs")
    assert failed.returncode == 4
    assert failed.stdout == "No word.\n"
    sampled = patina(*CALL, "sample")
    assert sampled.returncode == 0
    assert "error" in sampled.stdout


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--answer", "nonsense"), "--answer is no JSON object."),
        (("--answer", "[1]"), "--answer is no JSON object."),
        (("--answer", '{"word": 1}'), "word must be a text."),
        (("--answer", "{}"), "word is needed."),
        (("--answer", '{"wrod": "a"}'), "There is no field 'wrod'."),
    ],
)
def test_answers_that_do_not_fit(flags: tuple[str, ...], says: str) -> None:
    done = patina(*CALL, "needs", *flags)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ('{"max_tokens": "many"}', "got `str`"),
        ('{"wrod": "a"}', "unknown field `wrod`"),
        ('{"messages": {"7": "a"}}', "no message '7'"),
    ],
)
def test_changes_of_a_prompt_that_do_not_fit(near: ModelServer, answer: str, says: str) -> None:
    done = patina(*CALL, "sample", "--answer", answer)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""


# Progress


def test_progress_and_logs_are_for_the_terminal_only() -> None:
    with terminal(*CALL, "work") as screen:
        screen.see("warning: log 1")
        screen.see("asking.work 5 of 5 (100%): at 5")
        screen.see("worked")
        assert screen.end() == 0
        assert "\x1b[2J" not in screen.shown
    done = patina(*CALL, "work")
    assert (done.stdout, done.stderr) == ("worked\n", "")


# In conversations


def test_a_question_in_ask(near: ModelServer) -> None:
    with terminal("ask", "call asking__needs {}", "--approve", "all") as screen:
        screen.see("Using asking.needs...")
        screen.see("word, needed")
        screen.see("> ")
        screen.type("bronze\n")
        screen.see("[C] Cancel")
        screen.type("\n")
        screen.see("The tool said: ")
        screen.see("bronze")
        assert screen.end() == 0


def test_ctrl_c_in_ask_leaves_the_question_first(near: ModelServer) -> None:
    with terminal("ask", "call asking__needs {}", "--approve", "all") as screen:
        screen.see("word, needed")
        screen.see("> ")
        screen.press_until(CTRL_C, "The tool said: No word.")
        assert screen.end() == 0


def test_nobody_is_there_in_ask(near: ModelServer) -> None:
    done = patina("ask", "call asking__needs {}", "--approve", "all")
    assert done.returncode == 0, done.stderr
    assert "The tool said: No word." in done.stdout
    assert "asking asks, and nobody is here to answer: Who are you?" in done.stderr
    session = patina("sessions", "list").stdout.partition("\t")[0]
    assert "── asking asks · cancel · " in patina("sessions", "show", session).stdout
    assert "## Question of asking, cancel · " in patina("sessions", "export", session).stdout
    lines = patina("ask", "call asking__needs {}", "--approve", "all", "--events").stdout
    events = [json.loads(line) for line in lines.splitlines()]
    asked = next(event for event in events if event["type"] == "question.asked")
    assert asked["item"]["asked"]["kind"] == "form"
    answered = next(event for event in events if event["type"] == "question.answered")
    assert answered["item"]["answered"]["action"] == "cancel"


def test_progress_in_ask_is_one_line(near: ModelServer) -> None:
    with terminal("ask", "call asking__work {}", "--approve", "all") as screen:
        screen.see("asking.work")
        screen.see("The tool said: worked")
        assert screen.end() == 0
        assert "log 1" in screen.shown
        assert "\x1b[2J" not in screen.shown


def test_a_question_in_a_chat(near: ModelServer) -> None:
    with terminal("chat", "--approve", "all") as screen:
        screen.see("> ")
        screen.type("call asking__needs {}\n")
        screen.see("word, needed")
        screen.see("> ")
        screen.type("bronze\n")
        screen.see("[C] Cancel")
        screen.type("y\n")
        screen.see("The tool said: ")
        screen.see("> ")
        screen.type("call asking__needs {}\n")
        screen.see("word, needed")
        screen.press_until(CTRL_C, "No word.")
        screen.see("> ")
        screen.type(CTRL_D)
        assert screen.end() == 0
