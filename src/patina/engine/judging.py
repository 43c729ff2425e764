"""What the gate is asked about a call: the call itself, and what the conversation holds by then."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from patina.engine.services import Services
from patina.model.chat import ToolInfo
from patina.model.items import Message, Result
from patina.model.settings import ServerSettings
from patina.model.tree import Tree
from patina.ports.permission import Case, Verdict, grant


class Flow(Struct, frozen=True):
    """What a model has read: data of a server marked private, content that anyone may have
    written.
    """

    private: bool = False
    untrusted: bool = False


def flow_of(
    tree: Tree, servers: Mapping[str, ServerSettings], find: Callable[[str], ToolInfo | None]
) -> Flow:
    """Return what the results of the active branch brought, those in a summary too, and what the
    user put in of servers.

    A server that does not say is untrusted where the tool claims to reach the open world.
    """
    private = untrusted = False
    seen: set[tuple[str, str]] = set()
    for item in tree.path():
        if isinstance(item, Message):
            for server in item.sources:
                settings = servers.get(server, ServerSettings())
                private = private or settings.private
                untrusted = untrusted or settings.untrusted is True
            continue
        if not isinstance(item, Result) or item.status not in ("completed", "failed"):
            continue
        if not item.parts or (item.server, item.tool) in seen:
            continue
        seen.add((item.server, item.tool))
        settings = servers.get(item.server, ServerSettings())
        private = private or settings.private
        if settings.untrusted is None:
            tool = find(f"{item.server}.{item.tool}")
            untrusted = untrusted or (tool is not None and tool.open_world is True)
        else:
            untrusted = untrusted or settings.untrusted
    return Flow(private, untrusted)


class Judge:
    """Asks the gate. `granted` holds this session's grants of the conversation."""

    def __init__(self, services: Services, granted: set[str]) -> None:
        self._services = services
        self._granted = granted
        self._flow = Flow()

    def look(self, tree: Tree) -> None:
        """See what the conversation holds now; for the verdicts that follow."""
        services = self._services
        self._flow = flow_of(tree, services.servers(), services.tools.find)

    def verdict(self, tool: ToolInfo, arguments: Mapping[str, Any]) -> Verdict:
        """Decide about one call."""
        return self._services.gate.decide(
            Case(
                tool=tool,
                arguments=arguments,
                today=self._services.clock.now()[:10],
                granted=frozenset(self._granted),
                private=self._flow.private,
                untrusted=self._flow.untrusted,
            )
        )

    def grant(self, tool: ToolInfo) -> None:
        """Allow a tool, as it is defined now, for this session in this conversation."""
        self._granted.add(grant(tool))
