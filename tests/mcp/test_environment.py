"""What a local server sees of the environment (A-01)."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mcp.house import House, tool_of

from patina.mcp import environment
from patina.mcp.toolset import Toolset
from patina.model.parts import text_of
from patina.model.settings import ServerSettings

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name == "nt", reason="the misbehaving servers are POSIX scripts"),
]
# What is not of the environment: the folder that the server adds, what its interpreter sets, and
# the mark of the processes that Patina started.
ADDED = {"cwd", "LC_CTYPE", "__CF_USER_TEXT_ENCODING", "MCP_CLIENT_RUN"}


async def seen_by_a_server(house: House, env: dict[str, str]) -> dict[str, str]:
    async with house.supervisor({"s": house.odd("env", env=env)}) as supervisor:
        tools = Toolset(supervisor)
        outcome = await tools.call(await tool_of(tools, "s.echo"), {})
    seen: dict[str, str] = json.loads(text_of(outcome.parts))
    return {name: value for name, value in seen.items() if name not in ADDED}


#
async def test_an_empty_map_changes_nothing(house: House) -> None:
    house.environ = {"PATH": "/usr/bin:/bin", "HOME": str(house.root), "EMPTY": "", "Ü": "ä=b"}
    assert await seen_by_a_server(house, {}) == house.environ


#
async def test_own_values_win_and_the_rest_stays_visible(house: House) -> None:
    house.environ |= {"SHARED": "parent", "VISIBLE": "parent"}
    seen = await seen_by_a_server(house, {"SHARED": "child", "NEW": "child", "BLANK": ""})
    own = {"SHARED": "child", "NEW": "child", "BLANK": ""}
    assert seen == house.environ | own


#
async def test_the_path_can_be_overridden(house: House) -> None:
    path = f"{house.root}{os.pathsep}/usr/bin"
    assert (await seen_by_a_server(house, {"PATH": path}))["PATH"] == path
    assert house.environ["PATH"] != path


WITHHELD = (
    "OPENAI_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "COHERE_API_KEY",
    "HF_TOKEN",
    "SMITHERY_API_KEY",
    "PATINA_HOME",
    "patina_anything",
    "AWS_SECRET_ACCESS_KEY",
    "aws_secret_access_key",
    "Github_Token",
    "npm_config_token_thing",
    "DB_PASSWORD",
    "PasswordOfMine",
    "keyring",
    "my_secrets",
)


#
async def test_what_looks_like_a_secret_is_withheld_unless_it_is_given(house: House) -> None:
    before = dict(house.environ)
    house.environ |= dict.fromkeys(WITHHELD, "canary")
    house.keys.secrets["s/DB_PASSWORD"] = "kept"
    env = {
        "OPENAI_API_KEY": "given",
        "PATINA_HOME": "given",
        "keyring": "env:HF_TOKEN",
        "DB_PASSWORD": "secret:s/DB_PASSWORD",
    }
    seen = await seen_by_a_server(house, env)
    given = {"OPENAI_API_KEY": "given", "PATINA_HOME": "given"}
    assert seen == before | given | {"keyring": "canary", "DB_PASSWORD": "kept"}


#
@pytest.mark.parametrize("name", ["HOME", "LANG", "PATH", "EDITOR", "HTTPS_PROXY", "MY_PATINA"])
def test_other_names_are_inherited(name: str) -> None:
    assert environment.inherited({name: "x"}) == {name: "x"}


#
@given(
    st.text("aEzKkYy_tToOnNsScCrR", max_size=8),
    st.sampled_from(["key", "TOKEN", "Secret", "pAssword"]),
    st.text("aEzKkYy_tToOnNsScCrR", max_size=8),
)
def test_a_name_with_such_a_word_in_it_is_never_inherited(before: str, word: str, end: str) -> None:
    assert environment.inherited({before + word + end: "x"}) == {}


#
@given(st.dictionaries(st.text("abKEY_ ", min_size=1), st.text("xy:")))
def test_nothing_is_made_up_or_changed(environ: dict[str, str]) -> None:
    kept = environment.inherited(environ)
    assert kept.items() <= environ.items()
    assert all(environment.may_be_secret(name) for name in environ.keys() - kept.keys())


def test_a_server_without_a_path_gets_none(tmp_path: Path) -> None:
    settings = ServerSettings(command="sh")
    assert environment.given(settings, {"HOME": str(tmp_path)}) == {"HOME": str(tmp_path)}
