"""From the flags of a command to a running app, and from its end to an exit code."""

import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from patina.assembly.app import App, Setup, open_app
from patina.assembly.local import with_local_providers
from patina.cli.asking import Asking, Question
from patina.cli.context import Context
from patina.cli.errors import show_failure
from patina.cli.sinks import EventsSink, JsonSink, Sink, TextSink
from patina.permission.approvals import parse_approvals

T = TypeVar("T")


def setup_of(run: Context, approve: str = "ask", *, save: bool = True) -> Setup:
    """Return what an app of this command is built from. Raises `Fault`s of flags and settings."""
    approvals = parse_approvals(approve)
    return Setup(
        configured=run.load(),
        paths=run.paths,
        environ=run.environment.process,
        keys=run.resolver,
        network=run.network,
        approvals=approvals,
        offline=run.offline,
        save=save,
    )


def run_app(setup: Setup, body: Callable[[App], Awaitable[T]]) -> T:
    """Run `body` in an app and return what it returns."""

    async def main() -> T:
        async with open_app(await with_local_providers(setup)) as app:
            return await body(app)

    return anyio.run(main)


@contextmanager
def open_in_thread(setup: Setup) -> Iterator[tuple[BlockingPortal, App]]:
    """Run an app in a thread of its own, so that this one may wait for a person to type."""
    with start_blocking_portal("asyncio") as portal:
        ready = portal.call(with_local_providers, setup)
        with portal.wrap_async_context_manager(open_app(ready)) as app:
            yield portal, app


def run_question(
    run: Context,
    question: Question,
    approve: str,
    *,
    style: Literal["text", "json", "events"],
    stream: bool = True,
    quiet: bool = False,
    save: bool = True,
) -> int:
    """Ask one question, show it in `style`, and return the exit code."""
    sinks: dict[str, Callable[[], Sink]] = {
        "text": lambda: TextSink(stream=stream, quiet=quiet),
        "json": JsonSink,
        "events": EventsSink,
    }

    async def body(app: App) -> int:
        asking = Asking(app, question, sinks[style](), quiet=quiet)
        code = await asking.run()
        if style == "text" and asking.summary.error is not None:
            sys.stdout.flush()
            show_failure(asking.summary.error, run)
        return code

    return run_app(setup_of(run, approve, save=save), body)
