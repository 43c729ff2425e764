"""Tokens of an authorization server that the user configured go to no server that names another."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from msgspec.structs import replace
from tests.mcp.auth.desk import SERVER, Browser, House, Nobody, caller, house_at, until

from patina.mcp.auth.failing import SignInFault
from patina.mcp.auth.finding import find
from patina.mcp.auth.shapes import Answer, Challenge
from patina.model.settings import OAuthSettings, ServerSettings

pytestmark = pytest.mark.anyio
OTHER = "https://other.example"
KINDS = pytest.mark.parametrize("kind", ["endpoints", "provider", "issuer", "machine"])


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_at(tmp_path) as house:
        house.server.add_client("mine")
        yield house


def configured(house: House, kind: str) -> ServerSettings:
    """Settings of the protected server that say who signs people in, in one of the ways."""
    url = house.server.url
    issuer = {"client_id": "mine", "issuer": house.server.issuer}
    token = {"client_id": "mine", "token_endpoint": f"{url}/token"}
    endpoints = token | {"authorization_endpoint": f"{url}/authorize"}
    fields: dict[str, dict[str, Any]] = {
        "endpoints": endpoints,
        "provider": endpoints | {"provider": "github"},
        "issuer": issuer,
        "machine": token,
    }
    settings = house.settings(**fields[kind])
    return replace(settings, auth_mode="client_credentials") if kind == "machine" else settings


def sent(house: House) -> list[str]:
    """What reached the authorization server itself."""
    own = ("/mcp", "/.well-known/oauth-protected-resource")
    return [one for one in house.server.log if not one.partition(" ")[2].startswith(own)]


# P-05 P-09
@KINDS
async def test_a_server_that_names_it_is_sent_the_token(house: House, kind: str) -> None:
    settings = configured(house, kind)
    desk, browser = house.desk(), Browser()
    end = await desk.sign_ins.sign_in(SERVER, settings, browser)
    assert end.state == "connected", end
    async with caller(desk, settings) as client:
        assert await client.call() == 200
    assert house.server.seen_tokens


# P-05 P-09
@KINDS
@pytest.mark.parametrize("named", [[OTHER], []])
async def test_a_server_that_names_another_is_sent_nothing(
    house: House, kind: str, named: list[str]
) -> None:
    house.server.resource_metadata = {"authorization_servers": named}
    settings = configured(house, kind)
    desk, browser = house.desk(), Browser()
    end = await desk.sign_ins.sign_in(SERVER, settings, browser)
    assert (end.state, end.step) == ("error", "discovery"), end
    assert house.server.url.removeprefix("http://") in end.message
    assert (OTHER if named else "names nobody") in end.message
    assert end.hint
    assert browser.pages == []
    assert sent(house) == []
    assert house.server.seen_tokens == []


# P-05 P-09
@KINDS
@pytest.mark.parametrize(
    ("challenge", "connects"),
    [("Bearer", True), ("DPoP", True), ("Basic", False), ("", False)],
)
async def test_without_metadata_the_server_must_want_a_token(
    house: House, kind: str, challenge: str, connects: bool
) -> None:
    house.server.publishes, house.server.challenge = False, challenge
    browser = Browser()
    end = await house.desk().sign_ins.sign_in(SERVER, configured(house, kind), browser)
    if connects:
        assert end.state == "connected", end
        return
    assert (end.state, end.step) == ("error", "discovery"), end
    assert browser.pages == []
    assert sent(house) == []


async def test_github_is_known_by_its_own_name() -> None:
    """An address of a server that publishes who GitHub says it is, and of one that does not."""
    mcp = "https://notes.example/mcp"
    named = ["https://github.com/login/oauth"]

    async def fetch(method: str, url: str, **_: object) -> Answer:
        body = f'{{"resource": "{mcp}", "authorization_servers": ["{named[-1]}"]}}'
        return Answer(status=200, headers={}, body=body.encode(), url=url)

    settings = ServerSettings(
        transport="streamable-http",
        url=mcp,
        oauth=OAuthSettings(provider="github", client_id="mine"),
    )
    found = await find(fetch, settings, Challenge(scheme="Bearer"))
    assert [found.server.issuer] == named
    for other in ("https://github.com", "https://github.com.evil.example/login/oauth"):
        named.append(other)
        with pytest.raises(SignInFault, match="you trust only"):
            await find(fetch, settings, Challenge(scheme="Bearer"))


# A port that the authorization server knows


async def test_a_second_window_waits_for_the_sign_in_of_the_first(house: House) -> None:
    port = await free_port()
    settings = house.settings(redirect_port=port)
    one, other, slow, late = house.desk(), house.desk(), Nobody(), Browser()
    ends = []
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:

            async def second() -> None:
                ends.append(await other.sign_ins.sign_in(SERVER, settings, late))

            async def first() -> None:
                ends.append(await one.sign_ins.sign_in(SERVER, settings, slow))

            tasks.start_soon(first)
            await slow.came.wait()
            tasks.start_soon(second)
            await until(lambda: "authorizing" in other.states)
            async with httpx2.AsyncClient(trust_env=False, follow_redirects=True) as browser:
                page = await browser.get(slow.pages[0].url)
            assert "Signed in" in page.text
    assert [end.state for end in ends] == ["connected", "connected"]
    assert late.pages == []
    assert house.server.counts["prompts"] == house.server.counts["registrations"] == 1


async def test_a_second_window_has_its_turn_where_the_first_gives_up(house: House) -> None:
    port = await free_port()
    settings = house.settings(redirect_port=port)
    one, other, slow = house.desk(), house.desk(), Nobody()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.sign_ins.sign_in, SERVER, settings, slow)
            await slow.came.wait()
            ends = []

            async def second() -> None:
                ends.append(await other.sign_ins.sign_in(SERVER, settings, Browser()))

            tasks.start_soon(second)
            await until(lambda: "authorizing" in other.states)
            assert one.sign_ins.cancel(SERVER)
    assert [end.state for end in ends] == ["connected"]


async def test_a_port_that_another_program_has_is_said_at_once(house: House) -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as taken:
        port = taken.extra(anyio.abc.SocketAttribute.local_port)
        browser = Browser()
        with anyio.fail_after(5):
            end = await house.desk().sign_ins.sign_in(
                SERVER, house.settings(redirect_port=port), browser
            )
    assert (end.state, end.step) == ("error", "callback"), end
    assert f"port {port}" in end.message
    assert "Another program" in end.hint
    assert browser.pages == []


async def free_port() -> int:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        return int(listener.extra(anyio.abc.SocketAttribute.local_port))


# What the page at the end says


async def test_the_page_at_the_end_waits_for_the_tokens(house: House) -> None:
    """A code that is refused is no sign-in, whatever brought it."""
    house.server.fail = 10
    pages: list[str] = []

    person = Nobody()
    desk = house.desk()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.sign_ins.sign_in, SERVER, house.settings(), person)
            await person.came.wait()
            async with httpx2.AsyncClient(trust_env=False, follow_redirects=True) as browser:
                pages.append((await browser.get(person.pages[0].url)).text)
    assert "Not signed in" in pages[0]
    assert (await desk.sign_ins.state(SERVER, house.settings())).step == "token"
