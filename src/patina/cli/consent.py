"""What a person must see before a local server's first start."""

from patina.mcp.trust import StartPlan


def start_text(plan: StartPlan) -> str:
    """Return the whole command, its folder, names of variables, and what looks dangerous."""
    lines = [
        f"The MCP server {plan.server} was never started here. It would run, as you:",
        f"  command    {plan.command}",
        f"  program    {plan.binary or 'not found'}",
        f"  folder     {plan.cwd}",
        f"  variables  {', '.join(plan.env_names) or 'none of its own'}",
        *(f"  warning    {warning}" for warning in plan.warnings),
    ]
    return "\n".join(lines)
