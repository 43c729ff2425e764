"""How a server wants to know its user (P-05), from its settings and from what it refused with."""

from typing import Final

from patina.mcp.auth.shapes import Challenge
from patina.mcp.environment import may_be_secret
from patina.model.settings import AuthMode, OAuthSettings, ServerSettings

_REFERENCES: Final = ("secret:", "env:", "keyfile:")
# Schemes of a refusal that tokens of a sign-in answer; "" is a refusal that names none.
_TOKENS: Final = ("", "bearer", "dpop")


def mode(settings: ServerSettings, seen: Challenge | None = None) -> AuthMode:
    """Return the mode of a server; `seen` is what it last refused with. Never "auto".

    a mode that is set                                     that one
    an `Authorization` header                              bearer
    anything under `oauth` that says whom to sign in as    client
    another header or a variable with a secret             bearer
    a remote server that refused for want of a token       client
    anything else                                          none
    """
    if settings.auth_mode != "auto":
        return settings.auth_mode
    if any(name.lower() == "authorization" for name in settings.headers):
        return "bearer"
    if _says_who(settings.oauth):
        return "client"
    if _has_credentials(settings):
        return "bearer"
    return "client" if settings.url and seen is not None and wants_token(seen) else "none"


def wants_token(seen: Challenge) -> bool:
    """Whether a refusal is one that a sign-in may answer."""
    if seen.status == 403:
        return seen.error == "insufficient_scope"
    return seen.scheme.lower() in _TOKENS


def can_sign_in(settings: ServerSettings) -> bool:
    """Whether a person may sign in to such a server.

    To a remote one in the mode "auto" one may try, before it ever refused; the token of a local
    one needs a variable to go to.
    """
    if settings.transport == "stdio":
        return mode(settings) == "client" and bool(settings.oauth.variable)
    return mode(settings, Challenge(scheme="Bearer")) == "client"


def is_machine(settings: ServerSettings) -> bool:
    """Whether Patina signs in to such a server as itself, without a person."""
    return settings.auth_mode == "client_credentials"


def _says_who(oauth: OAuthSettings) -> bool:
    return bool(
        oauth.provider
        or oauth.client_id
        or oauth.client_metadata_url
        or oauth.issuer
        or oauth.authorization_endpoint
        or oauth.token_endpoint
        or oauth.variable
    )


def _has_credentials(settings: ServerSettings) -> bool:
    if settings.transport == "stdio":
        return any(value.startswith(_REFERENCES) for value in settings.env.values())
    return any(
        may_be_secret(name) or value.rpartition(" ")[2].startswith(_REFERENCES)
        for name, value in settings.headers.items()
    )
