"""`patina chat --plain` in a real terminal, and fed by a pipe."""

import json
import sys
import time
from collections.abc import Iterator

import pytest
from tests.cli.model_server import HELLO, ModelServer, model_server
from tests.cli.support import home, in_process, patina
from tests.cli.terminal import CTRL_C, CTRL_D, Terminal, terminal
from tests.mcp.house import ODD

pytest.importorskip("pty")
Capture = pytest.CaptureFixture[str]
DEMO = (sys.executable, "-m", "patina.mcp.demo_server")
PROMPT = "> "


@pytest.fixture
def near() -> Iterator[ModelServer]:
    """A provider of that name is the default."""
    with model_server() as server:
        home().mkdir(parents=True)
        (home() / "config.toml").write_text(
            'default_model = "near/one"\n[chat]\ntitles = "off"\n'
            f'[providers.near]\nkind = "openai_compatible"\nbase_url = "{server.url}"\n'
        )
        yield server


def transcripts() -> dict[str, list[dict[str, object]]]:
    """The items of every conversation, the oldest first."""
    return {
        path.name[:36]: [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for path in sorted(home().glob("data/transcripts/*/*/*.jsonl"))
    }


def say(screen: Terminal, text: str, answer: str) -> str:
    """Type a line; what was printed up to the end of `answer` and the next prompt."""
    screen.type(f"{text}\n")
    screen.see(f"{text}\r\n")
    shown = screen.see(answer)
    screen.see(f"\r\n{PROMPT}")
    return shown


def test_a_conversation(near: ModelServer) -> None:
    with terminal("chat", "--plain") as screen:
        screen.see("Patina · near/one · /help")
        screen.see(PROMPT)
        assert say(screen, "hello", HELLO) == HELLO
        say(screen, "/help", "goes on in the next one.")
        say(screen, "/nothing", "There is no command /nothing. /help lists them")
        screen.type("   \n")  # nothing is sent
        screen.see(f"   \r\n{PROMPT}")
        say(screen, "//slash", HELLO)
        screen.type("first \\\n")
        screen.see("… ")
        screen.type("second\n")
        screen.see(HELLO)
        screen.see(PROMPT)
        screen.type(CTRL_D)
        screen.see("To go on: patina chat -s ")
        assert screen.end() == 0
        session = screen.shown.rpartition("chat -s ")[2].strip()
    ((identifier, items),) = transcripts().items()
    assert identifier == session
    asked = [item["parts"] for item in items if item["k"] == "msg" and item["role"] == "user"]
    texts = [parts[0]["text"] for parts in asked]  # type: ignore[index]
    assert texts == ["hello", "/slash", "first \nsecond"]


def test_the_answer_streams(near: ModelServer) -> None:
    with terminal("chat") as screen:
        screen.see(PROMPT)
        screen.type("slow 200\n")
        screen.see("word3 ")
        assert "word199" not in screen.shown
        screen.press_until(CTRL_C, f"\r\n{PROMPT}")


def test_ctrl_c_ends_the_answer_and_not_the_chat(near: ModelServer) -> None:
    with terminal("chat", "--plain") as screen:
        screen.see(PROMPT)
        screen.type("slow 500\n")
        screen.see("word5 ")
        screen.press_until(CTRL_C, f"\r\n{PROMPT}")
        assert "word499" not in screen.shown
        screen.press_until(CTRL_C, "(Ctrl+D or /quit leaves.)")
        screen.see(PROMPT)
        screen.type("a line that is dropped")
        screen.see("dropped")
        screen.press_until(CTRL_C, "(Ctrl+D or /quit leaves.)")
        screen.see(PROMPT)
        say(screen, "hello", HELLO)
        screen.type("/quit\n")
        screen.see("To go on: ")
        assert screen.end() == 0
        assert "Traceback" not in screen.shown
    (items,) = transcripts().values()
    messages = [item for item in items if item["k"] == "msg"]
    assert [item.get("partial", False) for item in messages] == [False, True, False, False]
    assert "word5 " in str(messages[1]["parts"])
    assert near.requests[-1][1]["messages"][-1]["content"] == "hello"


def test_the_model_is_shown_and_changed_and_stays(near: ModelServer) -> None:
    with terminal("chat", "--plain") as screen:
        screen.see(PROMPT)
        say(screen, "hello", HELLO)
        say(screen, "/model", "Model: near/one")
        say(screen, "/model near/two:low", "Model: near/two:low")
        say(screen, "again", HELLO)
        assert near.requests[-1][1]["model"] == "two"
        say(screen, "/model nobody/x", "patina: There is no provider named nobody.")
        say(screen, "/model", "Model: near/two")
        shown = say(screen, "/new", "A new conversation.")
        assert "To go on: patina chat -s " in shown
        say(screen, "once more", HELLO)
        assert near.requests[-1][1]["model"] == "two"
        assert len(near.requests[-1][1]["messages"]) == 2
        screen.type("/quit\n")
        assert screen.end() == 0
    assert len(transcripts()) == 2
    with terminal("chat", "-c") as screen:
        screen.see("Patina · near/two · /help")
        say(screen, "and now", HELLO)
        assert near.requests[-1][1]["model"] == "two"


def test_tools_are_listed_and_a_person_is_asked(near: ModelServer) -> None:  # C-17, C-18
    assert in_process("mcp", "add", "demo", "--", *DEMO) == 0
    with terminal("chat", "--plain") as screen:
        screen.see(PROMPT)
        listing = say(screen, "/tools", "demo.word_count")
        assert "WHAT IT SAYS IT DOES" in listing
        assert "demo.echo" in listing
        screen.type('call demo__echo {"text": "from the chat"}\n')
        asked = screen.see("[D] Deny")
        assert "Allow tool?" in asked
        assert '"text": "from the chat"' in asked
        assert "[S] Allow for session" in asked
        screen.type("s")
        screen.see("Using demo.echo...")
        screen.see("demo.echo completed ✓")
        screen.see("The tool said: from the chat")
        screen.see(PROMPT)
        # For this session: it is not asked again.
        say(screen, 'call demo__echo {"text": "again"}', "The tool said: again")
        # Another one is; Ctrl+C at the question ends the answer only.
        screen.type('call demo__word_count {"text": "a b"}\n')
        screen.see("[D] Deny")
        screen.press_until(CTRL_C, f"\r\n{PROMPT}")
        say(screen, "hello", HELLO)
        screen.type('call demo__word_count {"text": "a b"}\n')
        screen.see("[D] Deny")
        screen.type("d")
        screen.see("Why?")
        screen.type("\n")
        screen.see("demo.word_count denied")
        screen.see(PROMPT)
        screen.type(CTRL_D)
        assert screen.end() == 0


def test_a_server_that_nobody_allowed_is_asked_about_once(near: ModelServer) -> None:
    text = (home() / "config.toml").read_text()
    command = f"command = {json.dumps(DEMO[0])}\nargs = {json.dumps(DEMO[1:])}\n"
    (home() / "config.toml").write_text(f"{text}[mcp_servers.new]\n{command}")
    with terminal("chat") as screen:
        screen.see(PROMPT)
        screen.type("hello\n")
        screen.see("Allow it to start? [y/N]")
        screen.type("n\n")
        screen.see("Left out the MCP server new")
        screen.see(HELLO)
        screen.see(PROMPT)
        shown = say(screen, "again", HELLO)
        assert "new" not in shown
        screen.type(CTRL_D)
        assert screen.end() == 0


def test_neither_the_prompt_nor_leaving_waits_for_servers(near: ModelServer) -> None:  # C-07
    assert in_process("mcp", "add", "silent", "--", sys.executable, str(ODD), "silent") == 0
    began = time.monotonic()
    with terminal("chat") as screen:
        screen.see("Patina · ")
        screen.see(PROMPT)
        # The message waits for the tools, which would take 10 s; one does not have to.
        screen.type("hello\n")
        screen.see("hello\r\n")
        screen.press_until(CTRL_C, f"\r\n{PROMPT}")
        screen.type(CTRL_D)
        assert screen.end() == 0
    assert time.monotonic() - began < 9
    assert near.requests == []


def test_servers_that_fail_are_told_once(near: ModelServer) -> None:  # P-10
    assert in_process("mcp", "add", "bad", "--", sys.executable, str(ODD), "exits") == 0
    assert in_process("mcp", "add", "good", "--", *DEMO) == 0
    with terminal("chat") as screen:
        screen.see(PROMPT)
        screen.type("hello\n")
        shown = screen.see(HELLO)
        assert "Left out the MCP server bad: " in shown
        assert "exited with code 3" in shown
        tools = near.requests[-1][1]["tools"]
        assert {tool["function"]["name"].partition("__")[0] for tool in tools} == {"good"}
        screen.see(PROMPT)
        assert "Left out" not in say(screen, "again", HELLO)
        screen.type("/tools\n")
        screen.see("good.word_count")
        screen.see("bad: Server bad did not start")
        screen.see(PROMPT)
        screen.type(CTRL_D)
        assert screen.end() == 0


def test_going_on_shows_the_end(near: ModelServer, capsys: Capture) -> None:
    for text in ("say one", "say two \x1b[2J\u202eevil", "say three"):
        assert patina("ask", text, *(["-c"] if text != "say one" else [])).returncode == 0
    assert patina("ask", "say other").returncode == 0
    other, first = sorted(transcripts(), reverse=True)
    with terminal("chat", "-s", first[:30]) as screen:
        shown = screen.see("near/one: three")
        assert "you: say two" in shown
        assert "near/one: two [2Jevil" in shown
        assert "\x1b[2J" not in screen.shown
        screen.see(PROMPT)
        screen.type(CTRL_D)
        screen.see(first)
        assert screen.end() == 0
    with terminal("chat", "-c") as screen:
        screen.see("near/one: other")
        screen.see(PROMPT)
        screen.type(CTRL_D)
        screen.see(other)
    with terminal("chat", "-r") as screen:
        screen.see("1  20")
        screen.see("Which? [1] ")
        screen.type("x\n")
        screen.see("Type a number from 1 to 2.")
        screen.type("2\n")
        screen.see("near/one: three")
        screen.see(PROMPT)
        screen.type("say four\n")
        screen.see("four")
    with terminal("chat", "-r") as screen:
        screen.see("Which? [1] ")
        screen.type(CTRL_D)
        assert screen.end() == 2


def test_a_failed_answer_is_told_and_the_chat_goes_on(near: ModelServer) -> None:
    with terminal("chat") as screen:
        screen.see(PROMPT)
        say(screen, "status 401", "patina: ")
        say(screen, "hello", HELLO)
        screen.type(CTRL_D)
        assert screen.end() == 0
        assert "Traceback" not in screen.shown


def test_hostile_text_steers_no_terminal(near: ModelServer) -> None:
    with terminal("chat", variables={"TERM": "dumb"}) as screen:
        screen.see(PROMPT)
        assert say(screen, "evil", "shown").endswith("[2Jshown")
        screen.type(CTRL_D)
        assert screen.end() == 0
        assert not set(screen.shown) & set("\x1b\x07\u202e")


def test_from_a_pipe_there_are_answers_only(near: ModelServer) -> None:
    done = patina(
        "chat", "--plain", stdin="say one\n/nothing\nsay \\\ntwo\n\n/model near/two\nhello"
    )
    assert done.stdout == f"one\n\ntwo\n{HELLO}\n"
    assert done.returncode == 0
    assert "There is no command /nothing." in done.stderr
    assert "To go on: patina chat -s " in done.stderr
    assert PROMPT not in done.stdout
    failed = patina("chat", stdin="status 401\nhello\n")
    assert (failed.returncode, failed.stdout) == (3, f"{HELLO}\n")
    assert patina("chat", stdin="").returncode == 0
    assert "Patina · near/one" in patina("chat", stdin="").stderr


def test_a_tool_without_a_person_ends_the_answer_and_names_the_flag(near: ModelServer) -> None:
    assert in_process("mcp", "add", "demo", "--", *DEMO) == 0
    call = 'call demo__echo {"text": "hi"}\n'
    done = patina("chat", stdin=f"{call}hello\n")
    assert done.returncode == 4
    assert "--approve demo.echo" in done.stderr
    assert done.stdout.endswith(f"{HELLO}\n")
    allowed = patina("chat", "--approve", "reads", stdin=call)
    assert (allowed.returncode, allowed.stdout) == (0, "The tool said: hi\n")


def test_without_a_model_the_demo_answers_and_says_so() -> None:
    with terminal("chat") as screen:
        screen.see("Until then the built-in demo answers: a stand-in, not a model.")
        screen.see("Patina · demo/demo · /help")
        screen.see(PROMPT)
        say(screen, "hello there", '"Hello"\r\n```')
        say(screen, "/model", "Model: demo/demo")
        say(screen, "/new", "A new conversation.")
        say(screen, "hello again", '"Hello"\r\n```')
        screen.type(CTRL_D)
        assert screen.end() == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-c", "-r"), "only one"),
        (("-s", "01ff"), "no conversation whose id starts with '01ff'"),
        (("-m", "nobody/x"), "no provider named nobody"),
        (("--approve", "maybe"), "--approve maybe is not understood"),
        (("--plane",), "no option --plane"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], says: str) -> None:
    done = patina("chat", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_conversation_whose_model_is_gone_keeps_it(near: ModelServer) -> None:
    assert patina("ask", "hello").returncode == 0
    config = home() / "config.toml"
    config.write_text(config.read_text().replace("near", "far"))
    with terminal("chat", "-c") as screen:
        screen.see("There is no provider named near.")
        screen.see("/model PROVIDER/MODEL")
        screen.see(PROMPT)
        say(screen, "/model far/two", "Model: far/two")
        say(screen, "hello", HELLO)
        screen.type(CTRL_D)
        assert screen.end() == 0
    assert len(transcripts()) == 1


def test_chat_without_words_in_a_terminal(near: ModelServer) -> None:
    with terminal() as screen:
        screen.see("Patina · near/one")
        screen.see(PROMPT)
        screen.type(CTRL_D)
        assert screen.end() == 0
    assert not home().joinpath("data").exists()


def test_a_chat_that_is_too_long_is_summarised(near: ModelServer) -> None:
    config = home() / "config.toml"
    config.write_text(f"{config.read_text()}[providers.near.models.one]\ncontext_window = 4096\n")
    assert patina("ask", "say " + "many words " * 800).returncode == 0
    with terminal("chat", "-c") as screen:
        screen.see(PROMPT)
        screen.type("hello\n")
        screen.see("Summarise the older messages and try again? [y/N] ")
        screen.type("\n")
        screen.see("patina: The conversation is too long")
        screen.see(PROMPT)
        say(screen, "/summarise", "The older messages are summarised.")
        say(screen, "/retry", HELLO)
        say(screen, "/retry", "patina: There is nothing to try again")
        say(screen, "/new", "A new conversation.")
        say(screen, "/summarise", "This conversation has no messages yet.")
        screen.type(CTRL_D)
        assert screen.end() == 0
    ((_, items),) = transcripts().items()
    assert [item["covers"] is not None for item in items if "covers" in item] == [True]
    asked = [message["content"] for message in near.requests[-1][1]["messages"][1:]]
    assert asked[-1] == "hello"
    assert len(asked) == 2
