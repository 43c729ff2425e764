"""From the flags of a command to a running app, and from its end to an exit code."""

import gc
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


def run_app(
    setup: Setup, body: Callable[[App], Awaitable[T]], *, model: str = "", discover: bool = True
) -> T:
    """Run `body` in an app and return what it returns.

    `discover` says whether model servers of this machine are looked for where nothing is
    configured; `model` is the one that was asked for by name.
    """

    async def main() -> T:
        ready = await with_local_providers(setup, model) if discover else setup
        async with open_app(ready) as app:
            return await body(app)

    _collect_garbage()
    return anyio.run(main)


@contextmanager
def open_in_thread(setup: Setup, model: str = "") -> Iterator[tuple[BlockingPortal, App]]:
    """Run an app in a thread of its own, so that this one may wait for a person to type.

    `model` is the one that was asked for by name.
    """
    _collect_garbage()
    with start_blocking_portal("asyncio") as portal:
        ready = portal.call(with_local_providers, setup, model)
        with portal.wrap_async_context_manager(open_app(ready)) as app:
            yield portal, app


def _collect_garbage() -> None:
    """From here on there is some; the modules that are loaded are none, and never looked at."""
    gc.freeze()
    gc.enable()


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

    return run_app(setup_of(run, approve, save=save), body, model=question.model or "")
