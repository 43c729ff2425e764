"""`patina providers`: what can be used, what is changed, and where keys go."""

import json
import sys
import tomllib
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.cli.model_server import HELLO, model_server
from tests.cli.support import home, in_process, kept_secrets, patina
from tests.cli.terminal import terminal
from tests.cli.test_local import PORTS, is_free

from patina.model.chat import ModelInfo
from patina.providers.catalog.lists import Lists

Capture = pytest.CaptureFixture[str]

CANARY = "sk-canary-0123456789"
GROQ = "https://api.groq.com"
ELSEWHERE = "https://elsewhere.example"


def listed(**variables: str) -> dict[str, dict[str, Any]]:
    """The rows of the listing by name."""
    done = patina("providers", "list", "--json", "--offline", variables=variables)
    assert done.returncode == 0, done.stderr
    assert CANARY not in done.stdout + done.stderr
    return {row["provider"]: row for row in json.loads(done.stdout)}


def file() -> dict[str, Any]:
    """The providers of the configuration file."""
    table: dict[str, Any] = tomllib.loads((home() / "config.toml").read_text())["providers"]
    return table


def origins() -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads((home() / "key_origins.json").read_text())["origins"]
    return found


def secrets() -> dict[str, str]:
    return kept_secrets()


# list


def test_what_is_configured_and_what_the_environment_has() -> None:  # M-05
    home().mkdir(parents=True)
    (home() / "config.toml").write_text(
        '[providers.lab]\nkind = "openai_compatible"\nbase_url = "http://127.0.0.1:9/v1"\n'
        'local = true\ndefault_model = "m"\n'
        '[providers.off]\nkind = "openai"\nenabled = false\n'
        '[providers.none]\nkind = "openai"\n'
        '[providers.bad]\nkind = "azure_openai"\n'
    )
    rows = listed(GROQ_API_KEY=CANARY, ANTHROPIC_API_KEY=CANARY)
    states = {name: (row["state"], row["source"], row["key"]) for name, row in rows.items()}
    assert states == {
        "lab": ("ready", "file", ""),
        "off": ("off", "file", "env:OPENAI_API_KEY"),
        "none": ("no key", "file", "env:OPENAI_API_KEY"),
        "bad": ("wrong", "file", "env:AZURE_OPENAI_API_KEY"),
        "anthropic": ("ready", "environment", "env:ANTHROPIC_API_KEY"),
        "groq": ("ready", "environment", "env:GROQ_API_KEY"),
    }
    assert rows["groq"] == {
        "provider": "groq",
        "kind": "openai_compatible",
        "title": "Groq",
        "base_url": f"{GROQ}/openai/v1",
        "key": "env:GROQ_API_KEY",
        "has_key": True,
        "local": False,
        "enabled": True,
        "default_model": "openai/gpt-oss-120b",
        "state": "ready",
        "source": "environment",
        "problem": None,
    }
    assert "has no address" in rows["bad"]["problem"]
    assert "OPENAI_API_KEY" in rows["none"]["problem"]
    text = patina("providers", "list", "--offline")
    assert text.stdout.splitlines()[0].split("\t")[:3] == [
        "lab",
        "openai_compatible",
        "http://127.0.0.1:9/v1",
    ]
    assert "bad: " in text.stderr


def test_a_kept_key_makes_a_known_provider_usable() -> None:
    patina("keys", "set", "xai", stdin=CANARY)
    row = listed()["xai"]
    assert (row["state"], row["source"], row["key"]) == ("ready", "secrets", "secret:xai")


def test_a_withheld_key_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address from a working directory gets no key from elsewhere."""
    home().mkdir(parents=True)
    monkeypatch.chdir(home().parent)
    (home().parent / ".env").write_text("OPENAI_BASE_URL=https://evil.example/v1\n")
    row = listed(OPENAI_API_KEY=CANARY)["openai"]
    assert (row["state"], row["key"]) == ("wrong", "")
    assert "withheld" in row["problem"]


def test_nothing_to_list() -> None:
    done = patina("providers", "list", "--offline")
    assert (done.returncode, done.stdout) == (0, "")
    assert "patina providers add" in done.stderr


@pytest.mark.skipif(
    not all(map(is_free, PORTS.values())), reason="something listens at the usual ports"
)
def test_what_runs_on_this_machine() -> None:
    patina("providers", "add", "llamacpp")
    with model_server(PORTS["lmstudio"], ("qwen",)):
        done = patina("providers", "list", "--json")
        rows = {row["provider"]: row for row in json.loads(done.stdout)}
        assert (rows["lmstudio"]["state"], rows["lmstudio"]["source"]) == ("running", "found")
        assert rows["lmstudio"]["default_model"] == "qwen"
        assert (rows["llamacpp"]["state"], rows["llamacpp"]["source"]) == ("not running", "file")


# add


def test_of_a_known_provider_the_name_and_the_key_are_enough() -> None:  # M-05
    done = patina("providers", "add", "groq", stdin=f"{CANARY}\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Added groq: {GROQ}/openai/v1, key secret:groq\n"
    assert file()["groq"] == {
        "kind": "openai_compatible",
        "base_url": f"{GROQ}/openai/v1",
        "api_key": "secret:groq",
    }
    assert secrets() == {"groq": CANARY}
    assert origins() == {"secret:groq": [GROQ]}
    assert listed()["groq"]["state"] == "ready"
    again = patina("providers", "add", "groq", stdin=CANARY)
    assert again.returncode == 2
    assert "patina providers edit groq" in again.stderr


def test_a_key_of_the_environment_is_referred_to() -> None:
    done = patina("providers", "add", "mistral", "--json", variables={"MISTRAL_API_KEY": CANARY})
    assert json.loads(done.stdout) == {
        "provider": "mistral",
        "kind": "openai_compatible",
        "base_url": "https://api.mistral.ai/v1",
        "api_key": "env:MISTRAL_API_KEY",
    }
    assert origins() == {"env:MISTRAL_API_KEY": ["https://api.mistral.ai"]}
    assert not (home() / "data/secrets.enc").exists()
    done = patina("providers", "add", "openai", "--key-env", "WORK_KEY", "--default-model", "m")
    assert done.stderr == "WORK_KEY is not set now.\n"
    assert file()["openai"] == {
        "kind": "openai",
        "api_key": "env:WORK_KEY",
        "default_model": "m",
    }


def test_no_key_is_asked_for_where_none_is_needed() -> None:
    assert patina("providers", "add", "ollama").returncode == 0
    assert patina("providers", "add", "lmstudio").returncode == 0
    done = patina("providers", "add", "lab", "--base-url", "https://lab.example", "--api", "chat")
    assert done.stdout == "Added lab: https://lab.example, no key\n"
    done = patina(
        "providers", "add", "far", "--base-url", "https://far.example/v1", "--key", stdin=CANARY
    )
    assert done.returncode == 0
    assert file() == {
        "ollama": {"kind": "ollama"},
        "lmstudio": {
            "kind": "openai_compatible",
            "base_url": "http://127.0.0.1:1234/v1",
            "local": True,
        },
        "lab": {"kind": "openai_compatible", "base_url": "https://lab.example", "api": "chat"},
        "far": {
            "kind": "openai_compatible",
            "base_url": "https://far.example/v1",
            "api_key": "secret:far",
        },
    }
    assert origins() == {"secret:far": ["https://far.example"]}


def test_a_kept_key_is_used_where_it_was_given_for() -> None:
    patina("keys", "set", "groq", stdin=CANARY)
    assert patina("providers", "add", "groq").returncode == 0
    assert origins() == {"secret:groq": [GROQ]}
    # A provider of the same name elsewhere gets none of it.
    patina("config", "unset", "providers.groq")
    done = patina("providers", "add", "groq", "--base-url", f"{ELSEWHERE}/v1")
    assert done.stdout == f"Added groq: {ELSEWHERE}/v1, no key\n"
    assert patina("ask", "-m", "groq/x", "hello").returncode == 3
    assert origins() == {"secret:groq": [GROQ]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["groq"], "No value for groq came in."),
        (["nobody"], "nobody is no provider that Patina knows."),
        (["a b", "--base-url", "https://x.example"], "is not a name for a provider"),
        (["x", "--base-url", "ftp://x.example"], "cannot be used"),
        (["x", "--base-url", "https://u:p" + "@x.example"], "cannot be used"),
        (["x", "--kind", "openai_compatible"], "has no address"),
        (["azure_openai"], "has no address"),
        (["x", "--kind", "magic"], "is of the kind magic, which no installed package speaks"),
        (["groq", "--key-env", "no such name"], "That is not the name of a variable."),
        (["groq", CANARY], "unexpected extra argument"),
        (["groq", "--concurrency", "0"], "concurrency"),
    ],
)
def test_what_cannot_be_added(arguments: list[str], message: str) -> None:
    done = patina("providers", "add", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "providers" not in done.stdout
    assert not (home() / "config.toml").exists()
    assert not (home() / "data/secrets.enc").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
def test_the_key_is_typed_unseen() -> None:
    with terminal("providers", "add", "groq") as screen:
        screen.see(f"Key of Groq for {GROQ}")
        screen.type(f"{CANARY}\n")
        assert screen.end() == 0
        assert CANARY not in screen.shown
    assert secrets() == {"groq": CANARY}


# edit


def test_settings_are_changed_and_set_back() -> None:
    home().mkdir(parents=True)
    (home() / "config.toml").write_text(
        '# mine\n[providers.lab]\nkind = "openai_compatible" # this one\n'
        'base_url = "http://127.0.0.1:9/v1"\nunknown = 1\n[providers.lab.models.m]\ntools = true\n'
    )
    change = ("--default-model", "m", "--local", "--api", "chat", "--concurrency", "2", "--disable")
    assert patina("providers", "edit", "lab", *change).returncode == 0
    assert file()["lab"] == {
        "kind": "openai_compatible",
        "base_url": "http://127.0.0.1:9/v1",
        "unknown": 1,
        "models": {"m": {"tools": True}},
        "default_model": "m",
        "local": True,
        "api": "chat",
        "concurrency": 2,
        "enabled": False,
    }
    back = ("--default-model", "", "--no-local", "--api", "auto", "--concurrency", "8", "--enable")
    assert patina("providers", "edit", "lab", *back).returncode == 0
    text = (home() / "config.toml").read_text()
    assert file()["lab"] == {
        "kind": "openai_compatible",
        "base_url": "http://127.0.0.1:9/v1",
        "unknown": 1,
        "models": {"m": {"tools": True}},
    }
    assert "# mine" in text
    assert "# this one" in text


@pytest.fixture
def groq() -> None:
    """Groq is configured, with a key."""
    assert patina("providers", "add", "groq", stdin=CANARY).returncode == 0


def test_a_new_address_needs_its_own_key(groq: None) -> None:
    move = ("providers", "edit", "groq", "--base-url", f"{ELSEWHERE}/v1")
    before = file()
    done = patina(*move)
    assert done.returncode == 2
    said = f"The key secret:groq was given for {GROQ}. {ELSEWHERE} needs one of its own."
    assert said in done.stderr
    assert "--keep-key" in done.stderr
    assert file() == before
    assert origins() == {"secret:groq": [GROQ]}
    assert patina(*move, stdin="another-canary-key").returncode == 0
    assert secrets() == {"groq": "another-canary-key"}
    assert origins() == {"secret:groq": [ELSEWHERE]}
    # Within one origin nothing is asked.
    assert patina("providers", "edit", "groq", "--base-url", f"{ELSEWHERE}/v2").returncode == 0


def test_the_same_key_may_be_kept(groq: None) -> None:
    done = patina("providers", "edit", "groq", "--base-url", f"{ELSEWHERE}/v1", "--keep-key")
    assert (done.returncode, done.stderr) == (0, "")
    assert secrets() == {"groq": CANARY}
    assert origins() == {"secret:groq": [GROQ, ELSEWHERE]}


def test_a_change_of_something_else_allows_no_other_address(groq: None) -> None:
    patina("config", "set", "providers.groq.base_url", f"{ELSEWHERE}/v1")
    assert patina("providers", "edit", "groq", "--default-model", "m").returncode == 0
    assert origins() == {"secret:groq": [GROQ]}
    row = listed()["groq"]
    assert (row["state"], row["has_key"]) == ("wrong", True)
    assert "is not sent to" in row["problem"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["groq"], "Nothing to change was given."),
        (["nobody", "--disable"], "There is no provider named nobody."),
        (["groq", "--base-url", "nonsense"], "cannot be used"),
    ],
)
def test_what_cannot_be_changed(groq: None, arguments: list[str], message: str) -> None:
    before = file()
    done = patina("providers", "edit", *arguments)
    assert (done.returncode, message in done.stderr) == (2, True)
    assert file() == before


def test_what_the_environment_configures_is_no_table() -> None:
    done = patina("providers", "edit", "openai", "--disable", variables={"OPENAI_API_KEY": CANARY})
    assert done.returncode == 2
    assert "comes from the environment" in done.stderr
    assert "patina providers add openai" in done.stderr


# remove


def test_its_own_key_goes_too(groq: None) -> None:
    patina("config", "set", "default_model", "groq/m")
    now = datetime.now(UTC)
    Lists(home() / "cache/models").save("groq", GROQ, (ModelInfo("groq", "m"),), now)
    assert list(home().glob("cache/models/list-groq-*"))
    done = patina("providers", "remove", "groq")
    assert done.returncode == 4
    assert "patina providers remove groq --yes" in done.stderr
    done = patina("providers", "remove", "groq", "--yes")
    assert done.returncode == 0
    assert "The key secret:groq was removed, too." in done.stderr
    assert "default_model is still groq/m." in done.stderr
    assert (secrets(), origins()) == ({}, {})
    assert not list(home().glob("cache/models/list-groq-*"))
    assert "groq" not in listed()


def test_a_key_that_another_uses_stays(groq: None) -> None:
    patina("providers", "add", "second", "--base-url", f"{GROQ}/openai/v1")
    patina("config", "set", "providers.second.api_key", "secret:groq")
    done = patina("providers", "remove", "groq", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert secrets() == {"groq": CANARY}
    assert listed()["second"]["state"] == "ready"


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
def test_a_person_is_asked(groq: None) -> None:
    with terminal("providers", "remove", "groq") as screen:
        screen.see("Remove the provider groq and its key?")
        screen.type("n\n")
        assert screen.end() == 1
    assert secrets() == {"groq": CANARY}


# test


def test_a_real_request(capsys: Capture) -> None:
    with model_server() as server:
        patina("providers", "add", "lab", "--base-url", server.url, "--default-model", "one")
        assert in_process("providers", "test", "lab", "--json") == 0
        told = json.loads(capsys.readouterr().out)
        assert told.pop("duration_ms") >= told.pop("time_to_first_token_ms") >= 0
        assert told == {
            "provider": "lab",
            "model": "lab/one",
            "answered_by": "one",
            "text": HELLO,
            "stop_reason": "stop",
            "usage": None,
            "cost": None,
        }
        ((path, body),) = server.requests
        assert path == "/v1/chat/completions"
        assert body["max_tokens"] <= 64
        assert in_process("providers", "test", "lab/two") == 0
        assert f"ok  two: {HELLO}" in capsys.readouterr().out
        assert server.requests[-1][1]["model"] == "two"
    assert not list(home().glob("data/transcripts/*/*/*.jsonl"))


def test_a_request_that_fails(capsys: Capture) -> None:
    with model_server() as server:
        patina("providers", "add", "lab", "--base-url", server.url)
    assert in_process("providers", "test", "lab/one", "--json") == 3
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "network"
    assert in_process("providers", "test", "lab/one") == 3
    said = capsys.readouterr()
    assert (said.out, said.err.startswith("patina: lab ")) == ("", True)
    assert in_process("providers", "test", "lab") == 2
    assert "has no default model" in capsys.readouterr().err
    assert in_process("providers", "test", "nobody/x") == 2


@pytest.mark.parametrize("name", ["demo", "a/b", "a:b", "a b", "x\ny", ""])
def test_names_that_no_provider_can_have(name: str, capsys: Capture) -> None:
    assert in_process("providers", "add", name, "--base-url", "http://127.0.0.1:9/v1") == 2
    said = capsys.readouterr().err
    assert "config.toml" not in said  # nothing is wrong with the file
    assert "Choose another name." in said or "Allowed: no space" in said
    assert not (home() / "config.toml").exists()


def test_the_usual_address_again(capsys: Capture) -> None:
    patina("providers", "add", "groq", stdin=CANARY)
    patina("providers", "edit", "groq", "--base-url", ELSEWHERE, "--keep-key")
    assert in_process("providers", "edit", "groq", "--base-url", "") == 0
    assert file()["groq"]["base_url"] == f"{GROQ}/openai/v1"
    patina("providers", "add", "lab", "--base-url", "http://127.0.0.1:9/v1")
    assert in_process("providers", "edit", "lab", "--base-url", "") == 2
    assert "lab has no usual address." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"http://127.0.0.1:9/v1?key={CANARY}", "it has a query (?) or a fragment (#)"),
        ("http://127.0.0.1:9/v1#x", "it has a query (?) or a fragment (#)"),
        ("http://127.0.0.1:abc/v1", "its port is not a number from 1 to 65535"),
        ("http://127.0.0.1:99999/v1", "its port is not a number from 1 to 65535"),
    ],
)
def test_addresses_that_no_path_can_be_appended_to(url: str, why: str, capsys: Capture) -> None:
    assert in_process("providers", "add", "lab", "--base-url", url) == 2
    said = capsys.readouterr()
    assert why in said.err
    assert CANARY not in said.out + said.err
    assert not (home() / "config.toml").exists()


def test_a_password_in_an_address_is_not_shown() -> None:
    rows = listed(OPENAI_BASE_URL=f"https://user:{CANARY}@h.example/v1")
    assert rows["openai"]["base_url"] == "https://h.example/v1"
    assert rows["openai"]["state"] == "wrong"


# kinds


def test_the_kinds_with_their_schemas(capsys: Capture) -> None:  # M-02
    assert in_process("providers", "kinds", "--json") == 0
    rows = {row["kind"]: row for row in json.loads(capsys.readouterr().out)}
    assert "groq" in rows["openai_compatible"]["brands"]
    assert rows["anthropic"]["variable"] == "ANTHROPIC_API_KEY"
    assert rows["ollama"]["schema"]["properties"]["keep_alive"]["type"] == "string"
    assert in_process("providers", "kinds", "ollama") == 0
    assert "keep_alive" in capsys.readouterr().out
    assert in_process("providers", "kinds", "magic") == 2
    assert "Known are: openai" in capsys.readouterr().err


def test_no_argument_takes_a_key() -> None:
    """What stands in arguments stands in the shell's history and in the list of processes."""
    for verb in ("add", "edit"):
        done = patina("providers", verb, "groq", f"--key={CANARY}")
        assert done.returncode == 2
        assert CANARY not in done.stdout + done.stderr
