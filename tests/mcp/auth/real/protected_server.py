"""A protected MCP server: the SDK's own, over Streamable HTTP, in a process of its own.

    python protected_server.py PORT ISSUER [dpop]

Tokens are JWTs of the authorization server ISSUER for this server, and need the scope `mcp:read`;
its tool `write` needs `mcp:write` too. With `dpop` they must be bound to keys (RFC 9449).
`GET /test/told` is what every request carried, oldest first.
"""

import hashlib
import json
import sys
import urllib.request
from base64 import urlsafe_b64encode
from typing import Any, Final

import anyio
import jwt
import uvicorn
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from pydantic import AnyHttpUrl
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

READ: Final = "mcp:read"
WRITE: Final = "mcp:write"


class Verifier:
    """Checks who made a token, for whom, and until when."""

    def __init__(self, issuer: str, resource: str) -> None:
        self._issuer = issuer
        self._resource = resource
        self._keys: dict[str, Any] = {}

    def claims(self, token: str) -> dict[str, Any] | None:
        try:
            kid = jwt.get_unverified_header(token)["kid"]
            return jwt.decode(
                token,
                self._key(kid),
                algorithms=["RS256"],
                audience=self._resource,
                issuer=self._issuer,
                options={"require": ["exp", "aud", "iss", "client_id", "scope"]},
            )
        except (jwt.InvalidTokenError, KeyError):
            return None

    def _key(self, kid: str) -> Any:
        if kid not in self._keys:
            with urllib.request.urlopen(f"{self._issuer}/jwks", timeout=10) as answer:
                keys = json.load(answer)["keys"]
            self._keys = {key["kid"]: jwt.PyJWK(key).key for key in keys}
        return self._keys[kid]

    async def verify_token(self, token: str) -> AccessToken | None:
        claims = await anyio.to_thread.run_sync(self.claims, token)
        if claims is None:
            return None
        return AccessToken(
            token=token,
            client_id=claims["client_id"],
            scopes=claims["scope"].split(),
            expires_at=claims["exp"],
            resource=self._resource,
            subject=claims.get("sub"),
            claims=claims,
        )


class Guard:
    """What stands before the SDK's own check: key-bound tokens, and the scope of one tool."""

    def __init__(self, app: ASGIApp, verifier: Verifier, origin: str, *, dpop: bool) -> None:
        self._app = app
        self._verifier = verifier
        self._origin = origin
        self._dpop = dpop
        self._proofs: set[str] = set()
        self.told: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == "/test/told":
            await JSONResponse(self.told)(scope, receive, send)
        elif scope["path"] == "/mcp":
            await self._mcp(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _mcp(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        body = await _body(receive)
        asked = json.loads(body) if body else {}
        scheme, _, token = headers.get("authorization", "").partition(" ")
        claims = self._verifier.claims(token) if token else None
        tool = asked.get("params", {}).get("name", "")
        self.told.append(
            {
                "method": asked.get("method", scope["method"]),
                "tool": tool,
                "scheme": scheme,
                "token": hashlib.sha256(token.encode()).hexdigest()[:12] if token else "",
                "good": claims is not None,
                "subject": (claims or {}).get("sub", ""),
            }
        )
        if self._dpop:
            wrong = self._wrong_proof(scope["method"], token, headers, claims) if token else "none"
            if scheme.lower() != "dpop" or wrong:
                await self._refuse(401, f'DPoP error="invalid_token", error_description="{wrong}"')(
                    scope, receive, send
                )
                return
            scope = {**scope, "headers": _as_bearer(scope["headers"], token)}
        if claims is not None and tool == "write" and WRITE not in claims["scope"].split():
            text = f'Bearer error="insufficient_scope", scope="{WRITE}"'
            await self._refuse(403, text)(scope, receive, send)
            return
        await self._app(scope, _again(body, receive), send)

    def _wrong_proof(
        self, method: str, token: str, headers: dict[str, str], claims: dict[str, Any] | None
    ) -> str:
        """Return what is wrong with the proof of a token that is bound to a key; "" is nothing."""
        try:
            proof = headers["dpop"]
            shown = jwt.get_unverified_header(proof)
            key = jwt.PyJWK(shown["jwk"])
            said = jwt.decode(proof, key.key, algorithms=["ES256"], options={"verify_aud": False})
        except (KeyError, jwt.InvalidTokenError) as error:
            return f"{type(error).__name__} {error}"
        known = {name: shown["jwk"][name] for name in ("crv", "kty", "x", "y")}
        print_ = json.dumps(known, sort_keys=True, separators=(",", ":"))
        wanted = {
            "htm": method,
            "htu": f"{self._origin}/mcp",
            "ath": _digest(token),
        }
        wrong = [name for name, value in wanted.items() if said.get(name) != value]
        if shown.get("typ") != "dpop+jwt":
            wrong.append("typ")
        if (claims or {}).get("cnf", {}).get("jkt") != _digest(print_):
            wrong.append("cnf")
        if said["jti"] in self._proofs:
            wrong.append("jti")
        self._proofs.add(said["jti"])
        return " ".join(wrong)

    def _refuse(self, status: int, challenge: str) -> JSONResponse:
        where = f"{self._origin}/.well-known/oauth-protected-resource/mcp"
        return JSONResponse(
            {"error": "refused"},
            status_code=status,
            headers={"WWW-Authenticate": f'{challenge}, resource_metadata="{where}"'},
        )


def _digest(text: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def _as_bearer(headers: list[tuple[bytes, bytes]], token: str) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in headers if name.lower() != b"authorization"]
    return [*kept, (b"authorization", f"Bearer {token}".encode())]


async def _body(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """Give the body that was already read once more, and then what comes."""
    given = False

    async def again() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return again


def server(issuer: str, origin: str, verifier: Verifier) -> MCPServer:
    made = MCPServer(
        "protected",
        token_verifier=verifier,
        auth=AuthSettings(
            issuer_url=AnyHttpUrl(issuer),
            resource_server_url=AnyHttpUrl(f"{origin}/mcp"),
            required_scopes=[READ],
            validate_token_resource=True,
        ),
    )

    @made.tool()
    def read(text: str = "") -> str:
        """Return what was said."""
        return f"read {text}"

    @made.tool()
    def write(text: str = "") -> str:
        """Say that something was written."""
        return f"wrote {text}"

    return made


def main(port: int, issuer: str, *kinds: str) -> None:
    origin = f"http://127.0.0.1:{port}"
    verifier = Verifier(issuer, f"{origin}/mcp")
    app = server(issuer, origin, verifier).streamable_http_app()
    guard = Guard(app, verifier, origin, dpop="dpop" in kinds)
    uvicorn.run(guard, host="127.0.0.1", port=port, log_level="warning", ws="none")


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
