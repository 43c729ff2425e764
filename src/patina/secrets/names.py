"""What a kept secret may be called."""

import re

from patina.model.faults import UsageFault

# Names that begin so are Patina's own: nobody can list, read or set them as secrets.
INTERNAL = "@"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,63})?")


def check_name(name: str) -> str:
    """Return `name` where a secret may be called so. Raises `UsageFault`."""
    if not _NAME.fullmatch(name):
        raise UsageFault(
            "That is not a name for a secret.",
            hint="Use letters, digits, '.', '_' and '-', as in openai or github/GITHUB_TOKEN.",
        )
    return name
