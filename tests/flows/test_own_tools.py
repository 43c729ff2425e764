"""Patina's own tools: large results read and searched, resources of servers read."""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.flows.harness import World, calls, fake_tools, says, world

from patina.engine import reading
from patina.mcp.fake import FakeTools, Script
from patina.model import commands, events, items
from patina.model.chat import ChatRequest, ModelInfo, ToolOutcome
from patina.model.faults import McpFault
from patina.model.ids import new_id
from patina.model.parts import File, Image, ResultPart, Spoken, Text, Thinking, ToolCall, text_of
from patina.model.settings import PermissionRule, PermissionSettings
from patina.permission.gate import PolicyGate
from patina.ports.dialog import Dialog
from patina.ports.features import Completion, Content, PromptInfo, ResourceInfo, TemplateInfo
from patina.providers.scripted import Step

pytestmark = pytest.mark.anyio

ALLOW = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow"),)))
SEARCH = calls(("c1", "github__search", "{}"))
READERS = ["patina__read_result", "patina__search_result"]
LINES = [f"{number:06d} all is well" for number in range(60_000)]
LINES[41_233] = "041233 the Needle is here"
LOG = "\n".join(LINES)


def giving(*parts: ResultPart) -> Script:
    """A tool that gives `parts`."""
    return lambda _: ToolOutcome(parts)


def handle_in(request: ChatRequest) -> str:
    """The handle that the newest result names."""
    told = text_of(request.messages[-1].answers[-1].parts)
    return "result:" + told.partition("result:")[2][:12]


def answer_of(request: ChatRequest) -> str:
    """The words of the newest result."""
    return text_of(request.messages[-1].answers[-1].parts)


async def asked(result: str, *wanted: tuple[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """What the calls of own tools say of the large `result`: (status, words) each."""
    blob = ""

    def replies(request: ChatRequest) -> list[Step]:
        nonlocal blob
        blob = handle_in(request)
        return calls(
            *(
                (f"r{number}", f"patina__{tool}", json.dumps({"handle": blob, **arguments}))
                for number, (tool, arguments) in enumerate(wanted)
            )
        )

    async with world(SEARCH, tools=fake_tools(giving(Text(result))), gate=ALLOW) as w:
        w.driver.add(replies, says("ok"))
        ended = await w.turn(w.send("go"))
        assert ended.error is None
        given = w.driver.requests[-1].messages[-1].answers
        return [(answer.status, text_of(answer.parts)) for answer in given]


async def test_a_needle_in_a_large_result_is_found_and_read() -> None:
    (_, found), (_, read) = await asked(
        LOG,
        ("search_result", {"query": "needle", "context_lines": 1}),
        ("read_result", {"from_line": 41_234, "count": 2}),
    )
    assert found.split("\n") == [
        "[1 lines have it.]",
        "41233- 041232 all is well",
        "41234: 041233 the Needle is here",
        "41235- 041234 all is well",
    ]
    assert read == (
        "[Lines 41,234 to 41,235 of 60,000. Go on with from_line 41236.]\n"
        "041233 the Needle is here\n041234 all is well"
    )


async def test_a_reading_is_bounded_and_says_where_to_go_on() -> None:
    (_, lines), (_, data), (_, many), (_, end) = await asked(
        LOG,
        ("read_result", {"count": 10_000}),
        ("read_result", {"from_byte": 0}),
        ("search_result", {"query": "well"}),
        ("read_result", {"from_line": 60_000}),
    )
    assert max(map(len, (lines, data, many))) < 17_000
    assert "Go on with from_line" in lines.partition("\n")[0]
    assert "Go on with from_byte 16384." in data
    assert "[59,999 lines have it. 50 follow; go on with from_line 51.]" in many
    assert end.startswith("[Lines 60,000 to 60,000 of 60,000. That is the end.]")


async def test_json_on_one_line_is_told_by_its_shape_and_read_indented() -> None:
    rows = [{"id": number, "name": f"row {number}"} for number in range(20_000)]
    async with world(
        SEARCH, says("ok"), tools=fake_tools(giving(Text(json.dumps(rows)))), gate=ALLOW
    ) as w:
        await w.turn(w.send("go"))
        told = answer_of(w.driver.requests[-1])
    assert "a JSON array of 20,000, the first an object with the keys id, name" in told
    assert "80,002 lines as it is read" in told
    (_, found), _ = await asked(
        json.dumps(rows), ("search_result", {"query": '"row 19"'}), ("read_result", {})
    )
    assert found == '[1 lines have it.]\n80:     "name": "row 19"'


async def test_a_table_is_told_by_its_columns() -> None:
    table = "id,name,price\n" + "1,apple,0.30\n" * 10_000
    async with world(SEARCH, says("ok"), tools=fake_tools(giving(Text(table))), gate=ALLOW) as w:
        await w.turn(w.send("go"))
        assert "a table of 3 columns: id, name, price" in answer_of(w.driver.requests[-1])


async def test_one_endless_line_is_read_by_bytes() -> None:
    text = "ä" * 60_000 + "needle" + "ä" * 60_000
    (_, lines), (_, found), (_, at) = await asked(
        text,
        ("read_result", {}),
        ("search_result", {"query": "needle"}),
        ("read_result", {"from_byte": 119_999, "count": 7}),
    )
    assert lines.startswith("[Line 1 is long, so it is read by bytes.]\n[Bytes 0 to 16,384 of")
    assert "1 (byte 120000): …" in found
    assert at.endswith("\nneedle")  # the half character before it is left out


@given(st.text(max_size=400), st.integers(1, 40))
def test_reading_on_gives_the_whole_text(text: str, count: int) -> None:
    for read, first, word in (
        (reading.bytes_from, 0, "from_byte"),
        (reading.lines_from, 1, "from_line"),
    ):
        pieces: list[str] = []
        place: int | None = first
        while place is not None:
            head, _, piece = read(text, place, count).partition("\n")
            pieces.append(piece)
            on = re.search(rf"{word} (\d+)\.", head)
            place = int(on[1]) if on else None
        assert ("" if word == "from_byte" else "\n").join(pieces) == text


async def test_a_pattern_finds_lines_and_a_wrong_or_endless_one_ends() -> None:
    text = LOG + "\n" + "a" * 60 + "!"
    (_, found), wrong, endless = await asked(
        text,
        ("search_result", {"query": r"^0412\d\d .*is here$", "regex": True}),
        ("search_result", {"query": "(", "regex": True}),
        ("search_result", {"query": "(a+)+$", "regex": True}),
    )
    assert "41234: 041233 the Needle is here" in found
    assert wrong[0] == endless[0] == "failed"
    assert "This is no regular expression" in wrong[1]
    assert "takes too long" in endless[1]


async def test_only_results_of_the_conversation_can_be_read() -> None:
    async with world(SEARCH, says("1"), tools=fake_tools(giving(Text(LOG))), gate=ALLOW) as w:
        await w.turn(w.send("go"))
        handle = handle_in(w.driver.requests[-1])
        read = calls(("r1", "patina__read_result", json.dumps({"handle": handle})))
        w.driver.add(SEARCH, read, says("own"), read, says("other"))
        w.tools.add("github.search", giving(Text("b" * 100_000)))
        await w.turn(w.send("elsewhere"))
        answers = w.driver.requests[-1].messages[-1].answers
        assert answers[0].status == "failed"
        assert "No result of this conversation has the handle" in text_of(answers[0].parts)


async def test_the_readers_are_offered_when_there_is_something_to_read() -> None:  # A-25, C-08
    async with world(SEARCH, says("1"), tools=fake_tools(giving(Text(LOG))), gate=ALLOW) as w:
        conversation = w.send("go")
        await w.turn(conversation)
        before, after = w.driver.requests
        names = [tool.name for tool in before.tools]
        assert [tool.name for tool in after.tools] == [*names, *READERS]
        assert "patina.read_result" not in before.system
        assert "- patina.read_result: Read a part" in after.system
        assert after.system.startswith(before.system)
        w.driver.add(says("2"), says("3"))
        w.send("more", conversation)
        await w.turn(conversation)
        assert w.driver.requests[-1].tools == after.tools
        assert w.driver.requests[-1].system == after.system
        assert w.driver.requests[-1].messages[: len(after.messages)] == after.messages
        w.send("without", conversation, servers=())
        await w.turn(conversation)
        without = w.driver.requests[-1]
        assert without.tools == ()
        assert "read_result" not in text_of(without.messages[2].answers[0].parts)


@pytest.mark.parametrize(
    ("rules", "rule", "status"),
    [
        ((), "built-in", "completed"),
        ((PermissionRule(action="ask"),), "built-in", "completed"),
        (
            (PermissionRule(action="deny", server="patina"),),
            "permissions.rules[778c41fa]",
            "denied",
        ),
    ],
)
async def test_a_reader_is_never_asked_about(
    rules: tuple[PermissionRule, ...], rule: str, status: str
) -> None:
    gate = PolicyGate(PermissionSettings(rules=rules))

    def reading(request: ChatRequest) -> list[Step]:
        arguments = json.dumps({"handle": handle_in(request)})
        return calls(("r1", "patina__read_result", arguments))

    async with world(SEARCH, tools=fake_tools(giving(Text(LOG))), gate=gate) as w:
        w.driver.add(reading, says("ok"))
        conversation = w.send("go")
        w.answer(await w.until(events.PermissionAsked), "allow_once")
        await w.turn(conversation)
        decided = [e.item.rule for e in w.seen if isinstance(e, events.PermissionDecided)]
        assert decided == ["user", rule]
        assert w.driver.requests[-1].messages[-1].answers[0].status == status


def shots(world: World) -> FakeTools:
    """Tools of which one takes screenshots, each of half a megabyte and unlike the others."""
    taken = 0

    async def shoot(_: Mapping[str, Any]) -> ToolOutcome:
        nonlocal taken
        taken += 1
        data = bytes([taken]) * 500_000
        return ToolOutcome((Image(await world.services.journal.put_blob(data), "image/png"),))

    world.tools.add("screen.shoot", shoot)
    return world.tools


def media_of(request: ChatRequest) -> list[Image | File]:
    return [
        part
        for message in request.messages
        for answer in message.answers
        for part in answer.parts
        if isinstance(part, Image | File)
    ]


async def test_a_result_of_1_mb_and_ten_screenshots_fit_and_nothing_is_lost() -> None:
    text = LOG.ljust(1_050_000, ".")
    window = 40_000
    infos = {"fake/one": ModelInfo("fake", "one", context_window=window, images=True)}
    async with world(tools=fake_tools(giving(Text(text))), gate=ALLOW, infos=infos) as w:
        shots(w)
        shoot = calls(*((f"s{number}", "screen__shoot", "{}") for number in range(10)))

        def seek(request: ChatRequest) -> list[Step]:
            arguments = json.dumps({"handle": handle_in(request), "query": "needle"})
            return calls(("n1", "patina__search_result", arguments))

        w.driver.add(shoot, SEARCH, seek, says("Found."))
        conversation = w.send("go")
        ended = await w.turn(conversation)
        assert ended.error is None
        assert "41234: 041233 the Needle is here" in answer_of(w.driver.requests[-1])
        assert len(media_of(w.driver.requests[-1])) == 10
        results = [
            item for item in (await w.tree(conversation)).path() if isinstance(item, items.Result)
        ]
        whole = await w.services.journal.get_blob(str(results[10].parts[0].blob))
        assert whole.decode() == text


@pytest.mark.parametrize(("window", "most"), [(None, 16), (40_000, 12), (8_000, 2)])
async def test_of_many_pictures_the_newest_are_sent(window: int | None, most: int) -> None:
    infos = {"fake/one": ModelInfo("fake", "one", context_window=window, images=True)}
    async with world(tools=fake_tools(), gate=ALLOW, infos=infos) as w:
        shots(w)
        for number in range(24):
            w.driver.add(calls((f"s{number}", "screen__shoot", "{}")))

        def again(request: ChatRequest) -> list[Step]:
            told = text_of(request.messages[2].answers[0].parts)
            assert "[image image/png" in told
            handle = "result:" + told.partition("result:")[2][:12]
            return calls(("r1", "patina__read_result", json.dumps({"handle": handle})))

        w.driver.add(again, says("ok"))
        conversation = w.send("go", max_replies=40)
        assert (await w.turn(conversation)).error is None
        requests = w.driver.requests
        counts = [len(media_of(request)) for request in requests]
        assert max(counts) <= most
        assert counts[-1] >= 1
        first = next(part for part in requests[1].messages[2].answers[0].parts)
        assert requests[-1].messages[-1].answers[0].parts == (first,)  # it was seen again
        # They are left out some at a time: in between, what was sent before stays as it was.
        same = sum(
            after.messages[: len(before.messages)] == before.messages
            for before, after in pairwise(requests)
        )
        assert most < 5 or same >= len(requests) // 2


async def test_bytes_of_a_picture_in_a_text_beside_it_are_not_sent() -> None:
    data = bytes(range(256)) * 20
    words = json.dumps({"kind": "png", "data": b64encode(data).decode(), "note": "done"})

    async def search(_: Mapping[str, Any]) -> ToolOutcome:
        blob = await w.services.journal.put_blob(data)
        return ToolOutcome((Image(blob, "image/png"), Text(words)))

    async with world(SEARCH, says("ok"), tools=fake_tools(search), gate=ALLOW) as w:
        await w.turn(w.send("go"))
        told = answer_of(w.driver.requests[-1])
        assert json.loads(told) == {"kind": "png", "data": "[the same picture]", "note": "done"}


async def test_a_large_result_is_summarised_by_its_excerpt() -> None:
    async with world(SEARCH, says("1"), tools=fake_tools(giving(Text(LOG))), gate=ALLOW) as w:
        conversation = w.send("go")
        await w.turn(conversation)
        w.driver.add(says("2"), says("A log was read."), says("3"))
        w.send("next", conversation)
        await w.turn(conversation)
        w.engine.submit(commands.SummariseConversation(conversation=conversation))
        await w.until(events.NoteAdded)
        told = text_of(w.driver.requests[-1].messages[0].parts)
        assert "000000 all is well" in told
        assert len(told) < 6_000
        w.send("on", conversation)
        await w.turn(conversation)
        assert [tool.name for tool in w.driver.requests[-1].tools][-2:] == READERS


class Library:
    """`ports.features.Features` of one server that has two resources and a template."""

    def __init__(self, count: int = 2) -> None:
        self.read_uris: list[str] = []
        self.blob = ""
        self._count = count

    async def resources(
        self, servers: tuple[str, ...] | None, *, refresh: bool = False
    ) -> tuple[ResourceInfo, ...]:
        return tuple(
            ResourceInfo(
                server="docs",
                uri=f"doc://{number}",
                name=f"Page {number}",
                description="One\npage",
            )
            for number in range(1, self._count + 1)
        )

    async def templates(
        self, servers: tuple[str, ...] | None, *, refresh: bool = False
    ) -> tuple[TemplateInfo, ...]:
        return (TemplateInfo(server="docs", template="doc://{page}", name="Any page"),)

    async def prompts(
        self, servers: tuple[str, ...] | None, *, refresh: bool = False
    ) -> tuple[PromptInfo, ...]:
        return ()

    async def read(
        self, server: str, uri: str, dialog: Dialog | None = None
    ) -> tuple[Content, ...]:
        self.read_uris.append(uri)
        if uri == "doc://9":
            raise McpFault("Server docs has no such page.")
        return (
            Content(uri=uri, part=Text("A page.")),
            Content(uri=f"{uri}#2", part=File(self.blob, "application/zip", "page.zip")),
        )

    async def prompt(
        self, server: str, name: str, arguments: dict[str, str], dialog: Dialog | None = None
    ) -> tuple[Spoken, ...]:
        raise McpFault("There are no prompts.")

    async def complete(
        self,
        server: str,
        *,
        argument: str,
        value: str,
        prompt: str = "",
        template: str = "",
        known: dict[str, str] | None = None,
    ) -> Completion:
        return Completion()

    async def subscribe(self, server: str, uri: str) -> None: ...

    async def unsubscribe(self, server: str, uri: str) -> None: ...

    def costs(self) -> dict[str, int]:
        return {}


def read_page(number: int, server: str = "docs") -> list[Step]:
    arguments = json.dumps({"server": server, "uri": f"doc://{number}"})
    return calls(("c1", "mcp_read_resource", arguments))


async def test_a_resource_is_listed_and_read_as_its_server() -> None:  # C-25, C-17
    library = Library()
    async with world(read_page(1), says("ok"), features=library) as w:
        library.blob = await w.services.journal.put_blob(b"PK\xff")
        conversation = w.send("go")
        question = await w.until(events.PermissionAsked)
        assert (question.item.server, question.item.tool) == ("docs", "mcp_read_resource")
        w.answer(question, "allow_session")
        await w.turn(conversation)
        first, second = w.driver.requests
        assert [tool.name for tool in first.tools] == ["mcp_read_resource"]
        assert first.system.endswith(
            "\n\nAvailable resources:\n- docs: doc://1 — Page 1: One page\n"
            "- docs: doc://2 — Page 2: One page\n\nTemplates of resources:\n"
            "- docs: doc://{page} — Any page"
        )
        call = second.messages[1].parts[0]
        assert isinstance(call, ToolCall)
        assert call.name == "mcp_read_resource"
        assert json.loads(call.arguments) == {"server": "docs", "uri": "doc://1"}
        assert second.messages[2].answers[0].parts == (
            Text("[doc://1]"),
            Text("A page."),
            Text("[doc://1#2]"),
            File(library.blob, "application/zip", "page.zip"),
        )
        kept = [type(i).__name__ for i in (await w.tree(conversation)).path()]
        assert kept == ["Message", "Message", "Ask", "Decision", "Call", "Result", "Message"]
        started = next(e for e in w.seen if isinstance(e, events.ToolStarted))
        assert started.text == "Using docs.mcp_read_resource..."
        w.driver.add(read_page(2), says("ok"), read_page(9), says("ok"))
        w.send("again", conversation)
        await w.turn(conversation)
        w.send("wrong", conversation)
        await w.turn(conversation)
        assert library.read_uris == ["doc://1", "doc://2", "doc://9"]
        assert "no such page" in answer_of(w.driver.requests[-1])


async def test_rules_hold_for_the_resources_of_one_server() -> None:
    deny = PermissionRule(action="deny", server="docs", tool="mcp_read_*")
    gate = PolicyGate(PermissionSettings(default="reads", rules=(deny,)))
    for policy, status in (
        (gate, "denied"),
        (PolicyGate(PermissionSettings(default="reads")), "completed"),
    ):
        async with world(read_page(1), says("ok"), features=Library(), gate=policy) as w:
            await w.turn(w.send("go"))
            assert w.driver.requests[-1].messages[-1].answers[0].status == status


async def test_a_server_without_resources_is_named() -> None:
    async with world(read_page(1, "nobody"), says("ok"), features=Library()) as w:
        await w.turn(w.send("go"))
        told = answer_of(w.driver.requests[-1])
        assert "No server 'nobody' offers resources. Those that do: docs." in told


async def test_the_list_of_resources_is_bounded() -> None:
    async with world(says("ok"), features=Library(500)) as w:
        await w.turn(w.send("go"))
        system = w.driver.requests[-1].system
        assert system.count("- docs: doc://") == 51
        assert "- and 450 more" in system


async def test_without_tools_nothing_is_said_of_resources() -> None:  # C-08, A-25
    async with world(says("ok"), features=Library()) as w:
        await w.turn(w.send("go", servers=()))
        request = w.driver.requests[-1]
        assert request.system == w.services.chat.system
        assert request.tools == ()


async def test_what_comes_before_a_message_is_written_as_messages() -> None:  # C-23
    before = (
        Spoken("user", (Text("Show me."),)),
        Spoken("assistant", (Thinking("hm"), Text("Gladly."), ToolCall("c1", "a.b"))),
    )
    async with world(says("ok"), says("two")) as w:
        conversation = new_id()
        command = commands.SendMessage(
            conversation=conversation, message_id=new_id(), parts=(Text("Go on."),), before=before
        )
        w.engine.submit(command)
        await w.turn(conversation)
        told = [(m.role, text_of(m.parts)) for m in w.driver.requests[0].messages]
        assert told == [("user", "Show me."), ("assistant", "Gladly."), ("user", "Go on.")]
        path = (await w.tree(conversation)).path()
        assert [item.parent for item in path] == [None, *(item.id for item in path[:-1])]
        assert path[2].id == command.message_id
        assert isinstance(path[1], items.Message)
        assert (path[1].provider, path[1].model, path[1].parts) == ("", "", (Text("Gladly."),))
        w.engine.submit(command)
        await w.until(events.CommandFailed)
        assert len((await w.tree(conversation)).path()) == 4
