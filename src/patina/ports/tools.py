"""Tools a model may call."""

from collections.abc import Mapping
from typing import Any, Protocol

from patina.model.chat import ToolInfo, ToolOutcome
from patina.ports.dialog import Dialog


class Tools(Protocol):
    """The tools of all servers, by `server.tool`."""

    async def list(self, servers: tuple[str, ...] | None) -> tuple[ToolInfo, ...]:
        """Return the tools of `servers` (None: of all enabled ones), in a stable order.

        Bounded: a server that is not ready in time is left out. A name in `servers` that is not
        configured raises `UsageFault`; one that needs consent first raises `PermissionFault`.
        """

    def find(self, name: str) -> ToolInfo | None:
        """Return the tool with the alias or the `server.tool` name `name`, as last listed."""

    def check(self, tool: ToolInfo, arguments: str) -> Mapping[str, Any]:
        """Return the arguments in the JSON text. Raises `McpFault` if the schema forbids them."""

    async def ready(self, tool: ToolInfo) -> None:
        """Have the tool's server connected, however long it may take to start. Bounded.

        Raises `McpFault` where it cannot be. Apart from `call`, so that the time a server needs
        to start does not count against the tool.
        """

    async def call(
        self, tool: ToolInfo, arguments: Mapping[str, Any], dialog: Dialog | None = None
    ) -> ToolOutcome:
        """Run a tool and return what it said. Without `dialog`, what the server asks is refused.

        Raises `McpFault` where the server cannot be reached, died, or answered with a JSON-RPC
        error, whose number is then the fault's code. Cancelling tells the server.
        """

    async def resume(
        self, tool: ToolInfo, task_id: str, dialog: Dialog | None = None
    ) -> ToolOutcome:
        """Wait for the end of a task that a call began before a restart, and return what it said.

        Raises as `call`, and `McpFault` where the server knows nothing of the task any more.
        """
