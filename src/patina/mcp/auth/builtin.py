"""Services that Patina knows how to sign in to (A-56). The client is the user's own.

Facts: "Authorizing OAuth apps" and "Get the authenticated user" of docs.github.com, of which the
addresses of an Enterprise Server are the same places on its own host; "Using OAuth 2.0 for Web
Server Applications" and "OpenID Connect" of developers.google.com. GitHub's
issuer is the `iss` that its answers have since 2026 (RFC 9207).
"""

from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.shapes import AuthServer
from patina.model.settings import OAuthSettings


class Service(Struct, frozen=True, kw_only=True):
    """One service: its name for people, its places and its scope.

    `own_account` is where other hosts of the same software tell who is signed in.
    """

    name: str
    server: AuthServer
    scope: str
    own_account: str
    register_at: str


SERVICES: Final = {
    "github": Service(
        name="GitHub",
        server=AuthServer(
            issuer="https://github.com/login/oauth",
            authorization_endpoint="https://github.com/login/oauth/authorize",
            token_endpoint="https://github.com/login/oauth/access_token",  # noqa: S106 - an address
            userinfo_endpoint="https://api.github.com/user",
            methods=("client_secret_post",),
            challenges=("S256",),
            assumed=True,
        ),
        scope="repo,read:org",
        own_account="/api/v3/user",
        register_at="https://github.com/settings/developers",
    ),
    "google": Service(
        name="Google",
        server=AuthServer(
            issuer="https://accounts.google.com",
            # Without these two Google gives no refresh token.
            authorization_endpoint="https://accounts.google.com/o/oauth2/v2/auth"
            "?access_type=offline&prompt=consent",
            token_endpoint="https://oauth2.googleapis.com/token",  # noqa: S106 - an address
            revocation_endpoint="https://oauth2.googleapis.com/revoke",
            userinfo_endpoint="https://openidconnect.googleapis.com/v1/userinfo",
            methods=("client_secret_post",),
            challenges=("S256",),
            assumed=True,
        ),
        scope="https://www.googleapis.com/auth/calendar",
        own_account="/v1/userinfo",
        register_at="https://console.cloud.google.com/apis/credentials",
    ),
}
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_NAMES: Final = {"github.com": "GitHub", "accounts.google.com": "Google"}


def service_of(oauth: OAuthSettings) -> Service | None:
    """Return the service that is configured by name. Raises `SignInFault` for an unknown one."""
    if not oauth.provider:
        return None
    service = SERVICES.get(oauth.provider.lower())
    if service is None:
        raise SignInFault(
            f"There is no built-in sign-in named {oauth.provider!r}.",
            step="discovery",
            hint=f"Built in are: {', '.join(SERVICES)}. For another one leave `oauth.provider` out "
            "and set `oauth.issuer`.",
        )
    if not oauth.client_id:
        raise SignInFault(
            f"Signing in with {service.name} needs a client of your own.",
            step="registration",
            hint=f"Register one at {service.register_at} and set `oauth.client_id`.",
        )
    return service


def overlaid(server: AuthServer, oauth: OAuthSettings, own_account: str = "") -> AuthServer:
    """Return `server` with the endpoints that are configured in place of its own.

    Where tokens are asked for on another host, who signed in is asked there too: a token is never
    shown to a host that did not give it.
    """
    token = oauth.token_endpoint or server.token_endpoint
    account, revocation = server.userinfo_endpoint, server.revocation_endpoint
    if origin(token) != origin(server.token_endpoint):
        account = origin(token) + own_account if own_account else ""
        revocation = ""
    return AuthServer(
        issuer=server.issuer,
        authorization_endpoint=oauth.authorization_endpoint or server.authorization_endpoint,
        token_endpoint=token,
        registration_endpoint=server.registration_endpoint,
        revocation_endpoint=oauth.revocation_endpoint or revocation,
        userinfo_endpoint=account,
        methods=server.methods,
        challenges=server.challenges,
        scopes=server.scopes,
        grants=server.grants,
        dpop=server.dpop,
        iss=server.iss,
        cimd=server.cimd,
        assumed=server.assumed,
        guessed=server.guessed,
    )


def provider_name(oauth: OAuthSettings, issuer: str = "") -> str:
    """Return who signs people in, for people: "GitHub", or the host; "" where still unknown."""
    service = SERVICES.get(oauth.provider.lower())
    if service is not None:
        return service.name
    host = urlsplit(issuer or oauth.issuer).hostname or ""
    return _NAMES.get(host, host)


def origin(url: str) -> str:
    """Return `scheme://host:port` of an address in small letters, "" where it has none.

    A WebSocket begins as a request of HTTP, and is on its origin.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return ""
    host = parts.hostname or ""
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}" if host else ""
