"""Finding out who signs people in to a server.

Facts: RFC 9728 3 (metadata of protected resources), RFC 8414 3 and OpenID Connect Discovery 4
(metadata of authorization servers), RFC 7636 (PKCE), RFC 9207; MCP 2026-07-28
basic/authorization, and 2025-03-26 for servers without metadata of their own.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from patina.mcp.auth.advertising import check_advertised
from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.reading import (
    check_address,
    check_fields,
    json_object,
    place,
    quoted,
    text,
    texts,
    unwell,
)
from patina.mcp.auth.shapes import Answer, AuthServer, Challenge, Discovered, Fetch

_RESOURCE: Final = "/.well-known/oauth-protected-resource"
_OAUTH: Final = "/.well-known/oauth-authorization-server"
_OPENID: Final = "/.well-known/openid-configuration"
_ENDPOINTS: Final = (
    "authorization_endpoint",
    "token_endpoint",
    "registration_endpoint",
    "revocation_endpoint",
    "userinfo_endpoint",
)
_PORTS: Final = {"http": 80, "https": 443}
_PIN: Final = "If you know better, set `issuer` in the `oauth` settings of the server."


async def discover(
    fetch: Fetch,
    url: str,
    challenge: Challenge | None,
    *,
    issuer: str = "",
    machine: bool = False,
) -> Discovered:
    """Return who signs people in to the server at `url`, which refused with `challenge`.

    `issuer` is the only authorization server that the user trusts, "" where any will do; the server
    must take its tokens by its own word. For a
    `machine` an authorization server without PKCE is good enough: no code is ever sent.
    Raises `SignInFault` of the step "discovery"; it is not final where waiting may help.
    """
    header = challenge.resource_metadata if challenge else ""
    published = await resource_metadata(fetch, url, header)
    if issuer:
        check_advertised(url, published, challenge, issuer)
    found = published or {}
    resource, scopes = text(found, "resource"), texts(found, "scopes_supported")
    issuers = texts(found, "authorization_servers")
    if issuer or issuers:
        chosen = _chosen(issuers, issuer)
        server = await server_of(
            fetch, chosen, home=url if not issuer else chosen, typed=chosen not in issuers
        )
    else:
        server = await _older(fetch, url)
    if not machine:
        check_pkce(server)
    return Discovered(server=server, resource=resource, scopes=scopes)


async def server_of(
    fetch: Fetch, issuer: str, *, home: str = "", typed: bool = False
) -> AuthServer:
    """Return the authorization server that is called `issuer`, by its metadata.

    `home` is on whose word it is asked: what is on this machine is asked only for something that
    is there too. A person who `typed` it may have left out, or added, the slash at its end. Raises
    `SignInFault` of the step "discovery".
    """
    check_address(issuer, "The authorization server", step="discovery", home=home or issuer)
    found = await _server_metadata(fetch, issuer, server_urls(issuer))
    if found is None:
        raise SignInFault(
            f"The authorization server {place(issuer)} publishes no metadata.",
            step="discovery",
            hint="Set its `authorization_endpoint` and `token_endpoint` in the `oauth` settings.",
        )
    named = text(found, "issuer")
    # Servers made with the Python SDK add a slash to an issuer that is an origin, for a URL class
    # writes it; both are one place (RFC 3986 6.2.3).
    slash = issuer == f"{named}/" and named == _origin(urlsplit(named))
    if issuer != named and not slash and not (typed and issuer.rstrip("/") == named.rstrip("/")):
        raise _other_issuer(issuer, named)
    return _server(found, named)


def resource_urls(url: str, header: str = "") -> tuple[str, ...]:
    """Return where the metadata of the server at `url` may be, in the order of the asking."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    root = _origin(parts) + _RESOURCE
    return tuple(dict.fromkeys(at for at in (header, root + path, root) if at))


def server_urls(issuer: str) -> tuple[str, ...]:
    """Return where the metadata of an authorization server may be, in the order of the asking."""
    parts = urlsplit(issuer)
    origin, path = _origin(parts), parts.path.rstrip("/")
    found = (origin + _OAUTH + path, origin + _OPENID + path, origin + path + _OPENID)
    return tuple(dict.fromkeys(found))


def covers(resource: str, url: str) -> bool:
    """Whether `resource` names the server at `url`, or a parent of it on the same origin."""
    try:
        one, other = urlsplit(resource), urlsplit(url)
        if _identity(one) != _identity(other):
            return False
    except ValueError:
        return False
    if one.fragment or "#" in resource or one.username is not None or one.password is not None:
        return False
    if one.query and one.query != other.query:
        return False
    parent, child = one.path.rstrip("/") + "/", other.path.rstrip("/") + "/"
    return child.startswith(parent) and not {".", ".."} & set(child.split("/"))


def resource_of(url: str) -> str:
    """Return what the server at `url` is called where it publishes no name (RFC 8707 2)."""
    parts = urlsplit(url)
    return parts._replace(
        scheme=parts.scheme.lower(), netloc=parts.netloc.lower(), fragment=""
    ).geturl()


def check_pkce(server: AuthServer) -> None:
    """Raise `SignInFault` where codes of `server` are not known to be safe from thieves (PKCE)."""
    if not server.assumed and "S256" not in server.challenges:
        raise SignInFault(
            f"The authorization server {place(server.issuer)} does not say that it knows PKCE with"
            " S256, so a sign-in there could be stolen.",
            step="discovery",
            hint="Ask whoever runs it to publish `code_challenge_methods_supported`.",
        )


async def resource_metadata(fetch: Fetch, url: str, header: str) -> dict[str, Any] | None:
    """Return the metadata of the server at `url`, None where it has none (2025-03-26).

    `header` is where its refusal said that it is. Raises `SignInFault`.
    """
    trouble = 0
    for at in resource_urls(url, header):
        check_address(at, "The metadata of the server", step="discovery", home=url)
        answer = await _get(fetch, at)
        found = json_object(answer) if answer.status == 200 else None
        if found is None or not text(found, "resource"):
            trouble = trouble or (answer.status if unwell(answer.status) else 0)
            continue
        check_fields(found, "The metadata of the server", step="discovery")
        if not covers(text(found, "resource"), url):
            raise SignInFault(
                f"The metadata of {place(url)} is that of another server:"
                f" {quoted(text(found, 'resource'))}.",
                step="discovery",
                hint="Check the address of the server. Signing in was not begun.",
            )
        return found
    if trouble:
        raise _away(url, trouble)
    return None


async def _server_metadata(
    fetch: Fetch, issuer: str, urls: tuple[str, ...]
) -> dict[str, Any] | None:
    trouble = 0
    for at in urls:
        answer = await _get(fetch, at)
        found = json_object(answer) if answer.status == 200 else None
        if found is not None and text(found, "issuer"):
            return found
        trouble = trouble or (answer.status if unwell(answer.status) else 0)
    if trouble:
        raise _away(issuer, trouble)
    return None


async def _older(fetch: Fetch, url: str) -> AuthServer:
    """Return the authorization server that the server at `url` is itself (2025-03-26)."""
    origin = _origin(urlsplit(url))
    found = await _server_metadata(fetch, origin, (origin + _OAUTH,))
    if found is None:
        return AuthServer(
            issuer=origin,
            authorization_endpoint=origin + "/authorize",
            token_endpoint=origin + "/token",
            registration_endpoint=origin + "/register",
            assumed=True,
            guessed=True,
        )
    named = text(found, "issuer")
    # Nobody named the issuer, and the place of its metadata is the same for both.
    if named not in (origin, origin + "/"):
        raise _other_issuer(origin, named)
    return _server(found, named)


def _server(found: Mapping[str, Any], issuer: str) -> AuthServer:
    what = f"The metadata of the authorization server {place(issuer)}"
    check_fields(found, what, step="discovery")
    for name in _ENDPOINTS:
        if address := text(found, name):
            check_address(address, f"{what} ({name})", step="discovery", home=issuer)
    return AuthServer(
        issuer=issuer,
        authorization_endpoint=text(found, "authorization_endpoint"),
        token_endpoint=text(found, "token_endpoint"),
        registration_endpoint=text(found, "registration_endpoint"),
        revocation_endpoint=text(found, "revocation_endpoint"),
        userinfo_endpoint=text(found, "userinfo_endpoint"),
        methods=texts(found, "token_endpoint_auth_methods_supported"),
        challenges=texts(found, "code_challenge_methods_supported"),
        scopes=texts(found, "scopes_supported"),
        grants=texts(found, "grant_types_supported"),
        dpop=texts(found, "dpop_signing_alg_values_supported"),
        iss=found.get("authorization_response_iss_parameter_supported") is True,
        cimd=found.get("client_id_metadata_document_supported") is True,
    )


def _chosen(issuers: tuple[str, ...], pinned: str) -> str:
    """Return the issuer to ask, as the server spells it. Whoever pins one may leave out, or add,
    the slash at its end.
    """
    if not pinned:
        return issuers[0]
    same = [issuer for issuer in issuers if issuer.rstrip("/") == pinned.rstrip("/")]
    return pinned if pinned in same or not same else same[0]


async def _get(fetch: Fetch, url: str) -> Answer:
    return await fetch("GET", url, headers={"accept": "application/json"})


def _other_issuer(expected: str, named: str) -> SignInFault:
    return SignInFault(
        f"The authorization server {quoted(expected)} calls itself {quoted(named)}, so it cannot"
        " be told from another one.",
        step="discovery",
        hint=_PIN,
    )


def _away(url: str, status: int) -> SignInFault:
    return SignInFault(
        f"{place(url)} cannot say how to sign in: HTTP status {status}.",
        step="discovery",
        hint="Try again in a moment.",
        final=False,
    )


def _origin(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _identity(parts: SplitResult) -> tuple[str, str, int | None]:
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
