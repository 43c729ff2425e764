"""What stands between an address that a stranger named and the network. Imported late."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from socket import SOCK_STREAM
from typing import Final

import anyio
import httpcore2
import httpx2

from patina.mcp.auth.addresses import Kind, Reach, address_in, allowed, kind_of
from patina.mcp.auth.failing import SignInFault
from patina.mcp.transports.http_network import Backend, proxy_for
from patina.mcp.transports.remote import Network
from patina.model.pages import WebAddress, safe_address, web_address

# How long one address of several may take to answer before the next is tried.
_NEXT_ADDRESS: Final = 3.0
_MOST_ADDRESSES: Final = 20
_USUAL_PORTS: Final = {"http": 80, "https": 443}
_WORDS: Final[Mapping[Kind, str]] = {
    "private": "in a private network, and the server is not",
    "loopback": "on this machine, and the server is not",
    "special": "an address where no server may be",
}
_HINT: Final = "Nothing was sent to it. Ask whoever runs the server to mend its metadata."
_HINT_INNER: Final = (
    "Nothing was sent to it. If it is as it should be, set it yourself: `issuer`, or the endpoints,"
    " in the `oauth` settings of the server."
)

Address = IPv4Address | IPv6Address
# Gives the addresses of a host for a port. Raises `OSError` where there are none.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of `host`, the best first, as the system has them."""
    found = await anyio.getaddrinfo(host, port, type=SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


class Guard(httpcore2.AsyncNetworkBackend):
    """Lets requests only to where the server at `home` may send us, and to the hosts of `typed`:
    see `GuardedFetch`.

    As a backend of httpcore2 it connects to the addresses of a host after it checked all of them,
    with nothing in between. It does not see what a proxy of `network` leads to.
    """

    def __init__(
        self,
        network: Network,
        home: str,
        names: Resolve = resolve,
        backend: httpcore2.AsyncNetworkBackend | None = None,
        typed: Sequence[str] = (),
    ) -> None:
        self._typed = dict(_typed(url) for url in typed)
        self._network = network
        self._home = f"http{home[2:]}" if home.startswith(("ws:", "wss:")) else home
        self._names = names
        self._backend = backend or Backend()
        self._reach: Reach | None = None

    async def check(self, where: WebAddress) -> httpx2.URL:
        """Return `where` as what connects reads it. Raises `SignInFault` where it may not be asked.

        Names are not resolved for that.
        """
        literal, place = address_in(where.host), (where.host, where.port)
        if literal is not None and not await self._allows(literal, place):
            raise _astray(where.host, "", kind_of(literal))
        if where.is_here and await self._reach_to(place) != "loopback":
            raise _astray(where.host, "", "loopback")
        return _for_httpx2(where)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address of `host` that answers, if each of them is allowed."""
        literal = address_in(host)
        found = [literal] if literal else await self._resolved(host, port)
        for number, address in enumerate(found, 1):
            last = number == len(found)
            try:
                return await self._backend.connect_tcp(
                    str(address),
                    port,
                    timeout if last else _NEXT_ADDRESS,
                    local_address,
                    socket_options,
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if last:
                    raise
        raise httpcore2.ConnectError("it has no addresses")

    async def _resolved(self, host: str, port: int) -> list[Address]:
        try:
            names = await self._names(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(error) from error
        here = WebAddress("https", host, port, "/").is_here
        found: list[Address] = []
        for name in dict.fromkeys(names):
            address = address_in(name)
            kind = kind_of(address) if address else "special"
            goes = address is not None and await self._allows(address, (host, port))
            if address is None or not goes or (here and kind != "loopback"):
                raise _astray(host, name, kind)
            found.append(address)
        return found[:_MOST_ADDRESSES]

    async def _allows(self, address: Address, place: tuple[str, int]) -> bool:
        kind = kind_of(address)
        if kind in ("public", "special"):
            return kind == "public"
        return allowed(address, await self._reach_to(place))

    async def _reach_to(self, place: tuple[str, int]) -> Reach:
        """Return how far in `place`, a host with its port, may be."""
        if place in self._typed:
            return self._typed[place]
        if self._reach is None:
            self._reach = await self._found_reach()
        return self._reach

    async def _found_reach(self) -> Reach:
        try:
            home = web_address(self._home)
        except ValueError:
            return "public"
        if home.is_here:
            return "loopback"  # a name that only resolves to it may be anybody's
        literal = address_in(home.host)
        if literal is None and proxy_for(_for_httpx2(home), self._network):
            return "public"
        try:
            texts = [home.host] if literal else await self._names(home.host, home.port)
        except (OSError, UnicodeError):
            return "public"
        found = [address_in(text) for text in texts]
        kinds = {kind_of(address) if address else "special" for address in found}
        return "private" if kinds == {"private"} else "public"


def _typed(url: str) -> tuple[tuple[str, int], Reach]:
    """Return the host and port of an address of the user's, and how far in that is.

    A name that only resolves to this machine may be anybody's.
    """
    try:
        where = web_address(url)
    except ValueError:
        return ("", 0), "public"
    return (where.host, where.port), "loopback" if where.is_here else "private"


def checked(url: str) -> WebAddress:
    """Return `url` in its pieces. Raises `SignInFault` where it is none that may be asked."""
    try:
        return safe_address(url)
    except ValueError as error:
        raise fault(f"{_named(url)} was not asked: {error}.") from None


def fault(said: str, *, final: bool = True) -> SignInFault:
    """Return the fault of a request that was not sent, or not answered."""
    hint = _HINT if final else "Try again in a moment."
    return SignInFault(said, step="", hint=hint, final=final)


def _named(url: str) -> str:
    """Return what to call `url` in a sentence: its query may be a secret."""
    try:
        return web_address(url).host
    except ValueError:
        return "What the server named"


def _for_httpx2(where: WebAddress) -> httpx2.URL:
    try:
        url = httpx2.URL(where.url)
        origin = (url.scheme, url.raw_host.decode(), url.port or _USUAL_PORTS[url.scheme])
        same = origin == (where.scheme, where.host, where.port)
    except (httpx2.InvalidURL, ValueError, KeyError):
        same = False
    if not same:
        raise fault(f"{where.host} was not asked: its address can be read in several ways.")
    return url


def _astray(host: str, address: str, kind: Kind) -> SignInFault:
    at = f"is at {address}, {_WORDS[kind]}" if address else f"is {_WORDS[kind]}"
    said = f"{host} was not asked: it {at}."
    return SignInFault(said, step="", hint=_HINT if kind == "special" else _HINT_INNER)
