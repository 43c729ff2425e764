"""The PATH of the user's login shell, for the case that Patina was given a poorer one.

What is started by a desktop knows nothing of the folders that a shell's own files add, and so
nothing of `npx`, `uvx` or `docker`. The shell is asked once, and only where a command is missing.
What is started in a terminal has that PATH already, and is not kept waiting.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from subprocess import Popen

# How long a shell may take, and all tries together. Seconds.
LIMIT: Final = 3.0
TOTAL: Final = 5.0
_LONGEST: Final = 1024 * 1024
# An interactive shell reads the files where most people set their PATH; not all have each way.
_WAYS: Final = (("-l", "-i", "-c"), ("-l", "-c"), ("-c",))
# Where installers put programs, for the case that the shell says nothing.
_USUAL: Final = ("~/.local/bin", "/usr/local/bin", "/opt/homebrew/bin")

_answers: Final[dict[tuple[str, str, str], str]] = {}
_asking: Final = Lock()


def answer(environ: Mapping[str, str]) -> str:
    """Return the PATH that a login shell has under `environ`, "" where none can be had.

    `environ` holds no secrets: the shell and all that it runs see it. Blocks for up to `TOTAL`
    seconds the first time, then not: never call it on an event loop before `is_known`.
    """
    if in_terminal(environ):
        return ""
    key = _key(environ)
    known = _answers.get(key)
    if known is not None:
        return known
    with _asking:
        if key not in _answers:
            _answers[key] = _ask(environ)
        return _answers[key]


def is_known(environ: Mapping[str, str]) -> bool:
    """Whether `answer` answers at once."""
    return in_terminal(environ) or _key(environ) in _answers


def in_terminal(environ: Mapping[str, str]) -> bool:
    """Whether `environ` comes from a shell in a terminal: desktops and services set no TERM."""
    return bool(environ.get("TERM"))


def joined(login: str, search: str, home: str) -> str:
    """Return the PATH `login` with what else `search` has behind it, absolute folders only.

    Without a `login` the usual folders of installers come last; `home` is the user's folder.
    """
    entries = [*login.split(os.pathsep), *search.split(os.pathsep)]
    if not login:
        entries += [entry.replace("~", home, 1) for entry in _USUAL]
    return os.pathsep.join(dict.fromkeys(entry for entry in entries if Path(entry).is_absolute()))


def _key(environ: Mapping[str, str]) -> tuple[str, str, str]:
    return environ.get("SHELL", ""), environ.get("HOME", ""), environ.get("PATH", "")


def _ask(environ: Mapping[str, str]) -> str:
    from time import monotonic

    shell = environ.get("SHELL", "")
    if os.name == "nt" or not Path(shell).is_absolute() or not os.access(shell, os.X_OK):
        return ""
    end = monotonic() + TOTAL
    for way in _WAYS:
        until = min(monotonic() + LIMIT, end)
        if until > monotonic() and (found := _ask_once((shell, *way), environ, until)):
            return found
    return ""


def _ask_once(argv: tuple[str, ...], environ: Mapping[str, str], until: float) -> str:
    """Return what the shell prints between two marks that no greeting can hold, "" if nothing."""
    import subprocess

    mark = os.urandom(16).hex()
    # In halves: a shell that prints what it is told to do prints no mark.
    half, rest = mark[:16], mark[16:]
    # Every kind of shell starts programs and takes single quotes; little else they share.
    words = f"""/bin/sh -c 'printf "%s%s%s%s%s" {half} {rest} "$PATH" {half} {rest}'"""
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own shell, and words of ours
            (*argv, words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environ, "TERM": "dumb"},
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError):
        return ""
    try:
        return _between(process, mark.encode(), until)
    finally:
        _end(process)


def _between(process: "Popen[bytes]", mark: bytes, until: float) -> str:
    """Read until the second mark: what else holds the pipe open may do so for ever."""
    from selectors import EVENT_READ, DefaultSelector
    from time import monotonic

    assert process.stdout is not None
    read = bytearray()
    with DefaultSelector() as selector:
        selector.register(process.stdout, EVENT_READ)
        while len(read) < _LONGEST and (left := until - monotonic()) > 0:
            if not selector.select(left):
                break
            chunk = os.read(process.stdout.fileno(), 65536)
            read += chunk
            parts = bytes(read).split(mark)
            if len(parts) >= 3:
                return os.fsdecode(parts[1])
            if not chunk:
                break
    return ""


def _end(process: "Popen[bytes]") -> None:
    """End the shell and what it started, which is a session of its own."""
    if sys.platform != "win32":
        from signal import SIGKILL

        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, SIGKILL)
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
