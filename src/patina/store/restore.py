"""From an archive back to a data folder, adding what is missing and never overwriting. Blocking."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from msgspec import Struct

from patina.model.faults import StoreFault, UsageFault
from patina.model.ids import is_id
from patina.ports.library import Progress
from patina.store import reader, summary
from patina.store.archive import (
    BLOCK,
    MANIFEST,
    SECRETS,
    Entry,
    Hashing,
    Manifest,
    Member,
    members,
    read_manifest,
    reading,
)
from patina.store.files import FileSystem, make_folder, read_fault, replace_file, write_fault
from patina.store.layout import Layout
from patina.store.space import space_of
from patina.store.verify import Verified, verify

_ID_LENGTH = 36
_SCRATCH = ".restoring-"
_ORDER = ("data/blobs/", "data/transcripts/")


class Restored(Struct, frozen=True):
    """What a restore came to: files that were added, conversations that gained something, files
    that were there already with all that the archive has, and the check of what was unpacked.

    `kept` names files that are there with another content, and so were left as they are.
    """

    manifest: Manifest
    verified: Verified
    opened: int
    added: int = 0
    conversations: int = 0
    present: int = 0
    kept: tuple[str, ...] = ()


def drill(archive: Path, progress: Callable[[Progress], None] = lambda _: None) -> Restored:
    """Unpack `archive` in a scratch place, check all of it and open every conversation.

    Nothing is left. Raises `StoreFault` where the archive cannot be used.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="patina-drill-") as folder:
            return _unpacked(archive, Path(folder), progress)
    except OSError as error:
        raise write_fault(error, Path(tempfile.gettempdir())) from error


def restore(
    archive: Path,
    data: Path,
    *,
    config: Path | None = None,
    merge: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    files: FileSystem | None = None,
) -> Restored:
    """Bring what `archive` holds into the folder `data`, and its settings into `config`.

    All of it is unpacked and checked first. With `merge`, `data` may hold something: then files
    that are missing are added, and of transcripts the items that are missing, in files of their
    own. What is there is neither changed nor removed; a restore that was cut short can be done
    again with `merge`. Raises `UsageFault` and `StoreFault`.
    """
    files = files or FileSystem()
    if not merge and _holds_anything(data):
        raise UsageFault(
            f"{data} holds something already.",
            hint="--merge adds what is missing there; --to restores into another folder.",
        )
    try:
        make_folder(files, data)
        with _scratch(data) as scratch:
            restored = _unpacked(archive, scratch, progress)
            placing = _Placing(Layout(data, data), scratch, files)
            for entry in sorted(restored.manifest.files, key=_turn):
                placing.place(entry, config)
            return placing.outcome(restored)
    except OSError as error:
        raise write_fault(error, Path(error.filename or data)) from error


def _holds_anything(data: Path) -> bool:
    for _, folders, names in os.walk(data):
        # Hidden are locks, and what a restore has left that was cut short.
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(not name.startswith(".") and name not in SECRETS for name in names):
            return True
    return False


@contextmanager
def _scratch(data: Path) -> Iterator[Path]:
    """Yield a folder on the disk of `data`; what is left of one that a crash has left goes too."""
    for left in data.glob(f"{_SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=data))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _turn(entry: Entry) -> int:
    """Blobs before what names them."""
    return next((n for n, room in enumerate(_ORDER) if entry.path.startswith(room)), len(_ORDER))


def _unpacked(archive: Path, scratch: Path, progress: Callable[[Progress], None]) -> Restored:
    """Unpack into `scratch` and check what came out."""
    with reading(archive):
        manifest = _check(archive, progress)
        total = sum(entry.size for entry in manifest.files)
    space = space_of(scratch)
    if space is not None and space.free < total:
        raise StoreFault(
            f"{archive.name} unpacks to {total / 1e6:,.0f} MB, but only "
            f"{space.free / 1e6:,.0f} MB are free for {scratch.parent}.",
            hint="Free some space and try again. Nothing was changed.",
        )
    known = {entry.path: entry for entry in manifest.files}
    with reading(archive):
        found = members(archive)
        while (member := next(found, None)) is not None:
            if member[0] != MANIFEST:
                # What the disk says of writing is no word about the archive.
                _unpack(archive, scratch, member, known[member[0]])
    verified = verify(scratch / "data", progress)
    return Restored(manifest=manifest, verified=verified, opened=_open_all(scratch / "data"))


def _check(archive: Path, progress: Callable[[Progress], None]) -> Manifest:
    """Read all of the archive and compare it with its list. Raises `ValueError`."""
    found: dict[str, tuple[int, str]] = {}
    manifest = None
    done = 0
    for name, size, content in members(archive):
        if name == MANIFEST:
            manifest = read_manifest(content, size)
            continue
        hashing = Hashing(content)
        while hashing.read(BLOCK):
            progress(Progress(done + hashing.size, done + hashing.size))
        done += hashing.size
        found[name] = (hashing.size, hashing.hash.hexdigest())
    if manifest is None:
        raise ValueError("the list of its files is missing, so it was cut off")
    listed = {entry.path: (entry.size, entry.sha256) for entry in manifest.files}
    if len(listed) != len(manifest.files):
        raise ValueError("its list names a file twice")
    for name in sorted(listed.keys() | found.keys()):
        if listed.get(name) != found.get(name):
            raise ValueError(f"{name[:80]!r} is missing, unlisted or not what was backed up")
    return manifest


def _unpack(archive: Path, scratch: Path, member: Member, entry: Entry) -> None:
    name, _, content = member
    path = scratch / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            _copy(archive, content, file)
        with suppress(OSError, OverflowError):
            os.utime(path, ns=(entry.mtime, entry.mtime))
    except OSError as error:
        raise write_fault(error, path) from error


def _copy(archive: Path, content: IO[bytes], file: IO[bytes]) -> None:
    while True:
        with reading(archive):
            block = content.read(BLOCK)
        if not block:
            break
        file.write(block)


def _open_all(data: Path) -> int:
    """Open every conversation as a reader would and return how many there are."""
    layout = Layout(data, data)
    opened = 0
    for conversation in layout.conversations():
        transcript = reader.read_all(conversation, layout.files(conversation))
        opened += summary.summarise(conversation, transcript.items) is not None
    return opened


class _Placing:
    """Moves what was unpacked to where it is missing."""

    def __init__(self, layout: Layout, scratch: Path, files: FileSystem) -> None:
        self._layout = layout
        self._scratch = scratch
        self._files = files
        self._synced: set[Path] = set()
        self._added = self._present = 0
        self._gained: set[str] = set()
        self._kept: list[str] = []

    def outcome(self, restored: Restored) -> Restored:
        for folder in self._synced:
            self._files.sync_folder(folder)
        return Restored(
            manifest=restored.manifest,
            verified=restored.verified,
            opened=restored.opened,
            added=self._added,
            conversations=len(self._gained),
            present=self._present,
            kept=tuple(self._kept),
        )

    def place(self, entry: Entry, config: Path | None) -> None:
        """Add the file, or what it has more than is there."""
        room, _, name = entry.path.partition("/")
        if room == "config":
            if config is None:
                self._kept.append(entry.path)
                return
            target = config / name
        else:
            target = self._layout.data / name
        source = self._scratch / entry.path
        if not _there(target):
            if not (name.startswith("transcripts/") and self._has_all(source, target)):
                self._move(source, target)
        elif _same(source, target):
            self._present += 1
        elif name.startswith(("transcripts/", "usage/")) and name.endswith(".jsonl"):
            self._add_lines(source, target)
        elif name.startswith("blobs/"):
            # What was unpacked is what it is called; what is there is damaged.
            replace_file(self._files, target, source.read_bytes())
            self._synced.add(target.parent)
            self._added += 1
        else:
            self._kept.append(entry.path)

    def _has_all(self, source: Path, target: Path) -> bool:
        """Whether the conversation's other files have all lines already, as after a restore."""
        if not _other_files(target):
            return False
        present = not self._missing(source, target)
        self._present += present
        return present

    def _move(self, source: Path, target: Path) -> None:
        make_folder(self._files, target.parent)
        descriptor = os.open(source, os.O_RDWR | getattr(os, "O_BINARY", 0))
        try:
            self._files.sync(descriptor)
        finally:
            os.close(descriptor)
        if target.parent.is_relative_to(self._layout.data):
            self._files.replace(source, target)
        else:
            # Settings may be on another disk.
            replace_file(self._files, target, source.read_bytes())
        self._synced.add(target.parent)
        self._added += 1
        self._gain(target)

    def _gain(self, target: Path) -> None:
        if is_id(target.name[:_ID_LENGTH]):
            self._gained.add(target.name[:_ID_LENGTH])

    def _add_lines(self, source: Path, target: Path) -> None:
        """Put the lines that are missing into a file of their own: whose that is says its name."""
        lines = self._missing(source, target)
        if not lines:
            self._present += 1
            return
        stem = f"{target.name.removesuffix('.jsonl')}-restored"
        path = target.with_name(f"{stem}.jsonl")
        number = 2
        while _there(path):
            path = target.with_name(f"{stem}{number}.jsonl")
            number += 1
        conversation = target.name[:_ID_LENGTH]
        heads = [line for key, line in _keyed(source) if key == conversation]
        if heads and heads[0] not in lines:
            lines = [heads[0], *lines]
        replace_file(self._files, path, b"".join(lines))
        status = source.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        self._synced.add(target.parent)
        self._added += 1
        self._gain(target)

    def _missing(self, source: Path, target: Path) -> list[bytes]:
        """Return the sound lines of `source` whose items no file beside `target` has."""
        known: set[str] = set()
        for path in _other_files(target):
            known |= {key for key, _ in _keyed(path)}
        return [line for key, line in _keyed(source) if key not in known]


def _there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _same(first: Path, second: Path) -> bool:
    try:
        if first.stat().st_size != second.stat().st_size:
            return False
        with first.open("rb") as one, second.open("rb") as other:
            return all(block == other.read(BLOCK) for block in iter(lambda: one.read(BLOCK), b""))
    except OSError as error:
        raise read_fault(error, second) from error


def _other_files(target: Path) -> Iterable[Path]:
    """Return the files beside `target` that speak of the same: a conversation, or a month."""
    shared = target.name[:_ID_LENGTH]
    prefix = shared if is_id(shared) else target.name.removesuffix(".jsonl")
    try:
        return sorted(
            each
            for each in target.parent.iterdir()
            if each.name.startswith(prefix) and each.suffix == ".jsonl" and each.is_file()
        )
    except FileNotFoundError:
        return ()


def _keyed(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the sound lines of a file by the ids of their items."""
    try:
        with path.open("rb") as file:
            for line in reader.lines(file):
                item = reader.decode(line)
                if item is not None:
                    yield item.id, line if line.endswith(b"\n") else line + b"\n"
    except OSError as error:
        raise read_fault(error, path) from error
