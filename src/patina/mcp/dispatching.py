"""Requests and their answers, one small thing more lenient than the SDK. Import it late."""

from collections.abc import Mapping
from typing import Any

from mcp.shared.dispatcher import CallOptions
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.transport_context import TransportContext
from mcp_types import PROTOCOL_VERSION_META_KEY, RequestId


class Dispatcher(JSONRPCDispatcher[TransportContext]):
    """The SDK's dispatcher, for which an answer that does not say what it is, is the answer.

    The SDK refuses one of the stateless era without a `resultType`; by the schema of 2026-07-28 it
    counts as "complete".
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
        if isinstance(meta, Mapping) and PROTOCOL_VERSION_META_KEY in meta:
            raw.setdefault("resultType", "complete")
        return raw
