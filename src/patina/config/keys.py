"""Dotted keys: `providers.openai.models."gpt-5.2".price`, names quoted where TOML needs it."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from patina.model.faults import ConfigFault

Path = tuple[str | int, ...]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SECRET_NAMES = frozenset(
    (
        *("apikey", "authorization", "credential", "credentials", "key", "passphrase"),
        *("passwd", "password", "pat", "secret", "token"),
    )
)
_ESCAPED = re.compile(r'["\\]')
_WORD = re.compile(r"[^A-Za-z0-9]+")
_PART = re.compile(r"""\s*(?:([A-Za-z0-9_-]+)|"((?:[^"\\]|\\.)*)"|'([^']*)')\s*(?:\.|$)""")


class Problem(Struct, frozen=True):
    """One wrong value. `found` completes "KEY …"; `allowed` is what may stand there."""

    path: Path
    found: str
    allowed: str


def join_key(path: Iterable[str | int]) -> str:
    """Return the dotted form of `path`; positions in lists stand in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        quoted = part if _BARE.fullmatch(part) else '"' + _ESCAPED.sub(r"\\\g<0>", part) + '"'
        text += f".{quoted}" if text else quoted
    return text


def split_key(key: str) -> tuple[str, ...]:
    """Return the parts of a dotted key. Raises `ConfigFault`."""
    parts = []
    position = 0
    while position < len(key):
        match = _PART.match(key, position)
        if match is None:
            break
        bare, basic, literal = match.groups()
        parts.append(bare or literal or re.sub(r"\\(.)", r"\1", basic or ""))
        position = match.end()
    if not parts or position < len(key) or key.rstrip().endswith("."):
        raise ConfigFault(
            f'"{key}" is not a key of the configuration.',
            hint='Parts are joined by dots; a part with a dot in it is quoted: a."b.c".d',
        )
    return tuple(parts)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterable[tuple[tuple[str, ...], Any]]:  # noqa: ANN401 - TOML data
    """Yield every value below `value` that is not itself a table, with its path."""
    if isinstance(value, Mapping) and (value or not path):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path, value


def look_up(value: Any, path: Path) -> Any:  # noqa: ANN401 - TOML data
    """Return what stands at `path`. Raises `LookupError`."""
    for part in path:
        try:
            value = value[part]
        except TypeError:  # neither a table nor, for a position, a list
            raise KeyError(part) from None
    return value


def put(document: dict[str, Any], path: tuple[str, ...], value: Any) -> None:  # noqa: ANN401 - TOML data
    """Set `value` at `path`, making the tables on the way; what is in the way is replaced."""
    for part in path[:-1]:
        inner = document.get(part)
        if not isinstance(inner, dict):
            inner = document[part] = {}
        document = inner
    document[path[-1]] = value


def has_key(value: Any, path: Path) -> bool:  # noqa: ANN401 - TOML data
    """Whether something stands at `path`."""
    try:
        look_up(value, path)
    except LookupError:
        return False
    return True


def names_secret(name: str) -> bool:
    """Whether a variable or header of this name holds a secret, as `GITHUB_TOKEN` does."""
    words = [word for word in _WORD.split(name.lower()) if word]
    return bool(words) and words[-1] in _SECRET_NAMES
