"""A web of a few answers, for the pure parts of a sign-in."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from patina.mcp.auth.shapes import Answer, AuthServer

NOW = 1_800_000_000.0
ISSUER = "https://as.example"
SERVER = AuthServer(
    issuer=ISSUER,
    authorization_endpoint=f"{ISSUER}/authorize",
    token_endpoint=f"{ISSUER}/token",
    registration_endpoint=f"{ISSUER}/register",
    revocation_endpoint=f"{ISSUER}/revoke",
    challenges=("S256",),
)


class Request:
    def __init__(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> None:
        self.method = method
        self.url = url
        self.headers = dict(headers)
        self.body = body

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=True))


class Web:
    """Answers of addresses; a list is answered one after the other, what is not there with 404."""

    def __init__(self, pages: Mapping[str, Any] | None = None) -> None:
        self.pages = dict(pages or {})
        self.requests: list[Request] = []

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        self.requests.append(Request(method, url, headers or {}, body))
        page = self.pages.get(url, 404)
        if isinstance(page, list):
            page = page.pop(0)
        return answer(page, url)

    @property
    def asked(self) -> list[str]:
        return [request.url for request in self.requests]


def answer(page: Any, url: str = ISSUER) -> Answer:
    """Of a status, of fields (status 200), of (status, fields) or (status, fields, headers)."""
    status, fields, headers = 200, page, {}
    if isinstance(page, int):
        status, fields = page, b""
    elif isinstance(page, tuple):
        status, fields, headers = page if len(page) == 3 else (*page, {})
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    headers = {"content-type": "application/json", **headers}
    return Answer(status=status, headers=headers, body=body, url=url)


def metadata(issuer: str = ISSUER, **more: Any) -> dict[str, Any]:
    """Return metadata of an authorization server; a field with None is left out."""
    found = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "registration_endpoint": f"{issuer}/register",
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        **more,
    }
    return {name: value for name, value in found.items() if value is not None}
