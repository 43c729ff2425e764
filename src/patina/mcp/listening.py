"""What a server of the stateless era says by itself: only where a stream is open for it.

Such a server has no other way to tell that its lists changed (`subscriptions/listen`, 2026-07-28).
Nothing is replayed, so after a stream was lost the lists are asked for anew. Import it late.
"""

from contextlib import AsyncExitStack
from typing import Final

import anyio
from mcp.client.subscriptions import SubscriptionLost, listen

from mcp import MCPError
from patina.mcp.sdk import Session

FIRST_PAUSE: Final = 1.0
MOST_PAUSE: Final = 60.0


async def listen_for_changes(session: Session, wait: float) -> None:
    """Set `session.list_changed` whenever the server tells of a change, until cancelled.

    Returns at once where the server speaks the older era, which needs no stream, where it does
    not promise to tell, and where it refuses to. `wait` is the seconds for its acknowledgment.
    """
    capabilities = session.server_capabilities
    tools = capabilities.tools if capabilities is not None else None
    if not session.modern or tools is None or not tools.list_changed:
        return
    pause = FIRST_PAUSE
    lost = False
    while True:
        opened = anyio.current_time()
        try:
            async with AsyncExitStack() as stack:
                with anyio.fail_after(wait):
                    stream = await stack.enter_async_context(
                        listen(session, tools_list_changed=True)
                    )
                if not stream.honored.tools_list_changed:
                    return
                if lost:
                    session.list_changed.set()
                async for _ in stream:
                    session.heard = anyio.current_time()
                    session.list_changed.set()
        except (SubscriptionLost, TimeoutError):
            pass
        except MCPError:
            if not lost:
                return
        lost = True
        if anyio.current_time() - opened > MOST_PAUSE:
            pause = FIRST_PAUSE
        await anyio.sleep(pause)
        pause = min(2 * pause, MOST_PAUSE)
