"""Changing the file: exact, atomic, refused before it could do harm."""

import stat
import sys
import tempfile
import threading
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.config.support import Home

from patina.config.files import update_file
from patina.config.keys import join_key, put, split_key
from patina.config.save import remove_table, set_table, set_value, unset_value
from patina.model.faults import ConfigFault

FULL = """\
# Patina, my settings
version = 1            # format
default_model = "openai/gpt-5"
future = { x = 1 }     # unknown

[providers.openai] # main
kind = "openai"
unknown = [1,  2]

# the tools
[mcp_servers.github]
command = "npx"
args = ["-y", "@github/mcp-server"]  # argv
note = "mine"
[mcp_servers.github.env]
HOST = "h"

[[permissions.rules]]
action = "deny"
"""


def test_a_change_touches_nothing_else(home: Home) -> None:  # P-12
    home.write(FULL)
    set_value(home.paths, "default_model", "openai/gpt-6")
    assert home.read() == FULL.replace("gpt-5", "gpt-6")
    set_value(home.paths, "default_model", "openai/gpt-5")
    set_value(home.paths, "chat.max_tokens", "100")
    assert home.read().startswith(FULL)
    assert home.load().settings.chat.max_tokens == 100
    assert unset_value(home.paths, "chat")
    assert not unset_value(home.paths, "chat")
    assert tomllib.loads(home.read()) == tomllib.loads(FULL)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("chat.max_tokens", "12", 12),
        ("chat.timeout", "1.5", 1.5),
        ("mcp_servers.github.enabled", "no", False),
        ("mcp_servers.github.args", "a, b", ["a", "b"]),
        ("mcp_servers.github.args", '["a,b"]', ["a,b"]),
        ("mcp_servers.github.allowed_tools", "search_*", ["search_*"]),
        ("mcp_servers.github.env", '{ A = "1" }', {"A": "1"}),
        ("mcp_servers.github.env.A", "1", "1"),
        ('providers.openai.models."gpt-5.2".context_window', "400000", 400000),
        ('billing.per_model_limits."openai/gpt-5.2"', "10.00", "10.00"),
        ("log.level", "debug", "debug"),
        ("providers.openai.base_url", "http://x/v1", "http://x/v1"),
    ],
)
def test_text_is_read_by_the_type_of_the_setting(
    home: Home, key: str, text: str, value: object
) -> None:
    home.write(FULL)
    set_value(home.paths, key, text)
    expected = tomllib.loads(FULL)
    put(expected, split_key(key), value)
    assert tomllib.loads(home.read()) == expected


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("chat.max_tokens", "many", 'chat.max_tokens cannot be "many"; allowed: a whole number'),
        ("chat.max_tokens", "-1", "chat.max_tokens is -1; allowed: more than 0"),
        ("log.level", "loud", 'log.level is "loud"; allowed: debug'),
        ("mcp_servers.github.enabled", "maybe", 'is "maybe"; allowed: true, false'),
        ("chat.max_token", "1", "chat.max_token is not a setting."),
        ("default_model.x", "1", "default_model.x is not a setting."),
        ("mcp_servers.Big.command", "npx", "mcp_servers.Big is not a name for a server"),
        ("providers.lab.base_url", "http://x", "providers.lab.kind is missing"),
        ("a..b", "1", '"a..b" is not a key'),
        ("", "1", '"" is not a key'),
    ],
)
def test_what_would_not_load_is_refused(home: Home, key: str, value: str, message: str) -> None:
    home.write(FULL)
    with pytest.raises(ConfigFault) as caught:
        set_value(home.paths, key, value)
    assert message in caught.value.failure.message
    assert home.read() == FULL


def test_a_broken_file_is_not_made_worse_but_can_be_mended(home: Home) -> None:
    text = "default_model = 3\n[chat]\ntimeout = 5\n"
    home.write(text)
    with pytest.raises(ConfigFault, match="line 1"):
        set_value(home.paths, "chat.timeout", "6")
    assert home.read() == text
    set_value(home.paths, "default_model", "a/b")
    assert home.load().settings.default_model == "a/b"


def test_new_tables_stand_apart(home: Home) -> None:
    set_table(home.paths, "mcp_servers.one", {"command": "npx", "env": {"A": "secret:one/A"}})
    set_value(home.paths, "providers.openai.kind", "openai")
    set_table(home.paths, "mcp_servers.two", {"command": "x"})
    assert home.read() == (
        "version = 1\n"
        '\n[mcp_servers.one]\ncommand = "npx"\nenv = {A = "secret:one/A"}\n'
        '\n[mcp_servers.two]\ncommand = "x"\n'
        '\n[providers.openai]\nkind = "openai"\n'
    )


def test_a_new_file_begins_with_its_version(home: Home) -> None:
    set_value(home.paths, "default_model", "a/b")
    assert home.read() == 'version = 1\ndefault_model = "a/b"\n'


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such bits")
def test_files_and_folders_are_private(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    update_file(path, lambda _: b"x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_stays_a_link(home: Home, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text("version = 1\n")
    home.file.symlink_to(real)
    set_value(home.paths, "default_model", "a/b")
    assert home.file.is_symlink()
    assert "a/b" in real.read_text()


def test_a_table_is_set_whole_and_unknown_keys_stay(home: Home) -> None:
    home.write(FULL)
    set_table(
        home.paths,
        "mcp_servers.github",
        {"command": "docker", "env": {"A": "1"}, "cwd": None, "tool_timeout": 5},
    )
    server = tomllib.loads(home.read())["mcp_servers"]["github"]
    assert server == {"command": "docker", "note": "mine", "env": {"A": "1"}, "tool_timeout": 5}
    set_table(home.paths, "mcp_servers.new", {"command": "x", "args": ("a", "b")})
    assert home.load().settings.mcp_servers["new"].args == ("a", "b")
    assert remove_table(home.paths, "mcp_servers.github")
    assert remove_table(home.paths, "mcp_servers.new")
    assert not remove_table(home.paths, "mcp_servers.new")
    left = tomllib.loads(home.read())
    assert left.get("mcp_servers", {}) == {}
    assert "# Patina, my settings" in home.read()


def test_writers_at_the_same_time_lose_nothing(home: Home) -> None:
    def work(worker: int) -> None:
        for step in range(5):
            set_value(home.paths, f"mcp_servers.s{worker}-{step}.command", "x")

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(home.load().settings.mcp_servers) == 20


def test_a_change_that_fails_leaves_the_file_and_no_rest(home: Home) -> None:
    home.write(FULL)

    def fail(_: bytes) -> bytes:
        raise ConfigFault("no")

    with pytest.raises(ConfigFault, match="no"):
        update_file(home.file, fail)
    assert home.read() == FULL
    assert sorted(path.name for path in home.paths.config.iterdir()) == [
        ".config.toml.lock",
        "config.toml",
    ]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigFault, match="cannot be written"):
        update_file(tmp_path / "file" / "config.toml", lambda _: b"x")


NAMES = st.text(alphabet="ab.-\"\\ é#='[]", min_size=1, max_size=4)
SCALARS = st.one_of(
    st.integers(-5, 5), st.booleans(), st.text(max_size=5), st.lists(st.integers(0, 3), max_size=2)
)
TREES = st.recursive(SCALARS, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=6)


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_dotted_keys_round_trip(path: list[str]) -> None:
    assert split_key(join_key(path)) == tuple(path)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=3), TREES), min_size=1, max_size=4))
def test_what_is_set_is_what_is_read(changes: list[tuple[list[str], Any]]) -> None:
    """Whatever stands in the file, a change gives exactly the old values with the new one."""
    from patina.config.save import rewrite

    with tempfile.TemporaryDirectory() as root:
        file = Path(root) / "config.toml"
        file.write_text(FULL)
        expected = tomllib.loads(FULL)
        for path, value in changes:
            # "extra" is no setting, so that any shape may stand there.
            place = ("extra", *path)
            # Refusing is allowed, guessing is not.
            with suppress(ConfigFault):
                rewrite(file, {place: value})
                put(expected, place, value)
            assert tomllib.loads(file.read_text()) == expected
        assert file.read_text().startswith(FULL[: FULL.index("[[permissions")])
