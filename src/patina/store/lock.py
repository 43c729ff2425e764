"""Exclusive locks on open files, between processes. They end with the file or the process."""

import errno
import os
import sys
import time
from pathlib import Path

_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.02
# Windows locks ranges of bytes, and a locked byte cannot be read: lock one no file ever reaches.
_FAR = 1 << 62
_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}


def acquire(descriptor: int, wait: float) -> bool:
    """Lock the open file within `wait` seconds. False where others keep it, or nothing locks.

    Blocks the thread; never call it with a `wait` on an event loop.
    """
    deadline = time.monotonic() + wait
    pause = _FIRST_PAUSE
    try:
        while not try_lock(descriptor):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
    except OSError:
        return False
    return True


def try_lock(descriptor: int) -> bool:
    """Lock the open file without waiting. False where it is held; `OSError` if nothing locks."""
    try:
        _lock(descriptor)
    except OSError as error:
        if error.errno in _HELD:
            return False
        raise
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one at `path`, not one that was replaced or removed."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def release(descriptor: int) -> None:
        """Give the lock back. Closing the file does so too, but Windows may take its time."""
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(descriptor: int) -> None:
        """Give the lock back. Closing the file does so too."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)
