"""Answers to a tool's question that take more than a key: changed arguments, a lasting rule."""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec
from msgspec.structs import replace

from patina.cli.editor import open_editor
from patina.cli.question_text import line, offer_lines
from patina.cli.tty import Person
from patina.model.faults import Fault, UsageFault
from patina.model.parts import well_formed
from patina.model.settings import PermissionRule
from patina.views.permission import Offer


async def edited_arguments(
    person: Person,
    text: str,
    check: Callable[[str], None],
    environ: Mapping[str, str],
) -> str:
    """Return the arguments as `person` changes them, JSON text; `text` where they leave it.

    In their editor, else on one line. Asked again until they are a JSON object that `check` raises
    no `Fault` about.
    """
    editor = environ.get("VISUAL") or environ.get("EDITOR")
    draft = text
    while True:
        try:
            if editor:
                draft = await anyio.to_thread.run_sync(_in_editor, draft, environ)
            else:
                draft = (await person.ask("New arguments, JSON (Enter: as they are): ")).strip()
            if not draft or draft.strip() == text.strip():
                return text
            compact = _object(draft)
            check(compact)
        except Fault as fault:
            say(line(f"{fault} {fault.failure.hint}".rstrip()))
            if editor and not await person.confirm("Edit them again?"):
                return text
        else:
            return compact


def _object(text: str) -> str:
    try:
        value: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UsageFault(f"This is no JSON object: {error}.") from None
    return msgspec.json.encode(value).decode()


def _in_editor(text: str, environ: Mapping[str, str]) -> str:
    """Blocks while the editor is open."""
    with tempfile.TemporaryDirectory(prefix="patina-") as folder:
        file = Path(folder) / "arguments.json"
        file.write_text(_pretty(text), "utf-8")
        open_editor(environ, file)
        try:
            return well_formed(file.read_text("utf-8-sig"))
        except (OSError, ValueError):
            raise UsageFault("What the editor left cannot be read.") from None


def _pretty(text: str) -> str:
    try:
        return msgspec.json.format(text, indent=2) + "\n"
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return text


async def rule_of(person: Person, offers: Sequence[Offer], today: str) -> PermissionRule | None:
    """Return the rule that `person` wants written, perhaps with an end; None: they went back.

    `today` is the date, YYYY-MM-DD, before which no rule may end.
    """
    lines = ["Which rule may Patina write to config.toml? The narrowest is first."]
    for number, offer in enumerate(offers, 1):
        lines += offer_lines(number, offer)
    say(lines)
    while True:
        typed = (await person.ask("Number (Enter: back): ")).strip()
        if not typed:
            return None
        if typed.isdecimal() and 1 <= int(typed) <= len(offers):
            break
        say([f"Type a number from 1 to {len(offers)}."])
    rule = offers[int(typed) - 1].rule
    while True:
        typed = await person.ask("Last day it holds, such as 2027-01-31 (Enter: no end): ")
        if not typed:
            return None  # the input ended: nobody agreed
        typed = typed.strip()
        if not typed:
            return rule
        try:
            ends = date.fromisoformat(typed).isoformat()
        except ValueError:
            say(["That is no date."])
            continue
        if ends >= today:
            return replace(rule, expires=ends)
        say(["That day is over."])


def say(lines: Sequence[str]) -> None:
    """Print lines that are harmless already."""
    if lines:
        sys.stderr.write("\n".join([*lines, ""]))
        sys.stderr.flush()
