"""Server processes that outlived their Patina: which they are, and their end."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from msgspec import Struct

if TYPE_CHECKING:
    from psutil import Process

# The variable by which the children of a server are known after its own end, and in whichever
# session they are: `<run>.<number>`, another one for each process of a server.
MARK: Final = "MCP_CLIENT_RUN"
# What desktops put into the environment of a program that they start: GIO and the startup
# notification of freedesktop.org. A browser that a server has them open is a person's, no child.
_BY_DESKTOP: Final = (
    "GIO_LAUNCHED_DESKTOP_FILE_PID",
    "DESKTOP_STARTUP_ID",
    "XDG_ACTIVATION_TOKEN",
)
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
    """End what still runs of `servers` or bears the mark `run`; return how many that were.

    The mark of one process of a server ends what it started, that of a run all of it. SIGTERM,
    then SIGKILL, within about ten seconds at worst.
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
    are its. Others, and those of one that is gone, are known by the mark in their environment.
    """
    import psutil

    spared = {os.getpid()}
    with suppress(psutil.Error):
        spared |= {parent.pid for parent in psutil.Process().parents()}
    leaders: dict[int, bool] = {}
    found: dict[int, Process] = {}
    ours: Mapping[str, str] = {}
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
        with suppress(psutil.Error):
            ours = psutil.Process().environ()
        created = {server.pid: server.created for server in servers}
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                session = os.getsid(process.pid)
                if (
                    leaders.get(session) and process.create_time() >= created[session] - _TOLERANCE
                ) or (run and _is_marked(process.environ(), run, ours)):
                    found[process.pid] = process
    return [one for pid, one in found.items() if pid not in spared and _lives(one)]


def _is_marked(environ: Mapping[str, str], run: str, ours: Mapping[str, str]) -> bool:
    """Whether `environ` is of a process that came from a server and was not opened for a person.

    `ours` is the environment of Patina, which may itself have been started by the desktop.
    """
    mark = environ.get(MARK, "")
    if mark != run and not mark.startswith(f"{run}."):
        return False
    return all(environ.get(name) in (None, ours.get(name)) for name in _BY_DESKTOP)


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
