"""Checks all that is kept: each line of each transcript, each blob. Changes nothing. Blocking."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from patina.model.codec import MAX_LINE
from patina.model.ids import is_id
from patina.model.items import Head, Message, Result
from patina.model.parts import File, Image, Text
from patina.ports.library import Progress
from patina.store import lock
from patina.store.erase import blobs_in
from patina.store.layout import Layout, check_blob
from patina.store.merge import StoredItem
from patina.store.money.log import is_usage_file
from patina.store.reader import decode, lines

_ID_LENGTH = 36
_BLOCK = 1 << 20
# A line that is being written is whole when its writer lets go of the file. Seconds.
_WRITING = 5.0


class Damage(Struct, frozen=True):
    """A place that is not as it was written. `file` is below the data folder; `line` counts from 1,
    and is 0 where the file as a whole is meant.
    """

    file: str
    line: int
    reason: str


class Verified(Struct, frozen=True):
    """What was looked at and what is wrong with it. `bytes` is the size of all of it.

    `unreferenced` blobs are named by no transcript and no draft: left over, but harmless.
    `usage_files` and `usage_lines` are the files of the ledger and their sound lines.
    """

    conversations: int
    files: int
    lines: int
    blobs: int
    unreferenced: int
    bytes: int
    damaged: tuple[Damage, ...]
    usage_files: int = 0
    usage_lines: int = 0

    @property
    def damaged_lines(self) -> int:
        """How many lines of transcripts and of the ledger cannot be used."""
        return sum(damage.line > 0 for damage in self.damaged)


def verify(data: Path, progress: Callable[[Progress], None] = lambda _: None) -> Verified:
    """Check the data folder. What cannot be read is damage; nothing is raised for it.

    What is appended meanwhile may or may not be looked at.
    """
    checking = _Checking(data, progress)
    checking.run()
    return checking.verified()


class _Checking:
    """One check of a folder."""

    def __init__(self, data: Path, progress: Callable[[Progress], None]) -> None:
        self._layout = Layout(data, data)
        self._progress = progress
        self._damaged: list[Damage] = []
        self._conversations: set[str] = set()
        self._files = self._lines = self._done = self._total = 0
        self._usage_files = self._usage_lines = 0
        self._blobs: set[str] = set()
        self._named: set[str] = set()
        # What items say of a blob must hold, wherever it is found first: blob to file and line.
        self._needed: dict[str, tuple[str, int]] = {}

    def run(self) -> None:
        transcripts = sorted(self._below("transcripts"))
        usage = sorted(self._below("usage"))
        blobs = sorted(self._below("blobs"))
        self._total = sum(map(_size, (*transcripts, *usage, *blobs)))
        for path in transcripts:
            if path.suffix == ".jsonl":
                self._transcript(path)
        for path in usage:
            if path.suffix == ".jsonl":
                self._usage(path)
        for path in sorted(self._below("drafts")):
            self._named |= blobs_in([_content(path)])
        for path in blobs:
            self._blob(path)
        for blob, (file, line) in self._needed.items():
            # One that came after the listing is there; one that was erased meanwhile, no matter.
            if blob not in self._blobs and not self._layout.blob(blob).exists():
                reason = f"names the attachment {blob[:12]}…, which is missing"
                self._damaged.append(Damage(file, line, reason))

    def verified(self) -> Verified:
        return Verified(
            conversations=len(self._conversations),
            files=self._files,
            lines=self._lines,
            blobs=len(self._blobs),
            unreferenced=len(self._blobs - self._named),
            bytes=self._done,
            damaged=tuple(self._damaged),
            usage_files=self._usage_files,
            usage_lines=self._usage_lines,
        )

    def _below(self, folder: str) -> Iterator[Path]:
        for place, _, names in os.walk(self._layout.data / folder, onerror=self._unreadable):
            for name in names:
                path = Path(place, name)
                if path.is_file() and path.suffix != ".tmp":
                    yield path

    def _unreadable(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            self._wrong(Path(error.filename), 0, f"could not be read: {error.strerror}")

    def _wrong(self, path: Path, line: int, reason: str) -> None:
        file = path.relative_to(self._layout.data).as_posix()
        self._damaged.append(Damage(file, line, reason))

    def _read(self, size: int) -> None:
        before, self._done = self._done, self._done + size
        if before // _BLOCK != self._done // _BLOCK:
            self._total = max(self._total, self._done)
            self._progress(Progress(self._done, self._total))

    def _transcript(self, path: Path) -> None:
        conversation = path.name[:_ID_LENGTH]
        if not is_id(conversation) or path.name[_ID_LENGTH] != ".":
            self._wrong(path, 0, "has a name that is no conversation's, so nothing reads it")
            return
        if self._layout.erasing(conversation).exists():
            return
        self._files += 1
        self._conversations.add(conversation)
        if path.parent != self._layout.month(conversation):
            self._wrong(path, 0, "is not in the folder of its month, so nothing reads it")
        try:
            with path.open("rb") as file:
                self._check_lines(path, conversation, file)
        except FileNotFoundError:
            return  # erased just now
        except OSError as error:
            self._wrong(path, 0, f"could not be read: {error.strerror}")

    def _check_lines(self, path: Path, conversation: str, file: BinaryIO) -> None:
        headed = False
        number = 0
        for number, line in _numbered(file):
            self._read(len(line))
            item = decode(line)
            if item is None:
                self._wrong(path, number, _reason(line))
                continue
            self._lines += 1
            if isinstance(item, Head):
                headed = True
                if not item.id == item.conversation == conversation:
                    self._wrong(path, number, "is the head of another conversation than its file's")
            self._names(path, number, line, item)
        if number and not headed:
            self._wrong(path, 0, "has no head")

    def _usage(self, path: Path) -> None:
        if not is_usage_file(path.name):
            self._wrong(path, 0, "has a name that is no month's, so nothing reads it")
            return
        self._usage_files += 1
        try:
            with path.open("rb") as file:
                for number, line in _numbered(file):
                    self._read(len(line))
                    if decode(line) is None:
                        self._wrong(path, number, _reason(line))
                    else:
                        self._usage_lines += 1
        except OSError as error:
            self._wrong(path, 0, f"could not be read: {error.strerror}")

    def _names(self, path: Path, number: int, line: bytes, item: StoredItem) -> None:
        self._named |= blobs_in([line])
        if not isinstance(item, (Message, Result)):
            return
        for part in item.parts:
            blob = part.blob if isinstance(part, (Text, Image, File)) else None
            if blob is None or blob in self._needed:
                continue
            if blob not in self._named:
                self._wrong(path, number, "names an attachment by what is no SHA-256")
                continue
            self._needed[blob] = (path.relative_to(self._layout.data).as_posix(), number)

    def _blob(self, path: Path) -> None:
        if not _is_blob(path):
            self._wrong(path, 0, "is not where an attachment of that name belongs")
            return
        found = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    found.update(block)
                    self._read(len(block))
        except FileNotFoundError:
            return
        except OSError as error:
            self._wrong(path, 0, f"could not be read: {error.strerror}")
        else:
            if found.hexdigest() != path.name:
                self._wrong(path, 0, "is not what was saved under this name")
        self._blobs.add(path.name)


def _numbered(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not empty with their numbers. The last one may be half written."""
    number = 0
    while True:
        start = file.tell()
        line = file.readline(MAX_LINE + 1)
        if line and not line.endswith(b"\n") and len(line) <= MAX_LINE and decode(line) is None:
            lock.acquire(file.fileno(), _WRITING)
            file.seek(start)
            line = file.readline(MAX_LINE + 1)
        if not line:
            return
        number += 1
        if len(line) > MAX_LINE and not line.endswith(b"\n"):
            file.seek(start)
            line = next(lines(file))
        if line != b"\n":
            yield number, line


def _reason(line: bytes) -> str:
    if not line.strip(b"\0\r\n"):
        return "is a run of zeros, as a power cut leaves them"
    if len(line) > MAX_LINE:
        return "is longer than any line that Patina writes"
    if b"\0" in line:
        return "holds zeros, as a power cut leaves them"
    if not line.endswith(b"}\n"):
        return "is cut off, as a crash or a full disk leaves it"
    return "is not what its checksum says"


def _is_blob(path: Path) -> bool:
    name = path.name
    return (
        len(name) == 64
        and not set(name) - set("0123456789abcdef")
        and path.parent.name == (check_blob(name)[:2])
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
