"""Files and piped text as parts of a message."""

import mimetypes
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from patina.model.faults import UsageFault
from patina.model.parts import File, Image, Part, Text

MAX_BYTES: Final = 20_000_000
_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)

PutBlob = Callable[[bytes], Awaitable[str]]


async def attach(path: Path, put_blob: PutBlob) -> Part:
    """Return the part for a file: text inside the message, images and PDFs as blobs.

    What a file is, its content says, not its name. Raises `UsageFault` where it cannot be read,
    is over `MAX_BYTES` bytes, or is neither text, image nor PDF.
    """
    content = _read(path)
    media_type = _media_type(content)
    if media_type == "application/pdf":
        return File(await put_blob(content), media_type, path.name)
    if media_type:
        return Image(await put_blob(content), media_type, path.name)
    try:
        text = content.decode("utf-8-sig")
        if "\0" in text:
            raise ValueError("no text holds this")
    except ValueError:
        guess = mimetypes.guess_type(path.name)[0] or "unknown"
        raise UsageFault(
            f"{path} is not text, an image or a PDF (its name says {guess}).",
            hint="Attach text in UTF-8, PNG, JPEG, GIF, WebP or PDF.",
        ) from None
    return Text(f'<file name="{path.name}">\n{text}\n</file>')


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():  # a pipe or a device may never end
            raise UsageFault(
                f"{path} is not a file.", hint="Check the path given to -f; pipe text into stdin."
            )
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageFault(
            f"{path} cannot be read: {error.strerror or error}.", hint="Check the path given to -f."
        ) from None
    if len(content) > MAX_BYTES:
        raise UsageFault(
            f"{path} is over {MAX_BYTES // 1_000_000} MB.", hint="Attach a part of it."
        )
    return content


def _media_type(content: bytes) -> str:
    for signature, media_type in _SIGNATURES:
        if content.startswith(signature):
            return media_type
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return ""
