"""What a person must see before a local server's first start, and the question itself."""

import sys

from patina.assembly.app import App
from patina.cli.tty import Person
from patina.mcp.trust import StartPlan
from patina.model.faults import PermissionFault
from patina.views.terminal_text import safe_text


def start_text(plan: StartPlan) -> str:
    """Return the whole command, its folder, names of variables, and what looks dangerous."""
    state = "was never allowed to start as it is now. It would run"
    if plan.trusted:
        state = "is allowed to start. It runs"
    lines = [
        f"The MCP server {plan.server} {state}, as you:",
        f"  command    {plan.command}",
        f"  program    {plan.binary or 'not found'}",
        f"  folder     {plan.cwd}",
        f"  variables  {', '.join(plan.env_names) or 'none of its own'}",
        *(f"  warning    {warning}" for warning in plan.warnings),
    ]
    return "\n".join(lines)


async def allow_start(app: App, server: str, person: Person) -> bool:
    """Ask `person` whether `server` may be started; a yes is kept. Raises `StoreFault`.

    A yes is to what was shown: where the configuration changed meanwhile, it is asked again.
    """
    trust = app.supervisor.trust
    while True:
        plan, key = trust.describe(server), trust.key(server)
        sys.stderr.write(f"\n{safe_text(start_text(plan))}\n")
        if not await person.confirm("Allow it to start?"):
            return False
        if trust.key(server) == key:
            trust.trust(server)
            return True
        sys.stderr.write("\nIts configuration was changed meanwhile.\n")


async def need_start(app: App, server: str) -> None:
    """Return where `server` may be started; ask a person first where that is all it lacks.

    Raises as `Supervisor.startable`.
    """
    try:
        app.supervisor.startable(server)
    except PermissionFault:
        person = Person()
        if not person.present or not await allow_start(app, server, person):
            raise
