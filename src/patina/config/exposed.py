"""Secrets in places of the configuration where no reference can stand: arguments and addresses.

They are found and told of, and stay: an argument is read by everybody on the machine while its
program runs, and an address is written into logs on its way.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from patina.config.keys import join_key, names_secret

_SHORTEST: Final = 8
# What can be no secret: a path, a flag, a variable that a shell or a server fills in.
_NO_SECRET: Final = ("-", "/", ".", "~", "$", "{", "<", "secret:", "env:", "keyfile:")
_HEADER: Final = re.compile(
    r"(?i)(?:authorization|cookie|x-api-key|api-key)\s*[:=]\s*(?:[a-z]+\s+)?\S{8}"
)
_NAMES: Final = frozenset({"key", "api_key", "apikey", "token", "access_token", "secret", "sig"})


def exposed(server: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each secret that stands in the arguments or the address of `server`.

    `values` is its table in the configuration. The secret itself is not in the sentences.
    """
    place = join_key(("mcp_servers", server))
    for name in in_arguments(values.get("args", ())):
        yield (
            f"{place}.args holds a secret ({name}), which every user of this machine can read "
            "while the server runs. Where the server reads it from a variable, keep it with "
            f'`patina keys set {server}/NAME`, give it under env as NAME = "secret:{server}/NAME", '
            "and take it out of args; then replace the secret where it was issued."
        )
    for name in in_address(values.get("url", "")):
        yield (
            f"{place}.url holds a secret ({name}), which is written into logs on its way. Where "
            f"the server takes it as a header, keep it with `patina keys set {server}/TOKEN`, give "
            f'it under headers as Authorization = "Bearer secret:{server}/TOKEN", and take it out '
            "of the address; then replace the secret where it was issued."
        )


def in_arguments(args: Sequence[str]) -> list[str]:
    """Return what the arguments of a program that hold secrets are called."""
    pairs = [*pairwise(args), *(tuple(arg.split("=", 1)) for arg in args if "=" in arg)]
    found = [name for name, value in pairs if _is_flag(name) and _may_be_secret(value)]
    found += [
        name
        for flag, value in pairwise(args)
        if flag in ("-e", "--env") and names_secret(name := value.partition("=")[0])
        if _may_be_secret(value.partition("=")[2])
    ]
    found += [_before_value(arg) for arg in args if _HEADER.search(arg) and not _refers(arg)]
    return list(dict.fromkeys(found))


def in_address(url: str) -> list[str]:
    """Return what the parts of an address that hold secrets are called."""
    if "=" not in url and "@" not in url:  # nearly none: nothing is to be imported
        return []
    from urllib.parse import parse_qsl, urlsplit

    try:
        parts = urlsplit(url)
        found = ["the password in it"] if parts.password else []
        query = parse_qsl(parts.query)
    except ValueError:
        return []
    return found + [
        name
        for name, value in query
        if (names_secret(name) or name.lower() in _NAMES) and _may_be_secret(value)
    ]


def _is_flag(name: str) -> bool:
    return name.startswith("-") and names_secret(name)


def _may_be_secret(value: str) -> bool:
    return len(value) >= _SHORTEST and not value.startswith(_NO_SECRET)


def _refers(text: str) -> bool:
    return any(mark in text for mark in ("secret:", "env:", "keyfile:", "${", "{{"))


def _before_value(text: str) -> str:
    return re.split(r"[:=]", text, maxsplit=1)[0].strip()
