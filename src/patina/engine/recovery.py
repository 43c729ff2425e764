"""What a crash left open is closed, the same way as an interruption would have closed it."""

from collections.abc import Iterable
from typing import Final

from patina.engine.context import INTERRUPTED
from patina.engine.recorder import Recorder
from patina.model.chat import split_tool_name
from patina.model.items import Note, Result
from patina.model.parts import Text, ToolCall
from patina.views.tool_card import finished_text

CRASHED: Final = "Patina stopped while it was open."


async def close_partial(recorder: Recorder) -> None:
    """Write the answer that a crash cut off, as far as its checkpoints kept it, and say so.

    An answer of which nothing was kept leaves only the note.
    """
    partial = recorder.tree.partial()
    if partial is None:
        return
    note = Note(
        **recorder.keys(),
        level="warning",
        text="Patina stopped while this answer was being written.",
        hint="What was received is kept. Send a message to go on.",
    )
    await recorder.write(*((partial,) if partial.parts else ()), note)


async def close_calls(
    recorder: Recorder, message_id: str, calls: Iterable[ToolCall], why: str
) -> None:
    """Give every call of a message the result "interrupted", unless it has one.

    Providers refuse a call that hangs.
    """
    for call in calls:
        if (message_id, call.id) in recorder.tree.results:
            continue
        server, tool = split_tool_name(call.name)
        result = Result(
            **recorder.keys(),
            message=message_id,
            call_id=call.id,
            server=server,
            tool=tool,
            status="interrupted",
            parts=(Text(f"{INTERRUPTED} {why}"),),
        )
        await recorder.write(result, text=finished_text(call.name, "interrupted"))
