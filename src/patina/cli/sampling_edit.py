"""A server's prompt for a model, changed in the person's editor."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from patina.cli.editor import open_editor
from patina.model.faults import UsageFault
from patina.model.ids import new_id
from patina.model.parts import Spoken, Text, text_of, well_formed
from patina.model.questions import Sampling

_MODEL: Final = "model"
_TOKENS: Final = "at most this many tokens"
_SYSTEM: Final = "system"


def edited(prompt: Sampling, environ: Mapping[str, str]) -> Sampling:
    """Return `prompt` as the person left it. Blocks while the editor is open.

    The words of each message can be changed; what is no text stays, and so do the results of
    tools. Raises `UsageFault` where the editor fails or what it left cannot be read.
    """
    mark = new_id()[-8:]  # no text of a server has it: a line with it is ours
    sections = _sections(prompt)
    text = "".join(f"=== {name} === {mark}\n{words}\n" for name, words in sections.items())
    with tempfile.TemporaryDirectory(prefix="patina-") as folder:
        file = Path(folder) / "prompt.txt"
        file.write_text(text, "utf-8")
        try:
            open_editor(environ, file)
            left = file.read_text("utf-8-sig")
        except UsageFault as fault:
            raise UsageFault(str(fault), hint="The prompt is as it was.") from None
        except (OSError, ValueError):
            raise UsageFault("What the editor left cannot be read.") from None
    return _applied(prompt, _read(well_formed(left), mark, sections))


def _sections(prompt: Sampling) -> dict[str, str]:
    said = {
        _name(number, spoken): text_of(spoken.parts)
        for number, spoken in enumerate(prompt.messages)
        if not spoken.answers
    }
    head = {_MODEL: prompt.model, _TOKENS: str(prompt.max_tokens), _SYSTEM: prompt.system}
    return {**head, **said}


def _name(number: int, spoken: Spoken) -> str:
    return f"message {number + 1}, {spoken.role}"


def _read(text: str, mark: str, sections: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        if line.rstrip().endswith(f"=== {mark}"):
            name = line.strip().removesuffix(mark).strip(" =")
            found[name] = []
        elif name:
            found[name].append(line)
    if found.keys() != sections.keys():
        raise UsageFault(
            "A line that parts the prompt was changed or removed.", hint="Leave those as they are."
        )
    return {name: "".join(lines).removesuffix("\n") for name, lines in found.items()}


def _applied(prompt: Sampling, left: Mapping[str, str]) -> Sampling:
    tokens = left[_TOKENS].strip().replace(",", "")
    if not tokens.isdecimal() or int(tokens) < 1:
        raise UsageFault("The number of tokens is none.", hint="Such as 1000.")
    messages = tuple(
        _with_text(spoken, left.get(_name(number, spoken)))
        for number, spoken in enumerate(prompt.messages)
    )
    return replace(
        prompt,
        model=left[_MODEL].strip() or prompt.model,
        max_tokens=int(tokens),
        system=left[_SYSTEM],
        messages=messages,
    )


def _with_text(spoken: Spoken, text: str | None) -> Spoken:
    if text is None or text == text_of(spoken.parts):
        return spoken
    rest = tuple(part for part in spoken.parts if not isinstance(part, Text))
    return replace(spoken, parts=(Text(text), *rest) if text else rest)
