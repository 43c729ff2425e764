"""What servers ask in the middle of a call, in both eras: forms, pages, models, folders."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.mcp.house import House, found, tool_of, until
from tests.mcp.servers.http_sdk import running
from tests.mcp.shop import ERAS, FORM, NEWER, OLDER, PAGE, Person, Shop

from patina.mcp.asking import sampled_result
from patina.mcp.features import ServerFeatures
from patina.mcp.toolset import Toolset
from patina.model.faults import LimitFault, McpFault, PermissionFault
from patina.model.parts import CallResult, Image, Spoken, Text, ToolCall, text_of
from patina.model.questions import Answered, Asked, Sampled
from patina.model.settings import ServerSettings

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
HOME, B = Path("~").expanduser(), Path("/b").absolute()
HELLO = Sampled(model="demo", said=Spoken("assistant", (Text("Hel"), Text("lo"))))


async def said(toolset: Toolset, tool: str, person: Person | None, **arguments: Any) -> str:
    with anyio.fail_after(30):
        outcome = await toolset.call(await tool_of(toolset, f"s.{tool}"), arguments, person)
    return text_of(outcome.parts)


@ERAS
async def test_a_form(house: House, era: str) -> None:
    async with Shop().supervisor(house, era) as supervisor:
        tools = Toolset(supervisor)
        person = Person()
        assert await said(tools, "form", person) == 'accept {"color": "red"}'
        assert person.asked == [Asked(kind="form", text="Which?", form=FORM)]
        for action in ("decline", "cancel"):
            answer = Answered(action=action, content={"color": "red"})
            assert await said(tools, "form", Person(answer)) == f"{action} null"


@ERAS
async def test_a_page(house: House, era: str) -> None:
    async with Shop().supervisor(house, era) as supervisor:
        person = Person(Answered(action="accept"))
        assert await said(Toolset(supervisor), "page", person) == "accept null"
        assert person.asked == [Asked(kind="url", text="Sign in", url=PAGE)]


@ERAS
async def test_without_anybody_forms_are_declined_and_models_refused(
    house: House, era: str
) -> None:
    async with Shop().supervisor(house, era) as supervisor:
        tools = Toolset(supervisor)
        assert await said(tools, "form", None) == "decline null"
        with pytest.raises(McpFault, match="No call is under way for which somebody could answer"):
            await said(tools, "sample", None)


@ERAS
async def test_a_model_answers(house: House, era: str) -> None:
    async with Shop().supervisor(house, era) as supervisor:
        person = Person(sampled=HELLO)
        told = json.loads(
            await said(
                Toolset(supervisor),
                "sample",
                person,
                systemPrompt="Be kind.",
                modelPreferences={
                    "hints": [{"name": "sonnet"}, {}],
                    "costPriority": 0.2,
                    "speedPriority": 0,
                },
                temperature=0.5,
                stopSequences=["END"],
                includeContext="allServers",
            )
        )
    assert told["content"] == {"type": "text", "text": "Hello"}
    assert (told["model"], told["role"], told["stopReason"]) == ("demo", "assistant", "endTurn")
    ((server, prompt),) = person.prompts
    assert server == "s"
    assert prompt.messages == (Spoken("user", (Text("Say hello."),)),)
    assert (prompt.system, prompt.hints, prompt.max_tokens) == ("Be kind.", ("sonnet",), 50)
    assert (prompt.temperature, prompt.stop) == (0.5, ("END",))
    assert prompt.priorities == {"cost": 0.2, "speed": 0.0}
    assert prompt.tools == ()


CONVERSATION: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "Look."}]},
    {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "ü"}}],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "toolUseId": "c1",
                "content": [{"type": "text", "text": "sky"}],
                "isError": True,
            }
        ],
    },
]
LOOK = {"name": "look", "description": "See", "inputSchema": {"type": "object"}}


@ERAS
async def test_a_model_with_tools_of_the_server(house: House, era: str) -> None:
    call = ToolCall("c2", "look", '{"at": "down"}')
    answer = Sampled(
        model="demo", said=Spoken("assistant", (Text("I look."), call)), stop_reason="toolUse"
    )
    async with Shop().supervisor(house, era) as supervisor:
        person = Person(sampled=answer)
        tools = Toolset(supervisor)
        told = json.loads(await said(tools, "sample", person, messages=CONVERSATION, tools=[LOOK]))
        await said(tools, "sample", person, tools=[LOOK], toolChoice={"mode": "none"})
    assert told["stopReason"] == "toolUse"
    assert told["content"] == [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "c2", "name": "look", "input": {"at": "down"}},
    ]
    assert person.prompts[0][1].tools == (LOOK,)
    assert person.prompts[0][1].messages == (
        Spoken("user", (Text("Look."),)),
        Spoken("assistant", (ToolCall("c1", "look", '{"at":"ü"}'),)),
        Spoken("user", (), (CallResult("c1", (Text("sky"),), is_error=True),)),
    )
    assert person.prompts[1][1].tools == ()


async def test_a_picture_in_a_prompt(house: House) -> None:
    message = {
        "role": "user",
        "content": {"type": "image", "data": "AAAA", "mimeType": "image/png"},
    }
    async with Shop().supervisor(house, OLDER) as supervisor:
        person = Person(sampled=HELLO)
        await said(Toolset(supervisor), "sample", person, messages=[message])
    assert person.prompts[0][1].messages[0].parts == (Image(f"{1:064x}", "image/png"),)
    assert house.blobs == [bytes(3)]


def test_an_answer_without_words_is_an_empty_one() -> None:
    nothing = Sampled(model="demo", said=Spoken("assistant", ()))
    assert sampled_result(nothing, has_tools=False).model_dump()["content"]["text"] == ""
    assert sampled_result(nothing, has_tools=True).model_dump()["content"][0]["text"] == ""


@ERAS
@pytest.mark.parametrize(
    ("fault", "number"),
    [
        (PermissionFault("The user said no.", code="-1"), "-1"),
        (LimitFault("It is enough."), "-32603"),
    ],
)
async def test_a_model_that_is_refused(
    house: House, era: str, fault: PermissionFault, number: str
) -> None:
    async with Shop().supervisor(house, era) as supervisor:
        with pytest.raises(McpFault, match=r"did not run sample: .*(said no|enough)") as caught:
            await said(Toolset(supervisor), "sample", Person(sampled=fault))
    if era == OLDER:  # the server passes the error on
        assert caught.value.failure.code == number


@ERAS
async def test_folders(house: House, era: str) -> None:
    folder = house.root / "a b"
    async with Shop().supervisor(house, era, roots=(str(folder), "~")) as supervisor:
        told = json.loads(await said(Toolset(supervisor), "roots", None))
    assert told[0] == [folder.as_uri(), "a b"]
    assert told[1] == [HOME.as_uri(), HOME.name]


async def test_other_folders_are_told_of_without_a_restart(house: House) -> None:
    shop = Shop()
    async with shop.supervisor(house, OLDER, roots=("/a",)) as supervisor:
        await said(Toolset(supervisor), "roots", None)
        link = shop.link
        settings = ServerSettings(command="unused", protocol_version=OLDER, roots=("/b",))
        await supervisor.reconfigure({"s": settings})
        await until(lambda: shop.roots_changed == 1)
        assert json.loads(await said(Toolset(supervisor), "roots", None)) == [[B.as_uri(), "b"]]
        assert shop.link is link


@ERAS
async def test_progress_and_words_for_people(house: House, era: str) -> None:
    async with Shop().supervisor(house, era) as supervisor:
        person = Person()
        assert await said(Toolset(supervisor), "talks", person) == "done"
        await until(lambda: bool(person.logs) and len(person.steps) == 3)
    assert person.steps == [(0, 2, "step 0"), (1, 2, "step 1"), (2, 2, "step 2")]
    assert person.logs == [("info", '{"a":1}')]


async def test_a_question_is_withdrawn(house: House) -> None:
    async with Shop().supervisor(house, OLDER) as supervisor:
        person = Person()
        person.hold = anyio.Event()
        assert await said(Toolset(supervisor), "withdraws", person) == "never mind"
        await until(lambda: person.withdrawn == 1)


async def test_rounds_have_an_end(house: House) -> None:
    shop = Shop()
    async with shop.supervisor(house, NEWER) as supervisor:
        with pytest.raises(McpFault, match="did not run endless: it asked for more input over 10"):
            await said(Toolset(supervisor), "endless", Person())
    assert len(shop.seen) == 11
    assert [params.request_state for params in shop.seen] == [None, *map(str, range(1, 11))]


# P-08
async def test_pages_are_visited_before_the_call_is_made_again(house: House) -> None:
    shop = Shop()
    async with shop.supervisor(house, OLDER) as supervisor:
        tools = Toolset(supervisor)
        person = Person(Answered(action="accept"), Answered(action="cancel"))
        person.hold = anyio.Event()  # nobody answers whether the visit is done
        gated = await tool_of(tools, "s.gated")
        async with anyio.create_task_group() as tasks:

            async def call() -> None:
                with anyio.fail_after(30):
                    assert text_of((await tools.call(gated, {}, person)).parts) == "in"

            tasks.start_soon(call)
            await until(lambda: len(person.asked) == 2)
            shop.visited = True
            await shop.sessions[-1].send_elicit_complete("other")
            await shop.sessions[-1].send_elicit_complete("g-1")
    assert person.asked[0] == Asked(kind="url", text="Sign in", url=PAGE)
    assert person.asked[1].kind == "form"
    assert "Is the visit to that page done?" in person.asked[1].text
    assert person.withdrawn == 1
    assert len(shop.seen) == 2


async def test_a_person_may_say_that_the_visit_is_done(house: House) -> None:
    shop = Shop()
    async with shop.supervisor(house, OLDER) as supervisor:
        tools = Toolset(supervisor)
        person = Person(Answered(action="accept"))
        with pytest.raises(McpFault, match="-32042"):
            await said(tools, "gated", person)  # it was not, and once more is enough
        assert len(shop.seen) == 2
        accept, decline = Answered(action="accept"), Answered(action="decline")
        for answers in ((decline,), (accept, Answered(action="cancel"))):
            person = Person(*answers)
            with pytest.raises(McpFault, match=r"has to be visited first, https://login\.example"):
                await said(tools, "gated", person)
        with pytest.raises(McpFault, match=r"has to be visited first, https://login\.example"):
            await said(tools, "gated", None)


async def test_a_question_goes_to_the_call_that_somebody_listens_to(house: House) -> None:
    """Over stdio nothing says which call is asked for: a reading that nobody attends is not it."""
    shop = Shop()
    async with shop.supervisor(house, OLDER) as supervisor:
        tools = Toolset(supervisor)
        features = ServerFeatures(supervisor, tools, lambda _: {})
        person = Person()
        asks = await tool_of(tools, "s.asks_later")
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(tools.call, asks, {}, person)
                await until(lambda: bool(shop.seen))
                tasks.start_soon(features.read, "s", "demo://slow")
                await until(lambda: shop.reads == ["demo://slow"])
                shop.held.set()
                await until(lambda: bool(person.asked))
                tasks.cancel_scope.cancel()
        assert person.asked == [Asked(kind="form", text="Which?", form=FORM)]


async def test_over_http_each_question_goes_to_its_own_call(house: House) -> None:
    """Two calls are in flight; the older one is asked, and not the newest is."""
    shop = Shop()
    with running(shop.server().streamable_http_app()) as origin:
        settings = ServerSettings(
            transport="streamable-http", url=f"{origin}/mcp", protocol_version=OLDER
        )
        async with house.supervisor({"s": settings}) as supervisor:
            tools = Toolset(supervisor)
            await tool_of(tools, "s.form")
            asked, silent = Person(), Person()
            asked.hold = anyio.Event()
            with anyio.fail_after(30):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(tools.call, found(tools, "s.waits"), {}, asked)
                    await until(lambda: bool(shop.seen))
                    tasks.start_soon(tools.call, found(tools, "s.waits"), {}, silent)
                    await until(lambda: len(shop.seen) == 2)
                    tasks.start_soon(tools.call, found(tools, "s.form"), {}, asked)
                    await until(lambda: len(shop.seen) == 3)
                    tasks.start_soon(tools.call, found(tools, "s.waits"), {}, silent)
                    await until(lambda: len(shop.seen) == 4 and bool(asked.asked))
                    asked.hold.set()
                    shop.held.set()
            assert (len(asked.asked), silent.asked) == (1, [])
