"""Sampling: servers have a model answer, within what the user lets them."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.flows.harness import FakeProviders, Register, calls, says, talking, world

from patina.engine.bus import Bus
from patina.engine.clock import ManualClock
from patina.engine.recorder import Recorder
from patina.engine.sampling import Sampler
from patina.engine.sampling_model import preferred_model
from patina.engine.sampling_prompt import messages_of, tools_of
from patina.engine.services import Services
from patina.engine.work import head_of
from patina.mcp.fake import FakeTools
from patina.model import commands, events
from patina.model.chat import (
    ChatMessage,
    Failed,
    Finished,
    ModelInfo,
    ModelRef,
    Price,
    TextDelta,
    ThinkingDelta,
    ToolAnswer,
    ToolCallDelta,
)
from patina.model.faults import (
    Failure,
    Fault,
    LimitFault,
    McpFault,
    PermissionFault,
    ProviderFault,
    UsageFault,
)
from patina.model.ids import new_id
from patina.model.items import Message, Meta, Note
from patina.model.parts import (
    CallResult,
    File,
    Image,
    Part,
    Spoken,
    Text,
    Thinking,
    ToolCall,
    text_of,
)
from patina.model.questions import Action, Answered, Asked, Sampled, Sampling
from patina.model.settings import PermissionRule, PermissionSettings, ServerSettings
from patina.model.usage import Cost, Usage
from patina.permission.gate import PolicyGate
from patina.ports.dialog import Dialog
from patina.ports.meter import Meter
from patina.providers.scripted import Pause, ScriptedDriver, Step
from patina.store.drafts import MemoryDrafts
from patina.store.memory import MemoryJournal

pytestmark = pytest.mark.anyio

WAIT = 5.0
USED = Usage(input_tokens=20, output_tokens=5)
ALLOW = ServerSettings(display_name="Travel", sampling="allow")
HELLO = Sampling(messages=(Spoken("user", (Text("Say hello."),)),), max_tokens=100)
WEATHER = {"name": "weather/now", "description": "The weather", "inputSchema": {"type": "object"}}


class Stage:
    """A sampler with its driver, its person and its money gate.

    The person answers `answers` in turn, and then accepts; `asked` is what it was asked.
    """

    def __init__(
        self,
        *replies: Sequence[Step],
        settings: ServerSettings | None = None,
        models: Sequence[ModelInfo] = (),
        infos: Sequence[ModelInfo] = (),
        meter: Meter | None = None,
        answers: Sequence[Answered] = (),
    ) -> None:
        async def known() -> Sequence[ModelInfo]:
            await anyio.lowlevel.checkpoint()
            return models

        self.driver = ScriptedDriver(replies)
        self.asked: list[Asked] = []
        self._answers = list(answers)
        clock = ManualClock()
        given = settings or ServerSettings(display_name="Travel")
        self.services = Services(
            journal=MemoryJournal(),
            drafts=MemoryDrafts(),
            providers=FakeProviders(
                self.driver, infos={f"{info.provider}/{info.model}": info for info in infos}
            ),
            tools=FakeTools(),
            gate=PolicyGate(PermissionSettings()),
            meter=meter or Register(),
            clock=clock,
            bus=Bus(clock),
            servers=lambda: {"travel": given},
            models=known,
        )
        self.sampler = Sampler(self.services)

    async def ask(self, asked: Asked) -> Answered:
        self.asked.append(asked)
        await anyio.lowlevel.checkpoint()
        return self._answers.pop(0) if self._answers else Answered(action="accept")

    async def sample(self, prompt: Sampling = HELLO) -> Sampled:
        with anyio.fail_after(WAIT):
            return await self.sampler.sample("travel", prompt, self.ask)

    async def converse(self, model: str = "near/one:high") -> Recorder:
        """Have the sampler work for a conversation that goes on with `model`."""
        recorder = Recorder(self.services, new_id())
        await recorder.write(
            head_of(self.services, recorder),
            Meta(**recorder.keys(), model=model, system="Secret rules of the user."),
            Message(**recorder.keys(), role="user", parts=(Text("A secret question"),)),
        )
        self.sampler = Sampler(self.services, recorder)
        return recorder


def used(meter: Register) -> list[Usage | None]:
    return [one.usage for one in meter.settled]


def accepts(**content: Any) -> Answered:
    return Answered(action="accept", content=content)


async def test_a_person_is_shown_the_prompt_and_then_a_model_answers_it() -> None:
    stage = Stage([TextDelta("Hello"), TextDelta("!"), Finished("stop", usage=USED)])
    prompt = replace(HELLO, system="Be short.", temperature=0.5)
    got = await stage.sample(prompt)
    assert got == Sampled(
        model="one", said=Spoken("assistant", (Text("Hello!"),)), stop_reason="endTurn", usage=USED
    )
    [asked] = stage.asked
    assert (asked.kind, asked.text) == ("sampling", "Travel wants a model to answer.")
    assert asked.sampling == replace(prompt, model="fake/one")
    [request] = stage.driver.requests
    assert (request.model, request.system, request.temperature) == ("one", "Be short.", 0.5)
    assert (request.max_tokens, request.tools, request.effort) == (100, (), None)
    assert [message.parts for message in request.messages] == [(Text("Say hello."),)]


async def test_nothing_of_the_conversation_goes_along_but_its_model_answers() -> None:
    stage = Stage(says("Hello!"))
    await stage.converse()
    await stage.sample()
    assert stage.asked[0].sampling == replace(HELLO, model="near/one")
    [request] = stage.driver.requests
    # Without the conversation's effort: a server is not to choose long thoughts.
    assert (request.system, request.effort, len(request.messages)) == ("", None, 1)


async def test_what_a_person_changed_is_what_is_sent() -> None:
    pixel = Image("0" * 64, "image/png")
    changes = accepts(
        system="Be kind.",
        messages={"0": "Say goodbye.", "2": ""},
        model="far/two:low",
        max_tokens=50_000,
    )
    stage = Stage(says("Goodbye"), answers=[changes])
    said = (
        Spoken("user", (Text("Say "), pixel, Text("hello."))),
        Spoken("assistant", (Text("What?"),)),
        Spoken("user", (Text("And your password"),)),
    )
    got = await stage.sample(replace(HELLO, messages=said))
    [request] = stage.driver.requests
    assert (got.model, request.model, request.effort) == ("two", "two", "low")
    assert (request.system, request.max_tokens) == ("Be kind.", 4096)  # the setting's bound stays
    assert [message.parts for message in request.messages] == [
        (Text("Say goodbye."), pixel),
        (Text("What?"),),
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"messages": {"1": "?"}}, "no message '1'"),
        ({"messages": {"-1": "?"}}, "no message '-1'"),
        ({"messages": {"9" * 5_000: "?"}}, "no message '9999"),
        ({"messages": ["?"]}, "cannot be used"),
        ({"max_tokens": 0}, "cannot be used"),
        ({"max_tokens": "many"}, "cannot be used"),
        ({"temperature": 2}, "cannot be used"),
        ({"model": "nobody/one"}, "no provider named nobody"),
    ],
)
async def test_changes_that_cannot_be_made_send_nothing(
    content: dict[str, object], why: str
) -> None:
    meter = Register()
    stage = Stage(says("Hello!"), answers=[accepts(**content)], meter=meter)
    with pytest.raises(UsageFault, match=why):
        await stage.sample()
    assert (stage.driver.requests, meter.held) == ([], [])


@pytest.mark.parametrize(
    ("action", "why"),
    [("decline", "The user did not let Travel"), ("cancel", "Nobody said whether Travel")],
)
async def test_without_a_yes_nothing_is_sent(action: Action, why: str) -> None:
    meter = Register()
    stage = Stage(says("Hello!"), answers=[Answered(action=action)], meter=meter)
    with pytest.raises(PermissionFault, match=why) as caught:
        await stage.sample()
    assert caught.value.failure.code == "-1"
    assert (stage.driver.requests, meter.held) == ([], [])


async def test_a_server_may_be_denied_it_for_good() -> None:
    stage = Stage(says("Hello!"), settings=ServerSettings(sampling="deny"))
    with pytest.raises(PermissionFault, match="travel may not ask a model") as caught:
        await stage.sample()
    assert "mcp_servers.travel.sampling ask" in caught.value.failure.hint
    assert (stage.driver.requests, stage.asked) == ([], [])


async def test_what_is_allowed_is_not_asked_but_has_every_limit() -> None:
    meter = Register()
    settings = replace(ALLOW, sampling_tokens=64, sampling_requests=2)
    stage = Stage(says("one"), says("two"), says("three"), settings=settings, meter=meter)
    await stage.sample()
    await stage.sample(replace(HELLO, max_tokens=-5))
    assert [(one.conversation, one.model, one.max_tokens) for one in meter.held] == [
        ("", "one", 64),
        ("", "one", 1),
    ]
    with pytest.raises(LimitFault, match="2 times in one call"):
        await stage.sample()
    assert (stage.asked, len(stage.driver.requests)) == ([], 2)


async def test_refused_ones_count_too() -> None:
    no = Answered(action="decline")
    settings = ServerSettings(sampling_requests=2)
    stage = Stage(settings=settings, answers=[no, no, no])
    for _ in range(2):
        with pytest.raises(PermissionFault):
            await stage.sample()
    with pytest.raises(LimitFault):
        await stage.sample()
    assert len(stage.asked) == 2


async def test_it_passes_the_money_gate_and_is_noted() -> None:
    meter = Register()
    stage = Stage([TextDelta("Hel\nlo"), Finished("stop", usage=USED)], meter=meter)
    recorder = await stage.converse()
    await stage.sample()
    [held] = meter.held
    asked = next(item for item in recorder.tree.path() if isinstance(item, Message))
    assert (held.conversation, held.turn) == (recorder.conversation, asked.id)
    assert (held.provider, held.model, held.max_tokens) == ("near", "one", 100)
    assert (held.purpose, held.server) == ("sampling", "travel")
    assert used(meter) == [USED]
    note = recorder.tree.path()[-1]
    assert isinstance(note, Note)
    assert note.text == "Travel had near/one answer a prompt (25 tokens). It said: Hel lo"
    assert (note.level, note.provider, note.model) == ("info", "near", "one")
    assert (note.usage, note.cost) == (USED, Cost(Decimal("0.01"), "test"))


async def test_a_limit_that_it_would_pass_stops_it() -> None:
    stage = Stage(says("Hello!"), meter=Register(most=10))
    with pytest.raises(LimitFault, match="daily limit"):
        await stage.sample()
    assert stage.driver.requests == []


async def test_a_model_that_fails_says_why_and_is_booked() -> None:
    meter = Register()
    failure = Failure("overloaded", "The model is busy.", "Try later.")
    stage = Stage([TextDelta("He"), Failed(failure, usage=USED)], [TextDelta("H")], meter=meter)
    recorder = await stage.converse()
    with pytest.raises(ProviderFault, match="busy") as caught:
        await stage.sample()
    assert caught.value.failure == failure
    assert used(meter) == [USED]
    note = recorder.tree.path()[-1]
    assert isinstance(note, Note)
    assert (note.level, note.usage) == ("warning", USED)
    assert note.text == "Travel asked near/one, which failed: The model is busy."


async def test_cancelling_ends_the_request_and_books_it() -> None:
    never, meter = Pause.closed(), Register()
    stage = Stage([TextDelta("He"), never], meter=meter)
    recorder = await stage.converse()
    with anyio.fail_after(WAIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stage.sample)
            await never.reached.wait()
            assert stage.driver.running == 1
            tasks.cancel_scope.cancel()
    assert stage.driver.running == 0
    [ended] = meter.settled  # what is not known is estimated, which is not nothing
    assert (ended.outcome, ended.usage, ended.output) == ("cancelled", None, 1)
    note = recorder.tree.path()[-1]
    assert isinstance(note, Note)
    assert note.text == "Travel asked near/one, and the call ended before the answer."


async def test_cancelling_while_a_person_is_asked_sends_nothing() -> None:
    stage = Stage(says("Hello!"))
    asked = anyio.Event()

    async def never(_: Asked) -> Answered:
        asked.set()
        await anyio.sleep_forever()
        raise AssertionError

    async def sample() -> None:
        await stage.sampler.sample("travel", HELLO, never)

    with anyio.fail_after(WAIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sample)
            await asked.wait()
            tasks.cancel_scope.cancel()
    assert stage.driver.requests == []


def weather_call(identifier: str = "c1", place: str = "Oslo") -> list[Step]:
    return [
        ThinkingDelta("Hm.", 0, signature="sealed"),
        TextDelta("Let me look.", 1),
        ToolCallDelta(2, identifier, "weather_now", f'{{"place":"{place}"}}', opaque="kept"),
        Finished("tool_calls"),
    ]


def with_results(prompt: Sampling, got: Sampled, text: str = "rain") -> Sampling:
    """What a server asks next, once it has run the model's calls."""
    calls = [part for part in got.said.parts if isinstance(part, ToolCall)]
    # On its way the object was spelled anew.
    said = tuple(
        replace(part, arguments=part.arguments.replace(":", " : "))
        if isinstance(part, ToolCall)
        else part
        for part in got.said.parts
    )
    answers = tuple(CallResult(call.id, (Text(text),)) for call in reversed(calls))
    return replace(
        prompt,
        messages=(*prompt.messages, replace(got.said, parts=said), Spoken("user", answers=answers)),
    )


async def test_the_models_calls_go_to_the_server_and_their_results_to_the_model() -> None:
    stage = Stage(weather_call(), says("It rains."), settings=ALLOW)
    prompt = replace(HELLO, tools=(WEATHER,))
    got = await stage.sample(prompt)
    assert got.stop_reason == "toolUse"
    assert got.said.parts == (
        Text("Let me look."),
        ToolCall("c1", "weather/now", '{"place":"Oslo"}'),
    )
    last = await stage.sample(with_results(prompt, got))
    assert (last.stop_reason, last.said.parts) == ("endTurn", (Text("It rains."),))
    first, second = stage.driver.requests
    assert [(tool.name, tool.description) for tool in first.tools] == [
        ("weather_now", "The weather")
    ]
    _, called, answered = second.messages
    # What the provider made for itself goes back to it, and to nobody else.
    assert called.parts == (
        Thinking("Hm.", "sealed"),
        Text("Let me look."),
        ToolCall("c1", "weather_now", '{"place":"Oslo"}', opaque="kept"),
    )
    assert called.provider == "fake"
    assert answered.answers == (ToolAnswer("c1", "completed", (Text("rain"),)),)
    assert answered.role == "tool"


async def test_what_a_provider_made_for_itself_goes_to_no_other_and_not_with_other_words() -> None:
    elsewhere = Stage(
        weather_call(), says("It rains."), answers=[accepts(), accepts(model="far/two")]
    )
    prompt = replace(HELLO, tools=(WEATHER,))
    got = await elsewhere.sample(prompt)
    await elsewhere.sample(with_results(prompt, got))
    changed = Stage(weather_call(), says("It rains."), settings=ALLOW)
    asked = with_results(prompt, await changed.sample(prompt))
    call = ToolCall("c1", "weather/now", '{"place":"Bergen"}')
    messages = (asked.messages[0], Spoken("assistant", (call,)), asked.messages[2])
    await changed.sample(replace(asked, messages=messages))
    for stage in (elsewhere, changed):
        called = stage.driver.requests[1].messages[1]
        assert called.provider == ""
        assert not any(isinstance(part, Thinking) for part in called.parts)
        assert [part.opaque for part in called.parts if isinstance(part, ToolCall)] == [None]


async def test_without_tools_earlier_calls_are_told_in_words() -> None:
    stage = Stage(weather_call(), says("It rains."), settings=ALLOW)
    got = await stage.sample(replace(HELLO, tools=(WEATHER,)))
    await stage.sample(with_results(HELLO, got))
    told = stage.driver.requests[1].messages
    assert [message.role for message in told] == ["user", "assistant", "user"]
    assert told[1].parts[1] == Text('[The tool weather/now was called with {"place" : "Oslo"}]')
    assert told[2].parts == (Text("[The result of weather/now:]\n"), Text("rain"))


async def test_calls_that_no_tool_was_offered_for_are_left_out() -> None:
    stage = Stage(weather_call(), settings=ALLOW)
    got = await stage.sample()
    assert (got.said.parts, got.stop_reason) == ((Text("Let me look."),), "endTurn")


@pytest.mark.parametrize("arguments", ["[]", "{", "\ud800", "7"])
async def test_a_call_that_mcp_cannot_carry_is_a_failure_of_the_model(arguments: str) -> None:
    reply: list[Step] = [ToolCallDelta(0, "c1", "weather_now", arguments), Finished("tool_calls")]
    stage = Stage(reply, settings=ALLOW)
    with pytest.raises(ProviderFault, match="no JSON object"):
        await stage.sample(replace(HELLO, tools=(WEATHER,)))


async def test_a_model_without_tools_is_not_asked_to_use_some() -> None:
    info = ModelInfo("fake", "one", tools=False)
    stage = Stage(says("Hello!"), infos=[info], settings=ALLOW)
    with pytest.raises(ProviderFault, match="takes no tools"):
        await stage.sample(replace(HELLO, tools=(WEATHER,)))
    assert stage.driver.requests == []


CALL = ToolCall("c1", "weather/now")


@pytest.mark.parametrize(
    "prompt",
    [
        Sampling(messages=()),
        Sampling(messages=(Spoken("user"),)),
        Sampling(messages=(Spoken("assistant", (CALL,)),)),
        Sampling(messages=(Spoken("user", (CALL,)), Spoken("user", answers=(CallResult("c1"),)))),
        Sampling(messages=(Spoken("assistant", (CALL,)), Spoken("user", (Text("And?"),)))),
        Sampling(
            messages=(Spoken("assistant", (CALL,)), Spoken("user", answers=(CallResult("c2"),)))
        ),
        Sampling(
            messages=(
                Spoken("assistant", (CALL,)),
                Spoken("user", (Text("And?"),), (CallResult("c1"),)),
            )
        ),
        Sampling(
            messages=(
                Spoken("assistant", (CALL,)),
                Spoken("user", answers=(CallResult("c1"), CallResult("c1"))),
            )
        ),
        Sampling(
            messages=(
                Spoken("assistant", (CALL, CALL)),
                Spoken("user", answers=(CallResult("c1"), CallResult("c1"))),
            )
        ),
        Sampling(messages=(Spoken("user", answers=(CallResult("c1"),)),)),
        replace(HELLO, tools=({},)),
        replace(HELLO, tools=({"name": "x", "inputSchema": []},)),
        replace(HELLO, tools=(WEATHER, WEATHER)),
    ],
)
async def test_what_is_no_prompt_is_shown_to_nobody(prompt: Sampling) -> None:
    stage = Stage(says("Hello!"))
    with pytest.raises(McpFault, match="cannot be sent to a model") as caught:
        await stage.sample(prompt)
    assert caught.value.failure.code == "-32602"
    assert (stage.asked, stage.driver.requests) == ([], [])


async def test_images_go_with_their_bytes() -> None:
    stage = Stage(says("A cat."), settings=ALLOW)
    kept = await stage.services.journal.put_blob(b"picture")
    parts: tuple[Part, ...] = (
        Text("What is this?"),
        Image(kept, "image/png"),
        File("0" * 64, "audio/wav"),
    )
    await stage.sample(replace(HELLO, messages=(Spoken("user", parts),)))
    [request] = stage.driver.requests
    assert request.blobs == {kept: b"picture"}  # drivers say in words what is lost
    assert request.messages[0].parts == parts


@pytest.mark.parametrize(
    ("stop", "said", "reason"),
    [
        (("\n\n",), "One. Two.", "stopSequence"),
        (("Three", "Two"), "One. ", "stopSequence"),
        (("One",), "", "stopSequence"),
        (("Four", ""), "One. Two.\n\nThree.", "endTurn"),
    ],
)
async def test_stop_sequences_end_the_answer(stop: tuple[str, ...], said: str, reason: str) -> None:
    meter = Register()
    reply: list[Step] = [
        TextDelta("One. Tw"),
        TextDelta("o.\n\nThree."),
        Finished("stop", usage=USED),
    ]
    stage = Stage(reply, settings=ALLOW, meter=meter)
    got = await stage.sample(replace(HELLO, stop=stop))
    assert (got.said.parts, got.stop_reason) == ((Text(said),), reason)
    assert used(meter) == [USED]  # what is not told to the server was made and costs


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (Finished("length"), "maxTokens"),
        (Finished("refusal"), "refusal"),
        (Finished("content_filter"), "contentFilter"),
        (Finished("stop", model="one-2026"), "endTurn"),
    ],
)
async def test_how_it_ended_is_told_in_the_words_of_mcp(end: Finished, reason: str) -> None:
    stage = Stage([end], settings=ALLOW)
    got = await stage.sample()
    assert (got.stop_reason, got.model) == (reason, end.model or "one")
    assert got.said.parts == (Text(""),)  # a message without content is none


async def test_an_answer_is_no_longer_than_the_model_makes_them() -> None:
    stage = Stage(says("Hi"), settings=ALLOW, infos=[ModelInfo("fake", "one", max_output=32)])
    await stage.sample()
    assert stage.driver.requests[0].max_tokens == 32


def model(
    name: str,
    price: str | None = None,
    *,
    tools: bool | None = None,
    images: bool | None = None,
    window: int | None = None,
) -> ModelInfo:
    provider, _, own = name.partition("/")
    return ModelInfo(
        provider,
        own,
        context_window=window,
        tools=tools,
        images=images,
        price=Price(output=Decimal(price)) if price else None,
    )


MODELS = (
    model("open/gpt-5", "10"),
    model("open/gpt-5-mini", "2"),
    model("open/gpt-5-pro", "120"),
    model("open/gpt-odd"),
    model("anth/claude-sonnet-4", "15", window=1_000),
    model("anth/claude-haiku-4", "5", tools=False, images=False),
    model("router/claude-sonnet-4", "15"),
    model("home/llama", "0"),
)
OWN = ModelRef("open", "gpt-5", "high")
CHEAP, CLEVER = {"cost": 0.9, "intelligence": 0.2}, {"cost": 0.1, "intelligence": 0.9}
PICTURE = Spoken("user", (Image("0" * 64, "image/png"),))


@pytest.mark.parametrize(
    ("change", "shown", "expected"),
    [
        ({}, True, "open/gpt-5"),
        ({"priorities": CHEAP}, True, "open/gpt-5"),  # nothing was hinted at
        ({"hints": ("mistral",)}, True, "open/gpt-5"),
        ({"hints": ("",)}, True, "open/gpt-5"),
        ({"hints": ("mistral", "Claude-Haiku")}, True, "anth/claude-haiku-4"),
        ({"hints": ("claude",)}, True, "anth/claude-haiku-4"),
        ({"hints": ("claude-sonnet",)}, True, "anth/claude-sonnet-4"),
        ({"hints": ("router/",)}, True, "router/claude-sonnet-4"),
        ({"hints": ("gpt",)}, True, "open/gpt-5"),  # the conversation's fits
        ({"hints": ("gpt-5-mini", "claude")}, True, "open/gpt-5-mini"),  # the first hint counts
        ({"hints": ("gpt",), "priorities": CHEAP}, True, "open/gpt-5-mini"),
        ({"hints": ("gpt",), "priorities": CLEVER}, True, "open/gpt-5"),  # not what costs more
        ({"hints": ("claude", "gpt"), "priorities": CLEVER}, True, "anth/claude-haiku-4"),
        ({"hints": ("sonnet",), "priorities": CLEVER}, True, "anth/claude-sonnet-4"),
        ({"hints": ("gpt-5-", "x"), "priorities": CLEVER}, True, "open/gpt-5-mini"),
        ({"hints": ("gpt-5-pro",)}, True, "open/gpt-5-pro"),
        ({"hints": ("gpt-5-pro",)}, False, "open/gpt-5"),
        ({"hints": ("gpt",), "priorities": {"speed": 1.0}}, True, "open/gpt-5-mini"),
        ({"hints": ("gpt",), "priorities": {"cost": float("nan")}}, True, "open/gpt-5"),
        ({"hints": ("claude",), "tools": (WEATHER,)}, True, "anth/claude-sonnet-4"),
        ({"hints": ("haiku",), "messages": (PICTURE,)}, True, "open/gpt-5"),
        ({"hints": ("claude-sonnet",), "max_tokens": 2_000}, True, "router/claude-sonnet-4"),
        # Where nobody sees the choice, it costs no more than the conversation's model.
        ({"hints": ("gpt",), "priorities": CLEVER}, False, "open/gpt-5"),
        ({"hints": ("gpt-odd",)}, False, "open/gpt-5"),
        ({"hints": ("claude",)}, False, "anth/claude-haiku-4"),
        ({"hints": ("llama",)}, False, "home/llama"),
        ({"hints": ("x",) * 10 + ("llama",)}, True, "open/gpt-5"),
    ],
)
def test_a_model_is_chosen_by_hints(change: dict[str, Any], shown: bool, expected: str) -> None:
    prompt = replace(HELLO, **change)
    found = preferred_model(prompt, MODELS, OWN, shown=shown)
    assert (str(found), found.effort) == (expected, None)


def test_unseen_and_beside_a_model_without_a_price_only_what_is_free_is_chosen() -> None:
    own = ModelRef("open", "gpt-odd")
    for hint, expected in (("claude", "open/gpt-odd"), ("llama", "home/llama"), ("odd", str(own))):
        prompt = replace(HELLO, hints=(hint,))
        assert str(preferred_model(prompt, MODELS, own, shown=False)) == expected


@pytest.mark.parametrize(
    ("names", "hint", "expected"),
    [
        ("claude-2 claude-3-7-sonnet claude-sonnet-4-5-20250929 claude-sonnet-4-5", "claude", 3),
        ("claude-3-sonnet-20240229 claude-sonnet-5 claude-3-5-sonnet", "SONNET", 1),
        ("gpt-3.5-turbo gpt-oss-120b gpt-4o gpt-4o-2024-08-06 gpt-4.1", "gpt", 4),
        ("llama-3-70b llama-3.3-70b-instruct llama-2-13b", "llama", 1),
        ("phi mistral:7b", "mistral", 1),
    ],
)
def test_of_many_the_newest_is_chosen(names: str, hint: str, expected: int) -> None:
    listed = names.split()
    prompt = replace(HELLO, hints=(hint,))
    found = preferred_model(prompt, [model(f"far/{name}") for name in listed], OWN, shown=True)
    assert found == ModelRef("far", listed[expected])


async def test_the_hinted_model_is_proposed_and_answers() -> None:
    stage = Stage(says("Hello!"), models=MODELS)
    got = await stage.sample(replace(HELLO, hints=("haiku",)))
    assert stage.asked[0].sampling is not None
    assert stage.asked[0].sampling.model == "anth/claude-haiku-4"
    assert got.model == "claude-haiku-4"


async def test_a_list_of_models_that_does_not_come_holds_nothing_up() -> None:
    async def never() -> Sequence[ModelInfo]:
        await anyio.sleep_forever()
        return ()

    stage = Stage(says("Hello!"), settings=ALLOW)
    clock = stage.services.clock
    assert isinstance(clock, ManualClock)
    sampler = Sampler(replace(stage.services, models=never))
    with anyio.fail_after(WAIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sampler.sample, "travel", replace(HELLO, hints=("x",)), stage.ask)
            while not clock.waiting():
                await anyio.lowlevel.checkpoint()
            clock.advance(10)
    assert stage.driver.requests[0].model == "one"


@given(st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True))
def test_tools_of_any_name_reach_the_model_and_come_back(names: list[str]) -> None:
    prompt = replace(HELLO, tools=tuple({"name": name} for name in names))
    tools = tools_of(prompt)
    aliases = [spec.name for spec in tools.specs]
    assert len(set(aliases)) == len(names)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", alias) for alias in aliases)
    assert [tools.names[alias] for alias in aliases] == names


parts = st.one_of(
    st.builds(Text, st.text()),
    st.builds(ToolCall, st.sampled_from("ab"), st.text(min_size=1), st.text()),
    st.builds(Image, st.just("0" * 64), st.just("image/png")),
)
spoken = st.builds(
    Spoken,
    st.sampled_from(["user", "assistant"]),
    st.lists(parts, max_size=3).map(tuple),
    st.lists(st.builds(CallResult, st.sampled_from("ab")), max_size=2).map(tuple),
)


@given(st.lists(spoken, max_size=5), st.booleans())
def test_every_prompt_is_a_conversation_or_none(said: list[Spoken], tools: bool) -> None:
    prompt = Sampling(messages=tuple(said), tools=(WEATHER,) if tools else ())
    try:
        told = messages_of(prompt, tools_of(prompt), {}, "fake")
    except Fault:
        return
    assert all(message.parts or message.answers for message in told)
    for before, message in zip(told, [*told[1:], ChatMessage("user")], strict=True):
        calls = [part.id for part in before.parts if isinstance(part, ToolCall)]
        assert [answer.call_id for answer in message.answers] == calls


BOOK = calls(("c1", "travel__book", "{}"))
EVERYTHING = PolicyGate(PermissionSettings(rules=(PermissionRule(action="allow"),)))


async def samples(arguments: Mapping[str, Any], dialog: Dialog) -> str:
    """What the server of the tool does: it has a model say what the tool then returns."""
    got = await dialog.sample("travel", replace(HELLO, stop=("\n",)))
    return f"The model said: {text_of(got.said.parts)}"


async def test_in_a_conversation_the_question_the_cost_and_the_result_stand_in_their_order() -> (
    None
):
    meter = Register()
    answer: list[Step] = [TextDelta("Grüezi!"), Finished("stop", usage=USED)]
    async with world(
        BOOK, answer, says("Booked."), tools=talking(samples), gate=EVERYTHING, meter=meter
    ) as w:
        conversation = w.send("Book it", model="near/one")
        asked = await w.until(events.QuestionAsked)
        assert asked.item.asked.sampling == replace(HELLO, model="near/one", stop=("\n",))
        w.give(asked, messages={"0": "Say hello in Swiss German."})
        assert (await w.turn(conversation)).stop_reason == "stop"
        kinds = [type(item).__name__ for item in (await w.tree(conversation)).path()]
        assert kinds[2:] == ["Decision", "Call", "Question", "Answer", "Note", "Result", "Message"]
        assert text_of(w.driver.requests[1].messages[0].parts) == "Say hello in Swiss German."
        [told] = w.driver.requests[2].messages[-1].answers
        assert text_of(told.parts) == "The model said: Grüezi!"
        assert [(held.conversation, held.purpose) for held in meter.held] == [
            (conversation, "chat"),
            (conversation, "sampling"),
            (conversation, "tools"),
        ]


async def test_declined_in_a_conversation_the_tool_is_told() -> None:
    async with world(BOOK, says("ok"), tools=talking(samples), gate=EVERYTHING) as w:
        conversation = w.send("Book it")
        w.give(await w.until(events.QuestionAsked), "decline")
        await w.turn(conversation)
        [told] = w.driver.requests[1].messages[-1].answers
        assert (told.status, len(w.driver.requests)) == ("failed", 2)
        assert text_of(told.parts).startswith("The user did not let travel ask a model.")


async def test_interrupting_the_turn_ends_the_models_answer_to_the_server() -> None:
    never, meter = Pause.closed(), Register()
    async with world(
        BOOK, [TextDelta("He"), never], tools=talking(samples), gate=EVERYTHING, meter=meter
    ) as w:
        conversation = w.send("Book it")
        w.give(await w.until(events.QuestionAsked))
        with anyio.fail_after(WAIT):
            await never.reached.wait()
        w.engine.submit(commands.Interrupt(conversation=conversation))
        assert (await w.turn(conversation)).stop_reason == "cancelled"
        assert w.driver.running == 0
        assert meter.settled[-1].outcome == "cancelled"
        kinds = [type(item).__name__ for item in (await w.tree(conversation)).path()]
        assert kinds[-2:] == ["Note", "Result"]
