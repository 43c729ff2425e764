"""Servers that sign people in by themselves: one visit to a page, and never again (P-08)."""

import json
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp_types import CallToolResult
from tests.mcp.house import House
from tests.mcp.servers.http_raw import OldServer, Raw, Request, Wire, serving, text_result
from tests.mcp.shop import ERAS, NEWER, PAGE, Person, Shop
from tests.mcp.signed import Human

from patina.mcp.login_pages import login_page
from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.model.chat import ToolInfo, ToolOutcome
from patina.model.faults import McpFault
from patina.model.parts import text_of
from patina.model.questions import Answered
from patina.model.settings import AuthMode, ServerSettings

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
KEY = {"Authorization": "Bearer secret:tracker"}


class Tracker:
    """A server like those of Atlassian: a key lets clients in, and its own backend wants a person
    to visit a page once. What it got there it keeps and renews by itself.
    """

    def __init__(self, *, way: str) -> None:
        self.way = way
        self.visits = 0
        self.calls = 0
        self.raw: Raw
        self.inner = OldServer(self._call)

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.raw.port}/connect?state=abc"

    async def __call__(self, request: Request, wire: Wire) -> None:
        if request.path.startswith("/connect"):
            self.visits += 1
            await wire.status("200 OK", b"Connected.")
        elif request.headers.get("authorization") != "Bearer a-static-key":
            await wire.status("401 Unauthorized", b"no such key a-wrong-key")
        else:
            await self.inner(request, wire)

    async def _call(self, request: Request, wire: Wire) -> None:
        self.calls += 1
        if self.visits:
            await wire.result(text_result("3 issues"))
        elif self.way == "text":
            words = f"Authentication required. Please log in at [Jira]({self.page}), then retry."
            await wire.result({**text_result(words), "isError": True})
        elif self.way == "fields":
            said = {"error": "unauthorized", "auth_url": self.page}
            result = text_result(json.dumps(said))
            await wire.result({**result, "structuredContent": said, "isError": True})
        else:
            page = {"mode": "url", "message": "Connect", "url": self.page, "elicitationId": "e1"}
            error = {"code": -32042, "message": "first", "data": {"elicitations": [page]}}
            await wire.json({"jsonrpc": "2.0", "id": request.message["id"], "error": error})


async def called(
    supervisor: Supervisor, person: Person | None, server: str = "tracker"
) -> ToolOutcome:
    tools = Toolset(supervisor)
    with anyio.fail_after(20):
        await tools.list((server,))
        tool = tools.find(f"{server}.do")
        assert isinstance(tool, ToolInfo)
        return await tools.call(tool, {}, person)


def settings(raw: Raw, **more: Any) -> ServerSettings:
    return ServerSettings(transport="streamable-http", url=raw.url, headers=KEY, **more)


@pytest.mark.parametrize("way", ["text", "fields", "elicitation"])
@pytest.mark.parametrize("mode", ["auto", "bearer", "server"])
async def test_one_visit_and_no_prompt_ever_after(house: House, way: str, mode: str) -> None:
    house.keys.secrets["tracker"] = "a-static-key"
    tracker = Tracker(way=way)
    async with serving(tracker) as tracker.raw:
        servers = {"tracker": settings(tracker.raw, auth_mode=mode)}
        person = Human()
        async with house.supervisor(servers) as supervisor:
            assert text_of((await called(supervisor, person)).parts) == "3 issues"
        assert [page.url for page in person.pages] == [tracker.page]
        assert len(person.forms) == 1  # whether it is done
        assert (tracker.visits, tracker.calls) == (1, 2)
        for _ in range(3):
            async with house.supervisor(servers) as supervisor:
                later = Human()
                assert text_of((await called(supervisor, later)).parts) == "3 issues"
                assert later.pages == later.forms == []
        assert tracker.visits == 1


async def test_the_host_is_shown_and_no_leaves_the_answer_as_it_was(house: House) -> None:
    house.keys.secrets["tracker"] = "a-static-key"
    tracker = Tracker(way="text")
    async with serving(tracker) as tracker.raw:
        servers = {"tracker": settings(tracker.raw, display_name="Jira")}
        async with house.supervisor(servers) as supervisor:
            person = Human(agrees=False)
            outcome = await called(supervisor, person)
            assert outcome.is_error
            assert "Please log in" in text_of(outcome.parts)
            (page,) = person.pages
            assert page.host == "127.0.0.1"
            assert page.text.startswith("Jira wants you to sign in on a page of its own, at 127.")
            nobody = await called(supervisor, None)
            assert nobody.is_error
    assert tracker.calls == 2


async def test_a_visit_that_does_not_help_is_not_made_twice(house: House) -> None:
    house.keys.secrets["tracker"] = "a-static-key"
    tracker = Tracker(way="text")

    async def call(request: Request, wire: Wire) -> None:
        tracker.visits = 0
        await tracker._call(request, wire)

    tracker.inner.call = call
    async with serving(tracker) as tracker.raw:
        servers = {"tracker": settings(tracker.raw)}
        async with house.supervisor(servers) as supervisor:
            person = Human()
            assert (await called(supervisor, person)).is_error
    assert (len(person.pages), tracker.calls) == (1, 2)


async def test_a_key_that_is_refused_is_named(house: House) -> None:
    house.keys.secrets["tracker"] = "a-wrong-key"
    tracker = Tracker(way="text")
    async with (
        serving(tracker) as tracker.raw,
        house.supervisor({"tracker": settings(tracker.raw)}) as supervisor,
    ):
        with pytest.raises(McpFault) as caught:
            await supervisor.connect("tracker")
    failure = caught.value.failure
    assert "its key was refused: answered 401 Unauthorized" in failure.message
    assert "a-wrong-key" not in failure.message
    assert failure.hint == ("Replace it: `patina keys set tracker`, or `patina mcp token tracker`.")


class _Gate(Shop):
    """A tool that asks for the same page until it is asked the fourth time."""

    async def tool_gate(self, context: Any, params: Any) -> Any:
        if len(self.seen) > 3:
            return types.CallToolResult(content=[types.TextContent(text="in")])
        page = types.ElicitRequestURLParams(message="Sign in", url=PAGE)
        request = types.ElicitRequest(params=page)
        return types.InputRequiredResult(input_requests={"it": request}, request_state="x")


async def test_the_page_of_the_newer_era_is_opened_once(house: House) -> None:
    """The server says again that it waits for the same page: the person is asked if it is done."""
    async with _Gate().supervisor(house, NEWER) as supervisor:
        person = Person(Answered(action="accept"))
        tools = Toolset(supervisor)
        await tools.list(("s",))
        tool = tools.find("s.gate")
        assert tool is not None
        with anyio.fail_after(20):
            outcome = await tools.call(tool, {}, person)
    assert text_of(outcome.parts) == "in"
    assert [asked.kind for asked in person.asked] == ["url", "form", "form"]
    assert person.asked[0].url == PAGE


REMOTE = ServerSettings(transport="streamable-http", url="https://mcp.example/mcp")
LOCAL = ServerSettings(command="server")
GOOD = "https://auth.example/authorize?a=1&b=2"


def failed(text: str, structured: Any = None, *, error: bool = True) -> CallToolResult:
    content = [{"type": "text", "text": text}] if text else []
    found = {"content": content, "structuredContent": structured, "isError": error}
    return CallToolResult.model_validate(found)


@pytest.mark.parametrize(
    "text",
    [
        f"Please sign in: {GOOD}",
        f"Not logged in. Log in at {GOOD}.",
        f"You must authorize this application first ({GOOD}).",
        f"Authentication required\n\n<{GOOD}>",
        f"**Connect your Google account**: [here]({GOOD})!",
        f"Re-authenticate: {GOOD} or {GOOD}",
        json.dumps({"error": "auth_required", "auth_url": GOOD}),
        json.dumps({"error": {"login_url": GOOD}}),
        json.dumps({"message": "Sign in first", "url": GOOD}),
    ],
)
def test_pages_that_are_recognised(text: str) -> None:
    page = login_page(failed(text), REMOTE)
    assert page is not None
    assert (page.url, page.host) == (GOOD, "auth.example")


@pytest.mark.parametrize(
    "text",
    [
        "Please sign in.",
        f"No page at {GOOD}",
        f"Sign in at {GOOD} or at https://other.example/login",
        "Sign in at http://auth.example/",
        "Sign in at http://localhost:3000/",
        "Sign in at https://user:" + "password@auth.example/",
        "Log in: javascript:alert(1)",
        json.dumps({"error": "not found", "url": GOOD}),
        json.dumps({"auth_url": "file:///etc/passwd"}),
        json.dumps({"auth_url": [GOOD]}),
        "{" + f"sign in {GOOD} https://b.example",
    ],
)
def test_text_that_is_no_login(text: str) -> None:
    assert login_page(failed(text), REMOTE) is None


def test_only_failures_of_servers_that_may_sign_people_in() -> None:
    words = f"Please sign in: {GOOD}"
    assert login_page(failed(words, error=False), REMOTE) is None
    assert login_page(failed("", {"authorization_url": GOOD}), REMOTE) is not None
    modes: tuple[AuthMode, ...] = ("none", "client", "client_credentials")
    for mode in modes:
        other = ServerSettings(transport="streamable-http", url=REMOTE.url, auth_mode=mode)
        assert login_page(failed(words), other) is None
    here = login_page(failed("Sign in at http://localhost:3000/start"), LOCAL)
    assert here is not None
    assert here.url == "http://localhost:3000/start"


@ERAS
async def test_without_a_person_the_answer_is_as_it_was(house: House, era: str) -> None:
    async with Shop().supervisor(house, era) as supervisor:
        tools = Toolset(supervisor)
        await tools.list(("s",))
        tool = tools.find("s.page")
        assert tool is not None
        with anyio.fail_after(20):
            outcome = await tools.call(tool, {}, None)
    assert "decline" in text_of(outcome.parts)
