"""Servers that want a sign-in, on every transport, and Patinas that have them as theirs."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import httpx2
from tests.mcp.auth.authorization_server import AuthorizationServer, Reply
from tests.mcp.auth.authorization_server import serving as authorizing
from tests.mcp.auth.desk import Desk
from tests.mcp.house import House
from tests.mcp.servers import socket_server
from tests.mcp.servers.http_raw import Handler, OldServer, Raw, Request, Wire, serving, text_result
from tests.mcp.shop import Person
from tests.mcp.test_legacy_sse import OlderServer
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request as SocketRequest
from websockets.http11 import Response

from patina.engine.clock import ManualClock
from patina.mcp.supervisor import Supervisor
from patina.model.questions import Answered, Asked
from patina.model.settings import ServerSettings
from patina.model.sign_in import SignIn

PASSED = 405  # what the tests' server answers to a GET that it would let in
METADATA = "/.well-known/oauth-protected-resource"
WIRES = ("handshake", "stateless", "stream", "sse", "websocket")
Open = Callable[[Request], bool]


class Human(Person):
    """Somebody in a call, who goes to the pages that they are sent to and does what is to be done.

    `pages` are those that they were shown; with `agrees` false they go to none.
    """

    def __init__(
        self, *, agrees: bool = True, first: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        super().__init__()
        self.agrees = agrees
        self.pages: list[Asked] = []
        self.forms: list[Asked] = []
        self._first = first

    async def ask(self, asked: Asked) -> Answered:
        if asked.kind == "form":
            self.forms.append(asked)
            return Answered(action="accept")
        self.pages.append(asked)
        if not self.agrees:
            return Answered(action="decline")
        if self._first is not None:
            await self._first()
        async with httpx2.AsyncClient(trust_env=False, follow_redirects=True) as browser:
            await browser.get(asked.url)
        return Answered(action="accept")


class Estate:
    """An authorization server, a server that takes its tokens, and what the latter did."""

    def __init__(self, house: House, desk: AuthorizationServer, clock: ManualClock) -> None:
        self.house = house
        self.desk = desk
        self.clock = clock
        self.done: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.refused: list[str] = []
        self.may_fail: Open = lambda _: True
        self.settings = ServerSettings()
        self.raw: Raw | None = None
        self.sockets: socket_server.SocketServer | None = None
        self.told: list[SignIn] = []

    def refusal(self, headers: dict[str, str]) -> Reply | None:
        """Return how a request with `headers` is refused, None where it is not."""
        shown = headers.get("authorization", "").rpartition(" ")[2]
        status, more, body = self.desk._protected_call("GET", headers, b"")
        if status == PASSED:
            self.tokens.append(shown)
            return None
        self.refused.append(shown)
        return status, more, body

    def guarded(self, inner: Handler) -> Handler:
        """Return `inner` behind the guard."""

        async def handle(request: Request, wire: Wire) -> None:
            if request.path.startswith(METADATA):
                await wire.json(self.desk._protected())
                return
            refusal = self.refusal(request.headers) if self.may_fail(request) else None
            if refusal is None:
                if request.rpc == "tools/call":
                    self.done.append(request.message["params"].get("arguments", {}))
                await inner(request, wire)
                return
            status, more, body = refusal
            named = {name.replace("-", "_"): value for name, value in more.items()}
            await wire.status(f"{status} No", body, **named)

        return handle

    @asynccontextmanager
    async def patina(self, **more: Any) -> AsyncIterator[Supervisor]:
        """Run a Patina of the one user: all that two of them share is on the disk."""
        patina = Desk(self.house.root / "secrets", self.clock)
        servers = more.pop("servers", None) or {"s": self.settings}

        def changed(sign_in: SignIn) -> None:
            self.told.append(sign_in)
            if sign_in.state == "connected":
                supervisor.retry(sign_in.server)

        patina.sign_ins._on_change = changed
        supervisor = self.house.supervisor(servers, sign_ins=patina.sign_ins, **more)
        async with supervisor:
            yield supervisor


async def modern(request: Request, wire: Wire) -> None:
    base = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
    if request.rpc == "server/discover":
        found = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
        await wire.result(base | found)
    elif request.rpc == "tools/list":
        await wire.result(base | {"tools": [{"name": "do", "inputSchema": {"type": "object"}}]})
    elif request.rpc == "tools/call":
        await wire.result(base | text_result("done"))
    else:
        await wire.status("202 Accepted")


def streaming() -> OldServer:
    """Return a server that answers in event streams, and holds one open for notifications."""
    server = OldServer(stream=True, session="s-1")

    async def get(_: Request, wire: Wire) -> None:
        await wire.events()
        await wire.hang()

    server.get = get
    return server


@asynccontextmanager
async def estate(house: House, wire: str) -> AsyncIterator[Estate]:
    """Serve a protected server over `wire`, one of `WIRES`."""
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        desk = await stack.enter_async_context(authorizing(clock.monotonic))
        found = Estate(house, desk, clock)
        if wire == "websocket":
            url = await _sockets(found, stack)
        else:
            handlers: dict[str, Handler] = {
                "handshake": OldServer(),
                "stateless": modern,
                "stream": streaming(),
                "sse": OlderServer(),
            }
            raw = await stack.enter_async_context(serving(found.guarded(handlers[wire])))
            found.raw, url = raw, raw.url
        transport = wire if wire in ("sse", "websocket") else "streamable-http"
        found.settings = ServerSettings(transport=transport, url=url, connect="lazy")  # type: ignore[arg-type]
        named = url.replace("ws://", "http://")
        desk.resource_metadata = {"resource": named}
        yield found


async def _sockets(found: Estate, stack: AsyncExitStack) -> str:
    def check(_: ServerConnection, request: SocketRequest) -> Response | None:
        if request.path.startswith(METADATA):
            body = json.dumps(found.desk._protected()).encode()
            return Response(200, "OK", Headers({"Content-Type": "application/json"}), body)
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        refusal = found.refusal(headers)
        if refusal is None:
            return None
        status, more, body = refusal
        return Response(status, "No", Headers(more), body)

    async def speak(connection: ServerConnection) -> None:
        async for raw in connection:
            message = json.loads(raw)
            if message.get("method") == "tools/call":
                found.done.append(message["params"].get("arguments", {}))
            answer = _answer(message)
            if answer is not None:
                await connection.send(json.dumps(answer))

    running = socket_server.running(speak, check=check)
    found.sockets = await stack.enter_async_context(running)
    return found.sockets.url


def _answer(message: dict[str, Any]) -> dict[str, Any] | None:
    if "id" not in message:
        return None
    results: dict[str, Any] = {
        "initialize": {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "old", "version": "1"},
        },
        "tools/list": {"tools": [{"name": "do", "inputSchema": {"type": "object"}}]},
        "tools/call": text_result("done"),
        "ping": {},
    }
    answer = {"jsonrpc": "2.0", "id": message["id"]}
    found = results.get(message["method"])
    if found is None:
        return answer | {"error": {"code": -32601, "message": "no such method"}}
    return answer | {"result": found}


async def sign_in_elsewhere(found: Estate, server: str = "s") -> None:
    """Sign in by another Patina of the same user."""
    from tests.mcp.auth.desk import Browser

    other = Desk(found.house.root / "secrets", found.clock)
    authority = other.sign_ins.authority(server, found.settings)
    if authority is not None:
        status, headers, _ = found.desk._protected_call("GET", {}, b"")
        lower = {name.lower(): value for name, value in headers.items()}
        assert not await authority.heard(status, lower, {}, 1)
    with anyio.fail_after(10):
        ended = await other.sign_ins.sign_in(server, found.settings, Browser())
    assert ended.state == "connected", ended
