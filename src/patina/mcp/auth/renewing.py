"""Tokens that stay fresh: renewed early, once for all tasks and processes, never twice."""

import logging
from typing import Final

import anyio
from msgspec.structs import replace

from patina.mcp.auth.failing import SignInFault, Step
from patina.mcp.auth.finding import fetching, find, signing_of, wish_of
from patina.mcp.auth.keeping import Held, alive, due, spent
from patina.mcp.auth.modes import is_machine, mode
from patina.mcp.auth.scopes import covers, union
from patina.mcp.auth.shapes import Client, Fetch, Grant, Tokens
from patina.mcp.auth.token_endpoint import UNKNOWN_CLIENT
from patina.mcp.failing import AWAY
from patina.model.faults import ConfigFault
from patina.model.settings import ServerSettings

# Characters of the scopes that a server may have asked for since the last sign-in.
_MOST_WANTED: Final = 2000
_log = logging.getLogger(__name__)
# What a renewal may take, cancelled or not: an answer that nobody hears is a sign-in lost.
_MOST: Final = 45.0
# How long a renewal that failed is left alone while the old token still serves (seconds).
_REST: Final = 10.0
# Errors of a token endpoint that say: this sign-in has ended (RFC 6749 5.2, and GitHub's).
_ENDED: Final = ("invalid_grant", "bad_refresh_token")


async def fresh(held: Held, settings: ServerSettings, *, refused: str = "") -> Grant | None:
    """Return the grant of a server with an access token that serves, None where a person must act.

    `refused` is an access token that the server does not take any more, whatever the clock says.
    Raises `SignInFault`: not `final` where the token could not be renewed now and the old one has
    ended, or what is kept cannot be read; `final` where a machine's credentials are refused.
    """
    try:
        return await _fresh(held, settings, refused)
    except ConfigFault as fault:
        grant = held.last(settings)
        if grant is None and mode(settings, held.refusal) == "none":
            return None  # for all that is known it needs no sign-in, and nobody else's trouble
        if grant and alive(grant, held.means.now()) and grant.tokens.access != refused:
            return grant
        failure = fault.failure
        raise SignInFault(
            f"Server {held.server}: its sign-in cannot be used. {failure.message}",
            step="refresh",
            hint=failure.hint,
            code=failure.code,
            final=False,  # nobody's sign-in could be kept either
        ) from None


async def _fresh(held: Held, settings: ServerSettings, refused: str) -> Grant | None:
    machine = is_machine(settings)
    grant = await held.grant(settings)
    if _is_good(held, grant, refused) or (grant is None and not machine):
        return grant
    troubles = held.troubles
    async with held.lock:
        if held.trouble is not None and held.troubles != troubles:
            raise held.trouble  # for which another task has just waited
        grant = await held.grant(settings)
        if _is_good(held, grant, refused):  # another task was faster
            return grant
        async with held.means.grants.alone(held.server):
            grant = await held.grant(settings, anew=True)
            if _is_good(held, grant, refused):  # another process was faster
                return grant
            with anyio.move_on_after(_MOST, shield=True):
                try:
                    if machine:
                        return await _as_machine(held, settings)
                    return None if grant is None else await _renewed(held, settings, grant, refused)
                except SignInFault as fault:
                    held.troubles, held.trouble = held.troubles + 1, fault
                    raise
    raise SignInFault(
        f"Server {held.server}: its sign-in was not renewed within {_MOST:g} s.",
        step="refresh",
        hint="Try again in a while; the sign-in itself is kept.",
        code=AWAY,
        final=False,
    )


async def remember_scope(held: Held, scope: str) -> None:
    """Keep that the server refused for want of `scope`: whoever signs in may be another process.

    Raises `ConfigFault`.
    """
    known = await held.kept()
    if known is None or covers(known.wanted, scope):
        return
    async with held.lock, held.means.grants.alone(held.server):
        now = await held.kept(anew=True)
        if now is not None:
            wanted = union(now.wanted, scope)
            await held.keep(replace(now, wanted=wanted if len(wanted) <= _MOST_WANTED else scope))


def _is_good(held: Held, grant: Grant | None, refused: str) -> bool:
    """Whether the access token is to be sent as it is."""
    if grant is None or not grant.tokens.access or grant.tokens.access == refused:
        return False
    means = held.means
    if not due(grant, means.now()):
        return True
    return alive(grant, means.now()) and means.clock.monotonic() < held.trouble_until


async def _renewed(
    held: Held, settings: ServerSettings, grant: Grant, refused: str
) -> Grant | None:
    """Renew `grant` and keep what came, before anybody uses it."""
    now = held.means.now()
    serving = grant.tokens.access if alive(grant, now) and grant.tokens.access != refused else ""
    if not grant.tokens.refresh:
        return grant if serving else None
    try:
        async with fetching(held.means, settings) as fetch:
            grant = await _completed(held, settings, grant, fetch)
            tokens = await _asked(held, settings, grant, fetch)
    except SignInFault as fault:
        unknown = fault.error in UNKNOWN_CLIENT
        # A client that the user configured is the user's to mend, and the sign-in is good then.
        if fault.error in _ENDED or (unknown and grant.client.origin != "configured"):
            left = spent(grant, access=serving)
            if unknown and grant.client.origin == "registered":
                left = replace(left, client=Client(client_id=""))
            await held.keep(left)
            return left if serving else None
        held.trouble_until = held.means.clock.monotonic() + _REST
        if serving:
            return grant
        raise _not_now(held.server, fault) from fault
    renewed = replace(grant, tokens=_together(grant.tokens, tokens), given_at=now)
    try:
        await held.keep(renewed)
    except ConfigFault as fault:
        # The old ones are of no use to anybody now; these serve as long as this process lives.
        _log.warning("The renewed sign-in to %s is not on disk: %s", held.server, fault)
    return renewed


async def _asked(held: Held, settings: ServerSettings, grant: Grant, fetch: Fetch) -> Tokens:
    from patina.mcp.auth.tokens import renew

    wish = await wish_of(held.means, settings)
    client = grant.client
    if client.origin == "configured" and wish.secret:
        client = replace(client, secret=wish.secret)  # it may have been changed since
    return await renew(
        fetch,
        grant.server,
        client,
        grant.tokens,
        resource=grant.resource,
        now=held.means.now(),
        key=grant.key,
        signing=signing_of(wish),
    )


async def _completed(held: Held, settings: ServerSettings, grant: Grant, fetch: Fetch) -> Grant:
    """Return a grant of an older program (A-50), which has but tokens, with all that it lacks."""
    if grant.server.token_endpoint:
        return grant
    from patina.mcp.auth.registration import client_for

    found = await find(fetch, settings, held.refusal)
    client = grant.client
    if not client.client_id:
        if not settings.oauth.client_id:
            raise SignInFault(
                "It is not known as which client the sign-in was made.",
                step="refresh",
                error="invalid_grant",
            )
        wish = await wish_of(held.means, settings)
        client = await client_for(fetch, found.server, wish, None, now=held.means.now())
    return replace(grant, server=found.server, client=client, resource=found.resource)


async def _as_machine(held: Held, settings: ServerSettings) -> Grant:
    """Sign Patina itself in: everything is asked anew, for it needs nobody."""
    from patina.mcp.auth.machine import sign_in_as_machine

    failed = held.failed
    if failed is not None and held.means.clock.monotonic() < held.trouble_until:
        raise failed  # what was refused just now is refused again
    held.failed = None
    try:
        grant = await sign_in_as_machine(held, settings)
    except SignInFault as fault:
        held.trouble_until = held.means.clock.monotonic() + _REST
        if not fault.final:
            raise _not_now(held.server, fault, fault.step or "token") from fault
        held.failed = fault
        raise
    await held.keep(grant)
    return grant


def _together(old: Tokens, new: Tokens) -> Tokens:
    """Return `new` with what an answer may leave out because it did not change (RFC 6749 6)."""
    return replace(
        new,
        refresh=new.refresh or old.refresh,
        scope=new.scope or old.scope,
        id_token=new.id_token or old.id_token,
    )


def _not_now(server: str, fault: SignInFault, step: Step = "refresh") -> SignInFault:
    failure = fault.failure
    return SignInFault(
        f"Server {server}: the sign-in could not be renewed now. {failure.message}",
        step=step,
        hint=failure.hint or "Try again in a while; the sign-in itself is kept.",
        code=failure.code if fault.final else AWAY,
        error=fault.error,
        final=fault.final,
    )
