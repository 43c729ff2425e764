"""Conversations that are too long: known before sending, summarised when asked, never cut."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.flows.harness import Register, World, calls, fake_tools, says, world

from patina.engine.context import SUMMARY
from patina.engine.estimate import IMAGE_TOKENS, size_of, text_tokens
from patina.engine.summary import ASSUMED_WINDOW, SYSTEM
from patina.model import commands, events, items
from patina.model.chat import (
    ChatMessage,
    ChatRequest,
    Failed,
    Finished,
    ModelInfo,
    TextDelta,
)
from patina.model.faults import Failure, LimitFault
from patina.model.ids import new_id
from patina.model.money import Used, Wanted
from patina.model.options import TurnOptions
from patina.model.parts import Image, Text, text_of
from patina.model.settings import PermissionRule, PermissionSettings
from patina.model.usage import Cost, Usage
from patina.permission.gate import PolicyGate
from patina.providers.scripted import Pause, Step

pytestmark = pytest.mark.anyio

ALLOW = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow"),)))
PROSE = "The quick brown fox jumps over the lazy dog, and the dog does not mind it at all. "
CODE = 'def f(x: int) -> dict[str, int]:\n    return {"a": x + 1, "b": x * 2}  # [1, 2]\n'
TOO_LONG: list[Step] = [Failed(Failure("context_too_long", "It is too long.", "Their hint."))]


def known(window: int, **more: Any) -> dict[str, ModelInfo]:
    return {"fake/one": ModelInfo("fake", "one", context_window=window, **more)}


def words(tokens: int) -> str:
    """Prose of about that many tokens."""
    text = PROSE * (int(tokens / text_tokens(PROSE)) + 1)
    return text[: int(len(text) * tokens / text_tokens(text))]


def told(request: ChatRequest) -> list[str]:
    return [text_of(message.parts) for message in request.messages]


async def said(world: World, conversation: str) -> list[str]:
    path = (await world.tree(conversation)).path()
    return [text_of(item.parts) for item in path if isinstance(item, items.Message)]


def notes(world: World) -> list[items.Note]:
    return [event.item for event in world.seen if isinstance(event, events.NoteAdded)]


def test_estimates_are_near_what_tokenisers_say() -> None:
    # The counts in the middle are those of common tokenisers (o200k_base and its like) for texts
    # of these kinds: 4 to 5 characters of prose a token, 3 to 3.5 of code, one to two of Chinese.
    assert 3.5 < len(PROSE) / text_tokens(PROSE) < 5
    assert 2.5 < len(CODE) / text_tokens(CODE) < 3.5
    for text, least, most in (("我们今天去公园散步然后", 0.9, 1.3), ("Добрый день", 1.2, 3)):
        assert least < len(text) / text_tokens(text) < most
    assert text_tokens("") == 0
    picture = ChatMessage("user", (Image("0" * 64, "image/png"),))
    assert size_of([picture]).tokens(None) > IMAGE_TOKENS
    assert size_of([picture]).tokens(ModelInfo("a", "b", images=False)) < 100


@given(st.text(), st.text())
def test_an_estimate_of_two_texts_is_the_sum(one: str, two: str) -> None:
    assert text_tokens(one, two) == pytest.approx(text_tokens(one) + text_tokens(two))
    assert text_tokens(one, two) >= text_tokens(one)


async def test_what_is_too_long_is_not_sent() -> None:
    async with world(says("a"), infos=known(8_000)) as w:
        conversation = w.send(words(9_000))
        ended = await w.turn(conversation)
        assert w.driver.requests == []
        assert ended.stop_reason == "error"
        assert ended.error is not None
        assert ended.error.kind == "context_too_long"
        assert "~9,0" in ended.error.message
        assert "~8,000" in ended.error.message
        assert "Nothing older is left to summarise" in ended.error.hint
        assert not [e for e in w.seen if isinstance(e, events.ReplyStarted)]
        (note,) = notes(w)
        assert (note.level, note.kind) == ("error", "context_too_long")


async def test_the_hint_names_the_commands() -> None:
    async with world(says("a"), infos=known(8_000)) as w:
        conversation = w.send("hi")
        await w.turn(conversation)
        w.send(words(9_000), conversation)
        ended = await w.turn(conversation)
        assert ended.error is not None
        assert f"patina sessions summarise {conversation}" in ended.error.hint
        assert f"patina ask -s {conversation}" in ended.error.hint


async def test_the_answer_gets_the_room_that_is_left() -> None:
    async with world(says("a"), says("b"), infos=known(8_000)) as w:
        conversation = w.send(words(4_000))
        await w.turn(conversation)
        bound = w.driver.requests[0].max_tokens
        assert 3_000 < bound < 4_000
        assert notes(w) == []  # a bound that nobody chose is lowered without a word
        w.send("more", conversation, max_tokens=6_000)
        await w.turn(conversation)
        assert w.driver.requests[1].max_tokens < 4_000
        (note,) = notes(w)
        assert note.level == "warning"
        assert "not 6,000" in note.text


async def test_an_unknown_window_stops_nothing() -> None:
    async with world(says("a")) as w:
        assert (await w.turn(w.send(words(300_000)))).error is None


async def test_estimates_follow_what_the_provider_counts() -> None:
    counted: list[Step] = [TextDelta("ok"), Finished("stop", usage=Usage(8_000, 1))]
    async with world(counted, says("b"), infos=known(10_000)) as w:
        conversation = w.send(words(4_000))  # twice as many tokens as estimated
        await w.turn(conversation)
        w.send(words(1_500), conversation)
        ended = await w.turn(conversation)
        assert ended.error is not None
        assert ended.error.kind == "context_too_long"
        assert "~11,0" in ended.error.message
        assert len(w.driver.requests) == 1


async def test_a_failure_of_the_provider_gets_the_same_hint() -> None:
    async with world(says("a"), TOO_LONG) as w:
        conversation = w.send("hi")
        await w.turn(conversation)
        w.send("more", conversation)
        ended = await w.turn(conversation)
        assert ended.error is not None
        assert ended.error.message == "It is too long."
        assert "patina sessions summarise" in ended.error.hint
        assert notes(w)[-1].hint == ended.error.hint


# Summaries.


def summarise(world: World, conversation: str, model: str | None = None) -> None:
    command = commands.SummariseConversation(conversation=conversation, model=model)
    world.engine.submit(command)


async def summary_of(world: World, conversation: str) -> items.Note:
    event = await world.until(
        events.NoteAdded, lambda e: e.conversation == conversation and e.item.covers is not None
    )
    return event.item


async def failed(world: World) -> Failure:
    return (await world.until(events.CommandFailed)).error


def retry(world: World, conversation: str, model: str | None = None, **options: Any) -> None:
    world.engine.submit(
        commands.RetryTurn(conversation=conversation, model=model, options=TurnOptions(**options))
    )


def counted(text: str, tokens: int) -> list[Step]:
    return [TextDelta(text), Finished("stop", usage=Usage(tokens, 10))]


async def test_a_summary_stands_for_the_older_messages() -> None:
    async with world(
        says("one"), says("two"), says("three"), counted("All in short.", 70), says("four")
    ) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        for text in ("second", "third"):
            w.send(text, conversation)
            await w.turn(conversation)
        before = (await w.tree(conversation)).path()
        summarise(w, conversation)
        note = await summary_of(w, conversation)
        assert (note.text, note.provider, note.model) == ("All in short.", "fake", "one")
        assert note.usage == Usage(70, 10)
        assert note.cost is None
        assert note.covers == before[3].id  # "two": the newest turn stays
        asked = w.driver.requests[3]
        assert asked.system == SYSTEM
        assert asked.tools == ()
        (text,) = told(asked)
        assert "User: first\n\nAssistant: one\n\nUser: second\n\nAssistant: two" in text
        assert "third" not in text
        progress = [e for e in w.seen if isinstance(e, events.SummaryProgress)]
        assert [(e.done, e.total) for e in progress] == [(0, 1), (1, 1)]
        # Nothing of the conversation is gone, and the model gets the summary in its place.
        assert (await w.tree(conversation)).path()[: len(before)] == before
        w.send("fourth", conversation)
        await w.turn(conversation)
        assert told(w.driver.requests[4]) == [
            f"{SUMMARY}\n\nAll in short.",
            "third",
            "three",
            "fourth",
        ]
        assert w.driver.requests[4].messages[0].role == "user"


async def test_a_second_summary_takes_the_first_with_it() -> None:
    async with world(
        says("one"), says("two"), says("short 1"), says("three"), says("short 2"), says("four")
    ) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        w.send("second", conversation)
        await w.turn(conversation)
        summarise(w, conversation)
        await summary_of(w, conversation)
        w.send("third", conversation)
        await w.turn(conversation)
        summarise(w, conversation)
        await summary_of(w, conversation)
        (text,) = told(w.driver.requests[4])
        assert "short 1" in text
        assert "User: second" in text
        assert "first" not in text
        w.send("fourth", conversation)
        await w.turn(conversation)
        assert told(w.driver.requests[5]) == [f"{SUMMARY}\n\nshort 2", "third", "three", "fourth"]


async def test_about_a_quarter_of_the_window_stays() -> None:
    replies = [says(words(500)) for _ in range(8)]
    async with world(*replies, says("short"), says("end"), infos=known(8_000)) as w:
        conversation = new_id()
        for number in range(8):
            w.send(f"{number} {words(300)}", conversation)
            await w.turn(conversation)
        summarise(w, conversation)
        await summary_of(w, conversation)
        w.send("end", conversation)
        await w.turn(conversation)
        sent = told(w.driver.requests[-1])
        assert [text[:1] for text in sent[1::2]] == ["6", "7", "e"]


async def test_a_long_conversation_is_summarised_in_pieces() -> None:
    replies = [says(words(1_000)) for _ in range(6)]
    parts = [counted(f"piece {n}.", 10) for n in range(20)]
    async with world(*replies, *parts, infos=known(4_000)) as w:
        w.providers.infos.clear()  # the turns themselves fit
        conversation = new_id()
        for number in range(6):
            w.send(f"number {number}", conversation)
            await w.turn(conversation)
        w.providers.infos.update(known(4_000))
        summarise(w, conversation)
        note = await summary_of(w, conversation)
        asked = w.driver.requests[6:]
        assert len(asked) > 3
        for number, request in enumerate(asked):
            assert size_of(request.messages).tokens(None) + request.max_tokens < 4_000
            assert (f"piece {number - 1}." in told(request)[0]) == (number > 0)
        assert note.text == f"piece {len(asked) - 1}."
        assert note.usage == Usage(10 * len(asked), 10 * len(asked))
        # Every word of the older messages was in some piece.
        pieces = "".join(told(request)[0] for request in asked)
        assert pieces.count("quick brown fox") >= 5 * words(1_000).count("quick brown fox") - 5
        progress = [e for e in w.seen if isinstance(e, events.SummaryProgress)]
        assert (progress[-1].done, progress[-1].total) == (len(asked), len(asked))


async def test_a_piece_that_is_too_long_after_all_is_made_smaller() -> None:
    async with world(
        says(words(6_000)), says("two"), TOO_LONG, *[says(f"s{n}") for n in range(9)]
    ) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        w.send("second", conversation)
        await w.turn(conversation)
        summarise(w, conversation)
        note = await summary_of(w, conversation)
        sizes = [text_tokens(told(request)[0]) for request in w.driver.requests[2:]]
        assert sizes[0] > 6_000
        assert max(sizes[1:]) < 4_000
        assert note.text == f"s{len(sizes) - 2}"
        assert sizes[0] < ASSUMED_WINDOW


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ([Failed(Failure("server", "Broken."))], "server"),
        ([TextDelta("half"), Finished("length")], "server"),
        ([Finished("stop")], "server"),
        ([TextDelta("No."), Finished("refusal")], "content_filter"),
        (TOO_LONG, "context_too_long"),
    ],
)
async def test_a_summary_that_fails_changes_nothing(reply: list[Step], kind: str) -> None:
    async with world(says("one"), says("two"), reply, says("three")) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        w.send("second", conversation)
        await w.turn(conversation)
        before = await w.tree(conversation)
        summarise(w, conversation)
        assert (await failed(w)).kind == kind
        assert (await w.tree(conversation)).path() == before.path()
        w.send("third", conversation)
        await w.turn(conversation)
        assert told(w.driver.requests[-1]) == ["first", "one", "second", "two", "third"]


async def test_a_summary_is_interrupted() -> None:
    gate = Pause.closed()
    async with world(says("one"), says("two"), [gate, TextDelta("x")], says("three")) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        w.send("second", conversation)
        await w.turn(conversation)
        summarise(w, conversation)
        await gate.reached.wait()
        w.send("waits", conversation)
        summarise(w, conversation)
        w.engine.submit(commands.Interrupt(conversation=conversation, reason="Stop."))
        told_of = [await failed(w) for _ in range(3)]
        assert {failure.message for failure in told_of} == {
            "Not sent. Stop.",
            "Not done. Stop.",
            "Not summarised. Stop.",
        }
        assert w.driver.running == 0
        w.send("third", conversation)
        assert (await w.turn(conversation)).stop_reason == "stop"


class Money(Register):
    """A money gate with a price, and a bound on requests."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.left = most
        self.open = 0

    async def hold(self, wanted: Wanted, *, unpriced: bool = False) -> str:
        if not self.left:
            raise LimitFault("The daily limit would be passed.")
        self.left -= 1
        self.open += 1
        return await super().hold(wanted)

    async def settle(self, hold: str, used: Used) -> Cost | None:
        self.open -= 1
        return Cost(Decimal("0.25"), "test")


async def test_each_request_of_a_summary_passes_the_money_gate() -> None:
    long = says(words(30_000))
    replies = [long, says("two"), *[says(f"s{n}") for n in range(9)]]
    async with world(*replies, meter=Money(100)) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        w.send("second", conversation)
        await w.turn(conversation)
        summarise(w, conversation)
        note = await summary_of(w, conversation)
        asked = len(w.driver.requests) - 2
        assert asked > 2
        assert note.cost == Cost(Decimal("0.25") * asked, "test")
    money = Money(3)
    async with world(*replies, meter=money) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        w.send("second", conversation)
        await w.turn(conversation)
        summarise(w, conversation)
        assert (await failed(w)).kind == "limit"
        assert len(w.driver.requests) == 3
        assert money.open == 0
        assert (await w.tree(conversation)).unsummarised()[0] is None


async def test_with_one_turn_there_is_nothing_to_summarise() -> None:
    async with world(says("one")) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        summarise(w, conversation)
        failure = await failed(w)
        assert (failure.kind, failure.message[:32]) == ("usage", "There is nothing to summarise: t")
        missing = new_id()
        summarise(w, missing)
        assert "There is no conversation" in (await failed(w)).message


async def test_another_model_may_summarise_and_the_conversation_keeps_its_own() -> None:
    async with world(says("one"), says("two"), says("short"), says("three")) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        w.send("second", conversation)
        await w.turn(conversation)
        summarise(w, conversation, "fake/small")
        note = await summary_of(w, conversation)
        assert note.model == "small"
        w.send("third", conversation)
        await w.turn(conversation)
        assert [r.model for r in w.driver.requests] == ["one", "one", "small", "one"]


async def test_a_call_and_its_result_stay_together() -> None:
    wanted = calls(("c1", "github__search", '{"query":"x"}'))
    async with world(
        says("one"),
        wanted,
        says("two"),
        says("short"),
        says("three"),
        wanted,
        says("four"),
        says("shorter"),
        tools=fake_tools(),
        gate=ALLOW,
    ) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        w.send("second", conversation)
        await w.turn(conversation)
        summarise(w, conversation)
        await summary_of(w, conversation)
        w.send("third", conversation)
        await w.turn(conversation)
        kept = w.driver.requests[4].messages
        assert [m.role for m in kept] == ["user", "user", "assistant", "tool", "assistant", "user"]
        w.send("fourth", conversation)
        await w.turn(conversation)
        summarise(w, conversation)
        await summary_of(w, conversation)
        (text,) = told(w.driver.requests[-1])
        assert "[The tool github.search was called with" in text
        assert "results for x" in text


async def test_a_fork_keeps_the_summary_and_an_earlier_branch_does_not() -> None:
    async with world(
        says("one"), says("two"), says("short"), says("three"), says("other"), says("last")
    ) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        first = (await w.tree(conversation)).path()[1].id
        w.send("second", conversation)
        await w.turn(conversation)
        summarise(w, conversation)
        await summary_of(w, conversation)
        copy = new_id()
        w.engine.submit(commands.ForkConversation(conversation=copy, source=conversation))
        w.send("third", copy)
        await w.turn(copy)
        assert told(w.driver.requests[-1]) == [f"{SUMMARY}\n\nshort", "second", "two", "third"]
        w.engine.submit(commands.SelectBranch(conversation=conversation, item_id=first))
        w.send("elsewhere", conversation)
        await w.turn(conversation)
        assert told(w.driver.requests[-1]) == ["first", "one", "elsewhere"]


# Trying again.


async def test_a_turn_is_tried_again_without_the_message_being_written_again() -> None:
    async with world(says("one"), TOO_LONG, says("short"), says("two"), says("never")) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        w.send("second", conversation)
        assert (await w.turn(conversation)).error is not None
        summarise(w, conversation)
        await summary_of(w, conversation)
        retry(w, conversation, temperature=0.5)
        started = await w.until(events.TurnStarted)
        assert (await w.turn(conversation)).stop_reason == "stop"
        assert told(w.driver.requests[-1]) == [f"{SUMMARY}\n\nshort", "second"]
        assert w.driver.requests[-1].temperature == 0.5
        assert await said(w, conversation) == ["first", "one", "second", "two"]
        path = (await w.tree(conversation)).path()
        assert started.turn_id == path[2].id
        retry(w, conversation)
        failure = await failed(w)
        assert failure.kind == "usage"
        assert failure.message.startswith("There is nothing to try again")


async def test_another_model_tries_again_and_stays() -> None:
    async with world([Failed(Failure("server", "Broken."))], says("one"), says("two")) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        retry(w, conversation, "fake/other")
        await w.turn(conversation)
        w.send("second", conversation)
        await w.turn(conversation)
        assert [r.model for r in w.driver.requests] == ["one", "other", "other"]


async def test_a_turn_that_failed_after_its_tools_goes_on_from_there() -> None:
    wanted = calls(("c1", "github__search", "{}"))
    tools = fake_tools()
    async with world(
        wanted, [Failed(Failure("server", "Broken."))], says("done"), tools=tools, gate=ALLOW
    ) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        retry(w, conversation)
        assert (await w.turn(conversation)).stop_reason == "stop"
        assert [m.role for m in w.driver.requests[-1].messages] == ["user", "assistant", "tool"]
        assert len(tools.calls) == 1


async def test_a_part_of_an_answer_is_not_tried_again() -> None:
    async with world([TextDelta("half"), Failed(Failure("cut", "It was cut."))]) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        retry(w, conversation)
        assert (await failed(w)).kind == "usage"
        retry(w, new_id())
        assert "There is no conversation" in (await failed(w)).message


async def test_old_transcripts_have_no_summaries_and_load() -> None:
    async with world(says("one")) as w:
        conversation = w.send("first")
        await w.turn(conversation)
        summary, branch = (await w.tree(conversation)).unsummarised()
        assert summary is None
        assert branch == (await w.tree(conversation)).path()
        assert isinstance(branch[0], items.Message)
        assert branch[0].parts == (Text("first"),)
