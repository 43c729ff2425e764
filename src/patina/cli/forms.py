"""The forms of servers, filled in line by line at the terminal."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from patina.cli.tty import Person
from patina.model.faults import UsageFault
from patina.model.forms import Field, parse, problems
from patina.model.questions import Action, Answered
from patina.views.terminal_text import safe_line, safe_text

_LEAVES: Final[dict[str, Action]] = {":decline": "decline", ":cancel": "cancel"}
_NONE: Final = ":none"  # leaves out what was filled in before
_HOW: Final = (
    "Enter takes what stands in brackets. :decline refuses to answer, :cancel leaves the form.\n"
)
_KINDS: Final = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "y or n",
    "one": "a number or a name of the list",
    "several": "numbers or names of the list, parted by commas",
}
_FORMATS: Final = {
    "email": "an e-mail address",
    "uri": "an address such as https://example.org",
    "date": "such as 2026-12-31",
    "date-time": "such as 2026-12-31T09:30:00Z",
}


async def fill_in(person: Person, name: str, fields: Sequence[Field]) -> Answered:
    """Ask for each field, show what was filled in, and return the answer to send.

    `name` is the server's. Leaving at any field, or at the end, declines or cancels; the end of
    the input cancels.
    """
    given: dict[str, Any] = {
        field.name: field.default for field in fields if field.default is not None
    }
    if fields:
        say(_HOW)
    while True:
        for field in fields:
            filled = await _fill(person, field, given.get(field.name))
            if filled.action != "accept":
                return filled
            given.pop(field.name, None)
            given.update(filled.content)
        wrong = problems(fields, given)
        if not wrong:
            _review(name, fields, given)
            keys = {"": "accept", "y": "accept", "e": "edit", "d": "decline", "c": "cancel"}
            choices = "[Y] Send   [E] Edit   [D] Decline   [C] Cancel"
            chosen = await choose(person, choices, keys)
            if chosen == "accept":
                return Answered(action="accept", content=given)
            if chosen != "edit":
                return Answered(action="decline" if chosen == "decline" else "cancel")
        say("".join(f"{sentence}\n" for sentence in wrong))


async def choose(person: Person, question: str, keys: Mapping[str, str]) -> str:
    """Return what the typed key means, asking until it is one of `keys` (small letters).

    "" where the input ended.
    """
    line = await person.ask(f"{safe_text(question)} ")
    while line and line.strip().lower() not in keys:
        line = await person.ask(f"Type one of the letters: {safe_text(question)} ")
    return keys[line.strip().lower()] if line else _ended()


def say(text: str) -> None:
    """Print text of anybody to the person, harmless."""
    sys.stderr.write(safe_text(text))
    sys.stderr.flush()


def _ended() -> str:
    say("\n")
    return ""


async def _fill(person: Person, field: Field, before: Any) -> Answered:  # noqa: ANN401 - a value
    """Return the value of one field, by its name; nothing where it is left out."""
    say(_heading(field))
    shown = f"[{_shown(field, before)}] > " if before is not None else "> "
    while True:
        line = await person.ask(safe_text(shown), fresh=False)
        if not line:
            _ended()
            return Answered(action="cancel")
        typed = line.removesuffix("\n")
        word = typed.strip()
        if word in _LEAVES:
            return Answered(action=_LEAVES[word])
        if not word and before is not None:
            return Answered(action="accept", content={field.name: before})
        nothing = word == _NONE or (not word and field.kind != "several")
        if nothing or (not word and not field.required):
            if not field.required:
                return Answered(action="accept")
            say(f"{safe_line(field.label)} is needed.\n")
            continue
        try:
            return Answered(action="accept", content={field.name: parse(field, typed)})
        except UsageFault as fault:
            say(f"{fault}\n")


def _heading(field: Field) -> str:
    needed = ", needed" if field.required else ""
    hint = _hint(field)
    lines = ["", safe_line(field.label) + needed + (f" ({hint})" if hint else "")]
    if field.description:
        lines.append(f"  {safe_line(field.description)}")
    for number, option in enumerate(field.options, 1):
        value = f" ({safe_line(option.value)})" if option.title != option.value else ""
        lines.append(f"  {number:3}  {safe_line(option.title)}{value}")
    return "\n".join([*lines, ""])


def _hint(field: Field) -> str:
    hints = [_KINDS.get(field.kind, ""), _FORMATS.get(field.format, "")]
    unit = {"text": " characters", "several": " choices"}.get(field.kind, "")
    if field.least is not None and field.most is not None:
        hints.append(f"{field.least:g} to {field.most:g}{unit}")
    elif field.least is not None:
        hints.append(f"at least {field.least:g}{unit}")
    elif field.most is not None:
        hints.append(f"at most {field.most:g}{unit}")
    return "; ".join(filter(None, hints))


def _shown(field: Field, value: Any) -> str:  # noqa: ANN401 - a value of the form
    """Return a value as it would be typed."""
    titles = {option.value: option.title for option in field.options}
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return safe_line(", ".join(titles.get(one, str(one)) for one in value))
    return safe_line(titles.get(value, value) if isinstance(value, str) else str(value))


def _review(name: str, fields: Sequence[Field], given: Mapping[str, Any]) -> None:
    values = [
        f"  {safe_line(field.label)}: {_shown(field, given[field.name])}"
        for field in fields
        if field.name in given
    ]
    lines = values or ["  no values"]
    say("\n".join(["", f"This goes to {safe_line(name)}:", *lines, ""]))
