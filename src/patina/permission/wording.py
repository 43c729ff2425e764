"""The words of the question, the same in every front end (C-17)."""

from typing import Final

import msgspec

from patina.model.items import Ask, Choice

TITLE: Final = "Allow tool?"
CHOICES: Final[dict[Choice, tuple[str, str]]] = {
    "allow_once": ("A", "Allow once"),
    "allow_session": ("S", "Allow for session"),
    "allow_always": ("W", "Always allow"),
    "deny": ("D", "Deny"),
}


def summary(ask: Ask) -> str:
    """Return tool, server and every argument in full, one argument a line.

    Text from a model: a front end passes it through the sanitiser of its sink.
    """
    lines = [f"{ask.server}.{ask.tool}  ({_on_one_line(ask.display_name)})"]
    try:
        arguments = msgspec.json.decode(ask.arguments)
    except msgspec.DecodeError:
        return "\n".join([*lines, f"  {_on_one_line(ask.arguments)}"])
    if isinstance(arguments, dict):
        lines += [f"  {_on_one_line(name)}: {_value(value)}" for name, value in arguments.items()]
    return "\n".join(lines)


def _value(value: object) -> str:
    return _on_one_line(value) if isinstance(value, str) else msgspec.json.encode(value).decode()


def _on_one_line(text: str) -> str:
    """Return `text`, as JSON where it could be taken for further lines or hides something."""
    if text.isprintable() and text == text.strip():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in msgspec.json.encode(text).decode()
    )


def choices(ask: Ask) -> str:
    """Return the choices with their keys, such as "[A] Allow once"."""
    return "   ".join(f"[{CHOICES[option][0]}] {CHOICES[option][1]}" for option in ask.options)


def choice_of(ask: Ask, key: str) -> Choice | None:
    """Return the choice that the key `key` (any case) stands for, if this question has it."""
    for option in ask.options:
        if key.strip().upper() == CHOICES[option][0]:
            return option
    return None
