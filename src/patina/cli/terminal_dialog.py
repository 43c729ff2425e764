"""What a server tells and asks while a command of `patina mcp` waits for it."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import msgspec
from msgspec import Struct

from patina.assembly.app import App
from patina.cli.consent import need_start
from patina.cli.signals import Signals
from patina.cli.signing_in import let_in
from patina.cli.status_line import StatusLine, progress_text
from patina.cli.tty import Person
from patina.engine.refusing import Refusal, checked
from patina.engine.watchdog import Watchdog
from patina.mcp.auth.failing import SIGN_IN
from patina.model.faults import Fault, McpFault, PermissionFault, UsageFault
from patina.model.questions import Answered, Asked, Sampled, Sampling, TaskState
from patina.views.terminal_text import safe_line, safe_text
from patina.views.tool_card import finished_text

if TYPE_CHECKING:
    from patina.cli.server_questions import ServerQuestions
    from patina.engine.sampling import Sampler

MOST_QUESTIONS: Final = 20
FLAGS: Final = "--answer JSON answers it in a script, --decline refuses."
_SILENT: Final = ("debug",)
T = TypeVar("T")


class Given(Struct, frozen=True):
    """Answers that the command line gives: `answers` in the order of the questions, each the values
    of a form or the changes of a prompt; `decline` is the answer to all further ones.
    """

    answers: tuple[dict[str, Any], ...] = ()
    decline: bool = False


NOTHING_GIVEN: Final = Given()


def given_of(texts: Sequence[str], *, decline: bool) -> Given:
    """Return what `--answer` and `--decline` say. Raises `UsageFault`."""
    answers = []
    for text in texts:
        try:
            answers.append(msgspec.json.decode(text, type=dict[str, Any]))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise UsageFault(
                "--answer is no JSON object.", hint='Such as --answer \'{"name": "Ada"}\'.'
            ) from None
    return Given(tuple(answers), decline)


class TerminalDialog:
    """Implements `ports.dialog.Dialog` for one call, without a conversation.

    `name` is what is waited for, `server` the name of its server. Progress is one line of the
    terminal, which is silent where nobody looks. `unanswered` says that a question found nobody.
    """

    def __init__(
        self, app: App, server: str, name: str, watchdog: Watchdog, given: Given = NOTHING_GIVEN
    ) -> None:
        self._app = app
        self._server = app.supervisor.settings(server).display_name or server
        self._name = name
        self._watchdog = watchdog
        self._given = given
        self._asked = 0
        self._line = StatusLine()
        self._person: Person | None = None
        self._questions: ServerQuestions | None = None
        self._turn = anyio.Lock()
        self._sampler: Sampler | None = None
        self._scope: anyio.CancelScope | None = None
        self._misfit: UsageFault | None = None
        self.unanswered = False

    async def run(self, work: Callable[[], Awaitable[T]], signals: Signals) -> T | None:
        """Return what `work` returns, None where its time was over. Raises its `Fault`.

        Ctrl+C leaves an open question first, and ends the command else.
        """
        faults: list[Fault] = []
        results: list[T] = []

        async def noted() -> bool:
            try:
                results.append(await work())
            except Fault as fault:
                faults.append(fault)
            return True

        with signals.handled_by(self._on_signal), anyio.CancelScope() as self._scope:
            await self._watchdog.guard(noted)
        self._line.clear()
        if self._misfit is not None:
            raise self._misfit
        if faults and self.unanswered and isinstance(faults[0], McpFault):
            failure = faults[0].failure
            hint = failure.hint if failure.code == SIGN_IN else FLAGS
            raise PermissionFault(str(faults[0]), hint=hint)
        if faults:
            raise faults[0]
        return results[0] if results else None

    def _on_signal(self, number: int) -> bool:
        return self._questions is not None and self._questions.leave()

    @property
    def present(self) -> bool:
        """As `Dialog.present`: a person, or the answers of the command line."""
        if self._asked < len(self._given.answers):
            return True
        return not self._given.decline and self._someone().present

    def _someone(self) -> Person:
        self._person = self._person or Person()
        return self._person

    def progress(self, done: float, total: float | None, text: str) -> None:
        """As `Dialog.progress`."""
        self._watchdog.restart()
        self._show(progress_text(self._name, done, total, text))

    def log(self, level: str, text: str) -> None:
        """As `Dialog.log`: a line of its own, where a person looks."""
        if level not in _SILENT and sys.stderr.isatty() and not self._is_asking():
            self._say(f"{level}: {safe_line(text)}")

    async def ask(self, asked: Asked) -> Answered:
        """As `Dialog.ask`. The time that a person takes does not count."""
        self._asked += 1
        if self._asked > MOST_QUESTIONS:
            return Answered(action="decline")
        fit = checked(asked, self._server)
        if isinstance(fit, Refusal):
            self._say(f"{fit.note.message} {fit.note.hint}".rstrip())
            return Answered(action="decline")
        with self._watchdog.paused():
            answered = await self._answered(fit)
        if fit.kind == "url" and answered.action == "accept":
            self._watchdog.visit()
        return answered

    async def _answered(self, asked: Asked) -> Answered:
        if self._asked <= len(self._given.answers):
            return await self._by_flag(asked, self._given.answers[self._asked - 1])
        if self._given.decline:
            return Answered(action="decline")
        person = self._someone()
        if not person.present:
            self.unanswered = True
            self._say(unanswered_text(self._server, asked) + f" {FLAGS}")
            return Answered(action="cancel")
        from patina.cli.server_questions import ServerQuestions

        if self._questions is None:
            self._questions = ServerQuestions(person, self._app.setup.environ)
        async with self._turn:
            self._line.clear()
            return await self._questions.answer(self._server, asked)

    async def _by_flag(self, asked: Asked, content: dict[str, Any]) -> Answered:
        if asked.kind == "form":
            from patina.model.forms import fields_of, problems, with_defaults

            fields = fields_of(asked.form)
            content = with_defaults(fields, content)
            wrong = problems(fields, content)
            if wrong:
                await self._end(f"--answer does not fit what {self._server} asks. {wrong[0]}")
        elif asked.kind == "url":
            self._say(f"{self._server} asks you to open {asked.url}")
        elif asked.sampling is not None:
            from patina.engine.sampling_prompt import Changes

            try:
                Changes.of(content).apply(asked.sampling)
            except UsageFault as fault:
                await self._end(f"--answer does not fit what {self._server} asks. {fault}")
        return Answered(action="accept", content={} if asked.kind == "url" else content)

    async def _end(self, why: str) -> None:
        """End the call, whose server is told so."""
        self._misfit = UsageFault(why, hint="The server was given no answer.")
        assert self._scope is not None
        self._scope.cancel()
        await anyio.sleep_forever()  # the scope's end is here

    async def sample(self, server: str, prompt: Sampling) -> Sampled:
        """As `Dialog.sample`."""
        if self._sampler is None:
            from patina.engine.sampling import Sampler

            self._sampler = Sampler(self._app.services)
        with self._watchdog.paused():
            return await self._sampler.sample(server, prompt, self.ask)

    async def task(self, state: TaskState) -> None:
        """As `Dialog.task`: shown; nothing is kept, for there is no conversation."""
        self._watchdog.follow(on=state.status in ("working", "input_required"))
        self._show(f"{self._name} task {state.status}: {state.text}".rstrip(": "))

    def keeps_task(self) -> bool:
        """As `Dialog.keeps_task`: nobody would find it again."""
        return False

    def _is_asking(self) -> bool:
        return self._turn.locked()

    def _show(self, text: str) -> None:
        if not self._is_asking():
            self._line.show(text)

    def _say(self, text: str) -> None:
        self._line.clear()
        sys.stderr.write(f"{safe_text(text)}\n")
        sys.stderr.flush()


def unanswered_text(server: str, asked: Asked) -> str:
    """Return what to say of a question that nobody is here to answer."""
    words = safe_line(asked.text)
    wanted = ""
    if asked.kind == "form":
        from patina.model.forms import fields_of

        fields = fields_of(asked.form)
        names = [field.name for field in fields if field.required] or [f.name for f in fields[:3]]
        wanted = f" (values: {', '.join(map(safe_line, names))})" if names else ""
    elif asked.kind == "url":
        wanted = f" ({asked.url})"
    return f"{server} asks, and nobody is here to answer: {words}{wanted}"


async def attended(
    app: App,
    server: str,
    name: str,
    work: Callable[[TerminalDialog], Awaitable[T]],
    *,
    given: Given = NOTHING_GIVEN,
    signals: Signals | None = None,
) -> T:
    """Return what `work` comes to, with somebody to talk to for `server`, which is connected first.

    `name` is what is waited for, in the words for people. Bounded by the server's time for a tool,
    which its progress begins anew. Raises `Fault`s; `PermissionFault` where it failed after nobody
    had answered its question.
    """
    settings = app.supervisor.settings(server)
    await need_start(app, server)
    await let_in(app, server, lambda: app.supervisor.connect(server))
    watchdog = Watchdog(app.clock, settings.tool_timeout, settings.tool_timeout_most)
    dialog = TerminalDialog(app, server, name, watchdog, given)
    result = await dialog.run(lambda: work(dialog), signals or Signals())
    if result is None:
        raise McpFault(
            f"{finished_text(name, 'timed_out', watchdog.bound)}.",
            hint=f"Give it more time: patina mcp edit {server} --tool-timeout 120",
        )
    return result
