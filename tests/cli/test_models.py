"""`patina models`: what can be used now, and who does not answer."""

import json
import socket
from datetime import datetime, timedelta

import pytest
from tests.cli.model_server import model_server
from tests.cli.support import home, in_process, patina
from tests.cli.terminal import terminal

Capture = pytest.CaptureFixture[str]


def free_port() -> int:
    """A port where nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def configure(**addresses: str) -> None:
    """OpenAI-compatible providers by name."""
    home().mkdir(parents=True, exist_ok=True)
    text = "".join(
        f'[providers.{name}]\nkind = "openai_compatible"\nbase_url = "{url}"\n'
        for name, url in addresses.items()
    )
    (home() / "config.toml").write_text(text)


def models(capsys: Capture, *arguments: str) -> tuple[int, list[str], str]:
    """Exit code, models, and what was said on stderr."""
    capsys.readouterr()
    code = in_process("models", *arguments, "--json")
    said = capsys.readouterr()
    found = json.loads(said.out)
    return code, [row["model"] for row in found] if code == 0 else found, said.err


def test_models_of_all_providers_are_listed_and_narrowed(capsys: Capture) -> None:
    with (
        model_server(models=("gpt-5.2", "near/odd:name")) as one,
        model_server(models=("other", "GPT-x")) as two,
    ):
        configure(near=one.url, far=two.url)
        every = ["near/gpt-5.2", "near/near/odd:name", "far/other", "far/GPT-x", "demo/demo"]
        assert models(capsys) == (0, every, "")
        assert models(capsys, "gpt") == (0, ["near/gpt-5.2", "far/GPT-x"], "")
        assert models(capsys, "far/") == (0, ["far/other", "far/GPT-x"], "")
        assert models(capsys, "zzz") == (0, [], "")
        assert in_process("models", "zzz") == 0
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("No model matches.")
        assert in_process("models", "far") == 0
        assert capsys.readouterr().out == "far/other\t\t\t\t\t\nfar/GPT-x\t\t\t\t\t\n"
        # All words have to be found, in any order.
        assert models(capsys, "GPT", "near") == (0, ["near/gpt-5.2"], "")
        assert models(capsys, "x FAR") == (0, ["far/GPT-x"], "")


def test_what_is_known_of_a_model_is_shown(capsys: Capture) -> None:  # M-02
    with model_server(models=("one", "openai/gpt-4o")) as server:
        configure(near=server.url)
        with (home() / "config.toml").open("a") as file:
            file.write(
                "[providers.near.models.one]\ncontext_window = 1234\nmax_output = 99\n"
                'tools = false\nprice = { input = "1.50", output = "10" }\n'
            )
        assert in_process("models", "near/", "--json") == 0
        one, other = json.loads(capsys.readouterr().out)
        assert one.pop("fetched").startswith("20")
        assert one == {
            "model": "near/one",
            "provider": "near",
            "context_window": 1234,
            "max_output": 99,
            "title": "",
            "images": None,
            "files": None,
            "tools": False,
            "thinking": None,
            "price": {"input": "1.50", "output": "10", "cache_read": None, "cache_write": None},
            "tiers": [],
            "per_request": None,
            "services": [],
            "price_source": "settings",
            "price_date": None,
            "source": "settings",
        }
        # Whoever speaks OpenAI's protocol need not have OpenAI's prices.
        assert (other["price"], other["source"], other["images"]) == (None, "endpoint", True)
        assert in_process("models", "near/") == 0
        assert capsys.readouterr().out == (
            "near/one\t1234\t1.50 / 10\t\t\tsettings\n"
            "near/openai/gpt-4o\t\t\t\timages, files, tools\t\n"
        )


def test_lists_are_kept_for_a_day(capsys: Capture) -> None:
    with model_server() as server:
        configure(near=server.url)
        for arguments, asked in (((), 1), ((), 1), (("--refresh",), 2), (("--offline",), 2)):
            code, found, _ = models(capsys, "near", *arguments)
            assert (code, found, len(server.requests)) == (0, ["near/one", "near/two"], asked)
        age_lists(hours=25)
        assert models(capsys, "near")[0] == 0
        assert len(server.requests) == 3
        local = home() / "config.toml"
        local.write_text(local.read_text() + "local = true\n")
        for asked in (4, 5):
            assert models(capsys, "near") == (0, ["near/one", "near/two"], "")
            assert len(server.requests) == asked
        assert "free" in patina("models", "near/one").stdout


def test_old_lists_are_shown_with_their_date(capsys: Capture) -> None:  # M-28
    with model_server() as server:
        configure(near=server.url)
        assert models(capsys, "near")[0] == 0
    date = age_lists(hours=48)
    code, found, said = models(capsys, "near")
    assert (code, found) == (0, ["near/one", "near/two"])
    assert "refused" in said
    assert f"The models of near are as of {date}." in said
    code, found, said = models(capsys, "near", "--refresh")
    assert (code, len(found), date in said) == (0, 2, True)
    code, found, said = models(capsys, "near", "--offline")
    assert (code, found) == (0, ["near/one", "near/two"])
    assert said == f"patina: The models of near are as of {date}.\n"


def test_models_of_a_provider_that_was_never_reached(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:  # M-28
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-canary")
    assert in_process("models", "claude", "opus", "--offline", "--json") == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found
    assert {row["source"] for row in found} == {"genai-prices"}
    assert all(row["fetched"] is None and row["price"]["input"] for row in found)
    assert all(row["price_source"].startswith("genai-prices 0.") for row in found)
    assert all(row["price_date"] > "2024" for row in found)
    assert said.err == "patina: The models of anthropic are those that Patina came with.\n"


def test_prices_of_long_requests_and_of_caches(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:  # M-12
    monkeypatch.setenv("GEMINI_API_KEY", "sk-canary")
    assert in_process("models", "2.5-pro", "--offline") == 0
    said = capsys.readouterr()
    line = next(one for one in said.out.splitlines() if one.startswith("google/gemini-2.5-pro\t"))
    cost, cache, _, source = line.split("\t")[2:]
    assert cost == "1.25 / 10, over 200000: 2.5 / 15"
    assert cache == "0.125 / ?, over 200000: 0.25 / ?"
    assert source.startswith("genai-prices 0.")
    assert f"Prices are those of {source}, as of 20" in said.err
    assert "patina models --refresh-prices" in said.err
    assert in_process("models", "2.5-pro", "--offline", "--json") == 0
    row = next(
        one
        for one in json.loads(capsys.readouterr().out)
        if one["model"] == "google/gemini-2.5-pro"
    )
    prices = {"input": "2.5", "output": "15", "cache_read": "0.25", "cache_write": None}
    assert row["tiers"] == [{"over": 200000, **prices}]
    assert "batch" in row["services"]


def test_new_prices_need_the_network(capsys: Capture) -> None:
    assert in_process("models", "demo", "--offline", "--refresh-prices") == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("patina: Patina is offline, and new prices need the network.")


def test_only_models_to_talk_with_are_those_that_patina_came_with(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:  # M-28
    for variable in ("OPENAI_API_KEY", "GEMINI_API_KEY", "MISTRAL_API_KEY"):
        monkeypatch.setenv(variable, "sk-canary")
    assert in_process("models", "--offline", "--json") == 0
    names = {row["model"] for row in json.loads(capsys.readouterr().out)}
    assert {"openai/gpt-5.2", "google/gemini-2.5-pro", "mistral/mistral-large-2512"} <= names
    odd = ("embed", "whisper", "tts", "realtime", "moderation", "google/claude", ":", "/ft")
    assert [name for name in names if any(word in name for word in odd) or name[-1] == "-"] == []


def test_a_cache_that_cannot_be_written_is_not_missed(capsys: Capture) -> None:
    with model_server() as server:
        configure(near=server.url)
        (home() / "cache").write_text("in the way")
        for asked in (1, 2):
            assert models(capsys, "near") == (0, ["near/one", "near/two"], "")
            assert len(server.requests) == asked


def age_lists(hours: int) -> str:
    """Make kept lists that much older; the date that they then have."""
    (file,) = (home() / "cache/models").glob("list-near-*.json")
    content = json.loads(file.read_text())
    then = datetime.fromisoformat(content["fetched"]) - timedelta(hours=hours)
    file.write_text(json.dumps({**content, "fetched": then.isoformat()}))
    return then.date().isoformat()


def test_a_provider_that_is_down_is_told_and_hides_no_other(capsys: Capture) -> None:
    with model_server() as server:
        configure(near=server.url, down=f"http://127.0.0.1:{free_port()}/v1")
        code, found, said = models(capsys)
        assert (code, found) == (0, ["near/one", "near/two", "demo/demo"])
        assert said.startswith("patina: down cannot be reached")
        assert len(said.splitlines()) == 2  # the sentence and its hint


def test_nobody_answers(capsys: Capture) -> None:
    configure(down=f"http://127.0.0.1:{free_port()}/v1")
    assert in_process("models", "gpt") == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("patina: down cannot be reached")
    assert in_process("models", "gpt", "--json") == 3
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "network"


@pytest.mark.parametrize(("status", "kind"), [(401, "auth"), (500, "server"), (404, "bad_request")])
def test_a_provider_that_refuses(status: int, kind: str, capsys: Capture) -> None:
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        configure(near=f"http://127.0.0.1:{server.server_port}/v1")
        assert in_process("models", "near", "--json") == 3
        server.shutdown()
        thread.join(10)
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["kind"], bool(error["message"])) == (kind, True)


def test_nothing_but_the_demo(capsys: Capture) -> None:
    assert models(capsys, "demo") == (0, ["demo/demo"], "")
    assert models(capsys, "--offline", "demo") == (0, ["demo/demo"], "")


def test_a_name_from_a_server_steers_no_terminal() -> None:
    with model_server(models=("evil\x1b[2J\u202e",)) as server:
        configure(near=server.url)
        with terminal("models") as screen:
            assert screen.end() == 0
        assert "near/evil[2J" in screen.shown
        assert "\x1b[2J" not in screen.shown
        assert "\u202e" not in screen.shown
        assert "MODEL" in screen.shown
