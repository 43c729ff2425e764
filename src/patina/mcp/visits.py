"""Visits to pages that a server needs before it can do what it is asked."""

from typing import Final

import anyio
from anyio.abc import TaskGroup

from patina.model.questions import Asked
from patina.ports.dialog import Dialog

_DONE: Final = "Is the visit to that page done? The call is made again then."


async def visited(dialog: Dialog, page: Asked, done: anyio.Event | None = None) -> bool:
    """Have a person visit `page` and wait for the end of it; whether they did.

    `done` is set when the server tells of the end.
    """
    answered = await dialog.ask(page)
    return answered.action == "accept" and await finished(dialog, done or anyio.Event())


async def finished(dialog: Dialog, done: anyio.Event) -> bool:
    """Wait for the end of a visit: the server tells of it, or the person says so.

    The server need not tell (2025-11-25: "notifications/elicitation/complete" is a MAY).
    """
    said_so = False

    async def ask(tasks: TaskGroup) -> None:
        nonlocal said_so
        question = Asked(kind="form", text=_DONE, form={"type": "object"})
        answered = await dialog.ask(question)
        said_so = answered.action == "accept"
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, tasks)
        await done.wait()
        tasks.cancel_scope.cancel()
    return said_so or done.is_set()
