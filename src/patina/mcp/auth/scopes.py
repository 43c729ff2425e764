"""Which scopes are asked for.

Facts: MCP 2026-07-28 basic/authorization, "Scope Selection Strategy"; RFC 6749 3.3.
"""

from typing import Final

from patina.mcp.auth.shapes import Challenge, Discovered

OFFLINE: Final = "offline_access"


def union(*scopes: str) -> str:
    """Return all scopes that are in any of `scopes`, each once, the first in front."""
    return " ".join(dict.fromkeys(word for scope in scopes for word in scope.split()))


def covers(granted: str, wanted: str) -> bool:
    """Whether every scope in `wanted` is in `granted`."""
    return set(wanted.split()) <= set(granted.split())


def choose(
    found: Discovered,
    challenge: Challenge | None,
    *,
    configured: str = "",
    asked: str = "",
    machine: bool = False,
) -> str:
    """Return the scope to ask for, "" where the parameter is to be left out.

    What the user configured is asked for as it is written. Else it is what the server's challenge
    wants, or what its metadata names, beside all that was ever `asked`; and `offline_access` where
    the authorization server knows that, because without it some give no refresh token; for a
    `machine` it does not, for a machine needs none and may be refused for asking. A refusal for
    want of scope (`challenge.status` 403) adds to whatever it was.
    """
    wanted = challenge.scope if challenge else ""
    if challenge is not None and challenge.status == 403 and (asked or configured):
        return union(asked or configured, wanted)
    if configured:
        return configured
    scope = union(asked, wanted or " ".join(found.scopes))
    if machine or not scope or OFFLINE not in found.server.scopes:
        return scope
    return union(scope, OFFLINE)
