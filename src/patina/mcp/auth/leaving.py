"""Ending a sign-in where it was made: tokens revoked, the registration taken back."""

from msgspec.structs import replace

from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.finding import fetching, signing_of, wish_of
from patina.mcp.auth.keeping import Held, spent
from patina.mcp.auth.shapes import Client, Grant
from patina.model.settings import ServerSettings


async def leave(
    held: Held, settings: ServerSettings, grant: Grant, *, keep_client: bool
) -> tuple[str, ...]:
    """Revoke the tokens of `grant` and end its registration; what is kept is not touched.

    `keep_client` leaves the registration as it is.

    Returns a sentence for each thing that could not be done. Never raises `SignInFault`.
    """
    from patina.mcp.auth.registration import forget_client
    from patina.mcp.auth.tokens import revoke

    left = []
    async with fetching(held.means, settings) as fetch:
        if grant.tokens.access or grant.tokens.refresh:
            try:
                wish = await wish_of(held.means, settings)
                client = _current(grant.client, wish.secret)
                await revoke(
                    fetch,
                    grant.server,
                    client,
                    grant.tokens,
                    now=held.means.now(),
                    signing=signing_of(wish),
                )
            except SignInFault as fault:
                left.append(_sentence(fault))
        if keep_client:
            return tuple(left)
        try:
            await forget_client(fetch, grant.client)
        except SignInFault as fault:
            left.append(_sentence(fault))
    return tuple(left)


def left_over(grant: Grant) -> Grant:
    """Return what stays of `grant` where only the registration is to be used again."""
    return replace(spent(grant), account="", key="")


def _current(client: Client, secret: str) -> Client:
    return replace(client, secret=secret) if client.origin == "configured" and secret else client


def _sentence(fault: SignInFault) -> str:
    failure = fault.failure
    return f"{failure.message} {failure.hint}".strip()
