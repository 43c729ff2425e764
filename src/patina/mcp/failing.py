"""What went wrong on a connection, as a sentence for people."""

from collections.abc import Mapping
from typing import Any, Final

import anyio
from msgspec.structs import replace

from patina.mcp.auth.failing import SIGN_IN
from patina.mcp.diagnosis import log_hint
from patina.mcp.text import shortened, visible
from patina.model.faults import Failure, McpFault

# The code of a fault of an opener: the server could not be reached, so that waiting may help.
AWAY: Final = "away"
# The code of a fault of a request whose answer was lost with the connection.
CUT: Final = "cut"


class Told(dict[str, Any]):
    """The `data` of an error that a transport made itself: no server can make one of these.

    `sign_in`: it would pass if a person signed in; `words` and `hint` say what was refused and
    what can be done else; `failure` is why nothing was sent.
    """


class Forgotten(McpFault):
    """The server knows the session no more and did nothing: connecting anew is all it needs."""


def fault(server: str, what: str, *, hint: str = "", code: str = "") -> McpFault:
    """Return the fault "Server <server> <what>."; without a hint it names the server's log."""
    return McpFault(
        f"Server {server} {what.removesuffix('.')}.", hint=hint or log_hint(server), code=code
    )


def of_failure(failure: Failure) -> McpFault:
    """Return the exception form of `failure`."""
    found = McpFault(failure.message)
    found.failure = failure
    return found


def sign_in_fault(server: str) -> McpFault:
    """Return the fault of a server that a person has to sign in to."""
    return McpFault(
        f"Server {server} wants you to sign in.",
        hint=f"Run `patina mcp login {server}`.",
        kind="permission",  # somebody was needed, and was not there
        code=SIGN_IN,
    )


def fault_of(server: str, error: Exception, what: str, wait: float) -> McpFault:
    """Return `error` as a fault: JSON-RPC errors with their number, groups by their cause.

    `wait` is the seconds that were waited, for an error that says only that it was too long. Where
    a sign-in would help, it has the code `SIGN_IN`.
    """
    from pydantic import ValidationError

    from mcp import MCPError

    error = cause(error)
    if isinstance(error, McpFault):
        failure = error.failure
        if failure.message.startswith(f"Server {server}"):
            return error
        if failure.code == SIGN_IN:
            return sign_in_fault(server)
        return fault(server, f"{what}: {failure.message}", hint=failure.hint, code=failure.code)
    if wants_sign_in(error):
        return sign_in_fault(server)
    unsent = _told(error).get("failure")
    if isinstance(unsent, Failure):
        return fault_of(server, of_failure(unsent), what, wait)
    if isinstance(error, MCPError):
        said = shortened(visible(error.message), 1000)
        status = status_of(error)
        number = f"error {error.code}" + (f", HTTP status {status}" if status else "")
        told = _told(error)
        said = f"{told['words']}: {said}" if told.get("words") else said
        code = str(error.code)
        found = fault(server, f"{what}: {said} ({number})", hint=hint_of(error), code=code)
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


def wants_sign_in(error: Exception) -> bool:
    """Whether a transport says that the request would pass if a person signed in."""
    return _told(error).get("sign_in") is True


def knows_why(error: Exception) -> bool:
    """Whether a transport says why the server was not asked, or refused."""
    return not _told(error).keys().isdisjoint(("sign_in", "failure"))


def hint_of(error: Exception) -> str:
    """Return what a transport says that can be done, "" where it knows nothing."""
    return str(_told(error).get("hint", ""))


def _told(error: Exception) -> Mapping[str, Any]:
    data = _data(error)
    return data if isinstance(data, Told) else {}


def _data(error: Exception) -> Mapping[str, Any]:
    from mcp import MCPError

    data = error.error.data if isinstance(error, MCPError) else None
    return data if isinstance(data, dict) else {}
