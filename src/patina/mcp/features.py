"""What servers offer beside tools, behind one port: resources, prompts, completion."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Final, TypeVar

import anyio

from patina.mcp.definitions import Offers
from patina.mcp.failing import Forgotten, fault, sign_in_fault
from patina.mcp.patience import Patience
from patina.mcp.results import parts_of, resource_part
from patina.mcp.supervisor import Supervisor
from patina.mcp.text import shortened, visible
from patina.mcp.toolset import Toolset
from patina.model.chat import ToolInfo
from patina.model.faults import Fault, McpFault
from patina.model.parts import Spoken
from patina.ports.dialog import Dialog
from patina.ports.features import Completion, Content, PromptInfo, ResourceInfo, TemplateInfo

if TYPE_CHECKING:
    from patina.mcp.sdk import Session

# How long a server that was just connected may take to list what it offers.
LIST_WAIT: Final = 3.0
MOST_VALUES: Final = 100
R = TypeVar("R")
Measure = Callable[[Iterable[ToolInfo]], dict[str, int]]


class ServerFeatures:
    """Implements `ports.features.Features` over the servers of `supervisor`, those of `tools`.

    `measure` returns, by server, the tokens that tools cost a request.
    """

    def __init__(self, supervisor: Supervisor, tools: Toolset, measure: Measure) -> None:
        self._supervisor = supervisor
        self._tools = tools
        self._measure = measure

    async def resources(
        self, servers: tuple[str, ...] | None, *, refresh: bool = False
    ) -> tuple[ResourceInfo, ...]:
        """As `Features.resources`."""
        offers = await self._offers(servers, refresh=refresh)
        return tuple(info for one in offers for info in one.resources)

    async def templates(
        self, servers: tuple[str, ...] | None, *, refresh: bool = False
    ) -> tuple[TemplateInfo, ...]:
        """As `Features.templates`."""
        offers = await self._offers(servers, refresh=refresh)
        return tuple(info for one in offers for info in one.templates)

    async def prompts(
        self, servers: tuple[str, ...] | None, *, refresh: bool = False
    ) -> tuple[PromptInfo, ...]:
        """As `Features.prompts`."""
        offers = await self._offers(servers, refresh=refresh)
        return tuple(info for one in offers for info in one.prompts)

    async def _offers(self, servers: tuple[str, ...] | None, *, refresh: bool) -> list[Offers]:
        """Return what each of `servers` offers, of all at once.

        Of one that was named alone the fault is raised; of several, those that fail are left out.
        """
        for name in servers or ():
            self._supervisor.settings(name)
        alone = servers is not None and len(servers) == 1
        chosen = servers if servers is not None and alone else self._tools.chosen(servers)
        found: dict[str, Offers | Fault | None] = dict.fromkeys(chosen)

        async def ask(server: str) -> None:
            try:
                found[server] = await self._offer(server, named=servers is not None, afresh=refresh)
            except Fault as wrong:
                found[server] = wrong

        async with anyio.create_task_group() as tasks:
            for server in chosen:
                tasks.start_soon(ask, server)
        if alone:
            for one in found.values():
                if isinstance(one, Fault):
                    raise one
        return [one for one in found.values() if isinstance(one, Offers)]

    async def _offer(self, server: str, *, named: bool, afresh: bool) -> Offers | None:
        supervisor = self._supervisor
        if afresh:
            await supervisor.connect(server)
            await supervisor.use(server, lambda its: its.offering.refresh())
            return supervisor.offers(server)
        known = supervisor.offers(server)
        if known is None and (named or supervisor.connected(server)):
            self._untroubled(server)
            await supervisor.connect(server)
            await supervisor.use(server, lambda its: its.offering.known(LIST_WAIT))
            known = supervisor.offers(server)
        return known

    def _untroubled(self, server: str) -> None:
        """Raise what is wrong with a server that was tried just now: once is enough."""
        supervisor = self._supervisor
        if supervisor.connected(server):
            return
        supervisor.startable(server)
        status = next(one for one in supervisor.status() if one.server == server)
        if status.wants_sign_in:
            raise sign_in_fault(server)
        if status.state in ("error", "starting", "reconnecting"):
            raise McpFault(
                f"Server {server} is not connected: {status.text.removesuffix('.')}.",
                hint=f"`patina mcp test {server}` says more.",
            )

    async def read(
        self, server: str, uri: str, dialog: Dialog | None = None
    ) -> tuple[Content, ...]:
        """As `Features.read`."""
        named = f"the resource {shortened(visible(uri), 200)}"
        told = await self._ask(
            server,
            lambda session, its: session.read(uri, its),
            f"give {named}",
            f"it was to give {named}",
            dialog,
        )
        put_blob = self._supervisor.put_blob
        return tuple(
            [
                Content(
                    uri=content.uri,
                    part=await resource_part(content, put_blob),
                    media_type=content.mime_type or "",
                )
                for content in told.contents
            ]
        )

    async def prompt(
        self, server: str, name: str, arguments: dict[str, str], dialog: Dialog | None = None
    ) -> tuple[Spoken, ...]:
        """As `Features.prompt`."""
        named = f"the prompt {shortened(visible(name), 100)}"
        told = await self._ask(
            server,
            lambda session, its: session.prompt(name, arguments, its),
            f"run {named}",
            f"it ran {named}",
            dialog,
        )
        if not told.messages:
            raise fault(server, f"ran {named}, and it says nothing")
        put_blob = self._supervisor.put_blob
        return tuple(
            [
                Spoken(message.role, await parts_of([message.content], None, put_blob))
                for message in told.messages
            ]
        )

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
        told = await self._ask(
            server,
            lambda session, _: session.completed(
                argument, value, prompt=prompt, template=template, known=known or {}
            ),
            "complete an argument",
            "it was to complete an argument",
        )
        if told is None:
            return Completion()
        return Completion(values=tuple(told.values[:MOST_VALUES]), total=told.total)

    async def subscribe(self, server: str, uri: str) -> None:
        """As `Features.subscribe`. It lasts, over reconnects, until `unsubscribe`."""
        await self._supervisor.connect(server)
        await self._supervisor.use(server, lambda its: its.subscribe(uri, on=True))

    async def unsubscribe(self, server: str, uri: str) -> None:
        """As `Features.unsubscribe`."""
        await self._supervisor.connect(server)
        await self._supervisor.use(server, lambda its: its.subscribe(uri, on=False))

    def costs(self) -> dict[str, int]:
        """As `Features.costs`, of the servers that are known."""
        return self._measure(self._tools.known())

    async def _ask(
        self,
        server: str,
        deed: "Callable[[Session, Dialog | None], Awaitable[R]]",
        verb: str,
        meanwhile: str,
        dialog: Dialog | None = None,
    ) -> R:
        """Return what `deed` gets; where the server had forgotten the session, the second time.

        The server has as long as a tool may take, the time of people apart.
        """
        patience = Patience(dialog, self._supervisor.settings(server).tool_timeout)
        its = patience if dialog is not None else None
        again = True
        refusals = self._supervisor.signing.call(server, its)
        with patience.scope:
            while True:
                try:
                    await patience.aside(self._supervisor.connect(server))
                    return await self._supervisor.use(
                        server,
                        lambda connection: connection.use(
                            lambda session: deed(session, its), verb, meanwhile
                        ),
                    )
                except Forgotten:
                    if not again:
                        raise
                    again = False
                except McpFault as refusal:
                    if not await patience.aside(refusals.mended(refusal)):
                        raise
        raise fault(server, f"did not {verb}: no answer within {patience.seconds:g} s")
