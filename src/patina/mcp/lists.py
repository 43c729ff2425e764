"""What each server listed when it was last connected: in memory, and in the cache on the disk."""

from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from patina.mcp.definitions import Definition, Offers, ToolListCache


class _Known(Struct, frozen=True):
    key: str
    protocol: str
    tools: tuple[Definition, ...]
    offers: Offers | None


class KnownLists:
    """The tools of servers that need not be connected now, and what they offer beside.

    `key` returns the hash of how a server is configured: what it listed under another one is not
    known. Nothing here raises for want of a file.
    """

    def __init__(self, cache: Path, key: Callable[[str], str]) -> None:
        self._kept = ToolListCache(cache)
        self._key = key
        self._known: dict[str, _Known] = {}

    def tools(self, server: str) -> tuple[Definition, ...] | None:
        """Return what `server` listed, None where it was never seen as it is configured."""
        known = self._find(server)
        return known.tools if known is not None else None

    def offers(self, server: str) -> Offers | None:
        """Return what `server` offers beside tools, None where it was never asked."""
        known = self._find(server)
        return known.offers if known is not None else None

    def protocol(self, server: str) -> str:
        """Return the protocol version that `server` spoke, "" where it was never seen."""
        known = self._find(server)
        return known.protocol if known is not None else ""

    def _find(self, server: str) -> _Known | None:
        key = self._key(server)
        known = self._known.get(server)
        if known is None or known.key != key:
            kept = self._kept.load(server, key)
            if kept is None:
                return None
            known = self._known[server] = _Known(key, kept.protocol, kept.tools, kept.offers)
        return known

    def keep(
        self,
        server: str,
        protocol: str,
        tools: tuple[Definition, ...],
        offers: Offers | None = None,
    ) -> None:
        """Note what `server` lists now. Without `offers`, what was known of them stays."""
        before = self._find(server)
        if offers is None and before is not None:
            offers = before.offers
        known = _Known(self._key(server), protocol, tools, offers)
        if before is None or not _same(before, known):
            self._known[server] = known
            self._kept.save(server, known.key, protocol, tools, offers)


def _same(one: _Known, other: _Known) -> bool:
    if one != other:
        return False
    # As JSON: to Python, `True` equals `1`.
    return one.tools is other.tools or msgspec.json.encode(one) == msgspec.json.encode(other)
