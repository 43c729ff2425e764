"""A web of the tests' own: any names, any addresses, real TLS, all of it on this machine."""

import datetime as dt
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import anyio.streams.tls
import httpcore2
from msgspec import Struct

from patina.mcp.auth.fetch import GuardedFetch
from patina.mcp.transports.http_network import Backend
from patina.mcp.transports.remote import Network

Send = anyio.abc.ByteStream
Reply = bytes | Callable[[Send], Awaitable[None]]
PUBLIC = "93.184.216.34"
HOSTS = ("good.example", "other.example", "server.example", "localhost")


class Request(Struct):
    """A request as it came in. `headers` are in small letters."""

    method: str
    host: str
    target: str
    headers: dict[str, str]
    body: bytes


def said(body: bytes = b"{}", status: int = 200, **headers: str) -> bytes:
    """An answer of HTTP. Names of headers have `_` for `-`."""
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", "content-type: text/plain"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("utf-8") + body


def redirect(location: str, status: int = 302) -> bytes:
    return said(b"", status, location=location)


def for_ever(begin: bytes, piece: bytes, wait: float = 0.0) -> Reply:
    """`begin`, and then `piece` after each `wait` (seconds), until the other side goes away."""

    async def send(stream: Send) -> None:
        await stream.send(begin)
        while True:
            await anyio.sleep(wait)
            await stream.send(piece)

    return send


class Web(httpcore2.AsyncNetworkBackend):
    """Serves what `answers` has by path, on every address that anybody dials.

    `names` are the addresses of each name at each time that it is asked for (the last one stays);
    any other name is at `PUBLIC`. `dead` addresses are not reached. What happened is in `requests`,
    `resolved` and `dialled`.
    """

    def __init__(self, port: int, plain: int, ca_file: Path) -> None:
        self.port = port
        self.plain = plain
        self.network = Network(ca_file=str(ca_file))
        self.answers: dict[str, Reply] = {}
        self.names: dict[str, list[Sequence[str]]] = {}
        self.dead: set[str] = set()
        self.requests: list[Request] = []
        self.resolved: list[str] = []
        self.dialled: list[str] = []

    def fetch(self, home: str = "https://server.example/mcp", **more: Any) -> GuardedFetch:
        network = more.pop("network", self.network)
        return GuardedFetch(network, home, names=self.resolve, backend=self, **more)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.resolved.append(host)
        answers = self.names.get(host, [[PUBLIC]])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.dialled.append(host)
        if host in self.dead:
            raise httpcore2.ConnectError(OSError("dead"))
        ours = self.plain if port in (80, self.plain) else self.port
        return await Backend().connect_tcp("127.0.0.1", ours, timeout)

    async def serve(self, stream: Send) -> None:
        """Answer one request and close."""
        with anyio.move_on_after(30):
            try:
                request = await _request(stream)
                self.requests.append(request)
                reply = self.answers.get(request.target.partition("?")[0], said(b"", 404))
                if callable(reply):
                    await reply(stream)
                else:
                    await stream.send(reply)
            except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
                pass  # the other side had enough
            finally:
                await anyio.aclose_forcefully(stream)


async def _request(stream: Send) -> Request:
    read = b""
    while b"\r\n\r\n" not in read:
        read += await stream.receive()
    head, _, body = read.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += await stream.receive()
    method, target, _ = first.split(" ")
    return Request(method, headers["host"], target, headers, body)


@asynccontextmanager
async def web(folder: Path) -> AsyncGenerator[Web]:
    """Serve until the block ends; certificates are made in `folder`."""
    ca_file, context = certificates(folder)
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    secure = anyio.streams.tls.TLSListener(listener, context, standard_compatible=False)
    ports = [one.extra(anyio.abc.SocketAttribute.local_port) for one in (listener, plain)]
    made = Web(ports[0], ports[1], ca_file)

    async with listener, plain, anyio.create_task_group() as tasks:
        tasks.start_soon(_listen, secure, made)
        tasks.start_soon(_listen, plain, made)
        yield made
        tasks.cancel_scope.cancel()


async def _listen(listener: Any, web: Web) -> None:
    await listener.serve(web.serve)


def certificates(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make an authority and a certificate for `HOSTS`: the authority's file, what a server uses."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS])
    authority = _certificate("tests", key.public_key(), identifier, ca=True)
    leaf = _certificate(HOSTS[0], own.public_key(), issuer, ca=False)
    leaf = leaf.add_extension(names, critical=False)
    ca_file, file = folder / "authority.pem", folder / "server.pem"
    pem = serialization.Encoding.PEM
    ca_file.write_bytes(authority.sign(key, hashes.SHA256()).public_bytes(pem))
    private = own.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(leaf.sign(key, hashes.SHA256()).public_bytes(pem) + private)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return ca_file, context


def _certificate(common: str, public: Any, identifier: Any, *, ca: bool) -> Any:
    """A certificate that the authority is still to sign, good for a day."""
    from cryptography import x509

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    unused = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    uses = dict.fromkeys((*unused, "encipher_only", "decipher_only"), False)
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name(common))
        .issuer_name(name("tests"))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=ca, crl_sign=ca, **uses),
            critical=True,
        )
        .add_extension(identifier, critical=False)
    )
