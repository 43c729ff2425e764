"""One conversation: a mailbox, at most one running turn, and what was loaded of its transcript.

Commands are taken one by one and never wait for the turn: an interruption, an answer and a change
of title are carried out while the model speaks. Messages that arrive during a turn wait for its
end, in order. Nothing here is shared between conversations but the services.
"""

import logging
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import anyio

from patina.engine import changes
from patina.engine.clock import later
from patina.engine.interruption import Interruption
from patina.engine.questions import Questions
from patina.engine.recorder import Recorder
from patina.engine.services import Services
from patina.engine.titles import make_title
from patina.engine.turn import DEFECT, TurnEnd
from patina.engine.work import AnyWork, Asked, Worker, existing
from patina.model import commands, events
from patina.model.faults import Failure, Fault, UsageFault
from patina.model.items import Ask, Meta, Question

_log = logging.getLogger(__name__)

MAILBOX: Final = 64
_AGAIN: Final = "Send it again where it is still wanted."
_TITLE_ATTEMPTS: Final = 3  # of one that is made by itself


class Conversation:
    """Carries out the commands of the conversation `identifier`, in `run`."""

    def __init__(self, services: Services, identifier: str) -> None:
        self.identifier = identifier
        self._services = services
        self._send, self._receive = anyio.create_memory_object_stream[commands.AnyCommand](MAILBOX)
        self._recorder = Recorder(services, identifier)
        self._questions = Questions()
        self._worker = Worker(services, self._recorder, self._questions, self._has_begun)
        self._loading = anyio.Lock()  # held while the tree is replaced, or must not be
        self._damaged = 0
        self._erased = False
        self._titling: Interruption | None = None  # ends the request for one
        self._one_title = anyio.Lock()
        self._untitled = _TITLE_ATTEMPTS
        self._untaken: list[Asked] = []  # in the mailbox
        self._waiting: deque[AnyWork] = deque()
        self._interruption: Interruption | None = None
        self._busy = False
        self._begun = anyio.Event()  # the running turn has its conversation loaded and begun
        self._closing = False
        self._ended = anyio.Event()

    def submit(self, command: commands.AnyCommand) -> None:
        """Take a command. Raises `UsageFault` where too many wait.

        What ends or answers a wait is carried out at once; the rest goes into the mailbox.
        """
        if isinstance(command, commands.Interrupt):
            self.interrupt(command.reason)
        elif isinstance(command, commands.AnswerPermission):
            with self._told(command):
                self._questions.take(command)
        elif isinstance(command, commands.AnswerQuestion):
            with self._told(command):
                self._questions.take_values(command)
        elif isinstance(command, commands.CancelCall):
            with self._told(command):
                self._cancel_call(command)
        else:
            try:
                self._send.send_nowait(command)
            except anyio.WouldBlock:
                raise UsageFault(
                    "Too many commands wait for this conversation.",
                    hint="Wait until it has caught up, then try again.",
                ) from None
            if isinstance(command, Asked):
                self._untaken.append(command)

    def close(self, reason: str) -> None:
        """End the running turn in good order, give back messages, and carry out what else waits."""
        self._closing = True
        self.interrupt(reason, leaving=True)
        self._end_titling(reason)
        self._send.close()

    def forget(self) -> None:
        """Drop the items from memory, unless something needs them. Grants stay."""
        heard = self._services.bus.is_heard(self.identifier)
        if not self._busy and not self._loading.locked() and not heard:
            self._recorder.forget()

    async def refresh(self) -> None:
        """Tell what other processes wrote since, if the conversation is loaded. Raises `Fault`s."""
        if self._recorder.tree.head is None:
            return
        if self._busy:  # then the tree must not be replaced, and nobody else answers
            await self._recorder.take_facts()
        elif not self._loading.locked():
            async with self._loading:
                if not self._busy:
                    await self._load()

    async def closed(self) -> None:
        """Return once all that waited at `close` is carried out."""
        await self._ended.wait()

    def interrupt(self, reason: str, *, leaving: bool = False) -> None:
        """End the running turn in good order, and give back the messages that wait for its end.

        With `leaving`, what servers carry out as tasks is left to them.
        """
        given_back = [*self._waiting, *self._untaken]
        self._waiting.clear()
        self._untaken.clear()
        for command in given_back:
            what = "Not sent." if isinstance(command, commands.SendMessage) else "Not done."
            self._failed(command, Failure("usage", f"{what} {reason}", _AGAIN))
        if self._interruption is not None:
            self._interruption.request(reason, leaving=leaving)

    def _cancel_call(self, command: commands.CancelCall) -> None:
        running = self._interruption
        if running is None or not running.cancel_call(command.call_id, "The user cancelled it."):
            raise UsageFault(
                "This call is not under way.", hint="It has its result, or its turn has ended."
            )

    async def run(self) -> None:
        """Take commands until the host cancels."""
        try:
            async with anyio.create_task_group() as tasks, self._send, self._receive:
                async for command in self._receive:
                    with self._told(command):
                        await self._carry_out(command, tasks)
        finally:
            self._ended.set()

    @contextmanager
    def _told(self, command: commands.AnyCommand) -> Iterator[None]:
        """The boundary of a command: whatever goes wrong in one is told, and ends only that one."""
        try:
            yield
        except Fault as fault:
            self._failed(command, fault.failure)
        except Exception:  # noqa: BLE001 - a named boundary: told, logged, and contained
            _log.exception("a command failed")
            self._failed(command, DEFECT)

    def _failed(self, command: commands.AnyCommand, failure: Failure) -> None:
        tag = type(command).__struct_config__.tag
        names = ("message_id", "ask_id", "question_id", "call_id", "result_id")
        reference = next((getattr(command, name) for name in names if hasattr(command, name)), "")
        self._recorder.tell(events.CommandFailed(command=str(tag), error=failure, ref=reference))

    async def _carry_out(self, command: commands.AnyCommand, tasks: anyio.abc.TaskGroup) -> None:
        if isinstance(command, Asked):
            if command in self._untaken:  # else an interruption has given it back
                self._untaken.remove(command)
                self._enqueue(command, tasks)
        elif isinstance(command, commands.OpenConversation):
            await self._open(command, tasks)
        elif isinstance(command, commands.TitleConversation):
            async with self._loaded():
                pass
            tasks.start_soon(self._title_as_asked, command)
        elif isinstance(command, commands.ForkConversation):
            await changes.fork(self._services, self._recorder, command)
        elif isinstance(command, commands.ChangeMeta):
            async with self._loaded():
                await changes.change(self._services, self._recorder, command)
        elif isinstance(command, commands.EraseConversation):
            async with self._loaded():
                self._check_idle("erased")
                await changes.erase(self._services, self._recorder, command)
                self._erased = command.item_id is None
                await self._load()
        elif isinstance(command, commands.SelectBranch):
            async with self._loaded():
                self._check_idle("changed to another branch")
                await changes.select(self._recorder, command)

    def _check_idle(self, what: str) -> None:
        if self._busy:
            raise UsageFault(
                f"The conversation cannot be {what} while an answer is being written.",
                hint="Interrupt it first, or wait for its end.",
            )

    def _enqueue(self, command: AnyWork, tasks: anyio.abc.TaskGroup) -> None:
        self._waiting.append(command)
        if not self._busy:
            self._busy = True
            self._begun = anyio.Event()
            tasks.start_soon(self._work, tasks)

    async def _work(self, tasks: anyio.abc.TaskGroup) -> None:
        """Run the turns that wait, one after the other. There is at most one such task."""
        end: TurnEnd | None = None
        try:
            while self._waiting:
                end = await self._contained(self._waiting.popleft())
        finally:
            self._busy = False
        if end is not None and end.stop_reason == "stop" and not self._closing:
            self._title_by_itself(tasks)

    async def _contained(self, command: AnyWork) -> TurnEnd | None:
        """Run one turn, which can be interrupted from its first moment on."""
        end: TurnEnd | None = None
        self._interruption = Interruption()
        self._begun = anyio.Event()
        self._end_titling("A turn goes first.")
        try:
            with self._told(command):
                async with self._services.journal.turn(self.identifier):
                    async with self._loading:
                        await self._load()
                    self._check_there(command)
                    end = await self._worker.carry_out(command, self._interruption)
        finally:
            self._interruption = None
            self._begun.set()
        return end

    def _has_begun(self) -> None:
        self._begun.set()

    def _check_there(self, command: AnyWork) -> None:
        if self._erased and isinstance(command, commands.SendMessage):
            raise UsageFault(
                "This conversation was erased, so nothing can be added to it.",
                hint="Begin another one.",
            )

    async def _load(self) -> None:
        """Read what anyone but us has written since, and tell it. Needs `_loading`."""
        journal, recorder = self._services.journal, self._recorder
        mark = await journal.mark(self.identifier)
        if recorder.is_current(mark):
            return
        if not mark:
            if recorder.tree.head is not None:
                self._erased = True
                recorder.forget()
                recorder.tell(events.ConversationErased())
            return
        if recorder.tree.head is not None:
            since = await journal.since(self.identifier, recorder.mark)
            if since is not None and recorder.extend(since.items, mark):
                self._damaged += since.damaged
                return
        transcript = await journal.read(self.identifier)
        recorder.replace(transcript.items, mark)
        self._damaged, self._erased = transcript.damaged, False

    async def _open(self, command: commands.OpenConversation, tasks: anyio.abc.TaskGroup) -> None:
        async with self._loaded():
            tree = self._recorder.tree
            opened = events.ConversationOpened(title=tree.title(), damaged=self._damaged)
            self._recorder.tell(opened)
            unfinished = tree.partial() is not None or tree.open_calls() is not None
            for open_one in (*self._questions.waiting(), *self._questions.posed()):
                node = tree.node(open_one.id)  # what is being written is told in a moment
                if isinstance(node, Ask):
                    self._recorder.tell(events.PermissionAsked(item=node))
                elif isinstance(node, Question):
                    self._recorder.tell(events.QuestionAsked(item=node))
        draft = await self._services.drafts.load(self.identifier)
        if draft is not None:
            self._recorder.tell(events.DraftChanged(parts=draft.parts, parent=draft.parent))
        if unfinished and not self._busy and not self._closing:
            self._enqueue(command, tasks)

    def _title_by_itself(self, tasks: anyio.abc.TaskGroup) -> None:
        """After a turn: have a title made if there is none. What goes wrong only the log hears."""
        wanted = self._services.titles and self._services.chat.titles == "auto"
        if wanted and self._untitled and not self._recorder.tree.fact("title"):
            self._untitled -= 1
            tasks.start_soon(self._title_quietly)

    async def _title_quietly(self) -> None:
        try:
            model = self._services.providers.resolve(self._recorder.tree.fact("model"))
            if model.provider not in self._services.untitled:
                await self._title()
        except Fault as fault:
            _log.info("no title: %s", fault)
        except Exception:  # noqa: BLE001 - a named boundary: a title is not worth a word
            _log.exception("making a title failed")

    async def _title_as_asked(self, command: commands.TitleConversation) -> None:
        self._end_titling("A title is made anew.")
        with self._told(command):
            await self._title()

    async def _title(self) -> None:
        """Make a title and write it, unless the user has given another one meanwhile."""
        async with self._one_title:
            self._titling = Interruption()
            try:
                tree, keys = self._recorder.tree, self._recorder.keys()
                before = tree.written("title")
                # It is dated when it was asked for: what a user writes meanwhile comes after it.
                title = await make_title(self._services, tree, self.identifier, self._titling)
            finally:
                self._titling = None
            async with self._loaded():
                if self._recorder.tree.written("title") == before:
                    keys["ts"] = later(keys["ts"], [before])
                    await self._recorder.write(Meta(**keys, title=title))

    def _end_titling(self, reason: str) -> None:
        if self._titling is not None:
            self._titling.request(reason)

    @asynccontextmanager
    async def _loaded(self) -> AsyncIterator[None]:
        """Have the conversation loaded, and keep it so. Raises `UsageFault` where there is none.

        A turn has it loaded already; its tree must not be replaced under it.
        """
        if self._busy:
            await self._begun.wait()
        async with self._loading:
            if not self._busy:
                await self._load()
            existing(self._recorder)
            yield
