"""The gate in the turn: questions put together, any front end answers, nothing runs without."""

from collections.abc import Mapping
from typing import Any

import anyio
import msgspec
import pytest
from tests.flows.harness import QUERY, World, calls, fake_tools, says, world

from patina.mcp.fake import FakeTools
from patina.model import commands, events, items
from patina.model.chat import ToolOutcome
from patina.model.faults import ConfigFault, StoreFault
from patina.model.ids import new_id
from patina.model.parts import Text, text_of
from patina.model.settings import PermissionRule, PermissionSettings, ServerSettings
from patina.permission.gate import PolicyGate
from patina.ports.journal import Appended
from patina.ports.permission import Case, Verdict
from patina.store.memory import MemoryJournal
from patina.views.permission import question_view

pytestmark = pytest.mark.anyio

ALLOW = PermissionRule(action="allow")
ONE = calls(("c1", "github__search", '{"query":"a"}'))
THREE = calls(*((f"c{n}", "github__search", f'{{"query":"{n}"}}') for n in range(3)))


class Rules:
    """`ports.permission.RuleWriter` into a list and the gate; `broken` refuses."""

    def __init__(self, *, broken: bool = False) -> None:
        self.gate = PolicyGate(PermissionSettings())
        self.written: list[PermissionRule] = []
        self.broken = broken

    async def write(self, rule: PermissionRule) -> str:
        if self.broken:
            raise ConfigFault("config.toml cannot be written.", hint="Make space.")
        self.written.append(rule)
        settings = PermissionSettings(rules=tuple(self.written))
        self.gate.policy = msgspec.structs.replace(self.gate.policy, settings=settings)
        return "rule"


class Watching:
    """A gate that notes what it was asked."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.gate = PolicyGate(PermissionSettings(rules=(ALLOW,)))

    def decide(self, case: Case) -> Verdict:
        self.cases.append(case)
        return self.gate.decide(case)


async def asked(w: World, count: int) -> list[events.PermissionAsked]:
    return [await w.until(events.PermissionAsked) for _ in range(count)]


def told(w: World) -> list[str]:
    """What the model was told of its calls, in its newest request."""
    return [text_of(answer.parts) for answer in w.driver.requests[-1].messages[-1].answers]


async def test_calls_of_one_server_are_asked_about_together() -> None:
    async with world(THREE, says("ok"), tools=fake_tools()) as w:
        conversation = w.send("go")
        questions = await asked(w, 3)
        first = questions[0].item
        assert {question.item.batch for question in questions} == {first.id}
        together = [question.item for question in questions]
        views = [question_view(one, together) for one in together]
        assert [(view.position, view.count) for view in views] == [(1, 3), (2, 3), (3, 3)]
        path = (await w.tree(conversation)).path()  # all on disk, none answered
        assert [item for item in path if isinstance(item, items.Ask)] == together
        w.answer(questions[2], "allow_once")
        w.answer(questions[1], "deny")
        w.answer(questions[0], "allow_once")
        await w.turn(conversation)
        decided = [e.item.call_id for e in w.seen if isinstance(e, events.PermissionDecided)]
        assert sorted(decided) == ["c0", "c1", "c2"]
        assert told(w) == [
            "results for 0",
            "The user denied this call of github.search.",
            "results for 2",
        ]


async def test_each_servers_questions_are_a_batch_of_their_own() -> None:
    tools = fake_tools()
    tools.add("files.read", lambda _: "text")
    wanted = calls(
        ("c1", "github__search", "{}"), ("c2", "files__read", "{}"), ("c3", "github__delete", "{}")
    )
    async with world(wanted, says("ok"), tools=tools) as w:
        w.send("go")
        batches = [question.item.batch for question in await asked(w, 3)]
        assert batches[0] == batches[2] != batches[1]


async def test_results_are_told_in_the_order_of_the_calls_whatever_ended_first() -> None:
    ended = [anyio.Event() for _ in range(4)]
    ended[3].set()

    async def search(arguments: Mapping[str, Any]) -> ToolOutcome:
        number = int(arguments["query"])
        await ended[number + 1].wait()  # the last one ends first
        ended[number].set()
        return ToolOutcome((Text(str(number)),))

    gate = PolicyGate(PermissionSettings(rules=(ALLOW,)))
    async with world(THREE, says("ok"), tools=fake_tools(search), gate=gate) as w:
        conversation = w.send("go")
        await w.turn(conversation)
        finished = [e.item.call_id for e in w.seen if isinstance(e, events.ToolFinished)]
        assert finished == ["c2", "c1", "c0"]
        assert told(w) == ["0", "1", "2"]


async def test_the_order_on_disk_is_question_decision_call_result() -> None:
    async with world(THREE, says("ok"), tools=fake_tools()) as w:
        conversation = w.send("go")
        for question in await asked(w, 3):
            w.answer(question, "allow_once")
        await w.turn(conversation)
        path = (await w.tree(conversation)).path()
        for call_id in ("c0", "c1", "c2"):
            own = [type(i).__name__ for i in path if getattr(i, "call_id", None) == call_id]
            assert own == ["Ask", "Decision", "Call", "Result"]


async def test_a_grant_for_the_session_answers_the_others_of_the_batch() -> None:
    async with world(THREE, says("ok"), tools=fake_tools()) as w:
        conversation = w.send("go")
        questions = await asked(w, 3)
        w.answer(questions[1], "allow_session")
        await w.turn(conversation)
        decided = [e.item for e in w.seen if isinstance(e, events.PermissionDecided)]
        assert [item.rule for item in decided] == ["user", "session", "session"]
        assert {item.ask for item in decided} == {question.item.id for question in questions}
        assert len(w.tools.calls) == 3
        w.answer(questions[0], "deny")
        assert (await w.until(events.CommandFailed)).ref == questions[0].item.id


async def test_a_grant_for_the_session_is_of_one_definition() -> None:
    tools = fake_tools()
    tools.add("github.search", lambda _: "1", schema=QUERY, digest="old")
    async with world(ONE, says("1"), ONE, says("2"), ONE, tools=tools) as w:
        conversation = w.send("go")
        w.answer(await w.until(events.PermissionAsked), "allow_session")
        await w.turn(conversation)
        w.send("again", conversation)
        await w.turn(conversation)
        assert len(w.tools.calls) == 2
        tools.add("github.search", lambda _: "2", schema=QUERY, digest="new")
        w.send("and again", conversation)
        await w.until(events.PermissionAsked)


async def test_always_writes_the_rule_that_was_chosen() -> None:
    rules = Rules()
    async with world(THREE, says("ok"), tools=fake_tools(), gate=rules.gate, rules=rules) as w:
        conversation = w.send("go")
        questions = await asked(w, 3)
        narrow, tool, *_ = questions[0].item.offers
        assert (narrow.args, tool.args) == ({"query": "0"}, {})
        until = msgspec.structs.replace(tool, expires="2026-12-31")
        w.answer(questions[0], "allow_always", rule=until)
        await w.turn(conversation)
        assert rules.written == [until]
        decided = [e.item for e in w.seen if isinstance(e, events.PermissionDecided)]
        assert (decided[0].choice, decided[0].rule, decided[0].wrote) == (
            "allow_always",
            "user",
            until,
        )
        assert decided[1].rule == decided[2].rule != "user"  # the new rule answered them
        assert len(w.tools.calls) == 3


async def test_always_without_a_rule_takes_the_narrowest() -> None:
    rules = Rules()
    async with world(ONE, says("ok"), tools=fake_tools(), gate=rules.gate, rules=rules) as w:
        conversation = w.send("go")
        question = await w.until(events.PermissionAsked)
        w.answer(question, "allow_always")
        await w.turn(conversation)
        assert rules.written == [question.item.offers[0]]


@pytest.mark.parametrize(
    "rule",
    [
        PermissionRule(action="allow"),
        PermissionRule(action="deny", server="github", tool="search"),
        PermissionRule(action="allow", server="github", expires="tomorrow"),
        PermissionRule(action="allow", server="github", expires="20261231"),
    ],
)
async def test_a_rule_that_was_not_offered_is_refused(rule: PermissionRule) -> None:
    rules = Rules()
    async with world(ONE, says("ok"), tools=fake_tools(), gate=rules.gate, rules=rules) as w:
        conversation = w.send("go")
        question = await w.until(events.PermissionAsked)
        w.answer(question, "allow_always", rule=rule)
        assert (await w.until(events.CommandFailed)).ref == question.item.id
        w.answer(question, "deny")  # it is open still
        await w.turn(conversation)
        assert rules.written == []
        assert w.tools.calls == []


async def test_a_rule_that_cannot_be_kept_allows_this_once() -> None:
    rules = Rules(broken=True)
    async with world(ONE, says("ok"), tools=fake_tools(), gate=rules.gate, rules=rules) as w:
        conversation = w.send("go")
        w.answer(await w.until(events.PermissionAsked), "allow_always")
        note = await w.until(events.NoteAdded)
        assert "config.toml cannot be written." in note.item.text
        decided = await w.until(events.PermissionDecided)
        assert (decided.item.choice, decided.item.wrote) == ("allow_once", None)
        assert (await w.turn(conversation)).stop_reason == "stop"


async def test_always_is_no_choice_where_nobody_keeps_rules() -> None:
    async with world(ONE, says("ok"), tools=fake_tools()) as w:
        w.send("go")
        question = await w.until(events.PermissionAsked)
        assert question.item.options == ("allow_once", "allow_session", "deny")
        assert question.item.offers == ()


async def test_edited_arguments_are_run_and_told_to_the_model() -> None:
    async with world(ONE, says("ok"), tools=fake_tools()) as w:
        conversation = w.send("go")
        question = await w.until(events.PermissionAsked)
        w.answer(question, "allow_once", arguments='{"query":"b"}')
        await w.turn(conversation)
        assert w.tools.calls == [("github.search", {"query": "b"})]
        path = (await w.tree(conversation)).path()
        decision = next(item for item in path if isinstance(item, items.Decision))
        call = next(item for item in path if isinstance(item, items.Call))
        assert decision.arguments == call.arguments == '{"query":"b"}'
        said = w.driver.requests[-1].messages[-2].parts[0]
        assert said.arguments == '{"query":"a"}'  # type: ignore[union-attr]
        assert told(w) == [
            '[The user changed the arguments to {"query":"b"}]\nresults for b',
        ]


@pytest.mark.parametrize("arguments", ['{"query":1}', "[]", '{"query":', '{"query":"secret"}'])
async def test_edited_arguments_that_may_not_be_run_leave_the_question_open(
    arguments: str,
) -> None:
    deny = PermissionRule(action="deny", args={"query": "secret"})
    gate = PolicyGate(PermissionSettings(rules=(deny,)))
    async with world(ONE, says("ok"), tools=fake_tools(), gate=gate) as w:
        conversation = w.send("go")
        question = await w.until(events.PermissionAsked)
        w.answer(question, "allow_session", arguments=arguments)
        failed = await w.until(events.CommandFailed)
        assert failed.ref == question.item.id
        assert "still open" in failed.error.hint
        w.answer(question, "allow_once")
        await w.turn(conversation)
        assert w.tools.calls == [("github.search", {"query": "a"})]


async def test_two_clients_answer_one_question_and_the_first_counts() -> None:
    async with world(THREE, says("ok"), tools=fake_tools()) as w:
        conversation = w.send("go")
        with w.engine.subscribe(conversation) as other, w.engine.subscribe(conversation) as third:
            questions = await asked(w, 3)
            w.engine.submit(commands.OpenConversation(conversation=conversation))
            heard = await take(other, events.PermissionAsked, 3)
            assert [event.item for event in heard] == [question.item for question in questions]
            w.answer(heard[0], "deny")  # one client
            w.answer(questions[0], "allow_once")  # the other, too late
            failed = (await take(third, events.CommandFailed, 1))[0]
            assert failed.error.message == "This question is not open any more."
            closed = (await take(other, events.PermissionDecided, 1))[0]
            assert closed.item.ask == questions[0].item.id
            for question in questions[1:]:
                w.answer(question, "allow_once")
            await w.turn(conversation)
            assert [e.item.ask for e in await take(other, events.PermissionDecided, 2)]
        assert len(w.tools.calls) == 2


async def take(reader: Any, kind: Any, count: int) -> list[Any]:
    found: list[Any] = []
    with anyio.fail_after(5):
        async for event in reader:
            if isinstance(event, kind):
                found.append(event)
                if len(found) == count:
                    return found
    raise AssertionError("the events ended")


async def test_questions_that_are_open_when_patina_is_closed_are_put_again() -> None:
    journal = MemoryJournal()
    async with world(THREE, tools=fake_tools(), journal=journal) as w:
        conversation = w.send("go")
        before = await asked(w, 3)
        w.answer(before[0], "allow_once")
        await w.until(events.PermissionDecided)
    async with world(says("ok"), tools=fake_tools(), journal=journal) as w:
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        again = await asked(w, 2)
        assert [event.item for event in again] == [event.item for event in before[1:]]
        for question in again:
            w.answer(question, "allow_once")
        assert (await w.turn(conversation)).stop_reason == "stop"
        assert told(w) == ["results for 0", "results for 1", "results for 2"]


async def test_a_rule_that_denies_by_now_beats_an_answer_from_before_a_restart() -> None:
    journal = MemoryJournal()
    async with world(THREE, tools=fake_tools(), journal=journal) as w:
        conversation = w.send("go")
        w.answer((await asked(w, 3))[0], "allow_once")
        await w.until(events.PermissionDecided)
    gate = PolicyGate(PermissionSettings(rules=(PermissionRule(action="deny"),)))
    async with world(says("ok"), tools=fake_tools(), journal=journal, gate=gate) as w:
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        await w.turn(conversation)
        assert w.tools.calls == []


@pytest.mark.parametrize("broken", ["", "config.toml line 3 is wrong."])
@pytest.mark.parametrize("arguments", ["", '{"query":"z"}'])
async def test_a_rule_that_denies_by_now_beats_an_answer(broken: str, arguments: str) -> None:
    gate = PolicyGate(PermissionSettings())
    async with world(ONE, says("ok"), tools=fake_tools(), gate=gate) as w:
        conversation = w.send("go")
        question = await w.until(events.PermissionAsked)
        w.answer(question, "allow_once", arguments=arguments)
        # Between the answer and the call, or while the question was open: no matter.
        denies = PermissionSettings(rules=(PermissionRule(action="deny", tool="search"),))
        now = {"broken": broken} if broken else {"settings": denies}
        gate.policy = msgspec.structs.replace(gate.policy, **now)
        await w.turn(conversation)
        assert w.tools.calls == []
        newest = [e.item for e in w.seen if isinstance(e, events.PermissionDecided)][-1]
        assert newest.choice == "deny"
        assert newest.rule.startswith("permissions")
        assert newest.ask == question.item.id
        assert told(w) == [newest.reason]


async def test_what_a_rule_allowed_is_denied_by_one_that_came_while_another_call_was_asked() -> (
    None
):
    gate = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow", tool="delete"),)))
    both = calls(("c1", "github__delete", "{}"), ("c2", "github__search", '{"query":"a"}'))
    async with world(both, says("ok"), tools=fake_tools(), gate=gate) as w:
        conversation = w.send("go")
        question = await w.until(events.PermissionAsked)
        denies = PermissionSettings(rules=(PermissionRule(action="deny", tool="delete"),))
        gate.policy = msgspec.structs.replace(gate.policy, settings=denies)
        w.answer(question, "allow_once")
        await w.turn(conversation)
        assert w.tools.calls == [("github.search", {"query": "a"})]


async def test_edited_arguments_are_judged_again_after_a_restart() -> None:
    journal = MemoryJournal()
    async with world(THREE, tools=fake_tools(), journal=journal) as w:
        conversation = w.send("go")
        first = (await asked(w, 3))[0]
        w.answer(first, "allow_once", arguments='{"query":"secret"}')
        await w.until(events.PermissionDecided)
    deny = PermissionRule(action="deny", args={"query": "secret"})
    gate = PolicyGate(PermissionSettings(rules=(deny, ALLOW)))
    async with world(says("ok"), tools=fake_tools(), journal=journal, gate=gate) as w:
        w.engine.submit(commands.OpenConversation(conversation=conversation))
        await w.turn(conversation)
        assert [arguments["query"] for _, arguments in w.tools.calls] == ["1", "2"]


async def test_always_after_an_edit_writes_no_rule_about_what_was_changed() -> None:
    rules = Rules()
    async with world(ONE, says("ok"), tools=fake_tools(), gate=rules.gate, rules=rules) as w:
        conversation = w.send("go")
        question = await w.until(events.PermissionAsked)
        w.answer(question, "allow_always", arguments='{"query":"b"}')
        await w.turn(conversation)
        assert question.item.offers[0].args
        assert rules.written == [question.item.offers[1]]


class FullAtAsk(MemoryJournal):
    """A journal that takes no decision about the call `c1`."""

    async def append(self, conversation: str, items_: Any) -> Appended:
        if any(isinstance(one, items.Decision) and one.call_id == "c1" for one in items_):
            raise StoreFault("The disk is full.")
        return await super().append(conversation, items_)


async def test_a_decision_that_cannot_be_written_runs_nothing() -> None:
    async with world(THREE, tools=fake_tools(), journal=FullAtAsk()) as w:
        conversation = w.send("go")
        for question in await asked(w, 3):
            w.answer(question, "allow_once")
        ended = await w.turn(conversation)
        assert ended.error is not None
        assert ended.error.kind == "store"
        assert w.tools.calls == []


def two_servers() -> FakeTools:
    tools = FakeTools()
    tools.add("mail.read", lambda _: "a letter", open_world=False)
    tools.add("web.fetch", lambda _: "a page", open_world=True)
    tools.add("notes.list", lambda _: "notes")
    return tools


async def test_the_gate_is_told_what_the_conversation_holds() -> None:
    gate = Watching()
    steps = [calls(("c1", name, "{}")) for name in ("notes__list", "mail__read", "web__fetch")]
    last = calls(("c1", "web__fetch", "{}"))
    servers = {"mail": ServerSettings(private=True)}
    async with world(
        *steps, last, says("ok"), tools=two_servers(), gate=gate, servers=servers
    ) as w:
        conversation = w.send("go")
        asked_ = await w.until(events.PermissionAsked)  # whatever rule allows it
        assert "send data out" in asked_.item.reason
        w.answer(asked_, "deny")
        await w.turn(conversation)
        held = [(case.private, case.untrusted) for case in gate.cases]
        assert held == [(False, False), (False, False), (True, False), (True, True)]


async def test_what_the_user_put_in_of_servers_counts() -> None:
    gate = Watching()
    step = calls(("c1", "notes__list", "{}"))
    servers = {"mail": ServerSettings(private=True), "web": ServerSettings(untrusted=True)}
    async with world(
        step, says("1"), step, says("2"), tools=two_servers(), gate=gate, servers=servers
    ) as w:
        conversation = new_id()
        for sources in (("mail",), ("web",)):
            message = commands.SendMessage(
                conversation=conversation,
                message_id=new_id(),
                parts=(Text("what an attached resource says"),),
                sources=sources,
            )
            w.engine.submit(message)
            if sources == ("web",):
                w.answer(await w.until(events.PermissionAsked), "deny")
            await w.turn(conversation)
        assert [(case.private, case.untrusted) for case in gate.cases] == [
            (True, False),
            (True, True),
        ]


@pytest.mark.parametrize(("untrusted", "held"), [(True, True), (False, False)])
async def test_a_server_says_whether_anyone_may_have_written_it(
    untrusted: bool, held: bool
) -> None:
    gate = Watching()
    steps = [calls(("c1", "web__fetch", "{}")), calls(("c1", "notes__list", "{}"))]
    servers = {"web": ServerSettings(untrusted=untrusted)}
    async with world(*steps, says("ok"), tools=two_servers(), gate=gate, servers=servers) as w:
        await w.turn(w.send("go"))
        assert [case.untrusted for case in gate.cases] == [False, held]


async def test_only_tools_that_are_on_in_the_conversation_are_offered_and_run() -> None:
    wanted = calls(("c1", "github__delete", "{}"), ("c2", "files__read", "{}"))
    tools = fake_tools()
    tools.add("files.read", lambda _: "text")
    tools.add("files.write", lambda _: "done")
    async with world(says("hi"), wanted, says("ok"), says("ok"), tools=tools) as w:
        conversation = w.send("hi")
        await w.turn(conversation)
        w.engine.submit(
            commands.ChangeMeta(conversation=conversation, tools=("github.s*", "files"))
        )
        await w.until(events.MetaChanged)
        w.send("go", conversation)
        w.answer(await w.until(events.PermissionAsked), "allow_once")
        await w.turn(conversation)
        names = [tool.name for tool in w.driver.requests[1].tools]
        assert names == ["github__search", "files__read", "files__write"]
        assert told(w)[0].startswith("There is no tool github__delete.")
        assert w.tools.calls == [("files.read", {})]
        w.send("narrower", conversation, servers=("github",))
        await w.turn(conversation)
        assert [tool.name for tool in w.driver.requests[-1].tools] == ["github__search"]
        assert (await w.tree(conversation)).facts["tools"] == ("github.s*", "files")


async def test_erasing_a_message_takes_the_arguments_that_were_edited_and_offered() -> None:
    rules = Rules()
    secret = '{"query":"my own secret"}'
    async with world(
        calls(("c1", "github__search", secret)),
        says("ok"),
        tools=fake_tools(),
        gate=rules.gate,
        rules=rules,
    ) as w:
        conversation = w.send("go")
        question = await w.until(events.PermissionAsked)
        w.answer(question, "allow_always", arguments='{"query":"my own secret too"}')
        await w.turn(conversation)
        message = question.item.message
        results = [i for i in (await w.tree(conversation)).path() if isinstance(i, items.Result)]
        for item_id in (message, results[0].id):
            w.engine.submit(commands.EraseConversation(conversation=conversation, item_id=item_id))
            await w.until(events.ConversationErased)
        left = (await w.services.journal.read(conversation)).items
        assert "my own secret" not in str(left)
