"""A tool call as view state, in the same words in every front end (A-26 to A-29)."""

from typing import Final, Literal

from msgspec import Struct

from patina.model.items import Call, CallStatus, Result
from patina.model.parts import ResultPart

DEFAULT_BOUND: Final = 30.0  # seconds, of results that do not say which one they had
Mark = Literal["spinner", "check", "error", "none"]
_MARKS: Final[dict[CallStatus, Mark]] = {
    "completed": "check",
    "failed": "error",
    "timed_out": "error",
    "denied": "none",
    "interrupted": "none",
}


class ToolCard(Struct, frozen=True, kw_only=True):
    """One call as it is shown. `text` is its line, `mark` what stands beside it.

    `state` is "running" or how it ended; `duration_ms` and `parts`, the result, are there then.
    `retriable` says that trying again may help: `call.retry` with `result_id`.
    """

    message_id: str
    call_id: str
    name: str
    text: str
    mark: Mark
    state: Literal["running"] | CallStatus
    duration_ms: int = 0
    parts: tuple[ResultPart, ...] = ()
    retriable: bool = False
    result_id: str = ""


def running_card(call: Call) -> ToolCard:
    """Return the card of a call that runs."""
    name = _name(call)
    return ToolCard(
        message_id=call.message,
        call_id=call.call_id,
        name=name,
        text=running_text(name),
        mark="spinner",
        state="running",
    )


def finished_card(result: Result) -> ToolCard:
    """Return the card of a call that has ended."""
    name = _name(result)
    return ToolCard(
        message_id=result.message,
        call_id=result.call_id,
        name=name,
        text=finished_text(name, result.status, result.bound or DEFAULT_BOUND),
        mark=_MARKS[result.status],
        state=result.status,
        duration_ms=result.duration_ms,
        parts=result.parts,
        retriable=result.retriable,
        result_id=result.id,
    )


def _name(item: Call | Result) -> str:
    return f"{item.server}.{item.tool}" if item.server else item.tool


def running_text(name: str) -> str:
    """Return what to show while the tool `server.tool` runs."""
    return f"Using {name}..."


def finished_text(name: str, status: CallStatus, timeout: float = DEFAULT_BOUND) -> str:
    """Return what to show when a call has ended. `timeout` is the bound it had, in seconds."""
    if status == "timed_out":
        return f"{name} timed out after {timeout:g}s"
    words = {
        "completed": "completed",
        "failed": "failed",
        "denied": "denied",
        "interrupted": "interrupted",
    }
    return f"{name} {words[status]}"
