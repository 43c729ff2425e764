"""The wire alias (A-23)."""

import re
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patina.mcp.names import alias, aliases
from patina.model.chat import split_tool_name

SERVERS = st.text("abc_-09", min_size=1, max_size=32)
TOOLS = st.text(min_size=1, max_size=90) | st.text("ab_.-", min_size=1, max_size=70)
NAMES = st.builds("{}.{}".format, SERVERS, TOOLS)


#
@settings(deadline=None)
@given(st.lists(NAMES, max_size=30))
def test_a_listing_has_legal_aliases_that_are_all_different(names: list[str]) -> None:
    found = aliases(names)
    assert set(found) == set(names)
    assert len(set(found.values())) == len(found)
    for name in found.values():
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name)


#
@settings(deadline=None)
@given(st.lists(NAMES, max_size=10, unique=True), st.randoms())
def test_the_order_of_a_listing_does_not_matter(names: list[str], random: Random) -> None:
    shuffled = list(names)
    random.shuffle(shuffled)
    assert aliases(shuffled) == aliases(names)


@settings(deadline=None)
@given(SERVERS, TOOLS)
def test_the_first_dot_parts_server_and_tool(server: str, tool: str) -> None:
    assert split_tool_name(f"{server}.{tool}") == (server, tool)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("github.search", "github__search"),
        ("my-files.read_file", "my-files__read_file"),
        ("s." + "x" * 61, "s__" + "x" * 61),
    ],
)
def test_plain_names_stay_readable(name: str, expected: str) -> None:
    assert alias(name) == expected


@pytest.mark.parametrize("name", ["s.a b", "s.a.b", "s." + "x" * 62, "a__b.c", "a_.b", "s.é"])
def test_other_names_get_a_hash(name: str) -> None:
    assert re.fullmatch(r".+_[0-9a-f]{8}", alias(name))
    assert len(alias(name)) <= 64


def test_names_that_would_share_an_alias_get_a_hash() -> None:
    spaced = alias("s.a b")
    crafted = f"s.{spaced.removeprefix('s__')}"
    assert alias(crafted) == spaced
    found = aliases([crafted, "s.a b"])
    assert len(set(found.values())) == 2
