"""From the flags of a command to a running app, and from its end to an exit code."""

import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar, cast

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from patina.assembly.app import App, Setup, open_app
from patina.assembly.local import with_local_providers
from patina.cli.asking import Asking
from patina.cli.context import Context
from patina.cli.errors import show_failure
from patina.cli.prompt import Prompt
from patina.cli.result import AskResult
from patina.cli.secret_values import learn_secrets
from patina.cli.signals import Signals
from patina.cli.sinks import EventsSink, JsonSink, Sink, TextSink
from patina.cli.space import warn_of_space
from patina.cli.tty import anybody
from patina.model.chat import split_tool_name
from patina.model.faults import Fault, UsageFault
from patina.permission.approvals import Approvals, parse_approvals
from patina.views.terminal_text import safe_text

T = TypeVar("T")


def setup_of(run: Context, approve: str = "ask", *, save: bool = True) -> Setup:
    """Return what an app of this command is built from. Raises `Fault`s of flags and settings."""
    approvals = parse_approvals(approve)
    configured = run.load()
    learn_secrets(run, configured)
    _check_names(approvals, configured.settings.mcp_servers)
    run.unlock()
    if save:
        warn_of_space(run.paths.data)
    return Setup(
        configured=configured,
        paths=run.paths,
        environ=run.environment.process,
        keys=run.resolver,
        network=run.network,
        approvals=approvals,
        offline=run.offline,
        save=save,
        reload=run.reload,
        mask=run.redactor.known,
        grants=run.grants,
        present=anybody,
    )


def _check_names(approvals: Approvals, servers: Collection[str]) -> None:
    """Raise `UsageFault` where an approval names a server that is not there: a slip of the pen."""
    named = approvals.start | {split_tool_name(tool)[0] for tool in approvals.tools}
    for name in sorted(named - set(servers)):
        raise UsageFault(
            f"--approve names the MCP server {name}, which is not configured.",
            hint=f"Configured are: {', '.join(servers) or 'none'}.",
        )


def run_app(
    setup: Setup,
    body: Callable[[App], Awaitable[T]],
    *,
    model: str = "",
    discover: bool | Literal["all"] = True,
    signals: Signals | None = None,
) -> T:
    """Run `body` in an app and return what it returns.

    `discover` says whether model servers of this machine are looked for where nothing is
    configured, or "all" of them in any case; `model` is the one that was asked for by name.
    `signals` are for the body to handle; what it does not handle ends the app.
    """
    ended: list[int] = []
    faults: list[Fault] = []
    signals = signals or Signals()

    async def main() -> T | None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_watch_end, signals, tasks.cancel_scope, ended)
            try:
                ready = setup
                if discover:
                    everything = discover == "all"
                    ready = await with_local_providers(setup, model, all_there_are=everything)
                async with open_app(ready) as app:
                    return await body(app)
            except Fault as fault:
                faults.append(fault)  # the task group would wrap it
            finally:
                tasks.cancel_scope.cancel()
        return None

    _collect_garbage()
    result = anyio.run(main)
    if faults:
        raise faults[0]
    if ended:
        raise SystemExit(128 + ended[0])
    return cast("T", result)


async def _watch_end(signals: Signals, scope: anyio.CancelScope, ended: list[int]) -> None:
    """Leave in good order, servers ended and transcripts whole, when a signal says so.

    One receiver until everything is closed: without it the system's own handling would end the
    process in the middle of that.
    """
    if sys.platform == "win32":
        return  # there Ctrl+C cancels the main task, which leaves in the same order
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as received:
        async for number in received:
            if not signals.handled(number):
                ended.append(number)
                scope.cancel()


@contextmanager
def open_in_thread(setup: Setup, model: str = "") -> Iterator[tuple[BlockingPortal, App]]:
    """Run an app in a thread of its own, so that this one may wait for a person to type.

    `model` is the one that was asked for by name.
    """

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    if sys.platform != "win32":
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, end)
    _collect_garbage()
    with start_blocking_portal("asyncio") as portal:
        ready = portal.call(with_local_providers, setup, model)
        with portal.wrap_async_context_manager(open_app(ready)) as app:
            yield portal, app


def _collect_garbage() -> None:
    """From here on there is some; the modules that are loaded are none, and never looked at."""
    gc.freeze()
    gc.enable()


def run_summary(run: Context, session: str, model: str | None) -> int:
    """Have a conversation's older messages summarised, print that, and return the exit code."""
    signals = Signals()

    async def body(app: App) -> int:
        prompt = Prompt(text="", session=session, model=model)
        sink = TextSink(stream=True, quiet=False)
        asking = Asking(app, prompt, sink, signals=signals)
        code = await asking.summarise()
        if asking.result.error is not None:
            return show_failure(asking.result.error, run)
        text = asking.result.summary
        print(safe_text(text) if sys.stdout.isatty() else text, flush=True)
        return code

    return run_app(setup_of(run), body, model=model or "", signals=signals)


def run_question(
    run: Context,
    prompt: Callable[[], Prompt],
    approve: str,
    *,
    style: Literal["text", "json", "events"],
    stream: bool = True,
    quiet: bool = False,
    save: bool = True,
) -> int:
    """Ask one question, show it in `style`, and return the exit code.

    In JSON a failure is the same object, whether it came before the question was asked or after.
    """
    sinks: dict[str, Callable[[], Sink]] = {
        "text": lambda: TextSink(stream=stream, quiet=quiet),
        "json": JsonSink,
        "events": EventsSink,
    }

    signals = Signals()

    async def body(app: App) -> int:
        asking = Asking(app, asked, sinks[style](), quiet=quiet, signals=signals)
        code = await asking.run()
        if style == "text" and asking.result.error is not None:
            sys.stdout.flush()
            show_failure(asking.result.error, run)
        return code

    try:
        asked = prompt()
        setup = setup_of(run, approve, save=save)
        return run_app(setup, body, model=asked.model or "", signals=signals)
    except Fault as fault:
        if style == "text":
            raise
        failed = AskResult("")
        failed.fail(fault.failure)
        sinks[style]().finish(failed, 0)
        return fault.exit_code
