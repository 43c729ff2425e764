"""A conversation in which a server wants a sign-in: asked once, and then never again."""

import time
from pathlib import Path

import httpx2
import pytest
from tests.mcp.auth.authorization_server import AuthorizationServer, serving
from tests.mcp.auth.desk import Browser, Desk
from tests.whole.app import Whole, whole

from patina.engine.clock import ManualClock
from patina.model import events
from patina.model.ids import new_id
from patina.model.items import Result
from patina.model.parts import Text
from patina.model.settings import ServerSettings
from patina.providers.scripted import Script, call, say

pytestmark = pytest.mark.anyio


def now() -> ManualClock:
    """A clock that shows the time and stands still."""
    clock = ManualClock()
    clock.advance(time.time() - clock.monotonic())
    return clock


def script(*ids: str) -> list[Script]:
    steps: list[Script] = []
    for call_id in ids:
        steps += [call("notes__whoami", {}, call_id=call_id), say("So it is.")]
    return steps


async def asked_and_answered(run: Whole, server: AuthorizationServer) -> str:
    """Send a message; visit the page that is asked for, and return what the tool said."""
    conversation = new_id()
    run.send(conversation, "Who am I?")
    while True:
        event = await run.until(
            events.Event, lambda e: isinstance(e, events.QuestionAsked | events.TurnEnded)
        )
        if isinstance(event, events.TurnEnded):
            break
        assert isinstance(event, events.QuestionAsked)
        page = event.item.asked
        assert page.kind == "url"
        assert page.text.startswith("notes wants you to sign in, which is done at 127.0.0.1.")
        run.give(event)
        async with httpx2.AsyncClient(trust_env=False, follow_redirects=True) as browser:
            await browser.get(page.url)
    path = (await run.tree(conversation)).path()
    (result,) = (item for item in path if isinstance(item, Result))
    (part,) = result.parts
    assert isinstance(part, Text)
    return part.text


# P-08 P-09 A-51 A-52 A-53
async def test_a_sign_in_in_a_conversation(tmp_path: Path) -> None:
    async with serving(time.time) as server:
        settings = ServerSettings(transport="streamable-http", url=server.mcp)
        desk = Desk(tmp_path / "secrets", now())
        await desk.sign_ins.sign_in("notes", settings, Browser())
        servers = {"notes": settings}
        run: Whole
        async with whole(tmp_path, servers, script("a"), grants=desk.grants) as run:
            assert await asked_and_answered(run, server) == "You are acoliver."
        server.revoke_all()
        server.counts.clear()
        async with whole(tmp_path, servers, script("b", "c"), grants=desk.grants) as run:
            assert await asked_and_answered(run, server) == "You are acoliver."
            told = [event for event in run.heard if isinstance(event, events.SignInChanged)]
            assert [one.text for one in told if one.text != told[0].text][-1] == "Connected"
            assert "Waiting for authorization..." in [one.text for one in told]
            assert server.counts["prompts"] == 1
            assert await asked_and_answered(run, server) == "You are acoliver."
        assert server.counts["prompts"] == 1
