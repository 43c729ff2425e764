"""The secrets beside a configuration that is imported (A-06, A-50)."""

import json
import os
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from patina.mcp.auth.shapes import Grant
from patina.mcp.legacy_config import EnvVar, Manual, McpConfig, to_settings
from patina.mcp.legacy_secrets import find_secrets, grant_of
from patina.model.packages import AuthType

ID = UUID("6f1b0c7e-90bb-4f0e-9d49-5c7f3a2b1c0d")
posix = pytest.mark.skipif(os.name == "nt", reason="permissions of files")


def config(*variables: str, auth_type: AuthType = "api_key") -> McpConfig:
    return McpConfig(
        id=ID,
        name="Some Server",
        enabled=True,
        source=Manual("https://a.example/mcp"),
        transport="http",
        auth_type=auth_type,
        env_vars=tuple(EnvVar(name) for name in variables),
    )


def beside(folder: Path, **files: str) -> Path:
    (folder / "secrets").mkdir()
    for name, text in files.items():
        (folder / "secrets" / f"mcp_{name}").write_text(text)
    return folder / "servers.json"


def test_one_key_is_that_of_the_first_variable(tmp_path: Path) -> None:
    file = beside(tmp_path, **{f"{ID}.key": " a-key-0123 \n"})
    assert find_secrets(file, config("TOKEN", "REGION")).keys == {"TOKEN": "a-key-0123"}
    assert find_secrets(file, config()).keys == {"Authorization": "a-key-0123"}


@pytest.mark.parametrize("between", [".", "_"])
def test_named_keys(tmp_path: Path, between: str) -> None:  # A-06 A-09
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    file = beside(tmp_path, **{f"{ID}{between}{name}.key": f"of-{name}" for name in names})
    found = find_secrets(file, config(*names))
    assert found.keys == {name: f"of-{name}" for name in names}
    assert sorted(found.files) == sorted((tmp_path / "secrets").iterdir())
    assert not found.wrong


def test_other_files_and_other_servers_are_left_alone(tmp_path: Path) -> None:
    other = str(ID).replace("6f", "7f")
    names = (f"{other}.key", f"{ID}.key.bak", f"{ID}.txt", f"{ID}-x.key", f"{ID}.a b.key")
    file = beside(tmp_path, **dict.fromkeys(names, "not-mine-0123"))
    found = find_secrets(file, config("TOKEN"))
    assert (found.keys, found.tokens, found.files, found.wrong) == ({}, None, (), ())
    assert find_secrets(tmp_path / "elsewhere" / "servers.json", config("TOKEN")).keys == {}


def test_large_letters_in_the_id(tmp_path: Path) -> None:
    file = beside(tmp_path, **{f"{str(ID).upper()}.key": "a-key-0123"})
    assert find_secrets(file, config("TOKEN")).keys == {"TOKEN": "a-key-0123"}


@pytest.mark.parametrize(
    ("expires_at", "seconds"),
    [
        (1_800_000_000, 1.8e9),
        (1_800_000_000_500, 1_800_000_000.5),
        ("2027-01-15T08:00:00Z", 1.8e9),
        ("2027-01-15T08:00:00", 1.8e9),
        (None, None),
    ],
)
def test_a_sign_in(tmp_path: Path, expires_at: Any, seconds: float | None) -> None:
    record = {"access_token": "an-access", "refresh_token": "a-refresh", "expires_at": expires_at}
    file = beside(tmp_path, **{f"{ID}.oauth": json.dumps(record)})
    found = find_secrets(file, config(auth_type="oauth"))
    assert found.tokens is not None
    assert (found.tokens.access, found.tokens.refresh) == ("an-access", "a-refresh")
    assert found.tokens.expires_at == seconds
    settings = to_settings(config(auth_type="oauth"))[1]
    grant = grant_of(settings, found.tokens)
    assert grant.url == settings.url == "https://a.example/mcp"
    assert (grant.server.issuer, grant.server.token_endpoint) == ("", "")
    assert msgspec.json.decode(msgspec.json.encode(grant), type=Grant) == grant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "{}",
        '{"access_token": 1}',
        '{"access_token": "a", "refresh_token": 1}',
        '{"access_token": "a", "expires_at": "soon"}',
        '{"access_token": "a", "expires_at": []}',
        "\0",
        "[" * 50_000,
    ],
)
def test_a_record_that_is_none_is_told_and_left_out(tmp_path: Path, text: str) -> None:
    file = beside(tmp_path, **{f"{ID}.oauth": text, f"{ID}.key": "a-key-0123"})
    found = find_secrets(file, config("TOKEN"))
    assert found.tokens is None
    assert len(found.wrong) == 1
    assert f"mcp_{ID}.oauth was left out" in found.wrong[0]
    assert [path.name for path in found.files] == [f"mcp_{ID}.key"]


def test_a_key_that_is_none_is_told_and_left_out(tmp_path: Path) -> None:
    file = beside(tmp_path, **{f"{ID}.A.key": " \n", f"{ID}.B.key": "x" * 200_000})
    (tmp_path / "secrets" / f"mcp_{ID}.C.key").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "secrets" / f"mcp_{ID}.D.key").mkdir()
    found = find_secrets(file, config("A"))
    assert found.keys == {}
    assert [sentence.rpartition("for it ")[2] for sentence in found.wrong][:3] == [
        "is empty.",
        "is too large to be a key.",
        "holds no text.",
    ]
    assert "cannot be read" in found.wrong[3]
