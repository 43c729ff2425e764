"""Where the browser brings the answer of a sign-in."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketAttribute
from msgspec.structs import replace
from tests.mcp.auth.strangers import ISSUER, SERVER

from patina.mcp.auth.authorization import Pending, begin, code_of
from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.loopback import Loopback, listening
from patina.mcp.auth.shapes import Client

SECONDS = 5.0

pytestmark = pytest.mark.anyio


async def ask(
    port: int, data: bytes, *, host: str = "127.0.0.1"
) -> tuple[int, dict[str, str], str]:
    """Send bytes; return status, headers and body of the answer."""
    with anyio.fail_after(SECONDS):
        async with await anyio.connect_tcp(host, port) as stream:
            await stream.send(data)
            read = b""
            try:
                while True:
                    read += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass
    head, _, body = read.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    if not head:
        return 0, {}, ""
    pairs = (line.partition(": ") for line in lines)
    return int(first.split()[1]), {name.lower(): value for name, _, value in pairs}, body.decode()


def get(at: Loopback, target: str, *more: str, method: str = "GET", host: str = "") -> bytes:
    lines = (f"{method} {target} HTTP/1.1", f"Host: {host or f'127.0.0.1:{at.port}'}", *more)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def during(
    at: Loopback, visits: Callable[[], Awaitable[None]], pending: Pending | None = None
) -> str:
    """Return what `callback` returns while `visits` goes on, which ends with it. The sign-in then
    ends as its answer says.
    """
    found = ""
    with anyio.fail_after(SECONDS):
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                nonlocal found
                found = await at.callback(pending)
                with suppress(SignInFault):
                    async with at.telling():
                        if "code=" not in found:
                            raise SignInFault("denied", step="callback")

            tasks.start_soon(wait)
            await visits()
    return found


def begun(at: Loopback) -> Pending:
    client = Client(client_id="me", issuer=ISSUER)
    server = replace(SERVER, iss=True)
    return begin(server, client, redirect_uri=at.redirect_uri, resource="", scope="")


async def test_the_answer_of_a_browser() -> None:
    async with listening() as at:
        assert at.redirect_uri == f"http://127.0.0.1:{at.port}/oauth/callback"
        pending = begun(at)
        query = f"code=a%20b&state={pending.state}&iss=https%3A%2F%2Fas.example"
        pages = []

        async def visit() -> None:
            pages.append(await ask(at.port, get(at, f"/oauth/callback?{query}")))

        address = await during(at, visit, pending)
        assert address == f"{at.redirect_uri}?{query}"
        assert code_of(pending, address) == "a b"
    [(status, headers, body)] = pages
    assert status == 200
    assert "Signed in" in body
    assert "You may close this window" in body
    assert pending.state not in body
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert int(headers["content-length"]) == len(body)


async def test_a_person_who_said_no_sees_that() -> None:
    async with listening() as at:
        pending = begun(at)
        bad = f"/oauth/callback?error=access_denied&state={pending.state}&iss={ISSUER}"

        async def visit() -> None:
            status, _, body = await ask(at.port, get(at, bad))
            assert status == 200
            assert "Not signed in" in body

        address = await during(at, visit, pending)
        with pytest.raises(SignInFault, match="denied"):
            code_of(pending, address)


async def test_what_is_no_visit_uses_nothing_up() -> None:
    async with listening() as at:
        pending = begun(at)
        good = f"/oauth/callback?code=x&state={pending.state}&iss={ISSUER}"
        odd = [
            (get(at, "/favicon.ico"), 404),
            (get(at, "/"), 404),
            (get(at, good.replace("callback", "callback/")), 404),
            (get(at, good.replace("/oauth", "//oauth")), 404),
            (get(at, f"http://127.0.0.1:{at.port}{good}"), 404),
            (get(at, good, method="HEAD"), 405),
            (get(at, good, method="POST"), 405),
            (get(at, good, method="OPTIONS"), 405),
            # A page elsewhere, by a name that leads here (DNS rebinding).
            (get(at, good, host="evil.example"), 403),
            (get(at, good, host=f"localhost:{at.port}"), 403),
            (get(at, good, host="127.0.0.1"), 403),
            (get(at, good, f"Host: 127.0.0.1:{at.port}", host="evil.example"), 403),
            (f"GET {good} HTTP/1.1\r\n\r\n".encode(), 403),
            # A browser that looks ahead, and a page elsewhere that embeds it.
            (get(at, good, "Sec-Purpose: prefetch;prerender"), 403),
            (get(at, good, "Purpose: prefetch"), 403),
            (get(at, good, "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"), 403),
            (get(at, good, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"), 403),
            # An answer for another sign-in.
            (get(at, good.replace(pending.state, "x" * 32)), 400),
            (get(at, "/oauth/callback"), 400),
            (get(at, f"/oauth/callback?error=access_denied&iss={ISSUER}"), 400),
            # What is no request.
            (b"\x16\x03\x01\x02\x00 hello\r\n\r\n", 400),
            (b"\r\n\r\n", 400),
            (f"GET {good}\r\n\r\n".encode(), 400),
            (f"GET {good} HTTP/1.1\r\nno header\r\n\r\n".encode(), 400),
            (f"GET {good} HTTP/1.1\r\nHost : x\r\n\r\n".encode(), 400),
            (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n", 400),
        ]

        async def visits() -> None:
            for data, expected in odd:
                status, headers, body = await ask(at.port, data)
                assert status == expected, data[:200]
                assert "evil" not in body
                if data.startswith(b"HEAD"):
                    assert body == ""
                if status == 405:
                    assert headers["allow"] == "GET"
            browser = ("Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
            status, _, _ = await ask(at.port, get(at, good, *browser))
            assert status == 200

        assert await during(at, visits, pending) == f"http://127.0.0.1:{at.port}{good}"


async def test_whoever_says_nothing_keeps_nobody_waiting() -> None:
    async with listening() as at:

        async def visits() -> None:
            async with (
                await anyio.connect_tcp("127.0.0.1", at.port) as silent,
                await anyio.connect_tcp("127.0.0.1", at.port) as half,
                await anyio.connect_tcp("127.0.0.1", at.port),
            ):
                await half.send(b"GET /oauth/callback?code=1 HT")
                await silent.send(b"G")
                status, _, body = await ask(at.port, get(at, "/oauth/callback?code=2"))
                assert status == 200
                assert "Signed in" in body

        assert (await during(at, visits)).endswith("?code=2")


async def test_an_answer_counts_though_its_browser_is_gone() -> None:
    async with listening() as at:

        async def visit() -> None:
            async with await anyio.connect_tcp("127.0.0.1", at.port) as stream:
                await stream.send(get(at, "/oauth/callback?code=1"))

        assert (await during(at, visit)).endswith("?code=1")


async def test_a_browser_that_is_early_is_kept_waiting() -> None:
    async with listening() as at, await anyio.connect_tcp("127.0.0.1", at.port) as early:
        await early.send(get(at, "/oauth/callback?code=1"))
        with anyio.fail_after(SECONDS):
            assert (await at.callback()).endswith("?code=1")
            async with at.telling():
                pass
            assert b"200 OK" in await early.receive()


async def test_the_page_says_how_the_sign_in_ended() -> None:
    """A code is not yet a sign-in: the tokens for it may be refused."""
    async with listening() as at, await anyio.connect_tcp("127.0.0.1", at.port) as browser:
        await browser.send(get(at, "/oauth/callback?code=%3Cb%3E1"))
        with anyio.fail_after(SECONDS):
            await at.callback()
            with pytest.raises(SignInFault, match="refused"):
                async with at.telling():
                    raise SignInFault("refused: <b>1", step="token")
            page = (await browser.receive()).decode()
    assert "Not signed in" in page
    assert "<b>" not in page
    assert "refused" not in page


async def test_a_browser_is_not_kept_waiting_for_an_end_that_takes_long() -> None:
    async with listening() as at, await anyio.connect_tcp("127.0.0.1", at.port) as browser:
        await browser.send(get(at, "/oauth/callback?code=1"))
        at.most_held = 0.01
        with anyio.fail_after(SECONDS):
            await at.callback()
            async with at.telling():
                page = (await browser.receive()).decode()
    assert "Go back to Patina" in page
    assert "Signed in" not in page


async def test_a_browser_is_not_left_waiting_where_the_sign_in_is_cancelled() -> None:
    with anyio.fail_after(SECONDS):
        async with listening() as at:
            browser = await anyio.connect_tcp("127.0.0.1", at.port)
            await browser.send(get(at, "/oauth/callback?code=1"))
            await at.callback()
            with anyio.CancelScope() as scope:
                async with at.telling():
                    scope.cancel()
                    await anyio.lowlevel.checkpoint()
        async with browser:
            page = (await browser.receive()).decode()
    assert "Signed in" not in page
    assert "Go back to Patina" in page


async def test_it_is_gone_afterwards() -> None:
    async with listening() as at:
        pass
    with pytest.raises(OSError):  # noqa: PT011 - of many kinds, by the system
        await anyio.connect_tcp("127.0.0.1", at.port)


async def test_it_is_on_this_machine_and_no_network() -> None:
    async with listening() as at:
        listener = at._listener
        addresses = [one.extra(SocketAttribute.local_address) for one in listener.listeners]
        assert addresses == [("127.0.0.1", at.port)]


async def test_a_port_that_is_taken() -> None:
    async with listening() as first:
        with pytest.raises(SignInFault, match=str(first.port)) as caught:
            async with listening(first.port):
                raise AssertionError("two listen on one port")
        assert caught.value.step == "callback"
        async with listening(prefer=first.port) as other:
            assert other.port not in (0, first.port)
        port = first.port
    async with listening(prefer=port) as again:
        assert again.port == port


async def test_a_fault_in_its_block_comes_out_as_it_is() -> None:
    async def fail() -> None:
        async with listening() as at:
            with anyio.move_on_after(0.01):
                await at.callback()
            raise SignInFault("mine", step="token")

    with pytest.raises(SignInFault, match="mine"):
        await fail()
