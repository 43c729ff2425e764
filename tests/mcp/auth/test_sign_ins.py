"""Signing in, and staying signed in: the states, renewals, restarts, several processes."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace
from tests.mcp.auth.authorization_server import serving
from tests.mcp.auth.desk import SERVER, Browser, Hands, House, Nobody, caller, house_at, until

from patina.mcp.auth.failing import SignInFault
from patina.model.faults import is_transient

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with house_at(tmp_path) as house:
        yield house


async def test_a_person_signs_in_and_calls_pass(house: House) -> None:  # P-09, A-52, A-53
    settings = house.settings(scope="openid notes:read")
    desk = house.desk()
    before = await desk.sign_ins.state(SERVER, settings)
    assert before.state == "none"
    async with caller(desk, settings) as client:
        assert await client.call() == 401
        assert client.authority.wanted
        assert (await desk.sign_ins.state(SERVER, settings)).state == "disconnected"
        browser = Browser()
        end = await desk.sign_ins.sign_in(SERVER, settings, browser)
        assert (end.state, end.account) == ("connected", "@acoliver")
        assert end.scope == "openid notes:read"
        assert await client.call() == 200
    assert desk.states == ["disconnected", "authorizing", "connected"]
    assert desk.steps == ["discovery", "registration", "authorization", "callback", "token"]
    waited = next(one for one in desk.told if one.step == "callback")
    assert (waited.host, waited.until) == ("127.0.0.1", 120.0)
    assert house.server.counts["prompts"] == 1


async def test_tokens_are_renewed_early_and_outlive_a_restart(house: House) -> None:
    """Gaps 1 to 3 of research/mcp.md: expiry, metadata and client survive Patina."""
    settings = house.settings()
    server = house.server
    await house.signed_in(settings)
    for hours in (0.01, 0.08, 0.1, 5, 24 * 30):
        house.clock.advance(hours * 3600)
        desk = house.desk()
        async with caller(desk, settings) as client:
            assert await client.call() == 200
            assert client.sent == 1
        assert (await desk.sign_ins.state(SERVER, settings)).state == "connected"
    assert server.counts["prompts"] == 1
    assert server.counts["registrations"] == 1
    assert server.counts["refreshes"] == 4
    assert server.counts["reuses"] == 0
    assert server.counts["refused"] == 1  # before the sign-in


async def test_the_metadata_is_not_asked_for_again(house: House) -> None:
    settings = house.settings()
    await house.signed_in(settings)
    house.server.log.clear()
    house.clock.advance(3600)
    async with caller(house.desk(), settings) as client:
        assert await client.call() == 200
    assert house.server.log == ["POST /token", "POST /mcp"]


async def test_the_early_renewal_comes_before_the_end(house: House) -> None:
    settings = house.settings()
    house.server.life = 600.0
    desk = await house.signed_in(settings)
    async with caller(desk, settings) as client:
        house.clock.advance(539)
        assert await client.call() == 200
        assert house.server.counts["refreshes"] == 0
        house.clock.advance(1)
        assert await client.call() == 200
        assert house.server.counts["refreshes"] == 1
        house.server.life = 20.0
        house.server.end_access()
        assert await client.call() == 200
        house.clock.advance(14.9)
        assert await client.call() == 200
        assert house.server.counts["refreshes"] == 2
        house.clock.advance(0.2)  # three quarters of a short life
        assert await client.call() == 200
        assert house.server.counts["refreshes"] == 3


async def test_many_calls_at_once_renew_once(house: House) -> None:
    settings = house.settings()
    desk = await house.signed_in(settings)
    house.clock.advance(3600)
    statuses: list[int] = []

    async def one() -> None:
        async with caller(desk, settings) as client:
            statuses.append(await client.call())

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(one)
    assert statuses == [200] * 20
    assert house.server.counts["refreshes"] == 1


async def test_a_refusal_in_mid_call_renews_and_repeats(house: House) -> None:
    settings = house.settings()
    desk = await house.signed_in(settings)
    async with caller(desk, settings) as client:
        house.server.end_access()
        assert await client.call() == 200
        assert client.sent == 2
        assert not client.authority.wanted
    assert house.server.counts["refreshes"] == 1
    assert house.server.counts["prompts"] == 1


async def test_a_revoked_sign_in_asks_for_a_person_once(house: House) -> None:
    settings = house.settings()
    desk = await house.signed_in(settings)
    house.server.revoke_all()
    async with caller(desk, settings) as client:
        assert await client.call() == 401
        assert client.authority.wanted
        refreshes = house.server.counts["refreshes"]
        assert refreshes == 1
        for _ in range(3):
            assert await client.call() == 401
        assert house.server.counts["refreshes"] == refreshes  # what was refused is not tried again
        assert (await desk.sign_ins.state(SERVER, settings)).state == "disconnected"
        end = await desk.sign_ins.sign_in(SERVER, settings, Browser())
        assert end.state == "connected"
        assert await client.call() == 200
    assert house.server.counts["registrations"] == 1  # the client was kept


async def test_tokens_that_are_refused_though_new_are_not_renewed_on_and_on(house: House) -> None:
    settings = house.settings()
    desk = await house.signed_in(settings)
    house.server.needed = ""
    async with caller(desk, settings) as client:
        house.server.broken = True
        for _ in range(5):
            assert await client.call() == 401
            assert client.authority.wanted
        assert house.server.counts["refreshes"] == 1
        house.server.broken = False
        assert await client.call() == 200


async def test_trouble_at_the_authorization_server_is_no_prompt(house: House) -> None:
    settings = house.settings()
    desk = await house.signed_in(settings)
    house.server.fail = 2
    async with caller(desk, settings) as client:
        house.clock.advance(250)  # due, and still good
        assert await client.call() == 200
        assert await client.call() == 200  # the authorization server is left alone for a while
        assert house.server.fail == 1
        house.clock.advance(100)  # over
        with pytest.raises(SignInFault) as fault:
            await client.call()
        assert not fault.value.final
        assert fault.value.failure.message.startswith(
            "Server notes: the sign-in could not be renewed now."
        )
        assert is_transient(fault.value.failure)
        assert not client.authority.wanted
        assert await client.call() == 200
    assert house.server.counts["prompts"] == 1


async def test_a_client_that_was_forgotten_is_registered_anew(house: House) -> None:
    settings = house.settings()
    desk = await house.signed_in(settings)
    house.server.clients.clear()
    house.clock.advance(3600)
    async with caller(desk, settings) as client:
        assert await client.call() == 401
        assert client.authority.wanted
        assert house.server.counts["registrations"] == 1  # only a person's sign-in registers
        assert (await desk.sign_ins.sign_in(SERVER, settings, Browser())).state == "connected"
        assert await client.call() == 200
    assert house.server.counts["registrations"] == 2


async def test_more_scope_is_a_persons_to_give(house: House) -> None:
    settings = house.settings()
    house.server.resource_metadata = {"scopes_supported": ["read"]}
    desk = await house.signed_in(settings)
    async with caller(desk, settings) as client:
        house.server.needed = "read write"
        assert await client.call() == 403
        assert client.sent == 1
        assert client.authority.wanted
        assert house.server.counts["prompts"] == 1
        end = await desk.sign_ins.sign_in(SERVER, settings, Browser())
        assert end.scope == "read write"
        assert await client.call() == 200
        assert not client.authority.wanted


async def test_what_was_missing_is_known_to_who_signs_in_later(house: House) -> None:
    """`patina mcp login` is another process than the one whose call was refused."""
    settings = house.settings()
    house.server.resource_metadata = {"scopes_supported": ["read"]}
    async with caller(await house.signed_in(settings), settings) as client:
        house.server.needed = "read write"
        assert await client.call() == 403
    later = house.desk()
    end = await later.sign_ins.sign_in(SERVER, settings, Browser())
    assert end.scope == "read write"
    async with caller(house.desk(), settings) as client:
        assert await client.call() == 200


async def test_who_signs_in_first_hears_what_the_server_wants(house: House) -> None:
    """Nothing was called yet, and the server says all in its refusal."""
    house.server.challenge = 'Bearer scope="notes:read",'
    end = await house.desk().sign_ins.sign_in(SERVER, house.settings(), Browser())
    assert end.scope == "notes:read"


async def test_a_refusal_that_no_scope_would_mend_is_none_to_sign_in_for(house: House) -> None:
    settings = house.settings()
    desk = await house.signed_in(settings)
    authority = desk.sign_ins.authority(SERVER, settings)
    assert authority is not None
    sent = await authority.headers("POST", settings.url)
    assert not await authority.heard(403, {}, sent, 1)
    assert not authority.wanted


async def test_no_request_is_sent_more_than_three_times(house: House) -> None:
    settings = house.settings()
    desk = await house.signed_in(settings)
    authority = desk.sign_ins.authority(SERVER, settings)
    assert authority is not None
    answer = {"www-authenticate": 'Bearer error="insufficient_scope", scope="more"'}
    sent = {"Authorization": "Bearer another"}  # as if another window had signed in just now
    assert await authority.heard(403, answer, sent, 1)
    assert await authority.heard(403, answer, sent, 2)
    assert not await authority.heard(403, answer, sent, 3)
    assert authority.wanted


async def test_a_token_goes_to_its_server_alone(house: House) -> None:  # P-05
    settings = house.settings()
    desk = await house.signed_in(settings)
    authority = desk.sign_ins.authority(SERVER, settings)
    assert authority is not None
    assert "Authorization" in await authority.headers("POST", house.server.mcp)
    port = house.server.url.rpartition(":")[2]
    for other in ("https://127.0.0.1/mcp", "http://127.0.0.1:1/mcp", f"http://localhost:{port}/"):
        assert await authority.headers("POST", other) == {}
    moved = replace(settings, url=f"{house.server.url}/other")
    other_authority = desk.sign_ins.authority(SERVER, moved)
    assert other_authority is not None
    assert await other_authority.headers("POST", moved.url) == {}
    assert (await desk.sign_ins.state(SERVER, moved)).state == "none"
    pinned = house.settings(issuer="https://elsewhere.example")
    assert (await desk.sign_ins.state(SERVER, pinned)).state == "disconnected"


async def test_no_is_an_answer(house: House) -> None:
    settings = house.settings()
    house.server.deny = True
    desk = house.desk()
    end = await desk.sign_ins.sign_in(SERVER, settings, Browser())
    assert (end.state, end.step) == ("denied", "callback")
    assert await desk.sign_ins.state(SERVER, settings) == end
    house.server.deny = False
    end = await desk.sign_ins.sign_in(SERVER, settings, Browser(agrees=False))
    assert (end.state, end.step) == ("denied", "authorization")
    assert (await desk.sign_ins.sign_in(SERVER, settings, Browser())).state == "connected"


async def test_two_minutes_are_given(house: House) -> None:
    settings = house.settings()
    desk = house.desk()
    nobody = Nobody()
    async with anyio.create_task_group() as group:

        async def sign_in() -> None:
            await desk.sign_ins.sign_in(SERVER, settings, nobody)
            group.cancel_scope.cancel()

        group.start_soon(sign_in)
        with anyio.fail_after(5):
            await nobody.came.wait()
            await until(lambda: desk.told[-1].step == "callback")
            for _ in range(119):
                house.clock.advance(1)
                await anyio.lowlevel.checkpoint()
            assert (await desk.sign_ins.state(SERVER, settings)).state == "authorizing"
            house.clock.advance(1)
            await anyio.sleep_forever()
    end = await desk.sign_ins.state(SERVER, settings)
    assert (end.state, end.until) == ("timeout", 120.0)


async def test_a_sign_in_is_cancelled(house: House) -> None:
    settings = house.settings()
    desk, nobody = house.desk(), Nobody()
    assert not desk.sign_ins.cancel(SERVER)
    async with anyio.create_task_group() as group:
        group.start_soon(desk.sign_ins.sign_in, SERVER, settings, nobody)
        with anyio.fail_after(5):
            await nobody.came.wait()
        assert desk.sign_ins.cancel(SERVER)
    assert desk.states == ["authorizing", "disconnected"]
    assert not desk.sign_ins.cancel(SERVER)


async def test_who_comes_meanwhile_waits_for_the_same_end(house: House) -> None:
    settings = house.settings()
    desk, browser = house.desk(), Browser()
    ends: list[str] = []

    async def sign_in() -> None:
        ends.append((await desk.sign_ins.sign_in(SERVER, settings, browser)).state)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(sign_in)
    assert ends == ["connected"] * 5
    assert house.server.counts["prompts"] == len(browser.pages) == 1


async def test_a_first_caller_that_goes_away_leaves_the_sign_in_to_the_next(house: House) -> None:
    settings = house.settings()
    desk, nobody = house.desk(), Nobody()
    ends: list[str] = []

    async def second() -> None:
        ends.append((await desk.sign_ins.sign_in(SERVER, settings, Browser())).state)

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as first:
            async with anyio.create_task_group() as inner:
                inner.start_soon(desk.sign_ins.sign_in, SERVER, settings, nobody)
                with anyio.fail_after(5):
                    await nobody.came.wait()
                group.start_soon(second)
                await anyio.lowlevel.checkpoint()
                first.cancel()
    assert ends == ["connected"]


async def test_a_sign_in_in_another_window_is_enough(house: House) -> None:
    settings = house.settings()
    waiting, faster, nobody = house.desk(), house.desk(), Nobody()
    async with anyio.create_task_group() as group:
        group.start_soon(waiting.sign_ins.sign_in, SERVER, settings, nobody)
        with anyio.fail_after(5):
            await until(lambda: bool(waiting.told) and waiting.told[-1].step == "callback")
            end = await faster.sign_ins.sign_in(SERVER, settings, Browser())
            assert end.state == "connected"
            house.clock.advance(1)
    assert waiting.states == ["authorizing", "connected"]
    async with caller(waiting, settings) as client:
        assert await client.call() == 200


async def test_a_renewal_elsewhere_is_not_taken_for_a_sign_in(house: House) -> None:
    settings = house.settings()
    desk = await house.signed_in(settings)
    other, nobody = house.desk(), Nobody()
    async with anyio.create_task_group() as group:
        group.start_soon(desk.sign_ins.sign_in, SERVER, settings, nobody)
        with anyio.fail_after(5):
            await until(lambda: desk.told[-1].step == "callback")
            house.server.end_access()
            async with caller(other, settings) as client:
                assert await client.call() == 200
            house.clock.advance(2)
            await anyio.wait_all_tasks_blocked()
            assert desk.told[-1].state == "authorizing"
            desk.sign_ins.cancel(SERVER)
    assert desk.told[-1].state == "connected"


async def test_windows_see_what_others_did(house: House) -> None:
    settings = house.settings()
    one, other = house.desk(), house.desk()
    assert (await other.sign_ins.state(SERVER, settings)).state == "none"
    await one.sign_ins.sign_in(SERVER, settings, Browser())
    await other.sign_ins.look_again()
    assert other.states == ["connected"]
    assert await one.sign_ins.sign_out(SERVER, settings) == ()
    await other.sign_ins.look_again()
    assert other.states == ["connected", "none"]


async def test_the_address_is_pasted_over_ssh(house: House) -> None:
    settings = house.settings()
    desk = house.desk()
    hands = Hands("http://127.0.0.1:1/oauth/callback?code=x&state=of-another")
    end = await desk.sign_ins.sign_in(SERVER, settings, hands)
    assert end.state == "connected"
    assert hands.wrong == []


async def test_signing_out_leaves_nothing(house: House) -> None:
    settings = house.settings()
    desk = await house.signed_in(settings)
    assert desk.grants.servers() == (SERVER,)
    assert await desk.sign_ins.sign_out(SERVER, settings) == ()
    counts = house.server.counts
    assert (counts["revocations"], counts["forgotten"]) == (2, 1)
    assert desk.grants.servers() == ()
    assert desk.states[-1] == "none"
    async with caller(desk, settings) as client:
        assert await client.call() == 401


async def test_signing_out_says_what_could_not_be_done(house: House) -> None:
    settings = house.settings()
    house.server.metadata = {"revocation_endpoint": f"{house.server.url}/not-there"}
    desk = await house.signed_in(settings)
    (left,) = await desk.sign_ins.sign_out(SERVER, settings)
    assert "did not end the sign-in" in left
    assert desk.grants.servers() == ()


async def test_a_removed_server_leaves_no_credentials(house: House) -> None:
    desk = await house.signed_in()
    await desk.sign_ins.forget(SERVER)
    assert desk.grants.servers() == ()
    await desk.sign_ins.forget("never-there")


async def test_another_authorization_server_is_told_nothing(house: House) -> None:
    """The server moved to another one: what the old one gave is dropped before anything is sent."""
    settings = house.settings()
    desk = await house.signed_in(settings)
    async with serving(house.clock.monotonic) as other:
        house.server.resource_metadata = {"authorization_servers": [other.issuer]}
        await desk.sign_ins.sign_in(SERVER, settings, Browser(agrees=False))
        left = desk.grants.read(SERVER) or b""
        assert other.url.encode() in left  # the registration, for the next sign-in
        assert house.server.url.encode() + b"/token" not in left
        assert not any(token.encode() in left for token in house.server.access)
        assert other.counts["registrations"] == 1
        assert not other.seen_tokens
        house.server.access.clear()
        end = await desk.sign_ins.sign_in(SERVER, settings, Browser())
        assert end.state == "connected"
        assert house.server.counts["refreshes"] == other.counts["refreshes"] == 0
        assert not other.seen_tokens


async def test_the_step_that_failed_is_named(house: House) -> None:
    settings = house.settings()
    desk = house.desk()
    house.server.resource_metadata = {"resource": "https://elsewhere.example/mcp"}
    end = await desk.sign_ins.sign_in(SERVER, settings, Browser())
    assert (end.state, end.step) == ("error", "discovery")
    house.server.resource_metadata = {}
    house.server.metadata = {"registration_endpoint": ""}
    end = await desk.sign_ins.sign_in(SERVER, settings, Browser())
    assert (end.state, end.step) == ("error", "registration")
    house.server.metadata = {"authorization_endpoint": "javascript:alert(1)"}
    browser = Browser()
    end = await desk.sign_ins.sign_in(SERVER, settings, browser)
    assert end.state == "error"
    assert not browser.pages
    house.server.metadata = {"token_endpoint": f"{house.server.url}/gone"}
    end = await desk.sign_ins.sign_in(SERVER, settings, Browser())
    assert (end.state, end.step) == ("error", "token")
    assert end.message
    house.server.metadata = {}
    assert (await desk.sign_ins.sign_in(SERVER, settings, Browser())).state == "connected"


async def test_a_server_of_an_older_era_needs_no_metadata(house: House) -> None:
    settings = house.settings()
    house.server.resource_metadata = {"resource": ""}
    house.server.metadata = {"issuer": ""}
    desk = await house.signed_in(settings)
    house.clock.advance(3600)
    async with caller(desk, settings) as client:
        assert await client.call() == 200


async def test_tokens_are_bound_to_a_key_where_the_server_wants_that(house: House) -> None:
    settings = house.settings()
    house.server.dpop = True
    desk = house.desk()
    async with caller(desk, settings) as client:
        assert await client.call() == 401
        assert (await desk.sign_ins.sign_in(SERVER, settings, Browser())).state == "connected"
        assert await client.call() == 200
        house.server.nonce = "of-the-day"
        assert await client.call() == 200
        assert client.sent == 4
        house.clock.advance(3600)
        assert await client.call() == 200
    async with caller(house.desk(), settings) as client:
        assert await client.call() == 200
