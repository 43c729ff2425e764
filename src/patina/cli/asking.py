"""One question to a model, from command to exit code, over the engine's commands and events."""

import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from anyio.abc import TaskGroup
from msgspec.structs import replace

from patina.assembly.app import App
from patina.cli.answering import Answering
from patina.cli.carrying import carry_out
from patina.cli.offered import OfferedServers
from patina.cli.prompt import Prompt, Said, said_by
from patina.cli.result import AskResult
from patina.cli.schema_file import misfit
from patina.cli.signals import Signals
from patina.cli.sinks import Sink
from patina.cli.tty import Person
from patina.engine.large import whole_items
from patina.engine.summary import can_summarise
from patina.model import commands, events
from patina.model.faults import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_OK,
    Failure,
    Fault,
    UsageFault,
    exit_code,
)
from patina.model.ids import new_id
from patina.model.tree import Tree
from patina.views.terminal_text import safe_text

_MORE_ROOM: Final = "Summarise the older messages and try again?"
_Begins = (
    commands.SendMessage
    | commands.OpenConversation
    | commands.RetryTurn
    | commands.RegenerateReply
    | commands.RetryCall
    | commands.SummariseConversation
)
# A title that is being made gives way to a turn; an answer may come too late.
_BESIDE: Final = ("conversation.title", "permission.answer", "question.answer")
_PASSING: Final = (events.ToolProgress, events.ToolLogged, events.TaskChanged)
# A message may have to wait for an earlier turn's task, which goes on and may ask.
_ANYTIME: Final = (*_PASSING, events.PermissionAsked, events.QuestionAsked)
_DECLINED: Final = ("content_filter", "refusal")  # an answer too, though it fits nothing
_LIMIT_REASONS: Final = ("max_turns", "tool_calls_limit")


class Asking:
    """Asks one question in an open app and shows what comes in `sink`.

    `signals` is where Ctrl+C is heard of, which is only possible in the main thread.
    `told` are servers that the person was told of already, and hears those that are told of now;
    `greeted` says that the model was named.
    """

    def __init__(
        self,
        app: App,
        prompt: Prompt,
        sink: Sink,
        *,
        quiet: bool = False,
        signals: Signals | None = None,
        told: set[str] | None = None,
        greeted: bool = False,
    ) -> None:
        self._app = app
        self._prompt = prompt
        self._sink = sink
        self._quiet = quiet
        self._signals = signals or Signals()
        self._signal = 0
        self._greeted = greeted
        self._person: Person | None = None
        self._servers = OfferedServers(
            app,
            prompt.options.servers,
            set[str]() if told is None else told,
            self._someone,
            quiet=quiet,
        )
        self._answering = Answering(app, self._someone, self._end, quiet=quiet)
        self._conversation = new_id()
        self._verdict: Failure | None = None  # why we ended the turn, where it was we
        self._interrupted = False
        self._ours = False  # our turn has begun
        self._deadline: float | None = None
        self._waiting: anyio.CancelScope | None = None  # for a person or a server, between turns
        self.result = AskResult(self._conversation)

    async def run(self) -> int:
        """Ask, and return the exit code.

        Raises nothing but cancellation: a fault goes into the result. So it is in `resume`, `retry`
        and `summarise`.
        """
        return await self._to_the_end(self._ask)

    async def resume(self) -> int:
        """Ask again what an earlier process left unanswered, and go on from there."""
        self._conversation = self.result.session_id = self._prompt.session
        opened = commands.OpenConversation(conversation=self._conversation)
        return await self._to_the_end(lambda: self._follow(opened))

    async def retry(self) -> int:
        """Have the model try again, without a new message."""
        return await self._to_the_end(self._try_again)

    async def regenerate(self) -> int:
        """Have the newest message answered anew, as another branch."""
        return await self._to_the_end(self._answer_anew)

    async def retry_call(self, result_id: str) -> int:
        """Run the call again that ended in that result, and go on from there."""
        return await self._to_the_end(lambda: self._call_again(result_id))

    async def summarise(self) -> int:
        """Have the older messages summarised."""
        return await self._to_the_end(self._shorten)

    async def _to_the_end(self, work: Callable[[], Awaitable[None]]) -> int:
        began = time.monotonic()
        if self._prompt.timeout is not None:
            self._deadline = began + self._prompt.timeout
        try:
            await work()
            with self._signals.handled_by(self._on_signal):
                await self._offer_summary()
            self._check_schema()
        except Fault as fault:
            self.result.fail(fault.failure)
        if self._verdict is not None:
            self.result.fail(self._verdict)
        self._sink.finish(self.result, int((time.monotonic() - began) * 1000))
        return self._exit_code()

    def _exit_code(self) -> int:
        if self.result.error is not None:
            return exit_code(self.result.error.kind)
        if self._interrupted or self.result.stop_reason == "cancelled":
            return 128 + self._signal if self._signal else EXIT_INTERRUPTED
        return EXIT_ERROR if self.result.stop_reason in _LIMIT_REASONS else EXIT_OK

    async def _prepare(self) -> None:
        """Find or copy the conversation, and let a person allow what has to start."""
        prompt, journal = self._prompt, self._app.journal
        if prompt.session:
            self._conversation = await journal.find(prompt.session)
        elif prompt.last:
            newest = await journal.list(limit=1, active=True)
            if not newest:
                raise UsageFault("There is no conversation to continue.", hint="Leave out -c.")
            self._conversation = newest[0].conversation
        elif prompt.fork:
            source = await journal.find(prompt.fork)
            fork = commands.ForkConversation(conversation=self._conversation, source=source)
            self._app.engine.submit(fork)
        self.result.session_id = self._conversation
        await self._servers.consent()

    def _name_model(self, event: events.TurnStarted) -> None:
        """Say which model answers where nobody chose it."""
        prompt, configured = self._prompt, self._app.setup.configured
        chosen = prompt.model or prompt.session or prompt.last or prompt.fork
        if chosen or self._quiet or self._greeted:
            return
        why, default = "", configured.settings.default_model
        if configured.source("default_model").kind == "default":
            why = "no default_model is set"
        elif event.provider != default.partition("/")[0]:
            why = f"{default} needs the network, and Patina is offline"
        if why:
            sys.stderr.write(safe_text(f"{event.provider}/{event.model} answers: {why}.\n"))
            sys.stderr.flush()

    def _someone(self) -> Person:
        if self._person is None:
            self._person = Person()
        return self._person

    async def _ask(self) -> None:
        await self._prepare()
        said: Said | None = None
        with anyio.CancelScope() as self._waiting:
            said = await said_by(self._app, self._prompt, self._signals)
        self._waiting = None
        if said is None:
            self.result.interrupt()
            return
        message = commands.SendMessage(
            conversation=self._conversation,
            message_id=new_id(),
            parts=said.parts,
            before=said.before,
            sources=said.sources,
            model=self._prompt.model,
            system=self._prompt.system,
            tools=self._prompt.tools,
            parent=self._prompt.parent,
            options=self._prompt.options,
        )
        await self._follow(message)

    async def _try_again(self) -> None:
        await self._prepare()
        await self._follow(self._retry_of(self._prompt.model))

    async def _answer_anew(self) -> None:
        await self._prepare()
        prompt = self._prompt
        anew = commands.RegenerateReply(
            conversation=self._conversation, model=prompt.model, options=prompt.options
        )
        await self._follow(anew)

    async def _call_again(self, result_id: str) -> None:
        await self._prepare()
        own, model = self._conversation, self._prompt.model
        if model:
            chosen = commands.ChangeMeta(conversation=own, model=model)
            await carry_out(self._app, chosen, events.MetaChanged)
        await self._follow(commands.RetryCall(conversation=own, result_id=result_id))

    def _retry_of(self, model: str | None) -> commands.RetryTurn:
        return commands.RetryTurn(
            conversation=self._conversation, model=model, options=self._prompt.options
        )

    async def _shorten(self) -> None:
        self._conversation = await self._app.journal.find(self._prompt.session)
        self.result.session_id = self._conversation
        self._ours = True
        await self._follow(self._summary_by(self._prompt.model))

    def _summary_by(self, model: str | None) -> commands.SummariseConversation:
        return commands.SummariseConversation(conversation=self._conversation, model=model)

    async def _offer_summary(self) -> None:
        """Where the conversation is too long and a person agrees, shorten it and try again."""
        error = self.result.error
        if error is None or error.kind != "context_too_long" or self._interrupted:
            return
        tree = Tree((await self._app.journal.read(self._conversation)).items)
        if not can_summarise(tree) or not self._someone().present:
            return
        agreed = False
        with anyio.CancelScope() as self._waiting:
            agreed = await self._someone().confirm(f"{safe_text(error.message)}\n{_MORE_ROOM}")
        self._waiting = None
        if not agreed:
            return
        # The turn has set the conversation's model; it answers again, as it is.
        await self._follow(self._summary_by(None))
        if self.result.summary:
            await self._follow(self._retry_of(None))

    def _check_schema(self) -> None:
        """Say so where the answer does not fit the schema that was asked for."""
        schema = self._prompt.options.schema
        if schema is None or self.result.error is not None or self._exit_code() != EXIT_OK:
            return
        if self.result.stop_reason in _DECLINED:
            return
        failure = misfit(schema, self.result.text)
        if failure is not None:
            self.result.fail(failure)

    async def _follow(self, command: _Begins) -> None:
        """Submit what begins a turn or a summary, and show it to its end."""
        with (
            self._signals.handled_by(self._on_signal),
            self._app.engine.subscribe(self._conversation) as subscription,
        ):
            self._app.engine.submit(command)
            async with anyio.create_task_group() as tasks:
                if self._deadline is not None:
                    tasks.start_soon(self._watch_time, self._deadline)
                async for event in subscription:
                    if await self._heard(event, tasks):
                        break
                tasks.cancel_scope.cancel()

    async def _heard(self, event: events.AnyEvent, tasks: TaskGroup) -> bool:
        """Show one event, act on it, and return whether it was the last.

        What comes before our turn begins is an earlier turn that is being closed: it is among
        the events, but no part of this answer.
        """
        if isinstance(event, events.TurnStarted):
            self._ours = True
            self._name_model(event)
        if isinstance(event, events.ReplyStarted):
            self._servers.tell_left_out()
        if self._sink.everything:
            self._sink.show(event)
        if isinstance(event, events.CommandFailed) and event.command in _BESIDE:
            self._answering.hear(event, tasks)
            return False
        if self._ours:
            event = await self._whole(event)
            self.result.take(event)
        if not self._sink.everything and self._is_shown(event):
            self._sink.show(event)
        self._answering.hear(event, tasks)
        if isinstance(event, events.CommandFailed):
            if self._interrupted:
                self.result.interrupt()  # that is why it failed
            else:
                self.result.fail(event.error)
        elif isinstance(event, events.NoteAdded) and event.item.covers is not None:
            return True
        return isinstance(event, events.TurnEnded | events.CommandFailed)

    def _is_shown(self, event: events.AnyEvent) -> bool:
        if isinstance(event, _PASSING) and self._answering.busy:
            return False  # the terminal is taken
        return self._ours or isinstance(event, _ANYTIME)

    async def _whole(self, event: events.AnyEvent) -> events.AnyEvent:
        """Return `event` with large texts, which the journal has in blobs, whole."""
        if isinstance(event, events.MessageAdded | events.ToolFinished):
            (item,) = await whole_items([event.item], self._app.journal)
            return replace(event, item=item)
        return event

    def _end(self, why: Failure) -> None:
        self._verdict = why
        self._app.engine.submit(
            commands.Interrupt(conversation=self._conversation, reason=why.message)
        )

    async def _watch_time(self, deadline: float) -> None:
        await anyio.sleep(max(deadline - time.monotonic(), 0))
        self._end(
            Failure(
                "timeout",
                f"The answer was not finished within {self._prompt.timeout:g} s.",
                "What arrived is kept. Give it more time with --timeout, or leave that out.",
            )
        )

    def _on_signal(self, number: int) -> bool:
        """Leave an open question, else end the turn in good order; a second one is the app's."""
        if self._answering.leave():
            return True
        if self._signal:
            return False
        self._signal = number
        self.interrupt()
        return True

    def press(self) -> None:
        """Do what Ctrl+C does, where no signal is heard of."""
        if not self._signals.handled(signal.SIGINT):
            self.interrupt()

    def interrupt(self) -> None:
        """End the turn in good order; what arrived is kept."""
        self._interrupted = True
        if self._waiting is not None:
            self._waiting.cancel()
        self._app.engine.submit(commands.Interrupt(conversation=self._conversation))
