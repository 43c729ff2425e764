"""Who signed in, as the authorization server tells it: the "@name" of "Connected as @name"."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.shapes import Fetch, Grant
from patina.mcp.text import shortened, visible

_LONGEST: Final = 80
# In this order: GitHub's, then those of OpenID Connect (Core 1.0, 5.1).
_HANDLES: Final = ("login", "preferred_username")
_NAMES: Final = ("email", "name")


async def account_of(fetch: Fetch, grant: Grant, authorization: Mapping[str, str]) -> str:
    """Return who signed in, "" where nobody says. Never raises for what is only a name.

    Taken from the ID token, which came from the token endpoint itself; else from where the server
    tells it, if the tokens are for that. `authorization` are the headers of a request there.
    """
    said = _named(_claims(grant.tokens.id_token))
    where = grant.server.userinfo_endpoint
    if said or not where or not _may_ask(grant):
        return said
    try:
        answer = await fetch("GET", where, headers={"Accept": "application/json", **authorization})
    except SignInFault:
        return ""
    return _named(_mapping(answer.body)) if answer.status == 200 else ""


def _may_ask(grant: Grant) -> bool:
    """Whether the tokens open the place: OpenID Connect wants `openid`, built-in services less."""
    return grant.server.assumed or "openid" in grant.asked.split()


def _named(said: Mapping[str, Any]) -> str:
    for name in (*_HANDLES, *_NAMES):
        value = said.get(name)
        if isinstance(value, str) and value.strip():
            shown = shortened(visible(value.strip()), _LONGEST)
            return f"@{shown}" if name in _HANDLES and "@" not in shown else shown
    return ""


def _claims(id_token: str) -> Mapping[str, Any]:
    """Return what an ID token says (RFC 7519), {} where it is none. Its signature is not read."""
    payload = id_token.split(".")[1] if id_token.count(".") == 2 else ""
    try:
        return _mapping(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError):
        return {}


def _mapping(text: bytes) -> Mapping[str, Any]:
    try:
        said = msgspec.json.decode(text)
    except (ValueError, RecursionError):  # no JSON, no UTF-8, too deep
        return {}
    return said if isinstance(said, dict) else {}
