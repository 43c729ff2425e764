"""Which scopes are asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.client.auth.utils import union_scopes
from msgspec.structs import replace
from tests.mcp.auth.strangers import SERVER

from patina.mcp.auth.scopes import choose, covers, union
from patina.mcp.auth.shapes import Challenge, Discovered

FOUND = Discovered(server=SERVER, scopes=("files:read", "files:write"))
OFFLINE = Discovered(server=replace(SERVER, scopes=("offline_access",)), scopes=("files:read",))


@pytest.mark.parametrize(
    ("found", "challenge", "configured", "asked", "scope"),
    [
        (FOUND, Challenge(scope="basic"), "", "", "basic"),
        (FOUND, Challenge(), "", "", "files:read files:write"),
        (FOUND, None, "", "", "files:read files:write"),
        (Discovered(server=SERVER), Challenge(), "", "", ""),
        # What a step up wanted once is asked for again.
        (FOUND, Challenge(scope="basic"), "", "files:write", "files:write basic"),
        # as it is written
        (FOUND, Challenge(scope="basic"), "repo,read:org", "", "repo,read:org"),
        (OFFLINE, Challenge(), "repo,read:org", "", "repo,read:org"),
        (OFFLINE, Challenge(), "", "", "files:read offline_access"),
        (OFFLINE, Challenge(scope="offline_access a"), "", "", "offline_access a"),
        # Nothing is asked for where nobody names a scope: not this one either.
        (replace(OFFLINE, scopes=()), Challenge(), "", "", ""),
        (FOUND, Challenge(status=403, scope="write"), "", "basic", "basic write"),
        (FOUND, Challenge(status=403, scope="write"), "", "write basic", "write basic"),
        (FOUND, Challenge(status=403, scope="write"), "repo,gist", "", "repo,gist write"),
        (FOUND, Challenge(status=403, scope="write"), "", "", "write"),
        (OFFLINE, Challenge(status=403, scope="a"), "", "b", "b a"),
    ],
)
def test_the_choice(
    found: Discovered, challenge: Challenge | None, configured: str, asked: str, scope: str
) -> None:
    assert choose(found, challenge, configured=configured, asked=asked) == scope


def test_a_machine_asks_for_no_refresh_token() -> None:
    assert choose(OFFLINE, None, machine=True) == "files:read"
    assert choose(OFFLINE, None, machine=True, configured="a b") == "a b"


_SCOPE = st.lists(st.sampled_from("abcde")).map(" ".join)


@given(_SCOPE, _SCOPE)
def test_a_union_holds_both_and_each_once(one: str, other: str) -> None:
    found = union(one, other)
    assert covers(found, one)
    assert covers(found, other)
    assert len(found.split()) == len(set(found.split()))
    assert covers(f"{one} {other}", found)


@given(_SCOPE.filter(lambda scope: len(set(scope.split())) == len(scope.split())), _SCOPE)
def test_a_union_is_that_of_the_sdk(one: str, other: str) -> None:
    if one and len(set(other.split())) == len(other.split()):
        assert union(one, other) == union_scopes(one, other)
