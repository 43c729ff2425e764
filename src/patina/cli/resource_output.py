"""What was read of a resource, or is part of what a server said, where the person wants it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from patina.cli.exporting import Rendered, write
from patina.model.faults import UsageFault
from patina.model.parts import File, Image, Part, Text
from patina.ports.features import Content
from patina.ports.journal import Journal
from patina.views.terminal_text import safe_text

# No word of a server gets into the name of a file.
_ENDINGS: Final = {
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/html": ".html",
    "text/csv": ".csv",
    "application/json": ".json",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "application/gzip": ".gz",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "audio/wav": ".wav",
    "audio/mpeg": ".mp3",
}


async def print_contents(contents: Sequence[Content], journal: Journal) -> None:
    """Print to standard output: as it is into a pipe, harmless text on a terminal.

    Raises `UsageFault` where a terminal would get what is no text.
    """
    terminal = sys.stdout.isatty()
    binary = [content for content in contents if not isinstance(content.part, Text)]
    if binary and terminal:
        kind = binary[0].media_type or "data"
        raise UsageFault(
            f"{binary[0].uri} is {kind}, which a terminal cannot show.",
            hint="Write it to a file with -o PATH, or pipe it on.",
        )
    if terminal:
        for content in contents:
            print(safe_text((await _bytes(content, journal)).decode("utf-8", "replace")))
        return
    data = b"\n".join([await _bytes(content, journal) for content in contents])
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


async def write_contents(
    contents: Sequence[Content], journal: Journal, path: Path, *, force: bool
) -> None:
    """Write to the file `path`; several contents to numbered files of the folder `path`.

    Raises `UsageFault` where a file is there already, unless `force`, and `StoreFault`.
    """
    data = [await _bytes(content, journal) for content in contents]
    for place, content in zip(_places(contents, path), data, strict=True):
        write(place, Rendered(content, {}, "", "", ()), force)
        print(place)


def _places(contents: Sequence[Content], path: Path) -> list[Path]:
    if len(contents) == 1 and not path.is_dir():
        return [path]
    return [path / f"{number}{_ending(one)}" for number, one in enumerate(contents, 1)]


def _ending(content: Content) -> str:
    known = _ENDINGS.get(content.media_type.partition(";")[0].strip().lower(), "")
    return known or (".txt" if isinstance(content.part, Text) else ".bin")


async def as_object(
    server: str, uri: str, contents: Sequence[Content], journal: Journal
) -> dict[str, Any]:
    """Return the object of `--json`."""
    from base64 import b64encode

    listed: list[dict[str, Any]] = []
    for content in contents:
        data = await _bytes(content, journal)
        held: dict[str, Any] = {"uri": content.uri, "media_type": content.media_type}
        if isinstance(content.part, Text):
            held["text"] = data.decode("utf-8", "replace")
        else:
            held["blob"] = b64encode(data).decode()
        listed.append(held)
    return {"server": server, "uri": uri, "contents": listed}


async def with_bytes(parts: Sequence[Part], journal: Journal) -> list[dict[str, Any]]:
    """Return parts as objects of `--json`: the bytes of a blob stand beside it in "data", in
    Base64, for no other command hands them out.
    """
    from base64 import b64encode

    listed: list[dict[str, Any]] = []
    for part in parts:
        held = msgspec.to_builtins(part)
        if isinstance(part, Image | File):
            held["data"] = b64encode(await journal.get_blob(part.blob)).decode()
        listed.append(held)
    return listed


async def _bytes(content: Content, journal: Journal) -> bytes:
    part = content.part
    if isinstance(part, Text) and part.blob is None:
        return part.text.encode("utf-8", "replace")
    assert part.blob is not None
    return await journal.get_blob(part.blob)
