"""Secrets by name and by reference, from the environment, the kept ones and key files."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from patina.model.faults import ConfigFault
from patina.ports.keys import Keys

MAX_KEYFILE = 100_000
_ALONE = "Name a file that holds the key alone."
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


class Resolver:
    """`Keys` over the environment and a keeper of secrets, and secrets by reference.

    `environ` is the environment with `.env` files. Names that look like variables
    (OPENAI_API_KEY) are looked up there first; `kept` has all others, and is what `set`, `remove`
    and `names` are about. Every secret that is found is told to `seen`, so that it can be masked
    wherever it turns up. Surrounding white space goes, and what is then empty counts as missing.
    """

    def __init__(self, environ: Mapping[str, str], kept: Keys, seen: Callable[[str], None]) -> None:
        self._environ = environ
        self._kept = kept
        self._seen = seen

    def get(self, name: str) -> str | None:
        """Return the secret with this name. Raises `ConfigFault` where it cannot be read."""
        value = self._environ.get(name) if _VARIABLE.fullmatch(name) else None
        return self._found(value or self._kept.get(name))

    def set(self, name: str, value: str) -> None:
        """Keep a secret."""
        self._seen(value)
        self._kept.set(name, value)

    def remove(self, name: str) -> bool:
        """Forget a kept secret. Whether there was one."""
        return self._kept.remove(name)

    def names(self) -> Sequence[str]:
        """Return the names of the kept secrets, sorted."""
        return self._kept.names()

    def resolve(self, reference: str) -> str | None:
        """Return the secret that `reference` means, None where there is none.

        `env:NAME`, `secret:NAME` and `keyfile:PATH` are looked up; other text stands for itself.
        Raises `ConfigFault`: codes `KeyfileNotFound` and `PermissionDenied` for key files, kind
        "auth" for a key that may not go to its endpoint.
        """
        scheme, colon, name = reference.partition(":")
        if colon and scheme == "withheld":
            raise ConfigFault(
                f"The key is withheld: {name}.",
                hint="Put the key into that file, or the address into config.toml.",
                kind="auth",
            )
        if colon and scheme == "env":
            return self._found(self._environ.get(name))
        if colon and scheme == "secret":
            return self._found(self._kept.get(name))
        if colon and scheme == "keyfile":
            return self._found(read_keyfile(name))
        return reference or None

    def _found(self, value: str | None) -> str | None:
        value = value.strip() if value else ""
        if not value:
            return None
        self._seen(value)
        return value


def read_keyfile(path: str) -> str:
    """Return the trimmed text of a key file; `~` is the home folder. Raises `ConfigFault`."""
    file = Path(path).expanduser()
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_KEYFILE + 1)
    except FileNotFoundError:
        raise ConfigFault(
            f"KeyfileNotFound: there is no key file {file}.",
            hint="Correct the path after keyfile:, or make the file.",
            code="KeyfileNotFound",
        ) from None
    except PermissionError:
        raise ConfigFault(
            f"PermissionDenied: the key file {file} may not be read.",
            hint=f"Run: chmod 600 {file}",
            code="PermissionDenied",
        ) from None
    except OSError as error:
        raise ConfigFault(
            f"The key file {file} cannot be read: {error.strerror}.",
            hint=_ALONE,
        ) from None
    if len(content) > MAX_KEYFILE:
        raise ConfigFault(f"The key file {file} is too large to be a key.", hint=_ALONE)
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        raise ConfigFault(f"The key file {file} does not hold text.", hint=_ALONE) from None
