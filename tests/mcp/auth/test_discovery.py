"""Finding out who signs people in to a server."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.client.auth.utils import (
    build_oauth_authorization_server_metadata_discovery_urls,
    build_protected_resource_metadata_discovery_urls,
)
from mcp.shared.auth_utils import check_resource_allowed
from tests.mcp.auth.strangers import ISSUER, Web, metadata

from patina.mcp.auth.discovery import (
    covers,
    discover,
    resource_of,
    resource_urls,
    server_of,
    server_urls,
)
from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.shapes import AuthServer, Challenge

URL = "https://mcp.example/mcp"
PATH = "https://mcp.example/.well-known/oauth-protected-resource/mcp"
ROOT = "https://mcp.example/.well-known/oauth-protected-resource"
AS = f"{ISSUER}/.well-known/oauth-authorization-server"
OPENID = f"{ISSUER}/.well-known/openid-configuration"
OLD = "https://mcp.example/.well-known/oauth-authorization-server"
PRM: dict[str, Any] = {
    "resource": URL,
    "authorization_servers": [ISSUER],
    "scopes_supported": ["a", "b"],
}
EVIL = "javascript:alert(1)"

pytestmark = pytest.mark.anyio


async def refused(web: Web, url: str = URL, **more: Any) -> SignInFault:
    with pytest.raises(SignInFault) as caught:
        await discover(web, url, more.pop("challenge", None), **more)
    assert caught.value.step == "discovery"
    return caught.value


async def test_from_the_server_to_its_authorization_server() -> None:
    web = Web({PATH: PRM, AS: metadata(scopes_supported=["a", 5, None], iss=1)})
    found = await discover(web, URL, None)
    assert (found.resource, found.scopes) == (URL, ("a", "b"))
    assert found.server == AuthServer(
        issuer=ISSUER,
        authorization_endpoint=f"{ISSUER}/authorize",
        token_endpoint=f"{ISSUER}/token",
        registration_endpoint=f"{ISSUER}/register",
        challenges=("S256",),
        scopes=("a",),
    )
    assert web.asked == [PATH, AS]
    assert {request.method for request in web.requests} == {"GET"}


async def test_the_place_in_the_header_comes_first() -> None:
    at = "https://mcp.example/custom/place.json"
    web = Web({at: PRM, AS: metadata()})
    await discover(web, URL, Challenge(resource_metadata=at))
    assert web.asked == [at, AS]


async def test_what_is_no_metadata_is_passed_over() -> None:
    root = PRM | {"resource": "https://mcp.example"}
    odds: list[Any] = [404, 401, (200, b"<html>"), (200, b"[" * 100_000), (200, []), (200, {})]
    for odd in odds:
        web = Web({PATH: odd, ROOT: root, AS: odd, OPENID: metadata()})
        found = await discover(web, URL, None)
        assert found.resource == "https://mcp.example"
        assert web.asked == [PATH, ROOT, AS, OPENID]


@pytest.mark.parametrize(
    ("issuer", "place"),
    [
        (f"{ISSUER}/t1", f"{ISSUER}/.well-known/oauth-authorization-server/t1"),
        (f"{ISSUER}/t1", f"{ISSUER}/.well-known/openid-configuration/t1"),
        (f"{ISSUER}/t1", f"{ISSUER}/t1/.well-known/openid-configuration"),
    ],
)
async def test_issuers_with_a_path(issuer: str, place: str) -> None:
    web = Web({place: metadata(issuer), AS: metadata()})
    assert (await server_of(web, issuer)).issuer == issuer
    assert AS not in web.asked


async def test_what_it_promises() -> None:
    more: dict[str, Any] = {
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": True,
        "dpop_signing_alg_values_supported": ["ES256"],
        "grant_types_supported": ["authorization_code"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint": f"{ISSUER}/revoke",
        "userinfo_endpoint": f"{ISSUER}/me",
    }
    found = await server_of(Web({AS: metadata(**more)}), ISSUER)
    assert found.iss
    assert found.cimd
    assert (found.dpop, found.grants, found.methods) == (
        ("ES256",),
        ("authorization_code",),
        ("none",),
    )
    assert (found.revocation_endpoint, found.userinfo_endpoint) == (
        f"{ISSUER}/revoke",
        f"{ISSUER}/me",
    )
    odd: dict[str, Any] = dict.fromkeys(more, "true") | {
        "revocation_endpoint": 5,
        "userinfo_endpoint": None,
    }
    found = await server_of(Web({AS: metadata(**odd)}), ISSUER)
    assert not found.iss
    assert not found.cimd
    assert not found.methods


# --- the older era ---


async def test_a_server_that_signs_people_in_itself() -> None:
    own = metadata("https://mcp.example")
    web = Web({OLD: own})
    found = await discover(web, URL, Challenge())
    assert found.server.issuer == "https://mcp.example"
    assert found.resource == ""
    assert not found.server.assumed
    assert web.asked == [PATH, ROOT, OLD]
    # The place is the same for both ways to write it, and nobody else wrote it.
    assert (
        await discover(Web({OLD: own | {"issuer": "https://mcp.example/"}}), URL, None)
    ).server.issuer == "https://mcp.example/"
    assert "calls itself" in str(await refused(Web({OLD: metadata()})))


async def test_a_server_without_any_metadata() -> None:
    found = await discover(Web(), "https://mcp.example/deep/mcp?x=1", None)
    assert found.server == AuthServer(
        issuer="https://mcp.example",
        authorization_endpoint="https://mcp.example/authorize",
        token_endpoint="https://mcp.example/token",
        registration_endpoint="https://mcp.example/register",
        assumed=True,
        guessed=True,
    )


async def test_a_server_that_is_unwell_is_not_taken_for_an_old_one() -> None:
    for status in (500, 502, 503, 429):
        fault = await refused(Web({PATH: status}))
        assert not fault.final
        assert str(status) in str(fault)
        fault = await refused(Web({PATH: PRM, AS: status}))
        assert not fault.final
    # One of its places is broken, and another is not.
    assert (await discover(Web({PATH: 500, ROOT: PRM, AS: metadata()}), URL, None)).resource == URL


# --- who it is ---


@pytest.mark.parametrize(
    "resource",
    [
        "https://evil.example/mcp",
        "http://mcp.example/mcp",
        "https://mcp.example:8443/mcp",
        "https://mcp.example/mc",
        "https://mcp.example/mcp/deeper",
        "https://mcp.example/other",
        "https://user@mcp.example/mcp",
        "https://mcp.example/mcp#here",
        "https://mcp.example/mcp?tenant=2",
        "https://mcp.example.evil.example/mcp",
        "https://mcp.example:x/",
        "https://[mcp.example/mcp",
        "mcp.example/mcp",
        EVIL,
    ],
)
async def test_metadata_of_another_server_ends_it(resource: str) -> None:
    web = Web({PATH: PRM | {"resource": resource}, ROOT: PRM, AS: metadata()})
    fault = await refused(web)
    assert fault.final
    assert web.asked == [PATH]


@pytest.mark.parametrize("resource", [URL, "https://mcp.example", "https://MCP.example:443/"])
async def test_a_resource_is_the_server_or_above_it(resource: str) -> None:
    web = Web({PATH: PRM | {"resource": resource}, AS: metadata()})
    assert (await discover(web, URL, None)).resource == resource


@pytest.mark.parametrize(
    "issuer", ["https://as.example/", "https://AS.example", "https://evil.example", "as.example"]
)
async def test_an_issuer_is_compared_as_it_is_written(issuer: str) -> None:
    web = Web({PATH: PRM, AS: metadata(issuer), OPENID: metadata()})
    fault = await refused(web)
    assert "calls itself" in str(fault)
    assert web.asked == [PATH, AS]


@pytest.mark.parametrize("path", ["", "/tenant"])
async def test_the_slash_that_servers_of_the_python_sdk_add(path: str) -> None:
    """They write issuers with a URL class, which ends an origin with a slash, and no other."""
    issuer = f"https://slash.example{path}"
    at = f"https://slash.example/.well-known/oauth-authorization-server{path}"
    web = Web({PATH: PRM | {"authorization_servers": [f"{issuer}/"]}, at: metadata(issuer)})
    if path:
        assert "calls itself" in str(await refused(web))
    else:
        assert (await discover(web, URL, None)).server.issuer == issuer


async def test_an_authorization_server_without_metadata_is_a_dead_end() -> None:
    fault = await refused(Web({PATH: PRM}))
    assert "publishes no metadata" in str(fault)
    assert "token_endpoint" in fault.failure.hint


async def test_the_issuer_that_the_user_trusts_is_the_only_one() -> None:
    other = "https://other.example"
    both = PRM | {"authorization_servers": [other, ISSUER]}
    web = Web({PATH: both, AS: metadata()})
    assert (await discover(web, URL, None, issuer=ISSUER)).server.issuer == ISSUER
    # Pinning is the way out where the two sides write it differently.
    slash = PRM | {"authorization_servers": [ISSUER + "/"]}
    found = await discover(Web({PATH: slash, AS: metadata()}), URL, None, issuer=ISSUER)
    assert found.server.issuer == ISSUER
    fault = await refused(Web({PATH: PRM | {"authorization_servers": [other]}}), issuer=ISSUER)
    assert "you trust only" in str(fault)
    bearer = Challenge(scheme="Bearer")
    for challenge in (bearer, Challenge(scheme="DPoP")):
        found = await discover(Web({AS: metadata()}), URL, challenge, issuer=ISSUER)
        assert found.server.issuer == ISSUER


# P-05 P-09
async def test_a_trusted_issuer_that_the_server_does_not_name_is_none_for_it() -> None:
    bearer = Challenge(scheme="Bearer")
    named = {name: value for name, value in PRM.items() if name != "authorization_servers"}
    basic, other = Challenge(scheme="Basic"), "https://other.example/authorize"
    for pages, challenge in (
        ({PATH: named}, bearer),  # it publishes metadata, and nobody in it
        ({}, None),
        ({}, basic),
        ({}, Challenge(scheme="Bearer", authorization_uri=other)),
    ):
        web = Web({**pages, AS: metadata()})
        fault = await refused(web, challenge=challenge, issuer=ISSUER)
        assert ISSUER in str(fault)
        assert AS not in web.asked
    hinted = Challenge(scheme="Bearer", authorization_uri=f"{ISSUER}/authorize")
    web = Web({PATH: named, AS: metadata()})
    assert (await discover(web, URL, hinted, issuer=ISSUER)).server.issuer == ISSUER


# --- what is not safe ---


@pytest.mark.parametrize("methods", [None, [], ["plain"], "S256", ["s256"]])
async def test_without_pkce_nobody_signs_in(methods: Any) -> None:
    pages = {PATH: PRM, AS: metadata(code_challenge_methods_supported=methods)}
    assert "PKCE" in str(await refused(Web(pages)))
    assert (await discover(Web(pages), URL, None, machine=True)).server.issuer == ISSUER


# Regression: CVE-2025-6514, CVE-2025-54074, CVE-2025-54382, CVE-2025-58444
@pytest.mark.parametrize(
    "evil",
    [
        EVIL,
        " JavaScript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "vbscript:x",
        "http://as.example/x",
        "ftp://as.example/x",
        "https://as.example/$(calc)\n",
        'https://as.example/"&calc',
        "https://user@as.example/",
        "https://127.0.0.1/x",
        "http://localhost:9/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://0.0.0.0/x",
        "//as.example/x",
        "https://",
        "https://as.example:99999/",
        "x" * 60_000,
    ],
)
@pytest.mark.parametrize(
    "field",
    [
        "authorization_endpoint",
        "token_endpoint",
        "registration_endpoint",
        "revocation_endpoint",
        "userinfo_endpoint",
    ],
)
async def test_no_field_leads_to_a_place_that_is_none(field: str, evil: str) -> None:
    fault = await refused(Web({PATH: PRM, AS: metadata(**{field: evil})}))
    assert len(str(fault)) < 600
    assert "\n" not in str(fault)


@pytest.mark.parametrize("evil", [EVIL, "\x01JAVASCRIPT :x", "data:text/html,x"])
@pytest.mark.parametrize(
    "field",
    ["jwks_uri", "service_documentation", "op_policy_uri", "op_tos_uri", "odd", "ui_locales"],
)
async def test_no_field_would_run(field: str, evil: str) -> None:
    values: list[Any] = [evil, ["fine", evil]]
    for value in values:
        await refused(Web({PATH: PRM, AS: metadata(**{field: value})}))
        await refused(Web({PATH: PRM | {field: value}, AS: metadata()}))


@pytest.mark.parametrize(
    "issuer", [EVIL, "http://as.example", "https://127.0.0.1", "http://localhost:1", "https://a@b"]
)
async def test_no_authorization_server_is_a_place_that_is_none(issuer: str) -> None:
    web = Web({PATH: PRM | {"authorization_servers": [issuer]}})
    await refused(web)
    assert web.asked == [PATH]


async def test_no_header_leads_to_a_place_that_is_none() -> None:
    for evil in (EVIL, "http://mcp.example/x", "http://127.0.0.1/x", "https://"):
        web = Web({PATH: PRM, AS: metadata()})
        await refused(web, challenge=Challenge(resource_metadata=evil))
        assert web.asked == []


async def test_all_may_be_on_this_machine_if_the_server_is() -> None:
    url, issuer = "http://127.0.0.1:1/mcp", "http://localhost:2"
    at = "http://127.0.0.1:1/.well-known/oauth-protected-resource/mcp"
    prm = {"resource": url, "authorization_servers": [issuer]}
    pages = {at: prm, f"{issuer}/.well-known/oauth-authorization-server": metadata(issuer)}
    assert (await discover(Web(pages), url, None)).server.issuer == issuer


async def test_metadata_of_no_end() -> None:
    scopes = [f"s{number}" for number in range(5000)]
    found = await server_of(Web({AS: metadata(scopes_supported=scopes)}), ISSUER)
    assert len(found.scopes) == 500
    big = b'{"issuer": "' + b"x" * (2 * 1024 * 1024) + b'"}'
    assert "no metadata" in str(await refused(Web({PATH: PRM, AS: (200, big)})))


# --- as the SDK does it ---

_PATHS = st.lists(st.sampled_from(["a", "mcp", "t1"]), max_size=3).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)


@given(_PATHS, st.booleans())
def test_places_are_asked_in_the_order_of_the_sdk(path: str, header: bool) -> None:
    url, at = "https://a.example:8080" + path, "https://a.example/prm" if header else ""
    assert list(resource_urls(url, at)) == build_protected_resource_metadata_discovery_urls(
        at or None, url
    )
    assert list(server_urls(url)) == build_oauth_authorization_server_metadata_discovery_urls(
        url, url
    )


@given(_PATHS, _PATHS, st.booleans())
def test_parents_are_those_of_the_sdk(one: str, other: str, slash: bool) -> None:
    resource, url = "https://a.example" + one + "/" * slash, "https://a.example" + other
    assert covers(resource, url) == check_resource_allowed(url, resource)


@given(st.text(max_size=60))
def test_no_resource_is_too_odd(resource: str) -> None:
    covers(resource, URL)


def test_the_name_of_a_server_without_one() -> None:
    assert resource_of("HTTPS://MCP.example/Mcp?x=1#y") == "https://mcp.example/Mcp?x=1"
