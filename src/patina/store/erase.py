"""Erasing for good, at a person's wish: the one thing that changes or removes what was written.

A conversation goes in this order: a file beside its transcript says that it is being erased, and
from then on nothing finds it; blobs that nothing else names go, then its files, last that file. So
a crash leaves all of it or nothing to be found, and what it left is named by `half_erased` of the
layout. Blocking. The conversation's turn is held by the caller.
"""

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec.structs import replace

from patina.model.codec import encode_line
from patina.model.faults import StoreFault, UsageFault
from patina.model.items import (
    Answer,
    AnyItem,
    Ask,
    Call,
    Checkpoint,
    Decision,
    Message,
    Note,
    Question,
    Result,
    Task,
)
from patina.model.questions import Answered, Asked
from patina.store import lock, reader, summary
from patina.store.files import FileSystem, replace_file, write_fault
from patina.store.layout import Layout
from patina.store.merge import StoredItem

_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0)
_BLOB = re.compile(rb'"([0-9a-f]{64})"')
# The time of a file is that of the last tick of a slow clock. Seconds.
_TICK = 0.02


class Eraser:
    """Erases in one data folder. `lock_wait` is how many seconds a locked file is waited for."""

    def __init__(self, layout: Layout, files: FileSystem, lock_wait: float) -> None:
        self._layout = layout
        self._files = files
        self._lock_wait = lock_wait

    def conversation(self, conversation: str) -> None:
        """Remove a conversation. Raises `UsageFault` where there is none, and `StoreFault`."""
        folder = self._layout.month(conversation)
        marker = self._layout.erasing(conversation)
        try:
            transcripts = [path for path in _named(folder, conversation) if _is_transcript(path)]
            if not transcripts and not marker.exists():
                raise summary.no_conversation(conversation)
            with self._locked(transcripts):
                if not marker.exists():
                    replace_file(self._files, marker, b"")
                self._files.sync_folder(folder)
            contents = [path.read_bytes() for path in transcripts]
            self._remove_blobs(blobs_in(contents), dict.fromkeys(transcripts, b""))
            self._files.remove(self._layout.draft(conversation))
            for path in _named(folder, conversation):
                if path != marker and not path.is_dir():
                    self._files.remove(path)
            self._files.sync_folder(folder)
            self._files.remove(marker)
            self._files.sync_folder(folder)
        except OSError as error:
            raise write_fault(error, folder) from error

    def item(self, conversation: str, item: str) -> None:
        """Remove what a message, a result or a note says, and keep its place in the conversation.

        What repeats a message goes too: checkpoints, the arguments of its calls, and what their
        servers asked and were answered. All else stays as it is, byte by byte. Raises `UsageFault`
        where there is no such item, `StoreFault`.
        """
        folder = self._layout.month(conversation)
        try:
            paths = self._layout.files(conversation)
            if not paths:
                raise summary.no_conversation(conversation)
            with self._locked(paths):
                before = {path: path.read_bytes() for path in paths}
                check_kind(conversation, item, _find(item, before.values()))
                after = {path: _emptied(item, content) for path, content in before.items()}
                # Blobs first: after a crash the item still names them, so this can be done again.
                self._remove_blobs(blobs_in(before.values()) - blobs_in(after.values()), after)
                if os.name != "nt":
                    self._replace(before, after)
            if os.name == "nt":  # an open file cannot be replaced there
                self._replace(before, after)
        except OSError as error:
            raise write_fault(error, folder) from error

    def _replace(self, before: Mapping[Path, bytes], after: Mapping[Path, bytes]) -> None:
        for path, content in after.items():
            if content != before[path]:
                replace_file(self._files, path, content)
                self._files.sync_folder(path.parent)

    @contextmanager
    def _locked(self, paths: Iterable[Path]) -> Iterator[None]:
        """Keep writers of all processes out of the files. They look at the names again after it."""
        with ExitStack() as stack:
            for path in paths:
                descriptor = os.open(path, _FLAGS)
                stack.callback(os.close, descriptor)
                if not lock.acquire(descriptor, self._lock_wait):
                    raise StoreFault(
                        f"{path.name} is kept by another process, so nothing was erased.",
                        hint="Close what else uses the data folder, then try again.",
                    )
                stack.callback(lock.release, descriptor)
            yield

    def _remove_blobs(self, blobs: set[str], instead: Mapping[Path, bytes]) -> None:
        """Remove those of `blobs` that no file names. `instead` is what some of them will hold."""
        if not blobs:
            return
        began = time.time_ns()
        time.sleep(_TICK)
        for blob in blobs - self._elsewhere(blobs, instead):
            path = self._layout.blob(blob)
            for each in [*path.parent.glob(f"{blob}.*.tmp"), path]:
                try:
                    # One that is newer is attached by somebody just now.
                    if each.stat().st_mtime_ns <= began:
                        self._files.remove(each)
                except FileNotFoundError:
                    continue
            if path.parent.is_dir():
                self._files.sync_folder(path.parent)

    def _elsewhere(self, blobs: set[str], instead: Mapping[Path, bytes]) -> set[str]:
        found: set[str] = set()
        for content in self._contents(instead):
            found |= blobs & blobs_in([content])
            if found == blobs:
                break
        return found

    def _contents(self, instead: Mapping[Path, bytes]) -> Iterator[bytes]:
        yield from instead.values()
        for entries in self._layout.conversations().values():
            for entry in entries:
                if Path(entry.path) not in instead:
                    yield Path(entry.path).read_bytes()
        for draft in self._layout.data.glob("drafts/*.json"):
            yield draft.read_bytes()


def _named(folder: Path, conversation: str) -> list[Path]:
    """Return all files of a conversation, whether or not anything reads them."""
    try:
        return sorted(path for path in folder.iterdir() if path.name.startswith(conversation))
    except FileNotFoundError:
        return []


def _is_transcript(path: Path) -> bool:
    return path.suffix == ".jsonl" and path.is_file()


def blobs_in(contents: Iterable[bytes]) -> set[str]:
    """Return what may be the name of a blob, also in lines that nobody can read."""
    return {found.decode() for content in contents for found in _BLOB.findall(content)}


def check_kind(conversation: str, item: str, found: StoredItem | None) -> None:
    """Raise `UsageFault` unless `found`, the item of that id, is one that may be erased alone."""
    if found is None:
        raise reader.unknown_item(conversation, item)
    if not isinstance(found, (Message, Result, Note)):
        raise UsageFault(
            f"Item {item} is no message, result or note, so it cannot be erased alone.",
            hint="Erase the message that it belongs to, or the conversation.",
        )


def _find(item: str, contents: Iterable[bytes]) -> StoredItem | None:
    mark = item.encode("utf-8", "replace")
    for content in contents:
        for line in content.split(b"\n"):
            if mark in line and (found := reader.decode(line)) and found.id == item:
                return found
    return None


def _emptied(item: str, content: bytes) -> bytes:
    """Return a transcript without what `item` said. A damaged line that names it is left out."""
    mark = item.encode()
    lines: list[bytes] = []
    for line in content.split(b"\n"):
        if mark not in line:
            lines.append(line)
            continue
        found = reader.decode(line)
        if found is None:
            continue
        erased = empty(found, item)
        lines.append(line if erased is None else encode_line(erased).rstrip(b"\n"))
    return b"\n".join(lines)


def empty(found: object, item: str) -> AnyItem | None:
    """Return `found` without its words, None where they are none of `item`."""
    if isinstance(found, (Message, Result)) and found.id == item:
        return replace(found, parts=())
    if isinstance(found, Note) and found.id == item:
        return replace(found, text="", hint="")
    if isinstance(found, Checkpoint) and found.message == item:
        return replace(found, text="", thinking="")
    if isinstance(found, Call) and found.message == item:
        return replace(found, arguments="{}")
    if isinstance(found, Ask) and found.message == item:
        return replace(found, arguments="{}", offers=())
    if isinstance(found, Decision) and found.message == item:
        return replace(found, arguments="", wrote=None)
    if isinstance(found, Question) and found.message == item:
        return replace(found, asked=Asked(kind=found.asked.kind, text=""))
    if isinstance(found, Answer) and found.message == item:
        return replace(found, answered=Answered(action=found.answered.action))
    if isinstance(found, Task) and found.message == item:
        return replace(found, state=replace(found.state, text=""))
    return None
