"""A protected MCP server and whoever signs people in to it, on one port, for real processes."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlencode, urlsplit

TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("one", "two", "three")]
Mood = Literal["allow", "deny", "silent", "broken"]


class SignInServer(ThreadingHTTPServer):
    """`mood` is what the person at the page does; "broken": the token endpoint fails.

    `open`: the MCP server lets everybody in. `live` holds the tokens that it takes, `revoked` and
    `forgotten` what was ended there, `asked` the path of every request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.mood: Mood = "allow"
        self.open = False
        self.account = "acoliver"
        self.live: set[str] = set()
        self.codes: dict[str, dict[str, str]] = {}
        self.revoked: list[str] = []
        self.forgotten: list[str] = []
        self.asked: list[str] = []
        self.number = 0

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return self.asked.count(path)


@contextmanager
def sign_in_server() -> Iterator[SignInServer]:
    """Serve on a free port of this machine."""
    with SignInServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    server: SignInServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, url = urlsplit(self.path).path, self.server.url
        self.server.asked.append(path)
        if path.startswith("/.well-known/oauth-protected-resource"):
            self._json(200, {"resource": f"{url}/mcp", "authorization_servers": [url]})
        elif path == "/.well-known/oauth-authorization-server":
            self._json(200, self._metadata())
        elif path == "/authorize":
            self._authorize()
        elif path == "/userinfo":
            self._json(200, {"sub": "1", "preferred_username": self.server.account})
        else:
            self._json(405 if path == "/mcp" else 404, {})

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append(path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/mcp":
            self._mcp(body)
        elif path == "/register":
            given = json.loads(body)
            place = f"{self.server.url}/register/1"
            more = {"registration_client_uri": place, "registration_access_token": "rat-1"}
            self._json(201, {**given, "client_id": "client-1", **more})
        elif path == "/token":
            self._token({key: values[0] for key, values in parse_qs(body.decode()).items()})
        elif path == "/revoke":
            ended = parse_qs(body.decode())["token"][0]
            self.server.revoked.append(ended)
            self.server.live.discard(ended)
            self._json(200, {})
        else:
            self._json(404, {})

    def do_DELETE(self) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append(path)
        if path.startswith("/register/"):
            self.server.forgotten.append(path.rpartition("/")[2])
        self._json(204 if path.startswith("/register/") else 405, None)

    def _metadata(self) -> dict[str, Any]:
        url = self.server.url
        return {
            "issuer": url,
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "registration_endpoint": f"{url}/register",
            "revocation_endpoint": f"{url}/revoke",
            "userinfo_endpoint": f"{url}/userinfo",
            "scopes_supported": ["openid", "tools"],
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
            "grant_types_supported": [
                *("authorization_code", "refresh_token", "client_credentials"),
            ],
        }

    def _authorize(self) -> None:
        given = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        if self.server.mood == "silent":
            self._json(200, {"page": "Allow it?"})
            return
        answer = {"state": given["state"]}
        if self.server.mood == "deny":
            answer["error"] = "access_denied"
        else:
            self.server.number += 1
            answer["code"] = f"code-{self.server.number}"
            self.server.codes[answer["code"]] = given
        self.send_response(302)
        self.send_header("Location", f"{given['redirect_uri']}?{urlencode(answer)}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _token(self, form: dict[str, str]) -> None:
        if self.server.mood == "broken":
            self._json(400, {"error": "invalid_client", "error_description": "It is switched off."})
            return
        scope = form.get("scope", "")
        if form["grant_type"] == "authorization_code":
            begun = self.server.codes.pop(form["code"], None)
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            same = begun is not None and begun["redirect_uri"] == form["redirect_uri"]
            if begun is None or not same or begun["code_challenge"] != challenge:
                self._json(400, {"error": "invalid_grant"})
                return
            scope = begun.get("scope", "")
        self.server.number += 1
        access, refresh = f"at-{self.server.number:08}", f"rt-{self.server.number:08}"
        self.server.live |= {access, refresh}
        tokens = {"access_token": access, "token_type": "Bearer", "expires_in": 3600}
        if form["grant_type"] != "client_credentials":
            tokens["refresh_token"] = refresh
        self._json(200, {**tokens, "scope": scope})

    def _mcp(self, body: bytes) -> None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self.server.open and token not in self.server.live:
            prm = f"{self.server.url}/.well-known/oauth-protected-resource/mcp"
            challenge = f'Bearer resource_metadata="{prm}", scope="openid tools"'
            self._json(401, {"error": "unauthorized"}, challenge=challenge)
            return
        message = json.loads(body)
        if "id" not in message:
            self._json(202, None)
            return
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] == "initialize":
            version = message["params"]["protocolVersion"]
            about = {"name": "protected", "version": "1"}
            shown = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": about}
            answer["result"] = shown
        elif message["method"] == "tools/list":
            answer["result"] = {"tools": TOOLS}
        elif message["method"] == "tools/call":
            answer["result"] = {"content": [{"type": "text", "text": "done"}]}
        elif message["method"] == "ping":
            answer["result"] = {}
        else:
            answer["error"] = {"code": -32601, "message": "Method not found"}
        self._json(200, answer)

    def _json(self, status: int, value: Any, *, challenge: str = "") -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        if value is not None:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
