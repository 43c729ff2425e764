"""No address that a server names leads Patina to where the server itself cannot go.

Every way that is known to write each kind of inner address, as the first address, behind a
redirect, and behind a name.
"""

import itertools
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
from tests.mcp.auth.hostile_urls import HARMLESS, INNER, INNER_6, INSIDE, TRICKS
from tests.mcp.auth.web import PUBLIC, Web, redirect, said, web

from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.fetch import GuardedFetch
from patina.mcp.transports.remote import Network

pytestmark = pytest.mark.anyio
MATRIX = (*INSIDE, *(url for url in TRICKS if url not in HARMLESS))
USES = {"metadata": "application/json", "icon": "image/*"}


@pytest.fixture
async def net(tmp_path: Path) -> AsyncGenerator[Web]:
    async with web(tmp_path) as found:
        yield found


def test_the_matrix_is_large_enough() -> None:
    assert len(MATRIX) >= 300
    assert len(set(MATRIX)) == len(MATRIX)


async def let_through(fetch: GuardedFetch, urls: tuple[str, ...]) -> list[str]:
    """Return those of `urls` that were asked."""
    through = []
    for url in urls:
        try:
            with anyio.fail_after(5):
                await fetch("GET", url)
        except SignInFault:
            continue
        through.append(url)
    return through


@pytest.mark.parametrize("use", USES)
async def test_none_is_asked(net: Web, use: str) -> None:
    assert await let_through(net.fetch(accept=USES[use]), MATRIX) == []
    # Not even resolved: some systems make an address of any number.
    assert set(net.resolved) <= {"server.example"}
    assert (net.requests, net.dialled) == ([], [])


async def test_none_is_posted_to(net: Web) -> None:
    fetch = net.fetch()
    for url in MATRIX:
        with pytest.raises(SignInFault):
            await fetch("POST", url, body=b"grant_type=refresh_token&refresh_token=canary")
    assert (net.requests, net.dialled) == ([], [])


async def test_none_is_asked_through_a_proxy(net: Web) -> None:
    network = Network(http_proxy="http://127.0.0.1:1", https_proxy="http://127.0.0.1:1")
    assert await let_through(net.fetch(network=network), MATRIX) == []
    assert (net.resolved, net.dialled) == ([], [])


async def test_none_is_redirected_to(net: Web) -> None:
    asked = 0
    for url in MATRIX:
        if (
            not url.isascii()
            or not url.isprintable()
            or url != url.strip()
            or not url
            or len(url) > 9000
        ):
            continue  # no header of HTTP, or a redirect to itself
        net.answers = {"/a": redirect(url), **{path: said() for path in ("/", "/127.0.0.1", "/x")}}
        net.dialled.clear()
        net.requests.clear()
        if await let_through(net.fetch(), ("https://good.example/a",)):
            # Words that are no address are a path of the same host, like any link of a page.
            assert {request.host for request in net.requests} == {"good.example"}
            assert "://" not in url
        assert set(net.dialled) == {PUBLIC}, url
        asked += 1
    assert asked >= 300


async def test_none_is_behind_a_name(net: Web) -> None:
    places = [*INNER, *INNER_6, *(f"::ffff:{address}" for address in INNER)]
    names = {f"h{number}.example": place for number, place in enumerate(places)}
    # Alone, after one that is public, and before one.
    for before, after in (([], []), ([PUBLIC], []), ([], [PUBLIC])):
        net.names = {name: [[*before, place, *after]] for name, place in names.items()}
        urls = tuple(f"https://{name}/.well-known/x" for name in names)
        assert await let_through(net.fetch(), urls) == []
    assert (net.requests, net.dialled) == ([], [])
    assert set(net.resolved) == {*names, "server.example"}


@pytest.mark.parametrize(
    "home",
    ["http://localhost:3000/mcp", "http://127.0.0.1:3000/mcp", "https://192.168.7.7/mcp"],
)
async def test_what_no_server_may_name_not_even_one_nearby(net: Web, home: str) -> None:
    special = ("169.254.169.254", "100.100.100.200", "fd00:ec2::254", "0.0.0.0", "224.0.0.1")
    hosts = [f"[{host}]" if ":" in host else host for host in special]
    urls = tuple(f"{s}://{host}/" for s, host in itertools.product(("http", "https"), hosts))
    assert await let_through(net.fetch(home), urls) == []
    net.names = {f"h{number}.example": [[place]] for number, place in enumerate(special)}
    assert await let_through(net.fetch(home), tuple(f"https://{name}/" for name in net.names)) == []
    assert net.dialled == []


async def test_what_is_public_is_asked(net: Web) -> None:
    """The guard is no wall: certificates are for names, so that here TLS ends the numbers."""
    net.answers = {"/a": said()}
    fetch = net.fetch()
    for url in (
        "https://good.example/a",
        "HTTPS://GOOD.EXAMPLE:443/a",
        "https://good.example:8443/a",
    ):
        assert (await fetch("GET", url)).status == 200
    for host in ("1.1.1.1", "[2606:4700::1111]", "[64:ff9b::101:101]", "b\u00fccher.example"):
        with pytest.raises(SignInFault, match="certificate"):
            await fetch("GET", f"https://{host}/a")
    assert net.dialled[3:] == ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101", PUBLIC]
