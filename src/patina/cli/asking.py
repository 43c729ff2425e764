"""One question to a model, from command to exit code, over the engine's commands and events."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct
from msgspec.structs import replace

from patina.assembly.app import App
from patina.cli.attachments import attach
from patina.cli.consent import allow_start
from patina.cli.result import AskResult
from patina.cli.sinks import Sink
from patina.cli.tty import Person
from patina.engine.large import whole_items
from patina.model import commands, events
from patina.model.faults import (
    EXIT_ERROR,
    EXIT_INTERRUPTED,
    EXIT_OK,
    Failure,
    Fault,
    PermissionFault,
    UsageFault,
    exit_code,
)
from patina.model.ids import new_id
from patina.model.items import Ask
from patina.model.options import TurnOptions
from patina.model.parts import Part, Text
from patina.views.terminal_text import safe_text

MANY: Final = 3  # servers that are told of one by one
_LIMIT_REASONS: Final = ("max_turns", "tool_calls_limit")


class Prompt(Struct, frozen=True, kw_only=True):
    """What the flags of `ask` say. `session`, `fork` are ids or unique prefixes."""

    text: str
    files: tuple[Path, ...] = ()
    session: str = ""
    last: bool = False
    fork: str = ""
    model: str | None = None
    system: str | None = None
    options: TurnOptions = TurnOptions()
    timeout: float | None = None


class Signals:
    """Who is to hear of a signal first; what nobody handles ends the app."""

    def __init__(self) -> None:
        self._handler: Callable[[int], bool] | None = None

    def handled(self, number: int) -> bool:
        """Hand a signal to the handler; whether it was handled."""
        return self._handler is not None and self._handler(number)

    @contextmanager
    def handled_by(self, handler: Callable[[int], bool]) -> Iterator[None]:
        """Let `handler` hear of signals while the body runs."""
        self._handler = handler
        try:
            yield
        finally:
            self._handler = None


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
        self._told = set[str]() if told is None else told
        self._greeted = greeted
        self._person: Person | None = None
        self._conversation = new_id()
        self._verdict: Failure | None = None  # why we ended the turn, where it was we
        self._interrupted = False
        self._ours = False  # our turn has begun
        self.result = AskResult(self._conversation)

    async def run(self) -> int:
        """Return the exit code. Raises nothing but cancellation: a fault goes into the result."""
        began = time.monotonic()
        try:
            await self._prepare()
            await self._turn()
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
            newest = await journal.list(limit=1)
            if not newest:
                raise UsageFault("There is no conversation to continue.", hint="Leave out -c.")
            self._conversation = newest[0].conversation
        elif prompt.fork:
            source = await journal.find(prompt.fork)
            fork = commands.ForkConversation(conversation=self._conversation, source=source)
            self._app.engine.submit(fork)
        self.result.session_id = self._conversation
        await self._consent()

    async def _consent(self) -> None:
        """Ask a person about servers that were never started; without one, say what is left out."""
        named = self._prompt.options.servers
        trust = self._app.supervisor.trust
        waiting: list[str] = []
        for server in self._app.supervisor.waiting(named):
            if not trust.describe(server).binary:
                continue  # consent is to a program, and there is none; it is told as left out
            if server not in self._told:
                person = self._someone()
                if person.present and await allow_start(self._app, server, person):
                    continue
            if named is not None:
                raise trust.needed(server)
            waiting.append(server)
        self._leave_out_unallowed(waiting)

    def _leave_out_unallowed(self, servers: list[str]) -> None:
        if len(servers) <= MANY:
            for server in servers:
                why = f"it may not start as it is configured. Run `patina mcp trust {server}`."
                self._leave_out(server, why)
            return
        if not self._quiet:
            first = ", ".join(servers[:MANY])
            sys.stderr.write(
                safe_text(
                    f"Left out {len(servers)} MCP servers that may not start as they are "
                    f"configured: {first}, … Run `patina mcp list` and `patina mcp trust NAME`.\n"
                )
            )
        self._told.update(servers)

    def _leave_out(self, server: str, why: str) -> None:
        if server not in self._told and not self._quiet:
            sys.stderr.write(safe_text(f"Left out the MCP server {server}: {why}\n"))
            sys.stderr.flush()
        self._told.add(server)

    def _tell_left_out(self) -> None:
        """Say which of the chosen servers the model is not told of, and why."""
        chosen, supervisor = self._prompt.options.servers, self._app.supervisor
        for status in supervisor.status():
            server, settings = status.server, supervisor.servers[status.server]
            if chosen is None and (not settings.enabled or settings.connect == "manual"):
                continue
            if chosen is not None and server not in chosen:
                continue
            try:
                supervisor.startable(server)
            except Fault as fault:
                self._leave_out(server, fault.failure.message)
                continue
            if supervisor.definitions(server) is None:
                waiting = f"it is not ready yet ({status.text or status.state})."
                self._leave_out(server, status.text if status.state == "error" else waiting)

    def _name_model(self, event: events.TurnStarted) -> None:
        """Say which model answers where nobody chose it."""
        prompt, configured = self._prompt, self._app.setup.configured
        chosen = prompt.model or prompt.session or prompt.last or prompt.fork
        if chosen or self._quiet or self._greeted:
            return
        if configured.source("default_model").kind == "default":
            model = safe_text(f"{event.provider}/{event.model}")
            sys.stderr.write(f"{model} answers: no default_model is set.\n")
            sys.stderr.flush()

    def _someone(self) -> Person:
        if self._person is None:
            self._person = Person()
        return self._person

    async def _turn(self) -> None:
        message = commands.SendMessage(
            conversation=self._conversation,
            message_id=new_id(),
            parts=await self._parts(),
            model=self._prompt.model,
            system=self._prompt.system,
            options=self._prompt.options,
        )
        await self._follow(message)

    async def resume(self) -> int:
        """Ask again what an earlier process left unanswered, and go on from there."""
        self._conversation = self.result.session_id = self._prompt.session
        await self._follow(commands.OpenConversation(conversation=self._conversation))
        self._sink.finish(self.result, 0)
        return self._exit_code()

    async def _follow(self, command: commands.SendMessage | commands.OpenConversation) -> None:
        """Submit what begins a turn, and show the turn to its end."""
        with (
            self._signals.handled_by(self._on_signal),
            self._app.engine.subscribe(self._conversation) as subscription,
        ):
            self._app.engine.submit(command)
            async with anyio.create_task_group() as tasks:
                if self._prompt.timeout is not None:
                    tasks.start_soon(self._watch_time, self._prompt.timeout)
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
            self._tell_left_out()
        if self._sink.everything:
            self._sink.show(event)
        if self._ours:
            event = await self._whole(event)
            self.result.take(event)
            if not self._sink.everything:
                self._sink.show(event)
        if isinstance(event, events.PermissionAsked):
            tasks.start_soon(self._decide, event.item)
        elif isinstance(event, events.CommandFailed):
            self.result.fail(event.error)
        return isinstance(event, events.TurnEnded | events.CommandFailed)

    async def _whole(self, event: events.AnyEvent) -> events.AnyEvent:
        """Return `event` with large texts, which the journal has in blobs, whole."""
        if isinstance(event, events.MessageAdded | events.ToolFinished):
            (item,) = await whole_items([event.item], self._app.journal)
            return replace(event, item=item)
        return event

    async def _parts(self) -> tuple[Part, ...]:
        files = [await attach(path, self._app.journal.put_blob) for path in self._prompt.files]
        return (*files, Text(self._prompt.text))

    async def _decide(self, ask: Ask) -> None:
        if not self._someone().present:
            name = f"{ask.server}.{ask.tool}"
            fault = PermissionFault(
                f"{name} needs an answer and nobody is here to give one.",
                hint=f"Allow it with --approve {name}, or let the model go on with --approve deny.",
            )
            self._end(fault.failure)
            return
        choice = await self._someone().decide(ask)
        answer = commands.AnswerPermission(
            conversation=self._conversation, ask_id=ask.id, choice=choice
        )
        self._app.engine.submit(answer)

    def _end(self, why: Failure) -> None:
        self._verdict = why
        self._app.engine.submit(
            commands.Interrupt(conversation=self._conversation, reason=why.message)
        )

    async def _watch_time(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        self._end(
            Failure(
                "timeout",
                f"The answer was not finished within {seconds:g} s.",
                "What arrived is kept. Give it more time with --timeout, or leave that out.",
            )
        )

    def _on_signal(self, number: int) -> bool:
        """End the turn in good order at the first signal; leave a second one to the app."""
        if self._signal:
            return False
        self._signal = number
        self.interrupt()
        return True

    def interrupt(self) -> None:
        """End the turn in good order; what arrived is kept."""
        self._interrupted = True
        self._app.engine.submit(commands.Interrupt(conversation=self._conversation))
