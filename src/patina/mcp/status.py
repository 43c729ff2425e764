"""What a person sees of a server, and which changes of its settings concern the running one."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from patina.mcp.keeper import Keeper
from patina.model.events import ServerState
from patina.model.settings import ServerSettings

UNTRUSTED: Final = "not yet allowed to start: patina mcp trust "
# What a server is started or reached with; all else takes effect on the running one.
_OF_THE_START: Final = (
    "transport",
    "command",
    "args",
    "cwd",
    "env",
    "required",
    "package",
    "protocol_version",
    "url",
    "headers",
    "auth_mode",
    "oauth",
)


class ServerStatus(Struct, frozen=True):
    """What a person sees of a server. `tools` counts what it offers, -1 where not known.

    `text` stands beside the badge. `started_at` and `last_used` are UTC in ISO 8601, "" for never;
    `restart_count` counts since it was last well; `permanent`: it died too often and is not
    started again; `wants_sign_in`: it only waits for a person to sign in. `session_id` is that of
    an HTTP session, `protocol` the version spoken now.
    """

    server: str
    display_name: str
    state: ServerState
    text: str
    tools: int
    started_at: str = ""
    last_used: str = ""
    restart_count: int = 0
    permanent: bool = False
    wants_sign_in: bool = False
    session_id: str = ""
    protocol: str = ""

    @property
    def is_active(self) -> bool:
        """Whether it is connected."""
        return self.state == "connected"


def same_start(one: ServerSettings, other: ServerSettings) -> bool:
    """Whether a server that runs by `one` may go on running under `other`."""
    return all(getattr(one, name) == getattr(other, name) for name in _OF_THE_START)


def status_of(
    server: str,
    settings: ServerSettings,
    told: tuple[ServerState, str, int] | None,
    keeper: Keeper | None,
    known: Sequence[object] | None,
    *,
    trusted: bool,
) -> ServerStatus:
    """Return what is to be seen of `server`: state, text and tools as told, facts by its keeper.

    `known` are the tools that it is known to have; `trusted`: it may be started.
    """
    display = settings.display_name or server
    state, text, tools = told or ("idle", "", -1)
    if not settings.enabled:
        state, text, tools = "disabled", "", -1
    elif told is None and not trusted:
        text = f"{UNTRUSTED}{server}"
    if known is not None and tools < 0:
        tools = len(known)
    if keeper is None:
        return ServerStatus(server, display, state, text, tools)
    return ServerStatus(
        server,
        display,
        state,
        text,
        tools,
        started_at=_as_time(keeper.started_at),
        last_used=_as_time(keeper.last_used),
        restart_count=keeper.restart_count,
        permanent=keeper.permanent,
        wants_sign_in=keeper.wants_sign_in,
        session_id=keeper.connection.session_id,
        protocol=keeper.connection.protocol if keeper.connected else "",
    )


def _as_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else ""
