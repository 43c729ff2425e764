"""`patina mcp import` of the JSON form of A-02 and A-08."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.support import home, in_process
from tests.cli.test_mcp import CANARY, DEMO, GIVEN, add, config, listing, odd

Capture = pytest.CaptureFixture[str]
ODD_ARGS = odd("env")[1:]
ID = "6f1b0c7e-90bb-4f0e-9d49-5c7f3a2b1c0d"


def server(name: str, **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": ID,
        "name": name,
        "enabled": True,
        "source": {"type": "official", "name": f"x/{name}", "version": "1.0"},
        "package": {"type": "npm", "identifier": f"@x/{name.lower()}", "runtime_hint": "npx"},
        "transport": "stdio",
        "auth_type": "api_key",
        "env_vars": [{"name": "A_TOKEN", "required": True}],
        "config": {},
    }
    return fields | changes


def write(folder: Path, *servers: dict[str, Any], text: str | None = None) -> str:
    path = folder / "servers.json"
    path.write_text(text or json.dumps({"version": "1.0", "profiles": [], "mcps": servers}))
    return str(path)


def test_servers_are_imported_and_not_yet_allowed(  # A-02 A-08 A-11
    tmp_path: Path, capsys: Capture
) -> None:
    add("taken", DEMO)
    remote = {"source": {"type": "manual", "url": "https://a.example/mcp"}, "transport": "http"}
    file = write(
        tmp_path,
        server("GitHub"),
        server("Taken"),
        server("Far", **remote, package={"type": "npm", "identifier": "@x/far"}),
        server("Off", enabled=False, auth_type="none", env_vars=[]),
        server("github"),
    )
    before = config()
    capsys.readouterr()
    assert in_process("mcp", "import", file) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "Imported github: npx -y @x/github",
        "  patina keys set github/A_TOKEN",
        "  patina mcp trust github",
        "Imported far: https://a.example/mcp",
        "  patina keys set far/A_TOKEN",
        "Imported off: npx -y @x/off",
        "  patina mcp trust off",
    ]
    assert said.err.splitlines() == [
        "Skipped Taken: There is an MCP server named taken already.",
        "Skipped github: There is an MCP server named github already.",
    ]
    assert before.strip() in config()
    rows = listing(capsys)
    assert {name: row["trusted"] for name, row in rows.items()} == {
        "taken": True,
        "github": False,
        "far": True,  # nothing is started for it
        "off": False,
    }
    assert rows["github"]["display_name"] == "GitHub"
    assert rows["off"]["state"] == "disabled"
    # Once more: nothing is left to do.
    assert in_process("mcp", "import", file, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["imported"] == []
    assert [row["name"] for row in answer["skipped"]] == ["GitHub", "Taken", "Far", "Off", "github"]


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for a package runner is a script")
def test_an_imported_server_works_once_it_is_allowed(tmp_path: Path, capsys: Capture) -> None:
    # A package runner of the tests' own, which fetches nothing.
    runner = tmp_path / "runner"
    runner.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        f"os.execv({sys.executable!r}, [{sys.executable!r}, *{ODD_ARGS!r}])\n"
    )
    runner.chmod(0o755)
    key = tmp_path / "key"
    key.write_text(f"{CANARY}\n")
    package = {"type": "npm", "identifier": "demo", "runtime_hint": str(runner)}
    file = write(tmp_path, server("mine", package=package, auth_type="keyfile",
                                  keyfile_path=str(key)))  # fmt: skip
    assert in_process("mcp", "import", file) == 0
    assert in_process("mcp", "tools", "mine") == 4
    assert in_process("mcp", "trust", "mine", "--yes") == 0
    capsys.readouterr()
    assert in_process("mcp", "call", "mine", "echo", "--approve", "all") == 0
    assert json.loads(capsys.readouterr().out)["A_TOKEN"] == GIVEN


def test_consent_of_an_earlier_server_is_not_inherited(tmp_path: Path, capsys: Capture) -> None:
    assert in_process("mcp", "add", "mine", "--package", "npm:@x/mine") == 0
    (home() / "config.toml").write_text("version = 1\n")
    file = write(tmp_path, server("mine", package={"type": "npm", "identifier": "@x/mine"},
                                  auth_type="none"))  # fmt: skip
    assert in_process("mcp", "import", file) == 0
    assert listing(capsys)["mine"]["trusted"] is False


def test_one_that_cannot_be_imported_does_not_hold_up_the_others(
    tmp_path: Path, capsys: Capture
) -> None:
    file = write(
        tmp_path,
        server("one", package=None),
        server("two", package={"type": "npm", "identifier": "--eval=1"}),
        server("three"),
    )
    assert in_process("mcp", "import", file) == 1
    said = capsys.readouterr()
    assert "Skipped one: one names no package" in said.err
    assert "Skipped two: " in said.err
    assert 'package.identifier is "--eval=1"' in said.err
    assert list(listing(capsys)) == ["three"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no json", "not JSON"),
        ('{"mcpServers": {"a": {"command": "npx"}}}', 'JSON with "mcpServers"'),
        ('{"version": "3", "profiles": []}', "version"),
    ],
)
def test_what_is_not_understood_says_what_is(
    text: str, says: str, tmp_path: Path, capsys: Capture
) -> None:
    assert in_process("mcp", "import", write(tmp_path, text=text)) == 2
    said = capsys.readouterr().err
    assert says in said
    assert 'What is understood: JSON with "version": "1.0"' in said
    assert not (home() / "config.toml").exists()


def test_nothing_to_import(tmp_path: Path, capsys: Capture) -> None:
    file = write(tmp_path, text='{"version":"1.0","profiles":[]}')
    assert in_process("mcp", "import", file) == 0
    assert "It holds no servers." in capsys.readouterr().err
    assert in_process("mcp", "import", str(tmp_path / "ghost.json")) == 2
    assert "no such file" in capsys.readouterr().err
    assert in_process("mcp", "import", str(tmp_path)) == 2
