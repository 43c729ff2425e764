"""Tools, resources and prompts of servers with secrets masked: before anybody is shown them."""

from collections.abc import Mapping
from typing import Any

from patina.engine.estimate import server_costs
from patina.mcp.features import ServerFeatures
from patina.mcp.hosting import PutBlob
from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.model.chat import ToolInfo, ToolOutcome
from patina.model.masking import Mask, masked, masked_bytes, masked_json
from patina.model.parts import Spoken
from patina.ports.dialog import Dialog
from patina.ports.features import Completion, Content, PromptInfo, ResourceInfo, TemplateInfo


class MaskedToolset(Toolset):
    """The tools of the servers of `supervisor`; what they say passes `mask`."""

    def __init__(self, supervisor: Supervisor, mask: Mask) -> None:
        super().__init__(supervisor)
        self._mask = mask

    async def list(self, servers: tuple[str, ...] | None) -> tuple[ToolInfo, ...]:
        """As `Toolset.list`."""
        return masked_json(await super().list(servers), self._mask)

    async def call(
        self, tool: ToolInfo, arguments: Mapping[str, Any], dialog: Dialog | None = None
    ) -> ToolOutcome:
        """As `Toolset.call`."""
        return masked(await super().call(tool, arguments, dialog), self._mask)

    async def resume(
        self, tool: ToolInfo, task_id: str, dialog: Dialog | None = None
    ) -> ToolOutcome:
        """As `Toolset.resume`."""
        return masked(await super().resume(tool, task_id, dialog), self._mask)


class MaskedFeatures(ServerFeatures):
    """What the servers of `supervisor` offer beside tools; what they say passes `mask`."""

    def __init__(self, supervisor: Supervisor, tools: Toolset, mask: Mask) -> None:
        super().__init__(supervisor, tools, server_costs)
        self._mask = mask

    async def resources(
        self, servers: tuple[str, ...] | None, *, refresh: bool = False
    ) -> tuple[ResourceInfo, ...]:
        """As `Features.resources`."""
        return masked(await super().resources(servers, refresh=refresh), self._mask)

    async def templates(
        self, servers: tuple[str, ...] | None, *, refresh: bool = False
    ) -> tuple[TemplateInfo, ...]:
        """As `Features.templates`."""
        return masked(await super().templates(servers, refresh=refresh), self._mask)

    async def prompts(
        self, servers: tuple[str, ...] | None, *, refresh: bool = False
    ) -> tuple[PromptInfo, ...]:
        """As `Features.prompts`."""
        return masked(await super().prompts(servers, refresh=refresh), self._mask)

    async def read(
        self, server: str, uri: str, dialog: Dialog | None = None
    ) -> tuple[Content, ...]:
        """As `Features.read`."""
        return masked(await super().read(server, uri, dialog), self._mask)

    async def prompt(
        self, server: str, name: str, arguments: dict[str, str], dialog: Dialog | None = None
    ) -> tuple[Spoken, ...]:
        """As `Features.prompt`."""
        return masked(await super().prompt(server, name, arguments, dialog), self._mask)

    async def complete(
        self,
        server: str,
        *,
        argument: str,
        value: str,
        prompt: str = "",
        template: str = "",
        known: dict[str, str] | None = None,
    ) -> Completion:
        """As `Features.complete`."""
        found = await super().complete(
            server, argument=argument, value=value, prompt=prompt, template=template, known=known
        )
        return masked(found, self._mask)


def masked_blobs(put_blob: PutBlob, mask: Mask) -> PutBlob:
    """Return `put_blob` for files of servers: with what is secret in them masked."""

    async def put(content: bytes) -> str:
        return await put_blob(masked_bytes(content, mask))

    return put
