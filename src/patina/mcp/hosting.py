"""What a connection may use of Patina when its server tells or asks something."""

from collections.abc import Awaitable, Callable

import anyio.lowlevel
from msgspec import Struct

from patina.model.masking import Mask, unmasked

PutBlob = Callable[[bytes], Awaitable[str]]


async def _nowhere(_: bytes) -> str:
    await anyio.lowlevel.checkpoint()
    return ""


def _unheard(_: str) -> None:
    pass


class Host(Struct, frozen=True, kw_only=True):
    """Stands behind the sessions of `server`.

    `roots` returns the folders that the user chose for it, as of now; `put_blob` keeps bytes and
    returns their name; `on_resource` hears the URI of a resource that changed, and must not wait.
    `subscribed` are the resources to be told of, which outlive a session. `mask` masks secrets in
    what the server lists, tells and asks; results are masked by who keeps or shows them.
    """

    server: str = ""
    roots: Callable[[], tuple[str, ...]] = tuple
    put_blob: PutBlob = _nowhere
    on_resource: Callable[[str], None] = _unheard
    subscribed: set[str] = set()
    mask: Mask = unmasked
