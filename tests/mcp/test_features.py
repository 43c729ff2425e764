"""What servers offer beside tools, in both eras: resources, templates, prompts, completion."""

import json
from collections.abc import Iterable

import anyio
import pytest
from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged, ResourceUpdated
from tests.mcp.house import House, until
from tests.mcp.servers.http_sdk import running
from tests.mcp.shop import ERAS, NEWER, OLDER, Person, Shop

from patina.mcp.features import ServerFeatures
from patina.mcp.offers import variables
from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.model.chat import ToolInfo
from patina.model.faults import McpFault, PermissionFault, UsageFault
from patina.model.parts import File, Image, Spoken, Text
from patina.model.questions import Answered
from patina.model.settings import ServerSettings
from patina.ports.features import (
    Completion,
    Content,
    PromptArgument,
    PromptInfo,
    ResourceInfo,
    TemplateInfo,
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
NAMED = ("s",)


def measure(tools: Iterable[ToolInfo]) -> dict[str, int]:
    costs: dict[str, int] = {}
    for tool in tools:
        costs[tool.server] = costs.get(tool.server, 0) + len(tool.tool)
    return costs


def features_of(supervisor: Supervisor) -> ServerFeatures:
    return ServerFeatures(supervisor, Toolset(supervisor), measure)


@ERAS
async def test_lists_page_by_page(house: House, era: str) -> None:
    async with Shop().supervisor(house, era) as supervisor:
        features = features_of(supervisor)
        resources = await features.resources(NAMED)
        templates = await features.templates(NAMED)
        prompts = await features.prompts(NAMED)
    assert resources == (
        ResourceInfo(server="s", uri="demo://one", name="one", media_type="text/plain", size=5),
        ResourceInfo(server="s", uri="demo://two", name="two", media_type="text/plain", size=5),
    )
    assert templates == (
        TemplateInfo(
            server="s",
            template="demo://{kind}/{+path}{?a,b*}",
            name="any",
            arguments=("kind", "path", "a", "b"),
        ),
    )
    argument = PromptArgument(name="name", description="Who", required=True)
    assert prompts == (PromptInfo(server="s", name="greet", arguments=(argument,)),)


def test_variables_of_templates() -> None:
    assert variables("a/{x}/{x:3}{?y*,z}{#w}") == ("x", "y", "z", "w")
    assert variables("no/{}/ones/{") == ()


# C-16
@ERAS
async def test_a_server_that_was_seen_is_not_asked(house: House, era: str) -> None:
    shop = Shop()
    async with shop.supervisor(house, era) as supervisor:
        features = features_of(supervisor)
        assert await features.resources(None) == ()  # nobody asked for it by name
        assert not supervisor.connected("s")
        first = await features.resources(NAMED)
        asked = shop.lists
    async with shop.supervisor(house, era) as supervisor:
        features = features_of(supervisor)
        assert await features.resources(None) == first
        assert await features.resources(NAMED) == first
        assert len(await features.prompts(None)) == 1
        assert not supervisor.connected("s")
        assert shop.lists == asked
        shop.resources["demo://three"] = "third"
        assert len(await features.resources(None, refresh=True)) == 3
    kept = json.loads((house.root / "cache/mcp/s.json").read_text())
    assert kept["key"]
    assert len(kept["offers"]["resources"]) == 3


@ERAS
async def test_changes_are_told_and_listed_anew(house: House, era: str) -> None:
    shop = Shop()
    async with shop.supervisor(house, era) as supervisor:
        features = features_of(supervisor)
        assert len(await features.prompts(NAMED)) == 1
        await Toolset(supervisor).list(NAMED)

        async def told(event: ResourcesListChanged | PromptsListChanged, count: int) -> None:
            with anyio.fail_after(20):
                while sum(map(len, await lists(features))) != count:
                    await shop.tell(event)
                    with anyio.move_on_after(0.2):
                        await anyio.Event().wait()

        shop.prompts = ("greet", "part")
        await told(PromptsListChanged(), 4)
        del shop.resources["demo://one"]
        await told(ResourcesListChanged(), 3)


async def lists(
    features: ServerFeatures,
) -> tuple[tuple[ResourceInfo, ...], tuple[PromptInfo, ...]]:
    return await features.resources(None), await features.prompts(None)


@ERAS
async def test_reading(house: House, era: str) -> None:
    async with Shop().supervisor(house, era) as supervisor:
        features = features_of(supervisor)
        (content,) = await features.read("s", "demo://one")
        assert content == Content(uri="demo://one", part=Text("first"))
        words, picture, archive = await features.read("s", "demo://both")
        assert words == Content(uri="demo://both", part=Text("words"), media_type="text/plain")
        assert picture.part == Image(f"{1:064x}", "image/png", "p.png")
        assert archive.part == File(f"{2:064x}", "application/octet-stream", "x.zip")
        assert house.blobs[1] == bytes(3)
        with pytest.raises(McpFault) as caught:
            await features.read("s", "demo://\x1b[2Jx")
    said = caught.value.failure.message
    assert said.startswith("Server s did not give the resource demo://\\x1b[2Jx: ")
    assert "Resource not found" in said


@ERAS
async def test_reading_may_ask_back(house: House, era: str) -> None:
    async with Shop().supervisor(house, era, tool_timeout=1.0) as supervisor:
        features = features_of(supervisor)
        slow = Person(Answered(action="accept", content={"color": "red"}))
        slow.hold = anyio.Event()
        async with anyio.create_task_group() as tasks:

            async def answer_late() -> None:
                await until(lambda: bool(slow.asked))
                with anyio.move_on_after(1.5):  # the time of people does not count
                    await anyio.Event().wait()
                assert slow.hold is not None
                slow.hold.set()

            tasks.start_soon(answer_late)
            (content,) = await features.read("s", "demo://asks", slow)
    assert content.part == Text("{'color': 'red'}")


async def test_reading_has_an_end(house: House) -> None:
    async with Shop().supervisor(house, OLDER, tool_timeout=0.3) as supervisor:
        features = features_of(supervisor)
        for person in (None, Person()):
            with pytest.raises(McpFault, match=r"demo://slow: no answer within 0\.3 s"):
                await features.read("s", "demo://slow", person)
        assert len(await features.read("s", "demo://one")) == 1


# C-23
@ERAS
async def test_a_prompt(house: House, era: str) -> None:
    async with Shop().supervisor(house, era) as supervisor:
        features = features_of(supervisor)
        spoken = await features.prompt("s", "greet", {"name": "Ada"})
        with pytest.raises(McpFault, match="and it says nothing"):
            await features.prompt("s", "empty", {})
    assert spoken == (
        Spoken("user", (Text("Greet Ada."),)),
        Spoken("assistant", (Image(f"{1:064x}", "image/png"),)),
        Spoken("user", (Text("[resource: demo://two]\nsecond"),)),
        Spoken("user", (Text("[resource link: one, demo://one]"),)),
    )


@ERAS
async def test_completion(house: House, era: str) -> None:
    shop = Shop()
    async with shop.supervisor(house, era) as supervisor:
        features = features_of(supervisor)
        told = await features.complete(
            "s", argument="name", value="A", prompt="greet", known={"x": "1"}
        )
        await features.complete("s", argument="kind", value="", template="demo://{kind}")
    assert told == Completion(values=("A0", "A1", "A2"), total=7)
    first, second = shop.seen
    assert (first.ref.type, first.ref.name, first.context.arguments) == (
        "ref/prompt",
        "greet",
        {"x": "1"},
    )
    assert (second.ref.type, second.ref.uri) == ("ref/resource", "demo://{kind}")


async def test_a_server_that_completes_nothing(house: House) -> None:
    async with house.supervisor({"s": house.odd("fine")}) as supervisor:
        features = features_of(supervisor)
        assert await features.complete("s", argument="a", value="", prompt="p") == Completion()
        assert await features.resources(NAMED) == ()


@ERAS
async def test_subscriptions_outlive_a_reconnect(house: House, era: str) -> None:
    shop, heard = Shop(), list[tuple[str, str]]()
    servers = {"s": ServerSettings(command="unused", protocol_version=era)}
    async with house.supervisor(
        servers,
        openers={"s": shop.opener},
        on_resource=lambda server, uri: heard.append((server, uri)),
    ) as supervisor:
        features = features_of(supervisor)
        await features.subscribe("s", "demo://one")
        await shop.tell(ResourceUpdated("demo://one"))
        await until(lambda: heard == [("s", "demo://one")])
        await features.subscribe("s", "demo://two")
        await shop.tell(ResourceUpdated("demo://two"))
        await until(lambda: len(heard) == 2)
        await features.unsubscribe("s", "demo://two")
        shop.sessions.clear()
        await supervisor.restart("s")
        await until(lambda: era == NEWER or shop.subscribed[-1] == "+demo://one")

        async def told_again() -> None:
            while len(heard) == 2:
                await shop.tell(ResourceUpdated("demo://one"))
                with anyio.move_on_after(0.1):
                    await anyio.Event().wait()

        with anyio.fail_after(20):
            await told_again()
    assert heard[2] == ("s", "demo://one")
    if era == OLDER:
        assert shop.subscribed == ["+demo://one", "+demo://two", "-demo://two", "+demo://one"]


async def test_a_server_that_tells_of_no_changes(house: House) -> None:
    async with house.supervisor({"s": house.odd("fine")}) as supervisor:
        with pytest.raises(McpFault, match="it does not tell of changes of resources"):
            await features_of(supervisor).subscribe("s", "demo://one")


async def test_names_that_cannot_be_asked(house: House) -> None:
    servers = {"s": house.odd("fine"), "broken": house.odd("exits")}
    async with house.supervisor(servers, allow_start=frozenset({"broken"})) as supervisor:
        features = features_of(supervisor)
        with pytest.raises(UsageFault, match="no MCP server named nope"):
            await features.resources(("nope",))
        with pytest.raises(PermissionFault):
            await features.prompts(NAMED)
        with pytest.raises(PermissionFault):
            await features.read("s", "demo://one")
        with pytest.raises(McpFault, match="Server broken did not start"):
            await features.prompts(("broken",))
        supervisor.trust.trust("s")
        assert await features.prompts(("broken", "s")) == ()
        assert await features.prompts(None) == ()


async def test_one_wrong_entry_costs_no_other(house: House) -> None:
    """The tool without a schema is left out, and the log says so."""
    tools = [
        {"name": "good", "inputSchema": {"type": "object"}},
        {"name": "bad", "inputSchema": "none"},
        {"inputSchema": {}},
    ]
    (house.root / "tools.json").write_text(json.dumps({"tools": tools}))
    async with house.supervisor({"s": house.odd("changing")}) as supervisor:
        assert [info.tool for info in await Toolset(supervisor).list(None)] == ["good"]
    log = house.log("s")
    assert "one of its tools is not as the protocol demands: inputSchema of 'bad'" in log


@ERAS
async def test_one_list_that_cannot_be_had_costs_no_other(house: House, era: str) -> None:
    shop = Shop()
    shop.prompts = ()
    with running(shop.server().streamable_http_app()) as origin:
        settings = ServerSettings(
            transport="streamable-http", url=f"{origin}/mcp", protocol_version=era
        )
        async with house.supervisor({"s": settings}) as supervisor:
            features = features_of(supervisor)
            assert await features.prompts(NAMED) == ()
            uris = [resource.uri for resource in await features.resources(NAMED)]
            assert uris == ["demo://one", "demo://two"]
            log = house.log("s")
            assert "one of its lists cannot be had: The database of prompts is away" in log
            shop.prompts = ("greet",)
            assert len(await features.prompts(NAMED, refresh=True)) == 1
            shop.prompts = ()
            shop.resources["demo://three"] = "third"
            assert len(await features.resources(NAMED, refresh=True)) == 3
            assert [prompt.name for prompt in await features.prompts(NAMED)] == ["greet"]


async def test_costs(house: House) -> None:
    async with Shop().supervisor(house, OLDER) as supervisor:
        features = features_of(supervisor)
        assert features.costs() == {}
        listed = await Toolset(supervisor).list(NAMED)
        assert features.costs() == {"s": sum(len(tool.tool) for tool in listed)}


async def test_a_subscription_that_is_refused_is_none(house: House) -> None:
    shop = Shop()
    async with shop.supervisor(house, OLDER, idle_timeout=0.2) as supervisor:
        features = features_of(supervisor)
        with pytest.raises(
            McpFault, match=r"Server s did not tell of demo://none: .*\(error -32602"
        ):
            await features.subscribe("s", "demo://none")
        assert shop.subscribed == []
        await until(lambda: not supervisor.connected("s"))  # nothing keeps it from resting
        await features.subscribe("s", "demo://one")
        with anyio.move_on_after(0.6):
            await anyio.Event().wait()
        assert supervisor.connected("s")  # else nobody would be told
