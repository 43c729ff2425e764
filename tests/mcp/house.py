"""A house of servers for the tests of `patina.mcp`."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio

from patina.mcp.supervisor import Supervisor
from patina.mcp.toolset import Toolset
from patina.model.chat import ToolInfo
from patina.model.settings import ServerSettings
from patina.secrets.environment import Resolver

ODD = Path(__file__).parent / "servers" / "odd.py"
EVERYTHING = (
    Path(__file__).parent.parent
    / "node/node_modules/@modelcontextprotocol/server-everything/dist/index.js"
)


class MemoryKeys:
    """Secrets in a dictionary."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}

    def get(self, name: str) -> str | None:
        return self.secrets.get(name)

    def set(self, name: str, value: str) -> None:
        self.secrets[name] = value

    def remove(self, name: str) -> bool:
        return self.secrets.pop(name, None) is not None

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.secrets))


class House:
    """Makes supervisors over the folders of one test, and records what they say."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[tuple[str, str, str, int]] = []
        self.notices: list[tuple[str, str, str]] = []
        self.blobs: list[bytes] = []
        self.keys = MemoryKeys()
        self.seen: list[str] = []
        self.env_file: dict[str, str] = {}
        kept = ("PATH", "HOME", "LANG", "SYSTEMROOT", "TEMP", "USERPROFILE", "PATHEXT")
        self.environ = {name: os.environ[name] for name in kept if name in os.environ}

    def odd(self, mode: str, **more: Any) -> ServerSettings:
        args = (str(ODD), mode, str(self.root))
        return ServerSettings(command=sys.executable, args=args, **more)

    def everything(self) -> ServerSettings:
        return ServerSettings(command="node", args=(str(EVERYTHING), "stdio"))

    async def put_blob(self, content: bytes) -> str:
        self.blobs.append(content)
        return f"{len(self.blobs):064x}"

    def supervisor(self, servers: Mapping[str, ServerSettings], **more: Any) -> Supervisor:
        options: dict[str, Any] = {"allow_start": frozenset(servers)} | more
        return Supervisor(
            servers,
            keys=Resolver({**self.environ, **self.env_file}, self.keys, self.seen.append),
            environ=self.environ,
            data=self.root / "data",
            state=self.root / "state",
            cache=self.root / "cache",
            put_blob=self.put_blob,
            on_change=lambda *event: self.events.append(event),
            on_notice=lambda *notice: self.notices.append(notice),
            **options,
        )

    def log(self, server: str) -> str:
        return (self.root / "state/logs/mcp" / f"{server}.log").read_text()

    def pid(self, server: str) -> int:
        """The process that was started last."""
        return int(self.log(server).rpartition("started as process ")[2].partition(":")[0])

    def was_started(self, server: str) -> bool:
        """Whether a process of the server was ever started."""
        path = self.root / "state/logs/mcp" / f"{server}.log"
        return path.exists() and "started as process " in path.read_text()

    def starts(self) -> int:
        """How often a server of the mode "starts" was started."""
        path = self.root / "starts"
        return len(path.read_text().split()) if path.exists() else 0

    def states(self, server: str) -> list[str]:
        return [state for name, state, _, _ in self.events if name == server]


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Poll: what another process does has no event."""
    with anyio.fail_after(seconds):
        while not condition():
            with anyio.move_on_after(0.02):
                await anyio.Event().wait()


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody reaped is dead."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


async def tool_of(tools: Toolset, name: str) -> ToolInfo:
    """List, then find one."""
    await tools.list(None)
    return found(tools, name)


def found(tools: Toolset, name: str) -> ToolInfo:
    tool = tools.find(name)
    assert tool is not None
    return tool
