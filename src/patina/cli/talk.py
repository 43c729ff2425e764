"""The plain chat: a line typed is a message, an answer streams below it."""

import sys
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from anyio.from_thread import BlockingPortal

from patina.assembly.app import App
from patina.cli.asking import Asking, Question
from patina.cli.context import Context
from patina.cli.errors import show_failure
from patina.cli.sinks import TextSink
from patina.model.chat import ModelRef
from patina.model.faults import EXIT_OK, Fault
from patina.model.tree import Tree
from patina.providers.catalog import DEMO
from patina.views.conversation import rows
from patina.views.terminal_text import safe_line, safe_text

HELP: Final = """\
/help     this list
/model    the model in use; /model PROVIDER/MODEL changes it
/tools    the tools that are offered
/new      begin another conversation
/quit     leave; so does Ctrl+D
Ctrl+C interrupts an answer. A line that ends in \\ goes on in the next one."""
SHOWN_AT_RESUME: Final = 6
CHOICES_AT_RESUME: Final = 20


class Talk:
    """One run of the plain chat. Waits for lines here; the app lives in the portal's thread."""

    def __init__(self, portal: BlockingPortal, app: App, run: Context, model: str | None) -> None:
        self._portal = portal
        self._app = app
        self._run = run
        self._model = model
        self._session = ""

    def choose(self, *, last: bool, resume: bool, session: str | None) -> None:
        """Find the conversation to go on with, and show its end. Raises `UsageFault`."""
        if session:
            self._session = self._portal.call(self._app.journal.find, session)
        elif last or resume:
            newest = self._portal.call(self._app.journal.list, CHOICES_AT_RESUME)
            if not newest:
                print("No conversations yet: this is the first.")
                return
            chosen = newest[0]
            if resume:
                for number, summary in enumerate(newest, 1):
                    print(f"{number:3}  {summary.updated[:16]}  {safe_line(summary.title)}")
                answer = self._line("Which? [1] ") or "1"
                chosen = newest[
                    min(max(int(answer), 1), len(newest)) - 1 if answer.isdigit() else 0
                ]
            self._session = chosen.conversation
        if self._session:
            self._show_end()

    def _show_end(self) -> None:
        transcript = self._portal.call(self._app.journal.tail, self._session, SHOWN_AT_RESUME)
        tree = Tree(transcript.items)
        for row in rows(tree)[-SHOWN_AT_RESUME:]:
            name = "you" if row.kind == "user" else row.name or row.kind
            print(safe_text(f"{name}: {row.text.rstrip()}\n"))

    def run(self) -> int:
        """Take lines until the input ends or /quit, and return the exit code."""
        self._greet()
        commands: dict[str, Callable[[str], None]] = {
            "/help": lambda _: print(HELP),
            "/model": self._change_model,
            "/tools": lambda _: self._tools(),
            "/new": lambda _: self._new(),
        }
        self._portal.call(self._app.supervisor.start_background)
        while (text := self._message()) is not None:
            word, _, rest = text.partition(" ")
            if word in ("/quit", "/exit"):
                break
            try:
                if word.startswith("/") and not word.startswith("//"):
                    unknown = f"There is no command {word}. /help lists them; // begins a message."
                    commands.get(word, lambda _, why=unknown: print(why))(rest.strip())
                elif text:
                    self._say(text.removeprefix("/") if word.startswith("//") else text)
            except Fault as fault:
                show_failure(fault.failure, self._run)
        if self._session:
            print(f"To go on: patina chat -s {self._session}")
        return EXIT_OK

    def _greet(self) -> None:
        try:
            model = self._app.providers.resolve(self._model or "")
        except Fault as fault:
            if self._model:
                raise
            print(safe_text(f"{fault} {fault.failure.hint}"))
            print("Until then the built-in demo answers: a stand-in, not a model.")
            self._model, model = f"{DEMO}/{DEMO}", ModelRef(DEMO, DEMO)
        print(f"Patina · {model} · /help")

    def _message(self) -> str | None:
        """Return the next message, None at the end of the input. Ctrl+C drops the line."""
        try:
            lines = [self._line("> ")]
            while lines[-1] is not None and lines[-1].endswith("\\"):
                lines[-1] = lines[-1][:-1]
                lines.append(self._line("… ") or "")
        except KeyboardInterrupt:
            print("\n(Ctrl+D or /quit leaves.)")
            return ""
        return None if lines[0] is None else "\n".join(line or "" for line in lines).strip()

    def _line(self, prompt: str) -> str | None:
        try:
            return input(prompt if sys.stdin.isatty() else "")
        except EOFError:
            return None

    def _say(self, text: str) -> None:
        question = Question(prompt=text, session=self._session, model=self._model)
        sink = TextSink(stream=True, quiet=False)
        asking = Asking(self._app, question, sink, signals=False)
        self._wait(self._portal.start_task_soon(asking.run), asking)
        self._session = asking.summary.session_id
        if asking.summary.error is not None:
            show_failure(asking.summary.error, self._run)
        self._model = None  # the conversation keeps it

    def _wait(self, future: Future[int], asking: Asking) -> None:
        while True:
            try:
                future.result()
            except KeyboardInterrupt:
                self._portal.call(asking.interrupt)
            else:
                return

    def _change_model(self, name: str) -> None:
        model = self._app.providers.resolve(name or self._model or "")
        if name:
            self._model = name
        print(f"Model: {model}")

    def _tools(self) -> None:
        for tool in self._portal.call(self._app.tools.list, None):
            print(f"{safe_line(tool.name)}  {safe_line(tool.description)}")

    def _new(self) -> None:
        self._session = ""
        print("A new conversation.")
