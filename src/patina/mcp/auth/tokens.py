"""What token endpoints give: exchange, renewal, machines, assertions, and the end of it all.

Facts: RFC 6749 4.1.3, 4.4, 6; RFC 7009 2; RFC 7523 2.1; RFC 8693 2; RFC 8707 2; RFC 9449 5.
"""

from typing import Final

from patina.mcp.auth.assertions import NO_SIGNING, Signing
from patina.mcp.auth.authorization import Pending
from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.reading import check_address, place, plain
from patina.mcp.auth.shapes import AuthServer, Client, Fetch, Tokens
from patina.mcp.auth.token_endpoint import TokenEndpoint

_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_ID_TOKEN: Final = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - the name of a kind
_ID_JAG: Final = "urn:ietf:params:oauth:token-type:id-jag"


async def exchange(
    fetch: Fetch,
    server: AuthServer,
    client: Client,
    pending: Pending,
    code: str,
    *,
    resource: str,
    now: float,
    key: str = "",
    signing: Signing = NO_SIGNING,
) -> Tokens:
    """Return the tokens for `code`, the answer to `pending`. `now` is seconds since 1970.

    With a `key` of `dpop.new_key` they are bound to it, if the server does that. Raises
    `SignInFault` of the step "token"; a code is good for one try.
    """
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": pending.redirect_uri,
        "code_verifier": pending.verifier,
        "resource": resource,
    }
    endpoint = TokenEndpoint(fetch, server, client, key=key, signing=signing, now=now)
    return await endpoint.tokens(form, scope=pending.scope)


async def renew(
    fetch: Fetch,
    server: AuthServer,
    client: Client,
    tokens: Tokens,
    *,
    resource: str,
    scope: str = "",
    now: float,
    key: str = "",
    signing: Signing = NO_SIGNING,
) -> Tokens:
    """Return new tokens in place of `tokens`; what the server does not say anew is kept.

    `scope` asks for less than was granted. Raises `SignInFault` of the step "refresh": final with
    the error "invalid_grant" where a person has to sign in, not final where waiting may help.
    """
    if not tokens.refresh:
        raise SignInFault(
            f"What {place(server.issuer)} gave cannot be renewed.", step="refresh", hint="Sign in."
        )
    form = {
        "grant_type": "refresh_token",
        "refresh_token": tokens.refresh,
        "scope": scope,
        "resource": resource,
    }
    endpoint = TokenEndpoint(
        fetch, server, client, key=key, signing=signing, now=now, step="refresh"
    )
    return await endpoint.tokens(form, scope=tokens.scope, kept=tokens)


async def for_machine(
    fetch: Fetch,
    server: AuthServer,
    client: Client,
    *,
    resource: str,
    scope: str,
    now: float,
    key: str = "",
    signing: Signing = NO_SIGNING,
) -> Tokens:
    """Return tokens for the client itself, with nobody signed in (RFC 6749 4.4)."""
    form = {"grant_type": "client_credentials", "scope": scope, "resource": resource}
    endpoint = TokenEndpoint(fetch, server, client, key=key, signing=signing, now=now)
    return await endpoint.tokens(form, scope=scope)


async def by_assertion(
    fetch: Fetch,
    server: AuthServer,
    client: Client,
    assertion: str,
    *,
    resource: str,
    scope: str,
    now: float,
    key: str = "",
    signing: Signing = NO_SIGNING,
) -> Tokens:
    """Return tokens for what a signed `assertion` (JWT) says of a workload (RFC 7523 2.1).

    Asked once: an assertion that was refused is refused again.
    """
    form = {
        "grant_type": _JWT_BEARER,
        "assertion": assertion,
        "scope": scope,
        "resource": resource,
    }
    endpoint = TokenEndpoint(fetch, server, client, key=key, signing=signing, now=now)
    return await endpoint.tokens(form, scope=scope)


async def id_jag(
    fetch: Fetch,
    server: AuthServer,
    client: Client,
    *,
    idp_token_endpoint: str,
    idp_client_id: str,
    idp_token: str,
    resource: str,
    scope: str,
    now: float,
    idp_secret: str = "",
    key: str = "",
    signing: Signing = NO_SIGNING,
) -> Tokens:
    """Return tokens for whoever is signed in at their employer, by the ID token `idp_token`.

    The employer's token endpoint makes of it a grant for `server` (RFC 8693), which `server`
    takes (RFC 7523).
    """
    check_address(
        idp_token_endpoint,
        "The employer's token endpoint",
        step="token",
        home=idp_token_endpoint,
    )
    employer = AuthServer(issuer=idp_token_endpoint, token_endpoint=idp_token_endpoint)
    known = Client(client_id=idp_client_id)
    if idp_secret:
        known = Client(client_id=idp_client_id, secret=idp_secret, method="client_secret_basic")
    form = {
        "grant_type": _EXCHANGE,
        "requested_token_type": _ID_JAG,
        "audience": server.issuer,
        "resource": resource,
        "scope": scope,
        "subject_token": idp_token,
        "subject_token_type": _ID_TOKEN,
    }
    found = await TokenEndpoint(fetch, employer, known, now=now).ask(form)
    grant = plain(found, "access_token")
    if not grant or found.get("issued_token_type") != _ID_JAG:
        raise SignInFault(
            f"{place(idp_token_endpoint)} gave no grant for {place(server.issuer)}.", step="token"
        )
    return await by_assertion(
        fetch,
        server,
        client,
        grant,
        resource=resource,
        scope=scope,
        now=now,
        key=key,
        signing=signing,
    )


async def revoke(
    fetch: Fetch,
    server: AuthServer,
    client: Client,
    tokens: Tokens,
    *,
    now: float,
    signing: Signing = NO_SIGNING,
) -> None:
    """End `tokens` where they were made, the refresh token first (RFC 7009).

    Raises `SignInFault` where that cannot be done, or was not.
    """
    if not server.revocation_endpoint:
        raise SignInFault(
            f"{place(server.issuer)} has no way to end tokens.",
            step="token",
            hint="They end by themselves; on its page of authorized apps they may be ended now.",
        )
    endpoint = TokenEndpoint(fetch, server, client, signing=signing, now=now)
    if tokens.refresh:
        await endpoint.revoke(tokens.refresh, "refresh_token")
    try:
        await endpoint.revoke(tokens.access, "access_token")
    except SignInFault as fault:
        # Some end it with its refresh token, and know no other way.
        if not (tokens.refresh and fault.error == "unsupported_token_type"):
            raise


def is_expired(tokens: Tokens, now: float, *, early: float = 0.0) -> bool:
    """Whether the access token has ended, or will within `early` seconds."""
    return tokens.expires_at is not None and tokens.expires_at <= now + early
