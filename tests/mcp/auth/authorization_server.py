"""An authorization server and a server that it protects, over real sockets, on a clock of ours.

The protected server speaks just enough MCP (2025-11-25, `POST /mcp`): one tool, `whoami`. All of it
can be told to misbehave, and counts what happens to it.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from secrets import token_urlsafe
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import anyio
import jwt
from anyio.abc import SocketStream

_REASONS = {200: "OK", 201: "Created", 202: "Accepted", 302: "Found", 400: "Bad Request"}
Reply = tuple[int, dict[str, str], bytes]


class Family:
    """All tokens that come from one sign-in."""

    def __init__(self, client: str, scope: str, resource: str, key: str) -> None:
        self.client = client
        self.scope = scope
        self.resource = resource
        self.key = key
        self.revoked = False


class Token:
    def __init__(self, family: Family, ends: float | None) -> None:
        self.family = family
        self.ends = ends
        self.used_at: float | None = None


class AuthorizationServer:
    """See `serving`. Change its fields while it runs; `counts` is what happened.

    `counts`: prompts (people on the page), refreshes, reuses (of a refresh token that was rotated),
    registrations, revocations, machines, calls (that passed), refused (of the protected server).
    `life` is seconds of an access token (None: for ever), `grace` those in which a rotated refresh
    token may come again. `needed` is the scope of the protected server. `lose` token requests are
    done, and never answered; `fail` ones are answered with 500; `hold`, if set, is waited for with
    the tokens in hand. `deny`: the person says no; `silent`: the person never answers.
    `broken`: the protected server takes no token; without `publishes` it has no metadata. `user` is
    what is said of who signed in, and `refusal` the error of all but the first tokens.
    """

    def __init__(self, url: str, now: Callable[[], float]) -> None:
        self.url = url
        self.now = now
        self.issuer = url
        self.counts: Counter[str] = Counter()
        self.log: list[str] = []
        self.seen_tokens: list[str] = []
        self.statements: list[str] = []
        self.life: float | None = 300.0
        self.rotates = True
        self.grace = 0.0
        self.needed = ""
        self.lose = 0
        self.fail = 0
        self.held = anyio.Event()
        self.hold: anyio.Event | None = None
        self.deny = False
        self.silent = False
        self.broken = False
        self.publishes = True
        self.account = "acoliver"
        self.user: bytes | None = None
        self.refusal = ""
        self.dpop = False
        self.nonce = ""
        self.challenge = "Bearer"
        self.metadata: dict[str, Any] = {}
        self.resource_metadata: dict[str, Any] = {}
        self.clients: dict[str, dict[str, Any]] = {}
        self.codes: dict[str, tuple[dict[str, str], Family]] = {}
        self.access: dict[str, Token] = {}
        self.refresh: dict[str, Token] = {}

    @property
    def mcp(self) -> str:
        """The address of the protected server."""
        return f"{self.url}/mcp"

    def add_client(self, client_id: str, secret: str = "") -> None:
        self.clients[client_id] = {"client_secret": secret}

    def revoke_all(self) -> None:
        for token in (*self.access.values(), *self.refresh.values()):
            token.family.revoked = True

    def end_access(self) -> None:
        """End every access token before its time, as a server does that changed its keys."""
        self.access.clear()

    async def reply(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Reply | None:
        """Return the answer to a request, None for none at all."""
        parts = urlsplit(target)
        self.log.append(f"{method} {parts.path}")
        form = dict(parse_qsl(parts.query if method == "GET" else body.decode()))
        if parts.path.startswith("/.well-known/oauth-protected-resource") and self.publishes:
            return _json(200, self._protected())
        if parts.path == "/.well-known/oauth-authorization-server":
            return _json(200, self._metadata())
        if parts.path in ("/authorize", "/login/oauth/authorize"):
            return await self._authorize(form)
        if parts.path in ("/token", "/login/oauth/access_token"):
            return await self._token(form, headers)
        if parts.path == "/employer":
            kind = "urn:ietf:params:oauth:token-type:id-jag"
            grant = f"grant-for-{form['subject_token']}"
            return _json(200, {"access_token": grant, "issued_token_type": kind})
        if parts.path == "/register" and method == "POST":
            return self._register(json.loads(body))
        if parts.path.startswith("/register/") and method == "DELETE":
            self.clients.pop(parts.path.rpartition("/")[2], None)
            self.counts["forgotten"] += 1
            return 204, {}, b""
        if parts.path == "/revoke":
            return self._revoke(form)
        if parts.path in ("/userinfo", "/api/v3/user"):
            return self._user(headers)
        if parts.path == "/mcp":
            return self._protected_call(method, headers, body)
        return 404, {}, b""

    def _protected(self) -> dict[str, Any]:
        found = {"resource": self.mcp, "authorization_servers": [self.issuer]}
        return found | self.resource_metadata

    def _metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "registration_endpoint": f"{self.url}/register",
            "revocation_endpoint": f"{self.url}/revoke",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
        if self.dpop:
            found["dpop_signing_alg_values_supported"] = ["ES256"]
        return found | self.metadata

    def _register(self, wish: dict[str, Any]) -> Reply:
        self.counts["registrations"] += 1
        client_id = f"client-{self.counts['registrations']}"
        kept = wish | {
            "client_id": client_id,
            "registration_client_uri": f"{self.url}/register/{client_id}",
            "registration_access_token": token_urlsafe(16),
        }
        self.clients[client_id] = kept
        return _json(201, kept)

    async def _authorize(self, form: dict[str, str]) -> Reply:
        self.counts["prompts"] += 1
        if self.silent:
            await anyio.sleep_forever()
        client = self.clients.get(form["client_id"])
        redirect = form["redirect_uri"]
        if client is None or redirect not in client.get("redirect_uris", [redirect]):
            return 400, {}, b"no such client, or another redirect"
        answer = {"state": form["state"], "iss": self.issuer}
        if self.deny:
            answer |= {"error": "access_denied"}
        else:
            code = token_urlsafe(16)
            family = Family(form["client_id"], form.get("scope", ""), form.get("resource", ""), "")
            self.codes[code] = form, family
            answer |= {"code": code}
        return 302, {"Location": f"{redirect}?{urlencode(answer)}"}, b""

    async def _token(self, form: dict[str, str], headers: Mapping[str, str]) -> Reply | None:
        if self.fail:
            self.fail -= 1
            return _json(500, {})
        kind = form["grant_type"]
        if self.refusal and kind != "authorization_code":
            return _json(400, {"error": self.refusal})
        known = self._client(form, headers)
        if known is None:
            return _json(401, {"error": "invalid_client"})
        key = self._key_of(headers)
        if kind == "authorization_code":
            answer = self._exchanged(form, key)
        elif kind == "refresh_token":
            answer = self._refreshed(form)
        else:
            self.counts["machines"] += 1
            self.statements += [form["assertion"]] if "assertion" in form else []
            family = Family(known, form.get("scope", ""), form.get("resource", ""), key)
            answer = self._issued(family, renewable=False)
        if self.hold is not None and answer[0] == 200:
            self.held.set()
            await self.hold.wait()
        if self.lose:
            self.lose -= 1
            return None
        return answer

    def _client(self, form: dict[str, str], headers: Mapping[str, str]) -> str | None:
        """Return who asks for tokens, None where that is not shown."""
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
        if headers.get("authorization", "").startswith("Basic "):
            pair = base64.b64decode(headers["authorization"][6:]).decode()
            name, _, secret = pair.partition(":")
        client = self.clients.get(name)
        if client is None:
            return None
        if "client_assertion" in form:
            jwt.decode(form["client_assertion"], options={"verify_signature": False})
            return name
        return name if secret == client.get("client_secret", "") else None

    def _key_of(self, headers: Mapping[str, str]) -> str:
        proof = headers.get("dpop", "")
        return json.dumps(jwt.get_unverified_header(proof)["jwk"]) if proof else ""

    def _exchanged(self, form: dict[str, str], key: str) -> Reply:
        asked, family = self.codes.pop(form["code"], (None, None))
        if asked is None or family is None:
            return _json(400, {"error": "invalid_grant"})
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        same = asked["redirect_uri"] == form["redirect_uri"]
        if not same or challenge != asked["code_challenge"]:
            return _json(400, {"error": "invalid_grant"})
        family.key = key
        return self._issued(family)

    def _refreshed(self, form: dict[str, str]) -> Reply:
        self.counts["refreshes"] += 1
        token = self.refresh.get(form["refresh_token"])
        if token is None or token.family.revoked:
            return _json(400, {"error": "invalid_grant"})
        if token.used_at is not None and self.now() >= token.used_at + self.grace:
            self.counts["reuses"] += 1
            token.family.revoked = True
            return _json(400, {"error": "invalid_grant"})
        if self.rotates:
            token.used_at = self.now() if token.used_at is None else token.used_at
        return self._issued(token.family, renewable=self.rotates)

    def _issued(self, family: Family, *, renewable: bool = True) -> Reply:
        self.counts["issued"] += 1
        access = f"access-{self.counts['issued']}-{token_urlsafe(8)}"
        self.access[access] = Token(family, self.now() + self.life if self.life else None)
        found: dict[str, Any] = {"access_token": access, "token_type": "Bearer"}
        if family.key:
            found["token_type"] = "DPoP"
        if self.life:
            found["expires_in"] = self.life
        if family.scope:
            found["scope"] = family.scope
        if renewable:
            refresh = f"refresh-{self.counts['issued']}-{token_urlsafe(8)}"
            self.refresh[refresh] = Token(family, None)
            found["refresh_token"] = refresh
        if "openid" in family.scope.split():
            said = {"preferred_username": self.account}
            found["id_token"] = jwt.encode(said, "not checked by anybody, not checked", "HS256")
        return _json(200, found)

    def _revoke(self, form: dict[str, str]) -> Reply:
        self.counts["revocations"] += 1
        token = self.access.get(form["token"]) or self.refresh.get(form["token"])
        if token is not None:
            token.family.revoked = True
        return 200, {}, b""

    def _passing(self, headers: Mapping[str, str]) -> Family | None:
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if shown:
            self.seen_tokens.append(shown)
        token = self.access.get(shown)
        if token is None or token.family.revoked or self.broken:
            return None
        if token.ends is not None and self.now() >= token.ends:
            return None
        if token.family.key and (scheme != "DPoP" or "dpop" not in headers):
            return None
        return token.family

    def _user(self, headers: Mapping[str, str]) -> Reply:
        family = self._passing(headers)
        if family is not None and self.user is not None:
            return 200, {"Content-Type": "application/json"}, self.user
        return _json(401, {}) if family is None else _json(200, {"login": self.account})

    def _protected_call(self, method: str, headers: Mapping[str, str], body: bytes) -> Reply:
        family = self._passing(headers)
        where = f'resource_metadata="{self.url}/.well-known/oauth-protected-resource/mcp"'
        if family is None:
            self.counts["refused"] += 1
            scheme = "DPoP" if self.dpop else self.challenge
            return 401, {"WWW-Authenticate": f"{scheme} {where}"} if scheme else {}, b""
        if self.nonce and self.nonce not in _claims(headers.get("dpop", "")).values():
            said = f'DPoP error="use_dpop_nonce", {where}'
            return 401, {"WWW-Authenticate": said, "DPoP-Nonce": self.nonce}, b""
        if not set(self.needed.split()) <= set(family.scope.split()):
            self.counts["refused"] += 1
            said = f'Bearer error="insufficient_scope", scope="{self.needed}", {where}'
            return 403, {"WWW-Authenticate": said}, b""
        if method != "POST":
            return 405, {}, b""
        self.counts["calls"] += 1
        return self._answered(json.loads(body or b"{}"))

    def _answered(self, message: dict[str, Any]) -> Reply:
        if "id" not in message:
            return 202, {}, b""
        results: dict[str, Any] = {
            "initialize": {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "protected", "version": "1"},
            },
            "tools/list": {
                "tools": [{"name": "whoami", "inputSchema": {"type": "object"}}],
            },
            "tools/call": {"content": [{"type": "text", "text": f"You are {self.account}."}]},
            "ping": {},
        }
        found = results.get(message.get("method", ""))
        answer = {"jsonrpc": "2.0", "id": message["id"]}
        if found is None:
            error = {"code": -32601, "message": "no such method"}
            return _json(200, answer | {"error": error})
        return _json(200, answer | {"result": found})


def _json(status: int, content: Any) -> Reply:
    return status, {"Content-Type": "application/json"}, json.dumps(content).encode()


def _claims(proof: str) -> dict[str, Any]:
    return jwt.decode(proof, options={"verify_signature": False}) if proof else {}


@asynccontextmanager
async def serving(now: Callable[[], float]) -> AsyncIterator[AuthorizationServer]:
    """Serve on a free port of this machine until the end of the block. `now`: since 1970."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    server = AuthorizationServer(f"http://127.0.0.1:{port}", now)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, lambda stream: _conversation(server, stream))
        yield server
        group.cancel_scope.cancel()


async def _conversation(server: AuthorizationServer, stream: SocketStream) -> None:
    ended = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
    async with stream:
        try:
            rest = b""
            while True:
                method, target, headers, body, rest = await _request(stream, rest)
                reply = await server.reply(method, target, headers, body)
                if reply is None:
                    return
                await stream.send(_written(reply))
        except ended:
            return


async def _request(
    stream: SocketStream, rest: bytes
) -> tuple[str, str, dict[str, str], bytes, bytes]:
    while b"\r\n\r\n" not in rest:
        rest += await stream.receive()
    head, _, rest = rest.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length", 0))
    while len(rest) < length:
        rest += await stream.receive()
    return method, target, headers, rest[:length], rest[length:]


def _written(reply: Reply) -> bytes:
    status, headers, body = reply
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body
