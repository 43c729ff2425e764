"""The process of a local server, and the end of everything it started.

The SDK's own stdio client tells neither exit code nor process id, and leaves the children of a
server that exits by itself; so processes are ours, and only the messages are the SDK's.
"""

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

import anyio
import anyio.to_thread
from anyio.abc import Process

# How long a server may take to exit once its stdin is closed, then after SIGTERM; and how long
# the system may take to report a killed process. Seconds; together under 10.
EOF_GRACE: Final = 1.0
TERM_GRACE: Final = 2.0
KILL_GRACE: Final = 2.0
_POLL: Final = 0.02
# What cmd.exe would interpret in an argument of a .cmd or .bat file, whatever the quoting.
_BATCH_SPECIAL: Final = frozenset('"&|<>^%!\r\n')


async def spawn(argv: tuple[str, ...], env: Mapping[str, str], cwd: Path) -> Process:
    """Start `argv` in a process group (POSIX) or job (Windows) of its own, with three pipes.

    Never a shell. Raises `OSError`, and `ValueError` for an argument that cannot be passed.
    """
    if sys.platform == "win32":
        return await _spawn_windows(argv, env, cwd)
    return await anyio.open_process(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
        start_new_session=True,
    )


async def _spawn_windows(argv: tuple[str, ...], env: Mapping[str, str], cwd: Path) -> Process:
    from io import TextIOBase

    # In a thread: with it comes the whole SDK.
    await anyio.to_thread.run_sync(importlib.import_module, "mcp.os.win32.utilities")
    from mcp.os.win32.utilities import create_windows_process

    if argv[0].lower().endswith((".cmd", ".bat")) and _BATCH_SPECIAL & set("".join(argv[1:])):
        raise ValueError("an argument holds a character that cmd.exe would interpret")
    # The SDK hands `errlog` on as `stderr`, where a pipe is as good as a file; the job object
    # that it puts the process into is what ends its children too.
    pipe = cast("TextIOBase", subprocess.PIPE)
    process = await create_windows_process(argv[0], list(argv[1:]), dict(env), pipe, cwd)  # type: ignore[arg-type]
    return cast("Process", process)


async def stop(process: Process) -> None:
    """End a server and all it started, for good: EOF, SIGTERM, SIGKILL, each with its bound.

    Also where the server is gone already, for its children may live on. Cannot be cancelled.
    """
    with anyio.CancelScope(shield=True):
        if process.stdin is not None:
            with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                await process.stdin.aclose()
        with anyio.move_on_after(EOF_GRACE):
            await process.wait()
        if sys.platform == "win32":
            await _end_job(process)
        else:
            await _end_group(process.pid)
        with anyio.move_on_after(KILL_GRACE) as scope:
            await process.wait()
        if not scope.cancelled_caught:
            await process.aclose()


async def _end_job(process: Process) -> None:
    from mcp.os.win32.utilities import close_process_job, terminate_windows_process_tree

    if process.returncode is None:
        await terminate_windows_process_tree(process)
    close_process_job(process)


async def _end_group(group: int) -> None:
    """End the process group `group`: its leader's pid, which no other group can have had since."""
    if not _signal(group, signal.SIGTERM):
        return
    for _ in range(round(TERM_GRACE / _POLL)):
        if not _signal(group, 0):
            return
        await anyio.sleep(_POLL)
    _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Whether there is still someone in the group to signal."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        # macOS answers so for zombies; it never proves that the group is gone.
        return True
    return True


def exit_text(code: int | None) -> str:
    """Return how a process ended, in words."""
    if code is None:
        return "closed its output"
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
