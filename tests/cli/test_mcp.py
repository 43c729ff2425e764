"""`patina mcp`: servers are added, changed, allowed, asked and removed by hand."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
from tests.cli.model_server import model_server
from tests.cli.support import home, in_process, kept_secrets, patina
from tests.cli.terminal import terminal
from tests.mcp.house import ODD

PYTHON = sys.executable
DEMO = (PYTHON, "-m", "patina.mcp.demo_server")
CANARY = "ghp_canary0123456789"
GIVEN = "***"  # what is shown of a result that has exactly the secret in it
Capture = pytest.CaptureFixture[str]


def odd(mode: str, *more: str) -> tuple[str, ...]:
    """A server that misbehaves as `mode` says."""
    return (PYTHON, str(ODD), mode, *more)


def add(name: str, command: tuple[str, ...], *options: str) -> None:
    assert in_process("mcp", "add", *options, name, "--", *command) == 0


def config() -> str:
    return (home() / "config.toml").read_text("utf-8")


def listing(capsys: Capture) -> dict[str, dict[str, object]]:
    capsys.readouterr()
    assert in_process("mcp", "list", "--json") == 0
    return {row["server"]: row for row in json.loads(capsys.readouterr().out)}


def fails(capsys: Capture, code: int, *arguments: str) -> str:
    """Run what must fail with `code`, as text and as JSON; what it said."""
    capsys.readouterr()
    before = config() if (home() / "config.toml").exists() else ""
    assert in_process(*arguments) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("patina: ")
    assert "Traceback" not in said.err
    takes_json = arguments[1] in ("list", "add", "tools", "call")
    if takes_json:
        end = arguments.index("--") if "--" in arguments else len(arguments)
        assert in_process(*arguments[:end], "--json", *arguments[end:]) == code
        error = json.loads(capsys.readouterr().out)["error"]
        assert error["message"] in said.err
    after = config() if (home() / "config.toml").exists() else ""
    assert after == before
    return said.err


# add


@pytest.mark.parametrize(
    ("arguments", "name", "address"),
    [
        ((" ".join(DEMO),), "demo_server", " ".join(DEMO)),
        (DEMO, "demo_server", " ".join(DEMO)),
        (("--name", "mine", " ".join(DEMO)), "mine", " ".join(DEMO)),
        (("--name", "mine", "--", *DEMO), "mine", " ".join(DEMO)),
        (("mine", "--", *DEMO), "mine", " ".join(DEMO)),
        (("mine", " ".join(DEMO)), "mine", " ".join(DEMO)),
        (("--", *DEMO), "demo_server", " ".join(DEMO)),
        (("far", "--url", "https://a.example/mcp"), "far", "https://a.example/mcp"),
        (("far", "https://a.example/mcp"), "far", "https://a.example/mcp"),
        (("https://tools.a.example/mcp",), "a", "https://tools.a.example/mcp"),
        (("--url", "https://tools.a.example/mcp"), "a", "https://tools.a.example/mcp"),
    ],
)
def test_every_way_to_name_a_server(
    arguments: tuple[str, ...], name: str, address: str, capsys: Capture
) -> None:
    assert in_process("mcp", "add", *arguments) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"Added {name}: ")
    row = listing(capsys)[name]
    assert row["address"] == address
    assert row["trusted"] is True
    assert row["enabled"] is True


def test_an_added_server_may_be_used_at_once(capsys: Capture) -> None:
    add("mine", DEMO)
    capsys.readouterr()
    assert in_process("mcp", "call", "mine", "add", "a=1", "b=41", "--approve", "reads") == 0
    assert capsys.readouterr().out == "42\n"


def test_transports_are_taken_from_the_address_or_said(capsys: Capture) -> None:
    assert in_process("mcp", "add", "one", "--url", "https://a.example/x/sse") == 0
    assert (
        in_process("mcp", "add", "two", "--url", "https://a.example/x", "--transport", "sse") == 0
    )
    assert in_process("mcp", "add", "three", "--url", "wss://a.example/x") == 0
    transports = {name: row["transport"] for name, row in listing(capsys).items()}
    assert transports == {"one": "sse", "two": "sse", "three": "websocket"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "no server to add"),
        (("",), "no command in it"),
        (("mine", "--"), "no command after --"),
        (("a", "b", "--", *DEMO), "Only a name"),
        (("no-such-program", "x"), "no program no-such-program"),
        (("mine", "--", "no-such-program"), "no program no-such-program"),
        (("mine", "no-such-program x"), "no program no-such-program"),
        (("GitHub", "--", *DEMO), "What fits is github"),
        (("--name", "a.b", "--", *DEMO), "What fits is a-b"),
        (("x" * 33, "--", *DEMO), "32 characters"),
        (("mine", "--name", "other", "--", *DEMO), "Two names"),
        (("mine", "--url", "ftp://a.example"), "ftp: are not understood"),
        (("mine", "--url", "https://a.example", "--", *DEMO), "not both"),
        (("--transport", "sse", "mine", "--", *DEMO), "needs an http(s) address"),
        (("mine", "--url", "https://a.example", "--transport", "stdio"), "needs a command"),
        (("mine", "--url", "wss://a.example", "--transport", "sse"), "needs an http(s) address"),
        (("--transprot", "sse", "mine", "--", *DEMO), "Did you mean --transport?"),
        (("--env", "NOVALUE", "mine", "--", *DEMO), "--env NOVALUE is not NAME=VALUE"),
        (("--cwd", "no/such/folder", "mine", "--", *DEMO), "no folder no/such/folder"),
        (('{"command": "npx"}',), "That is JSON"),
        (("npx -y a | tee b",), "without a shell"),
        (("https://me@a.example/mcp",), "user name or password"),
    ],
)
def test_what_cannot_be_added_says_why(
    arguments: tuple[str, ...], says: str, capsys: Capture
) -> None:
    assert says in fails(capsys, 2, "mcp", "add", *arguments)


def test_a_name_that_is_taken(capsys: Capture) -> None:
    add("mine", DEMO)
    assert "`patina mcp edit mine`" in fails(capsys, 2, "mcp", "add", "mine", "--", *odd("plain"))


def test_literal_secrets_go_to_the_keys_and_are_never_printed(capsys: Capture) -> None:
    secret = ("--env", f"GITHUB_TOKEN={CANARY}", "--env", "GREETING=hello")
    assert in_process("mcp", "add", *secret, "one", "--json", "--", *odd("env")) == 0
    assert in_process("mcp", "add", "two", f"GITHUB_TOKEN={CANARY} {' '.join(odd('env'))}") == 0
    said = capsys.readouterr()
    added = json.loads(said.out.splitlines()[0])
    assert added["env"] == {"GITHUB_TOKEN": "secret:one/GITHUB_TOKEN", "GREETING": "hello"}
    assert "GITHUB_TOKEN is kept as secret:one/GITHUB_TOKEN." in said.err
    assert CANARY not in said.out + said.err + config()
    for path in home().rglob("*"):
        assert path.is_dir() or CANARY.encode() not in path.read_bytes()
    assert in_process("mcp", "call", "one", "echo", "--approve", "all") == 0
    seen = json.loads(capsys.readouterr().out)
    assert (seen["GITHUB_TOKEN"], seen["GREETING"]) == (GIVEN, "hello")


def test_references_stay_what_they_are(capsys: Capture) -> None:
    add("one", odd("env"), "--env", "API_KEY=env:MINE", "--env", "A_TOKEN=secret:shared")
    assert 'API_KEY = "env:MINE"' in config()
    assert 'A_TOKEN = "secret:shared"' in config()
    assert "kept as" not in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for docker is a script")
def test_a_secret_in_a_docker_line_goes_to_the_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    line = f"docker run -i --rm -e GITHUB_TOKEN={CANARY} -e MODE=fast ghcr.io/a/b"
    assert in_process("mcp", "add", line) == 0
    said = capsys.readouterr()
    assert CANARY not in said.out + said.err + config()
    assert '"-e", "GITHUB_TOKEN", "-e", "MODE=fast", "ghcr.io/a/b"' in config()
    assert 'GITHUB_TOKEN = "secret:b/GITHUB_TOKEN"' in config()


def test_an_argument_that_looks_like_a_secret_is_told(capsys: Capture) -> None:
    add("one", (*DEMO, "--api-key", "abcdefgh12345"))
    said = capsys.readouterr().err
    assert "args holds a secret (--api-key)" in said
    assert "abcdefgh12345" not in said
    add("two", (*DEMO, "--keys", "all", "--key-file", "/etc/key"))
    assert "holds a secret" not in capsys.readouterr().err


def test_comments_and_unknown_keys_survive(capsys: Capture) -> None:
    home().mkdir(parents=True)
    before = '# my servers\nversion = 1  # of the file\n\n[later]\nnew = "kept"\n'
    (home() / "config.toml").write_text(before)
    add("mine", DEMO)
    assert in_process("mcp", "edit", "mine", "--tool-timeout", "5") == 0
    assert in_process("mcp", "disable", "mine") == 0
    assert in_process("mcp", "enable", "mine") == 0
    for line in before.split("\n"):
        assert line in config()
    assert in_process("mcp", "remove", "mine", "--yes") == 0
    assert config().strip() == before.strip()


# edit


def test_each_option_of_edit(tmp_path: Path, capsys: Capture) -> None:
    add("mine", odd("env"), "--env", "A=1", "--env", "B=2")
    options = ("--display-name", "Mine!", "--env", "A=3", "--env", "B=", "--env", f"C_KEY={CANARY}")
    more = ("--cwd", str(tmp_path), "--tool-timeout", "7", "--allow-tool", "e*")
    assert in_process("mcp", "edit", "mine", *options, *more) == 0
    row = listing(capsys)["mine"]
    assert row["display_name"] == "Mine!"
    # What was allowed to start still is: the person who allowed it changed it.
    assert row["trusted"] is True
    assert in_process("mcp", "call", "mine", "echo", "--approve", "all") == 0
    seen = json.loads(capsys.readouterr().out)
    assert (seen["A"], seen["C_KEY"], seen["cwd"]) == ("3", GIVEN, str(tmp_path))
    assert "B" not in seen
    assert CANARY not in config()
    assert "tool_timeout = 7" in config()
    assert in_process("mcp", "edit", "mine", "--allow-tool", "nothing", "--display-name", "") == 0
    assert "display_name" not in config()
    capsys.readouterr()
    assert in_process("mcp", "tools", "mine", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_command_that_is_given_is_consent_and_other_changes_are_not(capsys: Capture) -> None:
    home().mkdir(parents=True)
    (home() / "config.toml").write_text(f'[mcp_servers.mine]\ncommand = "{PYTHON}"\n')
    assert listing(capsys)["mine"]["trusted"] is False
    assert in_process("mcp", "edit", "mine", "--env", "A=1") == 0
    assert listing(capsys)["mine"]["trusted"] is False
    assert in_process("mcp", "edit", "mine", "--", *DEMO) == 0
    row = listing(capsys)["mine"]
    assert (row["trusted"], row["address"]) == (True, " ".join(DEMO))
    # A change of the file by someone else asks again.
    (home() / "config.toml").write_text(config().replace("demo_server", "other"))
    assert listing(capsys)["mine"]["trusted"] is False


def test_a_command_becomes_an_address_and_back(capsys: Capture) -> None:
    add("mine", DEMO)
    assert in_process("mcp", "edit", "mine", "--url", "https://a.example/mcp") == 0
    row = listing(capsys)["mine"]
    assert (row["transport"], row["address"]) == ("streamable-http", "https://a.example/mcp")
    assert "command" not in config()
    assert in_process("mcp", "edit", "mine", "--", *DEMO) == 0
    assert "a.example" not in config()
    assert listing(capsys)["mine"]["transport"] == "stdio"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("mine",), "Nothing to change"),
        (("mine", "--display-name", ""), "Nothing to change"),
        (("mine", "--tool-timout", "5"), "Did you mean --tool-timeout?"),
        (("mine", "other"), "patina mcp edit mine -- COMMAND"),
        (("mine", "--tool-timeout", "0"), "--tool-timeout"),
        (("mine", "--tool-timeout", "soon"), "--tool-timeout"),
        (("mine", "--url", "not an address"), "no program not"),
        (("mine", "--url", "https://a.example", "--", *DEMO), "not both"),
        (("mine", "--", "no-such-program"), "no program"),
        (("mine", "--", "https://a.example"), "Use --url"),
        (("ghost", "--cwd", "/"), "no MCP server named ghost"),
    ],
)
def test_what_cannot_be_changed_says_why(
    arguments: tuple[str, ...], says: str, capsys: Capture
) -> None:
    add("mine", DEMO)
    assert says in fails(capsys, 2, "mcp", "edit", *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ("tools", "ghost"),
        ("call", "ghost", "echo"),
        ("logs", "ghost"),
        ("remove", "ghost", "--yes"),
        ("trust", "ghost", "--yes"),
        ("enable", "ghost"),
        ("disable", "ghost"),
    ],
)
def test_a_server_that_is_not_there(arguments: tuple[str, ...], capsys: Capture) -> None:
    add("mine", DEMO)
    said = fails(capsys, 2, "mcp", *arguments)
    assert "There is no MCP server named ghost." in said
    assert "Configured are: mine." in said


# remove


def test_removing_takes_consent_credentials_and_log_along(capsys: Capture) -> None:
    add("mine", odd("exits"), "--env", f"A_KEY={CANARY}")
    add("mine2", DEMO, "--env", "A_KEY=another-secret")
    assert in_process("mcp", "tools", "mine") == 1
    assert (home() / "state/logs/mcp/mine.log").exists()
    assert "--yes" in fails(capsys, 4, "mcp", "remove", "mine")
    assert in_process("mcp", "remove", "mine", "--yes") == 0
    assert list(listing(capsys)) == ["mine2"]
    assert list(json.loads((home() / "data/trust.json").read_text())["servers"]) == ["mine2"]
    assert list(kept_secrets().values()) == ["another-secret"]
    assert not (home() / "state/logs/mcp/mine.log").exists()


def test_removing_takes_the_list_of_tools_along(capsys: Capture) -> None:
    add("mine", DEMO)
    assert in_process("mcp", "tools", "mine") == 0
    assert listing(capsys)["mine"]["tools"] == 4
    assert in_process("mcp", "remove", "mine", "--yes") == 0
    add("mine", DEMO)
    assert listing(capsys)["mine"]["tools"] is None


def test_a_person_confirms_a_removal(capsys: Capture) -> None:
    add("mine", DEMO, "--display-name", "GitHub")
    for answer, code in (("n\n", 1), ("\n", 1), ("y\n", 0)):
        with terminal("mcp", "remove", "mine") as screen:
            asked = screen.see("[y/N]").replace("\r\n", "\n")
            assert (
                'Delete "GitHub"?\n\nThis will remove the MCP and its stored credentials.' in asked
            )
            screen.type(answer)
            assert screen.end() == code
        assert ("mine" in listing(capsys)) is (code == 1)


# trust


def untrusted(*words: str) -> None:
    home().mkdir(parents=True, exist_ok=True)
    command, *args = words
    text = f"[mcp_servers.files]\ncommand = {json.dumps(command)}\nargs = {json.dumps(args)}\n"
    (home() / "config.toml").write_text(text)


def test_trust_shows_everything_and_needs_a_yes(capsys: Capture) -> None:
    untrusted(*DEMO, "rm -rf /", "\u202egnp.sh")
    capsys.readouterr()
    assert in_process("mcp", "trust", "files") == 4
    said = capsys.readouterr().err
    assert "patina.mcp.demo_server 'rm -rf /' \\u202egnp.sh" in said
    assert f"program    {PYTHON}" in said
    assert f"folder     {Path.home()}" in said
    assert "`rm` removes files." in said
    assert "hidden or unusual characters" in said
    assert "`patina mcp trust files --yes`" in said
    assert in_process("mcp", "trust", "files", "--yes") == 0
    assert listing(capsys)["files"]["trusted"] is True
    # Another command asks again.
    untrusted(*DEMO)
    assert listing(capsys)["files"]["trusted"] is False
    assert in_process("mcp", "tools", "files") == 4


def test_a_person_trusts_or_does_not(capsys: Capture) -> None:
    untrusted(*DEMO)
    for answer, code in (("n\n", 1), ("yes\n", 0)):
        with terminal("mcp", "trust", "files") as screen:
            screen.see("Allow it to start? [y/N]")
            screen.type(answer)
            assert screen.end() == code
        assert listing(capsys)["files"]["trusted"] is (code == 0)


def test_trust_of_what_is_not_started_here(capsys: Capture) -> None:
    assert in_process("mcp", "add", "far", "--url", "https://a.example/mcp") == 0
    assert in_process("mcp", "trust", "far") == 0
    assert "needs no consent" in capsys.readouterr().out
    untrusted("no-such-program")
    assert "no program no-such-program" in fails(capsys, 1, "mcp", "trust", "files", "--yes")


def test_a_first_start_is_asked_for_where_there_is_a_person(capsys: Capture) -> None:
    untrusted(*DEMO)
    said = fails(capsys, 4, "mcp", "tools", "files")
    assert "`patina mcp trust files`" in said
    assert "`--approve start:files`" in said
    assert in_process("mcp", "tools", "files", "--approve", "start:files") == 0
    assert "files.echo" in capsys.readouterr().out
    assert listing(capsys)["files"]["trusted"] is False
    with terminal("mcp", "call", "files", "echo", "text=hi", "--approve", "all") as screen:
        assert "demo_server" in screen.see("Allow it to start? [y/N]")
        screen.type("y\n")
        screen.see("hi\r\n")
        assert screen.end() == 0
    assert listing(capsys)["files"]["trusted"] is True


# list, enable, disable, tools, logs


def test_the_list_says_what_stands_in_the_way(capsys: Capture) -> None:
    add("mine", DEMO)
    add("off", DEMO)
    assert in_process("mcp", "disable", "off") == 0
    assert in_process("mcp", "add", "far", "--url", "https://a.example/mcp") == 0
    text = config()
    untrusted("no-such-program")
    (home() / "config.toml").write_text(
        text + config() + f'[mcp_servers.new]\ncommand="{PYTHON}"\n'
    )
    assert in_process("mcp", "tools", "mine") == 0
    rows = listing(capsys)
    assert (rows["mine"]["state"], rows["mine"]["tools"], rows["mine"]["text"]) == ("idle", 4, "")
    assert rows["off"]["state"] == "disabled"
    assert (rows["far"]["state"], rows["far"]["text"]) == ("idle", "")
    assert "no program no-such-program" in str(rows["files"]["text"])
    assert "patina mcp trust new" in str(rows["new"]["text"])
    assert in_process("mcp", "list") == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert "patina mcp enable off" in fails(capsys, 2, "mcp", "tools", "off")
    assert in_process("mcp", "enable", "off") == 0
    assert in_process("mcp", "tools", "off") == 0


def test_nothing_is_configured(capsys: Capture) -> None:
    assert in_process("mcp", "list") == 0
    assert "patina mcp add" in capsys.readouterr().err
    assert listing(capsys) == {}
    assert "Configured are: none." in fails(capsys, 2, "mcp", "tools", "ghost")


def test_tools_come_from_the_cache_until_asked_anew(
    tmp_path: Path, capsys: Capture
) -> None:  # C-16
    tools = tmp_path / "tools.json"
    tool = {"name": "one", "description": "First\x1b[2J", "inputSchema": {"type": "object"}}
    tools.write_text(json.dumps({"tools": [tool]}))
    add("mine", odd("changing", str(tmp_path)))
    capsys.readouterr()
    assert in_process("mcp", "tools", "mine") == 0
    assert capsys.readouterr().out == "mine.one\t\tFirst[2J\n"
    tools.write_text(json.dumps({"tools": [tool, {**tool, "name": "two"}]}))
    assert in_process("mcp", "tools", "mine", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["input_schema"] == {"type": "object"}
    assert (row["server"], row["tool"], row["name"]) == ("mine", "one", "mine.one")
    assert in_process("mcp", "tools", "mine", "--refresh", "--json") == 0
    assert [row["tool"] for row in json.loads(capsys.readouterr().out)] == ["one", "two"]


def test_the_log_is_shown_without_what_steers_a_terminal_or_is_secret(capsys: Capture) -> None:
    add("mine", odd("talks"), "--env", f"API_KEY={CANARY}")
    capsys.readouterr()
    assert in_process("mcp", "logs", "mine") == 0
    assert "has written nothing yet" in capsys.readouterr().err
    assert in_process("mcp", "tools", "mine") == 0
    capsys.readouterr()
    assert in_process("mcp", "logs", "mine", "-n", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert any("the secret is [redacted]" in line for line in lines)
    path = home() / "state/logs/mcp/mine.log"
    path.write_text("clear \x1b[2J the screen\n")
    assert in_process("mcp", "logs", "mine") == 0
    assert capsys.readouterr().out == "clear [2J the screen\n"


# call


def test_values_are_read_by_the_schema(capsys: Capture) -> None:
    add("mine", DEMO)
    capsys.readouterr()
    for arguments, result in (
        (("echo", "text=3"), "3"),
        (("echo", "text=a=b"), "a=b"),
        (("echo", "text="), ""),
        (("add", "a=1", "b=2.5"), "3.5"),
        (("add", "--args", '{"a": 2, "b": 2}'), "4"),
    ):
        assert in_process("mcp", "call", "mine", *arguments, "--approve", "reads") == 0
        assert capsys.readouterr().out == f"{result}\n"
    add("any", odd("echoing"))
    capsys.readouterr()
    assert in_process("mcp", "call", "any", "echo", "a=1", "--approve", "any.echo", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert json.loads(answer["result_text"]) == {"tool": "echo", "a": "1"}
    assert answer["arguments"] == {"a": "1"}
    assert (answer["status"], answer["error"]) == ("completed", None)
    assert answer["parts"] == [{"type": "text", "text": answer["result_text"]}]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("echo",), "required"),
        (("add", "a=1", "b=x"), "must be of type number"),
        (("add", "--args", '{"a": 1'), "not valid JSON"),
        (("add", "--args", "[1]"), "not a JSON object"),
        (("echo", "text"), "text is not KEY=VALUE"),
        (("echo", "text=a", "--args", "{}"), "not both"),
        (("echo", "text=a", "more=b"), "is not known"),
        (("ecko", "text=a"), "Did you mean echo?"),
        (("echo", "--aprove", "all"), "Did you mean --approve?"),
        (("echo", "text=a", "--approve", "some"), "--approve some is not understood"),
    ],
)
def test_a_call_that_cannot_be_made(arguments: tuple[str, ...], says: str, capsys: Capture) -> None:
    add("mine", DEMO)
    assert says in fails(capsys, 2, "mcp", "call", "mine", *arguments)


def test_without_a_person_a_call_needs_its_flag(capsys: Capture) -> None:
    add("mine", DEMO)
    assert "--approve mine.echo" in fails(capsys, 4, "mcp", "call", "mine", "echo", "text=hi")
    text = config()
    rule = '[[permissions.rules]]\naction = "deny"\ntool = "ec*"\n'
    (home() / "config.toml").write_text(f"{text}\n{rule}")
    said = fails(capsys, 4, "mcp", "call", "mine", "echo", "text=hi", "--approve", "all")
    assert "A rule of the user denies mine.echo." in said
    assert "permissions.rules[ad9b91ef]" in said


def test_a_person_answers_for_a_call(capsys: Capture) -> None:  # C-17
    add("mine", DEMO)
    for key, code in (("\x1b", 4), ("a", 0)):
        with terminal("mcp", "call", "mine", "echo", "text=over here") as screen:
            asked = screen.see("[D] Deny")
            assert "Allow tool?" in asked
            assert '"text": "over here"' in asked
            assert "session" not in asked
            screen.type("x")
            screen.see("Type one of the letters")
            screen.see("[D] Deny")
            screen.type(key)
            assert screen.end() == code
            assert ("over here\r\n" in screen.shown.rpartition("Deny")[2]) is (code == 0)


def test_a_tool_that_fails_ends_with_1_and_its_own_words(capsys: Capture) -> None:
    add("mine", DEMO)
    capsys.readouterr()
    arguments = ("mcp", "call", "mine", "now", "timezone=No/Where", "--approve", "reads")
    assert in_process(*arguments) == 1
    said = capsys.readouterr()
    assert "No/Where" in said.out
    assert said.err == "patina: mine.now failed.\n"
    assert in_process(*arguments, "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "failed"
    assert answer["error"]["kind"] == "mcp"
    assert "No/Where" in answer["result_text"]
    add("wrong", odd("error"))
    said_of_error = fails(capsys, 1, "mcp", "call", "wrong", "echo", "--approve", "all")
    assert "-32050" in said_of_error
    assert "\x1b" not in said_of_error


def test_a_tool_that_hangs_ends_at_its_time(capsys: Capture) -> None:
    add("mine", odd("hang"))
    assert in_process("mcp", "edit", "mine", "--tool-timeout", "0.5") == 0
    said = fails(capsys, 1, "mcp", "call", "mine", "echo", "--approve", "all")
    assert "mine.echo timed out after 0.5s" in said
    assert "patina mcp edit mine --tool-timeout 120" in said


def test_a_result_is_harmless_on_a_terminal_and_unchanged_in_a_pipe() -> None:
    assert patina("mcp", "add", "mine", "--", *DEMO).returncode == 0
    hostile = "red \x1b[31m\u202e text"
    arguments = ("mcp", "call", "mine", "echo", f"text={hostile}", "--approve", "all")
    assert patina(*arguments).stdout == f"{hostile}\n"
    with terminal(*arguments) as screen:
        assert screen.end() == 0
        assert screen.shown == "red [31m text\r\n"


# a server that does not start


def test_a_server_that_does_not_start_says_what_was_tried(capsys: Capture) -> None:
    add("mine", odd("exits"))
    for verb in (("tools", "mine"), ("call", "mine", "echo", "--approve", "all")):
        said = fails(capsys, 1, "mcp", *verb)
        assert f"{ODD} exits exited with code 3" in said
        assert "no configuration found" in said
        assert "`patina mcp logs mine`" in said
    log = (home() / "state/logs/mcp/mine.log").read_text()
    # Two verbs, each as text and as JSON, each in both eras: no attempt more than that.
    assert len(re.findall("started as process", log)) == 8
    untrusted("no-such-program")
    assert "no program no-such-program" in fails(capsys, 1, "mcp", "tools", "files")


def test_ask_says_once_which_servers_are_left_out_and_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with model_server() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        untrusted("no-such-program")
        add("good", DEMO)
        add("bad", odd("exits"))
        add("asleep", DEMO)
        assert in_process("mcp", "disable", "asleep") == 0
        ask = ("ask", "hello", "-m", "openai/one")
        done = patina(*ask)
        assert (done.returncode, done.stdout) == (0, "Hello from the endpoint.\n")
        lines = done.stderr.splitlines()
        assert len(lines) == 2
        assert lines[0].startswith("Left out the MCP server files: ")
        assert "no program no-such-program" in lines[0]
        assert "exited with code 3" in lines[1]
        assert "no configuration found" in lines[1]
        offered = {tool["function"]["name"] for tool in server.requests[-1][1]["tools"]}
        assert offered == {"good__add", "good__echo", "good__now", "good__word_count"}
        # Named and not able to start: told, and the question is asked without it.
        named = patina(*ask, "--mcp", "bad", "--json")
        assert named.returncode == 0
        assert "exited with code 3" in named.stderr
        assert patina(*ask, "-q").stderr == ""
        assert patina(*ask, "--no-tools").stderr == ""
        assert patina(*ask, "--mcp", "asleep").returncode == 2


def test_a_variable_of_a_server_may_stand_in_the_env_file(capsys: Capture) -> None:
    add("mine", odd("env"), "--env", "API_KEY=env:MY_API_KEY")
    assert "the environment has no MY_API_KEY" in fails(capsys, 1, "mcp", "tools", "mine")
    (home() / ".env").write_text(f"MY_API_KEY={CANARY}\n")
    assert in_process("mcp", "call", "mine", "echo", "--approve", "all") == 0
    assert json.loads(capsys.readouterr().out)["API_KEY"] == GIVEN


def test_a_wrong_configuration_stops_every_verb(capsys: Capture) -> None:
    home().mkdir(parents=True)
    (home() / "config.toml").write_text("[mcp_servers.mine]\ncommand = 3\n")
    for verb in (("list",), ("tools", "mine"), ("call", "mine", "x"), ("logs", "mine"),
                 ("add", *DEMO), ("edit", "mine", "--cwd", "/"), ("remove", "mine", "--yes"),
                 ("trust", "mine"), ("enable", "mine")):  # fmt: skip
        assert "config.toml line 2: mcp_servers.mine.command" in fails(capsys, 2, "mcp", *verb)
