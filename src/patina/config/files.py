"""Changing a small file so that a crash leaves the old or the new content, and two writers
never lose each other's change.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from patina.config.paths import private_folder
from patina.model.faults import ConfigFault

PRIVATE_FILE = 0o600
LOCK_SECONDS = 5.0
_POLL_SECONDS = 0.01

if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        """Lock the open file without waiting, until it is closed. False where others have it."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock the open file without waiting, until it is closed. False where others have it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            # Some network file systems know no locks; the replacement stays atomic there.
            return True
        return True


def update_file(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Replace the content of `path` by `change(content)`; a missing file is empty.

    The file and folders that are made are the user's only. Nothing is written where `change`
    raises or returns the same bytes. A symbolic link stays one. Raises `ConfigFault` where the
    file cannot be written, or another process holds it for longer than `LOCK_SECONDS`.
    """
    target = Path(os.path.realpath(path))
    try:
        private_folder(target.parent)
        with _locked(target.with_name(f".{target.name}.lock"), path):
            old = target.read_bytes() if target.exists() else b""
            new = change(old)
            if new != old:
                _replace(target, new)
    except OSError as error:
        raise ConfigFault(
            f"{path} cannot be written: {error.strerror or error}.",
            hint="Check the permissions of the folder and the free space.",
        ) from None


@contextmanager
def _locked(lock: Path, path: Path) -> Iterator[None]:
    # The lock is a file of its own: the file itself is another one after each replacement.
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while not try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise ConfigFault(
                    f"{path} is being written by another process.",
                    hint="Wait for the other Patina to finish, then try again.",
                )
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _replace(target: Path, content: bytes) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    with suppress(OSError):  # not every file system syncs folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
