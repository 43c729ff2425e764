"""Who signs people in to a configured server, and as which client: the settings, then the web."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from anyio.to_thread import run_sync
from msgspec.structs import replace

from patina.mcp.auth.assertions import Signing
from patina.mcp.auth.builtin import origin, overlaid, service_of
from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.keeping import Means
from patina.mcp.auth.modes import is_machine
from patina.mcp.auth.registration import Wish
from patina.mcp.auth.shapes import AuthServer, Challenge, Discovered, Fetch
from patina.model.faults import ConfigFault
from patina.model.settings import OAuthSettings, ServerSettings
from patina.ports.keys import References

# The first request of a client (MCP 2025-11-25, basic/lifecycle), which needs no session.
_GREETING: Final = (
    b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
    b'"capabilities":{},"clientInfo":{"name":"patina","version":"0"}}}'
)


@asynccontextmanager
async def fetching(means: Means, settings: ServerSettings) -> AsyncGenerator[Fetch]:
    """Give what asks the places of a sign-in to a server with these settings."""
    from patina.mcp.auth.fetch import GuardedFetch

    typed = granted(settings.oauth)
    async with GuardedFetch(means.network, home_of(settings), typed=typed) as fetch:
        yield fetch


def granted(oauth: OAuthSettings) -> tuple[str, ...]:
    """Return the addresses that the user typed: they are asked wherever they are, for it was no
    server that named them.
    """
    typed = (
        oauth.issuer,
        oauth.authorization_endpoint,
        oauth.token_endpoint,
        oauth.revocation_endpoint,
        oauth.exchange_endpoint,
    )
    return tuple(url for url in typed if url)


def home_of(settings: ServerSettings) -> str:
    """Return the address that the user gave: near it others may be, even on this machine."""
    oauth = settings.oauth
    return settings.url or oauth.issuer or oauth.token_endpoint or oauth.authorization_endpoint


async def find(fetch: Fetch, settings: ServerSettings, challenge: Challenge | None) -> Discovered:
    """Return who signs people in to a server: the settings say it, or the server does.

    `resource` is the name under which tokens for it are asked for (RFC 8707), "" where the service
    knows no such thing. What the user configured must be what the server itself says, where it is a
    remote one. Raises `SignInFault`.
    """
    from patina.mcp.auth.discovery import discover, resource_of, server_of

    oauth, url = settings.oauth, web_address(settings.url)
    resource = resource_of(url) if url else ""
    known = _configured(settings)
    if challenge is None and url and (known is not None or oauth.issuer):
        challenge = await refusal_of(fetch, settings)
    if known is not None:
        if url:
            await _check(fetch, url, challenge, known)
        return Discovered(server=known, resource="" if oauth.provider else resource)
    if url:
        machine = is_machine(settings)
        found = await discover(fetch, url, challenge, issuer=oauth.issuer, machine=machine)
    elif oauth.issuer:
        found = Discovered(server=await server_of(fetch, oauth.issuer, typed=True))
    else:
        raise SignInFault(
            "Nobody is configured to sign in with.",
            step="discovery",
            hint="Set `oauth.provider`, `oauth.issuer`, or both endpoints under `oauth`.",
        )
    server = overlaid(found.server, oauth)
    return replace(found, server=server, resource=found.resource or resource)


def _configured(settings: ServerSettings) -> AuthServer | None:
    """Return the authorization server that the settings describe whole, None where they do not."""
    oauth = settings.oauth
    service = service_of(oauth)
    if service is not None:
        server = overlaid(service.server, oauth, service.own_account)
        moved = origin(server.token_endpoint) != origin(service.server.token_endpoint)
        issuer = origin(server.token_endpoint) if moved else server.issuer
        guessed = moved and not oauth.issuer
        return replace(server, issuer=oauth.issuer or issuer, guessed=guessed)
    if oauth.token_endpoint and (oauth.authorization_endpoint or is_machine(settings)):
        issuer = oauth.issuer or origin(oauth.token_endpoint)
        known = AuthServer(
            issuer=issuer, challenges=("S256",), assumed=True, guessed=not oauth.issuer
        )
        return overlaid(known, oauth)
    return None


async def _check(fetch: Fetch, url: str, challenge: Challenge | None, server: AuthServer) -> None:
    """Raise `SignInFault` where tokens of `server` are not for the one at `url` (P-05)."""
    from patina.mcp.auth.advertising import check_advertised
    from patina.mcp.auth.discovery import resource_metadata

    header = challenge.resource_metadata if challenge else ""
    metadata = await resource_metadata(fetch, url, header)
    check_advertised(url, metadata, challenge, server.issuer, guessed=server.guessed)


async def refusal_of(fetch: Fetch, settings: ServerSettings) -> Challenge | None:
    """Return what a remote server refuses a stranger with, None where it does not.

    Only there some servers say where their metadata is, and what scope they want.
    """
    from patina.mcp.auth.challenge import challenge_of

    if not settings.url:
        return None
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    try:
        answer = await fetch("POST", web_address(settings.url), headers=headers, body=_GREETING)
    except SignInFault:
        return None
    return challenge_of(answer.status, answer.headers) if answer.status == 401 else None


async def wish_of(
    means: Means, settings: ServerSettings, redirect_uri: str = "", scope: str = ""
) -> Wish:
    """Return what the settings say of the client. Raises `SignInFault` for a missing secret."""
    oauth = settings.oauth
    secret = await resolved(means.keys, oauth.client_secret, "the client secret")
    return Wish(
        client_id=oauth.client_id,
        secret=secret,
        private_key=await resolved(means.keys, oauth.private_key, "the private key"),
        algorithm=oauth.signing_algorithm,
        metadata_url=oauth.client_metadata_url,
        redirect_uri=redirect_uri,
        scope=scope,
    )


def signing_of(wish: Wish) -> Signing:
    """Return what the client of `wish` signs with."""
    return Signing(key=wish.private_key, algorithm=wish.algorithm)


async def resolved(keys: References, reference: str, what: str) -> str:
    """Return what a reference of the settings stands for, "" for none. Raises `SignInFault`."""
    if not reference:
        return ""
    try:
        found = await run_sync(keys.resolve, reference)
    except ConfigFault as fault:
        failure = fault.failure
        raise SignInFault(
            f"There is no access to {what}. {failure.message}",
            step="registration",
            hint=failure.hint,
            code=failure.code,
        ) from None
    if not found:
        name = reference.removeprefix("secret:")
        raise SignInFault(
            f"There is nothing under {reference} for {what}.",
            step="registration",
            hint=f"Keep it with `patina keys set {name}`."
            if reference.startswith("secret:")
            else f"Put {what} where {reference} says.",
        )
    return found


def web_address(url: str) -> str:
    """Return the address of a server as one of HTTP, which that of a WebSocket begins as."""
    return f"http{url[2:]}" if url.startswith(("ws://", "wss://")) else url
