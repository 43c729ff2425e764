"""The file that keys are in where there is no better place: `ID KEY` in base64, line by line.

There is more than one line only while a key is replaced: the old one stays until the new one is
in use.
"""

from collections.abc import Callable
from pathlib import Path

from patina.model.faults import ConfigFault
from patina.secrets.private import read_private
from patina.secrets.raw_key import raw_key, written_key

Update = Callable[[Path, Callable[[bytes], bytes]], None]


class KeyFile:
    """Keys by id in the file `path`, which `update` replaces. Raises `ConfigFault`."""

    def __init__(self, path: Path, update: Update) -> None:
        self.path = path
        self._update = update

    def read(self, key_id: str) -> bytes | None:
        """Return a key, None where it is not there."""
        content = read_private(self.path)
        line = _lines(content or b"").get(key_id)
        if line is None:
            return None
        key = raw_key(line)
        if key is None:
            raise ConfigFault(
                f"{self.path} is damaged.",
                hint="Put back a copy of it that is whole. Without one, move secrets.enc away and "
                "set the keys again.",
            )
        return key

    def add(self, key_id: str, key: bytes) -> None:
        """Keep a key beside those that are there."""
        read_private(self.path)  # a file that others can read gets no key
        line = f"{key_id} {written_key(key)}\n".encode()
        self._update(self.path, lambda content: content + line)

    def remove(self, key_id: str) -> None:
        """Forget a key, and remove the file with the last one."""

        def without(content: bytes) -> bytes:
            lines = content.splitlines(keepends=True)
            return b"".join(line for line in lines if not line.startswith(key_id.encode() + b" "))

        if read_private(self.path) is None:
            return
        self._update(self.path, without)
        if read_private(self.path) == b"":
            self.path.unlink(missing_ok=True)


def _lines(content: bytes) -> dict[str, str]:
    pairs = (line.partition(" ") for line in content.decode("ascii", "replace").splitlines())
    return {key_id: key for key_id, _, key in pairs}
