"""`patina mcp add` and `edit`: every option, and the settings that it becomes."""

import tomllib
from typing import Any

import pytest
from tests.cli.support import home, in_process, kept_secrets, patina
from tests.cli.test_mcp import CANARY, DEMO, PYTHON, add, config, fails, listing

Capture = pytest.CaptureFixture[str]
FAR = ("far", "--url", "https://a.example/mcp")


def settings(server: str) -> dict[str, Any]:
    """What the file has of a server."""
    table: dict[str, Any] = tomllib.loads(config())["mcp_servers"][server]
    return table


OPTIONS = (
    *("--connect", "lazy", "--protocol-version", "2025-11-25", "--tool-timeout", "60"),
    *("--connect-timeout", "20", "--idle-timeout", "0", "--restarts", "5"),
    *("--allow-tool", "search_*", "--allow-tool", "echo", "--display-name", "My Own"),
)
SET = {
    "connect": "lazy",
    "protocol_version": "2025-11-25",
    "tool_timeout": 60,
    "connect_timeout": 20,
    "idle_timeout": 0,
    "restarts": 5,
    "allowed_tools": ["search_*", "echo"],
    "display_name": "My Own",
}


def test_add_and_edit_take_the_same_options(capsys: Capture) -> None:
    add("one", DEMO, *OPTIONS, "--env", "A=1", "--require", "A")
    add("two", DEMO)
    assert in_process("mcp", "edit", "two", *OPTIONS, "--env", "A=1", "--require", "A") == 0
    assert settings("one") == settings("two")
    assert SET.items() <= settings("one").items()
    assert settings("one")["required"] == ["A"]
    rows = listing(capsys)
    assert rows["one"]["trusted"] is True
    assert rows["two"]["trusted"] is True
    back = ("--allow-tool", "", "--require", "", "--idle-timeout", "1800", "--connect", "auto")
    assert in_process("mcp", "edit", "two", *back) == 0
    assert not {"allowed_tools", "required", "idle_timeout", "connect"} & settings("two").keys()


def test_headers_and_the_way_to_sign_in(capsys: Capture) -> None:
    given = ("--header", "X-Team=blue", "--header", "Authorization=Bearer env:FAR_TOKEN")
    assert in_process("mcp", "add", *FAR, *given, "--auth-mode", "bearer") == 0
    assert settings("far")["headers"] == {
        "X-Team": "blue",
        "Authorization": "Bearer env:FAR_TOKEN",
    }
    assert settings("far")["auth_mode"] == "bearer"
    change = ("--header", "x-team=red", "--header", "AUTHORIZATION=", "--auth-mode", "none")
    assert in_process("mcp", "edit", "far", *change) == 0
    assert settings("far")["headers"] == {"x-team": "red"}
    assert settings("far")["auth_mode"] == "none"
    assert "kept as" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("header", "kept", "reference"),
    [
        (f"Authorization=Bearer {CANARY}", CANARY, "Bearer secret:far/Authorization"),
        (f"Authorization={CANARY}", CANARY, "secret:far/Authorization"),
        (f"X-Api-Key={CANARY}", CANARY, "secret:far/X-Api-Key"),
        (f"Cookie=a={CANARY}; b=c", f"a={CANARY}; b=c", "secret:far/Cookie"),
    ],
)
def test_literal_secrets_in_headers_go_to_the_keys(
    header: str, kept: str, reference: str, capsys: Capture
) -> None:
    assert in_process("mcp", "add", *FAR, "--header", header) == 0
    said = capsys.readouterr()
    name = header.partition("=")[0]
    assert settings("far")["headers"] == {name: reference}
    assert f"{name} is kept as secret:far/{name}." in said.err
    assert CANARY not in said.out + said.err + config()
    assert kept in kept_secrets().values()
    assert in_process("mcp", "remove", "far", "--yes") == 0
    assert kept_secrets() == {}


def test_adding_an_address_says_where_it_points_and_asks_nobody(capsys: Capture) -> None:
    # Nothing of this name can be reached: whoever asked would fail.
    assert in_process("mcp", "add", "far", "--url", "https://nowhere.invalid/mcp") == 0
    said = capsys.readouterr()
    assert said.out == "Added far: https://nowhere.invalid/mcp\n"
    assert "It points to nowhere.invalid (streamable-http); nothing was contacted yet." in said.err
    assert "not encrypted" not in said.err
    assert in_process("mcp", "add", "loud", "ws://a.example/x", "--header", "X-Api-Key=env:K") == 0
    said = capsys.readouterr()
    assert "It is sent: X-Api-Key." in said.err
    assert "What is sent to a.example is not encrypted" in said.err
    here = ("http://localhost:1/mcp", "http://127.0.0.1:1/mcp", "ws://[::1]:1/x")
    for number, address in enumerate(here):
        assert in_process("mcp", "add", "--name", f"here{number}", address, "--json") == 0
        assert "not encrypted" not in capsys.readouterr().err
    # Another address is told, any other change is not.
    assert in_process("mcp", "edit", "loud", "--url", "wss://b.example/x") == 0
    assert "It points to b.example (websocket)" in capsys.readouterr().err
    assert in_process("mcp", "edit", "loud", "--connect", "lazy") == 0
    assert capsys.readouterr().err == ""


def test_the_transport_of_an_address_may_be_changed(capsys: Capture) -> None:
    assert in_process("mcp", "add", *FAR) == 0
    assert in_process("mcp", "edit", "far", "--transport", "sse") == 0
    assert settings("far")["transport"] == "sse"
    assert "needs a ws(s) address" in fails(
        capsys, 2, "mcp", "edit", "far", "--transport", "websocket"
    )
    change = ("--url", "wss://a.example", "--transport", "websocket")
    assert in_process("mcp", "edit", "far", *change) == 0
    assert settings("far")["transport"] == "websocket"


@pytest.mark.parametrize(
    ("arguments", "name", "address"),
    [
        (("--package", "npm:@github/mcp-server"), "github-mcp-server", "npx -y @github/mcp-server"),
        (("mine", "--package", "docker:mcp/time"), "mine", "docker run -i --rm mcp/time"),
        (("--package", "pypi:mcp-server-git"), "mcp-server-git", "uvx mcp-server-git"),
        (
            ("mine", "--package", "npm:@a/b@1.0", "--", "--root", "/data"),
            "mine",
            "npx -y @a/b@1.0 --root /data",
        ),
    ],
)
def test_a_package_is_enough(
    arguments: tuple[str, ...], name: str, address: str, capsys: Capture
) -> None:
    assert in_process("mcp", "add", *arguments) == 0
    assert capsys.readouterr().out == f"Added {name}: {address}\n"
    assert "command" not in settings(name)
    row = listing(capsys)[name]
    assert (row["address"], row["trusted"], row["transport"]) == (address, True, "stdio")


def test_a_command_becomes_a_package_and_back(capsys: Capture) -> None:
    add("mine", DEMO, "--env", "TOKEN=env:T")
    change = ("--package", "docker:mcp/time", "--", "--zone", "UTC")
    assert in_process("mcp", "edit", "mine", *change) == 0
    row = listing(capsys)["mine"]
    assert row["address"] == "docker run -i --rm -e TOKEN mcp/time --zone UTC"
    assert row["trusted"] is True
    assert in_process("mcp", "edit", "mine", "--", *DEMO) == 0
    assert "package" not in settings("mine")
    assert listing(capsys)["mine"]["address"] == " ".join(DEMO)


def test_consent_to_a_package_of_the_file_shows_its_command(capsys: Capture) -> None:
    home().mkdir(parents=True)
    package = f'package = {{ type = "npm", identifier = "demo", runtime_hint = "{PYTHON}" }}'
    (home() / "config.toml").write_text(f"[mcp_servers.mine]\n{package}\n")
    assert listing(capsys)["mine"]["trusted"] is False
    assert in_process("mcp", "trust", "mine") == 4
    assert f"{PYTHON} -y demo" in capsys.readouterr().err
    assert in_process("mcp", "trust", "mine", "--yes") == 0
    assert listing(capsys)["mine"]["trusted"] is True
    (home() / "config.toml").write_text(config().replace('"demo"', '"other"'))
    assert listing(capsys)["mine"]["trusted"] is False


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--auth-mode", "api_key"), "'none', 'bearer', 'client'"),
        (("--connect", "never"), "'auto', 'lazy', 'manual'"),
        (("--transport", "http"), "'stdio', 'streamable-http', 'sse', 'websocket'"),
        (("--protocol-version", "3"), "'2025-11-25', '2026-07-28'"),
        (("--connect-timeout", "0"), "--connect-timeout"),
        (("--idle-timeout", "-1"), "--idle-timeout"),
        (("--restarts", "-1"), "--restarts"),
        (("--restarts", "often"), "--restarts"),
        (("--header", "NOVALUE"), "--header NOVALUE is not NAME=VALUE"),
        (("--header", f"Authorization: Bearer {CANARY}"), "is not NAME=VALUE"),
        (("--header", "a b=c"), "is not a header"),
        (("--header", "A=b\r\nC: d"), "is not a header"),
        (("--env", "A=1"), "--env is for servers that are started here"),
        (("--require", "A"), "--require is for servers that are started here"),
        (("--cwd", "/"), "--cwd is for servers that are started here"),
        (("--package", "npm:x"), "not both"),
    ],
)
def test_wrong_values_of_a_remote_server(
    arguments: tuple[str, ...], says: str, capsys: Capture
) -> None:
    assert in_process("mcp", "add", *FAR) == 0
    said = fails(capsys, 2, "mcp", "add", "more", "--url", "https://a.example", *arguments)
    assert says in said
    assert CANARY not in said
    if "--package" not in arguments:
        assert says in fails(capsys, 2, "mcp", "edit", "far", *arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--header", "A=b"), "--header is for servers with a URL"),
        (("--auth-mode", "bearer"), "--auth-mode is for servers with a URL"),
        (("--transport", "sse"), "needs an http(s) address"),
    ],
)
def test_wrong_values_of_a_local_server(
    arguments: tuple[str, ...], says: str, capsys: Capture
) -> None:
    add("mine", DEMO)
    assert says in fails(capsys, 2, "mcp", "add", *arguments, "more", "--", *DEMO)
    assert says in fails(capsys, 2, "mcp", "edit", "mine", *arguments)


@pytest.mark.parametrize(
    "package", ["npm", "npm:", "zip:x", "npm:--eval=1", "npm:a b", "@github/mcp-server"]
)
def test_packages_that_are_none(package: str, capsys: Capture) -> None:
    said = fails(capsys, 2, "mcp", "add", "mine", "--package", package)
    assert "is not TYPE:ID" in said
    assert "npm, docker, oci, pypi, nuget" in said


def test_a_server_is_one_thing(capsys: Capture) -> None:
    url, package = ("--url", "https://a.example"), ("--package", "npm:x")
    assert "not both" in fails(capsys, 2, "mcp", "add", "x", *url, *package)
    assert "a command" in fails(capsys, 2, "mcp", "add", "x", "y", *package)
    assert "no command after --" in fails(capsys, 2, "mcp", "add", "x", *package, "--")


OAUTH = (
    *("--oauth-provider", "github", "--client-id", "Iv1.0123", "--scope", "repo,read:org"),
    *("--client-metadata-url", "https://a.example/client.json"),
)


def test_how_to_sign_in(capsys: Capture) -> None:
    assert in_process("mcp", "add", *FAR, *OAUTH, "--client-secret", "env:FAR_SECRET") == 0
    assert settings("far")["oauth"] == {
        "provider": "github",
        "client_id": "Iv1.0123",
        "scope": "repo,read:org",
        "client_metadata_url": "https://a.example/client.json",
        "client_secret": "env:FAR_SECRET",
    }
    assert "Sign in with `patina mcp login far`." in capsys.readouterr().err
    away = ("--oauth-provider", "", "--scope", "", "--client-metadata-url", "")
    assert in_process("mcp", "edit", "far", *away) == 0
    assert settings("far")["oauth"] == {"client_id": "Iv1.0123", "client_secret": "env:FAR_SECRET"}
    assert in_process("mcp", "edit", "far", "--client-id", "", "--client-secret", "") == 0
    assert "oauth" not in settings("far")


def test_the_secret_of_a_client_is_read_and_kept() -> None:
    given = ("--client-id", "Iv1.0123", "--client-secret", "-")
    added = patina("mcp", "add", *FAR, *given, stdin=f"{CANARY}\n")
    assert added.returncode == 0, added.stderr
    assert settings("far")["oauth"]["client_secret"] == "secret:far/client_secret"
    assert CANARY not in added.stdout + added.stderr + config()
    assert "far/client_secret" in patina("keys", "list").stdout
    again = patina("mcp", "edit", "far", "--client-secret", "-", stdin="another-secret-012345\n")
    assert again.returncode == 0, again.stderr
    assert patina("mcp", "remove", "far", "--yes").returncode == 0
    assert "far/" not in patina("keys", "list").stdout


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--client-secret", CANARY), "takes no secret"),
        (("--client-metadata-url", "http://a.example/c.json"), "is not an address"),
        (("--oauth-variable", "TOKEN"), "is for servers that are started here"),
        (("--scope", "a\nb"), "has characters that it cannot have"),
    ],
)
def test_wrong_ways_to_sign_in(given: tuple[str, ...], says: str, capsys: Capture) -> None:
    said = fails(capsys, 2, "mcp", "add", *FAR, *given)
    assert says in said
    assert CANARY not in said


def test_a_local_server_is_given_its_token_in_a_variable(capsys: Capture) -> None:
    given = ("--oauth-provider", "github", "--client-id", "Iv1.0123")
    says = fails(capsys, 2, "mcp", "add", *given, "mine", "--", *DEMO)
    assert "Name it: --oauth-variable GITHUB_TOKEN" in says
    assert in_process("mcp", "add", *given, "--oauth-variable", "TOKEN", "mine", "--", *DEMO) == 0
    assert settings("mine")["oauth"]["variable"] == "TOKEN"
    assert "Sign in with `patina mcp login mine`." in capsys.readouterr().err
    wrong = fails(capsys, 2, "mcp", "edit", "mine", "--oauth-variable", "NOT A NAME")
    assert "is not the name of a variable" in wrong


def test_a_server_that_may_want_a_sign_in(capsys: Capture) -> None:
    assert in_process("mcp", "add", *FAR) == 0
    assert "If it wants you to sign in: `patina mcp login far`." in capsys.readouterr().err
    keyed = ("keyed", "--url", "https://a.example/mcp", "--header", "Authorization=env:TOKEN")
    assert in_process("mcp", "add", *keyed) == 0
    assert "mcp login" not in capsys.readouterr().err
