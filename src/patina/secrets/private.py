"""Reading files that nobody else may read."""

import os
import stat
from pathlib import Path

from patina.model.faults import ConfigFault

_OTHERS = 0o077


def read_private(path: Path) -> bytes | None:
    """Return the content of a file that is the user's only, None where there is no file.

    Raises `ConfigFault` where it cannot be read, where others can read it, and where anybody
    may put another file into its place.
    """
    try:
        with path.open("rb") as file:
            _refuse_open(path, os.fstat(file.fileno()).st_mode)
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigFault(
            f"{path} cannot be read: {error.strerror}.",
            hint="Check who owns it and its permissions.",
        ) from None


def _refuse_open(path: Path, mode: int) -> None:
    # Windows has no such bits: there the folder's access list guards the file.
    if os.name != "posix":
        return
    if mode & _OTHERS:
        raise ConfigFault(
            f"{path} can be read by other users, so it is not used.",
            hint=f"Run: chmod 600 {path}",
        )
    folder = path.parent.stat().st_mode
    if folder & stat.S_IWOTH and not folder & stat.S_ISVTX:
        raise ConfigFault(
            f"{path} is not used: every user may change the folder that it is in.",
            hint=f"Run: chmod 700 {path.parent}",
        )
