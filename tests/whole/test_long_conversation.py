"""One long conversation over real servers, and its transcript afterwards."""

import json
import re
import sys
from pathlib import Path

import pytest
from tests.mcp.house import ODD
from tests.stand_ins import node_script
from tests.whole.app import Whole, whole

from patina.model import commands, events
from patina.model.chat import ChatRequest
from patina.model.ids import new_id
from patina.model.items import Answer, Question, Result, Task
from patina.model.settings import ServerSettings
from patina.model.tree import Tree
from patina.providers.scripted import Script, Step, call, say
from patina.store.journal import FileJournal
from patina.views.conversation import rows

pytestmark = pytest.mark.anyio
TASKS = Path(__file__).parent.parent / "mcp/servers/task_server.py"
NEEDLE = "needle-0451"
POLLS = 20


def servers(place: Path) -> dict[str, ServerSettings]:
    """Three servers: forms and resources, tasks of the older era, and a result of 5 MB."""
    everything = node_script("@modelcontextprotocol/server-everything")
    return {
        "everything": ServerSettings(command="node", args=(str(everything), "stdio")),
        "desk": ServerSettings(command=sys.executable, args=(str(TASKS), "2025-11-25", str(place))),
        "odd": ServerSettings(command=sys.executable, args=(str(ODD), "needle", str(place))),
    }


def read_for_needle(request: ChatRequest) -> list[Step]:
    """What a model does that was shown an excerpt: it searches by the handle it was given."""
    said = " ".join(
        part.text
        for message in request.messages
        for answer in message.answers
        for part in answer.parts
        if hasattr(part, "text")
    )
    handle = re.search(r"result:[0-9a-f]{12,}", said)
    assert handle is not None, said[-500:]
    arguments = {"handle": handle[0], "query": NEEDLE}
    return call("patina__search_result", arguments, call_id="c6")


SCRIPT: list[Script] = [
    call("everything__get-sum", {"a": 2, "b": 3}, call_id="c1"),
    call(
        "mcp_read_resource",
        {"server": "everything", "uri": "demo://resource/static/document/features.md"},
        call_id="c2",
    ),
    call("everything__trigger-elicitation-request", {}, call_id="c3"),
    call("desk__works", {"polls": POLLS, "every": 1}, call_id="c4"),
    call("odd__echo", {}, call_id="c5"),
    read_for_needle,
    call("desk__waits", {"polls": 1000, "every": 50}, call_id="c7"),
    say("That is all."),
]


async def walk(run: Whole, conversation: str) -> None:
    """Answer the form, and cancel the call that would never end."""
    run.send(conversation, "Use all of it.")
    asked = await run.until(events.QuestionAsked)
    assert asked.item.asked.kind == "form"
    run.give(asked, name="Ada", check=True, email="ada@example.com")
    await run.until(events.TaskChanged, lambda event: event.item.call_id == "c7")
    run.submit(commands.CancelCall(conversation=conversation, call_id="c7"))
    ended = await run.until(events.TurnEnded)
    assert ended.stop_reason == "stop", ended.error


# C-04, C-05, C-20, C-25
async def test_tools_a_resource_a_form_a_task_and_a_large_result(tmp_path: Path) -> None:
    conversation = new_id()
    (tmp_path / "needle").write_text(NEEDLE)
    async with whole(tmp_path / "home", servers(tmp_path), SCRIPT) as run:
        await walk(run, conversation)
        tree = await run.tree(conversation)
        live = Tree(event.item for event in run.heard if hasattr(event, "item"))
        requests = run.driver.requests
    results = {item.call_id: item for item in tree.path() if isinstance(item, Result)}
    words = {key: _words(item) for key, item in results.items()}
    status = {key: item.status for key, item in results.items()}
    assert status == dict.fromkeys(("c1", "c2", "c3", "c4", "c5", "c6"), "completed") | {
        "c7": "interrupted"
    }
    assert "5" in words["c1"]
    assert "Features" in words["c2"]
    assert "Ada" in words["c3"]
    assert f"{POLLS} polls" in words["c4"]
    assert NEEDLE in words["c6"]
    # The result of 5 MB is in a blob, whole; the model was sent an excerpt with its handle.
    assert max(len(_sent(request)) for request in requests) < 300_000
    blobs = [path for path in (tmp_path / "home/data/blobs").rglob("*") if path.is_file()]
    assert any(NEEDLE.encode() in path.read_bytes() for path in blobs)
    # The transcript, read anew, is the conversation that the events told of.
    journal = FileJournal(tmp_path / "home/data", tmp_path / "home/other-state")
    async with journal:
        replayed = Tree((await journal.read(conversation)).items)
    assert rows(replayed) == rows(tree) == rows(live)
    kinds = {type(item) for item in replayed.path()}
    assert {Question, Answer, Task, Result} <= kinds
    desk = json.loads((tmp_path / "tasks.json").read_text())
    assert desk["t-1"]["polled"] >= POLLS
    assert desk["t-2"]["status"] == "cancelled"


def _words(item: Result) -> str:
    return " ".join(part.text for part in item.parts if hasattr(part, "text"))


def _sent(request: ChatRequest) -> str:
    return str(request.messages) + (request.system or "")
