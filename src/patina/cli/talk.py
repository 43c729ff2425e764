"""The plain chat: a line typed is a message, an answer streams below it."""

import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

from anyio.from_thread import BlockingPortal
from msgspec.structs import replace

from patina.assembly.app import App
from patina.cli.asking import Asking
from patina.cli.context import Context
from patina.cli.errors import show_failure
from patina.cli.prompt import Prompt
from patina.cli.sinks import TextSink
from patina.cli.talk_changes import Changes
from patina.cli.talk_complete import Completer
from patina.cli.talk_help import HELP
from patina.cli.talk_mcp import McpCommands
from patina.cli.talk_money import MoneyCommands
from patina.cli.talk_servers import ServerNews
from patina.cli.talk_tools import ToolCommands
from patina.model.chat import ModelRef
from patina.model.faults import EXIT_OK, Fault, UsageFault
from patina.model.items import Leaf
from patina.model.options import TurnOptions
from patina.model.parts import text_of
from patina.model.tree import Tree
from patina.ports.journal import Summary
from patina.providers.brands import DEMO
from patina.views.conversation import rows
from patina.views.terminal_text import safe_line, safe_text

SHOWN_AT_RESUME: Final = 6
CHOICES_AT_RESUME: Final = 20
_LEAVE_AT: Final = 3  # presses of Ctrl+C during one answer: it does not end by itself
# Windows interrupts no wait, only what comes after it. Seconds.
_PATIENCE: Final = 0.2 if sys.platform == "win32" else None
T = TypeVar("T")


class Talk:
    """One run of the plain chat. Waits for lines here; the app lives in the portal's thread.

    `options` are those of every turn.
    """

    def __init__(
        self,
        portal: BlockingPortal,
        app: App,
        run: Context,
        model: str | None,
        news: ServerNews,
        options: TurnOptions,
    ) -> None:
        self._portal = portal
        self._app = app
        self._run = run
        self._model = model  # what the next message asks for; None leaves it to the conversation
        self._current = ""  # the conversation's
        self._session = ""
        self._asked = False  # a question or a task of an earlier time is still open
        self._told: set[str] = set()
        self._changes = Changes(portal, app, self._tell)
        self._news = news
        self._mcp = McpCommands(app, self._run_async, self._tell, debug=run.debug_mcp)
        self._options = options
        self._money = MoneyCommands(app, self._run_async, self._tell)
        self._code = EXIT_OK
        self._terminal = sys.stdin.isatty() and sys.stdout.isatty()
        self._tools = ToolCommands(
            portal, app, self._run_async, self._tell, terminal=self._terminal
        )
        self._armed = False  # whether Ctrl+C may interrupt what runs; it waits for that otherwise
        self._pressed = False
        if self._terminal:
            with suppress(ImportError):
                import readline  # noqa: F401 - importing it is what gives lines to edit

    def choose(self, *, last: bool, resume: bool, session: str | None) -> None:
        """Find the conversation to go on with, and show its end. Raises `UsageFault`."""
        if session:
            self._session = self._portal.call(self._app.journal.find, session)
        elif last or resume:
            listing = partial(self._app.journal.list, CHOICES_AT_RESUME, active=True)
            newest = self._portal.call(listing)
            if not newest:
                self._tell("No conversations yet: this is the first.")
                return
            chosen = self._chosen(newest) if resume else newest[0]
            self._session = chosen.conversation
        if self._session:
            self._show_end()

    def _chosen(self, newest: Sequence[Summary]) -> Summary:
        for number, summary in enumerate(newest, 1):
            self._tell(f"{number:3}  {summary.updated[:16]}  {safe_line(summary.title)}")
        while True:
            answer = self._line("Which? [1] ")
            if answer is None:
                raise UsageFault("No conversation was chosen.", hint="`patina chat` begins one.")
            number = int(answer) if answer.strip().isdecimal() else 0
            if not answer.strip():
                number = 1
            if 1 <= number <= len(newest):
                return newest[number - 1]
            self._tell(f"Type a number from 1 to {len(newest)}.")

    def _show_end(self) -> None:
        transcript = self._portal.call(self._app.journal.tail, self._session, SHOWN_AT_RESUME)
        if any(isinstance(item, Leaf) for item in transcript.items):
            # The branch that was chosen may begin before the tail.
            transcript = self._portal.call(self._app.journal.read, self._session)
        tree = Tree(transcript.items)
        opened = tree.open_calls()
        self._asked = opened is not None and (opened.waiting() or bool(opened.going_on()))
        shown = rows(tree)
        answers = [row.name for row in shown if row.kind == "assistant"]
        self._current = tree.fact("model") or (answers[-1] if answers else "")
        for row in shown[-SHOWN_AT_RESUME:]:
            name = "you" if row.kind == "user" else row.name or row.kind
            cut = " (partial)" if row.partial else ""
            self._tell(f"{name}{cut}: {row.text.rstrip()}\n")
        if transcript.damaged:
            self._tell(f"Damaged lines that were left out: {transcript.damaged}")

    def run(self) -> int:
        """Take lines until the input ends or /quit, and return the exit code.

        With a person there it is 0; else that of the last message that failed.
        """
        before = signal.signal(signal.SIGINT, self._on_interrupt) if self._terminal else None
        try:
            return self._loop()
        finally:
            if before is not None:
                signal.signal(signal.SIGINT, before)

    def _loop(self) -> int:
        self._greet()
        if self._terminal:
            self._changes.show_draft(self._session)
        commands: dict[str, Callable[[str], None]] = {
            "/help": lambda _: self._help(),
            "/model": self._change_model,
            "/tools": lambda words: self._tools.command(self._session, words),
            "/mcp": self._mcp.command,
            "/attach": self._mcp.attach,
            "/detach": lambda _: self._mcp.detach(),
            "/new": lambda _: self._new(),
            "/summarise": lambda _: self._again(Asking.summarise),
            "/retry": self._retry,
            "/regenerate": self._regenerate,
            "/edit": self._edit,
            "/branches": lambda _: self._changes.list_branches(self._begun()),
            "/branch": lambda number: self._changes.choose_branch(self._begun(), number),
            "/title": lambda _: self._title(),
            "/rename": lambda title: self._changes.rename(self._begun(), title),
            "/cost": lambda words: self._money.cost(self._prompt(""), words),
            "/limits": lambda words: self._money.limits(self._session, words),
            "/usage": lambda words: self._money.usage(self._run, words),
            "/draft": lambda _: self._send_draft(),
        }
        self._portal.call(self._app.supervisor.start_background)
        if self._terminal and "readline" in sys.modules:
            Completer(self._portal, self._app, tuple(commands)).install(sys.modules["readline"])
        if self._asked:
            asking = self._asking(Prompt(text="", session=self._session))
            self._finish(asking, self._portal.start_task_soon(asking.resume))
        while (text := self._message()) is not None:
            word, _, rest = text.partition(" ")
            if word in ("/quit", "/exit"):
                break
            try:
                if word.startswith("/") and ":" in word and "/" not in word[1:]:
                    self._say("", slash=text)
                elif word.startswith("/") and not word.startswith("//"):
                    commands.get(word, lambda _, word=word: self._unknown(word))(rest.strip())
                elif text:
                    self._say(text.removeprefix("/") if word.startswith("//") else text)
            except Fault as fault:
                self._code = show_failure(fault.failure, self._run)
        self._tell_resume()
        return EXIT_OK if self._terminal else self._code

    def _on_interrupt(self, *_: object) -> None:
        # Anywhere else an exception would leave an answer behind that nobody waits for.
        self._pressed = True
        if self._armed:
            raise KeyboardInterrupt

    def _interruptible(self, wait: Callable[[], T]) -> T:
        """Return what `wait` returns; Ctrl+C, now or since the last wait, interrupts it."""
        try:
            self._armed = True
            if self._pressed:
                raise KeyboardInterrupt
            return wait()
        finally:
            self._armed = self._pressed = False

    def _tell(self, text: str) -> None:
        """Say something of our own: where the output goes to a program, beside it."""
        print(safe_text(text), file=sys.stdout if self._terminal else sys.stderr, flush=True)

    def _help(self) -> None:
        self._tell("\n".join([HELP, *self._mcp.help_lines()]))

    def _unknown(self, word: str) -> None:
        self._tell(f"There is no command {word}. /help lists them; // begins a message.")

    def _tell_resume(self) -> None:
        if self._session:
            self._tell(f"To go on: patina chat -s {self._session}")

    def _greet(self) -> None:
        named = self._model or self._current
        try:
            model = self._app.providers.resolve(named)
        except Fault as fault:
            if self._model:
                raise
            self._tell(f"{fault} {fault.failure.hint}")
            if self._session:
                self._tell("Another model can be chosen: /model PROVIDER/MODEL")
                return
            self._tell("Until then the built-in demo answers: a stand-in, not a model.")
            self._model, model = f"{DEMO}/{DEMO}", ModelRef(DEMO, DEMO)
        self._tell(f"Patina · {model} · /help")

    def _message(self) -> str | None:
        """Return the next message, None at the end of the input. Ctrl+C drops the line."""
        try:
            lines = [self._line("> ")]
            while lines[-1] is not None and lines[-1].endswith("\\"):
                lines[-1] = lines[-1][:-1]
                lines.append(self._line("… ") or "")
        except KeyboardInterrupt:
            if not self._terminal:
                raise
            self._tell("\n(Ctrl+D or /quit leaves.)")
            return ""
        return None if lines[0] is None else "\n".join(line or "" for line in lines).strip()

    def _line(self, prompt: str) -> str | None:
        try:
            self._news.prompting(prompt)
            return self._interruptible(lambda: input(prompt if self._terminal else ""))
        except EOFError:
            if self._terminal:
                print()  # the next prompt, the shell's, stands on a line of its own
            return None
        finally:
            self._news.prompting(None)

    def _say(self, text: str, parent: str | None = None, slash: str = "") -> None:
        """Send `text`, or what the prompt of a server says that was typed as `slash`."""
        prompt = replace(self._prompt(text), slash=(slash,) if slash else (), parent=parent)
        if self._terminal and not slash:
            self._money.tell_dear(replace(prompt, model=self._model or self._current or None))
        asking = self._asking(prompt)
        before = self._session
        self._finish(asking, self._portal.start_task_soon(asking.run))
        if asking.result.provider:  # it is in the conversation
            self._mcp.detach()
        if not self._terminal or slash:
            return
        if asking.result.provider:
            self._changes.drop_draft(before, text)
        else:
            if self._session and not self._portal.call(self._app.journal.mark, self._session):
                # Erased meanwhile: a draft of it could be neither sent nor erased.
                self._session, parent = "", None
            self._changes.keep_draft(self._session, text, parent)

    def _prompt(self, text: str) -> Prompt:
        """Return `text` with all that goes along with the next message."""
        return Prompt(
            text=text,
            attached=self._mcp.attached,
            sources=self._mcp.sources,
            session=self._session,
            model=self._model,
            tools=None if self._session else self._tools.chosen,
            options=self._options,
        )

    def _begun(self) -> str:
        """Return the conversation's id. Raises `UsageFault` where nothing was said yet."""
        if not self._session:
            raise UsageFault("This conversation has no messages yet.", hint="Type one.")
        return self._session

    def _again(self, work: Callable[[Asking], Coroutine[Any, Any, int]]) -> None:
        """Do something with the conversation that needs no message."""
        prompt = Prompt(text="", session=self._begun(), model=self._model, options=self._options)
        asking = self._asking(prompt)
        self._finish(asking, self._portal.start_task_soon(work, asking))

    def _retry(self, what: str) -> None:
        if what not in ("", "call"):
            raise UsageFault(f"/retry does not know {what}.", hint="There is /retry call.")
        if not what:
            self._again(Asking.retry)
            return
        failed = self._tools.failed_call(self._begun())
        self._again(partial(Asking.retry_call, result_id=failed))

    def _regenerate(self, model: str) -> None:
        if model:
            self._app.providers.resolve(model)
            self._model = model
        self._again(Asking.regenerate)

    def _edit(self, text: str) -> None:
        if not text:
            raise UsageFault("/edit needs the new words.", hint="/edit What I meant is …")
        self._say(text, self._changes.place_of_newest(self._begun()))

    def _send_draft(self) -> None:
        draft = self._changes.draft(self._session)
        if draft is None:
            raise UsageFault("There is no draft here.", hint="What cannot be sent is kept as one.")
        self._say(text_of(draft.parts), draft.parent)

    def _asking(self, prompt: Prompt) -> Asking:
        sink = TextSink(stream=True, quiet=False, states=True)
        return Asking(self._app, prompt, sink, told=self._told, greeted=True)

    def _finish(self, asking: Asking, future: "Future[int]") -> None:
        """Wait for the end of an answer, and say what went wrong."""
        code = self._wait(future, lambda: self._portal.call(asking.press))
        result = asking.result
        if result.error is not None:
            show_failure(result.error, self._run)
        self._code = code or self._code
        if result.provider:  # the turn began: the conversation is there and keeps its model
            self._session = result.session_id
            self._current = self._model or f"{result.provider}/{result.model}"
            self._model = self._tools.chosen = None
        if self._terminal and self._money.after(result, self._line):
            self._again(Asking.retry)
        if result.retriable:
            self._tell(f"(/retry call runs {result.retriable} again.)")

    def _wait(self, future: "Future[T]", interrupt: Callable[[], object]) -> T:
        presses = 0
        while True:
            try:
                return self._interruptible(lambda: future.result(_PATIENCE))
            except NotYet:
                if future.done():
                    raise
            except KeyboardInterrupt:
                presses += 1
                if presses == _LEAVE_AT or not self._terminal:
                    raise
                interrupt()

    def _run_async(self, work: Callable[..., Awaitable[T]], *args: object) -> T:
        """Run `work` in the app's thread; Ctrl+C ends it."""
        future = self._portal.start_task_soon(work, *args)
        return self._wait(future, future.cancel)

    def _title(self) -> None:
        from concurrent.futures import CancelledError

        try:
            title = self._run_async(self._changes.make_title, self._begun())
        except CancelledError:
            self._tell("\nNobody waits for a title any more.")
            return
        self._tell(f"Title: {safe_line(title)}")

    def _change_model(self, name: str) -> None:
        model = self._app.providers.resolve(name or self._model or self._current)
        if name:
            self._model = name
        effort = f":{model.effort}" if model.effort else ""
        self._tell(f"Model: {model}{effort}")

    def _new(self) -> None:
        self._tell_resume()
        self._session, self._tools.chosen = "", None
        self._model = self._model or self._current or None
        self._tell("A new conversation.")
