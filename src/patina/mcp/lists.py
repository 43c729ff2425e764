"""What each server listed when it was last connected: in memory, and in the cache on the disk."""

from collections.abc import Callable
from pathlib import Path

from patina.mcp.definitions import Definition, ToolListCache


class KnownLists:
    """The tools of servers that need not be connected now.

    `key` returns the hash of how a server is configured: what it listed under another one is not
    known. Nothing here raises for want of a file.
    """

    def __init__(self, cache: Path, key: Callable[[str], str]) -> None:
        self._kept = ToolListCache(cache)
        self._key = key
        self._known: dict[str, tuple[str, tuple[Definition, ...]]] = {}

    def tools(self, server: str) -> tuple[Definition, ...] | None:
        """Return what `server` listed, None where it was never seen as it is configured."""
        key = self._key(server)
        known = self._known.get(server)
        if known is None or known[0] != key:
            kept = self._kept.load(server, key)
            if kept is None:
                return None
            known = self._known[server] = (key, kept.tools)
        return known[1]

    def protocol(self, server: str) -> str:
        """Return the protocol version that `server` spoke, "" where it was never seen."""
        kept = self._kept.load(server, self._key(server))
        return kept.protocol if kept is not None else ""

    def keep(self, server: str, protocol: str, tools: tuple[Definition, ...]) -> None:
        """Note what `server` lists now."""
        known = (self._key(server), tools)
        if self._known.get(server) != known:
            self._known[server] = known
            self._kept.save(server, known[0], protocol, tools)
