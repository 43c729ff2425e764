"""Servers over WebSocket: both eras, and servers that answer not, late, wrong or no more."""

import ipaddress
import json
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.mcp.house import House, tool_of, until
from tests.mcp.servers import socket_server
from tests.mcp.servers.socket_server import reply, text_result
from websockets.asyncio.server import ServerConnection
from websockets.frames import Opcode
from websockets.http11 import Request, Response

from patina.mcp.failing import AWAY
from patina.mcp.server_log import log_path
from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.mcp.transports.link import Link, Notes
from patina.mcp.transports.remote import Network, Remote
from patina.mcp.transports.websocket import open_websocket
from patina.model.faults import Failure, McpFault
from patina.model.parts import text_of
from patina.model.settings import ServerSettings

pytestmark = pytest.mark.anyio


def remote(house: House, url: str, **more: Any) -> Remote:
    secrets = more.pop("secrets", ())
    notes = Notes("ws", log_path(house.root / "state", "ws"), secrets)
    return Remote(url, more.pop("headers", {}), notes, **more)


@asynccontextmanager
async def connected(
    house: House, to: Remote | str, **settings: Any
) -> AsyncIterator[tuple[Supervisor, Toolset]]:
    where = remote(house, to) if isinstance(to, str) else to
    server = ServerSettings(transport="websocket", url=where.url, **settings)
    openers = {"ws": lambda: open_websocket(where)}
    async with house.supervisor({"ws": server}, openers=openers) as supervisor:
        yield supervisor, Toolset(supervisor)


async def refusal(house: House, url: str, **more: Any) -> Failure:
    """Return why there is no link."""
    with anyio.fail_after(10), pytest.raises(McpFault) as caught:
        async with open_websocket(remote(house, url, **more)):
            pytest.fail("connected")
    return caught.value.failure


async def ended(link: Link) -> str:
    with anyio.fail_after(5):
        await link.ended.wait()
    return await link.last_words()


def log(house: House) -> str:
    return log_path(house.root / "state", "ws").read_text()


# P-04 M-06 C-01 C-02
@pytest.mark.parametrize("era", ["auto", "2026-07-28", "2025-11-25"])
async def test_tools_of_both_eras(house: House, era: str) -> None:
    async with (
        socket_server.running() as server,
        connected(house, server.url, protocol_version=era) as (_, tools),
    ):
        outcome = await tools.call(await tool_of(tools, "ws.add"), {"a": 2, "b": 3})
        assert text_of(outcome.parts) == "5"
        outcome = await tools.call(await tool_of(tools, "ws.image"), {})
        assert len(house.blobs) == 1
        assert server.headers[0]["Sec-WebSocket-Protocol"] == "mcp"
        assert "Origin" not in server.headers[0]
        assert len(server.headers) == 1
    await until(lambda: not server.connections)


async def test_many_calls_at_once(house: House) -> None:
    async with (
        socket_server.running() as server,
        connected(house, server.url) as (_, tools),
    ):
        echo = await tool_of(tools, "ws.echo")
        answers: dict[int, str] = {}

        async def ask(number: int) -> None:
            outcome = await tools.call(echo, {"text": f"n{number}"})
            answers[number] = text_of(outcome.parts)

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(ask, number)
    assert answers == {number: f"n{number}" for number in range(50)}


async def test_five_megabytes_there_and_back(house: House) -> None:
    async with (
        socket_server.running() as server,
        connected(house, server.url) as (_, tools),
    ):
        text = "ü" * 2_500_000
        outcome = await tools.call(await tool_of(tools, "ws.echo"), {"text": text})
        assert len(text_of(outcome.parts)) >= 100_000


async def test_headers_reach_the_server_and_no_log(house: House) -> None:
    key = "hunter2-hunter2"
    where = remote(
        house, "", headers={"Authorization": f"Bearer {key}"}, secrets=(f"Bearer {key}", key)
    )
    async with socket_server.running() as server:
        to = Remote(f"{server.url}?token=in-the-query", where.headers, where.notes)
        async with connected(house, to) as (supervisor, _):
            await supervisor.connect("ws")
        assert server.headers[0]["Authorization"] == f"Bearer {key}"
    assert "hunter2" not in log(house)
    assert "in-the-query" not in log(house)
    assert f"connected to {server.url}" in log(house)


async def test_as_it_is_configured(house: House) -> None:
    house.keys.secrets["k"] = "hunter2-hunter2"
    async with socket_server.running() as server:
        settings = ServerSettings(
            transport="websocket", url=server.url, headers={"X-Key": "secret:k"}
        )
        async with house.supervisor({"ws": settings}) as supervisor:
            tools = Toolset(supervisor)
            outcome = await tools.call(await tool_of(tools, "ws.echo"), {"text": "there"})
            assert text_of(outcome.parts) == "there"
            assert supervisor.connected("ws")
        assert server.headers[0]["X-Key"] == "hunter2-hunter2"


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "ä\x00", "ключ"])
async def test_a_header_that_would_end_too_early(house: House, value: str) -> None:
    failure = await refusal(house, "ws://127.0.0.1:9/", headers={"X-Key": value})
    assert "cannot be sent the header X-Key" in failure.message
    assert value not in failure.message


async def test_a_server_without_the_sub_protocol_is_taken(house: House) -> None:
    async with (
        socket_server.running(subprotocol=None) as server,
        connected(house, server.url) as (supervisor, _),
    ):
        await supervisor.connect("ws")
    assert "did not choose the sub-protocol mcp" in log(house)


async def test_binary_frames_are_read_as_text(house: House) -> None:
    async def binary(connection: ServerConnection) -> None:
        send = connection.send

        async def as_bytes(message: str) -> None:
            await send(message.encode(), text=False)

        async def call(message: Any) -> None:
            await reply(connection, message["id"], text_result("grüße"))

        connection.send = as_bytes  # type: ignore[method-assign, assignment]
        await socket_server.answer(connection, call)

    async with (
        socket_server.running(binary) as server,
        connected(house, server.url) as (_, tools),
    ):
        outcome = await tools.call(await tool_of(tools, "ws.echo"), {})
        assert text_of(outcome.parts) == "grüße"


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


#
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_connection_refused(house: House, host: str) -> None:
    failure = await refusal(house, f"ws://{host}:{closed_port()}/mcp?key=secret")
    assert failure.message.startswith(f"Server ws could not be reached at ws://{host}:")
    assert "Connection refused" in failure.message
    assert "key=secret" not in failure.message
    assert failure.code == AWAY
    assert failure.hint


async def test_no_such_host(house: House) -> None:
    failure = await refusal(house, "ws://nowhere.invalid/mcp")
    assert "no such host" in failure.message
    assert failure.code == AWAY


@pytest.mark.parametrize(
    ("status", "words", "away"),
    [
        (HTTPStatus.UNAUTHORIZED, "HTTP status 401: go away [redacted]", False),
        (HTTPStatus.NOT_FOUND, "HTTP status 404", False),
        (HTTPStatus.SERVICE_UNAVAILABLE, "HTTP status 503", True),
    ],
)
async def test_refused_handshake(
    house: House, status: HTTPStatus, words: str, *, away: bool
) -> None:
    def check(connection: ServerConnection, _: Request) -> Response:
        return connection.respond(status, "go away hunter2-hunter2\x1b[2J\n")

    async with socket_server.running(check=check) as server:
        failure = await refusal(house, server.url, secrets=("hunter2-hunter2",))
    assert words in failure.message
    assert "\x1b" not in failure.message
    assert (failure.code == AWAY) is away


async def test_redirects_are_not_followed(house: House) -> None:
    async with socket_server.running() as other:

        def check(connection: ServerConnection, _: Request) -> Response:
            response = connection.respond(HTTPStatus.FOUND, "")
            response.headers["Location"] = other.url
            return response

        async with socket_server.running(check=check) as server:
            failure = await refusal(house, server.url, headers={"X-Api-Key": "mine"})
    assert "HTTP status 302" in failure.message
    assert other.headers == []


@asynccontextmanager
async def raw_server(handle: Any) -> AsyncIterator[str]:
    """Serve connections without any protocol; gives the address."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, handle)
            yield f"ws://127.0.0.1:{port}/"
            tasks.cancel_scope.cancel()


async def test_a_handshake_without_an_answer_is_bounded(house: House) -> None:
    async def silent(stream: SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    async with raw_server(silent) as url:
        failure = await refusal(house, url, wait=0.3)
    assert "no answer within 0.3 s" in failure.message
    assert failure.code == AWAY


async def test_cancelling_the_handshake_closes_the_socket(house: House) -> None:
    closed = anyio.Event()
    asked = anyio.Event()

    async def silent(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            asked.set()
            try:
                while True:
                    await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                closed.set()

    async def connect(url: str) -> None:
        async with open_websocket(remote(house, url)):
            pytest.fail("connected")

    with anyio.fail_after(5):
        async with raw_server(silent) as url, anyio.create_task_group() as tasks:
            tasks.start_soon(connect, url)
            await asked.wait()
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await closed.wait()


async def test_what_is_no_websocket_server(house: House) -> None:
    async def other(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"SSH-2.0-hello \x1b[2J\r\n\r\n")

    async with raw_server(other) as url:
        failure = await refusal(house, url)
    assert "is no WebSocket server" in failure.message
    assert "\x1b" not in failure.message


async def test_a_server_that_hangs_up_at_the_handshake(house: House) -> None:
    async def leave(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()

    async with raw_server(leave) as url:
        failure = await refusal(house, url)
    assert "closed the connection before it answered" in failure.message


def certificate(folder: Path) -> tuple[ssl.SSLContext, str]:
    """Return the TLS of a server at 127.0.0.1, and the file with its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                    x509.DNSName("far.example.com"),
                ]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, str(file)


async def test_tls(house: House) -> None:
    context, file = certificate(house.root)
    proxy = Proxy()
    async with socket_server.running(ssl=context) as server, raw_server(proxy.handle) as place:
        url = server.url.replace("ws://", "wss://")
        trusting = Network(ca_file=file, https_proxy=place.replace("ws://", "http://"))
        for where in (url, url.replace("127.0.0.1", "far.example.com")):
            to = remote(house, where, network=trusting)
            async with connected(house, to) as (supervisor, _):
                await supervisor.connect("ws")
        assert len(proxy.asked) == 1
        failure = await refusal(house, url)
        assert "the certificate is not trusted" in failure.message
        assert failure.code == ""
        no_file = Network(ca_file=str(house.root / "gone.pem"))
        failure = await refusal(house, url, network=no_file)
        assert "gone.pem, cannot be used" in failure.message

    async def plain(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_server(plain) as url:
        failure = await refusal(house, url.replace("ws://", "wss://"), network=trusting)
        assert "no TLS connection" in failure.message


async def test_closed_in_the_middle_of_a_call(house: House) -> None:
    async def closing(connection: ServerConnection) -> None:
        async def call(_: Any) -> None:
            await connection.close(4001, "no \x1b[31mmore")

        await socket_server.answer(connection, call)

    async with (
        socket_server.running(closing) as server,
        connected(house, server.url) as (_, tools),
    ):
        echo = await tool_of(tools, "ws.echo")
        with anyio.fail_after(5), pytest.raises(McpFault) as caught:
            await tools.call(echo, {})
    assert "stopped while echo ran" in caught.value.failure.message
    assert "code 4001: no \\x1b[31mmore" in caught.value.failure.message


@pytest.mark.parametrize(
    ("code", "away"), [(1000, False), (1001, False), (1011, False), (1012, True), (1013, True)]
)
async def test_what_a_close_says(house: House, code: int, *, away: bool) -> None:
    async def close(connection: ServerConnection) -> None:
        await connection.close(code, "because")

    async with (
        socket_server.running(close) as server,
        open_websocket(remote(house, server.url)) as link,
    ):
        words = await ended(link)
    assert words == f"closed the connection (code {code}: because)"
    assert link.away is away
    assert not link.forgotten


async def test_abrupt_reset(house: House) -> None:
    async def reset(connection: ServerConnection) -> None:
        raw = connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.transport.abort()

    async with (
        socket_server.running(reset) as server,
        open_websocket(remote(house, server.url)) as link,
    ):
        words = await ended(link)
    assert "it broke off" in words
    assert link.away


async def test_a_server_that_answers_no_ping_is_lost(house: House) -> None:
    """The close that the library sends then: what the words are made of."""
    from websockets.exceptions import ConnectionClosedError
    from websockets.frames import Close

    from patina.mcp.transports.dialing import close_words

    words, away = close_words(ConnectionClosedError(None, Close(1011, "keepalive ping timeout")))
    assert "stopped answering pings" in words
    assert away


async def test_a_message_that_is_too_long(house: House) -> None:
    async def long(connection: ServerConnection) -> None:
        # The head of a frame that announces 65 MiB; the rest need not come.
        connection.transport.write(struct.pack("!BBQ", 0x81, 127, 65 * 2**20))
        await connection.wait_closed()

    async with (
        socket_server.running(long) as server,
        open_websocket(remote(house, server.url)) as link,
    ):
        words = await ended(link)
    assert words == "sent a message of over 64 MB"
    assert not link.away


async def test_rubbish_frames_do_no_harm(house: House) -> None:
    async def rubbish(connection: ServerConnection) -> None:
        async def call(message: Any) -> None:
            await connection.send("Welcome\x1b[2J!")
            await connection.send(b"\xff\xfe\x00")
            await connection.send("[]")
            await connection.send('{"jsonrpc": "2.0"}')
            # Text that is no UTF-8: against the rules, and no reason to end.
            async with connection.send_context():
                connection.protocol.send_frame(_frame(b"\xff\xff"))
            await reply(connection, message["id"], text_result("fine"))

        await socket_server.answer(connection, call)

    async with (
        socket_server.running(rubbish) as server,
        connected(house, server.url) as (_, tools),
    ):
        outcome = await tools.call(await tool_of(tools, "ws.echo"), {})
        assert text_of(outcome.parts) == "fine"
    assert "not a message: Welcome\\x1b[2J!" in log(house)


def _frame(data: bytes) -> Any:
    from websockets.frames import Frame

    return Frame(Opcode.TEXT, data)


async def test_flood_of_notifications(house: House) -> None:
    async def flood(connection: ServerConnection) -> None:
        async def call(message: Any) -> None:
            for number in range(20_000):
                params = {"progressToken": "x", "progress": number}
                note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
                await connection.send(json.dumps(note))
            await reply(connection, message["id"], text_result("fine"))

        await socket_server.answer(connection, call)

    async with (
        socket_server.running(flood) as server,
        connected(house, server.url, tool_timeout=60.0) as (_, tools),
    ):
        outcome = await tools.call(await tool_of(tools, "ws.echo"), {})
        assert text_of(outcome.parts) == "fine"
    assert "the rest is dropped" in log(house)


async def test_leaving_is_bounded_where_the_server_does_not_read(house: House) -> None:
    asked = anyio.Event()

    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        asked.set()
        await connection.wait_closed()

    async with socket_server.running(deaf, ping_interval=None) as server:
        with anyio.fail_after(6):
            async with open_websocket(remote(house, server.url)) as link:
                await asked.wait()
                await _fill(link)
        for connection in list(server.connections):
            connection.transport.abort()


async def _fill(link: Link) -> None:
    """Send until the server's side takes no more."""
    import mcp_types as types
    from mcp.shared.message import SessionMessage

    note = types.JSONRPCNotification(
        jsonrpc="2.0", method="notifications/x", params={"text": "x" * 8_000_000}
    )
    with anyio.move_on_after(1):
        while True:
            await link.outgoing.send(SessionMessage(note))


class Proxy:
    """An HTTP proxy that knows CONNECT; what it was asked for stands in `asked`."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.status = b"200 OK"

    async def handle(self, stream: SocketStream) -> None:
        async with stream:
            head = await stream.receive()
            self.asked.append(head)
            await stream.send(b"HTTP/1.1 " + self.status + b"\r\n\r\n")
            if self.status != b"200 OK":
                return
            port = int(head.split()[1].rpartition(b":")[2])
            async with (
                await anyio.connect_tcp("127.0.0.1", port) as there,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(self._pass, stream, there)
                await self._pass(there, stream)
                tasks.cancel_scope.cancel()

    async def _pass(self, source: SocketStream, target: SocketStream) -> None:
        try:
            async for chunk in source:
                await target.send(chunk)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass


async def test_through_a_proxy(house: House) -> None:
    proxy = Proxy()
    async with socket_server.running() as server, raw_server(proxy.handle) as place:
        login = "user:" + "word"
        network = Network(http_proxy=place.replace("ws://", f"http://{login}@"))
        far = f"ws://far.example.com:{server.port}/mcp"
        async with connected(house, remote(house, far, network=network)) as (supervisor, _):
            await supervisor.connect("ws")
        assert proxy.asked[0].startswith(b"CONNECT far.example.com:")
        assert b"Proxy-Authorization: Basic" in proxy.asked[0]
        # This machine is never asked through a proxy.
        async with connected(house, remote(house, server.url, network=network)) as (supervisor, _):
            await supervisor.connect("ws")
        assert len(proxy.asked) == 1
        proxy.status = b"407 Who are you"
        failure = await refusal(house, far, network=network)
    assert "through the proxy http://127.0.0.1:" in failure.message
    assert "HTTP 407" in failure.message
    assert "word" not in failure.message


def test_nothing_of_it_is_imported_before_it_is_needed() -> None:
    script = (
        "import sys, patina.mcp.supervisor, patina.mcp.opening, patina.mcp.transports.websocket\n"
        "print([name for name in ('websockets', 'httpx2', 'mcp', 'psutil') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
