"""Server processes that outlived their Patina: which they are, and their end."""

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from msgspec import Struct

if TYPE_CHECKING:
    from psutil import Process

# The variable by which the children of a server are known after its own end.
MARK: Final = "MCP_CLIENT_RUN"
TERM_GRACE: Final = 2.0
KILL_GRACE: Final = 2.0
_POLL: Final = 0.05
_ROUNDS: Final = 3
# Seconds by which the start of a process may seem to move: it is told relative to the clock.
_TOLERANCE: Final = 2.0


class ServerProcess(Struct, frozen=True):
    """A server process; `created` is when it was, seconds since 1970, as psutil tells it."""

    pid: int
    created: float = 0.0
    server: str = ""
    ended: bool = False


async def end_survivors(run: str, servers: Sequence[ServerProcess]) -> int:
    """End what still runs of `servers`, started under the mark `run`; return how many that were.

    SIGTERM, then SIGKILL, within about ten seconds at worst.
    """
    ended: set[int] = set()
    for number in range(_ROUNDS):
        found = await anyio.to_thread.run_sync(_survivors, run, servers)
        if not found:
            break
        ended.update(process.pid for process in found)
        # What is new after the first round was started by what was being ended.
        if number == 0:
            _signal(found, kill=False)
            found = await _left(found, TERM_GRACE)
        _signal(found, kill=True)
        await _left(found, KILL_GRACE)
    return len(ended)


def _survivors(run: str, servers: Sequence[ServerProcess]) -> "list[Process]":
    """Return the processes of `servers` that still run, and what is in their sessions.

    A number may be another's by now. A server is known by its number and the time it was created;
    no number is given anew while a session bears it, so that all in the session of such a server
    are its. Where it is gone they are known by their session and the mark in their environment.
    """
    import psutil

    spared = {os.getpid()}
    with suppress(psutil.Error):
        spared |= {parent.pid for parent in psutil.Process().parents()}
    leaders: dict[int, bool] = {}
    found: dict[int, Process] = {}
    for server in servers:
        leaders[server.pid] = False
        with suppress(psutil.Error):
            process = psutil.Process(server.pid)
            if abs(process.create_time() - server.created) <= _TOLERANCE:
                leaders[server.pid] = True
                family = process.children(recursive=True) if sys.platform == "win32" else []
                found |= {one.pid: one for one in (process, *family)}
            else:
                del leaders[server.pid]
    if sys.platform != "win32":
        created = {server.pid: server.created for server in servers}
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                session = os.getsid(process.pid)
                if session not in leaders or process.create_time() < created[session] - _TOLERANCE:
                    continue
                if leaders[session] or (run and process.environ().get(MARK) == run):
                    found[process.pid] = process
    return [one for pid, one in found.items() if pid not in spared and _lives(one)]


def _lives(process: "Process") -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(processes: "Iterable[Process]", *, kill: bool) -> None:
    import psutil

    for process in processes:
        # psutil looks once more whether the number is still this process's.
        with suppress(psutil.Error):
            if kill:
                process.kill()
            else:
                process.terminate()


async def _left(processes: "list[Process]", seconds: float) -> "list[Process]":
    """Wait for the end of `processes`, and return those that live on."""
    for _ in range(round(seconds / _POLL)):
        processes = [process for process in processes if _lives(process)]
        if not processes:
            break
        await anyio.sleep(_POLL)
    return processes
