"""JSON-RPC messages as the SDK has them, and as they are on a line. Import it late."""

import re
from typing import Final

import mcp_types as types
from mcp.shared.message import ServerMessageMetadata, SessionMessage

# An escape of JSON: a pair of surrogates, half of one, or anything else.
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)
_UNKNOWN: Final = rb"\ufffd"


def decode(line: bytes, related: types.RequestId | None = None) -> SessionMessage | None:
    """Return the JSON-RPC message in `line`, or None where there is none.

    `related` is the request of ours on whose stream it came.
    """
    message = _message(line)
    if message is None and b"\\u" in line:
        # Servers in JavaScript cut texts in the middle of a pair and write the half of it.
        message = _message(_ESCAPE.sub(_whole, line))
    if message is None:
        return None
    if related is None:
        return SessionMessage(message)
    return SessionMessage(message, ServerMessageMetadata(related_request_id=related))


def _message(line: bytes) -> types.JSONRPCMessage | None:
    try:
        return types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError:
        return None


def _whole(escape: re.Match[bytes]) -> bytes:
    return _UNKNOWN if escape["half"] else escape[0]


def encode(message: SessionMessage) -> bytes:
    """Return `message` as one line of JSON, without an end of line."""
    return message.message.model_dump_json(by_alias=True, exclude_unset=True).encode()


def unreadable(request: int) -> SessionMessage:
    """Return the error that the caller of `request` gets for an answer that cannot be read."""
    words = "its answer cannot be read: too deep, not UTF-8, or no JSON-RPC"
    error = types.ErrorData(code=types.PARSE_ERROR, message=words)
    return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=request, error=error))
