"""How an authorization server comes to know Patina: configured, by address, or registered.

Facts: RFC 7591 2, 3 (registration), RFC 7592 2.3 (its end), RFC 8252 7.3, 8.4 (native clients);
draft-ietf-oauth-client-id-metadata-document; MCP 2026-07-28 basic/authorization.
"""

from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.reading import (
    check_address,
    check_fields,
    json_object,
    place,
    plain,
    said,
    text,
    unwell,
)
from patina.mcp.auth.scopes import covers
from patina.mcp.auth.shapes import Answer, AuthServer, Client, ClientAuth, Fetch
from patina.model.pages import host_of

NAME: Final = "Patina"
# A secret that ends while a person signs in is of no use. Seconds.
_MARGIN: Final = 300.0
_CONFIGURE: Final = (
    "Register Patina with whoever signs you in, and set `client_id` in the `oauth` settings of the"
    " server."
)
_METHODS: Final[tuple[ClientAuth, ...]] = ("none", "client_secret_basic", "client_secret_post")


class Wish(Struct, frozen=True, kw_only=True):
    """The client that a sign-in wants to be: what the user configured, "" where nothing.

    `secret` and `private_key` (PEM) are the values themselves; `algorithm` is for the key;
    `redirect_uri` is where this sign-in ends, `scope` what it will ask for.
    """

    client_id: str = ""
    secret: str = ""
    private_key: str = ""
    algorithm: str = "ES256"
    metadata_url: str = ""
    redirect_uri: str = ""
    scope: str = ""


async def client_for(
    fetch: Fetch, server: AuthServer, oauth: Wish, kept: Client | None, *, now: float
) -> Client:
    """Return the client to be at `server`: the configured one, else one that is known by the
    address of its metadata, else the `kept` one, else one that is registered now.

    `kept` is taken only at the server that it was made at, while its secret lasts, for the scope
    that it may ask for, and for the redirect it was made for: many servers compare the port too.
    `now` is seconds since 1970.
    Raises `SignInFault` of the step "registration".
    """
    if oauth.client_id:
        return _configured(server, oauth)
    if server.cimd and oauth.metadata_url:
        return _by_address(server, oauth)
    if kept is not None and _is_good(kept, server, oauth, now):
        return kept
    if not server.registration_endpoint:
        raise SignInFault(
            f"{place(server.issuer)} does not let Patina register by itself.",
            step="registration",
            hint=_CONFIGURE,
        )
    return await _register(fetch, server, oauth)


async def forget_client(fetch: Fetch, client: Client) -> None:
    """End the registration of `client`; one that is gone already, or was never made, is well.

    Raises `SignInFault` of the step "registration" where the server does not do it.
    """
    if not (client.registration_uri and client.registration_token):
        return
    answer = await fetch(
        "DELETE",
        client.registration_uri,
        headers={"authorization": f"Bearer {client.registration_token}"},
    )
    if answer.status not in (200, 202, 204, 401, 404, 410):
        raise SignInFault(
            f"{place(client.registration_uri)} did not end the registration of Patina:"
            f" HTTP status {answer.status}.",
            step="registration",
            hint="The registration gives access to nothing without a sign-in.",
            final=not unwell(answer.status),
        )


def port_of(client: Client | None) -> int:
    """Return the port of the redirect that `client` was registered with, 0 where it has none."""
    try:
        return urlsplit(client.redirect_uri).port or 0 if client else 0
    except ValueError:
        return 0


def is_metadata_url(url: str) -> bool:
    """Whether `url` can be a client's name: https, with a path, and nothing that is odd."""
    host, _ = host_of(url)
    parts = urlsplit(url) if host else None
    return (
        parts is not None
        and parts.scheme == "https"
        and parts.path not in ("", "/")
        and not {".", ".."} & set(parts.path.split("/"))
        and "#" not in url
    )


def _configured(server: AuthServer, oauth: Wish) -> Client:
    method: ClientAuth = "none"
    if oauth.private_key:
        method = "private_key_jwt"
    elif oauth.secret:
        posts = "client_secret_post" in server.methods
        basic = "client_secret_basic" in server.methods or not posts
        method = "client_secret_basic" if basic else "client_secret_post"
    return Client(
        client_id=oauth.client_id,
        issuer=server.issuer,
        secret=oauth.secret,
        method=method,
        redirect_uri=oauth.redirect_uri,
    )


def _by_address(server: AuthServer, oauth: Wish) -> Client:
    if not is_metadata_url(oauth.metadata_url):
        raise SignInFault(
            "The address of the client's metadata cannot be used.",
            step="registration",
            hint="`client_metadata_url` must begin with https and have a path.",
        )
    signs = bool(oauth.private_key) and "private_key_jwt" in server.methods
    return Client(
        client_id=oauth.metadata_url,
        issuer=server.issuer,
        method="private_key_jwt" if signs else "none",
        origin="metadata_url",
        redirect_uri=oauth.redirect_uri,
    )


def _is_good(kept: Client, server: AuthServer, oauth: Wish, now: float) -> bool:
    return (
        kept.origin == "registered"
        and kept.issuer == server.issuer
        and (not kept.expires_at or kept.expires_at > now + _MARGIN)
        and (not kept.scope or covers(kept.scope, oauth.scope))
        and (kept.redirect_uri == oauth.redirect_uri or not server.registration_endpoint)
    )


async def _register(fetch: Fetch, server: AuthServer, oauth: Wish) -> Client:
    import msgspec

    known = [method for method in _METHODS if method in server.methods]
    wanted: ClientAuth = known[0] if known else "none"
    renews = not server.grants or "refresh_token" in server.grants
    fields: dict[str, Any] = {
        "client_name": NAME,
        "application_type": "native",
        "redirect_uris": [oauth.redirect_uri],
        "grant_types": ["authorization_code", *(["refresh_token"] if renews else [])],
        "response_types": ["code"],
        "token_endpoint_auth_method": wanted,
    }
    if oauth.scope:
        fields["scope"] = oauth.scope
    answer = await fetch(
        "POST",
        server.registration_endpoint,
        headers={"content-type": "application/json", "accept": "application/json"},
        body=msgspec.json.encode(fields),
    )
    found = json_object(answer)
    if answer.status not in (200, 201) or found is None or not plain(found, "client_id"):
        raise _refused(server, answer, found)
    check_fields(found, "The registration", step="registration")
    secret = text(found, "client_secret")
    uri, token = _management(found, server.registration_endpoint)
    return Client(
        client_id=plain(found, "client_id"),
        issuer=server.issuer,
        secret=secret,
        method=_method(found, server, wanted, has_secret=bool(secret)),
        origin="registered",
        redirect_uri=oauth.redirect_uri,
        scope=text(found, "scope"),
        expires_at=_end(found.get("client_secret_expires_at")) if secret else 0.0,
        registration_uri=uri,
        registration_token=token,
    )


def _method(
    found: dict[str, Any], server: AuthServer, wanted: ClientAuth, *, has_secret: bool
) -> ClientAuth:
    """Return how the client is to show who it is: as it was told, else by what it was given."""
    told = found.get("token_endpoint_auth_method")
    if not told and has_secret and not server.methods:
        return "client_secret_basic"  # RFC 7591 2: what holds where nobody says anything
    method: ClientAuth = wanted
    if told:
        known = [one for one in _METHODS if one == told]
        if not known:
            raise SignInFault(
                f"{place(server.issuer)} registered Patina as a client of a kind it cannot be.",
                step="registration",
                hint=_CONFIGURE,
            )
        method = known[0]
    if method != "none" and not has_secret:
        raise SignInFault(
            f"{place(server.issuer)} registered Patina with a secret, and did not tell it.",
            step="registration",
            hint=_CONFIGURE,
        )
    return method


def _management(found: dict[str, Any], endpoint: str) -> tuple[str, str]:
    """Return where a registration can be ended and the token for it, if that is no other place."""
    uri, token = text(found, "registration_client_uri"), plain(found, "registration_access_token")
    if not (uri and token) or urlsplit(uri)[:2] != urlsplit(endpoint)[:2]:
        return "", ""
    return check_address(uri, "The registration", step="registration", home=endpoint), token


def _end(seconds: object) -> float:
    """Return when a secret ends; what is no sensible time is 0, never."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return 0.0
    return float(seconds) if 0 < seconds < 1e11 else 0.0


def _refused(server: AuthServer, answer: Answer, found: dict[str, Any] | None) -> SignInFault:
    error, words = said(found)
    why = words or f"HTTP status {answer.status}"
    return SignInFault(
        f"{place(server.issuer)} did not register Patina: {why}.",
        step="registration",
        hint="Try again in a moment." if unwell(answer.status) else _CONFIGURE,
        error=error,
        final=not unwell(answer.status),
    )
