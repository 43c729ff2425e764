"""The words of the question, the same in every front end (C-17)."""

from typing import Final

import msgspec

from patina.model.items import Ask, Choice

TITLE: Final = "Allow tool?"
CHOICES: Final[dict[Choice, tuple[str, str]]] = {
    "allow_once": ("A", "Allow once"),
    "allow_session": ("S", "Allow for session"),
    "deny": ("D", "Deny"),
}


def summary(ask: Ask) -> str:
    """Return tool, server and every argument in full, one argument a line.

    Text from a model: a front end passes it through the sanitiser of its sink.
    """
    lines = [f"{ask.server}.{ask.tool}  ({ask.display_name})"]
    try:
        arguments = msgspec.json.decode(ask.arguments)
    except msgspec.DecodeError:
        return "\n".join([*lines, f"  {ask.arguments}"])
    if isinstance(arguments, dict):
        for name, value in arguments.items():
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            lines.append(f"  {name}: {text}")
    return "\n".join(lines)


def choices(ask: Ask) -> str:
    """Return the choices with their keys, such as "[A] Allow once"."""
    return "   ".join(f"[{CHOICES[option][0]}] {CHOICES[option][1]}" for option in ask.options)


def choice_of(ask: Ask, key: str) -> Choice | None:
    """Return the choice that the key `key` (any case) stands for, if this question has it."""
    for option in ask.options:
        if key.strip().upper() == CHOICES[option][0]:
            return option
    return None
