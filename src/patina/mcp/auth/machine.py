"""Signing Patina itself in, without a person: client credentials, signed statements.

Facts: RFC 6749 4.4, RFC 7523 2.1, RFC 8693.
"""

from typing import Any

from patina.mcp.auth.failing import stepping
from patina.mcp.auth.finding import fetching, find, resolved, signing_of, wish_of
from patina.mcp.auth.keeping import Held
from patina.mcp.auth.registration import Wish
from patina.mcp.auth.scopes import choose
from patina.mcp.auth.shapes import Challenge, Client, Discovered, Fetch, Grant, Tokens
from patina.model.settings import OAuthSettings, ServerSettings
from patina.ports.keys import References


async def sign_in_as_machine(held: Held, settings: ServerSettings) -> Grant:
    """Return a new grant; it is not kept yet. Raises `SignInFault`.

    Who gives tokens is found out each time: that costs two requests in a token's life, and a server
    that moved to another one is followed.
    """
    from patina.mcp.auth.registration import client_for

    means, old = held.means, await held.grant(settings)
    async with fetching(means, settings) as fetch:
        with stepping("discovery"):
            found = await find(fetch, settings, held.refusal)
        scope = choose(found, held.refusal, configured=settings.oauth.scope, machine=True)
        wish = await wish_of(means, settings, scope=scope)
        now = means.now()
        kept = old.client if old else None
        with stepping("registration"):
            client = await client_for(fetch, found.server, wish, kept, now=now)
        key = proof_key(held.refusal, found.server.dpop, old.key if old else "")
        asking = _Asking(fetch, found, client, wish, key, now)
        tokens = await asking.tokens(means.keys, settings.oauth)
    return Grant(
        url=settings.url,
        server=found.server,
        client=client,
        tokens=tokens,
        resource=found.resource,
        asked=scope,
        key=key,
        given_at=now,
    )


class _Asking:
    """Who asks whom for tokens, and for what."""

    def __init__(
        self, fetch: Fetch, found: Discovered, client: Client, wish: Wish, key: str, now: float
    ) -> None:
        self._fetch, self._server, self._resource = fetch, found.server, found.resource
        self._client, self._wish, self._key, self._now = client, wish, key, now

    async def tokens(self, keys: References, oauth: OAuthSettings) -> Tokens:
        """Return tokens for what the settings have to show: a statement, or the client itself."""
        from patina.mcp.auth import tokens

        what: dict[str, Any] = {
            "resource": self._resource,
            "scope": self._wish.scope,
            "now": self._now,
            "key": self._key,
            "signing": signing_of(self._wish),
        }
        whom = (self._fetch, self._server, self._client)
        if not oauth.assertion:
            return await tokens.for_machine(*whom, **what)
        assertion = await resolved(keys, oauth.assertion, "the assertion")
        if not oauth.exchange_endpoint:
            return await tokens.by_assertion(*whom, assertion, **what)
        return await tokens.id_jag(
            *whom,
            idp_token_endpoint=oauth.exchange_endpoint,
            idp_client_id=oauth.exchange_client_id,
            idp_token=assertion,
            **what,
        )


def proof_key(refusal: Challenge | None, algorithms: tuple[str, ...], kept: str = "") -> str:
    """Return the key that tokens are to be bound to, "" where the server wants none (RFC 9449).

    That the authorization server could is not enough: the server must have asked for it, or
    tokens would not pass there.
    """
    from patina.mcp.auth import dpop

    if refusal is None or refusal.scheme.lower() != "dpop" or dpop.ALGORITHM not in algorithms:
        return ""
    return kept or dpop.new_key()
