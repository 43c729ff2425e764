"""Tools that are too many to be told of are found and called by two small ones."""

import json
from typing import Any

import pytest
from tests.flows.harness import calls, says, world

from patina.engine.estimate import server_costs
from patina.engine.find_tools import ranked
from patina.mcp.fake import FakeTools
from patina.model import events, items
from patina.model.chat import ToolInfo
from patina.model.parts import ToolCall, text_of
from patina.model.settings import ChatSettings, PermissionRule, PermissionSettings
from patina.permission.gate import PolicyGate
from patina.providers.scripted import Step

pytestmark = pytest.mark.anyio

ALLOW = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow"),)))
ISSUE = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "labels": {"type": "array"}},
    "required": ["title"],
    "additionalProperties": False,
}


def many(count: int = 200) -> FakeTools:
    """Two servers with `count` tools each, and one tool that is like no other."""
    tools = FakeTools()
    for server in ("alpha", "beta"):
        for number in range(count):
            words = f"Does the thing number {number} of {server}. " * 5
            tools.add(f"{server}.thing_{number}", lambda _: "done", description=words)
    tools.add(
        "github.createIssue",
        lambda given: f"made {given['title']}",
        description="Create an issue in a repository",
        schema=ISSUE,
        timeout=7.0,
    )
    return tools


def by_name(name: str, arguments: Any, identifier: str = "c1") -> list[Step]:
    given = json.dumps({"name": name, "arguments": arguments})
    return calls((identifier, "patina__call_tool", given))


FIND = calls(("f1", "patina__find_tools", '{"query":"create issue","limit":2}'))


async def test_few_tools_are_told_as_they_are_and_many_by_two() -> None:
    for tools, names in (
        (many(2), None),
        (many(), ["patina__find_tools", "patina__call_tool"]),
    ):
        async with world(says("ok"), tools=tools) as w:
            await w.turn(w.send("go"))
            request = w.driver.requests[0]
            told = [tool.name for tool in request.tools]
            assert told == (names or [tool.alias for tool in await tools.list(None)])
            assert ("- alpha: 200 tools, by find_tools" in request.system) == bool(names)
            assert ("- alpha.thing_1:" in request.system) != bool(names)
            assert len(request.system) < 2_000


@pytest.mark.parametrize(
    ("chat", "folded"),
    [
        (ChatSettings(find_tools="off"), False),
        (ChatSettings(tools_budget=1_000_000), False),
        (ChatSettings(find_tools="always"), True),
        (ChatSettings(tools_budget=10), True),
    ],
)
async def test_the_user_chooses_when(chat: ChatSettings, folded: bool) -> None:
    async with world(says("ok"), tools=many(1 if folded else 200), chat=chat) as w:
        await w.turn(w.send("go"))
        names = [tool.name for tool in w.driver.requests[0].tools]
        assert ("patina__find_tools" in names) == folded


async def test_a_tool_is_found_and_called_as_itself() -> None:  # C-17, A-26
    call = by_name("github.createIssue", {"title": "Rust"}, "c2")
    async with world(FIND, call, says("ok"), tools=many()) as w:
        conversation = w.send("go")
        asked = await w.until(events.PermissionAsked)
        assert (asked.item.server, asked.item.tool) == ("github", "createIssue")
        assert json.loads(asked.item.arguments) == {"title": "Rust"}
        w.answer(asked, "allow_session")
        assert (await w.turn(conversation)).error is None
        first, second, third = w.driver.requests
        found = text_of(second.messages[-1].answers[0].parts).split("\n")
        assert json.loads(found[0]) == {
            "name": "github.createIssue",
            "description": "Create an issue in a repository",
            "schema": ISSUE,
        }
        assert text_of(third.messages[-1].answers[0].parts) == "made Rust"
        # On the wire it is the call that the model made, and all before it stays as it was.
        sent = third.messages[3].parts[0]
        assert isinstance(sent, ToolCall)
        assert sent.name == "patina__call_tool"
        assert json.loads(sent.arguments) == {
            "name": "github.createIssue",
            "arguments": {"title": "Rust"},
        }
        assert first.tools == second.tools == third.tools
        assert first.system == second.system == third.system
        assert third.messages[:3] == second.messages
        path = (await w.tree(conversation)).path()
        begun = [item for item in path if isinstance(item, items.Call)]
        assert [(item.server, item.tool) for item in begun] == [
            ("patina", "find_tools"),
            ("github", "createIssue"),
        ]
        decided = [item.rule for item in path if isinstance(item, items.Decision)]
        assert decided == ["built-in", "user"]


@pytest.mark.parametrize(
    ("name", "arguments", "status", "words"),
    [
        ("github.createIssue", {}, "failed", "title"),
        ("github.createIssue", '{"title":"x"}', "completed", "made x"),
        ("github__createIssue", {"title": "y"}, "completed", "made y"),
        ("github.nothing", {}, "failed", "There is no tool 'github.nothing'. find_tools"),
        ("patina.call_tool", {"name": "alpha.thing_1"}, "failed", "There is no tool"),
        ("patina.find_tools", {"query": "issue"}, "completed", "github.createIssue"),
    ],
)
async def test_a_call_by_name_is_checked_like_any_other(
    name: str, arguments: object, status: str, words: str
) -> None:
    async with world(by_name(name, arguments), says("ok"), tools=many(), gate=ALLOW) as w:
        assert (await w.turn(w.send("go"))).error is None
        answer = w.driver.requests[-1].messages[-1].answers[0]
        assert answer.status == status
        assert words in text_of(answer.parts)


@pytest.mark.parametrize(
    "arguments", ["{", "[]", '{"arguments":{}}', '{"name":7}', '"x"', "\ud800"]
)
async def test_a_broken_call_is_answered(arguments: str) -> None:
    broken = calls(("c1", "patina__call_tool", arguments))
    async with world(broken, says("ok"), tools=many(), gate=ALLOW) as w:
        assert (await w.turn(w.send("go"))).error is None
        answer = w.driver.requests[-1].messages[-1].answers[0]
        assert answer.status == "failed"


async def test_a_denied_tool_stays_denied() -> None:
    rule = PermissionRule(action="deny", server="github")
    gate = PolicyGate(PermissionSettings(rules=(rule,)))
    call = by_name("github.createIssue", {"title": "x"})
    async with world(call, says("ok"), tools=many(), gate=gate) as w:
        await w.turn(w.send("go"))
        assert w.driver.requests[-1].messages[-1].answers[0].status == "denied"


async def test_what_cannot_be_found_is_said_with_what_there_is() -> None:
    find = calls(("f1", "patina__find_tools", '{"query":"zebra"}'))
    async with world(find, says("ok"), tools=many(), gate=ALLOW) as w:
        await w.turn(w.send("go"))
        told = text_of(w.driver.requests[-1].messages[-1].answers[0].parts)
        assert "No tool fits 'zebra'" in told
        assert "alpha (200), beta (200), github (1)" in told


def info(name: str, description: str = "", **properties: object) -> ToolInfo:
    server, _, tool = name.partition(".")
    schema = {"type": "object", "properties": properties}
    return ToolInfo(
        server=server,
        tool=tool,
        alias=f"{server}__{tool}",
        display_name=server,
        description=description,
        schema=schema,
    )


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("search issues", "github.search_issues"),
        ("issue", "github.createIssue"),
        ("mail", "post.send"),
        ("recipients", "post.send"),
        ("READ FILE", "files.read_file"),
        ("Datei öffnen", "files.open"),
    ],
)
def test_the_best_tool_comes_first(query: str, best: str) -> None:
    tools = [
        info("files.open", "Öffnen einer Datei"),
        info("files.read_file", "Read a file"),
        info("github.createIssue", "Make a new one"),
        info("github.search_issues", "Search for issues in a repository"),
        info("github.search_code", "Search for code in a repository"),
        info("post.send", "Send a mail", recipients={}),
    ]
    assert ranked(tools, query)[0].name == best
    assert ranked(tools, "") == tools


def test_the_cost_of_each_server_is_known() -> None:
    tools = [info("a.one", "x" * 400), info("a.two", "x" * 400), info("b.one", "x" * 40)]
    costs = server_costs(tools)
    assert list(costs) == ["a", "b"]
    assert 200 < costs["a"] < 320
    assert costs["b"] < 60
