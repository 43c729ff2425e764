"""JSON-RPC messages as the SDK has them, and as they are on a line. Import it late."""

import mcp_types as types
from mcp.shared.message import ServerMessageMetadata, SessionMessage


def decode(line: bytes, related: types.RequestId | None = None) -> SessionMessage | None:
    """Return the JSON-RPC message in `line`, or None where there is none.

    `related` is the request of ours on whose stream it came.
    """
    try:
        message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        return None
    if related is None:
        return SessionMessage(message)
    return SessionMessage(message, ServerMessageMetadata(related_request_id=related))


def encode(message: SessionMessage) -> bytes:
    """Return `message` as one line of JSON, without an end of line."""
    return message.message.model_dump_json(by_alias=True, exclude_unset=True).encode()


def unreadable(request: int) -> SessionMessage:
    """Return the error that the caller of `request` gets for an answer that cannot be read."""
    words = "its answer cannot be read: too deep, not UTF-8, or no JSON-RPC"
    error = types.ErrorData(code=types.PARSE_ERROR, message=words)
    return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=request, error=error))
