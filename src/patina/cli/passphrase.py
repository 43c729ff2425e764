"""Asks for a passphrase, unseen, where somebody sits at a terminal."""

import os
import sys


def ask_passphrase(question: str) -> str:
    """Return what is typed, "" where nobody can be asked, or nothing is typed."""
    if sys.stderr is None or not sys.stderr.isatty() or not _has_keyboard():
        return ""
    import getpass

    try:
        return getpass.getpass(f"{question}: ")
    except EOFError:
        return ""


def _has_keyboard() -> bool:
    """Whether there is one, also where stdin is a file or another program."""
    if sys.stdin is not None and sys.stdin.isatty():
        return True
    if os.name == "nt":
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
