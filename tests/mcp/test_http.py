"""Streamable HTTP against servers of the SDK and against odd ones."""

import gc
import json
import ssl
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest
from anyio.abc import ByteStream, SocketAttribute
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mcp_types import CONNECTION_CLOSED, INVALID_REQUEST
from tests.mcp.house import House, tool_of, until
from tests.mcp.servers.http_raw import (
    GONE,
    OldServer,
    Raw,
    Request,
    Wire,
    answer,
    serving,
    text_result,
)
from tests.mcp.servers.http_sdk import running, streamable
from tests.mcp.servers.http_session import client

from mcp import MCPError
from patina.mcp.toolset import Toolset
from patina.mcp.transports.remote import Network
from patina.model.faults import McpFault
from patina.model.parts import text_of
from patina.model.settings import ServerSettings

pytestmark = pytest.mark.anyio

LOOPBACK = ip_address("127.0.0.1")
CANCELLED = "notifications/cancelled"


async def error_of(url: str, folder: Path, **remote: Any) -> MCPError:
    """What connecting fails of."""
    async with client(url, folder, **remote) as it:
        with pytest.raises(MCPError) as caught:
            await it.connect()
    return caught.value


@pytest.mark.parametrize("json_response", [False, True])
@pytest.mark.parametrize("stateless", [False, True])
@pytest.mark.parametrize("protocol", ["auto", "2025-11-25"])
async def test_servers_of_the_sdk(
    tmp_path: Path, protocol: str, stateless: bool, json_response: bool
) -> None:
    # M-06, C-02: both eras, every way to answer, and 5 MB in one event (gap 14)
    app = streamable(json_response=json_response, stateless_http=stateless)
    with running(app) as origin:
        async with client(f"{origin}/mcp", tmp_path) as it:
            assert await it.connect(protocol) == ["echo", "big", "slow"]
            assert await it.call("echo", text="\u2028 and \u0085") == "\u2028 and \u0085"
            assert len(await it.call("big", text="5000000")) == 5_000_000
            assert bool(it.link.session_id) == (protocol != "auto" and not stateless)


async def test_a_slow_call_holds_up_nobody(tmp_path: Path) -> None:
    with running(streamable()) as origin:
        async with client(f"{origin}/mcp", tmp_path) as it, anyio.create_task_group() as tasks:
            await it.connect()
            tasks.start_soon(it.call, "slow")
            for number in range(20):
                assert await it.call("echo", text=str(number)) == str(number)
            tasks.cancel_scope.cancel()


async def test_headers_and_session(tmp_path: Path) -> None:
    # C-14: both headers explicit, the session's id captured, sent ever after, ended, never logged
    secret = "session-" + "s" * 30
    async with serving(OldServer(session=secret)) as raw:
        headers = {"X-Own": "yes", "Accept": "nonsense/never"}
        async with client(raw.url, tmp_path, headers=headers) as it:
            await it.connect()
            await it.call()
            assert it.link.session_id == secret
            log = it.log()
    assert secret not in log
    for request in raw.requests:
        assert request.headers["x-own"] == "yes"
        if request.method == "POST":
            assert request.headers["accept"] == "application/json, text/event-stream"
            assert request.headers["content-type"] == "application/json"
    first = next(i for i, request in enumerate(raw.requests) if request.rpc == "initialize")
    assert "mcp-session-id" not in raw.requests[first].headers
    assert "mcp-protocol-version" not in raw.requests[first].headers
    later = raw.requests[first + 1 :]
    assert {request.headers["mcp-session-id"] for request in later} == {secret}
    assert {request.headers["mcp-protocol-version"] for request in later} == {"2025-11-25"}
    assert [request.method for request in later][-1] == "DELETE"


async def test_a_connection_serves_many_requests(tmp_path: Path) -> None:
    # M-26, A-45: pooled connections
    async with serving(OldServer()) as raw, client(raw.url, tmp_path) as it:
        await it.connect()
        for _ in range(20):
            await it.call()
        assert raw.connections == 1


async def test_no_get_to_a_server_that_answers_in_json(tmp_path: Path) -> None:
    # C-13: it never answers a GET, and nothing else meanwhile
    server = OldServer(session="s1")
    async with serving(server) as raw, client(raw.url, tmp_path) as it:
        await it.connect()
        assert await it.call() == "done"
        assert raw.asked("GET") == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_get_that_is_never_answered_slows_nothing(tmp_path: Path, stream: bool) -> None:
    # C-13
    server = OldServer(session="s1", stream=stream)
    server.capabilities = {"tools": {"listChanged": True}}
    server.get = lambda _, wire: wire.hang()
    async with serving(server) as raw:
        async with client(raw.url, tmp_path) as it:
            await it.connect()
            await until(lambda: bool(raw.asked("GET")), 5)
            began = anyio.current_time()
            for _ in range(10):
                assert await it.call() == "done"
            assert anyio.current_time() - began < 3
        # Leaving closes it.
        await until(lambda: bool(raw.let_go), 5)


@pytest.mark.parametrize("status", ["404 Not Found", "405 Method Not Allowed", "401 Unauthorized"])
async def test_a_refused_stream_is_never_asked_for_again(tmp_path: Path, status: str) -> None:
    server = OldServer(session="s1", stream=True)
    server.get = lambda _, wire: wire.status(status)
    async with serving(server) as raw, client(raw.url, tmp_path) as it:
        await it.connect()
        await until(lambda: bool(raw.asked("GET")), 5)
        with anyio.move_on_after(1.5):
            await it.link.ended.wait()
        assert len(raw.asked("GET")) == 1
        assert await it.call() == "done"


async def test_the_stream_of_notifications_is_resumed(tmp_path: Path) -> None:
    # Gap 13: it breaks, and is asked for again from where it was
    server = OldServer(session="s1", stream=True)
    changed = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}

    async def get(request: Request, wire: Wire) -> None:
        await wire.events()
        if "last-event-id" not in request.headers:
            await wire.event(event_id="e1", retry=100)
            await wire.hang_up()
            return
        await wire.event(changed, event_id="e2")
        await wire.hang()

    server.get = get
    async with serving(server) as raw, client(raw.url, tmp_path) as it:
        await it.connect()
        with anyio.fail_after(5):
            await it.session.list_changed.wait()
        assert raw.asked("GET")[1].headers["last-event-id"] == "e1"
        assert raw.asked("GET")[1].headers["mcp-session-id"] == "s1"


@pytest.mark.parametrize("megabytes", [2, 20])
@pytest.mark.parametrize("stream", [False, True])
async def test_large_answers(tmp_path: Path, megabytes: int, stream: bool) -> None:
    # Gap 14
    text = "\u2028" + "y" * (megabytes * 1_000_000)

    async def call(request: Request, wire: Wire) -> None:
        await server.reply(request, wire, text_result(text))

    server = OldServer(call, stream=stream)
    async with serving(server) as raw, client(raw.url, tmp_path) as it:
        await it.connect()
        assert await it.call() == text


async def test_a_stream_that_ends_is_resumed_after_the_time_it_asked_for(tmp_path: Path) -> None:
    server = OldServer(session="s1")
    calls: list[Request] = []

    async def call(request: Request, wire: Wire) -> None:
        calls.append(request)
        await wire.events()
        await wire.event(event_id="one", retry=400)
        await wire.hang_up()

    async def get(_: Request, wire: Wire) -> None:
        await wire.events()
        await wire.event(answer(calls[0], text_result("resumed")), event_id="two")
        await wire.hang_up()

    server.call, server.get = call, get
    async with serving(server) as raw, client(raw.url, tmp_path) as it:
        await it.connect()
        assert await it.call() == "resumed"
    (get_request,) = raw.asked("GET")
    assert get_request.headers["last-event-id"] == "one"
    assert 0.4 <= get_request.arrived - calls[0].arrived < 3


async def test_half_an_event_and_then_nothing_fails_that_call_only(tmp_path: Path) -> None:
    async def call(request: Request, wire: Wire) -> None:
        whole = request.message["params"]["arguments"].get("whole")
        if whole:
            await server.echo(request, wire)
            return
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 900\r\n\r\n"
        await wire.raw(head + b'data: {"jsonrpc": "2.0", "id"')
        await wire.hang_up()

    server = OldServer(call)
    async with serving(server) as raw, client(raw.url, tmp_path) as it:
        await it.connect()
        with pytest.raises(MCPError, match="connection was lost"):
            await it.call()
        assert await it.call(whole=True) == "done"
        assert not it.link.ended.is_set()


async def test_slow_drip(tmp_path: Path) -> None:
    async def call(request: Request, wire: Wire) -> None:
        await wire.events()
        text = json.dumps(answer(request, text_result("dripped")))
        sent = f": ping\r\n\r\ndata: {text}\r\n\r\n".encode()
        for start in range(0, len(sent), 3):
            await wire.raw(sent[start : start + 3])
        await wire.hang_up()

    async with serving(OldServer(call)) as raw, client(raw.url, tmp_path) as it:
        await it.connect()
        assert await it.call() == "dripped"


@pytest.mark.parametrize(
    ("reply", "code", "words"),
    [
        ("accepted", INVALID_REQUEST, "gives no answer"),
        ("html", INVALID_REQUEST, "answered with text/html, not with JSON"),
        ("other id", -32700, "none to what was asked"),
        ("other id in a stream", -32603, "ended before the answer"),
        ("rubbish", -32700, "no MCP message: Welcome"),
        ("busy", -32603, r"503 Service Unavailable: come back \\u202e later"),
        ("rpc", -32099, "as the server says"),
        ("null id", -32098, "as the server says"),
        ("not http", -32603, "not HTTP"),
        ("nothing", -32603, "connection was lost"),
    ],
)
async def test_a_bad_answer_fails_that_call_only(
    tmp_path: Path, reply: str, code: int, words: str
) -> None:
    async def call(request: Request, wire: Wire) -> None:
        stranger = {"jsonrpc": "2.0", "id": "stranger", "result": text_result("not yours")}
        if not request.message["params"]["arguments"].get("bad"):
            await server.echo(request, wire)
        elif reply == "accepted":
            await wire.status("202 Accepted")
        elif reply == "html":
            await wire.status("200 OK", b"<p>Hello</p>", "text/html")
        elif reply == "other id":
            await wire.json(stranger)
        elif reply == "other id in a stream":
            await wire.events()
            await wire.event(stranger)
            await wire.hang_up()
        elif reply == "rubbish":
            await wire.status("200 OK", b"Welcome", "application/json")
        elif reply == "busy":
            await wire.status("503 Service Unavailable", "come back \u202e later".encode())
        elif reply in {"rpc", "null id"}:
            error = {"code": code, "message": "as the server says"}
            known = request.message["id"] if reply == "rpc" else None
            body = {"jsonrpc": "2.0", "id": known, "error": error}
            await wire.json(body, "400 Bad Request" if reply == "rpc" else "200 OK")
        elif reply == "not http":
            await wire.raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
            await wire.hang_up()
        else:
            await wire.hang_up()

    server = OldServer(call)
    async with serving(server) as raw, client(raw.url, tmp_path) as it:
        await it.connect()
        with pytest.raises(MCPError, match=words) as caught:
            await it.call(bad=True)
        assert caught.value.error.code == code
        assert await it.call() == "done"


async def test_refused_sign_in_keeps_what_the_sign_in_needs(tmp_path: Path) -> None:
    async def refuse(_: Request, wire: Wire) -> None:
        body = b"your token top-secret is wrong"
        await wire.status("401 Unauthorized", body, WWW_Authenticate='Bearer scope="a"')

    async with serving(refuse) as raw:
        secrets = ("top-secret",)
        async with client(raw.url, tmp_path, headers={"X": "1"}, secrets=secrets) as it:
            with pytest.raises(MCPError) as caught:
                await it.connect()
            assert "401 Unauthorized: your token [redacted] is wrong" in await it.link.last_words()
    error = caught.value.error
    assert error.data == {"status": 401, "www_authenticate": 'Bearer scope="a"'}
    assert "top-secret" not in error.message
    assert raw.asked("GET") == []


@pytest.mark.parametrize("status", ["404 Not Found", "400 Bad Request"])
async def test_lost_session(tmp_path: Path, status: str) -> None:
    # Gap 13: the server restarted; the call was not run, and connecting anew is all it needs
    async def call(_: Request, wire: Wire) -> None:
        error = {"code": -32000, "message": "Bad Request: No valid session ID provided"}
        await wire.json({"jsonrpc": "2.0", "id": None, "error": error}, status)

    async with serving(OldServer(call, session="s1")) as raw:
        async with client(raw.url, tmp_path) as it:
            await it.connect()
            with pytest.raises(MCPError) as caught:
                await it.call()
            assert caught.value.error.code == CONNECTION_CLOSED
            assert caught.value.error.data == {"unsent": True, "status": 404}
            assert await it.ended() == "knows the session no more"
            assert it.link.forgotten
            assert not it.link.away
        assert raw.asked("DELETE") == []


async def test_session_dropped_in_mid_call(tmp_path: Path) -> None:
    async def call(_: Request, wire: Wire) -> None:
        await wire.events()
        await wire.event(event_id="one", retry=100)
        await wire.hang_up()

    server = OldServer(call, session="s1")
    server.get = lambda _, wire: wire.status("404 Not Found")
    async with serving(server) as raw, client(raw.url, tmp_path) as it:
        await it.connect()
        with pytest.raises(MCPError) as caught:
            await it.call()
        # It may have been run: never said to be unsent.
        assert caught.value.error.data is None
        await it.ended()
        assert it.link.forgotten


async def test_refused_connection(tmp_path: Path) -> None:
    #
    async with serving(OldServer()) as raw:
        await raw.stop()
    async with client(raw.url, tmp_path) as it:
        with pytest.raises(MCPError) as caught:
            await it.connect()
        assert caught.value.error.code == CONNECTION_CLOSED
        assert await it.ended() == "could not be reached: Connection refused"
        assert it.link.away


async def test_unknown_host(tmp_path: Path) -> None:
    error = await error_of("http://no-such-host.invalid/mcp", tmp_path)
    assert "could not be reached: no such host" in str(error)


async def test_server_that_goes_away_is_noticed_with_the_next_call(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        raw = await stack.enter_async_context(serving(OldServer()))
        it = await stack.enter_async_context(client(raw.url, tmp_path))
        await it.connect()
        await raw.stop()
        with pytest.raises(MCPError) as caught:
            await it.call()
        assert caught.value.error.data == {"unsent": True}
        assert await it.ended() == "could not be reached: Connection refused"
        assert it.link.away


@pytest.mark.parametrize("status", ["307 Temporary Redirect", "302 Found"])
async def test_redirect_to_another_origin_is_not_followed(tmp_path: Path, status: str) -> None:
    async with serving(OldServer()) as other:

        async def redirect(_: Request, wire: Wire) -> None:
            await wire.status(status, Location=f"{other.url}?token=t0ken")

        async with serving(redirect) as raw:
            headers = {"Authorization": "Bearer secret"}
            error = await error_of(raw.url, tmp_path, headers=headers)
        assert f"redirects to {other.url}," in str(error)
        assert "t0ken" not in str(error)
        assert other.requests == []


async def test_redirect_within_the_origin_is_followed(tmp_path: Path) -> None:
    server = OldServer()

    async def redirect(request: Request, wire: Wire) -> None:
        if request.path == "/mcp":
            await wire.status("308 Permanent Redirect", Location="/mcp/")
        else:
            await server(request, wire)

    async with serving(redirect) as raw:
        headers = {"Authorization": "Bearer secret"}
        async with client(raw.url, tmp_path, headers=headers) as it:
            await it.connect()
            assert await it.call() == "done"
    assert {request.headers["authorization"] for request in raw.requests} == {"Bearer secret"}


async def test_redirects_without_end(tmp_path: Path) -> None:
    async def redirect(_: Request, wire: Wire) -> None:
        await wire.status("307 Temporary Redirect", Location="/mcp")

    async with serving(redirect) as raw:
        assert "redirects to" in str(await error_of(raw.url, tmp_path))
        assert len(raw.requests) < 40


async def _cancel(it: Any, raw: Raw) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(it.call)
        await until(lambda: bool(raw.asked("tools/call")), 5)
        tasks.cancel_scope.cancel()
    await until(lambda: bool(raw.let_go), 5)


async def test_cancelling_in_the_older_era_is_said_and_then_the_request_is_let_go(
    tmp_path: Path,
) -> None:
    server = OldServer(lambda _, wire: wire.hang())
    async with serving(server) as raw, client(raw.url, tmp_path) as it:
        await it.connect()
        await _cancel(it, raw)
        (cancelled,) = raw.asked(CANCELLED)
        asked = raw.asked("tools/call")[0]
        assert cancelled.message["params"]["requestId"] == asked.message["id"]
        assert not it.link.ended.is_set()


async def test_cancelling_in_the_newer_era_closes_the_request(tmp_path: Path) -> None:
    async def modern(request: Request, wire: Wire) -> None:
        base = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        if request.rpc == "server/discover":
            found = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
            await wire.result(base | found)
        elif request.rpc == "tools/list":
            tool = {"name": "do", "inputSchema": {"type": "object"}}
            await wire.result(base | {"tools": [tool]})
        else:
            await wire.hang()

    async with serving(modern) as raw, client(raw.url, tmp_path) as it:
        await it.connect()
        assert it.session.protocol_version == "2026-07-28"
        began = anyio.current_time()
        await _cancel(it, raw)
        assert anyio.current_time() - began < 0.9
        assert raw.asked(CANCELLED) == []
        assert {request.headers["mcp-protocol-version"] for request in raw.requests} == {
            "2026-07-28"
        }
        assert raw.asked("tools/call")[0].headers["mcp-name"] == "do"


async def test_leaving_ends_everything_at_once(tmp_path: Path) -> None:
    server = OldServer(lambda _, wire: wire.hang(), stream=True, session="s1")

    async def get(_: Request, wire: Wire) -> None:
        await wire.events()
        await wire.hang()

    server.get = get
    async with serving(server) as raw:
        async with anyio.create_task_group() as tasks:
            async with client(raw.url, tmp_path) as it:
                await it.connect()
                tasks.start_soon(_call_that_fails, it)
                await until(lambda: bool(raw.asked("tools/call") and raw.asked("GET")), 5)
                began = anyio.current_time()
            assert anyio.current_time() - began < 2
        await until(lambda: len(raw.let_go) == 2, 5)
        gc.collect()


async def _call_that_fails(it: Any) -> None:
    with pytest.raises(MCPError):
        await it.call()


async def test_certificate_that_is_not_trusted(tmp_path: Path, own_certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own_certificate)
    async with serving(OldServer(), tls=context) as raw:
        error = await error_of(raw.url, tmp_path)
        assert "the certificate is not trusted: self-signed certificate" in str(error)
        network = Network(ca_file=str(own_certificate))
        async with client(raw.url, tmp_path, network=network) as it:
            await it.connect()
            assert await it.call() == "done"


async def test_leaving_in_the_middle_of_a_tls_handshake_closes_the_socket(tmp_path: Path) -> None:
    heard, closed = anyio.Event(), anyio.Event()

    async def mute(stream: ByteStream) -> None:
        async with stream:
            await stream.receive()
            heard.set()
            with suppress(*GONE):
                await stream.receive()
            closed.set()

    listener: Any = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, mute)
        async with client(f"https://127.0.0.1:{port}/mcp", tmp_path) as it:
            tasks.start_soon(_connect_that_fails, it)
            with anyio.fail_after(5):
                await heard.wait()
        with anyio.fail_after(5):
            await closed.wait()
        tasks.cancel_scope.cancel()


async def _connect_that_fails(it: Any) -> None:
    with pytest.raises(MCPError):
        await it.connect()


async def test_file_of_certificates_that_is_none(tmp_path: Path) -> None:
    network = Network(ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(McpFault, match=r"none\.pem"):
        async with client("https://example.org/mcp", tmp_path, network=network):
            pass


@pytest.mark.parametrize("url", ["", "ftp://a/b", "http://", "http://a:port/", "http://[::1/"])
async def test_address_that_is_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(McpFault, match="cannot be asked"):
        async with client(url, tmp_path):
            pass


async def test_header_that_cannot_be_sent(tmp_path: Path) -> None:
    async with serving(OldServer()) as raw:
        error = await error_of(raw.url, tmp_path, headers={"X-Bad": "a\nb"})
        assert "look at its headers" in str(error)


async def test_proxy(tmp_path: Path) -> None:
    asked: list[Request] = []
    server = OldServer()

    async def proxy(request: Request, wire: Wire) -> None:
        asked.append(request)
        await server(request, wire)

    async with serving(proxy) as raw:
        network = Network(http_proxy=f"http://127.0.0.1:{raw.port}", no_proxy=("b.invalid",))
        async with client("http://a.invalid/mcp", tmp_path, network=network) as it:
            await it.connect()
        assert asked[0].path == "http://a.invalid/mcp"
        before = len(asked)
        error = await error_of("http://x.b.invalid/mcp", tmp_path, network=network)
        assert "no such host" in str(error)
        # Loopback never goes through it.
        async with serving(OldServer()) as own, client(own.url, tmp_path, network=network) as it:
            await it.connect()
        assert len(asked) == before


async def test_the_rest_of_an_answer_is_refused(tmp_path: Path) -> None:
    async def call(_: Request, wire: Wire) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 900\r\n\r\n"
        await wire.raw(head)
        await wire.event(event_id="one", retry=100)
        await wire.hang_up()

    async with serving(OldServer(call)) as raw, client(raw.url, tmp_path) as it:
        await it.connect()
        with pytest.raises(MCPError, match="for the rest the server answered 405"):
            await it.call()
        assert len(raw.asked("GET")) == 1
        assert not it.link.ended.is_set()


async def test_through_the_supervisor(house: House) -> None:
    # P-04, A-39, A-45
    with running(streamable()) as origin:
        settings = ServerSettings(transport="streamable-http", url=f"{origin}/mcp")
        async with house.supervisor({"s": settings}) as supervisor:
            tools = Toolset(supervisor)
            outcome = await tools.call(await tool_of(tools, "s.echo"), {"text": "hello"})
            assert text_of(outcome.parts) == "hello"


async def test_through_the_supervisor_to_nobody(house: House) -> None:
    #
    async with serving(OldServer()) as raw:
        await raw.stop()
    settings = ServerSettings(transport="streamable-http", url=raw.url)
    async with house.supervisor({"s": settings}) as supervisor:
        with anyio.fail_after(30), pytest.raises(McpFault, match="Connection refused"):
            await supervisor.connect("s")


async def test_no_descriptor_stays(tmp_path: Path) -> None:
    server = OldServer(stream=True, session="s1")
    server.get = lambda _, wire: wire.hang()
    async with serving(server) as raw:
        process, before = psutil.Process(), 0
        for turn in range(12):
            async with client(raw.url, tmp_path) as it:
                await it.connect()
                await it.call()
            await until(lambda: len(raw.let_go) == len(raw.asked("GET")), 5)
            if turn == 1:
                before = len(process.net_connections())
        await until(lambda: len(process.net_connections()) <= before, 5)


async def test_flood_of_notifications(tmp_path: Path) -> None:
    async def call(request: Request, wire: Wire) -> None:
        await wire.events()
        note = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        for _ in range(5000):
            await wire.event(note)
        await wire.event(answer(request, text_result("after the flood")))
        await wire.hang_up()

    async with serving(OldServer(call)) as raw, client(raw.url, tmp_path) as it:
        await it.connect()
        assert await it.call() == "after the flood"
        assert "the rest is dropped" in it.log()


@pytest.fixture
def own_certificate(tmp_path: Path) -> Path:
    """A file with a key and a certificate for 127.0.0.1 that nobody but itself has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(LOOPBACK)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "own.pem"
    path.write_bytes(secret + certificate.public_bytes(pem))
    return path
