"""The JSON form that is imported (A-02, A-03, A-04, A-05, A-08)."""

import json
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.mcp.legacy_config import (
    LegacyConfig,
    McpConfig,
    decode,
    encode,
    from_settings,
    to_settings,
)
from patina.model.faults import UsageFault
from patina.model.packages import AUTH_TYPES
from patina.model.settings import ServerSettings

ID = "6f1b0c7e-90bb-4f0e-9d49-5c7f3a2b1c0d"
GITHUB: dict[str, Any] = {
    "id": ID,
    "name": "GitHub",
    "enabled": True,
    "source": {"type": "official", "name": "io.github.github/mcp", "version": "1.0.0"},
    "package": {"type": "npm", "identifier": "@github/mcp-server", "runtime_hint": "npx"},
    "transport": "stdio",
    "auth_type": "api_key",
    "env_vars": [{"name": "GITHUB_TOKEN", "required": True}],
    "config": {"any": ["thing", {"goes": None}], "n": 1.5, "big": 12345678901},
}
AWS = [
    {"name": "AWS_ACCESS_KEY_ID", "required": True},
    {"name": "AWS_SECRET_ACCESS_KEY", "required": True},
    {"name": "AWS_REGION", "required": False},
]


def one(**changes: Any) -> McpConfig:
    """The server above with changes; None takes a field away."""
    fields = {name: value for name, value in (GITHUB | changes).items() if value is not None}
    return msgspec.convert(fields, McpConfig)


def whole(*servers: dict[str, Any]) -> bytes:
    return json.dumps({"version": "1.0", "profiles": [], "mcps": servers}).encode()


@pytest.mark.parametrize(
    "server",
    [
        GITHUB,
        GITHUB | {"source": {"type": "smithery", "qualified_name": "@a/b"}},
        GITHUB | {"source": {"type": "manual", "url": "https://a.example/mcp"}},
        GITHUB | {"package": {"type": "docker", "identifier": "mcp/time"}},
        GITHUB | {"env_vars": AWS},
        GITHUB | {"auth_type": "keyfile", "keyfile_path": "~/.github_token"},
        GITHUB | {"auth_type": "keyfile", "keyfile_path": None},
        GITHUB | {"auth_type": "none", "env_vars": [], "config": None, "enabled": False},
        GITHUB | {"auth_type": "oauth", "transport": "http", "config": []},
        GITHUB | {"config": "text"},
    ],
)
def test_json_comes_back_as_it_was(server: dict[str, Any]) -> None:
    found = decode(whole(server))
    assert json.loads(encode(found))["mcps"] == [server]
    assert decode(encode(found)) == found
    assert found.mcps[0].id == UUID(ID)


def test_a_file_without_servers() -> None:
    for text in ('{"version":"1.0","profiles":[]}', '{"version":"1.0","profiles":[],"mcps":[]}'):
        assert decode(text.encode()) == LegacyConfig(version="1.0", profiles=())
    kept = decode(b'{"version":"1.0","profiles":[{"id": 1, "x": {}}]}')
    assert json.loads(encode(kept)) == {
        "version": "1.0",
        "profiles": [{"id": 1, "x": {}}],
        "mcps": [],
    }


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "JSON of another kind"),
        (b"{}", "JSON of another kind"),
        (b'{"mcpServers": {}}', 'JSON with "mcpServers"'),
        (b'{"servers": {}}', 'JSON with "servers"'),
        (b'{"version":"2.0","profiles":[]}', "version"),
        (b'{"profiles":[]}', "version"),
        (whole(GITHUB | {"auth_type": "api-key"}), "mcps[0].auth_type"),
        (whole(GITHUB, GITHUB | {"source": {"type": "x"}}), "mcps[1].source"),
        (whole(GITHUB | {"package": {"type": "zip", "identifier": "x"}}), "mcps[0].package.type"),
        (whole(GITHUB | {"id": "1"}), "mcps[0].id"),
        (whole(GITHUB | {"env_vars": [{"required": True}]}), "mcps[0].env_vars[0]"),
    ],
)
def test_what_is_not_understood(content: bytes, says: str) -> None:
    with pytest.raises(UsageFault) as caught:
        decode(content)
    assert says in caught.value.failure.message
    assert '"version": "1.0", "profiles" and "mcps"' in caught.value.failure.hint


@given(st.binary(max_size=200) | st.text(max_size=80).map(lambda text: json.dumps(text).encode()))
def test_anything_is_a_configuration_or_a_usage_fault(content: bytes) -> None:
    try:
        decode(content)
    except UsageFault:
        return


def test_the_ways_to_authenticate_become_settings() -> None:
    made = {kind: to_settings(one(auth_type=kind, keyfile_path="~/.t")) for kind in AUTH_TYPES}
    assert {name for name, _ in made.values()} == {"github"}
    assert {kind: settings.env for kind, (_, settings) in made.items()} == {
        "none": {},
        "api_key": {"GITHUB_TOKEN": "secret:github/GITHUB_TOKEN"},
        "keyfile": {"GITHUB_TOKEN": "keyfile:~/.t"},
        "oauth": {},
    }
    assert made["oauth"][1].auth_mode == "client"
    settings = made["api_key"][1]
    assert settings.display_name == "GitHub"
    assert settings.required == ("GITHUB_TOKEN",)
    assert settings.package == GITHUB["package"]
    assert settings.source == GITHUB["source"]
    assert settings.command == ""


def test_several_variables() -> None:
    _, settings = to_settings(one(name="aws", env_vars=AWS))
    assert settings.env == {row["name"]: f"secret:aws/{row['name']}" for row in AWS}
    assert settings.required == ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    assert from_settings("aws", settings).env_vars == one(env_vars=AWS).env_vars


@pytest.mark.parametrize(
    ("changes", "url", "headers", "auth_mode"),
    [
        ({"auth_type": "none"}, "https://a.example/mcp", {}, "none"),
        ({"auth_type": "oauth"}, "https://a.example/mcp", {}, "client"),
        (
            {},
            "https://a.example/mcp",
            {"Authorization": "Bearer secret:github/GITHUB_TOKEN"},
            "bearer",
        ),
        (
            {"env_vars": []},
            "https://a.example/mcp",
            {"Authorization": "Bearer secret:github/Authorization"},
            "bearer",
        ),
        (
            {"auth_type": "keyfile", "keyfile_path": "~/t", "env_vars": []},
            "https://a.example/mcp",
            {"Authorization": "Bearer keyfile:~/t"},
            "bearer",
        ),
        (
            {"auth_type": "none", "source": {"type": "smithery", "qualified_name": "@a/b"}},
            "https://server.smithery.ai/@a/b/mcp",
            {},
            "none",
        ),
    ],
)
def test_remote_servers(
    changes: dict[str, Any], url: str, headers: dict[str, str], auth_mode: str
) -> None:
    manual = {"type": "manual", "url": "https://a.example/mcp"}
    config = one(**{"transport": "http", "source": manual, "package": None} | changes)
    name, settings = to_settings(config)
    assert (settings.transport, settings.url) == ("streamable-http", url)
    assert (settings.headers, settings.auth_mode) == (headers, auth_mode)
    assert to_settings(from_settings(name, settings)) == (name, settings)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"package": None}, "names no package"),
        ({"transport": "http"}, "no address"),
        ({"transport": "sse", "source": {"type": "manual", "url": "x"}}, "no address"),
        ({"transport": "sse", "source": {"type": "manual", "url": "https://"}}, "no host"),
        ({"auth_type": "keyfile"}, "no keyfile_path"),
    ],
)
def test_what_could_not_be_reached(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageFault) as caught:
        to_settings(one(**changes))
    assert says in caught.value.failure.message
    assert caught.value.failure.hint


def test_a_plain_command_cannot_be_held() -> None:
    with pytest.raises(UsageFault) as caught:
        from_settings("x", ServerSettings(command="python3"))
    assert "plain command" in caught.value.failure.message


@pytest.mark.parametrize(
    "settings",
    [
        ServerSettings(package={"type": "pypi", "identifier": "x"}, enabled=False),
        ServerSettings(
            display_name="My Server!",
            package={"type": "npm", "identifier": "@a/b", "runtime_hint": "bunx"},
            source={"type": "official", "name": "a/b", "version": "1"},
            env={"A_KEY": "secret:my-server/A_KEY", "B": "secret:my-server/B"},
            required=("B",),
        ),
        ServerSettings(
            package={"type": "docker", "identifier": "x/y"},
            env={"TOKEN": "keyfile:~/my token"},
            required=("TOKEN",),
        ),
        ServerSettings(
            transport="websocket",
            url="wss://a.example/x",
            source={"type": "manual", "url": "wss://a.example/x"},
            auth_mode="none",
        ),
        ServerSettings(
            transport="sse",
            url="https://a.example/sse",
            source={"type": "manual", "url": "https://a.example/sse"},
            headers={"Authorization": "Bearer secret:my-server/TOKEN"},
            auth_mode="bearer",
        ),
    ],
)
def test_settings_come_back_as_they_were(settings: ServerSettings) -> None:
    config = from_settings("my-server", settings)
    assert config == from_settings("my-server", settings)  # the id too
    (again,) = decode(encode(LegacyConfig(version="1.0", profiles=(), mcps=(config,)))).mcps
    assert to_settings(again) == ("my-server", settings)
