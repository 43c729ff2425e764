"""From packages to commands (A-12), and from variables to credentials (A-03, A-09, A-10, A-11)."""

import itertools
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mcp.house import House

from patina.config.files import update_file
from patina.mcp.auth_type import Variable, auth_type, detect_auth
from patina.mcp.diagnosis import may_install
from patina.mcp.environment import own
from patina.mcp.package import with_command
from patina.mcp.toolset import Toolset
from patina.mcp.trust import Trust
from patina.model.faults import McpFault
from patina.model.packages import AUTH_TYPES, PACKAGE_TYPES, AuthType
from patina.model.settings import ServerSettings
from patina.secrets.environment import Resolver
from patina.secrets.vault import key_file_vault


def package(kind: str, identifier: str, **more: str) -> dict[str, str]:
    return {"type": kind, "identifier": identifier, **more}


def command(settings: ServerSettings) -> str:
    filled = with_command(settings)
    return " ".join((filled.command, *filled.args))


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (package("npm", "@github/mcp-server"), "npx -y @github/mcp-server"),
        (package("npm", "@a/b", runtime_hint="npx"), "npx -y @a/b"),
        (package("npm", "@a/b", runtime_hint="bunx"), "bunx -y @a/b"),
        (package("npm", "@a/b", version="1.2.3"), "npx -y @a/b@1.2.3"),
        (package("npm", "@a/b@1.0", version="1.2.3"), "npx -y @a/b@1.0"),
        (package("npm", "b", version="1"), "npx -y b@1"),
        (package("docker", "mcp/time"), "docker run -i --rm mcp/time"),
        (package("oci", "mcp/time"), "docker run -i --rm mcp/time"),
        (package("docker", "mcp/time", runtime_hint="podman"), "podman run -i --rm mcp/time"),
        (package("oci", "ghcr.io/a/b", version="1.0"), "docker run -i --rm ghcr.io/a/b:1.0"),
        (package("oci", "ghcr.io/a/b:2", version="1.0"), "docker run -i --rm ghcr.io/a/b:2"),
        (package("oci", "host:5000/b", version="1"), "docker run -i --rm host:5000/b:1"),
        (package("pypi", "mcp-server-git"), "uvx mcp-server-git"),
        (package("pypi", "mcp-server-git", version="1.0"), "uvx mcp-server-git@1.0"),
        (package("nuget", "Sample.Server", version="0.4"), "dnx Sample.Server@0.4 --yes"),
        (package("nuget", "Sample.Server"), "dnx Sample.Server --yes"),
    ],
)
def test_a_package_is_a_command(what: dict[str, str], line: str) -> None:  # A-05 A-12
    settings = ServerSettings(package=what)
    assert command(settings) == line
    filled = with_command(settings)
    assert with_command(filled) == filled
    assert filled.package == what
    # It may take minutes to be fetched.
    assert may_install(filled)


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (package("npm", "@a/b"), "npx -y @a/b --root /data"),
        (package("docker", "a/b"), "docker run -i --rm -e TOKEN -e MODE a/b --root /data"),
        (package("pypi", "b"), "uvx b --root /data"),
        (package("nuget", "B"), "dnx B --yes -- --root /data"),
    ],
)
def test_arguments_follow_the_package_and_containers_see_the_variables(
    what: dict[str, str], line: str
) -> None:
    env = {"TOKEN": "secret:x/TOKEN", "MODE": "fast"}
    assert command(ServerSettings(package=what, args=("--root", "/data"), env=env)) == line


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (package("mcpb", "x"), "type mcpb cannot be run; what can: npm, docker, oci, pypi, nuget"),
        ({"identifier": "x"}, "type nothing cannot be run"),
        ({"type": "npm"}, "Nothing is not the name of a package"),
        (package("npm", "--eval=1"), "--eval=1 is not the name"),
        (package("docker", "a b"), "a b is not the name"),
        (package("pypi", "a", version="-x"), "-x is not the version"),
    ],
)
def test_a_package_that_cannot_be_run(what: dict[str, str], says: str) -> None:
    with pytest.raises(McpFault) as caught:
        with_command(ServerSettings(package=what))
    assert says in caught.value.failure.message
    assert caught.value.failure.hint


def test_a_command_wins_over_its_package() -> None:
    for settings in (
        ServerSettings(command="npx", args=("-y", "a"), package=package("mcpb", "x")),
        ServerSettings(transport="sse", url="https://a.example", package=package("npm", "x")),
        ServerSettings(),
    ):
        assert with_command(settings) == settings


@given(
    st.sampled_from(PACKAGE_TYPES),
    st.text(min_size=1, max_size=20),
    st.text(max_size=8),
    st.lists(st.text(max_size=5), max_size=3),
)
def test_no_package_is_read_as_an_option(
    kind: str, identifier: str, version: str, args: list[str]
) -> None:
    made = ServerSettings(package=package(kind, identifier, version=version), args=tuple(args))
    try:
        filled = with_command(made)
    except McpFault:
        return
    words = filled.args[: len(filled.args) - len(args)]
    named = next(word for word in words if word.startswith(identifier))
    assert not named.startswith("-")
    assert len(named.split()) == 1
    assert filled.args[len(filled.args) - len(args) :] == tuple(args)


def test_consent_is_to_the_command_that_is_run(tmp_path: Path) -> None:
    settings = ServerSettings(package=package("npm", "@a/b"))
    trust = Trust({"s": with_command(settings)}, {"PATH": "", "HOME": str(tmp_path)}, tmp_path)
    assert trust.describe("s").argv == ("npx", "-y", "@a/b")
    trust.trust("s")
    changed = ServerSettings(package=package("npm", "@a/c"))
    other = Trust({"s": with_command(changed)}, {"PATH": "", "HOME": str(tmp_path)}, tmp_path)
    assert trust.is_trusted("s")
    assert not other.is_trusted("s")


#
def test_the_ways_to_authenticate() -> None:
    assert AUTH_TYPES == ("none", "api_key", "keyfile", "oauth") == get_args(AuthType)


#
@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, "none"),
        ({"env": {"MODE": "fast"}}, "none"),
        ({"env": {"TOKEN": "secret:s/TOKEN"}}, "api_key"),
        ({"env": {"TOKEN": "env:TOKEN"}}, "api_key"),
        ({"headers": {"Authorization": "Bearer secret:s/T"}}, "api_key"),
        ({"env": {"TOKEN": "keyfile:~/my token"}}, "keyfile"),
        ({"headers": {"Authorization": "Bearer keyfile:~/my token"}}, "keyfile"),
        ({"auth_mode": "client"}, "oauth"),
        ({"auth_mode": "client_credentials"}, "oauth"),
        ({"auth_mode": "none"}, "none"),
    ],
)
def test_how_a_configured_server_authenticates(settings: dict[str, Any], kind: str) -> None:
    assert auth_type(ServerSettings(**settings)) == kind


#
@pytest.mark.parametrize(
    ("variables", "kind"),
    [
        ([], "none"),
        ([("LOG_LEVEL", False, False)], "none"),
        ([("GITHUB_TOKEN", False, True)], "none"),
        ([("GITHUB_TOKEN", True, True)], "api_key"),
        ([("BRAVE_API_KEY", True, False)], "api_key"),
        ([("API_KEY", True, False)], "api_key"),
        ([("token", True, True)], "api_key"),
        ([("CLIENT_ID", False, True), ("CLIENT_SECRET", True, True)], "oauth"),
        ([("CLIENT_ID", True, True), ("CLIENT_SECRET", True, True)], "oauth"),
        ([("SPOTIFY_CLIENT_ID", False, True), ("SPOTIFY_CLIENT_SECRET", True, True)], "oauth"),
        ([("CLIENT_SECRET", True, True)], "api_key"),
        ([("CLIENT_ID", False, True)], "none"),
        ([("A_TOKEN", True, True), ("CLIENT_ID", True, True), ("CLIENT_SECRET", True, True)],
         "api_key"),
        ([("DATABASE_PASSWORD", True, True)], "api_key"),
        ([("MODE", False, False), ("DSN", True, True)], "api_key"),
    ],
)  # fmt: skip
def test_the_variables_tell_how_to_authenticate(
    variables: list[tuple[str, bool, bool]], kind: str
) -> None:
    for order in itertools.permutations(variables):
        assert detect_auth(Variable(*one) for one in order) == kind


def resolver(folder: Path, **secrets: str) -> Resolver:
    kept = key_file_vault(folder / "secrets.enc", folder / "key", update_file)
    for name, value in secrets.items():
        kept.set(f"aws/{name}", value)
    return Resolver({"FROM_PARENT": "parent"}, kept, lambda _: None)


AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")


# A-09 A-11
def test_several_variables_are_filled_at_once(tmp_path: Path) -> None:
    settings = ServerSettings(env={name: f"secret:aws/{name}" for name in AWS}, required=AWS[:2])
    filled = {AWS[0]: "AKIA-like", AWS[1]: "the secret", AWS[2]: "eu-west-1"}
    keys = resolver(tmp_path, **filled)
    assert own("aws", settings, keys) == filled
    keys.remove(f"aws/{AWS[2]}")
    assert own("aws", settings, keys) == {name: filled[name] for name in AWS[:2]}
    keys.remove(f"aws/{AWS[1]}")
    with pytest.raises(McpFault) as caught:
        own("aws", settings, keys)
    assert AWS[1] in caught.value.failure.message
    assert f"patina keys set aws/{AWS[1]}" in caught.value.failure.hint


#
def test_where_values_come_from(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("  from the file\n")
    keys = resolver(tmp_path, KEY="from the store")
    made = {
        "A": "secret:aws/KEY",
        "B": f"keyfile:{file}",
        "C": "env:FROM_PARENT",
        "D": "plain",
    }
    assert own("aws", ServerSettings(env=made), keys) == {
        "A": "from the store",
        "B": "from the file",
        "C": "parent",
        "D": "plain",
    }
    assert own("aws", ServerSettings(), keys) == {}
    optional = {"A": "secret:aws/KEY", "E": "env:NOT_THERE", "F": "secret:aws/NOT_THERE"}
    settings = ServerSettings(env=optional, required=("A",))
    assert own("aws", settings, keys) == {"A": "from the store"}


#
@pytest.mark.anyio
async def test_several_variables_reach_the_process(house: House) -> None:
    house.keys.secrets |= {"aws/AWS_ACCESS_KEY_ID": "one", "aws/AWS_SECRET_ACCESS_KEY": "two"}
    env = {name: f"secret:aws/{name}" for name in AWS}
    settings = house.odd("env", env=env, required=AWS[:2])
    async with house.supervisor({"aws": settings}) as supervisor:
        tools = Toolset(supervisor)
        tool = next(tool for tool in await tools.list(None) if tool.tool == "echo")
        outcome = await tools.call(tool, {})
    (part,) = outcome.parts
    seen = json.loads(getattr(part, "text", ""))
    assert (seen[AWS[0]], seen[AWS[1]]) == ("one", "two")
    assert AWS[2] not in seen
