"""What the engine did, for the log: who, what and how it ended, never what was said."""

import logging
from typing import Any

from patina.model import events
from patina.model.faults import Failure

_log = logging.getLogger("patina.engine")


def log_event(event: events.AnyEvent) -> None:
    """Log `event` if it tells of the course of things. Failures are warnings."""
    match event:
        case events.TurnStarted():
            _write("turn started", event, model=f"{event.provider}/{event.model}")
        case events.TurnEnded():
            used = event.usage
            tokens = {"input_tokens": used.input_tokens, "output_tokens": used.output_tokens}
            _write("turn ended", event, event.error, stop_reason=event.stop_reason, **tokens)
        case events.ReplyRetrying():
            _write("request is sent again", event, event.error, wait=event.wait)
        case events.PermissionDecided():
            _write("call decided", event, choice=event.item.choice, rule=event.item.rule)
        case events.ToolFinished():
            item = event.item
            tool = f"{item.server}.{item.tool}"
            took = item.duration_ms
            _write("call ended", event, tool=tool, status=item.status, duration_ms=took)
        case events.ServerChanged():
            level = logging.WARNING if event.state == "error" else logging.INFO
            facts: dict[str, Any] = {"server": event.server, "state": event.state}
            _write("server changed", event, level=level, text=event.text, **facts)
        case events.ServerNotice():
            level = logging.INFO if event.level == "success" else logging.WARNING
            _write("server notice", event, level=level, server=event.server, text=event.text)
        case events.CommandFailed():
            _write("command failed", event, event.error, command=event.command)


def _write(
    what: str,
    event: events.AnyEvent,
    error: Failure | None = None,
    *,
    level: int = logging.INFO,
    **facts: Any,  # noqa: ANN401 - plain JSON
) -> None:
    if error is not None:
        level = logging.WARNING
        facts |= {"kind": error.kind, "error": error.message, "status": error.status}
    _log.log(level, what, extra={"data": {"session_id": event.conversation, **facts}})
