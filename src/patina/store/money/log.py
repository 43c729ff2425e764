"""The ledger's files: `<data>/usage/YYYY-MM.<writer>.jsonl`, which only grow. Blocking."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from patina.store import lock
from patina.store.files import FileSystem, make_folder, read_fault, write_all, write_fault
from patina.store.space import SpaceGuard

LOCK: Final = ".lock"
# Any middle part is read: the copies of sync tools and what a restore has added, too.
_NAME: Final = re.compile(r"\d{4}-\d{2}\..+\.jsonl")
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
# How long the file of this device is waited for: only who checks it can have locked it. Seconds.
_READERS: Final = 5.0


def usage_folder(data: Path) -> Path:
    """Return the folder of the ledger's files."""
    return data / "usage"


def is_usage_file(name: str) -> bool:
    """Whether a file of that name is one of the ledger's."""
    return _NAME.fullmatch(name) is not None


def usage_files(data: Path) -> list[os.DirEntry[str]]:
    """Return the ledger's files by name. Raises `StoreFault`."""
    folder = usage_folder(data)
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if is_usage_file(entry.name) and entry.is_file()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise read_fault(error, folder) from error
    return sorted(found, key=lambda entry: entry.name)


class UsageLog:
    """Appends to the files of one device."""

    def __init__(self, data: Path, device: str, files: FileSystem) -> None:
        self._folder = usage_folder(data)
        self._device = device
        self._files = files
        self._space = SpaceGuard(data)
        self._named: set[Path] = set()

    def append(self, month: str, line: bytes) -> None:
        """Write a line (with its newline) to the file of a month, YYYY-MM. It is synced then.

        A write that fails may leave a torn line; it stays, and the next one begins anew. Raises
        `StoreFault`.
        """
        path = self._folder / f"{month}.{self._device}.jsonl"
        try:
            if not self._try(path, line, _READERS):
                # Nobody else writes this one, so it is written even where nothing can be locked.
                path = self._folder / f"{month}.{self._device}-{os.getpid()}.jsonl"
                self._try(path, line, None)
        except OSError as error:
            raise write_fault(error, path) from error

    def _try(self, path: Path, line: bytes, wait: float | None) -> bool:
        try:
            descriptor = os.open(path, _FLAGS, 0o600)
        except FileNotFoundError:
            make_folder(self._files, path.parent)
            descriptor = os.open(path, _FLAGS, 0o600)
        try:
            if wait is not None and not lock.acquire(descriptor, wait):
                return False
            self._write(path, descriptor, line)
            return True
        finally:
            # Closing gives the lock back, but Windows may take its time.
            if wait is not None and os.name == "nt":
                with suppress(OSError):
                    lock.release(descriptor)
            os.close(descriptor)

    def _write(self, path: Path, descriptor: int, line: bytes) -> None:
        size = os.fstat(descriptor).st_size
        if size:
            os.lseek(descriptor, size - 1, os.SEEK_SET)
            if os.read(descriptor, 1) != b"\n":
                line = b"\n" + line
        self._space.writing(len(line))
        write_all(self._files, descriptor, line)
        self._files.sync(descriptor)
        if path not in self._named:
            # The name of a new file must survive too, whichever process made it.
            self._files.sync_folder(path.parent)
            self._named.add(path)


class Turnstile:
    """Lets one process at a time at the ledger: a lock on `<data>/usage/.lock`."""

    def __init__(self, data: Path, files: FileSystem) -> None:
        self._path = usage_folder(data) / LOCK
        self._files = files
        self._descriptor: int | None = None

    @contextmanager
    def passed(self, acquire: Callable[[int], bool], *, make: bool) -> Iterator[bool]:
        """Hold the lock. Yields False where nothing can be locked or written there, or where there
        is no folder yet and none is to be made. `acquire` locks an open file, False if it cannot.
        """
        descriptor = self._locked(acquire, make=make)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                with suppress(OSError):
                    lock.release(descriptor)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _locked(self, acquire: Callable[[int], bool], *, make: bool) -> int | None:
        # The folder may be removed and come back under our feet.
        for _ in range(2):
            try:
                if self._descriptor is None:
                    self._descriptor = self._open(make=make)
                if self._descriptor is None or not acquire(self._descriptor):
                    return None
                if lock.is_at(self._descriptor, self._path):
                    return self._descriptor
            except OSError:
                return None
            self.close()
        return None

    def _open(self, *, make: bool) -> int | None:
        flags = os.O_RDWR | os.O_CREAT
        try:
            return os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            if not make:
                return None
            make_folder(self._files, self._path.parent)
            return os.open(self._path, flags, 0o600)
