"""What a person reads before they allow a tool call, as lines that are safe on a terminal."""

from collections.abc import Iterable
from typing import Final

import msgspec

from patina.cli.menu import Option, window
from patina.cli.output import text_width
from patina.model.chat import ToolInfo
from patina.model.items import Ask
from patina.views.permission import Offer, QuestionView, argument_lines, visible

_INDENT: Final = "    "
_LABEL: Final = 12
_SEEN: Final = {
    "": "as it was seen",
    "new": "new: nobody has seen it",
    "changed": "changed since it was seen",
}


def options(view: QuestionView, left: int = 1) -> list[Option]:
    """Return the choices of a question with their keys, and what else can be done with it.

    `left` is how many questions of its batch are open.
    """
    shown = [Option(one.key.lower(), one.label) for one in view.choices]
    if not view.tool:
        return shown
    if left > 1:
        shown.append(Option("l", f"Allow all {left} once"))
    edit = [Option("e", "Edit")] if view.editable else []
    return [*shown, *edit, Option("i", "Inspect")]


def heading(view: QuestionView, *, edited: bool = False) -> list[str]:
    """Return what stands above the arguments."""
    if not view.tool:
        return _wrapped(f"{view.title}  {view.why}".rstrip(), "")
    where = f"  {view.position} of {view.count}" if view.count > 1 else ""
    lines = _wrapped(f"{view.title}  {view.tool}  ({view.server}){where}", "")
    lines += _labelled("it claims", " · ".join(view.claims) or "nothing")
    if view.why:
        lines += _labelled("asked as", view.why)
    return [*lines, "  arguments, as you changed them:" if edited else "  arguments:"]


def arguments(text: str) -> list[str]:
    """Return JSON text in full and indented; what is none stands as it is."""
    return _all_wrapped(argument_lines(text))


def offer_lines(number: int, offer: Offer) -> list[str]:
    """Return a rule in words and, below, as it will stand in the configuration."""
    return [
        *_wrapped(f"{number}  {offer.words}", "  "),
        *_all_wrapped(offer.text.split("\n"), _INDENT + " "),
    ]


def request_lines(ask: Ask) -> list[str]:
    """Return the question as it is kept, nothing left out or made pretty."""
    return ["The question, as it is kept:", *_wrapped(_json(ask), _INDENT)]


def definition_lines(tool: ToolInfo | None, definition: object = None) -> list[str]:
    """Return what the tool's server says of it, with what is hidden shown, and what is known of
    it. `definition` is that in the server's own words, where those are at hand.
    """
    if tool is None:
        return ["The tool is not listed any more."]
    own: object = definition
    if own is None:
        own = {"name": tool.tool, "description": tool.description, "schema": tool.schema}
    return [
        f"The tool, in the words of {visible(tool.server)}:",
        *_all_wrapped(msgspec.json.format(_json(own), indent=2).split("\n")),
        *_labelled("hash", tool.hash or "none"),
        *_labelled("definition", _SEEN[tool.change]),
        *_labelled("may take", f"{tool.timeout:g} s"),
    ]


def line(text: str) -> list[str]:
    """Return a sentence that may hold words of others, in rows that fit the window."""
    return _wrapped(text, "")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _labelled(label: str, words: str) -> list[str]:
    indent = " " * (_LABEL + 2)
    first, *rest = _wrapped(words, indent)
    return [f"  {label:{_LABEL}}{first.strip()}", *rest]


def _all_wrapped(lines: Iterable[str], indent: str = _INDENT) -> list[str]:
    return [row for text in lines for row in _wrapped(text, indent)]


def _wrapped(text: str, indent: str) -> list[str]:
    """Return `text`, with what is hidden shown, in rows that fit the window.

    Every row begins with `indent`: no text of others looks like a line of ours.
    """
    shown = visible(text)
    room = max(window()[0] - 1 - len(indent), 2)
    rows: list[str] = []
    start = 0
    while start < len(shown) or not rows:
        row = shown[start : start + room]
        while text_width(row) > room:
            row = row[:-1]
        rows.append(indent + row)
        start += len(row)
    return rows
