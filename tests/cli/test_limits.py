"""`patina limits`, and what limits do to `patina ask` (M-15, M-20)."""

import json
import os
from collections.abc import Iterator
from decimal import Decimal

import pytest
from tests.cli.model_server import HELLO, ModelServer, model_server
from tests.cli.support import home, in_process, patina
from tests.cli.terminal import terminal

Capture = pytest.CaptureFixture[str]
PRICE = '[providers.near.models.one.price]\ninput = "1000"\noutput = "2000"\n'


def configure(server: ModelServer, more: str = PRICE) -> None:
    home().mkdir(parents=True, exist_ok=True)
    (home() / "config.toml").write_text(
        'default_model = "near/one"\n[chat]\ntitles = "off"\n'
        f'[providers.near]\nkind = "openai_compatible"\nbase_url = "{server.url}"\n{more}'
    )


@pytest.fixture
def near() -> Iterator[ModelServer]:
    """A provider whose model costs a tenth of a cent for each token, and two for each it writes."""
    with model_server() as server:
        configure(server)
        yield server


def asked(server: ModelServer) -> int:
    """How many questions arrived there."""
    return sum(bool(body) for _, body in server.requests)


@pytest.mark.parametrize(
    ("limit", "key"),
    [
        ("daily", "billing.daily_limit"),
        ("monthly", "billing.monthly_limit"),
        ("request", "billing.request_limit"),
        ("turn", "billing.turn_limit"),
        ("conversation", "billing.conversation_limit"),
        ("model:openai/gpt-5.2", 'billing.per_model_limits."openai/gpt-5.2"'),
        ("provider:openai", "billing.per_provider_limits.openai"),
    ],
)
def test_a_limit_is_set_shown_and_cleared(limit: str, key: str, capsys: Capture) -> None:
    assert in_process("limits", "set", limit, "0.25") == 0
    assert in_process("config", "get", key) == 0
    assert capsys.readouterr().out == "0.25\n"
    assert in_process("limits", "show", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["limit"], row["amount"]) == (limit, "0.25")
    assert in_process("limits", "set", limit, "$6") == 0
    assert in_process("limits", "show") == 0
    assert capsys.readouterr().out.split("\t")[:2] == [limit, "6.00"]
    assert in_process("limits", "clear", limit) == 0
    assert in_process("limits", "show", "--json") == 0
    assert capsys.readouterr().out == "[]\n"
    assert in_process("limits", "clear", limit) == 2
    assert f"There is no {limit} limit in config.toml." in capsys.readouterr().err


@pytest.mark.parametrize("amount", ["", "five", "-1", "5,00", "1e3", "NaN", "inf", "5 USD", "٣"])
def test_what_is_no_amount_is_refused(amount: str, capsys: Capture) -> None:
    assert in_process("limits", "set", "daily", "--", amount) == 2
    assert f"{amount} is not an amount." in capsys.readouterr().err
    assert not (home() / "config.toml").exists()


@pytest.mark.parametrize("limit", ["weekly", "model:", "provider:", "daily:x", "budget", ""])
def test_what_is_no_limit_is_refused(limit: str, capsys: Capture) -> None:
    assert in_process("limits", "set", limit, "5") == 2
    assert limit in capsys.readouterr().err
    assert not (home() / "config.toml").exists()


def test_a_model_is_named_with_its_provider(capsys: Capture) -> None:
    assert in_process("limits", "set", "model:gpt", "5") == 2
    assert "model:gpt names no model." in capsys.readouterr().err


def test_nothing_is_set_at_first(capsys: Capture) -> None:
    assert in_process("limits", "show") == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "No limits are set: `patina limits set daily 5` sets one.\n"
    assert not (home() / "state" / "holds.db").exists()


def test_comments_of_the_file_stay() -> None:
    home().mkdir(parents=True)
    (home() / "config.toml").write_text("# mine\n[billing]\ndaily_limit = '5'  # a coffee\n")
    assert in_process("limits", "set", "daily", "6") == 0
    assert (home() / "config.toml").read_text() == (
        '# mine\n[billing]\ndaily_limit = "6.00"  # a coffee\n'
    )


def test_a_limit_stops_what_could_pass_it_and_is_named(near: ModelServer) -> None:
    assert patina("limits", "set", "daily", "17").returncode == 0
    first = patina("ask", "hello", "--json")
    assert first.returncode == 0, first.stderr
    cost = json.loads(first.stdout)["cost"]
    assert (cost["currency"], cost["source"], cost["estimated"]) == ("USD", "settings", True)
    shown = json.loads(patina("limits", "show", "--json").stdout)
    assert [Decimal(row["spent"]) for row in shown] == [Decimal(cost["amount"])]
    assert patina("limits", "set", "daily", "16.70").returncode == 0
    stopped = patina("ask", "hello again")
    assert stopped.returncode == 5
    assert stopped.stdout == ""
    assert "the daily limit of $16.70" in stopped.stderr
    assert "patina limits set daily 17" in stopped.stderr
    assert asked(near) == 1
    # The hint is the command that lets it pass, also after all of Patina was ended.
    assert patina("limits", "set", "daily", "17").returncode == 0
    assert patina("ask", "hello again").returncode == 0
    # A conversation that is deleted leaves its money behind.
    sessions = json.loads(patina("sessions", "list", "--json").stdout)
    erased = patina("sessions", "erase", *(one["session_id"] for one in sessions), "--yes")
    assert erased.returncode == 0, erased.stderr
    after = json.loads(patina("limits", "show", "--json").stdout)
    assert Decimal(after[0]["spent"]) >= 2 * Decimal(cost["amount"])


def test_a_stopped_run_is_a_whole_object(near: ModelServer) -> None:
    patina("limits", "set", "request", "1")
    stopped = patina("ask", "hello", "--json")
    assert stopped.returncode == 5
    result = json.loads(stopped.stdout)
    assert result["error"]["kind"] == "limit"
    assert "the limit per request of $1.00" in result["error"]["message"]
    assert "patina limits set request" in result["error"]["hint"]
    assert result["cost"] is None
    assert asked(near) == 0


def test_the_budget_of_a_run(near: ModelServer) -> None:
    stopped = patina("ask", "hello", "--budget", "1")
    assert stopped.returncode == 5
    assert "the budget of $1.00 for this run" in stopped.stderr
    assert "--budget" in stopped.stderr
    assert asked(near) == 0
    enough = patina("ask", "hello", "--budget", "17")
    assert (enough.returncode, enough.stdout) == (0, f"{HELLO}\n")
    small = patina("ask", "hello", "--budget", "0.50", "--max-tokens", "10")
    assert small.returncode == 0, small.stderr
    wrong = patina("ask", "hello", "--budget", "lots")
    assert wrong.returncode == 2
    assert "lots is not an amount." in wrong.stderr
    assert asked(near) == 2


def test_an_estimate_sends_nothing(near: ModelServer) -> None:
    shown = patina("ask", "hello", "--estimate")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("near/one: about $1.21, at most $16.")
    assert shown.stdout.endswith(" tokens in, up to 8,192 out)\n")
    cheap = patina("ask", "hello", "--estimate", "--max-tokens", "2", "--json")
    result = json.loads(cheap.stdout)
    assert set(result) == {"provider", "model", "usage", "cost", "most", "limit", "error"}
    assert result["usage"]["max_output_tokens"] == 2
    assert result["cost"]["estimated"] is True
    assert Decimal(result["cost"]["amount"]) < Decimal(result["most"]["amount"]) < 1
    assert (result["limit"], result["error"]) == (None, None)
    assert near.requests == []
    assert not list(home().glob("data/transcripts/**/*.jsonl"))
    assert not (home() / "data/usage").exists()


def test_an_estimate_says_which_limit_would_stop_it(near: ModelServer) -> None:
    patina("limits", "set", "daily", "5")
    shown = patina("ask", "hello", "--estimate")
    assert shown.returncode == 5
    assert "It would not be sent: it could pass the daily limit of $5.00." in shown.stderr
    result = json.loads(patina("ask", "hello", "--estimate", "--json").stdout)
    assert (result["limit"], result["error"]["kind"]) == ("daily", "limit")
    assert near.requests == []


def test_a_long_conversation_is_estimated_with_all_it_holds(near: ModelServer) -> None:
    first = json.loads(patina("ask", f"say {'word ' * 400}", "--json").stdout)
    alone = json.loads(patina("ask", "hello", "--estimate", "--json").stdout)
    after = patina("ask", "-s", first["session_id"], "hello", "--estimate", "--json")
    assert json.loads(after.stdout)["usage"]["input_tokens"] > 900
    assert alone["usage"]["input_tokens"] < 50


def test_a_warning_is_told_once(near: ModelServer) -> None:
    patina("limits", "set", "daily", "20")
    patina("config", "set", "billing.warn_at", "0.001")
    told = [patina("ask", "hello").stderr for _ in range(3)]
    assert [text.count("the daily limit of $20.00 is spent") for text in told] == [1, 0, 0]


def test_without_a_price_a_script_is_refused_where_a_limit_applies(near: ModelServer) -> None:
    configure(near, "")
    free = patina("ask", "hello", "--json")
    assert free.returncode == 0, free.stderr
    assert json.loads(free.stdout)["cost"] is None
    patina("limits", "set", "daily", "5")
    refused = patina("ask", "hello")
    assert refused.returncode == 5
    assert "Nobody knows what near/one costs" in refused.stderr
    assert "patina config set billing.on_unknown_price allow" in refused.stderr
    assert asked(near) == 1
    assert "price unknown" in patina("ask", "hello", "--estimate").stdout
    patina("config", "set", "billing.on_unknown_price", "allow")
    assert patina("ask", "hello").returncode == 0
    row = json.loads(patina("limits", "show", "--json").stdout)[0]
    assert (row["spent"], row["unknown"]) == ("0", 2)
    patina("config", "set", "billing.on_unknown_price", "refuse")
    assert patina("ask", "hello").returncode == 5
    assert patina("ask", "hello", "--budget", "5").returncode == 5
    assert asked(near) == 2


def test_what_is_local_is_under_no_limit(near: ModelServer) -> None:
    configure(near, "local = true\n")
    patina("limits", "set", "daily", "0")
    result = json.loads(patina("ask", "hello", "--json").stdout)
    assert (
        result["cost"]
        == {
            "amount": "0",
            "currency": "USD",
            "source": "local",
            "estimated": False,
        }
        or result["cost"]["amount"] == "0"
    )
    assert "$0.00 (local)" in patina("ask", "hello", "--estimate").stdout


def test_the_doctor_says_how_far_limits_are_used(near: ModelServer, capsys: Capture) -> None:
    assert in_process("doctor", "--offline", "--json") == 0
    found = {one["subject"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["spending"]["text"] == "this month: no requests"
    assert found["spending"]["hint"] == "No limit is set: `patina limits set daily 5` sets one."
    patina("ask", "hello")
    in_process("limits", "set", "daily", "0.02")
    assert in_process("doctor", "--offline", "--json") == 0
    found = {one["subject"]: one for one in json.loads(capsys.readouterr().out)}
    assert found["spending"]["text"] == "this month: about $0.03 (1 request)"
    assert found["limit"]["status"] == "warning"
    assert found["limit"]["text"].startswith("daily limit: $0.03 of $0.02 (")


def test_a_conversation_is_shown_with_what_it_cost(near: ModelServer) -> None:
    session = json.loads(patina("ask", "hello", "--json").stdout)["session_id"]
    assert "── near/one · about $0.03 · " in patina("sessions", "show", session).stdout
    shown = json.loads(patina("sessions", "show", session, "--json").stdout)
    assert (shown["cost"]["amount"], shown["cost"]["requests"]) == ("0.027", 1)
    assert shown["messages"][1]["cost"]["amount"] == "0.027"


def test_the_price_is_asked_about_at_a_terminal(near: ModelServer) -> None:
    configure(near, "")
    patina("limits", "set", "daily", "5")
    with terminal("ask", "hello") as screen:
        screen.see("Send it all the same?")
        screen.see("Send once")
        screen.type("d")
        screen.see("Nobody knows what near/one costs")
        assert screen.end() == 5
    assert asked(near) == 0
    with terminal("ask", "hello") as screen:
        screen.see("Send once")
        screen.type("a")
        screen.see(HELLO)
        assert screen.end() == 0
    assert asked(near) == 1


def test_limits_in_a_terminal(near: ModelServer) -> None:
    patina("limits", "set", "daily", "17")
    patina("limits", "set", "turn", "2")
    with terminal("limits", "show", variables={**os.environ, "NO_COLOR": "1"}) as screen:
        assert screen.end() == 0
    assert "----------  daily limit: $0.00 of $17.00 (0%)\r\n" in screen.shown
    assert "limit of one message: $2.00" in screen.shown
    assert "A model without a price: you are asked." in screen.shown
