"""The reference server: all that it offers and asks, over both transports it has."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.mcp.house import House, until
from tests.mcp.shop import Person
from tests.stand_ins import everything, node_script

from patina.mcp.features import ServerFeatures
from patina.mcp.toolset import Toolset
from patina.model.parts import File, Image, Spoken, Text, text_of
from patina.model.questions import Answered, Sampled
from patina.model.settings import ServerSettings
from patina.ports.features import Completion

pytestmark = pytest.mark.anyio
WORDS = "demo://resource/dynamic/text/7"
BYTES = "demo://resource/dynamic/blob/7"
PAGE = "https://example.com/sign-in"


@contextmanager
def settings(transport: str, root: Path) -> Iterator[ServerSettings]:
    if transport == "stdio":
        script = node_script("@modelcontextprotocol/server-everything")
        yield ServerSettings(command="node", args=(script, "stdio"), roots=(str(root),))
        return
    with everything("streamable-http") as url:
        yield ServerSettings(transport="streamable-http", url=url, roots=(str(root),))


async def call(tools: Toolset, name: str, person: Person, **arguments: Any) -> str:
    await until(lambda: tools.find(f"e.{name}") is not None)
    tool = tools.find(f"e.{name}")
    assert tool is not None
    with anyio.fail_after(30):
        return text_of((await tools.call(tool, arguments, person)).parts)


@pytest.mark.parametrize("transport", ["stdio", "streamable-http"])
async def test_all_it_has(house: House, transport: str) -> None:
    heard: list[tuple[str, str]] = []
    with settings(transport, house.root) as server:
        async with house.supervisor(
            {"e": server}, on_resource=lambda name, uri: heard.append((name, uri))
        ) as supervisor:
            tools = Toolset(supervisor)
            features = ServerFeatures(supervisor, tools, lambda _: {})
            await supervisor.connect("e")
            # It offers the tools that ask back only once it knows what the client can do.
            with anyio.fail_after(20):
                while len(await tools.list(None)) < 17:
                    with anyio.move_on_after(0.05):
                        await anyio.Event().wait()
            await reads(features)
            await prompts(features)
            await tells_and_asks(tools, house.root)
            await sends_to_a_page(tools)
            await features.subscribe("e", WORDS)
            await call(tools, "toggle-subscriber-updates", Person())
            await until(lambda: ("e", WORDS) in heard, 20)
            await features.unsubscribe("e", WORDS)


async def reads(features: ServerFeatures) -> None:
    resources = await features.resources(("e",))
    assert len(resources) == 7
    (document,) = await features.read("e", resources[0].uri)
    assert isinstance(document.part, Text)
    assert document.media_type == "text/markdown"
    assert [one.arguments for one in await features.templates(("e",))] == [("resourceId",)] * 2
    (words,) = await features.read("e", WORDS)
    assert "Resource 7: This is a plaintext resource" in text_of((words.part,))
    (content,) = await features.read("e", BYTES)
    assert isinstance(content.part, File | Text)


async def prompts(features: ServerFeatures) -> None:
    offered = {prompt.name: prompt for prompt in await features.prompts(("e",))}
    assert set(offered) == {"simple-prompt", "args-prompt", "completable-prompt", "resource-prompt"}
    assert [one.required for one in offered["args-prompt"].arguments] == [True, False]
    assert await features.prompt("e", "args-prompt", {"city": "Rome"}) == (
        Spoken("user", (Text("What's weather in Rome?"),)),
    )
    told = await features.prompt(
        "e", "resource-prompt", {"resourceType": "Text", "resourceId": "1"}
    )
    assert "demo://resource/dynamic/text/1" in text_of(told[1].parts)
    department = await features.complete(
        "e", argument="department", value="E", prompt="completable-prompt"
    )
    assert department == Completion(values=("Engineering",), total=1)
    name = await features.complete(
        "e",
        argument="name",
        value="A",
        prompt="completable-prompt",
        known={"department": "Engineering"},
    )
    assert name.values == ("Alice",)


async def tells_and_asks(tools: Toolset, root: Path) -> None:
    answer = Sampled(model="demo", said=Spoken("assistant", (Text("a model's words"),)))
    person = Person(Answered(action="accept", content={"name": "Ada"}), sampled=answer)
    said = await call(tools, "trigger-sampling-request", person, prompt="p", maxTokens=10)
    assert "a model's words" in said
    assert person.prompts[0][1].max_tokens == 10
    said = await call(tools, "trigger-elicitation-request", person)
    assert "Name: Ada" in said
    assert len(person.asked[0].form["properties"]) >= 13
    no = Person(Answered(action="decline"))
    assert "declined" in await call(tools, "trigger-elicitation-request", no)
    assert root.as_uri() in await call(tools, "get-roots-list", person)
    await call(tools, "trigger-long-running-operation", person, duration=1, steps=4)
    assert [(done, total) for done, total, _ in person.steps] == [(n, 4) for n in (1, 2, 3, 4)]
    pictured = tools.find("e.get-annotated-message")
    assert pictured is not None
    parts = (await tools.call(pictured, {"messageType": "error", "includeImage": True})).parts
    assert isinstance(parts[1], Image)
    await call(tools, "toggle-simulated-logging", person)


async def sends_to_a_page(tools: Toolset) -> None:
    page = {"url": PAGE, "message": "Sign in", "elicitationId": "e-1"}
    person = Person(Answered(action="accept"))
    said = await call(tools, "trigger-url-elicitation", person, **page, errorPath=False)
    assert "accept" in said.lower()
    assert (person.asked[0].kind, person.asked[0].url) == ("url", PAGE)
