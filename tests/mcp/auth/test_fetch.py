"""Asking what strangers name: what is asked, what goes along, what is refused, and for how long."""

import gzip
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from tests.mcp.auth.web import PUBLIC, Send, Web, for_ever, redirect, said, web

from patina.mcp.auth.failing import SignInFault
from patina.mcp.transports.remote import Network

pytestmark = pytest.mark.anyio
GOOD = "https://good.example"
LONG = 5.0  # seconds that nothing here may come near to


@pytest.fixture
async def net(tmp_path: Path) -> AsyncGenerator[Web]:
    async with web(tmp_path) as found:
        yield found


async def refused(asked: Awaitable[object]) -> SignInFault:
    with anyio.fail_after(LONG), pytest.raises(SignInFault) as caught:
        await asked
    assert caught.value.step == ""
    return caught.value


# What is asked


async def test_an_answer_whole_whatever_its_status(net: Web) -> None:
    net.answers = {"/a": said(b'{"x": 1}', 418, X_Two="1", x_two="2", Set_Cookie="a=b")}
    async with net.fetch() as fetch:
        answer = await fetch("GET", f"{GOOD}/a?b=c#d", headers={"authorization": "Bearer t"})
        again = await fetch("POST", f"{GOOD}/a", body=b"e=f")
    assert (answer.status, answer.body, answer.url) == (418, b'{"x": 1}', f"{GOOD}/a?b=c")
    assert answer.headers["x-two"] == "1, 2"
    assert again.status == 418
    first, second = net.requests
    assert (first.method, first.host, first.target) == ("GET", "good.example", "/a?b=c")
    assert first.headers["authorization"] == "Bearer t"
    assert first.headers["accept-encoding"] == "identity"
    assert first.headers["accept"] == "application/json"
    assert first.headers["user-agent"].startswith("patina/")
    # Nothing of one request is in the next.
    assert not {"authorization", "cookie", "referer"} & second.headers.keys()
    assert (second.method, second.body, second.headers["content-length"]) == ("POST", b"e=f", "3")
    assert net.dialled == [PUBLIC, PUBLIC]


async def test_the_environment_has_no_say(net: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    net.answers = {"/a": said()}
    assert (await net.fetch()("GET", f"{GOOD}/a")).status == 200


async def test_a_certificate_is_for_the_name_not_for_the_address(net: Web) -> None:
    net.answers = {"/a": said()}
    assert "certificate is not trusted" in str(
        await refused(net.fetch()("GET", "https://unknown.example/a"))
    )
    assert net.requests == []
    strangers = net.fetch(network=Network())
    assert "certificate is not trusted" in str(await refused(strangers("GET", f"{GOOD}/a")))


async def test_several_addresses_are_tried_in_turn(net: Web) -> None:
    net.answers = {"/a": said()}
    net.names = {"good.example": [["2606:4700::1", "1.1.1.1", "1.1.1.2"]]}
    net.dead = {"2606:4700::1"}
    assert (await net.fetch()("GET", f"{GOOD}/a")).status == 200
    assert net.dialled == ["2606:4700::1", "1.1.1.1"]
    net.dead |= {"1.1.1.1", "1.1.1.2"}
    fault = await refused(net.fetch()("GET", f"{GOOD}/a"))
    assert not fault.final
    assert str(fault).startswith("good.example could not be asked: ")


# Names


async def test_what_was_checked_is_connected_to(net: Web) -> None:
    """DNS rebinding: another answer, a moment later, changes nothing."""
    net.answers = {"/a": said()}
    net.names = {"good.example": [[PUBLIC], ["127.0.0.1"]]}
    fetch = net.fetch()
    assert (await fetch("GET", f"{GOOD}/a")).status == 200
    assert (net.resolved, net.dialled) == (["good.example"], [PUBLIC])
    assert "it is at 127.0.0.1, on this machine" in str(await refused(fetch("GET", f"{GOOD}/a")))
    assert net.dialled == [PUBLIC]


async def test_a_connection_is_not_kept_for_what_comes_next(net: Web) -> None:
    net.answers = {"/a": redirect("/b"), "/b": said()}
    net.names = {"good.example": [[PUBLIC], ["10.0.0.1"]]}
    await refused(net.fetch()("GET", f"{GOOD}/a"))
    assert [request.target for request in net.requests] == ["/a"]


@pytest.mark.parametrize(
    "found",
    [[PUBLIC, "10.0.0.1"], ["::1", PUBLIC], [PUBLIC, "::ffff:169.254.169.254"], ["odd"], []],
)
async def test_each_address_of_a_name_has_to_be_allowed(net: Web, found: list[str]) -> None:
    net.names = {"good.example": [found]}
    await refused(net.fetch()("GET", f"{GOOD}/a"))
    assert net.dialled == []


async def test_a_name_that_is_not_there(net: Web) -> None:
    async def nothing(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    from patina.mcp.auth.fetch import GuardedFetch

    fetch = GuardedFetch(net.network, GOOD, names=nothing, backend=net)
    fault = await refused(fetch("GET", f"{GOOD}/a"))
    assert not fault.final


async def test_through_a_proxy_the_proxy_resolves(net: Web, tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def proxy(stream: Send) -> None:
        asked.append(await stream.receive())
        await stream.send(b"HTTP/1.1 502 X\r\ncontent-length: 0\r\n\r\n")
        await stream.aclose()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    network = Network(https_proxy=f"http://127.0.0.1:{port}", ca_file=net.network.ca_file)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, proxy)
        fetch = net.fetch("https://10.0.0.1/mcp", network=network)
        assert "the proxy refused" in str(await refused(fetch("GET", f"{GOOD}/a")))
        assert asked[0].startswith(b"CONNECT good.example:443 ")
        assert net.resolved == []
        for url in ("https://169.254.169.254/", "https://[::ffff:127.0.0.1]/", "https://127.1/"):
            await refused(fetch("GET", url))
        public = net.fetch("https://server.example/", network=network)
        await refused(public("GET", "https://10.0.0.1/"))
        assert (len(asked), net.dialled) == (1, [])
        tasks.cancel_scope.cancel()


# How near the server is to the user


async def test_a_server_on_this_machine_may_send_us_to_this_machine(net: Web) -> None:
    net.answers = {"/a": said()}
    net.names = {"localhost": [["127.0.0.1", "::1"]], "good.example": [["10.0.0.1"]]}
    for home in ("http://localhost:3000/mcp", "http://127.0.0.1:3000", "ws://[::1]:3000/mcp"):
        fetch = net.fetch(home)
        for url in (f"http://127.0.0.1:{net.plain}/a", "http://localhost/a", f"{GOOD}/a"):
            assert (await fetch("GET", url)).status == 200
        for url in (
            "http://169.254.169.254/a",
            "https://169.254.169.254/a",
            "http://10.0.0.1/a",
            "http://good.example/a",
        ):
            await refused(fetch("GET", url))


async def test_a_name_of_this_machine_is_at_this_machine(net: Web) -> None:
    net.names = {"localhost": [["10.0.0.1"]]}
    await refused(net.fetch("http://localhost:3000")("GET", "http://localhost/a"))
    assert net.dialled == []


async def test_a_server_in_a_private_network_may_send_us_there(net: Web) -> None:
    net.answers = {"/a": said()}
    net.names = {"server.example": [["192.168.1.2", "fd12::1"]], "good.example": [["10.0.0.1"]]}
    for home in ("https://server.example/mcp", "http://192.168.1.2/mcp", "https://100.64.0.1/"):
        fetch = net.fetch(home)
        assert (await fetch("GET", f"{GOOD}/a")).status == 200
        for url in ("http://10.0.0.1/a", "https://127.0.0.1/a", "http://localhost/a"):
            await refused(fetch("GET", url))


@pytest.mark.parametrize(
    "found", [["10.0.0.1", PUBLIC], ["127.0.0.1"], ["169.254.169.254"], ["odd"], []]
)
async def test_a_name_that_is_only_sometimes_private_opens_nothing(
    net: Web, found: list[str]
) -> None:
    net.names = {"server.example": [found], "good.example": [["10.0.0.1"]]}
    fetch = net.fetch()
    await refused(fetch("GET", f"{GOOD}/a"))
    await refused(fetch("GET", "http://127.0.0.1/a"))
    assert net.dialled == []


# Redirects


async def test_redirects_are_followed_with_what_belongs_to_the_origin(net: Web) -> None:
    net.answers = {
        "/a": redirect("b?c"),
        "/b": redirect("https://other.example/d", 307),
        "/d": redirect(f"{GOOD}/e", 308),
        "/e": said(b"there"),
    }
    secret = {"Authorization": "Bearer t", "X-Api-Key": "k", "MCP-Protocol-Version": "v"}
    answer = await net.fetch()("GET", f"{GOOD}/a", headers=secret)
    assert (answer.body, answer.url) == (b"there", f"{GOOD}/e")
    kept = [
        {name for name in request.headers if name in {"authorization", "x-api-key"}}
        for request in net.requests
    ]
    # Once away, they do not come back: who sent us back may have chosen where.
    assert kept == [{"authorization", "x-api-key"}] * 2 + [set(), set()]
    assert "mcp-protocol-version" not in net.requests[2].headers
    assert net.requests[1].target == "/b?c"


async def test_another_port_is_another_origin(net: Web) -> None:
    net.answers = {"/a": redirect(f"{GOOD}:8443/b"), "/b": said()}
    await net.fetch()("GET", f"{GOOD}/a", headers={"Authorization": "Bearer t"})
    assert "authorization" not in net.requests[1].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_only_a_get_is_redirected(net: Web, status: int, method: str) -> None:
    net.answers = {"/a": redirect(f"{GOOD}/b", status), "/b": said()}
    answer = await net.fetch()(method, f"{GOOD}/a", body=b"refresh_token=t")
    assert (answer.status, answer.url) == (status, f"{GOOD}/a")
    assert len(net.requests) == 1


@pytest.mark.parametrize(
    "location",
    [
        "http://good.example/b",
        "http://127.0.0.1/b",
        "//127.0.0.1/b",
        "///127.0.0.1/b",
        "\\\\127.0.0.1\\b",
        "https:\\\\127.0.0.1/b",
        "https:/127.0.0.1/b",
        "https:127.0.0.1/b",
        "https://x" + ":y@good.example/b",
        "https://good.example\t@127.0.0.1/b",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:,x",
        "ftp://good.example/",
        "https://good.example:0/",
        "https://good.example:65536/",
        "b c",
        "",
    ],
)
async def test_a_redirect_is_checked_like_the_first_address(net: Web, location: str) -> None:
    net.answers = {"/a": redirect(location), "/b": said(), "/": said()}
    if location:
        fault = await refused(net.fetch()("GET", f"{GOOD}/a?token=canary"))
        assert "canary" not in f"{fault} {fault.failure.hint}"
    else:  # to itself, for ever
        await refused(net.fetch()("GET", f"{GOOD}/a"))
    assert all(request.target.startswith("/a") for request in net.requests)
    assert set(net.dialled) == {PUBLIC}


async def test_never_from_an_encrypted_address_to_another_even_near(net: Web) -> None:
    net.answers = {"/a": redirect("http://localhost/b"), "/b": said()}
    net.names = {"localhost": [["127.0.0.1"]]}
    fault = await refused(net.fetch("http://localhost:3000/mcp")("GET", f"{GOOD}/a"))
    assert "not encrypted" in str(fault)
    assert len(net.requests) == 1


async def test_a_loop_of_redirects_ends(net: Web) -> None:
    net.answers = {"/a": redirect("https://other.example/b"), "/b": redirect(f"{GOOD}/a")}
    assert "too many redirects" in str(await refused(net.fetch()("GET", f"{GOOD}/a")))
    assert len(net.requests) == 4


# Bounds


async def test_a_body_over_the_bound(net: Web) -> None:
    net.answers = {"/a": said(b"x" * 1024 * 1024), "/b": said(b"x" * (1024 * 1024 + 1))}
    fetch = net.fetch()
    assert len((await fetch("GET", f"{GOOD}/a")).body) == 1024 * 1024
    fault = await refused(fetch("GET", f"{GOOD}/b"))
    assert str(fault) == "good.example answered with more than 1024 KB, which is too much."


OK = b"HTTP/1.1 200 X\r\n"


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (for_ever(OK + b"\r\n", b"x" * 65536), "more than 1024 KB"),
        (
            for_ever(
                OK + b"transfer-encoding: chunked\r\n\r\n", b"ffff\r\n" + b"x" * 65535 + b"\r\n"
            ),
            "more than 1024 KB",
        ),
        (for_ever(OK + b"content-length: 99999999999\r\n\r\n", b"x" * 65536), "more than 1024 KB"),
        (for_ever(OK, b"x-more: y\r\n" * 1000), "is not HTTP"),
        (for_ever(OK + b"x-long: ", b"y" * 10000), "is not HTTP"),
        (for_ever(b"", b"y" * 10000), "is not HTTP"),
        (for_ever(b"", b"HTTP/1.1 103 X\r\n\r\n" * 10, 0.01), "no whole answer within 0.5 s"),
        (for_ever(OK + b"\r\n", b"x", 0.01), "no whole answer within 0.5 s"),
        (for_ever(OK, b"x: y\r\n", 0.01), "no whole answer within 0.5 s"),
        (
            for_ever(OK + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.01),
            "no whole answer within 0.5 s",
        ),
        (lambda _: anyio.sleep_forever(), "no whole answer within 0.5 s"),
    ],
)
async def test_nothing_goes_on_for_ever(
    net: Web, reply: Callable[[Send], Awaitable[None]], said: str
) -> None:
    net.answers = {"/a": reply}
    assert said in str(await refused(net.fetch(seconds=0.5)("GET", f"{GOOD}/a")))


async def test_the_time_is_for_all_redirects_together(net: Web) -> None:
    net.answers = {"/a": for_ever(b"", redirect("/a"), 0.2)}
    assert "within 0.5 s" in str(await refused(net.fetch(seconds=0.5)("GET", f"{GOOD}/a")))


async def test_resolving_takes_no_longer_either(net: Web) -> None:
    async def never(host: str, port: int) -> list[str]:
        await anyio.sleep_forever()
        return []

    from patina.mcp.auth.fetch import GuardedFetch

    fetch = GuardedFetch(net.network, GOOD, names=never, backend=net, seconds=0.2)
    assert not (await refused(fetch("GET", f"{GOOD}/a"))).final


async def test_compressed_answers_are_bounded_when_open(net: Web) -> None:
    bomb = gzip.compress(b"x" * 50_000_000)
    net.answers = {
        "/gzip": said(gzip.compress(b'{"a": 1}'), content_encoding="gzip"),
        "/deflate": said(zlib.compress(b'{"a": 1}'), content_encoding="Deflate"),
        "/bomb": said(bomb, content_encoding="gzip"),
        "/damaged": said(b"no gzip", content_encoding="gzip"),
        "/cut": said(gzip.compress(b"x" * 1000)[:20], content_encoding="gzip"),
        "/twice": said(gzip.compress(gzip.compress(b"x")), content_encoding="gzip, gzip"),
        "/br": said(b"x", content_encoding="br\x1b[2J"),
    }
    fetch = net.fetch()
    assert (await fetch("GET", f"{GOOD}/gzip")).body == b'{"a": 1}'
    assert (await fetch("GET", f"{GOOD}/deflate")).body == b'{"a": 1}'
    assert "more than 1024 KB" in str(await refused(fetch("GET", f"{GOOD}/bomb")))
    for name in ("damaged", "cut", "twice", "br"):
        assert "\x1b" not in str(await refused(fetch("GET", f"{GOOD}/{name}")))


async def test_what_is_no_http_and_what_ends_too_early(net: Web) -> None:
    net.answers = {
        "/none": b"",
        "/odd": b"SSH-2.0-x\r\n\r\n",
        "/cut": b"HTTP/1.1 200 X\r\ncontent-length: 5\r\n\r\nx",
        "/two": b"HTTP/1.1 200 X\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nxxxxxx",
    }
    for name in ("none", "odd", "cut", "two"):
        fault = await refused(net.fetch()("GET", f"{GOOD}/{name}?code=canary"))
        assert not fault.final
        assert "canary" not in f"{fault} {fault.failure.hint}"


async def test_headers_of_a_caller_cannot_split_a_request(net: Web) -> None:
    for value in ("a\r\nx-more: b", "a\nb", "a\x00b", "\u20ac"):
        await refused(net.fetch()("GET", f"{GOOD}/a", headers={"Authorization": value}))
    assert net.requests == []


async def test_cancelling_ends_the_connection(net: Web) -> None:
    begun, ended = anyio.Event(), anyio.Event()

    async def wait(stream: Send) -> None:
        begun.set()
        try:
            await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            ended.set()

    net.answers = {"/a": wait}
    with anyio.fail_after(LONG):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(net.fetch(), "GET", f"{GOOD}/a")
            await begun.wait()
            tasks.cancel_scope.cancel()
        await ended.wait()


# Other things than metadata


async def test_pictures_come_the_same_way(net: Web) -> None:
    net.answers = {
        "/icon.png": said(b"\x89PNG" + b"x" * 100),
        "/large.png": said(b"x" * 5000),
        "/far.png": redirect("https://127.0.0.1/admin.png"),
    }
    fetch = net.fetch(accept="image/*", most=4096)
    answer = await fetch("GET", f"{GOOD}/icon.png")
    assert answer.body.startswith(b"\x89PNG")
    assert net.requests[0].headers["accept"] == "image/*"
    for url in (
        f"{GOOD}/large.png",
        f"{GOOD}/far.png",
        "data:image/png;base64,iVBORw0KGgo=",
        "data:image/svg+xml,<svg onload='alert(1)'/>",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "blob:https://good.example/1",
        "http://good.example/icon.png",
        "https://127.0.0.1/icon.png",
        "https://169.254.169.254/latest/meta-data/",
        "icon.png",
        "//good.example/icon.png",
    ):
        await refused(fetch("GET", url))
    assert set(net.dialled) == {PUBLIC}
