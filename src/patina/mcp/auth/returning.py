"""Where the browser comes back to: a port of this machine, which two sign-ins cannot both have."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import anyio

from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.keeping import Means
from patina.mcp.auth.loopback import Loopback, listening
from patina.mcp.auth.registration import port_of
from patina.mcp.auth.shapes import Client, Grant
from patina.model.settings import OAuthSettings

# Seconds between two looks whether the sign-in of another window made this one needless.
_LOOK_EVERY: Final = 1.0


async def listener(
    stack: AsyncExitStack,
    means: Means,
    oauth: OAuthSettings,
    client: Client | None,
    elsewhere: Callable[[], Awaitable[Grant | None]],
) -> Loopback | Grant | None:
    """Return what listens until the end of `stack`, None where this machine can listen nowhere.

    On the port of the last time (of `client`), if it is free: many authorization servers compare it
    with the one that was registered. A `redirect_port` that another sign-in of Patina has is waited
    for; where `elsewhere` then returns a grant, that is returned. Raises `SignInFault` where it
    stays taken, or another program has it.
    """
    fixed = oauth.redirect_port
    if fixed:
        grant = await _in_turn(stack, means, oauth, elsewhere)
        return grant or await stack.enter_async_context(listening(fixed))
    try:
        return await stack.enter_async_context(listening(prefer=port_of(client)))
    except SignInFault:
        return None


async def _in_turn(
    stack: AsyncExitStack,
    means: Means,
    oauth: OAuthSettings,
    elsewhere: Callable[[], Awaitable[Grant | None]],
) -> Grant | None:
    """Have the port among all Patinas until the end of `stack`, or return what makes it needless.

    Whoever finds it taken though it is their turn, knows that it is no Patina who has it.
    """
    port, has_turn = oauth.redirect_port, False
    with means.clock.timeout(oauth.timeout):
        while True:
            with anyio.move_on_after(_LOOK_EVERY):
                await stack.enter_async_context(means.grants.alone(f"@port {port}"))
                has_turn = True
            grant = await elsewhere()
            if grant is not None or has_turn:
                return grant
    raise SignInFault(
        f"Another window of Patina has been signing in over port {port} of this machine for"
        f" {oauth.timeout:g} seconds.",
        step="callback",
        hint="End the sign-in there, then try again.",
    )
