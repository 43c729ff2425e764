"""One conversation, several models: what each is sent, and what is known of it."""

import pytest
from tests.flows.harness import Register, World, calls, fake_tools, says, world

from patina.engine.context import INTERRUPTED, PREAMBLE
from patina.model import commands, events, items
from patina.model.chat import (
    ChatMessage,
    ChatRequest,
    Failed,
    Finished,
    ModelInfo,
    ModelRef,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from patina.model.faults import TOOLS_REFUSED, Failure, LimitFault
from patina.model.ids import new_id
from patina.model.money import Wanted
from patina.model.parts import Citation, Image, Part, Text, Thinking, ToolCall, text_of
from patina.model.settings import ChatSettings, PermissionRule, PermissionSettings
from patina.model.usage import Usage
from patina.permission.gate import PolicyGate
from patina.providers.scripted import Pause, ScriptedDriver, Step

pytestmark = pytest.mark.anyio

ALLOW = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow"),)))
SOURCE = Citation("https://example.com/a", "A", "as it says", 0, 4)
SEALED: list[Step] = [
    ThinkingDelta("hm", 0, signature="old"),
    ThinkingDelta("m", 0, signature="sig", opaque="secret"),
    TextDelta("Let me ", 1, citations=(SOURCE,)),
    TextDelta("look.", 1, citations=(SOURCE,), opaque="text seal"),
    ToolCallDelta(2, "c1", "github__search", '{"query":'),
    ToolCallDelta(2, arguments='"x"}', opaque="call seal"),
    TextDelta("", 3, opaque="last seal"),
    Finished("tool_calls", usage=Usage(10, 5)),
]
WHOLE = (
    Thinking("hmm", "sig", "secret"),
    Text("Let me look.", citations=(SOURCE, SOURCE), opaque="text seal"),
    ToolCall("c1", "github.search", '{"query":"x"}', "call seal"),
    Text("", opaque="last seal"),
)
REFUSED = Failed(Failure("bad_request", "It takes no tools.", code=TOOLS_REFUSED))
WARNING = "one (fake) takes no tools: they are off until the model changes."


def notes(world: World) -> list[items.Note]:
    return [event.item for event in world.seen if isinstance(event, events.NoteAdded)]


def answers(request: ChatRequest) -> list[ChatMessage]:
    return [message for message in request.messages if message.role == "assistant"]


async def test_what_a_provider_wants_back_goes_to_it_alone() -> None:  # M-21
    other = ScriptedDriver([says("from b")])
    async with world(
        SEALED, says("from a"), says("again a"), others={"b": other}, tools=fake_tools(), gate=ALLOW
    ) as w:
        conversation = w.send("hi")
        await w.turn(conversation)
        first = next(
            i
            for i in (await w.tree(conversation)).path()
            if isinstance(i, items.Message) and i.role == "assistant"
        )
        assert first.parts == WHOLE
        # In the same turn it all goes back, with the alias of the tool.
        sent = answers(w.driver.requests[1])[0]
        assert sent.parts == (
            *WHOLE[:2],
            ToolCall("c1", "github__search", '{"query":"x"}', "call seal"),
            WHOLE[3],
        )
        assert (sent.provider, sent.model) == ("fake", "one")
        # Another provider gets words, and the call as it is: the alias is the same for all.
        w.send("next", conversation, model="b/two")
        await w.turn(conversation)
        foreign: tuple[Part, ...] = (
            Text("Let me look.", citations=(SOURCE, SOURCE)),
            ToolCall("c1", "github__search", '{"query":"x"}'),
        )
        (request,) = other.requests
        assert [message.parts for message in answers(request)] == [foreign, (Text("from a"),)]
        assert request.messages[2].answers[0].status == "completed"
        assert [tool.name for tool in request.tools] == ["github__delete", "github__search"]
        # Back at the first, what it made is there again, and of the other its words.
        w.send("and", conversation, model="fake/one")
        await w.turn(conversation)
        back = answers(w.driver.requests[2])
        assert back[0] == sent
        assert [(m.provider, m.model, text_of(m.parts)) for m in back[1:]] == [
            ("fake", "one", "from a"),
            ("b", "two", "from b"),
        ]


async def test_a_plain_answer_with_a_seal_goes_back_whole_only_to_its_provider() -> None:
    sealed: list[Step] = [TextDelta("ok", 0, opaque="seal"), TextDelta("", 1, opaque="end")]
    other = ScriptedDriver([says("b")])
    async with world(sealed, says("a"), others={"b": other}) as w:
        conversation = w.send("hi")
        await w.turn(conversation)
        w.send("next", conversation)
        await w.turn(conversation)
        own = (Text("ok", opaque="seal"), Text("", opaque="end"))
        assert answers(w.driver.requests[1])[0].parts == own
        w.send("next", conversation, model="b/two")
        await w.turn(conversation)
        assert answers(other.requests[0])[0].parts == (Text("ok"),)


async def test_a_seal_without_words_is_told_to_nobody_live() -> None:
    async with world([TextDelta("ok", 0), TextDelta("", 0, opaque="seal")]) as w:
        await w.turn(w.send("hi"))
        told = [event.text for event in w.seen if isinstance(event, events.TextDelta)]
        assert told == ["ok"]


async def test_an_interrupted_call_is_answered_for_any_model() -> None:  # M-21
    gate = Pause.closed()

    async def slow(_: object) -> str:
        gate.reached.set()
        await gate.passed.wait()
        return "never"

    other = ScriptedDriver([says("b")])
    wanted = calls(("c1", "github__search", "{}"))
    async with world(wanted, others={"b": other}, tools=fake_tools(slow), gate=ALLOW) as w:
        conversation = w.send("hi")
        await gate.reached.wait()
        w.engine.submit(commands.Interrupt(conversation=conversation, reason="Stop."))
        await w.turn(conversation)
        w.send("next", conversation, model="b/two")
        await w.turn(conversation)
        told = other.requests[0].messages[2]
        assert [(a.call_id, a.status) for a in told.answers] == [("c1", "interrupted")]
        assert text_of(told.answers[0].parts).startswith(INTERRUPTED)


async def test_what_was_asked_for_reaches_the_request() -> None:  # M-03
    schema = {"type": "object"}
    async with world(says("a"), says("b"), chat=ChatSettings(max_tokens=99)) as w:
        conversation = w.send(
            "hi", model="fake/one:high", temperature=0.3, max_tokens=7, schema=schema, timeout=9.0
        )
        await w.turn(conversation)
        w.send("hi", conversation)
        await w.turn(conversation)
        first, second = w.driver.requests
        assert (first.model, first.effort, first.temperature) == ("one", "high", 0.3)
        assert (first.max_tokens, first.schema, first.timeout) == (7, schema, 9.0)
        # The effort stays with the conversation's model, the rest was for that turn.
        assert (second.effort, second.temperature) == ("high", None)
        assert (second.max_tokens, second.schema) == (99, None)


async def test_nothing_is_asked_about_a_model_for_a_short_question() -> None:
    async with world(says("a"), says("b"), infos={"fake/one": ModelInfo("fake", "one")}) as w:
        conversation = w.send("hi")
        await w.turn(conversation)
        assert w.providers.asked == []
        assert w.driver.requests[0].info is None
        w.send("word " * 5_000, conversation)
        await w.turn(conversation)
        assert w.providers.asked == ["fake/one"]
        assert w.driver.requests[1].info == ModelInfo("fake", "one")


async def test_a_picture_makes_it_ask_whether_the_model_sees() -> None:  # M-21
    blind = ModelInfo("b", "two", images=False)
    other = ScriptedDriver([says("b")])
    async with world(says("a"), others={"b": other}, infos={"b/two": blind}) as w:
        blob = await w.services.journal.put_blob(b"picture")
        conversation = new_id()
        w.engine.submit(
            commands.SendMessage(
                conversation=conversation,
                message_id=new_id(),
                parts=(Image(blob, "image/png", "a.png"), Text("What is this?")),
            )
        )
        await w.turn(conversation)
        w.send("And you?", conversation, model="b/two")
        await w.turn(conversation)
        assert w.providers.asked == ["fake/one", "b/two"]
        (request,) = other.requests
        # The driver puts words in its place (its `visible`); it is told that it has to.
        assert request.info == blind
        assert request.blobs == {blob: b"picture"}


async def test_an_answer_is_no_longer_than_the_model_can_write() -> None:
    known = ModelInfo("fake", "one", max_output=500)
    async with world(says("a"), says("b"), infos={"fake/one": known}) as w:
        conversation = w.send("word " * 5_000)
        await w.turn(conversation)
        assert w.driver.requests[0].max_tokens == 500
        assert notes(w) == []  # nobody asked for more
        w.send("and", conversation, max_tokens=1000)
        await w.turn(conversation)
        assert w.driver.requests[1].max_tokens == 500
        assert [note.text for note in notes(w)] == [
            "The answer can have 500 tokens at most, not 1,000: fake/one writes no more."
        ]


async def test_what_is_not_known_in_time_delays_nothing_for_long() -> None:
    async with world(says("a")) as w:
        never = Pause.closed()

        async def info(ref: ModelRef) -> ModelInfo:
            await never.passed.wait()
            raise AssertionError

        w.providers.info = info  # type: ignore[method-assign]
        conversation = w.send("word " * 5_000)
        await w.clock_has(1)
        w.clock.advance(2)
        assert (await w.turn(conversation)).stop_reason == "stop"
        assert w.driver.requests[0].info is None


async def test_a_model_that_refuses_tools_is_asked_again_without() -> None:  # C-22
    meter, tools = Register(), fake_tools()
    other = ScriptedDriver([says("b")])
    async with world(
        [REFUSED],
        says("fine"),
        says("later"),
        says("again"),
        tools=tools,
        meter=meter,
        chat=ChatSettings(system="Base."),
        others={"b": other},
    ) as w:
        conversation = w.send("hi")
        ended = await w.turn(conversation)
        assert (ended.stop_reason, ended.error) == ("stop", None)
        refused, again = w.driver.requests
        assert [tool.name for tool in refused.tools] == ["github__delete", "github__search"]
        assert PREAMBLE in refused.system
        assert (again.tools, again.system) == ((), "Base.")
        assert again.messages == refused.messages
        (note,) = notes(w)
        assert (note.level, note.text) == ("warning", WARNING)
        assert [one.purpose for one in meter.held] == ["chat", "retry"]
        assert [one.outcome for one in meter.settled[:2]] == ["failed", "done"]
        # Off from then on, and told once; every answer is in the conversation once.
        w.send("more", conversation)
        await w.turn(conversation)
        assert w.driver.requests[2].tools == ()
        # Another model has them, and so has this one when it is chosen anew.
        w.send("you?", conversation, model="b/two")
        await w.turn(conversation)
        assert len(other.requests[0].tools) == 2
        w.send("back", conversation, model="fake/one")
        await w.turn(conversation)
        assert len(w.driver.requests[3].tools) == 2
        assert len(notes(w)) == 1
        said = [i for i in (await w.tree(conversation)).path() if isinstance(i, items.Message)]
        assert [text_of(item.parts) for item in said] == [
            *("hi", "fine", "more", "later", "you?", "b", "back", "again")
        ]


async def test_old_calls_are_told_in_words_where_tools_are_refused() -> None:  # C-22, M-21
    other = ScriptedDriver([[REFUSED], says("fine")])
    async with world(
        SEALED, says("done"), others={"b": other}, tools=fake_tools(), gate=ALLOW
    ) as w:
        conversation = w.send("hi")
        await w.turn(conversation)
        w.send("next", conversation, model="b/two")
        await w.turn(conversation)
        told = other.requests[1].messages
        assert [message.role for message in told] == [
            *("user", "assistant", "user", "assistant", "user")
        ]
        assert not any(message.answers for message in told)
        assert [text_of(message.parts) for message in told] == [
            "hi",
            'Let me look.[The tool github.search was called with {"query":"x"}]',
            "[The call of github.search completed. Its result:]\nresults for x",
            "done",
            "next",
        ]
        assert all(isinstance(part, Text) for message in told for part in message.parts)


async def test_the_refusal_is_remembered_in_the_transcript() -> None:  # C-22
    async with world([REFUSED], says("fine"), says("later"), tools=fake_tools()) as w:
        conversation = w.send("hi")
        await w.turn(conversation)
        journal = w.services.journal
    driver = ScriptedDriver([says("later")])
    async with world(driver=driver, journal=journal, tools=fake_tools()) as w:
        w.send("more", conversation)
        await w.turn(conversation)
        assert driver.requests[0].tools == ()
        assert notes(w) == []


async def test_a_model_known_to_take_no_tools_is_not_offered_any() -> None:  # C-22
    known = ModelInfo("fake", "one", tools=False)
    async with world(says("a"), says("b"), infos={"fake/one": known}, tools=fake_tools()) as w:
        conversation = w.send("hi")
        await w.turn(conversation)
        w.send("more", conversation, servers=("github",))
        await w.turn(conversation)
        assert [request.tools for request in w.driver.requests] == [(), ()]
        assert [note.text for note in notes(w)] == [WARNING]
        assert "github" not in w.driver.requests[0].system


async def test_a_refusal_without_tools_is_a_failure_like_any_other() -> None:
    async with world([REFUSED]) as w:
        ended = await w.turn(w.send("hi"))
        assert ended.stop_reason == "error"
        assert len(w.driver.requests) == 1


async def test_a_second_refusal_ends_the_turn() -> None:
    async with world([REFUSED], [REFUSED], tools=fake_tools()) as w:
        ended = await w.turn(w.send("hi"))
        assert ended.stop_reason == "error"
        assert len(w.driver.requests) == 2


async def test_a_limit_ends_the_turn_before_the_second_request() -> None:
    class Once(Register):
        async def hold(self, wanted: Wanted, *, unpriced: bool = False) -> str:
            if self.held:
                raise LimitFault("The daily limit would be passed.")
            return await super().hold(wanted)

    meter = Once()
    async with world([REFUSED], tools=fake_tools(), meter=meter) as w:
        ended = await w.turn(w.send("hi"))
        assert ended.error is not None
        assert ended.error.kind == "limit"
        assert [(one.outcome, one.sent) for one in meter.settled] == [("failed", False)]
