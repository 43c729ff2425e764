"""A tool call by hand: the same check, gate, time-out and words as a model's call."""

from collections.abc import Sequence
from typing import Any

import anyio
import click
import msgspec

from patina.assembly.app import App
from patina.cli.output import print_json
from patina.cli.tty import Person
from patina.model.chat import ToolInfo, ToolOutcome
from patina.model.faults import EXIT_ERROR, EXIT_OK, McpFault, PermissionFault, UsageFault
from patina.model.ids import new_id
from patina.model.items import Ask
from patina.model.parts import Text, text_of
from patina.ports.permission import AskUser, Deny
from patina.views.terminal_text import safe_text
from patina.views.tool_card import finished_text


async def call_tool(
    app: App,
    server: str,
    tool: str,
    values: Sequence[str],
    json_text: str | None,
    *,
    as_json: bool,
) -> int:
    """Call a tool, print its result, and return the exit code. Raises `Fault`s."""
    info = await _find(app, server, tool)
    text = json_text if json_text is not None else _arguments(info, values)
    try:
        arguments = app.tools.check(info, text)
    except McpFault as fault:
        hint = f"`patina mcp tools {server} --json` shows the schema."
        raise UsageFault(str(fault), hint=fault.failure.hint or hint) from None
    await _allow(app, info, text)
    await app.tools.ready(info)
    outcome: ToolOutcome | None = None
    with anyio.move_on_after(info.timeout):
        outcome = await app.tools.call(info, arguments)
    if outcome is None:
        raise McpFault(
            f"{finished_text(info.name, 'timed_out', info.timeout)}.",
            hint=f"Give it more time: patina mcp edit {server} --tool-timeout 120",
        )
    if as_json:
        status = "failed" if outcome.is_error else "completed"
        print_json({"server": server, "tool": tool, "status": status, "parts": outcome.parts})
    else:
        for part in outcome.parts:
            words = text_of((part,)) if isinstance(part, Text) else f"[{part.media_type}]"
            click.echo(safe_text(words))
    return EXIT_ERROR if outcome.is_error else EXIT_OK


async def _find(app: App, server: str, tool: str) -> ToolInfo:
    app.supervisor.settings(server)
    name = f"{server}.{tool}"
    await app.tools.list((server,))
    info = app.tools.find(name)
    if info is None:  # it may have learned new tools since
        await app.tools.refresh((server,))
        info = app.tools.find(name)
    if info is None:
        raise UsageFault(
            f"{server} offers no tool {tool}.", hint=f"`patina mcp tools {server}` lists them."
        )
    return info


def _arguments(info: ToolInfo, values: Sequence[str]) -> str:
    """Return KEY=VALUE pairs as JSON text, each value by the type that the schema gives it."""
    properties = info.schema.get("properties", {})
    arguments: dict[str, Any] = {}
    for pair in values:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageFault(f"{pair} is not KEY=VALUE.", hint="Or give all with --args JSON.")
        schema = properties.get(key)
        arguments[key] = _typed(value, schema.get("type") if isinstance(schema, dict) else None)
    return msgspec.json.encode(arguments).decode()


def _typed(value: str, kind: object) -> Any:  # noqa: ANN401 - whatever JSON the schema wants
    if kind in (None, "string"):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value  # the schema check says what was expected


async def _allow(app: App, info: ToolInfo, text: str) -> None:
    """Pass the gate, or raise `PermissionFault`."""
    gate, now = app.gate, app.clock.now()
    verdict = gate.decide(info, msgspec.json.decode(text), frozenset(), now[:10])
    if isinstance(verdict, Deny):
        raise PermissionFault(verdict.reason, hint=f"{verdict.rule} decides so.")
    if not isinstance(verdict, AskUser):
        return
    person = Person()
    if not person.present:
        raise PermissionFault(
            f"{info.name} needs an answer and nobody is here to give one.",
            hint=f"Allow it with --approve {info.name}.",
        )
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
    )
    if await person.decide(ask) == "deny":
        raise PermissionFault(f"{info.name} was denied.")
