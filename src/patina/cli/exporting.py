"""Conversations as bytes in each format, and safely into files."""

import os
from pathlib import Path
from typing import Final, Literal, get_args

import anyio.to_thread
from msgspec import Struct

from patina.model.faults import StoreFault, UsageFault
from patina.model.masking import Mask, masked, unmasked
from patina.model.parts import File, Image
from patina.model.tree import Tree
from patina.store.exporting import media
from patina.store.exporting.document import Document, attachments, document
from patina.store.journal import FileJournal
from patina.store.layout import Layout

ExportFormat = Literal["jsonl", "md", "html", "json"]
EXPORT_FORMATS: Final[tuple[ExportFormat, ...]] = get_args(ExportFormat)
_BLOBS: Final = "blobs"


class Rendered(Struct, frozen=True):
    """A conversation as bytes, the files that belong beside it, and what to say of it."""

    data: bytes
    beside: dict[str, bytes]
    created: str
    title: str
    remarks: tuple[str, ...]


async def render(
    journal: FileJournal,
    layout: Layout,
    kind: ExportFormat,
    conversation: str,
    *,
    thinking: bool,
    mask: Mask = unmasked,
) -> Rendered:
    """Return a conversation in the format `kind`. Raises `UsageFault` and `StoreFault`.

    Secrets pass through `mask`, but for JSONL: that is the transcript as it was written.
    """
    if kind == "jsonl":
        return await _verbatim(journal, layout, conversation)
    from patina.engine.large import whole_items

    transcript = await journal.read(conversation)
    tree = Tree(await whole_items(transcript.items, journal))
    of = masked(document(tree, conversation, transcript.damaged, thinking=thinking), mask)
    remarks = _damage(transcript.damaged)
    if kind == "json":
        from patina.store.exporting import json

        return Rendered(json.render(of).encode(), {}, of.created, of.title, remarks)
    contents, missing = await _contents(journal, of)
    remarks += _missing(missing)
    if kind == "html":
        from patina.store.exporting import html

        text = html.render(of, contents)
        return Rendered(_encoded(text), {}, of.created, of.title, remarks)
    from patina.store.exporting import markdown

    beside = {
        _beside_name(part): contents[part.blob] for part in attachments(of) if part.blob in contents
    }
    text = markdown.render(
        of, lambda part: f"{_BLOBS}/{_beside_name(part)}" if part.blob in contents else ""
    )
    return Rendered(_encoded(text), beside, of.created, of.title, remarks)


async def _verbatim(journal: FileJournal, layout: Layout, conversation: str) -> Rendered:
    from patina.store.exporting import jsonl

    found = await anyio.to_thread.run_sync(jsonl.verbatim, layout, conversation)
    transcript = await journal.read(conversation)
    of = document(Tree(transcript.items), conversation, 0, thinking=False)
    beside: dict[str, bytes] = {}
    missing = 0
    for blob in found.blobs:
        try:
            beside[blob] = await journal.get_blob(blob)
        except StoreFault:
            missing += 1
    remarks = (*_damage(found.damaged), *_missing(missing))
    if found.hidden:
        remarks += (f"{number_of(found.hidden, 'item')} hidden from view, but in the JSONL.",)
    return Rendered(b"".join(found.lines), beside, of.created, of.title, remarks)


async def _contents(journal: FileJournal, of: Document) -> tuple[dict[str, bytes], int]:
    """Return the attachments of a document by blob, and how many are missing."""
    found: dict[str, bytes] = {}
    missing: set[str] = set()
    for part in attachments(of):
        if part.blob not in found:
            try:
                found[part.blob] = await journal.get_blob(part.blob)
            except StoreFault:
                missing.add(part.blob)
    return found, len(missing)


def _beside_name(part: Image | File) -> str:
    return part.blob + media.suffix(part.media_type)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def number_of(number: int, thing: str) -> str:
    """Return "1 line is" or "3 lines are"."""
    return f"1 {thing} is" if number == 1 else f"{number} {thing}s are"


def _damage(number: int) -> tuple[str, ...]:
    return (f"{number_of(number, 'damaged line')} left out.",) if number else ()


def _missing(number: int) -> tuple[str, ...]:
    return (f"{number_of(number, 'attachment')} missing.",) if number else ()


def write(path: Path, rendered: Rendered, force: bool) -> None:
    """Write a conversation and what belongs beside it. Raises `UsageFault` and `StoreFault`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_file(path, rendered.data, force=force)
        for name, content in rendered.beside.items():
            beside = path.parent / _BLOBS / name
            beside.parent.mkdir(exist_ok=True)
            if not beside.is_file() or beside.read_bytes() != content:
                # Named by their content: another of the name is a damaged copy.
                _write_file(beside, content, force=True)
    except FileExistsError as error:
        if path.parent.exists() and not path.parent.is_dir():
            raise UsageFault(
                f"{path.parent} is a file; a folder is needed.", hint="Choose another place."
            ) from error
        raise UsageFault(
            f"{path} is there already.", hint="Choose another place, or replace it with --force."
        ) from error
    except OSError as error:
        raise StoreFault(
            f"{path} could not be written: {error.strerror or error}.",
            hint="Check the folder and the free space.",
        ) from error


def _write_file(path: Path, data: bytes, *, force: bool) -> None:
    if not force and (path.exists() or path.is_symlink()):
        if path.is_file() and path.read_bytes() == data:
            return  # of an export that was interrupted, or is made again
        raise FileExistsError(path)
    draft = path.with_name(f".{os.urandom(6).hex()}.tmp")
    try:
        draft.write_bytes(data)
        if force:
            draft.replace(path)
        else:
            # Not even one that appeared in the meantime is overwritten.
            with path.open("xb"):
                pass
            draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
