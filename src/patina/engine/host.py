"""The engine: commands in, events out. Owns all conversations and the task group they live in."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Self

import anyio

from patina.engine.bus import BOUND, Subscription
from patina.engine.conversation import Conversation
from patina.engine.drafting import Drafting
from patina.engine.services import Services
from patina.engine.watch import watch
from patina.model.commands import AnyCommand, SaveDraft
from patina.model.faults import UsageFault
from patina.model.ids import is_id
from patina.model.money import Quote
from patina.model.options import TurnOptions
from patina.model.parts import Part

CLOSING_SECONDS: Final = 5.0
KEPT: Final = 20  # conversations whose items stay in memory; the others are read again


class Engine:
    """`async with Engine(services) as engine`: submit commands, subscribe to events.

    Leaving it interrupts every turn in good order, within `CLOSING_SECONDS`.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._conversations: dict[str, Conversation] = {}
        self._tasks = anyio.create_task_group()
        self._drafting = Drafting(services)
        self._closing = False

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._drafting.run)
        if self._services.watch:
            self._tasks.start_soon(watch, self._services, self._opened)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        try:
            with anyio.CancelScope(shield=True):
                await self._end_turns()
        finally:
            self._tasks.cancel_scope.cancel()
        # Without the error: the group must not wrap what went wrong in the body.
        await self._tasks.__aexit__(None, None, None)
        return None

    def submit(self, command: AnyCommand) -> None:
        """Take a command; what comes of it is told by events.

        Raises `UsageFault` where its conversation's id is none, or too many commands wait.
        """
        identifier = command.conversation
        if self._closing:
            raise UsageFault("Patina is closing.", hint="Start it again.")
        if isinstance(command, SaveDraft):
            self._drafting.submit(command)
            return
        if not is_id(identifier):
            raise UsageFault(f"{identifier!r} is not the id of a conversation.")
        conversation = self._conversations.pop(identifier, None)
        if conversation is None:
            conversation = Conversation(self._services, identifier)
            self._tasks.start_soon(conversation.run)
        self._conversations[identifier] = conversation  # the newest stands last
        conversation.submit(command)
        for older in list(self._conversations.values())[:-KEPT]:
            older.forget()

    async def quote(
        self,
        conversation: str,
        parts: Sequence[Part] = (),
        model: str | None = None,
        options: TurnOptions | None = None,
    ) -> Quote:
        """Return what a message of `parts` would cost as the next one of `conversation`, which may
        be new. No model is asked anything. Raises `UsageFault` and `StoreFault`.
        """
        from patina.engine.quoting import Next, draft_of

        asked = Next(
            conversation=conversation,
            parts=tuple(parts),
            model=model,
            options=options or TurnOptions(),
        )
        draft = await draft_of(self._services, asked)
        return await self._services.meter.quote(draft.wanted)

    def subscribe(
        self, conversation: str | None = None, bound: int = BOUND
    ) -> AbstractContextManager[Subscription]:
        """Listen to one conversation, or to all. `bound` is the number of events that may wait."""
        return self._services.bus.subscribe(conversation, bound)

    def _opened(self) -> list[Conversation]:
        return list(self._conversations.values())

    async def _end_turns(self) -> None:
        self._closing = True
        for conversation in list(self._conversations.values()):
            conversation.close("Patina was closed.")
        with anyio.move_on_after(CLOSING_SECONDS):
            await self._drafting.kept()
            for conversation in list(self._conversations.values()):
                await conversation.closed()
