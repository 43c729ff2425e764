"""What `--approve` says: answers that the user gives in advance, for one run."""

from typing import Final

from msgspec import Struct

from patina.model.chat import ToolInfo, split_tool_name
from patina.model.faults import UsageFault
from patina.ports.permission import Allow

MODES: Final = ("ask", "deny", "reads", "all")
START: Final = "start:"


class Approvals(Struct, frozen=True):
    """`every` and `reads` allow all tools or those that claim to only read; `deny` denies what
    would be asked; `tools` are `server.tool` names; `start` servers whose first start is allowed.
    """

    every: bool = False
    reads: bool = False
    deny: bool = False
    tools: frozenset[str] = frozenset()
    start: frozenset[str] = frozenset()

    def verdict(self, tool: ToolInfo) -> Allow | None:
        """Return the approval that covers `tool`, if any."""
        if self.every:
            return Allow("--approve all")
        if tool.name in self.tools:
            return Allow(f"--approve {tool.name}")
        if self.reads and tool.read_only is True:
            return Allow("--approve reads")
        return None


def parse_approvals(text: str) -> Approvals:
    """Return what a comma-separated `--approve` value says. Raises `UsageFault`."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    start = {word for word in words if word.startswith(START) and word != START}
    tools = {word for word in words if all(split_tool_name(word)) and not word.startswith(START)}
    for word in words:
        if word not in (*MODES, *tools, *start):
            raise UsageFault(
                f"--approve {word} is not understood.",
                hint="Say ask, deny, reads, all, SERVER.TOOL or start:SERVER, separated by commas.",
            )
    if "deny" in words and ("all" in words or "reads" in words):
        raise UsageFault("--approve cannot both allow and deny.", hint="Leave one of them out.")
    return Approvals(
        every="all" in words,
        reads="reads" in words,
        deny="deny" in words,
        tools=frozenset(tools),
        start=frozenset(word.removeprefix(START) for word in start),
    )


def flag_for(tool: str) -> str:
    """Return the flag that allows the tool `tool` ("server.tool") and nothing else, as a shell
    takes it; "" where none does.

    The name is its server's: with a comma it would read as several approvals.
    """
    import shlex  # late: only where nobody is there to answer

    try:
        means = parse_approvals(tool)
    except UsageFault:
        return ""
    alone = means == Approvals(tools=frozenset({tool})) and tool.isprintable()
    return f"--approve {shlex.quote(tool)}" if alone else ""
