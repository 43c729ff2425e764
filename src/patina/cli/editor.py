"""The editor of the user's choice, on the terminal."""

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from patina.model.faults import UsageFault


def open_editor(environ: Mapping[str, str], file: Path) -> None:
    """Open `file` in `VISUAL` or `EDITOR` of `environ` and return when that has ended.

    Raises `UsageFault` where it cannot be started or ends with an error. `environ` is that of the
    process: a `.env` has no say here, for the editor is a program that is started.
    """
    fallback = "notepad" if os.name == "nt" else "vi"
    editor = environ.get("VISUAL") or environ.get("EDITOR") or fallback
    try:
        words = shlex.split(editor, posix=os.name != "nt")
        done = subprocess.run([*words, str(file)], check=False)  # noqa: S603 - the user's editor
    except (OSError, ValueError) as error:
        raise UsageFault(
            f'The editor "{editor}" cannot be started: {error}.', hint="Set $VISUAL or $EDITOR."
        ) from None
    if done.returncode != 0:
        raise UsageFault(
            f'The editor "{editor}" ended with code {done.returncode}; nothing was changed.',
            hint=f"What you wrote is in {file}.",
        )
