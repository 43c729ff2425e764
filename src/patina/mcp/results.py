"""What a server said, as parts (MCP 2025-11-25, server/tools: content kinds of a result)."""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from patina.mcp.hosting import PutBlob
from patina.mcp.structured import says_all
from patina.mcp.text import shortened, visible
from patina.model.chat import ToolOutcome
from patina.model.parts import File, Image, ResultPart, Text

if TYPE_CHECKING:
    from mcp_types import (
        AudioContent,
        BlobResourceContents,
        CallToolResult,
        ContentBlock,
        ImageContent,
        ResourceLink,
        TextResourceContents,
    )

LARGEST_IMAGE: Final = 20 * 1024 * 1024
LARGEST_FILE: Final = 64 * 1024 * 1024
UNTYPED: Final = "application/octet-stream"
_IMAGE: Final = re.compile(r"image/[a-z0-9.+-]{1,64}")
_TYPE: Final = re.compile(r"[a-z0-9.+-]{1,64}/[a-z0-9.+-]{1,64}")
# A shorter text may stand in an image by chance.
_SHORTEST_COPY: Final = 64


async def outcome_of(result: "CallToolResult", put_blob: PutBlob) -> ToolOutcome:
    """Return `result` as parts, as `parts_of`."""
    parts = await parts_of(result.content, result.structured_content, put_blob)
    return ToolOutcome(parts, result.is_error)


async def parts_of(
    blocks: "Sequence[ContentBlock]",
    structured: Any,  # noqa: ANN401 - any JSON value is allowed
    put_blob: PutBlob,
) -> tuple[ResultPart, ...]:
    """Return content in its order: text as it is, pictures, sounds and other bytes in blobs.

    What a resource is goes before its content, and links become text that names them: nothing is
    fetched. Structured content follows, as JSON, unless the texts say all of it. Copies of a
    picture's or sound's own base64 are taken out of both: a model would read them as words.
    """
    if structured is None and len(blocks) == 1 and blocks[0].type == "text":
        return (Text(blocks[0].text),)  # nearly all are: the short way
    copies = {block.data for block in blocks if block.type in ("image", "audio")}
    resources = [block.resource for block in blocks if block.type == "resource"]
    copies |= {blob for one in resources if (blob := getattr(one, "blob", ""))}
    copies = {copy for copy in copies if len(copy) >= _SHORTEST_COPY}
    parts: list[ResultPart] = []
    for block in blocks:
        if block.type == "text":
            parts.append(Text(_without(block.text, copies)))
        else:
            parts += await _block(block, put_blob)
    texts = [block.text for block in blocks if block.type == "text"]
    if structured is not None and not says_all(texts, structured):
        parts.append(Text(_without(_json(structured), copies)))
    return tuple(parts)


def _json(value: Any) -> str:  # noqa: ANN401 - any JSON value is allowed
    return msgspec.json.encode(value).decode()


def _without(text: str, copies: Iterable[str]) -> str:
    for copy in copies:
        text = text.replace(copy, "[the bytes beside it]")
    return text


async def _block(block: "ContentBlock", put_blob: PutBlob) -> list[ResultPart]:
    if block.type == "text":
        return [Text(block.text)]
    if block.type == "image":
        return [await _image(block, put_blob)]
    if block.type == "audio":
        return await _audio(block, put_blob)
    if block.type == "resource_link":
        return [Text(_link(block))]
    resource = block.resource
    kind = f", {resource.mime_type}" if resource.mime_type else ""
    heading = f"[resource: {resource.uri}{kind}]"
    part = await resource_part(resource, put_blob)
    if isinstance(part, Text):
        return [Text(f"{heading}\n{part.text}")]
    return [Text(heading), part]


async def resource_part(
    resource: "TextResourceContents | BlobResourceContents", put_blob: PutBlob
) -> ResultPart:
    """Return the content of a resource: text as it is, a picture, or a file by its name."""
    text = getattr(resource, "text", None)
    if isinstance(text, str):
        return Text(text)
    data = getattr(resource, "blob", "")
    kind = (resource.mime_type or "").lower()
    name = name_of(resource.uri)
    content = _decoded(data, LARGEST_FILE)
    if isinstance(content, str):
        return Text(f"[{content}]")
    if _IMAGE.fullmatch(kind):
        return Image(await put_blob(content), kind, name)
    return File(await put_blob(content), kind if _TYPE.fullmatch(kind) else UNTYPED, name)


def name_of(uri: str) -> str:
    """Return the last step of an address, for people; never a path."""
    try:
        path = urlsplit(uri).path
    except ValueError:
        path = uri
    last = unquote(path, errors="replace").replace("\\", "/").rstrip("/").rpartition("/")[2]
    return shortened(visible(last), 100)


async def _image(block: "ImageContent", put_blob: PutBlob) -> ResultPart:
    kind = block.mime_type.lower()
    if not _IMAGE.fullmatch(kind):
        return Text(f"[image of the unknown type {block.mime_type[:100]!r}: left out]")
    content = _decoded(block.data, LARGEST_IMAGE)
    if isinstance(content, str):
        return Text(f"[image, {kind}: {content}]")
    return Image(await put_blob(content), kind)


async def _audio(block: "AudioContent", put_blob: PutBlob) -> list[ResultPart]:
    kind = block.mime_type.lower()
    content = _decoded(block.data, LARGEST_FILE)
    if isinstance(content, str):
        return [Text(f"[audio, {shortened(visible(kind), 100)}: {content}]")]
    kind = kind if _TYPE.fullmatch(kind) else UNTYPED
    return [File(await put_blob(content), kind, "audio")]


def _decoded(data: str, most: int) -> bytes | str:
    """Return the bytes of base64, or in words why they are left out."""
    if len(data) * 3 // 4 > most:
        return f"about {len(data) * 3 // 4:,} bytes, over {most // 2**20} MB, left out"
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return "not valid base64, left out"


def _link(block: "ResourceLink") -> str:
    words = [f"[resource link: {block.title or block.name}, {block.uri}"]
    if block.mime_type:
        words.append(f", {block.mime_type}")
    words.append("]")
    return "".join(words) + (f"\n{block.description}" if block.description else "")
