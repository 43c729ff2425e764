"""Money in `patina chat`, in a real terminal: costs, limits, and going on (M-19, M-20)."""

import json
import re
import sys
from collections.abc import Iterator

import pytest
from tests.cli.model_server import HELLO, ModelServer, model_server
from tests.cli.support import patina
from tests.cli.terminal import CTRL_C, Terminal, terminal
from tests.cli.test_limits import PRICE, asked, configure

pytest.importorskip("pty")
PROMPT = "> "
OFFER = "Enter leaves it: "


@pytest.fixture
def near() -> Iterator[ModelServer]:
    """A provider whose model costs a tenth of a cent for each token, and two for each it writes."""
    with model_server() as server:
        configure(server)
        yield server


def say(screen: Terminal, text: str, answer: str) -> str:
    """Type a line; what was printed up to the next prompt, which comes after `answer`."""
    screen.type(f"{text}\n")
    screen.see(f"{text}\r\n")
    shown = screen.see(answer)
    return shown + screen.see(f"\r\n{PROMPT}")


def leave(screen: Terminal) -> None:
    screen.type("/quit\n")
    assert screen.end() == 0
    assert "Traceback" not in screen.shown


def test_each_message_is_quoted_and_each_answer_has_its_cost(near: ModelServer) -> None:
    with terminal("chat") as screen:
        screen.see(PROMPT)
        shown = say(screen, "hello", "today: ")
        assert "about $1.21, at most $16." in shown.partition(HELLO)[0]
        assert "This answer: about $0.03 · conversation: about $0.03 · today: about $0.03" in shown
        shown = say(screen, "again", "today: ")
        assert "conversation: about $0.07 · today: about $0.07" in shown
        leave(screen)


def test_what_is_cheap_is_not_quoted_and_what_is_local_not_counted(near: ModelServer) -> None:
    configure(near, PRICE.replace("1000", "1").replace("2000", "2"))
    with terminal("chat") as screen:
        screen.see(PROMPT)
        shown = say(screen, "hello", "today: ")
        assert "at most" not in shown
        assert "This answer: less than $0.01 · conversation: less than $0.01" in shown
        leave(screen)
    configure(near, "local = true\n")
    with terminal("chat") as screen:
        screen.see(PROMPT)
        assert "This answer" not in say(screen, "hello", HELLO)
        leave(screen)


def test_what_cost_says(near: ModelServer) -> None:
    with terminal("chat") as screen:
        screen.see(PROMPT)
        shown = say(screen, "/cost", "compares what it would cost with other models.")
        assert "Today: no requests" in shown
        assert "This conversation" not in shown
        assert "The next message to near/one: about $1.2" in shown
        say(screen, "hello", "today: ")
        shown = say(screen, "/cost", "compares what it would cost with other models.")
        assert "The newest answer: about $0.03" in shown
        assert "This conversation: about $0.03 (1 request)" in shown
        assert "This month: about $0.03 (1 request)" in shown
        assert "how many the model takes is not known" in shown
        shown = say(screen, "/cost models near", "near/two")
        assert "near/one  about $1.2" in shown
        assert "near/two  price unknown" in shown
        say(screen, "/cost models nothing", "No model is called so.")
        say(screen, "/cost nothing", "/cost does not know nothing.")
        say(screen, "/usage --by model", "near/one")
        say(screen, "/usage --nonsense", "patina: ")
        leave(screen)
    assert asked(near) == 1


def test_what_a_server_adds_to_every_request(near: ModelServer) -> None:
    added = patina("mcp", "add", "notes", "--", sys.executable, "-m", "patina.mcp.demo_server")
    assert added.returncode == 0, added.stderr
    tool = json.loads(patina("mcp", "tools", "notes", "--json").stdout)[0]["tool"]
    with terminal("chat", "--approve", "all") as screen:
        screen.see(PROMPT)
        shown = say(screen, "/cost", "with every request")
        assert re.search(r"notes: tools \d+ tokens \(\$0\.\d\d\) with every request", shown)
        say(screen, f"call notes__{tool} {{}}", "today: ")
        shown = say(screen, "/cost", "with every request")
        assert re.search(r"notes: tools \d+ tokens \(\$\d\.\d\d\), results \d+ tokens", shown)
        leave(screen)


def test_a_known_window_has_a_meter(near: ModelServer) -> None:
    configure(near, f"[providers.near.models.one]\ncontext_window = 1000\n{PRICE}")
    with terminal("chat") as screen:
        screen.see(PROMPT)
        shown = say(screen, "/cost", "other models.")
        assert "Context: █░░░░░░░░░ " in shown
        assert " of 1,000 tokens (" in shown
        leave(screen)


def test_at_a_limit_it_is_raised_in_one_step_and_the_message_sent_again(near: ModelServer) -> None:
    patina("limits", "set", "daily", "5")
    with terminal("chat") as screen:
        screen.see(PROMPT)
        screen.type("hello\n")
        shown = screen.see(OFFER)
        assert "the daily limit of $5.00" in shown
        assert shown.count("daily limit of $5.00") == 1  # the refusal, and no alert beside it
        assert "[R] Raise the daily limit to $17.00 and send again" in shown
        screen.type("\n")
        screen.see(PROMPT)
        assert asked(near) == 0
        screen.type("/retry\n")
        screen.see(OFFER)
        screen.press_until(CTRL_C, PROMPT)
        assert asked(near) == 0
        screen.type("/retry\n")
        screen.see(OFFER)
        screen.type("r\n")
        screen.see(HELLO)
        screen.see(PROMPT)
        say(screen, "/limits", "daily limit: $0.03 of $17.00 (0%)")
        leave(screen)
    assert asked(near) == 1
    # It is the setting that was raised, so it holds after a restart, and so does what was spent.
    assert json.loads(patina("limits", "show", "--json").stdout)[0]["amount"] == "17.00"
    with terminal("chat", "-c") as screen:
        screen.see(PROMPT)
        say(screen, "/limits", "daily limit: $0.03 of $17.00 (0%)")
        screen.type("slow 300\n")
        screen.see("today: ")
        screen.see(PROMPT)
        screen.type("hello\n")
        screen.see("[R] Raise the daily limit to $")
        leave_after = screen.see(OFFER)
        assert "send again" in leave_after
        screen.type("no\n")
        screen.see(PROMPT)
        leave(screen)
    assert asked(near) == 2


def test_each_limit_can_be_raised(near: ModelServer) -> None:
    for word in ("request", "turn", "conversation", "model:near/one", "provider:near"):
        assert patina("limits", "set", word, "1").returncode == 0
    with terminal("chat") as screen:
        screen.see(PROMPT)
        screen.type("hello\n")
        for _ in range(5):
            screen.see(OFFER)
            screen.type("R\n")
        screen.see(HELLO)
        screen.see(PROMPT)
        leave(screen)
    rows = json.loads(patina("limits", "show", "--json").stdout)
    assert {row["amount"] for row in rows} == {"17.00"}


def test_limits_are_changed_from_the_chat(near: ModelServer) -> None:
    with terminal("chat") as screen:
        screen.see(PROMPT)
        say(screen, "/limits", "No limits are set: /limits set daily 5 sets one.")
        say(screen, "/limits set daily 5", "daily limit: $0.00 of $5.00 (0%)")
        screen.type("hello\n")
        screen.see(OFFER)
        screen.type("\n")
        screen.see(PROMPT)
        say(screen, "/limits set weekly 5", "There is no limit called weekly.")
        say(screen, "/limits set daily much", "much is not an amount.")
        say(screen, "/limits nonsense", "/limits does not know nonsense.")
        leave(screen)
    assert asked(near) == 0


def test_the_budget_of_a_chat(near: ModelServer) -> None:
    with terminal("chat", "--budget", "16.80") as screen:
        screen.see(PROMPT)
        say(screen, "slow 40", "today: ")
        screen.type("hello\n")
        screen.see("the budget of $16.80 for this run")
        shown = screen.see(PROMPT)
        assert OFFER not in shown  # it is no setting that could be raised
        leave(screen)
    assert asked(near) == 1


def test_a_warning_is_one_line_and_told_once(near: ModelServer) -> None:
    patina("limits", "set", "daily", "20")
    patina("config", "set", "billing.warn_at", "0.001")
    warning = "of the daily limit of $20.00 is spent."
    with terminal("chat") as screen:
        screen.see(PROMPT)
        screen.type("hello\n")
        screen.see(warning)
        screen.see(PROMPT)
        say(screen, "hello", "today: ")
        leave(screen)
        assert screen.shown.count(warning) == 1
    with terminal("chat") as screen:
        screen.see(PROMPT)
        say(screen, "hello", "today: ")
        leave(screen)
        assert warning not in screen.shown


def test_a_price_that_nobody_knows_is_asked_about_once_for_a_conversation(
    near: ModelServer,
) -> None:
    configure(near, "")
    patina("limits", "set", "daily", "5")
    with terminal("chat") as screen:
        screen.see(PROMPT)
        screen.type("hello\n")
        screen.see("Do not send")
        screen.type("d")
        screen.see("Nobody knows what near/one costs")
        screen.see(PROMPT)
        assert asked(near) == 0
        screen.type("/retry\n")
        screen.see("Always in this conversation")
        screen.type("s")
        screen.see(HELLO)
        screen.see(PROMPT)
        assert "Send it" not in say(screen, "hello", HELLO)
        leave(screen)
    with terminal("chat", "-c") as screen:
        screen.see(PROMPT)
        assert "Send it" not in say(screen, "hello", HELLO)
        leave(screen)
    assert asked(near) == 3


def test_the_running_cost_stands_between_the_lines_of_an_answer(near: ModelServer) -> None:
    with terminal("ask", "lines 60") as screen:
        screen.see("line3\r\n")
        screen.see(" so far")
        assert screen.end() == 0
    # Whatever is shown of it is gone before the next words.
    for piece in screen.shown.split("so far")[1:]:
        assert piece.startswith(("\x1b[K\r\x1b[K", "\x1b[K\rabout $"))


def test_nothing_of_it_is_in_the_output_of_a_pipe(near: ModelServer) -> None:
    piped = patina("chat", "--plain", stdin="hello\nsay bye\n")
    assert piped.returncode == 0, piped.stderr
    assert piped.stdout == f"{HELLO}\nbye\n"
    asked_once = patina("ask", "lines 40")
    assert "so far" not in asked_once.stdout + asked_once.stderr
