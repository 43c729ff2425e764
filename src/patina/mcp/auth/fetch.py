"""Asking addresses that a stranger named, without being sent astray. Imported late, with httpx2."""

import re
import zlib
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self
from urllib.parse import urljoin

import anyio
import httpcore2
import httpx2

from patina import __version__
from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.guard import Guard, Resolve, checked, fault, resolve
from patina.mcp.auth.shapes import Answer
from patina.mcp.text import shortened, visible
from patina.mcp.transports.http_network import Transport
from patina.mcp.transports.http_trouble import ERRORS, trouble
from patina.mcp.transports.remote import Network
from patina.model.pages import WebAddress

MOST_BYTES: Final = 1024 * 1024
MOST_REDIRECTS: Final = 3
SECONDS: Final = 10.0
_REDIRECTS: Final = (301, 302, 303, 307, 308)
# What `urljoin` reads in its own way: characters that it drops, too many slashes, too few.
_ODD_REFERENCE: Final = re.compile(
    r"[\x00-\x20\\]|^//(?![^/?#])|^[A-Za-z][A-Za-z0-9+.-]*:(?!//[^/?#])"
)


class GuardedFetch:
    """Asks addresses that a server named: of metadata, of tokens, of pictures.

    `home` is the address of that server, which the user configured: only where it is itself on
    this machine, or in a private network, may it send us to such places. The hosts of `typed`,
    addresses that the user configured too, are asked wherever they are. A name is resolved once,
    each of its addresses is checked, and what was checked is connected to; a proxy that `network`
    leads through resolves names itself, so that only addresses are checked then. Redirects are
    followed for GET, three at most, checked like the first address, never to an unencrypted one;
    other origins get none of the `headers`. There are no cookies, and no connection is used twice.

    `most` bytes are read in `seconds`, redirects included. `accept` is what is asked for where
    `headers` do not say it. `names` resolves, `backend` connects to addresses: tests have theirs.
    """

    def __init__(
        self,
        network: Network,
        home: str,
        *,
        typed: Sequence[str] = (),
        accept: str = "application/json",
        most: int = MOST_BYTES,
        seconds: float = SECONDS,
        names: Resolve = resolve,
        backend: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._network = network
        self._guard = Guard(network, home, names, backend, typed)
        self._accept = accept
        self._most = most
        self._seconds = seconds

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing is open between two requests."""

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """As `Fetch`: a redirect that is not followed, as of a POST, is the answer.

        Its faults have no step. They name hosts and addresses, never a query.
        """
        where = checked(url)
        with anyio.move_on_after(self._seconds):
            return await self._follow(method, where, headers or {}, body)
        raise fault(f"{where.host} gave no whole answer within {self._seconds:g} s.", final=False)

    async def _follow(
        self, method: str, where: WebAddress, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        for _ in range(MOST_REDIRECTS + 1):
            answer = await self._ask(method, where, headers, body)
            location = answer.headers.get("location")
            if method != "GET" or answer.status not in _REDIRECTS or location is None:
                return answer
            following = _redirected(where, location)
            if following.origin != where.origin:
                headers = {}  # whatever they are, they are not for somebody else
            where = following
        raise fault(f"{where.host} was not asked: there are too many redirects on the way to it.")

    async def _ask(
        self, method: str, where: WebAddress, headers: Mapping[str, str], body: bytes
    ) -> Answer:
        url = await self._guard.check(where)
        transport = Transport(self._network, self._guard)
        try:
            request = httpx2.Request(
                method,
                url,
                headers={
                    "User-Agent": f"patina/{__version__}",
                    "Accept": self._accept,
                    "Accept-Encoding": "identity",
                    **{name.title(): value for name, value in headers.items()},
                },
                content=body or None,
            )
            response = await transport.handle_async_request(request)
            try:
                raw = await self._body(response, where.host)
            finally:
                await response.aclose()
        except ERRORS as error:
            said = trouble(error).words
            raise fault(f"{where.host} could not be asked: {said}.", final=False) from error
        finally:
            await transport.aclose()
        fields = {name.lower(): value for name, value in response.headers.items()}
        packed = fields.get("content-encoding", "identity").strip().lower()
        whole = self._unpacked(raw, packed, where.host)
        return Answer(response.status_code, fields, whole, where.url)

    async def _body(self, response: httpx2.Response, host: str) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._most:
                raise self._too_large(host)
        return bytes(body)

    def _unpacked(self, body: bytes, packed: str, host: str) -> bytes:
        """Return `body` as it was before somebody compressed it, though nobody asked for that."""
        if packed in ("", "identity"):
            return body
        if packed not in ("gzip", "x-gzip", "deflate"):
            name = shortened(visible(packed), 40)
            raise fault(f"{host} answered in the encoding {name}, which was not asked for.")
        opened = zlib.decompressobj(zlib.MAX_WBITS + 32)  # either has its own head
        try:
            whole = opened.decompress(body, self._most + 1)
        except zlib.error:
            raise fault(f"{host} sent compressed data that is damaged.", final=False) from None
        if len(whole) > self._most:
            raise self._too_large(host)
        if not opened.eof or opened.unused_data:
            raise fault(f"{host} sent compressed data that is damaged.", final=False)
        return whole

    def _too_large(self, host: str) -> SignInFault:
        return fault(f"{host} answered with more than {self._most // 1024} KB, which is too much.")


def _redirected(where: WebAddress, location: str) -> WebAddress:
    """Return the address that `where` redirects to. Raises `SignInFault`."""
    try:
        joined = "" if _ODD_REFERENCE.search(location) else urljoin(where.url, location)
    except ValueError:
        joined = ""
    if not joined:
        raise fault(f"A redirect of {where.host} was not followed: it is no address.")
    following = checked(joined)
    if where.scheme == "https" and following.scheme != "https":
        raise fault(f"A redirect of {where.host} was not followed: it is not encrypted (https).")
    return following
