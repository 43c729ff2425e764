"""What token endpoints give, and the end of it."""

from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote_plus

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.mcp.auth.strangers import ISSUER, NOW, SERVER, Web

from patina.mcp.auth import dpop
from patina.mcp.auth.assertions import Signing
from patina.mcp.auth.authorization import Pending
from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.shapes import AuthServer, Client, Fetch, Tokens
from patina.mcp.auth.token_endpoint import end_of
from patina.mcp.auth.tokens import (
    by_assertion,
    exchange,
    for_machine,
    id_jag,
    is_expired,
    renew,
    revoke,
)

TOKEN = f"{ISSUER}/token"
REVOKE = f"{ISSUER}/revoke"
RESOURCE = "https://mcp.example/mcp"
PUBLIC = Client(client_id="me", issuer=ISSUER)
PENDING = Pending(
    url="", state="s", verifier="v" * 64, redirect_uri="http://127.0.0.1:1/x", scope="a b"
)
GIVEN = {"access_token": "at", "token_type": "Bearer"}
OLD = Tokens(access="old", refresh="rt-1", scope="a", id_token="id", expires_at=NOW)

pytestmark = pytest.mark.anyio


async def given_for(page: Any, client: Client = PUBLIC, **more: Any) -> Tokens:
    web = page if isinstance(page, Web) else Web({TOKEN: page})
    return await exchange(web, SERVER, client, PENDING, "code", resource=RESOURCE, now=NOW, **more)


async def refused(page: Any, **more: Any) -> SignInFault:
    with pytest.raises(SignInFault) as caught:
        await given_for(page, **more)
    assert caught.value.step == "token"
    return caught.value


# A-48
async def test_a_code_becomes_tokens() -> None:
    fields = GIVEN | {"scope": "repo", "refresh_token": "rt", "expires_in": 28800, "id_token": "i"}
    web = Web({TOKEN: fields})
    assert await given_for(web) == Tokens(
        access="at",
        kind="Bearer",
        refresh="rt",
        expires_at=NOW + 28800,
        scope="repo",
        id_token="i",
    )
    [request] = web.requests
    assert (request.method, request.url) == ("POST", TOKEN)
    assert request.headers == {
        "content-type": "application/x-www-form-urlencoded",
        "accept": "application/json",
    }
    assert request.form == {
        "grant_type": "authorization_code",
        "code": "code",
        "redirect_uri": PENDING.redirect_uri,
        "code_verifier": PENDING.verifier,
        "resource": RESOURCE,
        "client_id": "me",
    }


# A-48
async def test_a_renewal_keeps_what_is_not_said_anew() -> None:
    web = Web({TOKEN: [GIVEN, GIVEN | {"refresh_token": "rt-2", "scope": "b", "id_token": "j"}]})
    first = await renew(web, SERVER, PUBLIC, OLD, resource=RESOURCE, now=NOW)
    assert first == Tokens(access="at", refresh="rt-1", scope="a", id_token="id")
    assert web.requests[0].form == {
        "grant_type": "refresh_token",
        "refresh_token": "rt-1",
        "resource": RESOURCE,
        "client_id": "me",
    }
    second = await renew(web, SERVER, PUBLIC, first, resource=RESOURCE, scope="b", now=NOW)
    assert (second.refresh, second.scope, second.id_token) == ("rt-2", "b", "j")
    assert web.requests[1].form["scope"] == "b"


async def test_a_renewal_that_cannot_be() -> None:
    async def fault(page: Any, tokens: Tokens = OLD) -> SignInFault:
        web = Web({TOKEN: page})
        with pytest.raises(SignInFault) as caught:
            await renew(web, SERVER, PUBLIC, tokens, resource=RESOURCE, now=NOW)
        assert caught.value.step == "refresh"
        return caught.value

    assert (await fault(GIVEN, Tokens(access="x"))).final
    gone = await fault((400, {"error": "invalid_grant", "error_description": "expired"}))
    assert gone.final
    assert gone.error == "invalid_grant"
    assert "expired" in str(gone)
    # What says nothing about the grant does not end it.
    for page in (503, 429, (403, b"<html>proxy"), (302, b""), (500, {"error": "invalid_grant"})):
        assert not (await fault(page)).final
    assert not (await fault((400, {"error": "temporarily_unavailable"}))).final


# A-49
def test_a_token_ends_when_it_says() -> None:
    assert is_expired(Tokens(access="x", expires_at=NOW - 1), NOW)
    assert is_expired(Tokens(access="x", expires_at=NOW), NOW)
    assert not is_expired(Tokens(access="x", expires_at=NOW + 1), NOW)
    assert not is_expired(Tokens(access="x"), NOW)
    assert is_expired(Tokens(access="x", expires_at=NOW + 59), NOW, early=60)
    assert not is_expired(Tokens(access="x"), NOW, early=1e12)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (3600, 3600.0),
        (3600.5, 3600.5),
        ("3600", 3600.0),
        (" 3600 ", 3600.0),
        (1e300, 10 * 365 * 86400.0),
        (10**400, None),
        (0, None),
        (-5, None),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        (True, None),
        (None, None),
        ([3600], None),
        ("9" * 5000, 10 * 365 * 86400.0),
    ],
)
def test_how_long_a_token_lasts(said: Any, seconds: float | None) -> None:
    assert end_of(said, NOW) == (None if seconds is None else NOW + seconds)


@given(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.lists(st.integers(), max_size=2)
)
def test_an_end_is_in_the_future_or_there_is_none(said: Any) -> None:
    end = end_of(said, NOW)
    assert end is None or NOW <= end <= NOW + 10 * 365 * 86400


# --- who the client is ---


@pytest.mark.parametrize("name", ["me", "a:b c%+é&="])
async def test_a_client_with_a_secret(name: str) -> None:
    client = Client(client_id=name, secret="s/ :+é", issuer=ISSUER, method="client_secret_basic")
    web = Web({TOKEN: [GIVEN, GIVEN]})
    await given_for(web, client)
    scheme, _, pair = web.requests[0].headers["authorization"].partition(" ")
    assert scheme == "Basic"
    # RFC 6749 2.3.1: both parts are encoded first, so that a colon is no end.
    assert [unquote_plus(part) for part in b64decode(pair).decode().split(":")] == [name, "s/ :+é"]
    assert not {"client_id", "client_secret"} & set(web.requests[0].form)
    await given_for(web, replace(client, method="client_secret_post"))
    assert "authorization" not in web.requests[1].headers
    assert web.requests[1].form["client_id"] == name
    assert web.requests[1].form["client_secret"] == "s/ :+é"


async def test_a_client_with_a_private_key() -> None:
    client = Client(client_id="me", issuer=ISSUER, method="private_key_jwt")
    web = Web({TOKEN: GIVEN})
    tokens = await for_machine(
        web,
        SERVER,
        client,
        resource=RESOURCE,
        scope="a",
        now=NOW,
        signing=Signing(key=dpop.new_key()),
    )
    assert (tokens.access, tokens.scope) == ("at", "a")
    form = web.requests[0].form
    claims = jwt.decode(form.pop("client_assertion"), options={"verify_signature": False})
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("me", "me", ISSUER)
    assert form == {
        "grant_type": "client_credentials",
        "scope": "a",
        "resource": RESOURCE,
        "client_id": "me",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }


_CALLS: list[Callable[[Fetch, AuthServer, Client], Awaitable[object]]] = [
    lambda web, at, who: exchange(web, at, who, PENDING, "c", resource=RESOURCE, now=NOW),
    lambda web, at, who: renew(web, at, who, OLD, resource=RESOURCE, now=NOW),
    lambda web, at, who: for_machine(web, at, who, resource=RESOURCE, scope="", now=NOW),
    lambda web, at, who: by_assertion(web, at, who, "j", resource=RESOURCE, scope="", now=NOW),
    lambda web, at, who: revoke(web, at, who, OLD, now=NOW),
]


@pytest.mark.parametrize("call", _CALLS)
async def test_a_client_of_another_server_is_never_sent(
    call: Callable[[Fetch, AuthServer, Client], Awaitable[object]],
) -> None:
    web = Web({TOKEN: GIVEN})
    for issuer in ("https://other.example", ISSUER + "/"):
        with pytest.raises(SignInFault):
            await call(web, SERVER, replace(PUBLIC, issuer=issuer))
    assert not web.requests


@pytest.mark.parametrize("call", _CALLS[:4])
async def test_no_endpoint_is_a_sentence(
    call: Callable[[Fetch, AuthServer, Client], Awaitable[object]],
) -> None:
    with pytest.raises(SignInFault, match="no token endpoint"):
        await call(Web(), replace(SERVER, token_endpoint=""), PUBLIC)


# --- answers ---


async def test_an_answer_as_a_form() -> None:
    for kind in ("application/x-www-form-urlencoded; charset=utf-8", "text/plain"):
        page = (200, b"access_token=gho_1&scope=repo%2Cgist&token_type=bearer")
        tokens = await given_for((*page, {"content-type": kind}))
        assert tokens == Tokens(access="gho_1", scope="repo,gist")


async def test_an_error_with_status_200() -> None:
    fields = {"error": "bad_verification_code", "error_description": "The code is incorrect."}
    fault = await refused(fields)
    assert fault.error == "bad_verification_code"
    assert "incorrect" in str(fault)
    page = (200, b"error=x&access_token=a", {"content-type": "application/x-www-form-urlencoded"})
    assert (await refused(page)).error == "x"
    # Whatever else it gives: an error is one.
    assert (await refused(GIVEN | {"error": "x"})).error == "x"


@pytest.mark.parametrize(
    "page",
    [
        (200, b""),
        (200, b"<html>"),
        (200, b"[" * 200_000),
        (200, b'{"a":' * 100_000),
        (200, []),
        (200, {}),
        (200, {"access_token": ""}),
        (200, {"access_token": 5}),
        (200, {"access_token": "a\r\nX: y"}),
        (200, {"access_token": "tökén"}),
        (200, {"access_token": "a b"}),
        (200, {"access_token": "x" * 100_000}),
        (200, GIVEN | {"token_type": "mac"}),
        (200, GIVEN | {"token_type": "DPoP"}),
        (200, {"error": ["x"]} | GIVEN),
        (301, GIVEN),
        (400, GIVEN),
        (401, {"error": "invalid_client"}),
        (200, b"access_token=x", {"content-type": "text/html"}),
        (200, b"a=b&" * 100, {"content-type": "application/x-www-form-urlencoded"}),
        (200, b"\xff=\xff", {"content-type": "text/plain"}),
    ],
)
async def test_an_answer_that_is_none(page: Any) -> None:
    assert str(await refused(page)).isprintable()


@pytest.mark.parametrize("kind", ["bearer", "BEARER", "Bearer", None, 5])
async def test_ways_to_write_a_bearer_token(kind: Any) -> None:
    fields = {"access_token": "at", "token_type": kind, "error": None}
    assert (await given_for(fields)).kind == "Bearer"


async def test_what_was_asked_for_is_granted_if_nothing_is_said() -> None:
    assert (await given_for(GIVEN)).scope == "a b"
    assert (await given_for(GIVEN | {"scope": ["a"]})).scope == "a b"


async def test_words_of_an_error_are_made_safe() -> None:
    words = "\x1b]52;c;x\x07" + "\u202e" + "y" * 9000
    fault = await refused((400, {"error": "invalid_\ngrant", "error_description": words}))
    assert str(fault).isprintable()
    assert len(str(fault)) < 500


async def test_a_wrong_client_is_told_where_to_look() -> None:
    fault = await refused((401, {"error": "invalid_client"}))
    assert fault.final
    assert "client_secret" in fault.failure.hint


@given(st.binary(max_size=200), st.sampled_from(["application/json", "text/plain", ""]))
async def test_no_answer_is_too_odd(body: bytes, kind: str) -> None:
    try:
        tokens = await given_for((200, body, {"content-type": kind}))
    except SignInFault as fault:
        words = str(fault)
    else:
        words = tokens.access
    assert words.isprintable()


# --- proofs (RFC 9449) ---


def claims_of(proof: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(proof, options={"verify_signature": False})
    return found


async def test_a_token_that_is_bound_to_a_key() -> None:
    key = dpop.new_key()
    web = Web({TOKEN: GIVEN | {"token_type": "dpop"}})
    assert (await given_for(web, key=key)).kind == "DPoP"
    claims = claims_of(web.requests[0].headers["dpop"])
    assert (claims["htm"], claims["htu"], claims["iat"]) == ("POST", TOKEN, NOW)
    assert "ath" not in claims
    # A server that binds nothing gives a token as any other.
    assert (await given_for(GIVEN, key=key)).kind == "Bearer"


@pytest.mark.parametrize("status", [400, 401])
async def test_a_nonce_that_the_server_wants_to_see(status: int) -> None:
    key = dpop.new_key()
    wants = (status, {"error": "use_dpop_nonce"}, {"dpop-nonce": "n-1"})
    web = Web({TOKEN: [wants, GIVEN | {"token_type": "DPoP"}]})
    assert (await given_for(web, key=key)).kind == "DPoP"
    one, other = (claims_of(request.headers["dpop"]) for request in web.requests)
    assert "nonce" not in one
    assert other["nonce"] == "n-1"
    assert one["jti"] != other["jti"]
    # Once: whoever wants another one each time gets none.
    web = Web({TOKEN: [wants, wants, GIVEN]})
    assert (await refused(web, key=key)).error == "use_dpop_nonce"
    assert len(web.requests) == 2


# --- assertions ---


async def test_an_assertion_of_a_workload() -> None:
    web = Web({TOKEN: GIVEN})
    await by_assertion(web, SERVER, PUBLIC, "jwt", resource=RESOURCE, scope="a", now=NOW)
    assert web.requests[0].form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": "jwt",
        "scope": "a",
        "resource": RESOURCE,
        "client_id": "me",
    }


@pytest.mark.parametrize("error", ["invalid_grant", "invalid_scope", "unauthorized_client"])
async def test_a_refused_assertion_is_not_sent_again(error: str) -> None:
    web = Web({TOKEN: (400, {"error": error})})
    with pytest.raises(SignInFault) as caught:
        await by_assertion(web, SERVER, PUBLIC, "jwt", resource=RESOURCE, scope="", now=NOW)
    assert caught.value.final
    assert caught.value.error == error
    assert len(web.requests) == 1


IDP = "https://idp.example/token"
ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"


async def by_employer(web: Web, at: str = IDP) -> Tokens:
    client = Client(client_id="me", secret="s", issuer=ISSUER, method="client_secret_basic")
    return await id_jag(
        web,
        SERVER,
        client,
        idp_token_endpoint=at,
        idp_client_id="there",
        idp_token="id",
        resource=RESOURCE,
        scope="a",
        now=NOW,
    )


async def test_who_is_signed_in_at_their_employer() -> None:
    grant = {"access_token": "jag", "issued_token_type": ID_JAG, "token_type": "N_A"}
    web = Web({IDP: grant, TOKEN: GIVEN})
    assert (await by_employer(web)).access == "at"
    first, second = web.requests
    assert first.form == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": ID_JAG,
        "audience": ISSUER,
        "resource": RESOURCE,
        "scope": "a",
        "subject_token": "id",
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "client_id": "there",
    }
    assert second.form["assertion"] == "jag"
    assert second.headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    "grant",
    [
        {"access_token": "jag", "token_type": "N_A"},
        {"access_token": "jag", "issued_token_type": "urn:x", "token_type": "N_A"},
        {"issued_token_type": ID_JAG},
        (400, {"error": "invalid_grant"}),
    ],
)
async def test_an_employer_who_gives_no_grant(grant: Any) -> None:
    web = Web({IDP: grant, TOKEN: GIVEN})
    with pytest.raises(SignInFault):
        await by_employer(web)
    assert web.asked == [IDP]


async def test_an_employer_at_a_place_that_is_none() -> None:
    web = Web()
    for odd in ("http://idp.example/token", "javascript:x", "file:///x"):
        with pytest.raises(SignInFault):
            await by_employer(web, odd)
    assert not web.requests


# --- the end (RFC 7009) ---


async def test_the_refresh_token_ends_first() -> None:
    web = Web({REVOKE: (200, b"")})
    await revoke(web, SERVER, PUBLIC, OLD, now=NOW)
    assert [
        (request.form["token"], request.form["token_type_hint"]) for request in web.requests
    ] == [
        ("rt-1", "refresh_token"),
        ("old", "access_token"),
    ]
    assert {request.form["client_id"] for request in web.requests} == {"me"}


async def test_one_that_ends_with_its_refresh_token() -> None:
    unknown = (400, {"error": "unsupported_token_type"})
    await revoke(Web({REVOKE: [(200, b""), unknown]}), SERVER, PUBLIC, OLD, now=NOW)
    with pytest.raises(SignInFault):
        await revoke(Web({REVOKE: unknown}), SERVER, PUBLIC, Tokens(access="x"), now=NOW)


async def test_an_end_that_is_none() -> None:
    with pytest.raises(SignInFault, match="no way to end tokens"):
        await revoke(Web(), replace(SERVER, revocation_endpoint=""), PUBLIC, OLD, now=NOW)
    for page, final in ((503, False), ((401, {"error": "invalid_client"}), True)):
        with pytest.raises(SignInFault) as caught:
            await revoke(Web({REVOKE: page}), SERVER, PUBLIC, OLD, now=NOW)
        assert caught.value.final is final
