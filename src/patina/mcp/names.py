"""Names of tools: `server.tool` for people, an alias on the wire (A-23).

Providers accept `[a-zA-Z0-9_-]{1,64}`. A name that fits is `server__tool`. One that does not, or
whose plain form could be read in two ways, gets a hash of its full name at the end; so does
every name of a listing that would share its alias with another.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from patina.model.chat import split_tool_name

LONGEST: Final = 64
_ILLEGAL: Final = re.compile(r"[^a-zA-Z0-9_-]")
_HASHES: Final = (8, 16, 32)


def alias(name: str, level: int = 0) -> str:
    """Return the wire alias of `server.tool`, made from the name alone.

    A higher `level` (up to 3) makes the hash longer; from 1 on the alias is never plain.
    """
    server, tool = split_tool_name(name)
    plain = f"{server}__{tool}"
    legal = _ILLEGAL.sub("_", plain)
    # Only then does the first "__" part server and tool for certain.
    certain = "__" not in server and not server.endswith("_")
    if level == 0 and certain and legal == plain and len(plain) <= LONGEST:
        return plain
    digits = _HASHES[min(max(level - 1, 0), len(_HASHES) - 1)]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
    return f"{legal[: LONGEST - digits - 1]}_{digest}"


def aliases(names: Iterable[str]) -> dict[str, str]:
    """Return the alias of each name; no two names share one, and their order does not matter."""
    levels = dict.fromkeys(names, 0)
    while True:
        takers: dict[str, list[str]] = {}
        for name, level in levels.items():
            takers.setdefault(alias(name, level), []).append(name)
        crowded = [name for group in takers.values() if len(group) > 1 for name in group]
        if not crowded:
            return {name: alias(name, level) for name, level in levels.items()}
        for name in crowded:
            levels[name] += 1
