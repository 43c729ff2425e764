"""What went wrong on a connection, as a sentence for people."""

from collections.abc import Mapping
from typing import Any, Final

import anyio
from msgspec.structs import replace

from patina.mcp.diagnosis import log_hint
from patina.mcp.text import shortened, visible
from patina.model.faults import McpFault

# The code of a fault of an opener: the server could not be reached, so that waiting may help.
AWAY: Final = "away"
# The code of a fault of a request whose answer was lost with the connection.
CUT: Final = "cut"


class Forgotten(McpFault):
    """The server knows the session no more and did nothing: connecting anew is all it needs."""


def fault(server: str, what: str, *, hint: str = "", code: str = "") -> McpFault:
    """Return the fault "Server <server> <what>."; without a hint it names the server's log."""
    return McpFault(
        f"Server {server} {what.removesuffix('.')}.", hint=hint or log_hint(server), code=code
    )


def fault_of(server: str, error: Exception, what: str, wait: float) -> McpFault:
    """Return `error` as a fault: JSON-RPC errors with their number, groups by their cause.

    `wait` is the seconds that were waited, for an error that says only that it was too long.
    """
    from pydantic import ValidationError

    from mcp import MCPError

    error = cause(error)
    if isinstance(error, McpFault):
        failure = error.failure
        if failure.message.startswith(f"Server {server}"):
            return error
        return fault(server, f"{what}: {failure.message}", hint=failure.hint, code=failure.code)
    if isinstance(error, MCPError):
        said = shortened(visible(error.message), 1000)
        status = status_of(error)
        number = f"error {error.code}" + (f", HTTP status {status}" if status else "")
        found = fault(server, f"{what}: {said} ({number})", code=str(error.code))
        found.failure = replace(found.failure, status=status)
        return found
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        wrong = shortened(visible(f"{where}: {first['msg']}"), 300)
        return fault(server, f"{what}: its answer is not as the protocol demands, {wrong}")
    if isinstance(error, TimeoutError):
        return fault(server, f"{what}: no answer within {wait:g} s")
    return fault(server, f"{what}: {shortened(visible(str(error)), 500)}")


def cause(error: Exception) -> Exception:
    """Return the first single error in the groups that task groups make of errors."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def is_cut(error: Exception) -> bool:
    """Whether `error` is the end of the connection, not an answer."""
    from mcp_types import CONNECTION_CLOSED

    from mcp import MCPError

    if isinstance(error, MCPError):
        return error.code == CONNECTION_CLOSED
    return isinstance(error, anyio.ClosedResourceError | anyio.BrokenResourceError)


def status_of(error: Exception) -> int | None:
    """Return the HTTP status that a transport put beside a JSON-RPC error."""
    status = _data(error).get("status")
    return status if isinstance(status, int) else None


def was_unsent(error: Exception) -> bool:
    """Whether a transport says that the server has surely not acted on the request."""
    return _data(error).get("unsent") is True


def _data(error: Exception) -> Mapping[str, Any]:
    from mcp import MCPError

    data = error.error.data if isinstance(error, MCPError) else None
    return data if isinstance(data, dict) else {}
