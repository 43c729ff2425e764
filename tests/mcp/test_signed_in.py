"""Signing in to servers over every transport: in a call, before it, elsewhere, and never twice."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import pytest
from msgspec.structs import replace
from tests.mcp.auth.desk import Desk
from tests.mcp.house import House, until
from tests.mcp.servers.http_raw import Request, Wire, text_result
from tests.mcp.signed import (
    WIRES,
    Estate,
    Human,
    estate,
    modern,
    sign_in_elsewhere,
)

from patina.mcp.auth.failing import SIGN_IN
from patina.mcp.supervisor import Pace, Supervisor
from patina.mcp.toolset import Toolset
from patina.model.chat import ToolInfo
from patina.model.faults import EXIT_PERMISSION, McpFault
from patina.model.parts import text_of
from patina.model.questions import Answered, Asked, TaskState
from patina.model.settings import OAuthSettings

pytestmark = pytest.mark.anyio
EVERY_WIRE = pytest.mark.parametrize("wire", WIRES)
WANTS = "Server s wants you to sign in."
LOGIN = "Run `patina mcp login s`."


@pytest.fixture
async def handshake(house: House) -> AsyncIterator[Estate]:
    async with estate(house, "handshake") as found:
        yield found


async def call(supervisor: Supervisor, person: Human | None = None, **arguments: Any) -> str:
    """Call the tool, connected or not."""
    tools = Toolset(supervisor)
    tool = ToolInfo(server="s", tool="do", alias="", display_name="s")
    with anyio.fail_after(30):
        await tools.ready(tool)
        await tools.list(("s",))
        known = tools.find("s.do") or tool
        outcome = await tools.call(known, arguments, person)
    return text_of(outcome.parts)


async def signed_in(found: Estate) -> None:
    await sign_in_elsewhere(found)
    found.desk.counts.clear()


def streams(found: Estate) -> list[Request]:
    """The requests for a stream of notifications."""
    assert found.raw is not None
    return [one for one in found.raw.asked("GET") if one.path == "/mcp"]


# P-09 P-19
@EVERY_WIRE
async def test_without_a_person_the_fault_says_what_to_do(house: House, wire: str) -> None:
    async with estate(house, wire) as found, found.patina() as supervisor:
        with anyio.fail_after(20), pytest.raises(McpFault) as caught:
            await supervisor.connect("s")
        failure = caught.value.failure
        assert (failure.message, failure.hint, failure.code) == (WANTS, LOGIN, SIGN_IN)
        assert caught.value.exit_code == EXIT_PERMISSION
        (status,) = supervisor.status()
        assert (status.state, status.text) == ("error", WANTS)
        assert not status.permanent
        assert found.desk.counts["prompts"] == found.desk.counts["registrations"] == 0


# P-09 P-19
@EVERY_WIRE
async def test_a_person_signs_in_within_the_call(house: House, wire: str) -> None:
    async with estate(house, wire) as found, found.patina() as supervisor:
        await signed_in(found)  # so that the tools are known
        assert await call(supervisor) == "done" or wire == "sse"
        await supervisor.stop("s")
        found.desk.revoke_all()
        found.done.clear()
        person = Human()
        assert "done" in await call(supervisor, person, n=1)
        assert found.done == [{"n": 1}]
        (page,) = person.pages
        assert page.text.startswith("s wants you to sign in, which is done at 127.0.0.1.")
        assert found.desk.counts["prompts"] == 1
        assert supervisor.connected("s")


# P-09 P-19
@pytest.mark.parametrize("kept", [True, False])
async def test_nothing_begins_in_a_call_where_nobody_is_there(
    handshake: Estate, kept: bool
) -> None:
    """Who signs people in is not asked, and nothing is registered."""
    if kept:
        await signed_in(handshake)
        handshake.desk.revoke_all()
    async with handshake.patina() as supervisor:
        if kept:
            with pytest.raises(McpFault):
                await call(supervisor)  # the renewal is tried, and known to be hopeless
        handshake.desk.log.clear()
        person = Human()
        person.present = False
        with pytest.raises(McpFault) as caught:
            await call(supervisor, person)
    assert (caught.value.failure.message, caught.value.failure.hint) == (WANTS, LOGIN)
    assert person.pages == person.asked == []
    assert handshake.desk.log == []


async def test_a_call_goes_on_when_somebody_signs_in_in_another_terminal(
    handshake: Estate,
) -> None:
    class Away(Human):
        async def ask(self, asked: Asked) -> Answered:
            self.pages.append(asked)
            await sign_in_elsewhere(handshake)
            handshake.clock.advance(2)
            await anyio.sleep_forever()
            raise AssertionError

    await signed_in(handshake)
    async with handshake.patina() as supervisor:
        assert await call(supervisor, n=1) == "done"
        handshake.desk.revoke_all()
        person = Away()
        assert await call(supervisor, person, n=2) == "done"
    (page,) = person.pages
    assert "run `patina mcp login s` in another terminal" in page.text
    assert "pasted address" in page.text
    assert page.url.startswith(handshake.desk.url)
    assert handshake.done == [{"n": 1}, {"n": 2}]


# P-09 A-57
@EVERY_WIRE
async def test_expired_tokens_are_renewed_in_silence(house: House, wire: str) -> None:
    async with estate(house, wire) as found:
        await signed_in(found)
        for life in range(1, 4):
            found.clock.advance(3600)
            async with found.patina() as supervisor:
                assert "done" in await call(supervisor, n=life)
        assert [one["n"] for one in found.done] == [1, 2, 3]
        assert found.desk.counts["refreshes"] == 3
        assert found.desk.counts["prompts"] == found.desk.counts["reuses"] == 0
        assert found.refused == []


# P-09: the token ends before its time, in the middle of a running link
@pytest.mark.parametrize("wire", ["handshake", "stateless", "stream", "sse"])
async def test_a_refusal_in_a_call_renews_and_repeats_it_once(house: House, wire: str) -> None:
    async with estate(house, wire) as found:
        await signed_in(found)
        async with found.patina() as supervisor:
            assert "done" in await call(supervisor, n=1)
            found.desk.end_access()
            assert "done" in await call(supervisor, n=2)
        assert found.done == [{"n": 1}, {"n": 2}]
        assert found.desk.counts["refreshes"] == 1
        assert found.desk.counts["prompts"] == 0


async def test_many_calls_at_once_renew_once(handshake: Estate) -> None:
    await signed_in(handshake)
    async with handshake.patina() as supervisor:
        await call(supervisor)
        handshake.done.clear()
        handshake.desk.end_access()
        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(partial(call, supervisor, n=number))
    assert sorted(one["n"] for one in handshake.done) == list(range(12))
    assert handshake.desk.counts["refreshes"] == 1
    assert handshake.desk.counts["reuses"] == 0


async def test_the_stream_of_notifications_and_the_goodbye_carry_it(house: House) -> None:
    async with estate(house, "stream") as found:
        assert found.raw is not None
        await signed_in(found)
        async with found.patina() as supervisor:
            found.may_fail = lambda request: request.method != "POST"
            await supervisor.connect("s")
            await until(lambda: bool(streams(found)))
            found.desk.end_access()
            (stream,) = streams(found)
        (goodbye, again) = found.raw.asked("DELETE")
        shown = [one.headers["authorization"] for one in (stream, goodbye, again)]
        assert shown[0] == shown[1] != shown[2]


async def test_a_stream_of_notifications_that_is_refused_is_renewed(house: House) -> None:
    async with estate(house, "stream") as found:
        assert found.raw is not None
        await signed_in(found)

        def at_the_stream(request: Request) -> bool:
            if request.method == "GET" and len(streams(found)) == 1:
                found.desk.end_access()
            return True

        found.may_fail = at_the_stream
        async with found.patina() as supervisor:
            await supervisor.connect("s")
            await until(lambda: len(streams(found)) == 2)
        assert found.desk.counts["refreshes"] == 1


async def test_more_scope_is_asked_for_in_the_call(handshake: Estate) -> None:
    await signed_in(handshake)
    async with handshake.patina() as supervisor:
        await call(supervisor)
        handshake.desk.needed = "write:notes"
        with pytest.raises(McpFault) as caught:
            await call(supervisor, n=1)
        assert caught.value.failure.code == SIGN_IN
        person = Human()
        assert await call(supervisor, person, n=2) == "done"
        assert "It will be allowed: write:notes." in person.pages[0].text
        assert await call(supervisor, n=3) == "done"
    assert handshake.done == [{}, {"n": 2}, {"n": 3}]
    assert handshake.desk.counts["prompts"] == len(person.pages) == 1


async def test_a_server_that_is_never_content_asks_three_times_at_most(handshake: Estate) -> None:
    await signed_in(handshake)
    async with handshake.patina() as supervisor:
        await call(supervisor)
        handshake.desk.broken = True
        person = Human()
        with pytest.raises(McpFault) as caught:
            await call(supervisor, person)
        assert caught.value.failure.code == SIGN_IN
        assert len(person.pages) == 3


async def test_no_is_an_answer(handshake: Estate) -> None:
    await signed_in(handshake)
    async with handshake.patina() as supervisor:
        await call(supervisor)
        handshake.desk.revoke_all()
        person = Human(agrees=False)
        with pytest.raises(McpFault) as caught:
            await call(supervisor, person)
        assert (caught.value.failure.message, len(person.pages)) == (WANTS, 1)
        assert len(handshake.done) == 1


async def test_a_sign_in_that_fails_says_where(handshake: Estate) -> None:
    await signed_in(handshake)
    async with handshake.patina() as supervisor:
        await call(supervisor)
        handshake.desk.revoke_all()
        handshake.desk.metadata = {"token_endpoint": f"{handshake.desk.url}/gone"}
        with pytest.raises(McpFault, match=r"Nobody could be signed in to server s: ") as caught:
            await call(supervisor, Human())
        assert caught.value.failure.code == SIGN_IN


async def test_two_calls_at_once_bring_one_question(handshake: Estate) -> None:
    await signed_in(handshake)
    async with handshake.patina() as supervisor:
        await call(supervisor)
        handshake.desk.revoke_all()
        handshake.done.clear()
        gate = anyio.Event()
        people = [Human(first=gate.wait) for _ in range(3)]
        async with anyio.create_task_group() as tasks:
            for number, person in enumerate(people):
                tasks.start_soon(partial(call, supervisor, person, n=number))
            await until(lambda: len(handshake.refused) >= 3)
            gate.set()
    assert sorted(one["n"] for one in handshake.done) == [0, 1, 2]
    assert sum(len(person.pages) for person in people) == 1
    assert handshake.desk.counts["prompts"] == 1


async def test_it_connects_by_itself_when_somebody_signed_in_elsewhere(house: House) -> None:
    async with estate(house, "handshake") as found:
        found.settings = replace(found.settings, connect="auto")
        async with found.patina() as supervisor:
            supervisor.start_background()
            await until(lambda: supervisor.status()[0].state == "error")
            assert supervisor.status()[0].text == WANTS
            asked = len(found.refused)
            await sign_in_elsewhere(found)
            await until(lambda: supervisor.connected("s"))
            assert len(found.refused) == asked  # no timer tried in between
            assert supervisor.status()[0].state == "connected"


async def test_it_connects_by_itself_after_the_sign_in_here(handshake: Estate) -> None:
    async with handshake.patina() as supervisor:
        with pytest.raises(McpFault):
            await supervisor.connect("s")
        assert supervisor.sign_ins is not None
        person = Human()
        assert await supervisor.signing.sign_in("s", person)
        await until(lambda: supervisor.connected("s"))
    assert handshake.desk.counts["prompts"] == 1


async def test_a_link_that_is_lost_and_refused_then_is_not_tried_by_timers(house: House) -> None:
    async with estate(house, "websocket") as found:
        assert found.sockets is not None
        await signed_in(found)
        pace = Pace(restart=(0.01, 0.01, 0.01), network_most=0.02)
        async with found.patina(pace=pace) as supervisor:
            await call(supervisor)
            found.desk.revoke_all()
            for connection in list(found.sockets.connections):
                await connection.close()
            await until(lambda: supervisor.status()[0].wants_sign_in)
            (status,) = supervisor.status()
            assert (status.state, status.text, status.permanent) == ("error", WANTS, False)
            told = f"s MCP wants you to sign in. {LOGIN}"
            assert ("s", "warning", told) in house.notices
            tried = len(found.refused)
            with anyio.move_on_after(0.3):  # as many pauses as would be enough
                await anyio.Event().wait()
            assert len(found.refused) == tried
            assert await call(supervisor, Human()) == "done"


async def test_an_authorization_server_that_is_down_is_no_reason_to_ask(handshake: Estate) -> None:
    await signed_in(handshake)
    handshake.clock.advance(3600)
    handshake.desk.fail = 9
    async with handshake.patina() as supervisor:
        with pytest.raises(McpFault, match="could not be renewed now") as caught:
            await supervisor.connect("s")
        assert caught.value.failure.code != SIGN_IN
        handshake.desk.fail = 0
        handshake.clock.advance(3600)
        assert await call(supervisor, Human()) == "done"
    assert handshake.desk.counts["prompts"] == 0


async def test_resources_and_prompts_have_it_too(handshake: Estate) -> None:
    from patina.mcp.features import ServerFeatures

    await signed_in(handshake)
    async with handshake.patina() as supervisor:
        await call(supervisor)
        handshake.desk.revoke_all()
        features = ServerFeatures(supervisor, Toolset(supervisor), lambda _: {})
        with anyio.fail_after(20):
            with pytest.raises(McpFault) as caught:
                await features.read("s", "x:y")
            assert caught.value.failure.code == SIGN_IN
            person = Human()
            with pytest.raises(McpFault) as caught:  # that server has none, but was asked
                await features.read("s", "x:y", person)
    assert caught.value.failure.code != SIGN_IN
    assert handshake.desk.counts["prompts"] == len(person.pages) == 1


#
async def test_a_server_that_is_configured_no_more_leaves_no_grant(handshake: Estate) -> None:
    await signed_in(handshake)
    kept = Desk(handshake.house.root / "secrets", handshake.clock).grants
    async with handshake.patina() as supervisor:
        await call(supervisor)
        await supervisor.reconfigure({"s": replace(handshake.settings, enabled=False)})
        assert kept.servers() == ("s",)  # it may be enabled again
        await supervisor.reconfigure({})
        await until(lambda: kept.servers() == ())


async def test_settings_of_the_sign_in_are_of_the_start(handshake: Estate) -> None:
    await signed_in(handshake)
    async with handshake.patina() as supervisor:
        await call(supervisor)
        session = supervisor.status()[0].started_at
        other = replace(handshake.settings, oauth=OAuthSettings(issuer="https://other.example"))
        await supervisor.reconfigure({"s": other})
        await until(lambda: supervisor.status()[0].state == "error")
        assert session
        assert supervisor.status()[0].text == WANTS


@pytest.mark.parametrize("wire", ["handshake", "sse", "websocket"])
async def test_tokens_that_are_bound_to_a_key(house: House, wire: str) -> None:
    async with estate(house, wire) as found:
        found.desk.dpop = True
        await signed_in(found)
        async with found.patina() as supervisor:
            assert "done" in await call(supervisor, n=1)
            found.desk.nonce = "of-today"
            await supervisor.stop("s")
            assert "done" in await call(supervisor, n=2)
        assert found.done == [{"n": 1}, {"n": 2}]
        assert found.desk.counts["prompts"] == 0


# The task is the call: it is found again after the sign-in, and not begun twice.
async def test_a_task_that_is_refused_between_two_looks(house: House) -> None:
    async with estate(house, "stateless") as found:
        assert found.raw is not None
        await signed_in(found)
        base = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        when = {"createdAt": "2026-11-22T00:00:00Z", "lastUpdatedAt": "2026-11-22T00:00:00Z"}
        task = {"taskId": "t-1", "ttlMs": None, "pollIntervalMs": 200, **when}
        looks = 0

        async def handle(request: Request, wire: Wire) -> None:
            nonlocal looks
            if request.rpc == "server/discover":
                tasks: dict[str, Any] = {
                    "extensions": {"io.modelcontextprotocol/tasks": {}},
                    "tools": {},
                }
                versions = {"supportedVersions": ["2026-07-28"], "capabilities": tasks}
                await wire.result(base | versions)
            elif request.rpc == "tools/call":
                await wire.result({**task, "status": "working", "resultType": "task"})
            elif request.rpc == "tasks/get" and looks == 0:
                looks += 1
                found.desk.revoke_all()
                await wire.result({**task, "status": "working", "resultType": "complete"})
            elif request.rpc == "tasks/get":
                end = {"status": "completed", "result": text_result("done at last")}
                await wire.result({**task, **end, "resultType": "complete"})
            else:
                await modern(request, wire)

        found.raw.handler = found.guarded(handle)
        async with found.patina() as supervisor:
            person = _Patient()
            assert await call(supervisor, person) == "done at last"
            assert len(person.pages) == 1
    assert len(found.done) == 1
    assert found.raw.asked("tasks/cancel") == []


class _Patient(Human):
    async def task(self, state: TaskState) -> None:
        assert state.task_id == "t-1"
