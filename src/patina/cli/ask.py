"""`patina ask`: one question, streamed to stdout."""

import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import click

from patina.cli.context import context
from patina.model.faults import UsageFault
from patina.model.ids import new_id
from patina.model.options import TurnOptions
from patina.model.parts import well_formed

Style = Literal["text", "json", "events"]
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    epilog="""\b
Examples:
  patina ask "What is a monad?"
  cat error.log | patina ask "What went wrong?" -m openai/gpt-5.2:high
  patina ask -c "And in Rust?" --json
  patina ask "Sort my notes" --mcp files --approve reads
  patina ask "Write a novel." --estimate
  patina ask "/everything:args-prompt city=Zurich"
  patina ask "What does it say?" --resource everything=demo://resource/dynamic/text/1"""
)
@click.argument("prompt", nargs=-1)
@click.option("-m", "--model", metavar="PROVIDER/MODEL", help="Which model; :EFFORT may follow.")
@click.option("-s", "--session", metavar="ID", help="Go on with this conversation.")
@click.option("-c", "--continue", "last", is_flag=True, help="Go on with the last conversation.")
@click.option("--fork", metavar="ID", help="Copy that conversation into a new one, then ask.")
@click.option("--system", metavar="TEXT", help="System prompt; stays until it is replaced.")
@click.option("-f", "--file", "files", multiple=True, type=_FILE, help="Attach text, image, PDF.")
@click.option(
    "--resource",
    "resources",
    multiple=True,
    metavar="SERVER=URI",
    help="Attach a resource of an MCP server.",
)
@click.option("--mcp", metavar="A,B", help="Offer the tools of these MCP servers only.")
@click.option("--no-tools", is_flag=True, help="Offer no tools.")
@click.option(
    "--approve",
    metavar="LIST",
    default="ask",
    help="ask, deny, reads, all, SERVER.TOOL, start:SERVER; comma-separated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
@click.option("--events", is_flag=True, help="Print every event as a line of JSON.")
@click.option("--no-stream", is_flag=True, help="Print the answer when it is whole.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors.")
@click.option("--max-turns", type=click.IntRange(1), metavar="N", help="Most model replies.")
@click.option("--temperature", type=click.FloatRange(0, 2), metavar="X", help="0 to 2.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="Longest answer.")
@click.option("--budget", metavar="USD", help="Send nothing that could make it cost more.")
@click.option("--estimate", is_flag=True, help="Say what it would cost; send nothing.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="S", help="Seconds.")
@click.option("--schema", type=_FILE, metavar="FILE", help="JSON Schema the answer has to fit.")
@click.option("--no-save", is_flag=True, help="Keep nothing of this conversation.")
@click.pass_context
def ask(
    ctx: click.Context,
    /,
    prompt: tuple[str, ...],
    model: str | None,
    session: str | None,
    last: bool,
    fork: str | None,
    system: str | None,
    files: tuple[Path, ...],
    resources: tuple[str, ...],
    approve: str,
    as_json: bool,
    events: bool,
    no_stream: bool,
    quiet: bool,
    estimate: bool,
    timeout: float | None,
    no_save: bool,
    **turn: Any,  # noqa: ANN401 - the flags of a turn: `_options` says what they are
) -> int:
    """Ask one question; the answer streams to stdout.

    Text that is piped in stands before PROMPT. /SERVER:NAME KEY=VALUE runs a prompt of a server.
    Without a terminal, a tool that needs an answer ends it with exit code 4 and the flag for it.
    """
    from patina.cli.prompt import Prompt
    from patina.cli.running import run_question

    def asked() -> Prompt:
        _only_one("--session, --continue, --fork and --no-save", session, last, fork, no_save)
        _only_one("--json and --events", as_json, events)
        text, slash, piped = _whole_prompt(prompt)
        return Prompt(
            text=text,
            slash=slash,
            piped=piped,
            files=files,
            resources=tuple(map(_resource, resources)),
            session=session or "",
            last=last,
            fork=fork or "",
            model=model,
            system=system,
            options=_options(**turn),
            timeout=timeout,
        )

    if estimate:
        from patina.cli.estimating import run_estimate

        return run_estimate(context(ctx), asked, approve, as_json=as_json, save=not no_save)
    style: Style = "json" if as_json else "events" if events else "text"
    run, stream, save = context(ctx), not no_stream, not no_save
    return run_question(run, asked, approve, style=style, stream=stream, quiet=quiet, save=save)


def _options(
    *,
    mcp: str | None,
    no_tools: bool,
    max_turns: int | None,
    temperature: float | None,
    max_tokens: int | None,
    budget: str | None,
    schema: Path | None,
) -> TurnOptions:
    """Return what the flags of the turn say. Raises `UsageFault`."""
    return TurnOptions(
        temperature=temperature,
        max_tokens=max_tokens,
        servers=_servers(mcp, no_tools=no_tools),
        max_replies=max_turns,
        budget=(amount := _amount(budget)),
        run="" if amount is None else new_id(),
        schema=_schema(schema),
    )


def _amount(budget: str | None) -> Decimal | None:
    """Return what `--budget` says, in USD. Raises `UsageFault`."""
    if budget is None:
        return None
    from patina.cli.limits import amount_of

    return amount_of(budget)


def _schema(path: Path | None) -> dict[str, Any] | None:
    """Return what `--schema` names. Raises `UsageFault`."""
    if path is None:
        return None
    from patina.cli.schema_file import read_schema

    return read_schema(path)


def _only_one(flags: str, *given: object) -> None:
    """Raise `UsageFault` where more than one of the flags was given."""
    if sum(map(bool, given)) > 1:
        raise UsageFault(f"Of {flags} only one can be given.")


def _servers(mcp: str | None, *, no_tools: bool) -> tuple[str, ...] | None:
    """Return the servers whose tools are offered; None is all. Raises `UsageFault`."""
    if mcp is None:
        return () if no_tools else None
    if no_tools:
        raise UsageFault("--mcp and --no-tools contradict each other.", hint="Choose one.")
    names = tuple(name.strip() for name in mcp.split(",") if name.strip())
    if not names:
        raise UsageFault("--mcp names no server.", hint="For no tools at all say --no-tools.")
    return names


def _resource(text: str) -> tuple[str, str]:
    """Return server and address. Raises `UsageFault`."""
    server, equals, uri = text.partition("=")
    if not (server and equals and uri):
        raise UsageFault(
            f"--resource {text} is not SERVER=URI.",
            hint="`patina mcp resources SERVER` lists them.",
        )
    return server, uri


def _whole_prompt(words: tuple[str, ...]) -> tuple[str, tuple[str, ...], str]:
    """Return piped text with the words of the command line after it; those words where they may be
    a prompt of a server; and the piped text alone.

    Raises `UsageFault` without any.
    """
    # What is no UTF-8 comes with halves of characters in it; no file and no endpoint takes them.
    prompt = well_formed(" ".join(words)).strip()
    piped = "" if sys.stdin is None or sys.stdin.isatty() else well_formed(sys.stdin.read()).strip()
    whole = f"{piped}\n\n{prompt}" if piped and prompt else piped or prompt
    if not whole:
        raise UsageFault(
            "There is nothing to ask.", hint='Say it: patina ask "…", or pipe text into it.'
        )
    return whole, words if prompt.startswith("/") else (), piped
