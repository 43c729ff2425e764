"""An engine over the shipped fakes: commands in, events out, every wait bounded."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC
from decimal import Decimal
from typing import TypeVar, cast

import anyio

from patina.billing.meter import LedgerMeter
from patina.engine.bus import Bus, Subscription
from patina.engine.clock import ManualClock
from patina.engine.host import Engine
from patina.engine.services import Services
from patina.mcp.fake import FakeTools, Resume, Script, Talk
from patina.model import commands, events
from patina.model.chat import Finished, ModelInfo, ModelRef, TextDelta, ToolCallDelta
from patina.model.faults import LimitFault, UsageFault
from patina.model.ids import new_id
from patina.model.items import Choice
from patina.model.money import Entry, Quote, Standing, Sum, Tariff, Used, Wanted
from patina.model.money import Step as PriceStep
from patina.model.options import Effort, TurnOptions
from patina.model.parts import Text
from patina.model.questions import Action, Answered
from patina.model.settings import (
    BillingSettings,
    ChatSettings,
    PermissionRule,
    PermissionSettings,
    ServerSettings,
)
from patina.model.tree import Tree
from patina.model.usage import Cost
from patina.permission.gate import PolicyGate
from patina.ports.clock import Clock
from patina.ports.drafts import Drafts
from patina.ports.features import Features
from patina.ports.journal import Journal
from patina.ports.ledger import GroupBy, Ledger
from patina.ports.meter import Meter
from patina.ports.permission import Gate, RuleWriter
from patina.ports.provider import Driver
from patina.providers.scripted import ScriptedDriver, Step
from patina.store.drafts import MemoryDrafts
from patina.store.memory import MemoryJournal
from patina.store.money.memory import MemoryLedger

WAIT = 5.0
UNTIMED = ChatSettings(turn_time=0.0)  # nothing but what a test does waits for the clock
E = TypeVar("E", bound=events.Event)


class FakeProviders:
    """`ports.provider.Providers`: `driver` speaks for every provider but those in `others`.

    `infos` is what is known of models, by `provider/model`; `asked` are those that were asked for.
    """

    def __init__(
        self,
        driver: Driver,
        others: Mapping[str, Driver] | None = None,
        infos: Mapping[str, ModelInfo] | None = None,
    ) -> None:
        self._driver = driver
        self._others = dict(others or {})
        self.infos = dict(infos or {})
        self.asked: list[str] = []

    def resolve(self, name: str) -> ModelRef:
        provider, _, rest = (name or "fake/one").partition("/")
        if provider == "nobody":
            raise UsageFault("There is no provider named nobody.")
        model, _, effort = rest.partition(":")
        return ModelRef(provider, model, cast("Effort | None", effort or None))

    def driver(self, provider: str) -> Driver:
        return self._others.get(provider, self._driver)

    async def info(self, ref: ModelRef) -> ModelInfo:
        self.asked.append(str(ref))
        await anyio.lowlevel.checkpoint()
        return self.infos.get(str(ref), ModelInfo(ref.provider, ref.model))


class FakeTariffs:
    """`ports.tariffs.Tariffs` by `provider/model`; what is not in `known` nobody knows."""

    def __init__(self, known: Mapping[str, Tariff] | None = None) -> None:
        self.known = dict(known or {})

    async def tariff(self, model: ModelRef) -> Tariff:
        await anyio.lowlevel.checkpoint()
        return self.known.get(str(model), Tariff())


def priced(input: str, output: str, **more: object) -> Tariff:  # noqa: A002 - as in Tariff
    """A tariff of USD per million tokens."""
    return Tariff(
        input=(PriceStep(0, Decimal(input)),),
        output=(PriceStep(0, Decimal(output)),),
        source="test",
        date="2026-01-01",
        **more,  # type: ignore[arg-type]
    )


class Register:
    """A money gate that writes down what it hears, and forbids what is over `most` tokens.

    What has usage costs a cent.
    """

    def __init__(self, most: int = 1_000_000) -> None:
        self.most = most
        self.held: list[Wanted] = []
        self.settled: list[Used] = []

    async def quote(self, wanted: Wanted) -> Quote:
        await anyio.lowlevel.checkpoint()
        return Quote()

    async def hold(self, wanted: Wanted, *, unpriced: bool = False) -> str:
        await anyio.lowlevel.checkpoint()
        if wanted.max_tokens > self.most:
            raise LimitFault("That would be over the daily limit.")
        self.held.append(wanted)
        return f"hold {len(self.held)}"

    async def settle(self, hold: str, used: Used) -> Cost | None:
        assert hold == f"hold {len(self.held)}"
        self.settled.append(used)
        return Cost(Decimal("0.01"), "test") if used.usage else None

    def running(self, hold: str, output_tokens: int) -> Cost | None:
        return None

    async def standing(self, conversation: str = "") -> tuple[Standing, ...]:
        await anyio.lowlevel.checkpoint()
        return ()

    async def sums(
        self, by: GroupBy, since: str = "", until: str = "", **only: str
    ) -> tuple[Sum, ...]:
        await anyio.lowlevel.checkpoint()
        return ()

    async def entries(
        self, take: Callable[[Sequence[Entry]], None], since: str = "", until: str = ""
    ) -> None:
        await anyio.lowlevel.checkpoint()


def says(text: str) -> list[Step]:
    """A reply of words, in two deltas."""
    half = len(text) // 2
    return [TextDelta(text[:half]), TextDelta(text[half:]), Finished("stop")]


def calls(*wanted: tuple[str, str, str]) -> list[Step]:
    """A reply that calls tools: (id, alias, arguments as JSON text), arguments in two pieces."""
    deltas: list[Step] = []
    for index, (identifier, alias, arguments) in enumerate(wanted):
        deltas.append(ToolCallDelta(index, identifier, alias, arguments[:3]))
        deltas.append(ToolCallDelta(index, arguments=arguments[3:]))
    return [*deltas, Finished("tool_calls")]


QUERY = {
    "type": "object",
    "properties": {"query": {"type": "string"}},
    "additionalProperties": False,
}


def fake_tools(search: Script | None = None) -> FakeTools:
    """The tools `github.delete` and `github.search`; the latter does what `search` says."""
    tools = FakeTools()
    tools.add(
        "github.delete",
        lambda _: "gone",
        description="Delete a repository",
        display_name="GitHub",
    )
    tools.add(
        "github.search",
        search or (lambda arguments: f"results for {arguments.get('query')}"),
        description="Search GitHub repositories",
        schema=QUERY,
        display_name="GitHub",
    )
    return tools


def talking(
    talk: Talk, *, resume: Resume | None = None, timeout: float = 30.0, most_time: float = 600.0
) -> FakeTools:
    """The tool `travel.book`, whose server talks back while it runs, and `travel.look`."""
    tools = FakeTools()
    tools.add_talking("travel.book", talk, resume=resume, timeout=timeout, most_time=most_time)
    tools.add("travel.look", lambda _: "a flight", display_name="Travel")
    return tools


class World:
    """A running engine and what a test needs to watch it."""

    def __init__(
        self,
        engine: Engine,
        services: Services,
        clock: ManualClock,
        everything: Subscription,
        driver: ScriptedDriver,
        tools: FakeTools,
        providers: FakeProviders,
    ) -> None:
        self.driver = driver
        self.providers = providers
        self.tools = tools
        self.engine = engine
        self.services = services
        self.clock = clock
        self._everything = everything
        self.seen: list[events.AnyEvent] = []

    def send(
        self,
        text: str,
        conversation: str | None = None,
        message_id: str | None = None,
        model: str | None = None,
        **options: object,
    ) -> str:
        """Submit a message and return its conversation's id."""
        conversation = conversation or new_id()
        command = commands.SendMessage(
            conversation=conversation,
            message_id=message_id or new_id(),
            parts=(Text(text),),
            model=model,
            options=TurnOptions(**options),  # type: ignore[arg-type]
        )
        self.engine.submit(command)
        return conversation

    def answer(
        self,
        asked: events.PermissionAsked,
        choice: Choice,
        reason: str = "",
        arguments: str = "",
        rule: PermissionRule | None = None,
    ) -> None:
        """Answer a question."""
        self.engine.submit(
            commands.AnswerPermission(
                conversation=asked.conversation,
                ask_id=asked.item.id,
                choice=choice,
                reason=reason,
                arguments=arguments,
                rule=rule,
            )
        )

    def give(
        self, asked: events.QuestionAsked, action: Action = "accept", **content: object
    ) -> None:
        """Answer what a server asks."""
        self.engine.submit(
            commands.AnswerQuestion(
                conversation=asked.conversation,
                question_id=asked.item.id,
                answered=Answered(action=action, content=content),
            )
        )

    async def until(self, kind: type[E], accept: Callable[[E], bool] = lambda event: True) -> E:
        """Return the next event of `kind` that `accept` likes; fails after `WAIT` seconds."""
        with anyio.fail_after(WAIT):
            async for event in self._everything:
                self.seen.append(event)
                if isinstance(event, kind) and accept(event):
                    return event
        raise AssertionError(f"the events ended before {kind.__name__}")

    async def turn(self, conversation: str) -> events.TurnEnded:
        """Wait for the end of the conversation's running turn."""
        return await self.until(events.TurnEnded, lambda e: e.conversation == conversation)

    async def clock_has(self, waiting: int) -> None:
        """Wait until that many bodies wait for the clock."""
        with anyio.fail_after(WAIT):
            while self.clock.waiting() < waiting:
                await anyio.lowlevel.checkpoint()

    async def tree(self, conversation: str) -> Tree:
        """Return the conversation as the journal has it."""
        return Tree((await self.services.journal.read(conversation)).items)

    def kinds(self) -> list[str]:
        """The types of the events seen so far, without deltas."""
        return [
            str(type(event).__struct_config__.tag)
            for event in self.seen
            if not isinstance(event, (events.TextDelta, events.ToolCallDelta))
        ]


def metered(
    ledger: Ledger,
    prices: Mapping[str, Tariff] | None,
    clock: Clock,
    billing: BillingSettings | None,
    bus: Bus,
) -> LedgerMeter:
    """The real money gate, whose days are those of UTC."""
    limits = billing or BillingSettings()
    return LedgerMeter(ledger, FakeTariffs(prices), clock, lambda: limits, UTC, bus.publish)


@asynccontextmanager
async def world(
    *replies: Sequence[Step],
    driver: ScriptedDriver | None = None,
    tools: FakeTools | None = None,
    features: Features | None = None,
    gate: Gate | None = None,
    rules: RuleWriter | None = None,
    servers: Mapping[str, ServerSettings] | None = None,
    journal: Journal | None = None,
    chat: ChatSettings | None = None,
    others: Mapping[str, Driver] | None = None,
    infos: Mapping[str, ModelInfo] | None = None,
    meter: Meter | None = None,
    billing: BillingSettings | None = None,
    prices: Mapping[str, Tariff] | None = None,
    ledger: Ledger | None = None,
    drafts: Drafts | None = None,
    titles: bool = False,
    watch: float = 0.0,
    clock: ManualClock | None = None,
) -> AsyncIterator[World]:
    """A world whose model gives `replies` one after the other.

    Money is written to `ledger` at `prices` by `provider/model`, within the limits of `billing`;
    with a `meter` of its own a test has none of these.

    `rules` keeps what is allowed for always, `servers` are the settings of the servers.
    `others` are drivers of more providers by their names, `infos` what is known of models. `titles`
    and `watch` as in `Services`: off, so that nothing happens but what a test asks for.
    """
    clock = clock or ManualClock()
    chosen = driver or ScriptedDriver(list(replies))
    offered = tools or FakeTools()
    providers = FakeProviders(chosen, others, infos)
    bus = Bus(clock)
    money = ledger or MemoryLedger(now=clock.now)
    services = Services(
        journal=journal or MemoryJournal(),
        drafts=drafts or MemoryDrafts(),
        providers=providers,
        tools=offered,
        features=features,
        gate=gate or PolicyGate(PermissionSettings()),
        meter=meter or metered(money, prices, clock, billing, bus),
        clock=clock,
        bus=bus,
        chat=chat or UNTIMED,
        servers=lambda: servers or {},
        rules=rules,
        device="test0000",
        app="patina test",
        titles=titles,
        watch=watch,
    )
    async with Engine(services) as engine:
        with engine.subscribe() as everything:
            yield World(engine, services, clock, everything, chosen, offered, providers)
