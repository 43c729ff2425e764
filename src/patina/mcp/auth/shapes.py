"""What a sign-in knows: the authorization server, our client there, the tokens, the grant.

Facts: MCP 2026-07-28 and 2025-11-25, basic/authorization; RFC 6749, 7591, 8414, 8707, 9207, 9728.
"""

from collections.abc import Mapping
from typing import Literal, Protocol

from msgspec import Struct

ClientAuth = Literal["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]
Origin = Literal["configured", "metadata_url", "registered"]


class Answer(Struct, frozen=True):
    """The answer to a request. `headers` are in small letters, `body` is whole, `url` who gave it
    after redirects.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class Fetch(Protocol):
    """Asks one address for something small, guarded: see `fetch.GuardedFetch`."""

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """Return the answer, whatever its status. Bounded in time and size.

        Raises `SignInFault` where the address may not be asked, or gives no answer.
        """


class Challenge(Struct, frozen=True, kw_only=True):
    """What a server said when it refused: fields of `WWW-Authenticate`, "" where absent.

    `authorization_uri` is what some put there in place of metadata. It is compared, never asked.
    """

    status: int = 401
    scheme: str = ""
    resource_metadata: str = ""
    authorization_uri: str = ""
    scope: str = ""
    error: str = ""
    description: str = ""
    dpop_nonce: str = ""


class AuthServer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An authorization server by its metadata. "" and () are what it does not name.

    `methods` are those of its token endpoint to know clients by; `challenges` of PKCE; `iss` says
    that it puts `iss` into what it redirects with, `cimd` that a client may be named by the address
    of its metadata. `assumed`: it has no metadata, and its places are the usual ones; `guessed`:
    nobody said what it calls itself, and `issuer` is but its origin.
    """

    issuer: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    registration_endpoint: str = ""
    revocation_endpoint: str = ""
    userinfo_endpoint: str = ""
    methods: tuple[str, ...] = ()
    challenges: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    dpop: tuple[str, ...] = ()
    iss: bool = False
    cimd: bool = False
    assumed: bool = False
    guessed: bool = False


class Discovered(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who signs people in to a server. `resource` is the server's own name for itself, "" where it
    publishes none; `scopes` what it says it needs.
    """

    server: AuthServer
    resource: str = ""
    scopes: tuple[str, ...] = ()


class Client(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Patina as one authorization server knows it. `expires_at`: when the secret ends, 0 is never.

    `redirect_uri` is the one that was registered; `issuer` the authorization server, which alone is
    ever told of it; `scope` all that it may ask for, "" where the server set no bounds.
    """

    client_id: str
    issuer: str = ""
    secret: str = ""
    method: ClientAuth = "none"
    origin: Origin = "configured"
    redirect_uri: str = ""
    scope: str = ""
    expires_at: float = 0.0
    registration_uri: str = ""
    registration_token: str = ""


class Tokens(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a token endpoint gave. `expires_at` is seconds since 1970 by our clock, None where the
    token does not end; `scope` what was granted, as written.
    """

    access: str
    kind: str = "Bearer"
    refresh: str = ""
    expires_at: float | None = None
    scope: str = ""
    id_token: str = ""


class Grant(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of a sign-in that must outlive Patina. It is for the server at `url` and for no other.

    `asked` are all scopes that were ever asked for; `account` is who signed in, such as "@name",
    "" where unknown; `key` is the private key (PEM) of tokens that are bound to one (RFC 9449).
    `sign_in` names the sign-in that it is from, which renewals are not; `given_at` is when the
    tokens were given, seconds since 1970, 0 where unknown. `wanted` are scopes without which the
    server refused since: what the next sign-in asks for as well.
    """

    url: str
    server: AuthServer
    client: Client
    tokens: Tokens
    resource: str = ""
    asked: str = ""
    account: str = ""
    key: str = ""
    sign_in: str = ""
    given_at: float = 0.0
    wanted: str = ""
    version: int = 1
