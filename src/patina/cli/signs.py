"""Which signs the terminal can show."""

import sys

from patina.config.environment import process_environment


def only_ascii() -> bool:
    """Whether bars and the like on stdout are to be of ASCII alone."""
    environ = process_environment()
    encodes = (sys.stdout.encoding or "").lower().startswith("utf")
    return bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb" or not encodes
