"""The plain chat's words for money: what it costs, what it did cost, and limits."""

import re
import shlex
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, Final

import anyio
import anyio.to_thread
from msgspec import Struct

from patina.assembly.app import App
from patina.assembly.estimate import draft_of, server_shares
from patina.billing.days import local_day, month_of
from patina.cli.context import Context
from patina.cli.estimating import next_of
from patina.cli.limits import amount_of, limit_lines, limits_of, write_limit
from patina.cli.prompt import Prompt, Said
from patina.cli.result import AskResult
from patina.model.chat import ModelRef
from patina.model.events import LimitWarned, ServerNotice
from patina.model.faults import Failure, Fault, UsageFault
from patina.model.items import Message
from patina.model.money import Quote, Sum, Wanted
from patina.model.parts import Text
from patina.model.settings import BillingSettings
from patina.model.tree import Tree
from patina.views import money

_RAISE: Final = re.compile(r"patina limits set (\S+|'[^']+') (\d+(?:\.\d+)?)")
_LISTED: Final = 20  # models that are compared at a time


class Raise(Struct, frozen=True):
    """One step that lets a refused message pass: `limit` is the word of `patina limits set`."""

    limit: str
    amount: str

    @property
    def offer(self) -> str:
        """The offer in words."""
        return money.raise_text(self.limit, self.amount)


def raise_of(failure: Failure | None) -> Raise | None:
    """Return the step that the hint of a limit names, None where there is none."""
    if failure is None or failure.kind != "limit":
        return None
    match = _RAISE.search(failure.hint)
    if match is None:
        return None
    return Raise(shlex.split(match[1])[0], match[2])


class MoneyCommands:
    """Carries out /cost and /limits, and says what answers cost. `run` runs async work in the
    app's thread, which Ctrl+C ends with `CancelledError`; `tell` shows a line.
    """

    def __init__(self, app: App, run: Callable[..., Any], tell: Callable[[str], None]) -> None:
        self._app = app
        self._run = run
        self._tell = tell

    def cost(self, prompt: Prompt, words: str) -> None:
        """/cost, and /cost models with what their names hold. Raises `Fault`s."""
        verb, _, rest = words.partition(" ")
        if verb not in ("", "models"):
            raise UsageFault(
                f"/cost does not know {verb}.",
                hint="/cost says what was spent; /cost models WORDS compares models.",
            )
        work = self._models if verb else self._costs
        try:
            lines = self._run(work, prompt, rest.strip())
        except CancelledError:
            lines = [""]
        self._tell("\n".join(lines))

    def limits(self, session: str, words: str) -> None:
        """/limits, and /limits set NAME AMOUNT. Raises `Fault`s."""
        verb, *rest = words.split() or [""]
        if verb == "set" and len(rest) == 2:
            self._run(self._set, rest[0], f"{amount_of(rest[1]):f}")
        elif verb:
            raise UsageFault(
                f"/limits does not know {words}.", hint="/limits shows them; /limits set daily 5"
            )
        self._tell("\n".join(self._run(self._limits, session)))

    def usage(self, run: Context, words: str) -> None:
        """/usage, with the options of `patina usage`. Raises `Fault`s."""
        import click

        from patina.cli.usage import usage

        try:
            usage.main(shlex.split(words), "/usage", standalone_mode=False, obj=run)
        except ValueError:
            raise UsageFault("A quotation mark is missing.", hint="/usage --by model") from None
        except click.ClickException as error:
            raise UsageFault(error.format_message(), hint="/usage --help") from None

    def tell_dear(self, prompt: Prompt) -> None:
        """Say what a message would cost, where that is much. Raises no fault."""
        try:
            quote: Quote = self._run(self._quoted, prompt)
        except (Fault, CancelledError):
            return
        if money.is_dear(quote):
            self._tell(money.quote_text(quote))

    def after(self, result: AskResult, line: Callable[[str], str | None]) -> bool:
        """Say what an answer cost; where a limit stopped it, offer to raise that. Whether it was
        raised, and is to be sent again. `line` asks for a line.
        """
        self._tell_cost(result)
        step = raise_of(result.error) if result.provider else None
        if step is None:
            return False
        answer: str | None = None
        with suppress(KeyboardInterrupt):
            answer = line(f"[R] {step.offer} · Enter leaves it: ")
        if (answer or "").strip().lower() != "r":
            return False
        self._run(self._set, step.limit, step.amount)
        return True

    def _tell_cost(self, result: AskResult) -> None:
        """Say what an answer cost, with the conversation and the day; nothing of what costs nothing
        by rule. Raises no fault.
        """
        cost = result.cost
        if not result.answered or (cost is not None and cost.source == "local"):
            return
        if cost is None:
            self._tell("What this answer cost is not known: nobody knows the model's price.")
            return
        words = f"This answer: {money.cost_text(cost)}"
        with suppress(Fault, CancelledError):
            own, day = self._run(self._totals, result.session_id)
            words += f" · conversation: {money.sum_text(own)} · today: {money.sum_text(day)}"
        self._tell(words)

    async def _quoted(self, prompt: Prompt) -> Quote:
        model = self._app.providers.resolve(prompt.model or "")
        nothing = Wanted(
            provider=model.provider,
            model=model.model,
            purpose="chat",
            most_input=0,
            input=0,
            max_tokens=0,
        )
        cheap = await self._app.meter.quote(nothing)
        if cheap.tariff.local or not cheap.tariff.known:
            return cheap  # the conversation need not be read for that
        said = Said((), (*prompt.attached, Text(prompt.text)))
        draft = await draft_of(self._app, next_of(prompt, prompt.session, said))
        return await self._app.meter.quote(draft.wanted)

    async def _totals(self, session: str) -> tuple[Sum, Sum]:
        today = local_day(self._app.clock.now())
        meter = self._app.meter
        own = await meter.sums("conversation", conversation=session)
        day = await meter.sums("day", since=today, until=today)
        return _added(own), _added(day)

    async def _costs(self, prompt: Prompt, _: str) -> list[str]:
        session = prompt.session
        draft = await draft_of(self._app, next_of(prompt, session))
        quote = await self._app.meter.quote(draft.wanted)
        today = local_day(self._app.clock.now())
        meter = self._app.meter
        sums: list[tuple[str, Sum | None]] = []
        if session:
            own = await meter.sums("conversation", conversation=session)
            sums.append(("This conversation", _added(own)))
        day = await meter.sums("day", since=today, until=today)
        month = await meter.sums("month", since=f"{month_of(today)}-01", until=today)
        sums += [("Today", _added(day)), ("This month", _added(month))]
        info = await self._app.providers.info(draft.model)
        meter_view = money.context_meter(quote.input, info.context_window)
        newest = _newest(draft.tree)
        lines = [] if newest is None else [f"The newest answer: {money.cost_text(newest.cost)}"]
        lines += money.totals(sums)
        lines.append(f"The next message to {draft.model}: {money.quote_text(quote)}")
        lines.append(f"Context: {meter_view.bar} {meter_view.text}".replace("  ", " "))
        lines += [
            money.server_text(cost) for cost in server_shares(draft, quote.input, quote.tariff)
        ]
        return [*lines, "/cost models WORDS compares what it would cost with other models."]

    async def _models(self, prompt: Prompt, words: str) -> list[str]:
        draft = await draft_of(self._app, next_of(prompt, prompt.session))
        wanted = words.lower().split()
        refs = [ModelRef(info.provider, info.model) for info in await self._app.services.models()]
        refs = [ref for ref in refs if all(word in str(ref).lower() for word in wanted)]
        quotes = [(str(ref), await self._app.meter.quote(draft.with_model(ref))) for ref in refs]
        found = money.model_costs(quotes)
        if not found:
            return ["No model is called so. `patina models` lists them."]
        width = max(len(one.model) for one in found[:_LISTED])
        lines = [f"{one.model:{width}}  {one.text}" for one in found[:_LISTED]]
        more = len(found) - _LISTED
        return [*lines, f"and {more:,} more: name what to look for."] if more > 0 else lines

    async def _limits(self, session: str) -> list[str]:
        billing = await anyio.to_thread.run_sync(self._billing)
        standings = {
            (one.limit.kind, "" if one.limit.kind == "conversation" else one.limit.name): one
            for one in await self._app.meter.standing(session)
        }
        known = limits_of(billing)
        if not known:
            return ["No limits are set: /limits set daily 5 sets one."]
        return limit_lines(known, standings, billing)

    async def _set(self, limit: str, amount: str) -> None:
        setup = self._app.setup
        await anyio.to_thread.run_sync(write_limit, setup.paths, limit, amount_of(amount))
        if setup.reload is not None:
            # In force before anything is sent: what follows the file may look a second later.
            loaded = await anyio.to_thread.run_sync(setup.reload)
            self._app.money.follow(loaded.settings)

    def _billing(self) -> BillingSettings:
        setup = self._app.setup
        loaded = setup.reload() if setup.reload is not None else setup.configured
        return loaded.settings.billing


async def hear_alerts(app: App, hear: Callable[[ServerNotice], None]) -> None:
    """Give warnings about limits that no answer shows to `hear`, until cancelled."""
    with app.engine.subscribe("") as subscription:
        async for event in subscription:
            if isinstance(event, LimitWarned) and not event.conversation:
                hear(ServerNotice(server="", level="warning", text=event.text))


def _newest(tree: Tree) -> Message | None:
    said = (item for item in reversed(tree.path()) if isinstance(item, Message))
    return next((item for item in said if item.role == "assistant"), None)


def _added(sums: Sequence[Sum]) -> Sum:
    """Return one sum of all."""
    total = Sum(key="")
    for one in sums:
        total = Sum(
            key="",
            requests=total.requests + one.requests,
            usage=total.usage + one.usage,
            cost=total.cost + one.cost,
            unknown=total.unknown + one.unknown,
            estimated=total.estimated + one.estimated,
            duration_ms=total.duration_ms + one.duration_ms,
        )
    return total
