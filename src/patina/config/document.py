"""A configuration file as it is read: values, and the line of each."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from patina.config.keys import Path as KeyPath
from patina.config.keys import Problem, join_key, look_up
from patina.model.faults import ConfigFault
from patina.model.settings import Source

_EDIT = "Correct it with `patina config edit`; the file is {}."
_PLACE = re.compile(r" \(at line (\d+), column \d+\)$| \(at end of document\)$")


class Document(Struct, frozen=True):
    """A parsed file. A file that does not exist has no text and no values."""

    path: Path
    text: str = ""
    values: dict[str, Any] = {}


def read_document(path: Path) -> Document:
    """Return the document at `path`. Raises `ConfigFault` with file and line."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Document(path)
    except OSError as error:
        raise ConfigFault(
            f"{path} cannot be read: {error.strerror}.",
            hint="Check what it is and who may read it.",
        ) from None
    return parse_document(path, content)


def parse_document(path: Path, content: bytes) -> Document:
    """Return the document in `content`, which is or will be that of `path`."""
    import tomllib

    try:
        # Editors on Windows begin files with a byte order mark; TOML has no word for it.
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
        return Document(path, text, tomllib.loads(text))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigFault(
            f"{path.name} line {line}: not UTF-8 text.", hint=f"Save {path} as UTF-8."
        ) from None
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        number = place[1] if place and place[1] else str(text.rstrip("\n").count("\n") + 1)
        reason = _PLACE.sub("", str(error))
        raise ConfigFault(
            f"{path.name} line {number}: {reason[:1].lower()}{reason[1:]}.",
            hint=_EDIT.format(path),
        ) from None
    except RecursionError:
        raise ConfigFault(f"{path.name}: nested too deeply.", hint=_EDIT.format(path)) from None


def problem_fault(
    problem: Problem, document: Document, sources: Mapping[str, Source]
) -> ConfigFault:
    """Return the fault for a wrong value, naming the file and line, variable or flag it is from."""
    source = _source(problem.path, sources)
    key = join_key(problem.path)
    if source.kind in ("environment", ".env"):
        text, hint = f"{source.where} {problem.found}", f"It gives the value of {key}."
    elif source.kind == "flag":
        text, hint = f"{source.where} {problem.found}", ""
    else:
        line = line_of(document.text, problem.path)
        place = f"{document.path.name} line {line}: " if line else ""
        text, hint = f"{place}{key} {problem.found}", _EDIT.format(document.path)
    return ConfigFault(f"{text}; allowed: {problem.allowed}", hint=hint)


def line_of(text: str, path: KeyPath) -> int | None:
    """Return the number of the line on which the value at `path`, or else the table that should
    have it, begins; None where the text has neither.

    The line is the first after which the text, cut there, has the value: exact for every way of
    writing TOML, and only paid for when something is wrong.
    """
    lines = text.split("\n")
    while path:
        names = [part for part in path if isinstance(part, str)]
        for start, line in enumerate(lines):
            if names[-1] in line and _begins(lines, start, path):
                return start + 1
        path = path[:-1]
    return None


def _begins(lines: list[str], start: int, path: KeyPath) -> bool:
    import tomllib

    for end in range(start + 1, len(lines) + 1):
        try:
            look_up(tomllib.loads("\n".join(lines[:end])), path)
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a value of several lines
        except LookupError:
            return False
        return True
    return False


def _source(path: KeyPath, sources: Mapping[str, Source]) -> Source:
    while path:
        source = sources.get(join_key(path))
        if source is not None:
            return source
        path = path[:-1]
    return Source("default")
