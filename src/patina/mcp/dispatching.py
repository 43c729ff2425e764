"""Requests and their answers, two small things more lenient than the SDK. Import it late."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from mcp.shared.dispatcher import CallOptions
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.transport_context import TransportContext
from mcp_types import PROTOCOL_VERSION_META_KEY, ContentBlock, RequestId
from pydantic import TypeAdapter, ValidationError

_RESULTS: Final = frozenset({"tools/call", "tasks/result"})
_block: Final[TypeAdapter[ContentBlock]] = TypeAdapter(ContentBlock)
_WORDS: Final = frozenset({"type", "text"})


class Dispatcher(JSONRPCDispatcher[TransportContext]):
    """The SDK's dispatcher, for which an answer that does not say what it is, is the answer.

    The SDK refuses one of the stateless era without a `resultType`; by the schema of 2026-07-28 it
    counts as "complete". It refuses a whole result for one wrong block, too (see `readable`).
    """

    async def send_raw_request(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        opts: CallOptions | None = None,
        *,
        _related_request_id: RequestId | None = None,
    ) -> dict[str, Any]:
        """As the SDK's."""
        raw = await super().send_raw_request(
            method, params, opts, _related_request_id=_related_request_id
        )
        meta = (params or {}).get("_meta")
        modern = isinstance(meta, Mapping) and PROTOCOL_VERSION_META_KEY in meta
        if modern:
            raw.setdefault("resultType", "complete")
        return readable(raw, modern=modern) if method in _RESULTS else raw


def readable(result: dict[str, Any], *, modern: bool) -> dict[str, Any]:
    """Return what a tool said with what is against the protocol in it as text: the tool has run.

    That are blocks of content that are none, or of a kind that is not known yet, and in the older
    era structured content that is no object.
    """
    content = result.get("content")
    if not isinstance(content, list):
        return result
    structured = result.get("structuredContent")
    if structured is None and all(map(_is_block, content)):
        return result
    content = [block if _is_block(block) else _as_text(block) for block in content]
    if structured is None or modern or isinstance(structured, dict):
        return {**result, "content": content}
    rest = {key: value for key, value in result.items() if key != "structuredContent"}
    return {**rest, "content": [*content, _as_text(structured)]}


def _is_block(block: object) -> bool:
    if isinstance(block, dict) and block.keys() == _WORDS and block["type"] == "text":
        return isinstance(block["text"], str)  # nearly all are: the short way
    try:
        _block.validate_python(block, by_name=False)
    except ValidationError:
        return False
    return True


def _as_text(value: object) -> dict[str, str]:
    return {"type": "text", "text": msgspec.json.encode(value).decode()}
