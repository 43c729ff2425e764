"""What a tool said, as parts (MCP 2025-11-25, server/tools: content kinds of a result)."""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from patina.model.chat import ToolOutcome
from patina.model.parts import Image, ResultPart, Text

if TYPE_CHECKING:
    from mcp_types import CallToolResult, ContentBlock, EmbeddedResource, ResourceLink

PutBlob = Callable[[bytes], Awaitable[str]]
LARGEST_IMAGE: Final = 20 * 1024 * 1024
_IMAGE: Final = re.compile(r"image/[a-z0-9.+-]{1,64}")


async def outcome_of(result: "CallToolResult", put_blob: PutBlob) -> ToolOutcome:
    """Return `result` as parts, in its order.

    Text stays as it is; pictures go into blobs; audio, resources and links become text that
    names them. Structured content stands, as JSON, where there is no other content.
    """
    parts = [await _part(block, put_blob) for block in result.content]
    if not parts and result.structured_content is not None:
        parts = [Text(_json(result.structured_content))]
    return ToolOutcome(tuple(parts), result.is_error)


def _json(value: Any) -> str:  # noqa: ANN401 - any JSON value is allowed
    return msgspec.json.encode(value).decode()


async def _part(block: "ContentBlock", put_blob: PutBlob) -> ResultPart:
    if block.type == "text":
        return Text(block.text)
    if block.type == "image":
        return await _image(block.data, block.mime_type, put_blob)
    if block.type == "audio":
        return Text(f"[audio, {block.mime_type}, {_size(block.data)}: not played]")
    if block.type == "resource_link":
        return Text(_link(block))
    return Text(_resource(block))


async def _image(data: str, media_type: str, put_blob: PutBlob) -> ResultPart:
    kind = media_type.lower()
    if not _IMAGE.fullmatch(kind):
        return Text(f"[image of the unknown type {media_type[:100]!r}: left out]")
    if len(data) * 3 // 4 > LARGEST_IMAGE:
        return Text(f"[image, {kind}, {_size(data)}: over {LARGEST_IMAGE // 2**20} MB, left out]")
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return Text(f"[image, {kind}: not valid base64, left out]")
    return Image(await put_blob(content), kind)


def _size(data: str) -> str:
    return f"about {len(data) * 3 // 4:,} bytes"


def _link(block: "ResourceLink") -> str:
    words = [f"[resource link: {block.title or block.name}, {block.uri}"]
    if block.mime_type:
        words.append(f", {block.mime_type}")
    words.append("]")
    return "".join(words) + (f"\n{block.description}" if block.description else "")


def _resource(block: "EmbeddedResource") -> str:
    resource = block.resource
    kind = f", {resource.mime_type}" if resource.mime_type else ""
    text = getattr(resource, "text", None)
    if isinstance(text, str):
        return f"[resource: {resource.uri}{kind}]\n{text}"
    return f"[resource: {resource.uri}{kind}, {_size(getattr(resource, 'blob', ''))}: not text]"
