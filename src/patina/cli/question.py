"""The question about a tool call, put to the person at the terminal (C-17, C-18)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from patina.assembly.app import App
from patina.cli import question_text
from patina.cli.menu import MOST_LINES, Menu, Option
from patina.cli.question_answers import edited_arguments, rule_of, say
from patina.cli.tty import Person
from patina.model.chat import ToolInfo
from patina.model.items import Ask, Choice
from patina.model.settings import PermissionRule
from patina.views.permission import question_view

_PAST: Final[dict[Choice, str]] = {
    "allow_once": "allowed once",
    "allow_session": "allowed for this session",
    "allow_always": "allowed always",
    "deny": "denied",
}


class Batch(Struct, frozen=True):
    """The questions that are put together: `asked` are all of them, `open` those not answered."""

    asked: tuple[Ask, ...] = ()
    open: tuple[Ask, ...] = ()


class Said(Struct, frozen=True, kw_only=True):
    """A person's answer, as `commands.AnswerPermission` has it. `every`: to all open questions of
    the batch; `arguments` are those of the one that was shown.
    """

    choice: Choice
    reason: str = ""
    arguments: str = ""
    rule: PermissionRule | None = None
    every: bool = False


class PermissionQuestion:
    """Puts questions about tool calls to `person`, one at a time.

    `environ` is that of the process. Cancelling withdraws the question that is shown; the terminal
    is then as it was.
    """

    def __init__(self, app: App, person: Person, environ: Mapping[str, str]) -> None:
        self._app = app
        self._person = person
        self._environ = environ

    async def put(
        self, ask: Ask, batch: Callable[[], Batch] = Batch, note: str = ""
    ) -> Said | None:
        """Return the answer to `ask`, None where the input ended: then nobody answers.

        `batch` is called whenever it is shown. `note` is what was wrong with an earlier answer.
        """
        edited = ""
        if note:
            say(["", *question_text.line(note)])
        settle, card = True, True
        lines: Sequence[str] = ()
        while True:
            if card:
                lines = self._show(ask, batch().asked, edited)
            key = await self._key(ask, batch, lines, settle=settle)
            settle, card = False, key in ("e", "l")
            if key == "closed":
                return None
            if key == "e":
                edited = await self._edit(ask, edited or ask.arguments)
            elif key == "i":
                say(self._inspected(ask, edited))
            elif key == "l":
                if await self._allows_all(ask, batch().open):
                    return Said(choice="allow_once", arguments=edited, every=True)
            else:
                said = await self._said(ask, key, edited)
                if said is not None:
                    return said

    async def _said(self, ask: Ask, key: str, edited: str) -> Said | None:
        """Return the answer that a key stands for, None where the person went back."""
        view = question_view(ask)
        choice = view.choice_of(key) or "deny"
        if choice == "allow_always":
            # A rule about the very arguments that were not good enough is none to keep.
            offers = [one for one in view.offers if not (edited and one.rule.args)]
            rule = await rule_of(self._person, offers, self._app.clock.now()[:10])
            return None if rule is None else Said(choice=choice, arguments=edited, rule=rule)
        if choice == "deny":
            if key == "esc" or not view.tool:
                return Said(choice=choice)
            reason = await self._person.ask("Why? The model is told (Enter: no reason). ")
            return Said(choice=choice, reason=reason.strip())
        return Said(choice=choice, arguments=edited)

    async def _key(
        self, ask: Ask, batch: Callable[[], Batch], lines: Sequence[str], *, settle: bool
    ) -> str:
        def options() -> list[Option]:
            return question_text.options(question_view(ask), len(batch().open))

        return await self._chosen(options, lines, settle=settle)

    async def _chosen(
        self, options: Callable[[], list[Option]], lines: Sequence[str] = (), *, settle: bool
    ) -> str:
        """Return the key of one of the options, "esc" or "closed"."""
        with self._person.keys(self._environ) as keyboard:
            if keyboard is not None:
                return await Menu(options, self._environ, lines).choose(keyboard, settle=settle)
        say(lines)
        known = options()
        shown = "   ".join(option.shown for option in known)
        typed = await self._person.ask(f"{shown} ")
        while typed and typed.strip().lower() not in [option.key for option in known]:
            typed = await self._person.ask(f"Type one of the letters: {shown} ")
        return typed.strip().lower() or "closed"

    def _show(self, ask: Ask, asked: Sequence[Ask], edited: str) -> Sequence[str]:
        """Print a question, and return the arguments where they are too long for that."""
        view = question_view(ask, asked)
        lines = question_text.arguments(edited or ask.arguments) if view.tool else []
        long = len(lines) > MOST_LINES
        say(["", *question_text.heading(view, edited=bool(edited)), *([] if long else lines)])
        return lines if long else ()

    async def _allows_all(self, ask: Ask, left: Sequence[Ask]) -> bool:
        """Show the rest of a batch; whether the person allows all of it."""
        for other in left:
            if other.id != ask.id:
                view = question_view(other, left)
                say(["", *question_text.heading(view), *question_text.arguments(other.arguments)])
        options = [Option("l", f"Allow all {len(left)} once"), Option("b", "Back")]
        return await self._chosen(lambda: options, settle=True) == "l"

    async def _edit(self, ask: Ask, text: str) -> str:
        """Return the arguments as the person left them, "" where they are the model's."""
        tool = self._tool(ask)

        def check(changed: str) -> None:
            if tool is not None:
                self._app.tools.check(tool, changed)

        changed = await edited_arguments(self._person, text, check, self._environ)
        return "" if changed == ask.arguments else changed

    def _inspected(self, ask: Ask, edited: str) -> list[str]:
        tool = self._tool(ask)
        supervisor = self._app.supervisor
        known = supervisor.definitions(ask.server) if ask.server in supervisor.servers else ()
        definition = next((one for one in known or () if one.name == ask.tool), None)
        lines = ["", *question_text.request_lines(ask)]
        lines += ["The arguments:", *question_text.arguments(edited or ask.arguments)]
        return [*lines, *question_text.definition_lines(tool, definition), ""]

    def _tool(self, ask: Ask) -> ToolInfo | None:
        return self._app.tools.find(f"{ask.server}.{ask.tool}")


def elsewhere(choice: Choice) -> str:
    """Return what to say of a question that was answered in another window."""
    return f"Answered elsewhere: {_PAST[choice]}."
