"""The way to a server: a pair of message streams, and what is known when they end."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import Process
from msgspec import Struct

from patina.mcp.diagnosis import not_started
from patina.mcp.leftovers import running_in
from patina.mcp.survivors import MARK, end_survivors
from patina.mcp.text import command_line, shortened
from patina.mcp.transports import process as processes
from patina.mcp.transports.link import LONGEST_MESSAGE, Link, Notes, load_sdk

_LAST_WORDS_WAIT: Final = 1.0
# What a process wrote before it exited is in the pipe; only a child can still write more.
_DRAIN_WAIT: Final = 0.25
# What went into a session of its own is ended after the group: with `process.stop` under 10 s.
_STRAYS_WAIT: Final = 4.5


class Command(Struct, frozen=True):
    """How to start `server`: its argv with the resolved binary first, never a shell.

    `env` is the whole environment; `secrets` are those of its values that no log may hold.
    `running` is the folder where it is noted that the process runs, for the case of a crash.
    """

    server: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    secrets: tuple[str, ...] = ()
    running: Path | None = None


@asynccontextmanager
async def open_stdio(command: Command) -> AsyncGenerator[Link]:
    """Start a local server and yield the link to it; on leaving, it and its children are ended.

    Raises `McpFault` where it cannot be started.
    """
    env, running, mark = dict(command.env), None, ""
    if command.running is not None:
        running = running_in(command.running)
        await anyio.to_thread.run_sync(running.prepare)
        mark = env[MARK] = running.mark()
    try:
        process = await processes.spawn(command.argv, env, command.cwd)
    except (OSError, ValueError) as error:
        raise not_started(command.server, command.argv, str(command.cwd), error) from None
    # From here to the task group nothing may wait, or a cancellation would leak the process.
    if running is not None:
        running.began(process.pid, command.server)
    link = _StdioLink(command, process)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(link.read_stdout)
        tasks.start_soon(link.read_stderr)
        tasks.start_soon(link.write_stdin)
        tasks.start_soon(link.watch)
        try:
            yield link
        finally:
            await processes.stop(process)
            if running is not None:
                with anyio.move_on_after(_STRAYS_WAIT, shield=True):
                    await end_survivors(mark, ())
                running.ended(process.pid)
            link.close()
            tasks.cancel_scope.cancel()


class _StdioLink(Link):
    """The streams over a process's pipes: one JSON object a line (MCP, transports: stdio)."""

    def __init__(self, command: Command, process: Process) -> None:
        notes = Notes(command.server, command.log, command.secrets)
        super().__init__(command_line(command.argv), notes)
        self._process = process
        assert self._log is not None
        self._stderr = self._log
        self.log(f"started as process {process.pid}: {self.tried}")
        self._stderr_read = anyio.Event()
        self._fault = ""

    async def read_stdout(self) -> None:
        """Pass messages on until the server's output ends; then only drain it."""
        await load_sdk()
        stdout = self._process.stdout
        assert stdout is not None
        buffer = bytearray()
        try:
            while True:
                chunk = await stdout.receive()
                start = len(buffer)
                buffer += chunk
                if buffer.find(b"\n", start) < 0:
                    if len(buffer) > LONGEST_MESSAGE:
                        self._fault = f"sent a line of over {LONGEST_MESSAGE // 2**20} MB"
                        return
                    continue
                *lines, rest = bytes(buffer).split(b"\n")
                buffer = bytearray(rest)
                for line in lines:
                    await self.arrive(line)
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
            pass
        finally:
            self.end()

    async def read_stderr(self) -> None:
        """Keep what the server says for people."""
        stderr = self._process.stderr
        assert stderr is not None
        try:
            while True:
                self._stderr.feed(await stderr.receive())
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
            pass
        finally:
            self._stderr_read.set()

    async def write_stdin(self) -> None:
        """Send what the session says until it is closed or the server does not listen."""
        await load_sdk()
        stdin = self._process.stdin
        assert stdin is not None
        try:
            async for message in self._departures:
                await stdin.send(self.depart(message) + b"\n")
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
            # Alive, perhaps, but deaf: an answer would never come.
            self._fault = "closed its input"
            self.end()

    async def watch(self) -> None:
        """End the link with the process, even where a child of it holds the pipes open."""
        await self._process.wait()
        with anyio.move_on_after(_DRAIN_WAIT):
            await self.ended.wait()
        self.end()

    async def last_words(self) -> str:
        """As `Link.last_words`, with exit code, last lines of stderr, rubbish on stdout."""
        words = "is still running"
        if self.ended.is_set():
            with anyio.move_on_after(_LAST_WORDS_WAIT):
                await self._process.wait()
            with anyio.move_on_after(_DRAIN_WAIT):
                await self._stderr_read.wait()
            code = self._process.returncode
            words = self._fault if self._fault and code is None else processes.exit_text(code)
        if rubbish := self.rubbish():
            words += f"; it printed text that is no MCP message on stdout: {rubbish}"
        if tail := self._stderr.tail():
            words += f"; last lines of its log: {shortened(' | '.join(tail), 800)}"
        return words

    def close(self) -> None:
        """As `Link.close`, once the process is gone."""
        self.log(f"the process {processes.exit_text(self._process.returncode)}")
        super().close()
