"""The words of a tool call's states, the same in every front end (A-26 to A-29)."""

from patina.model.items import CallStatus


def running_text(name: str) -> str:
    """Return what to show while the tool `server.tool` runs."""
    return f"Using {name}..."


def finished_text(name: str, status: CallStatus, timeout: float = 30.0) -> str:
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
