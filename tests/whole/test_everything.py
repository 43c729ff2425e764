"""All that server-everything has, in one conversation, over stdio and over Streamable HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.stand_ins import everything, node_script
from tests.whole.app import Whole, whole

from patina.model import events
from patina.model.ids import new_id
from patina.model.items import Question, Result, Task
from patina.model.parts import Image
from patina.model.settings import ServerSettings
from patina.providers.scripted import Script, call, say

pytestmark = pytest.mark.anyio
PAGE = "https://example.com/sign-in"
HELLO = "data:text/plain;base64,aGVsbG8="
# Every tool that it has for a client with all abilities -> arguments, and words of the result.
TOOLS: dict[str, tuple[dict[str, Any], str]] = {
    "echo": ({"message": "green"}, "green"),
    "get-annotated-message": ({"messageType": "error"}, "rror"),
    "get-env": ({}, "PATH"),
    "get-resource-links": ({"count": 2}, "demo://resource/dynamic"),
    "get-resource-reference": ({"resourceType": "Text", "resourceId": 1}, "demo://resource"),
    "get-roots-list": ({}, "granted"),
    "get-structured-content": ({"location": "Chicago"}, "temperature"),
    "get-sum": ({"a": 40, "b": 2}, "42"),
    "get-tiny-image": ({}, "MCP"),
    "gzip-file-as-resource": ({"data": HELLO, "outputType": "resourceLink"}, "gz"),
    "simulate-research-query": ({"topic": "patina", "ambiguous": True}, "patina"),
    "toggle-simulated-logging": ({}, "logging"),
    "toggle-subscriber-updates": ({}, "updates"),
    "trigger-elicitation-request": ({}, "Ada"),
    "trigger-long-running-operation": ({"duration": 0.4, "steps": 4}, "4"),
    "trigger-sampling-request": ({"prompt": "hi", "maxTokens": 20}, "a small answer"),
    "trigger-url-elicitation": ({"url": PAGE}, "accept"),
}


@pytest.fixture(params=["stdio", "streamable-http"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerSettings]:
    granted = tmp_path / "granted"
    granted.mkdir()
    more: dict[str, Any] = {"sampling": "allow", "roots": (str(granted),)}
    if request.param == "stdio":
        script = node_script("@modelcontextprotocol/server-everything")
        yield ServerSettings(command="node", args=(str(script), "stdio"), **more)
        return
    with everything("streamable-http") as url:
        yield ServerSettings(transport="streamable-http", url=url, **more)


def script() -> list[Script]:
    steps: list[Script] = []
    for name, (arguments, _) in TOOLS.items():
        steps.append(call(f"everything__{name}", arguments, call_id=name))
        if name == "trigger-sampling-request":
            steps.append(say("a small answer"))  # the server's own request to the model
    return [*steps, say("That is all.")]


async def answer_all(run: Whole) -> None:
    while True:
        event = await run.until(events.Event, _stops)
        if isinstance(event, events.TurnEnded):
            assert event.stop_reason == "stop", event.error
            return
        assert isinstance(event, events.QuestionAsked)
        if event.item.asked.kind == "url":
            assert event.item.asked.host == "example.com"
            run.give(event)
        elif "name" in event.item.asked.form.get("properties", {}):
            run.give(event, name="Ada", check=True)
        else:
            run.give(event, **_first_choice(event.item.asked.form))


def _stops(event: events.Event) -> bool:
    return isinstance(event, events.QuestionAsked | events.TurnEnded)


def _first_choice(form: dict[str, Any]) -> dict[str, Any]:
    (name, field), *_ = form["properties"].items()
    options = field.get("enum") or [one["const"] for one in field.get("oneOf", ())]
    return {name: options[0] if options else "patina on bronze"}


# C-01, C-04, M-08
async def test_every_tool(server: ServerSettings, tmp_path: Path) -> None:
    conversation = new_id()
    async with whole(tmp_path / "home", {"everything": server}, script()) as run:
        offered = {tool.tool for tool in await run.app.tools.list(None)}
        assert offered == set(TOOLS)
        run.send(conversation, "Use every tool.")
        await answer_all(run)
        tree = await run.tree(conversation)
    path = tree.path()
    results = {item.call_id: item for item in path if isinstance(item, Result)}
    for name, (_, words) in TOOLS.items():
        said = " ".join(getattr(part, "text", "") for part in results[name].parts)
        assert results[name].status == "completed", (name, said)
        assert words in said, (name, said)
    assert any(isinstance(part, Image) for part in results["get-tiny-image"].parts)
    asked = [item.asked.kind for item in path if isinstance(item, Question)]
    assert sorted(asked) == ["form", "form", "url"]
    states = [item.state.status for item in path if isinstance(item, Task)]
    assert states[-1] == "completed"
    assert "working" in states
    progress = [event for event in run.heard if isinstance(event, events.ToolProgress)]
    assert {event.call_id for event in progress} >= {"trigger-long-running-operation"}


# C-03, C-25, M-08
async def test_resources_templates_prompts_and_completion(
    server: ServerSettings, tmp_path: Path
) -> None:
    async with whole(tmp_path / "home", {"everything": server}, ()) as run:
        features = run.app.features
        resources = await features.resources(("everything",), refresh=True)
        assert len(resources) == 7
        for resource in resources:
            (content,) = await features.read("everything", resource.uri)
            assert content.media_type == "text/markdown"
        templates = {one.template: one for one in await features.templates(("everything",))}
        for template, found in templates.items():
            assert found.arguments == ("resourceId",)
            uri = template.replace("{resourceId}", "7")
            (content,) = await features.read("everything", uri)
            assert content.uri == uri
        prompts = {prompt.name: prompt for prompt in await features.prompts(("everything",))}
        given = {
            "simple-prompt": {},
            "args-prompt": {"city": "Basel"},
            "completable-prompt": {"department": "Engineering", "name": "Alice"},
            "resource-prompt": {"resourceType": "Text", "resourceId": "1"},
        }
        assert set(prompts) == set(given)
        for name, arguments in given.items():
            said = await features.prompt("everything", name, arguments)
            assert said[-1].parts, name
        completed = await features.complete(
            "everything", prompt="completable-prompt", argument="department", value="E"
        )
        assert "Engineering" in completed.values
        uri = resources[0].uri
        await features.subscribe("everything", uri)
        tool = next(
            tool
            for tool in await run.app.tools.list(None)
            if tool.tool == "toggle-subscriber-updates"
        )
        await run.app.tools.call(tool, {})
        changed = await run.until(events.ResourceChanged)
        assert (changed.server, changed.uri) == ("everything", uri)
        await features.unsubscribe("everything", uri)
