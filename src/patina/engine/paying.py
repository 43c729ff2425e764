"""The way of every request to a provider: money is held for it, then it is sent, then booked.

Nothing in the engine asks a driver for a stream but `Payment.stream`, so nothing goes unpaid.
"""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Final, cast

from msgspec import Struct
from msgspec.structs import replace

from patina.engine.bounds import Counted, most_input
from patina.engine.coming import Coming
from patina.engine.estimate import fixed_size, size_of
from patina.engine.services import Services
from patina.model.chat import (
    ChatRequest,
    Failed,
    Finished,
    ModelRef,
    Retrying,
    StreamEvent,
    ToolCallDelta,
)
from patina.model.faults import UNSENT, Failure, FaultKind
from patina.model.items import Message
from patina.model.money import Outcome, Purpose, Used, Wanted
from patina.model.options import TurnOptions
from patina.model.tree import Tree
from patina.model.usage import Cost, Usage
from patina.ports.provider import Driver, SaysMost

# Seconds between two words about what an answer costs so far.
TELL_EVERY: Final = 0.25
# Failures before any answer, of which no provider asks money.
_REFUSED: Final[frozenset[FaultKind]] = frozenset(
    {
        "auth",
        "model_not_found",
        "rate_limit",
        "quota",
        "context_too_long",
        "overloaded",
        "bad_request",
    }
)
_BROKEN_OFF: Final[frozenset[FaultKind]] = frozenset({"cut", "timeout"})
_ENDLESS: Final = Failure(
    "cut",
    "The answer was stopped: the model's endpoint wrote far more than it may, which would cost.",
    "What arrived is kept. --max-tokens (or `chat.max_tokens`) is what it may write.",
)


class Cause(Struct, frozen=True, kw_only=True):
    """What a request is for; see `Wanted`."""

    purpose: Purpose
    conversation: str = ""
    turn: str = ""
    server: str = ""
    options: TurnOptions = TurnOptions()


def wanted_of(
    request: ChatRequest,
    model: ModelRef,
    cause: Cause,
    driver: Driver | None = None,
    *,
    tokens: float | None = None,
    counted: Counted | None = None,
    reported: tuple[int, int] | None = None,
) -> Wanted:
    """Return what is to be paid for `request` to `model`.

    `driver` is who sends it, and may let it be answered with more than it asks for. `tokens` is an
    estimate of its input, where there is one already; the rest as in `most_input`.
    """
    if tokens is None:
        size = fixed_size(request.system, request.tools) + size_of(request.messages, request.blobs)
        tokens = size.tokens(request.info)
    most = most_input(request, counted, reported)
    return Wanted(
        provider=model.provider,
        model=request.model,
        purpose=cause.purpose,
        most_input=most,
        input=min(math.ceil(tokens), most),
        max_tokens=_most_output(request, driver),
        conversation=cause.conversation,
        turn=cause.turn,
        server=cause.server,
        timeout=request.timeout,
        budget=cause.options.budget,
        run=cause.options.run,
    )


def _most_output(request: ChatRequest, driver: object) -> int:
    return driver.most_output(request) if isinstance(driver, SaysMost) else request.max_tokens


def cause_of(tree: Tree, conversation: str, purpose: Purpose, server: str = "") -> Cause:
    """Return the cause of a request that is made beside the newest turn of a conversation."""
    asked = (it for it in reversed(tree.path()) if isinstance(it, Message) and it.role == "user")
    turn = next(asked, None)
    if turn is None:
        return Cause(purpose=purpose, conversation=conversation, server=server)
    return Cause(
        purpose=purpose,
        conversation=conversation,
        turn=turn.id,
        server=server,
        options=tree.options(turn.id),
    )


class Payment:
    """One request that money is held for. `cost` is known once it is settled; None: unknown."""

    def __init__(
        self,
        services: Services,
        hold: str,
        wanted: Wanted,
        tell: Callable[[Cost], None] | None = None,
        factor: float = 1.0,
    ) -> None:
        self.hold = hold
        self.cost: Cost | None = None
        self._most = wanted.max_tokens
        self._coming = Coming(wanted.max_tokens, factor)
        self._thinks = True  # unless it is known not to
        self._meter = services.meter
        self._clock = services.clock
        self._tell = tell
        self._outcome: Outcome = "void"
        self._end: Finished | Failed | None = None
        self._began = 0.0
        self._ended = 0.0
        self._first: float | None = None
        self._told = 0.0

    @property
    def usage(self) -> Usage | None:
        """What the provider says that it used, where that can be."""
        told = self._end.usage if self._end is not None else None
        if told is None or min(getattr(told, name) for name in told.__struct_fields__) < 0:
            return None
        return told

    async def stream(
        self, driver: Driver, request: ChatRequest
    ) -> AsyncGenerator[StreamEvent, None]:
        """Send the request, once. As `Driver.stream`; cut where far too much comes that costs."""
        self._outcome = "cancelled"  # unless it comes to an end
        info = request.info
        self._thinks = request.effort != "none" and (info is None or info.thinking is not False)
        self._began = self._clock.monotonic()
        self._coming.begin(self._began)
        try:
            stream = cast("AsyncGenerator[StreamEvent, None]", driver.stream(request))
            async with aclosing(stream) as events:
                async for event in events:
                    self._take(event)
                    yield event
                    if self._end is None and self._coming.is_over and self._costs():
                        self._end = Failed(_ENDLESS)
                        yield self._end
                        return
            if self._end is None:
                self._outcome = "cut"
        except Exception:
            self._outcome = "failed"
            raise
        finally:
            self._ended = self._clock.monotonic()
            self._coming.wait(self._ended)

    def used(self) -> Used:
        """Return how the request ended."""
        if self._outcome == "void":
            return Used(outcome="void", sent=False)
        first = None if self._first is None else _milliseconds(self._first - self._began)
        used = Used(
            outcome=self._outcome,
            output=self._output(),
            first_token_ms=first,
            duration_ms=_milliseconds(self._ended - self._began),
        )
        end = self._end
        if end is None:
            return used
        used = replace(used, usage=end.usage, billed=end.billed, tier=end.tier)
        if isinstance(end, Finished):
            return replace(used, outcome="done")
        return _failed(used, end)

    def _take(self, event: StreamEvent) -> None:
        if isinstance(event, Retrying):
            return
        if isinstance(event, Finished | Failed):
            self._end = self._end or event
            return
        now = self._clock.monotonic()
        text = event.arguments if isinstance(event, ToolCallDelta) else event.text
        self._coming.take(text, now)
        if self._first is None:
            self._first = self._told = now
        elif self._tell is not None and self._told + TELL_EVERY <= now:
            self._told = now
            cost = self._meter.running(self.hold, math.ceil(self._coming.tokens))
            if cost is not None:
                self._tell(cost)

    def _costs(self) -> bool:
        return self._meter.running(self.hold, 0) is not None

    def _output(self) -> int:
        """Return about how many tokens came, with those that may have come unseen where nobody
        will say.
        """
        came = math.ceil(self._coming.tokens)
        if isinstance(self._end, Finished) or not self._thinks:
            return came
        return max(came, min(math.ceil(came + self._coming.unseen), self._most))


@asynccontextmanager
async def paid(
    services: Services,
    wanted: Wanted,
    *,
    unpriced: bool = False,
    tell: Callable[[Cost], None] | None = None,
    factor: float = 1.0,
) -> AsyncIterator[Payment]:
    """Hold money for one request, which the body sends; settle it, whatever comes of that.

    `unpriced`: a person said that it may cost what nobody knows. `tell` hears the cost so far
    while an answer comes. `factor` is by what our estimates of what this model says are to be
    multiplied, as its provider's counts have taught. Raises what `Meter.hold` raises.
    """
    hold = await services.meter.hold(wanted, unpriced=unpriced)
    payment = Payment(services, hold, wanted, tell, factor)
    try:
        yield payment
    finally:
        payment.cost = await services.meter.settle(hold, payment.used())


def _failed(used: Used, end: Failed) -> Used:
    failure = end.failure
    if used.first_token_ms is None and end.usage is None and end.billed is None:
        if failure.code == UNSENT or failure.kind == "auth":
            return replace(used, outcome="void", sent=False)
        if failure.kind in _REFUSED or (failure.status and failure.kind not in _BROKEN_OFF):
            return replace(used, outcome="failed", sent=False)
    return replace(used, outcome="cut" if failure.kind in _BROKEN_OFF else "failed")


def _milliseconds(seconds: float) -> int:
    return max(int(seconds * 1000), 0)
