"""What a server says by itself, where it has to be asked to: lists and resources that change.

A server of the stateless era tells only over a stream that is open for it (`subscriptions/listen`,
2026-07-28); what it tells arrives at the session. Nothing is replayed, so after a stream was lost
the lists are asked for anew. One of the older era is asked once for each resource. Import it late.
"""

from contextlib import AsyncExitStack
from typing import Final

import anyio
import mcp_types as types
from mcp.client.subscriptions import Subscription, SubscriptionLost, listen

from mcp import MCPError
from patina.mcp.sdk import FAILURES, Session
from patina.model.faults import McpFault

FIRST_PAUSE: Final = 1.0
MOST_PAUSE: Final = 60.0


class Listening:
    """Has the server of `session` tell of its lists and of the resources in `subscribed`.

    `wait` is the seconds that it has to say yes.
    """

    def __init__(self, session: Session, subscribed: set[str], wait: float) -> None:
        self._session = session
        self._subscribed = subscribed
        self._before = sorted(subscribed)
        self._wait = wait
        self._changed = anyio.Event()
        self._settled = anyio.Event()
        self._honored: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Listen until cancelled. Lists are asked for anew where some news may be lost."""
        if not self._session.modern:
            await self._resubscribe()
            return
        pause = FIRST_PAUSE
        lost = refused = False
        while True:
            opened = anyio.current_time()
            wanted = frozenset(self._subscribed)
            changed = self._changed
            if refused or not (self._lists_change or wanted):
                self._settle(changed)
                await changed.wait()
                refused = False
                continue
            try:
                await self._listen(wanted, changed, lost=lost)
                if changed.is_set():
                    continue
            except (SubscriptionLost, TimeoutError):
                pass
            except FAILURES:
                refused = not lost
                if refused:
                    continue
            lost = True
            self._settle(changed)
            if anyio.current_time() - opened > MOST_PAUSE:
                pause = FIRST_PAUSE
            with anyio.move_on_after(pause):
                await changed.wait()
            pause = min(2 * pause, MOST_PAUSE)

    async def _listen(self, wanted: frozenset[str], changed: anyio.Event, *, lost: bool) -> None:
        """Keep one stream open until it ends, or until other resources are wanted."""
        async with AsyncExitStack() as stack:
            with anyio.fail_after(self._wait):
                stream = await stack.enter_async_context(
                    listen(
                        self._session,
                        tools_list_changed=self._tells("tools"),
                        prompts_list_changed=self._tells("prompts"),
                        resources_list_changed=self._tells("resources"),
                        resource_subscriptions=sorted(wanted),
                    )
                )
            if lost:
                self._session.list_changed.set()
                self._session.offers_changed.set()
            self._settle(changed, frozenset(stream.honored.resource_subscriptions or ()))
            async with anyio.create_task_group() as tasks:
                ended: list[Exception] = []
                tasks.start_soon(_drain, stream, tasks.cancel_scope, ended)
                await changed.wait()
                tasks.cancel_scope.cancel()
            for error in ended:
                raise error

    def _tells(self, kind: str) -> bool:
        """Whether the server says that it tells of changes of its list of `kind`."""
        capabilities = self._session.server_capabilities
        return bool(getattr(getattr(capabilities, kind, None), "list_changed", False))

    @property
    def _lists_change(self) -> bool:
        return any(self._tells(kind) for kind in ("tools", "prompts", "resources"))

    def _settle(self, changed: anyio.Event, honored: frozenset[str] = frozenset()) -> None:
        """Say what is told of now, unless something else is wanted by now."""
        if not changed.is_set():
            self._honored = honored
            self._settled.set()

    async def _resubscribe(self) -> None:
        for uri in self._before:
            with anyio.move_on_after(self._wait):
                try:
                    await self._ask(uri)
                except FAILURES:
                    continue  # it has the resource no more, or tells no more

    async def _ask(self, uri: str) -> None:
        request = types.SubscribeRequest(params=types.SubscribeRequestParams(uri=uri))
        await self._session.send_request(request, types.EmptyResult)

    async def subscribe(self, uri: str) -> None:
        """Have the server tell of the resource. Bounded.

        Raises `McpFault` where it does not tell, `MCPError` where it refuses, `TimeoutError`.
        """
        capabilities = self._session.server_capabilities
        resources = capabilities.resources if capabilities is not None else None
        if resources is None or not resources.subscribe:
            raise McpFault("it does not tell of changes of resources")
        before, told = uri in self._subscribed, False
        self._subscribed.add(uri)
        try:
            with anyio.fail_after(self._wait):
                if self._session.modern:
                    await self._reopen()
                    if uri not in self._honored:
                        raise McpFault("it does not tell of changes of this resource")
                else:
                    await self._ask(uri)
            told = True
        finally:
            if not told and not before:
                self._subscribed.discard(uri)
                self._wake()

    async def unsubscribe(self, uri: str) -> None:
        """Have the server tell of the resource no more. Bounded. Raises as `subscribe`."""
        self._subscribed.discard(uri)
        with anyio.fail_after(self._wait):
            if self._session.modern:
                await self._reopen()
            else:
                request = types.UnsubscribeRequest(params=types.UnsubscribeRequestParams(uri=uri))
                await self._session.send_request(request, types.EmptyResult)

    async def _reopen(self) -> None:
        self._settled = settled = anyio.Event()
        self._wake()
        await settled.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


async def _drain(stream: Subscription, scope: anyio.CancelScope, ended: list[Exception]) -> None:
    """Take the news, which the session has heard already, until the stream ends."""
    try:
        async for _ in stream:
            pass
    except (SubscriptionLost, MCPError) as error:
        ended.append(error)
    scope.cancel()
