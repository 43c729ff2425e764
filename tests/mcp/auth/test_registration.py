"""How an authorization server comes to know Patina."""

import json
from typing import Any

import pytest
from mcp.client.auth.utils import is_valid_client_metadata_url
from mcp.shared.auth import OAuthClientMetadata
from msgspec.structs import replace
from tests.mcp.auth.strangers import ISSUER, NOW, SERVER, Web

from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.registration import Wish, client_for, forget_client, is_metadata_url, port_of
from patina.mcp.auth.shapes import AuthServer, Client

REDIRECT = "http://127.0.0.1:5000/oauth/callback"
REGISTER = f"{ISSUER}/register"
WISH = Wish(redirect_uri=REDIRECT, scope="a b")
CIMD = "https://patina.example/client.json"
KEPT = Client(client_id="kept", issuer=ISSUER, origin="registered", redirect_uri=REDIRECT)

pytestmark = pytest.mark.anyio


async def registered(answer: Any, server: AuthServer = SERVER) -> tuple[Client, dict[str, Any]]:
    web = Web({REGISTER: answer})
    client = await client_for(web, server, WISH, None, now=NOW)
    [request] = web.requests
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/json"
    return client, json.loads(request.body)


async def refused(answer: Any, server: AuthServer = SERVER) -> SignInFault:
    with pytest.raises(SignInFault) as caught:
        await registered(answer, server)
    assert caught.value.step == "registration"
    return caught.value


async def test_registering() -> None:
    client, sent = await registered((201, {"client_id": "new"}))
    assert client == Client(
        client_id="new", issuer=ISSUER, origin="registered", redirect_uri=REDIRECT
    )
    assert sent == {
        "client_name": "Patina",
        "application_type": "native",
        "redirect_uris": [REDIRECT],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "scope": "a b",
    }
    OAuthClientMetadata.model_validate(sent)


@pytest.mark.parametrize(
    ("methods", "asked"),
    [
        ((), "none"),
        (("client_secret_post", "none"), "none"),
        (("client_secret_post", "client_secret_basic"), "client_secret_basic"),
        (("client_secret_post",), "client_secret_post"),
        (("tls_client_auth",), "none"),
    ],
)
async def test_it_asks_for_a_way_that_the_server_has(methods: tuple[str, ...], asked: str) -> None:
    answer = (201, {"client_id": "new", "client_secret": "s", "token_endpoint_auth_method": asked})
    client, sent = await registered(answer, replace(SERVER, methods=methods))
    assert sent["token_endpoint_auth_method"] == asked
    assert client.method == asked


async def test_what_was_told_counts_and_not_what_was_asked_for() -> None:
    told = {"client_id": "new", "client_secret": "s", "client_secret_expires_at": NOW + 9}
    client, _ = await registered((201, told | {"token_endpoint_auth_method": "client_secret_post"}))
    assert (client.method, client.secret, client.expires_at) == (
        "client_secret_post",
        "s",
        NOW + 9,
    )
    # RFC 7591 2: who says nothing of it means this, if nothing else is known of the server.
    client, _ = await registered((200, told))
    assert client.method == "client_secret_basic"
    client, _ = await registered((200, told), replace(SERVER, methods=("none",)))
    assert client.method == "none"


async def test_grants_that_the_server_has() -> None:
    _, sent = await registered(
        (201, {"client_id": "x"}), replace(SERVER, grants=("authorization_code",))
    )
    assert sent["grant_types"] == ["authorization_code"]


async def test_its_end_is_kept_if_it_is_at_the_same_place() -> None:
    uri = f"{ISSUER}/register/new"
    more = {"client_id": "new", "registration_access_token": "t"}
    client, _ = await registered((201, more | {"registration_client_uri": uri}))
    assert (client.registration_uri, client.registration_token) == (uri, "t")
    for odd in ("https://evil.example/register/new", "http://as.example/register", "", 5):
        client, _ = await registered((201, more | {"registration_client_uri": odd}))
        assert (client.registration_uri, client.registration_token) == ("", "")


@pytest.mark.parametrize(
    "answer",
    [
        (201, {}),
        (201, {"client_id": 5}),
        (201, {"client_id": "a\r\nb"}),
        (201, b"<html>"),
        (201, b"[" * 200_000),
        (302, {"client_id": "x"}),
        (201, {"client_id": "x", "token_endpoint_auth_method": "tls_client_auth"}),
        (201, {"client_id": "x", "token_endpoint_auth_method": "client_secret_basic"}),
        (201, {"client_id": "x", "token_endpoint_auth_method": ["none"]}),
        (201, {"client_id": "x", "client_uri": "javascript:alert(1)"}),
        (201, {"client_id": "x", "logo_uri": "data:text/html,x"}),
        403,
        404,
    ],
)
async def test_an_answer_that_is_none(answer: Any) -> None:
    assert (await refused(answer)).final


async def test_a_refusal_is_told_in_its_own_words() -> None:
    fields = {"error": "invalid_redirect_uri", "error_description": "no\x1b[2J loopback" * 99}
    fault = await refused((400, fields))
    assert fault.error == "invalid_redirect_uri"
    assert "\x1b" not in str(fault)
    assert len(str(fault)) < 500
    assert "client_id" in fault.failure.hint
    for status in (429, 503):
        assert not (await refused((status, {}))).final


async def test_nobody_registers_where_that_cannot_be() -> None:
    fault = await refused(201, replace(SERVER, registration_endpoint=""))
    assert "does not let Patina register" in str(fault)
    assert "client_id" in fault.failure.hint


# --- which client ---


@pytest.mark.parametrize(
    ("more", "methods", "method"),
    [
        ({}, (), "none"),
        ({"secret": "s"}, (), "client_secret_basic"),
        ({"secret": "s"}, ("client_secret_post",), "client_secret_post"),
        ({"secret": "s"}, ("client_secret_post", "client_secret_basic"), "client_secret_basic"),
        ({"private_key": "pem", "secret": "s"}, (), "private_key_jwt"),
    ],
)
async def test_a_configured_client_comes_first(
    more: dict[str, str], methods: tuple[str, ...], method: str
) -> None:
    wish = Wish(client_id="mine", metadata_url=CIMD, redirect_uri=REDIRECT, **more)
    web = Web()
    client = await client_for(web, replace(SERVER, cimd=True, methods=methods), wish, KEPT, now=NOW)
    assert (client.client_id, client.method, client.origin) == ("mine", method, "configured")
    assert client.issuer == ISSUER
    assert not web.requests


async def test_a_client_that_is_known_by_its_address() -> None:
    wish = replace(WISH, metadata_url=CIMD)
    client = await client_for(Web(), replace(SERVER, cimd=True), wish, KEPT, now=NOW)
    assert (client.client_id, client.origin, client.method) == (CIMD, "metadata_url", "none")
    signing = replace(wish, private_key="pem")
    server = replace(SERVER, cimd=True, methods=("private_key_jwt",))
    assert (await client_for(Web(), server, signing, None, now=NOW)).method == "private_key_jwt"
    # Only where it was advertised.
    assert await client_for(Web(), SERVER, wish, KEPT, now=NOW) == KEPT
    odd = replace(WISH, metadata_url="http://patina.example/x")
    with pytest.raises(SignInFault, match="metadata cannot be used"):
        await client_for(Web(), replace(SERVER, cimd=True), odd, None, now=NOW)


@pytest.mark.parametrize(
    "url", [CIMD, "https://a.example", "https://a.example/", "http://a.example/x", "x", ""]
)
def test_addresses_of_clients_are_those_of_the_sdk(url: str) -> None:
    assert is_metadata_url(url) == is_valid_client_metadata_url(url)


def test_addresses_of_clients_are_plain() -> None:
    for odd in ("https://a@b.example/x", "https://a.example/../x", "https://a.example/x#y"):
        assert not is_metadata_url(odd)


async def test_a_kept_client_is_used_again_where_it_was_made() -> None:
    web = Web({REGISTER: (201, {"client_id": "new"})})
    assert await client_for(web, SERVER, WISH, KEPT, now=NOW) == KEPT
    good = replace(KEPT, secret="s", expires_at=NOW + 3600)
    assert await client_for(web, SERVER, WISH, good, now=NOW) == good
    assert not web.requests


@pytest.mark.parametrize(
    "odd",
    [
        {"issuer": "https://other.example"},
        {"issuer": ISSUER + "/"},
        {"issuer": ""},
        {"expires_at": NOW - 1, "secret": "s"},
        {"expires_at": NOW + 10, "secret": "s"},
        {"redirect_uri": "http://127.0.0.1:6000/oauth/callback"},
        {"origin": "configured"},
        {"origin": "metadata_url"},
    ],
)
async def test_a_kept_client_is_not_used_where_it_does_not_fit(odd: dict[str, Any]) -> None:
    web = Web({REGISTER: (201, {"client_id": "new"})})
    client = await client_for(web, SERVER, WISH, replace(KEPT, **odd), now=NOW)
    assert client.client_id == "new"
    assert b"kept" not in web.requests[0].body


async def test_ending_a_registration() -> None:
    uri = f"{ISSUER}/register/kept"
    client = replace(KEPT, registration_uri=uri, registration_token="t")
    for status in (204, 200, 401, 404):
        web = Web({uri: status})
        await forget_client(web, client)
        [request] = web.requests
        assert (request.method, request.url) == ("DELETE", uri)
        assert request.headers == {"authorization": "Bearer t"}
    for status, final in ((403, True), (405, True), (503, False)):
        with pytest.raises(SignInFault, match=str(status)) as caught:
            await forget_client(Web({uri: status}), client)
        assert caught.value.final is final
    web = Web()
    await forget_client(web, KEPT)
    assert not web.requests


def test_the_port_of_a_client() -> None:
    assert port_of(KEPT) == 5000
    assert port_of(replace(KEPT, redirect_uri="patina://oauth/callback")) == 0
    assert port_of(replace(KEPT, redirect_uri="http://127.0.0.1:99999/")) == 0
    assert port_of(None) == 0


async def test_a_client_that_may_not_ask_for_so_much_is_registered_anew() -> None:
    """Some servers bind a client to the scope it was registered for: a step up needs another."""
    client, _ = await registered((201, {"client_id": "new", "scope": "a b"}))
    assert client.scope == "a b"
    web = Web({REGISTER: (201, {"client_id": "wider", "scope": "a b c"})})
    narrow = replace(WISH, scope="b")
    assert await client_for(web, SERVER, narrow, client, now=NOW) == client
    wide = replace(WISH, scope="a b c")
    found = await client_for(web, SERVER, wide, client, now=NOW)
    assert (found.client_id, found.scope) == ("wider", "a b c")
    assert json.loads(web.requests[0].body)["scope"] == "a b c"
