"""One answer at a time in a conversation, whichever process writes it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from patina.model.faults import UsageFault
from patina.store import lock
from patina.store.files import FileSystem, make_folder
from patina.store.layout import Layout

_MOST_REOPENS = 10


class TurnLocks:
    """Locks in the state folder. Where that cannot be written, they bind this process only."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._held: set[str] = set()

    @contextmanager
    def hold(self, conversation: str) -> Iterator[None]:
        """Hold the turn of `conversation`. Never waits. Raises `UsageFault` where it is taken."""
        path = self._layout.turn_lock(conversation)
        if conversation in self._held:
            raise taken(conversation)
        descriptor = _take(path, conversation)
        self._held.add(conversation)
        try:
            yield
        finally:
            self._held.discard(conversation)
            if descriptor is not None:
                _give_back(descriptor, path)


def taken(conversation: str) -> UsageFault:
    """Return the fault of asking in a conversation that is being answered."""
    return UsageFault(
        f"Another Patina process is answering in conversation {conversation}.",
        hint="Wait until it is done, or stop it there.",
    )


def _take(path: Path, conversation: str) -> int | None:
    try:
        make_folder(FileSystem(), path.parent)
        for _ in range(_MOST_REOPENS):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                locked = lock.try_lock(descriptor)
            except OSError:
                os.close(descriptor)
                return None
            if not locked:
                os.close(descriptor)
                raise taken(conversation)
            if lock.is_at(descriptor, path):
                return descriptor
            # The last holder removed the file between our opening and locking it.
            os.close(descriptor)
    except OSError:
        return None
    raise taken(conversation)


def _give_back(descriptor: int, path: Path) -> None:
    # Where the system lets go of open files, the name goes first: whoever locks what we held
    # then sees that it is no longer the file at `path`. Elsewhere others' open files stay.
    if sys.platform != "win32":
        with suppress(OSError):
            path.unlink()
    lock.release(descriptor)
    os.close(descriptor)
    if sys.platform == "win32":
        with suppress(OSError):
            path.unlink()
