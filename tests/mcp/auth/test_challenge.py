"""What a server says when it refuses."""

from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.client.auth.utils import extract_field_from_www_auth

from patina.mcp.auth.challenge import challenge_of, challenges
from patina.mcp.auth.shapes import Challenge

PRM = "https://a.example/.well-known/oauth-protected-resource/mcp"


def said(header: str, status: int = 401, **headers: str) -> Challenge:
    return challenge_of(status, {"www-authenticate": header, **headers})


def test_the_fields_of_a_refusal() -> None:
    found = said(
        f'Bearer error="insufficient_scope", scope="files:read  files:write",'
        f' resource_metadata="{PRM}", error_description="More, \\"please\\""',
        403,
    )
    assert found == Challenge(
        status=403,
        scheme="Bearer",
        resource_metadata=PRM,
        scope="files:read files:write",
        error="insufficient_scope",
        description='More, "please"',
    )


def test_nothing_said_is_nothing_known() -> None:
    assert challenge_of(401, {}) == Challenge(status=401)


@pytest.mark.parametrize(
    ("header", "schemes"),
    [
        ("Bearer", ["Bearer"]),
        ("Basic realm=x, Bearer scope=a", ["Basic", "Bearer"]),
        ('Negotiate abc==, Bearer realm="a, Basic b"', ["Negotiate", "Bearer"]),
        ('Bearer a=1, b=2, DPoP algs="ES256 RS256"', ["Bearer", "DPoP"]),
        (", ,Bearer , , DPoP", ["Bearer", "DPoP"]),
        ('Bearer realm = "x" , scope = y', ["Bearer"]),
    ],
)
def test_several_challenges_in_one_header(header: str, schemes: list[str]) -> None:
    assert [scheme for scheme, _ in challenges(header)] == schemes


def test_challenges_for_access_tokens_count_and_no_others() -> None:
    found = said(f'Basic realm="x", error="basic", DPoP algs="ES256", resource_metadata="{PRM}"')
    assert (found.scheme, found.error, found.resource_metadata) == ("DPoP", "", PRM)
    found = said('Bearer error="invalid_token", DPoP error="use_dpop_nonce", scope=a')
    assert (found.scheme, found.error, found.scope) == ("Bearer", "invalid_token", "a")
    assert said("Basic realm=x").scheme == "Basic"


def test_the_first_of_a_field_counts() -> None:
    assert said('Bearer scope="a", scope="b"').scope == "a"


def test_a_nonce_is_taken_if_it_fits_a_header() -> None:
    nonce = {"dpop-nonce": "eyJ7S_zG.eyJH0-Z.HX4w-7v"}
    assert challenge_of(401, nonce).dpop_nonce == nonce["dpop-nonce"]
    for odd in ("a b", "a\r\nb", "é", "x" * 2000):
        assert challenge_of(401, {"dpop-nonce": odd}).dpop_nonce == ""


def test_words_of_a_server_are_made_safe() -> None:
    found = said('Bearer error="\x1b[31mred", error_description="' + "\u202ex" * 4000 + '"')
    assert "\x1b" not in found.error
    assert "\u202e" not in found.description
    assert len(found.description) <= 300
    assert said('Bearer scope="a\x07b"').scope == ""
    assert said('Bearer scope="a\\\\b"').scope == ""


@given(st.text(max_size=400), st.integers(100, 599))
def test_no_header_is_too_odd(header: str, status: int) -> None:
    found = said(header, status, **{"dpop-nonce": header})
    assert found.status == status


@given(st.lists(st.sampled_from(["Bearer", "DPoP", " ", ",", '"', "\\", "=", "a", "é"])))
def test_no_mixture_of_its_own_signs_is_too_odd(parts: list[str]) -> None:
    said("".join(parts) * 50)


_VALUES = st.text(st.sampled_from("abcXYZ019 ,=/:-._~"), min_size=1, max_size=30)
_NAMES = st.sampled_from(["scope", "resource_metadata", "error", "realm"])


@given(st.dictionaries(_NAMES, _VALUES, min_size=1))
def test_fields_are_read_as_the_sdk_reads_them(fields: dict[str, str]) -> None:
    header = "Bearer " + ", ".join(f'{name}="{value}"' for name, value in fields.items())
    if any(name + "=" in value for name in fields for value in fields.values()):
        return  # the SDK looks for names in values too
    answer: Any = httpx2.Response(401, headers={"WWW-Authenticate": header})
    ours = challenges(header)[0][1]
    for name in fields:
        assert ours[name] == extract_field_from_www_auth(answer, name)
