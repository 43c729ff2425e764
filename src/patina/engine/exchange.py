"""One request of a turn and its reply: paid for, told of, received."""

from collections.abc import Callable

from msgspec import Struct

from patina.engine.bounds import Counts
from patina.engine.interruption import Interruption
from patina.engine.paying import Cause, paid
from patina.engine.preparing import Requests
from patina.engine.recorder import Recorder
from patina.engine.services import Services
from patina.engine.stream import Receiver, Reply
from patina.engine.tool_step import ToolStep
from patina.model.chat import ChatRequest, ModelRef
from patina.model.events import CostChanged
from patina.model.faults import Unpriced
from patina.model.ids import new_id
from patina.model.items import ReplyStart
from patina.model.money import Purpose, Wanted
from patina.model.options import TurnOptions
from patina.model.usage import Cost, Usage
from patina.ports.provider import Driver


class Origin(Struct, frozen=True):
    """The turn that requests are of, who answers them, and how it is run."""

    turn: str
    model: ModelRef
    options: TurnOptions


class Sent(Struct, frozen=True):
    """What came of a request. `message` is the id of its answer."""

    message: str
    reply: Reply
    usage: Usage | None
    cost: Cost | None


class Exchange:
    """Sends the requests of one turn. `name_of` returns the name of a tool by its alias."""

    def __init__(
        self,
        services: Services,
        recorder: Recorder,
        interruption: Interruption,
        tools: ToolStep,
        counts: Counts,
        requests: Requests,
        origin: Origin,
        name_of: Callable[[str], str],
    ) -> None:
        self._services = services
        self._recorder = recorder
        self._interruption = interruption
        self._tools = tools
        self._counts = counts
        self._requests = requests
        self._origin = origin
        self._name_of = name_of

    async def send(self, driver: Driver, request: ChatRequest, purpose: Purpose) -> Sent | None:
        """Send one request and receive its reply; None where the turn was ended before.

        Where nobody knows what it costs, a person may be asked first. Raises `LimitFault` where it
        may cost too much, and `StoreFault`.
        """
        model = str(self._origin.model)
        cause = Cause(
            purpose=purpose,
            conversation=self._recorder.conversation,
            turn=self._origin.turn,
            options=self._origin.options,
        )
        wanted = self._requests.wanted(request, cause, self._counts.newest, driver)
        unpriced = model in self._recorder.tree.unpriced
        try:
            return await self._paid(driver, request, wanted, unpriced=unpriced)
        except Unpriced as fault:
            allowed = await self._tools.may_cost(self._origin.turn, model, str(fault))
            if self._interruption.requested:
                return None
            if not allowed:
                raise
        return await self._paid(driver, request, wanted, unpriced=True)

    async def _paid(
        self, driver: Driver, request: ChatRequest, wanted: Wanted, *, unpriced: bool
    ) -> Sent:
        message, origin = new_id(), self._origin

        def tell(cost: Cost) -> None:
            self._recorder.tell(CostChanged(item_id=message, cost=cost))

        factor = self._requests.factor
        how = paid(self._services, wanted, unpriced=unpriced, tell=tell, factor=factor)
        async with how as payment:
            start = ReplyStart(
                **self._recorder.keys(),
                message=message,
                turn=origin.turn,
                provider=origin.model.provider,
                model=origin.model.model,
                hold=payment.hold,
                options=origin.options,
            )
            await self._recorder.write(start)
            receiver = Receiver(self._recorder, self._services.clock, message, self._name_of)
            stream = payment.stream(driver, request)
            reply = await receiver.receive(stream, self._interruption)
        self._counts.take(request, payment.usage)
        return Sent(message, reply, payment.usage, payment.cost)
