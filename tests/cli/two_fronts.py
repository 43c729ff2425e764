"""A program for a terminal: asks a question, and answers its permission itself, from elsewhere.

Its argument is the question. On SIGUSR1 a second front end answers.
"""

import signal
import sys

import anyio

from patina.assembly.app import App, open_app
from patina.cli.asking import Asking
from patina.cli.context import Context
from patina.cli.prompt import Prompt
from patina.cli.running import setup_of
from patina.cli.sinks import TextSink
from patina.model.commands import AnswerPermission
from patina.model.events import PermissionAsked


async def main(question: str) -> int:
    """Ask, and return the exit code."""
    code = 1
    with anyio.fail_after(60):
        async with open_app(setup_of(Context())) as app:
            asking = Asking(app, Prompt(text=question), TextSink(stream=True, quiet=False))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_answer, app, asking.result.session_id)
                code = await asking.run()
    return code


async def _answer(app: App, conversation: str) -> None:
    with (
        anyio.open_signal_receiver(signal.SIGUSR1) as signals,
        app.engine.subscribe(conversation) as events,
    ):
        async for event in events:
            if isinstance(event, PermissionAsked):
                await anext(signals)
                app.engine.submit(
                    AnswerPermission(
                        conversation=conversation, ask_id=event.item.id, choice="allow_once"
                    )
                )
                return


if __name__ == "__main__":
    sys.exit(anyio.run(main, sys.argv[1]))
