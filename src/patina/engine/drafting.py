"""Drafts are kept in the order in which they come; of those that wait, only the newest."""

import anyio

from patina.engine.services import Services
from patina.model.commands import NEW_DRAFT, SaveDraft
from patina.model.drafts import Draft
from patina.model.events import CommandFailed, DraftChanged
from patina.model.faults import Fault, UsageFault
from patina.model.ids import is_id
from patina.model.masking import masked


class Drafting:
    """Carries out `draft.save`, for all conversations."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._waiting: dict[str, SaveDraft] = {}
        self._arrived = anyio.Event()
        self._kept = anyio.Event()
        self._kept.set()

    def submit(self, command: SaveDraft) -> None:
        """Take a draft. Raises `UsageFault` where it is of no conversation."""
        key = command.conversation
        if key != NEW_DRAFT and not is_id(key):
            raise UsageFault(f"{key!r} is not the id of a conversation.")
        self._waiting[key] = command
        if self._kept.is_set():
            self._kept = anyio.Event()
        self._arrived.set()

    async def kept(self) -> None:
        """Return once everything that was submitted is on disk, or was refused."""
        await self._kept.wait()

    async def run(self) -> None:
        """Keep drafts until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived = anyio.Event()
            while self._waiting:
                key = next(iter(self._waiting))
                await self._keep(self._waiting.pop(key))
            self._kept.set()

    async def _keep(self, command: SaveDraft) -> None:
        key, bus = command.conversation, self._services.bus
        parts = masked(command.parts, self._services.mask)
        draft = Draft(parts=parts, parent=command.parent, ts=self._services.clock.now())
        try:
            await self._services.drafts.save(key, draft if parts else None)
        except Fault as fault:
            failed = CommandFailed(command="draft.save", error=fault.failure, conversation=key)
            bus.publish(failed)
            return
        parent = command.parent if parts else None
        bus.publish(DraftChanged(parts=parts, parent=parent, conversation=key))
