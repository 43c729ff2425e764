"""What servers ask, put to the person at the terminal: forms, pages, prompts for a model."""

from collections.abc import Mapping
from typing import Final

import anyio
import anyio.to_thread

from patina.assembly.browser import open_page
from patina.cli.forms import choose, fill_in, say
from patina.cli.sampling_edit import edited
from patina.cli.tty import Person
from patina.model.faults import Fault
from patina.model.pages import page_of
from patina.model.parts import CallResult, Part, Spoken, Text, ToolCall
from patina.model.questions import Action, Answered, Asked, Sampling
from patina.views.terminal_text import safe_line

_ANSWERS: Final[dict[str, Action]] = {"yes": "accept", "no": "decline"}


class ServerQuestions:
    """Puts questions to `person`. `environ` is that of the process.

    Whoever has several takes care that one is shown at a time.
    """

    def __init__(self, person: Person, environ: Mapping[str, str]) -> None:
        self._person = person
        self._environ = environ
        self._open: anyio.CancelScope | None = None

    async def answer(self, name: str, asked: Asked) -> Answered:
        """Return the person's answer to what the server `name` asks. Cancelling withdraws it."""
        answered = Answered(action="cancel")
        with anyio.CancelScope() as scope:
            self._open = scope
            try:
                # Further in than our own lines: no text of a server looks like one.
                words = asked.text.strip().replace("\n", "\n    ")
                say(f"\n{safe_line(name)} asks:\n    {words}\n")
                answered = await self._put(name, asked)
            finally:
                self._open = None
        if scope.cancelled_caught:
            say("\n")
        return answered

    def leave(self) -> bool:
        """Cancel the question that is shown, as Ctrl+C does; whether there was one."""
        if self._open is None:
            return False
        self._open.cancel()
        return True

    async def _put(self, name: str, asked: Asked) -> Answered:
        if asked.kind == "form":
            from patina.model.forms import fields_of

            return await fill_in(self._person, name, fields_of(asked.form))
        if asked.kind == "url":
            return await self._visit(asked)
        assert asked.sampling is not None
        return await self._consent(asked.sampling)

    async def _visit(self, asked: Asked) -> Answered:
        say(f"  host  {asked.host}\n  page  {asked.url}\n")
        keys = {"y": "yes", "d": "no", "c": ""}
        chosen = await choose(
            self._person, "Open it in a browser? [Y] Yes   [D] Decline   [C] Cancel", keys
        )
        if chosen == "yes":
            # Checked before it was shown, by `engine.refusing`; this is what makes it a page.
            page = page_of(asked.url)
            if not await anyio.to_thread.run_sync(
                open_page, page, self._environ, abandon_on_cancel=True
            ):
                say(f"Open this page yourself: {page.url}\n")
        return Answered(action=_ANSWERS.get(chosen, "cancel"))

    async def _consent(self, prompt: Sampling) -> Answered:
        changed = prompt
        while True:
            say(_shown(changed))
            keys = {"y": "yes", "e": "edit", "n": "no", "d": "no", "c": ""}
            question = "Let the model answer it? [Y] Yes   [E] Edit   [N] No"
            chosen = await choose(self._person, question, keys)
            if chosen != "edit":
                content = _changes(prompt, changed) if chosen == "yes" else {}
                return Answered(action=_ANSWERS.get(chosen, "cancel"), content=content)
            try:
                changed = await anyio.to_thread.run_sync(edited, changed, self._environ)
            except Fault as fault:
                say(f"{fault} {fault.failure.hint}\n")


def _shown(prompt: Sampling) -> str:
    lines = [f"  model      {prompt.model}", f"  at most    {prompt.max_tokens:,} tokens"]
    if prompt.system:
        lines.append(f"  system     {_indented(prompt.system)}")
    lines += [f"  {spoken.role:9}  {_indented(_words(spoken))}" for spoken in prompt.messages]
    if prompt.tools:
        names = ", ".join(str(tool.get("name", "")) for tool in prompt.tools)
        lines.append(f"  tools      {names}")
    return "\n".join([*lines, ""])


def _indented(text: str) -> str:
    return text.replace("\n", "\n" + " " * 13)


def _words(spoken: Spoken) -> str:
    pieces = [_piece(part) for part in spoken.parts] + [_result(one) for one in spoken.answers]
    return "\n".join(pieces)


def _piece(part: Part) -> str:
    if isinstance(part, Text):
        return part.text
    if isinstance(part, ToolCall):
        return f"[calls {part.name} with {part.arguments}]"
    return f"[{getattr(part, 'media_type', 'thinking')}]"


def _result(result: CallResult) -> str:
    return "\n".join(f"[result] {_piece(part)}" for part in result.parts)


def _changes(before: Sampling, after: Sampling) -> dict[str, object]:
    """Return what was changed, as `Answered.content` has it."""
    changes: dict[str, object] = {
        name: getattr(after, name)
        for name in ("system", "model", "max_tokens")
        if getattr(after, name) != getattr(before, name)
    }
    pairs = enumerate(zip(before.messages, after.messages, strict=True))
    messages = {str(number): _text(new) for number, (old, new) in pairs if old != new}
    return {**changes, "messages": messages} if messages else changes


def _text(spoken: Spoken) -> str:
    return "".join(part.text for part in spoken.parts if isinstance(part, Text))
