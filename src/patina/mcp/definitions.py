"""What servers offer, in their words, and the lists of it that are kept on the disk."""

from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from patina.mcp.files import replace
from patina.mcp.server_log import file_name
from patina.ports.features import PromptInfo, ResourceInfo, TemplateInfo

_VERSION: Final = 2


class Definition(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One tool, in its server's words. `read_only` and so on are claims; None: nothing said."""

    name: str
    title: str = ""
    description: str = ""
    schema: dict[str, Any] = {}
    output_schema: dict[str, Any] | None = None
    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None
    task: Literal["forbidden", "optional", "required"] = "forbidden"


class Offers(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a server offers beside tools."""

    resources: tuple[ResourceInfo, ...] = ()
    templates: tuple[TemplateInfo, ...] = ()
    prompts: tuple[PromptInfo, ...] = ()


class ToolList(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a server listed when it was last connected, and the protocol version it spoke.

    `key` is the hash of how the server was configured then. `offers` None: it was not asked yet.
    """

    version: int
    key: str
    protocol: str = ""
    tools: tuple[Definition, ...] = ()
    offers: Offers | None = None


_decoder: msgspec.json.Decoder[ToolList] = msgspec.json.Decoder(ToolList)


class ToolListCache:
    """Tool lists in `<cache>/mcp/<server>.json`. A cache: it may be lost, and never raises."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache / "mcp"

    def load(self, server: str, key: str) -> ToolList | None:
        """Return what `server` listed under the configuration `key`, None where unknown."""
        try:
            kept = _decoder.decode(self._path(server).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return kept if kept.version == _VERSION and kept.key == key else None

    def save(
        self,
        server: str,
        key: str,
        protocol: str,
        tools: tuple[Definition, ...],
        offers: Offers | None = None,
    ) -> None:
        """Keep what `server` lists now."""
        kept = ToolList(version=_VERSION, key=key, protocol=protocol, tools=tools, offers=offers)
        try:
            replace(self._path(server), msgspec.json.encode(kept), sync=False)
        except (OSError, ValueError, RecursionError, TypeError):
            return

    def forget(self, server: str) -> None:
        """Drop what was kept of `server`."""
        with suppress(OSError):
            self._path(server).unlink(missing_ok=True)

    def _path(self, server: str) -> Path:
        return self._folder / f"{file_name(server)}.json"
