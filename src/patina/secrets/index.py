"""The names of what is kept, so that the encrypted file stays closed until a value is needed.

Configurations refer to secrets by name, so names are no secret on the computer that they are used
on. The file is in the cache folder, for this computer alone; the encrypted one hides them.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from patina.model.faults import ConfigFault

Update = Callable[[Path, Callable[[bytes], bytes]], None]


class Names(Struct, frozen=True):
    """The names of secrets and of Patina's own records."""

    secrets: frozenset[str] = frozenset()
    records: frozenset[str] = frozenset()


class _Kept(Struct, frozen=True):
    of: bytes
    names: Names


class NameIndex:
    """The names in the file that has a certain nonce, kept in the file `path`. Never fails."""

    def __init__(self, path: Path | None, update: Update) -> None:
        self._path = path
        self._update = update

    def load(self, nonce: bytes) -> Names | None:
        """Return the names in the file with this nonce, None where they are not known."""
        if self._path is None:
            return None
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except (OSError, ValueError):
            return None
        return kept.names if kept.of == nonce else None

    def save(self, nonce: bytes, names: Names) -> None:
        """Keep the names for next time, where that can be done."""
        if self._path is not None:
            content = msgspec.json.encode(_Kept(nonce, names))
            with suppress(ConfigFault):
                self._update(self._path, lambda _: content)
