"""A tool call by hand: the same check, gate, time-out and words as a model's call."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from patina.assembly.app import App
from patina.cli.consent import need_start
from patina.cli.output import print_json
from patina.cli.resource_output import with_bytes
from patina.cli.signals import Signals
from patina.cli.signing_in import let_in
from patina.cli.terminal_dialog import NOTHING_GIVEN, Given, TerminalDialog, attended
from patina.cli.tty import Person
from patina.model.chat import ToolInfo, ToolOutcome
from patina.model.faults import (
    EXIT_ERROR,
    EXIT_OK,
    EXIT_PERMISSION,
    McpFault,
    PermissionFault,
    UsageFault,
)
from patina.model.ids import new_id
from patina.model.items import Ask
from patina.model.parts import Text, text_of
from patina.ports.permission import AskUser, Case, Deny
from patina.views.terminal_text import safe_text
from patina.views.tool_card import finished_text


async def listed(app: App, server: str, *, refresh: bool) -> Sequence[ToolInfo]:
    """Return the tools of `server`, from the cache where it was seen before.

    Raises what stands in the way of its start: `UsageFault`, `PermissionFault`, `McpFault`.
    """
    await need_start(app, server)
    if refresh or app.supervisor.definitions(server) is None:
        return await let_in(app, server, lambda: app.tools.refresh((server,)))
    return await app.tools.list((server,))


async def call_tool(
    app: App,
    server: str,
    tool: str,
    values: Sequence[str],
    json_text: str | None,
    *,
    as_json: bool,
    given: Given = NOTHING_GIVEN,
    signals: Signals | None = None,
) -> int:
    """Call a tool, print its result, and return the exit code. Raises `Fault`s.

    What the server asks meanwhile is answered by `given`, else by the person at the terminal.
    """
    info = await _find(app, server, tool)
    text = json_text if json_text is not None else _arguments(info, values)
    try:
        arguments = app.tools.check(info, text)
    except McpFault as fault:
        hint = f"`patina mcp tools {server} --json` shows the schema."
        raise UsageFault(str(fault), hint=hint) from None
    arguments = await _allow(app, info, text, arguments)
    began = time.monotonic()
    unanswered = False

    async def call(dialog: TerminalDialog) -> ToolOutcome:
        nonlocal unanswered
        outcome = await app.tools.call(info, arguments, dialog)
        unanswered = dialog.unanswered
        return outcome

    outcome = await attended(app, server, info.name, call, given=given, signals=signals)
    if as_json:
        took = int((time.monotonic() - began) * 1000)
        _print_object(info, arguments, outcome, await with_bytes(outcome.parts, app.journal), took)
    else:
        _print(info, outcome)
    if not outcome.is_error:
        return EXIT_OK
    return EXIT_PERMISSION if unanswered else EXIT_ERROR


def _print_object(
    info: ToolInfo,
    arguments: Mapping[str, Any],
    outcome: ToolOutcome,
    parts: list[dict[str, Any]],
    duration_ms: int,
) -> None:
    said = text_of(outcome.parts)
    failed = {"kind": "mcp", "message": finished_text(info.name, "failed"), "hint": said}
    print_json(
        {
            "server": info.server,
            "tool": info.tool,
            "arguments": arguments,
            "status": "failed" if outcome.is_error else "completed",
            "duration_ms": duration_ms,
            "result_text": said,
            "parts": parts,
            "error": failed if outcome.is_error else None,
        }
    )


def _print(info: ToolInfo, outcome: ToolOutcome) -> None:
    """Print the result: as it is into a pipe, harmless on a terminal."""
    for part in outcome.parts:
        words = text_of((part,)) if isinstance(part, Text) else f"[{part.media_type}]"
        print(safe_text(words) if sys.stdout.isatty() else words)
    if outcome.is_error:
        click.echo(safe_text(f"patina: {finished_text(info.name, 'failed')}."), err=True)


async def _find(app: App, server: str, tool: str) -> ToolInfo:
    name = f"{server}.{tool}"
    # Where its tools are not known yet, one start is enough to learn them.
    fresh = app.supervisor.definitions(server) is None
    tools = await listed(app, server, refresh=fresh)
    if not fresh and name not in {info.name for info in tools}:
        tools = await listed(app, server, refresh=True)  # it may have learned new ones since
    info = next((info for info in tools if info.name == name), None)
    if info is None:
        from difflib import get_close_matches

        close = get_close_matches(tool, [info.tool for info in tools], 1)
        question = f"Did you mean {close[0]}? " if close else ""
        raise UsageFault(
            f"{server} offers no tool {tool}.",
            hint=f"{question}`patina mcp tools {server}` lists them.",
        )
    return info


def _arguments(info: ToolInfo, values: Sequence[str]) -> str:
    """Return KEY=VALUE pairs as JSON text, each value by the type that the schema gives it."""
    properties = info.schema.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    arguments: dict[str, Any] = {}
    for pair in values:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageFault(f"{pair} is not KEY=VALUE.", hint="Or give all with --args JSON.")
        schema = known.get(key)
        arguments[key] = _typed(value, schema.get("type") if isinstance(schema, dict) else None)
    return msgspec.json.encode(arguments).decode()


def _typed(value: str, kind: object) -> Any:  # noqa: ANN401 - whatever JSON the schema wants
    if kind in (None, "string"):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value  # the schema check says what was expected


async def _allow(
    app: App, info: ToolInfo, text: str, arguments: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Pass the gate, or raise `PermissionFault`. Returns the arguments, as a person left them."""
    gate, now = app.gate, app.clock.now()
    verdict = gate.decide(Case(tool=info, arguments=arguments, today=now[:10]))
    if isinstance(verdict, Deny):
        raise PermissionFault(verdict.reason, hint=f"{verdict.rule} decides so.")
    if not isinstance(verdict, AskUser):
        return arguments
    person = Person()
    if not person.present:
        from patina.permission.approvals import flag_for

        flag = flag_for(info.name)
        raise PermissionFault(
            f"{info.name} needs an answer and nobody is here to give one.",
            hint=f"Allow it with {flag}." if flag else "Answer at a terminal.",
        )
    from patina.cli.question import PermissionQuestion
    from patina.views.permission import effects_of

    ask = Ask(
        id=new_id(),
        ts=now,
        message="",
        call_id="",
        server=info.server,
        tool=info.tool,
        arguments=text,
        display_name=info.display_name,
        options=("allow_once", "deny"),
        reason=verdict.reason,
        effects=effects_of(info),
    )
    said = await PermissionQuestion(app, person, app.setup.environ).put(ask)
    if said is None or said.choice == "deny":
        raise PermissionFault(f"{info.name} was denied.")
    if not said.arguments:
        return arguments
    changed = app.tools.check(info, said.arguments)
    verdict = gate.decide(Case(tool=info, arguments=changed, today=now[:10]))
    if isinstance(verdict, Deny):
        raise PermissionFault(verdict.reason, hint=f"{verdict.rule} decides so.")
    return changed
