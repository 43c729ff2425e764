"""`patina mcp review`: what changed in the tools of a server, before it may be used."""

import sys
from typing import TYPE_CHECKING, Any

import click

from patina.cli.context import context
from patina.cli.output import print_json, use_color
from patina.cli.tty import Person
from patina.model.faults import EXIT_ERROR, EXIT_OK
from patina.views.terminal_text import safe_line, safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from patina.assembly.app import App
    from patina.mcp.definitions import Definition
    from patina.mcp.review import Difference, Line, Review

_GONE, _COME, _PLAIN = "\x1b[9;31m", "\x1b[32m", "\x1b[0m"


@click.command()
@click.argument("server")
@click.option("--accept", is_flag=True, help="Accept what is shown: its tools may be used again.")
@click.option("--approve", default="ask", metavar="LIST", help="start:SERVER starts it this once.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def review(ctx: click.Context, server: str, accept: bool, approve: str, as_json: bool) -> int:
    r"""Show what changed in the tools of SERVER since they were accepted.

    Tools that are new or changed are off until they are accepted, all of them where the server
    changed its instructions. Hidden characters are shown as escapes, suspicious names and texts
    are pointed out. Exits 1 where something waits and was not accepted.

    \b
    Examples:
      patina mcp review github
      patina mcp review github --accept
    """
    from patina.cli.running import run_app, setup_of

    run = context(ctx)

    async def body(app: "App") -> int:
        from patina.cli.mcp_call import listed
        from patina.mcp.lookout import review_of

        await listed(app, server, refresh=True)
        found = review_of(app.supervisor, server)
        if not as_json:
            colored = use_color(run.environment.process, sys.stdout)
            display = app.supervisor.settings(server).display_name or server
            print(safe_text(_text(display, server, found)))
            for difference in found.differences:
                print(_difference(difference, colored=colored))
        accepted = accept or (not as_json and found.waiting.any and await _confirmed())
        if accepted:
            app.supervisor.pins.accept(server, found.seen)  # what was shown, whatever came since
        if as_json:
            print_json(_object(server, found, accepted=accepted))
        elif found.waiting.any and not accepted:
            hint = f"It stays off until you accept it: patina mcp review {server} --accept"
            click.echo(safe_text(hint), err=True)
        return EXIT_OK if accepted or not found.waiting.any else EXIT_ERROR

    return run_app(setup_of(run, approve, save=False), body, discover=False)


def flags_by_tool(app: "App", server: str) -> "Mapping[str, list[str]]":
    """Return what is suspicious in the tools of `server`, by their names."""
    from patina.mcp.lookout import flags_of

    found: dict[str, list[str]] = {}
    for flag in flags_of(app.supervisor, server):
        found.setdefault(flag.tool, []).append(flag.text)
    return found


def hint(server: str, rows: "Sequence[Mapping[str, Any]]") -> None:
    """Say on stderr what of a listing of tools deserves a look."""
    if any(row["change"] for row in rows):
        what = "What nobody has seen since it was added or changed is off."
    elif any(row["flags"] for row in rows):
        what = "Something in it looks suspicious."
    else:
        return
    click.echo(safe_text(f"{what} See: patina mcp review {server}"), err=True)


async def _confirmed() -> bool:
    person = Person()
    return person.present and await person.confirm("Accept all of this?")


def _text(display: str, server: str, found: "Review") -> str:
    waiting = found.waiting
    what = [
        *_counted(waiting.changed, "changed", "changed"),
        *_counted(waiting.new, "is new", "are new"),
        *_counted(waiting.gone, "is gone", "are gone"),
    ]
    if waiting.instructions:
        what.append("its instructions changed, so all its tools are off")
    named = display if display == server else f"{display} ({server})"
    count = len(found.seen.tools)
    same = "1 tool, as it was accepted" if count == 1 else f"{count} tools, as they were accepted"
    lines = [f"{safe_line(named)}: {', '.join(what) or same}."]
    lines += [
        f"  suspicious  {safe_line(flag.tool) or 'instructions'}: {flag.text}"
        for flag in found.flags
    ]
    return "\n".join(lines)


def _counted(names: tuple[str, ...], one: str, many: str) -> list[str]:
    if not names:
        return []
    return [f"1 tool {one}" if len(names) == 1 else f"{len(names)} tools {many}"]


def _difference(difference: "Difference", *, colored: bool) -> str:
    from patina.mcp.text import visible

    title = visible(difference.tool) or "instructions"
    lines = [f"\n{title} {'is ' if difference.change != 'changed' else ''}{difference.change}"]
    return safe_or_colored(lines, difference.lines, colored=colored)


def safe_or_colored(lines: list[str], body: "tuple[Line, ...]", *, colored: bool) -> str:
    """Return `lines` and the difference below them; what went is struck where it is `colored`."""
    lines = [safe_text(line) for line in lines]
    for line in body:
        text = safe_text(f"  {line.mark} {line.text}".rstrip())
        code = {"-": _GONE, "+": _COME}.get(line.mark, "")
        lines.append(f"{code}{text}{_PLAIN}" if colored and code else text)
    return "\n".join(lines)


def _object(server: str, found: "Review", *, accepted: bool) -> dict[str, Any]:
    waiting = found.waiting
    return {
        "server": server,
        "waiting": waiting.any and not accepted,
        "accepted": accepted,
        "changes": [
            {
                "tool": difference.tool or None,
                "change": difference.change,
                "before": _plain(difference.before),
                "now": _plain(difference.now),
                "lines": [f"{line.mark}{line.text}" for line in difference.lines],
            }
            for difference in found.differences
        ],
        "flags": [
            {"kind": flag.kind, "tool": flag.tool or None, "text": flag.text}
            for flag in found.flags
        ],
    }


def _plain(what: "Definition | str | None") -> "Mapping[str, Any] | str | None":
    if what is None or isinstance(what, str):
        return what
    return {
        "name": what.name,
        "title": what.title,
        "description": what.description,
        "input_schema": what.schema,
        "output_schema": what.output_schema,
        "read_only": what.read_only,
        "destructive": what.destructive,
        "idempotent": what.idempotent,
        "open_world": what.open_world,
    }
