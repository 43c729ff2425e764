"""The way to a server: a pair of message streams, and what is known when they end."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from anyio.abc import Process
from msgspec import Struct

from patina.mcp.diagnosis import not_started
from patina.mcp.server_log import ServerLog
from patina.mcp.text import command_line, shortened, visible
from patina.mcp.transports import process as processes
from patina.mcp.transports.link import Link, load_sdk
from patina.mcp.wire import Wire

if TYPE_CHECKING:
    from mcp.shared.message import SessionMessage

LONGEST_MESSAGE: Final = 64 * 1024 * 1024
MOST_NOTICES: Final = 200
_LAST_WORDS_WAIT: Final = 1.0
# What a process wrote before it exited is in the pipe; only a child can still write more.
_DRAIN_WAIT: Final = 0.25
_RUBBISH_LINES: Final = 20


class Command(Struct, frozen=True):
    """How to start `server`: its argv with the resolved binary first, never a shell.

    `env` is the whole environment; `secrets` are those of its values that no log may hold.
    """

    server: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    secrets: tuple[str, ...] = ()


@asynccontextmanager
async def open_stdio(command: Command) -> AsyncGenerator[Link]:
    """Start a local server and yield the link to it; on leaving, it and its children are ended.

    Raises `McpFault` where it cannot be started.
    """
    try:
        process = await processes.spawn(command.argv, command.env, command.cwd)
    except (OSError, ValueError) as error:
        raise not_started(command.server, command.argv, str(command.cwd), error) from None
    # From here to the task group nothing may wait, or a cancellation would leak the process.
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
            link.close()
            tasks.cancel_scope.cancel()


class _StdioLink(Link):
    """The streams over a process's pipes: one JSON object a line (MCP, transports: stdio)."""

    def __init__(self, command: Command, process: Process) -> None:
        super().__init__(command_line(command.argv))
        self._process = process
        self._log = ServerLog(command.log, command.secrets)
        self._wire = Wire(command.server, command.secrets)
        self._log.note(f"started as process {process.pid}: {self.tried}")
        self._rubbish: list[str] = []
        self._second = 0.0
        self._notices = 0
        self._stderr_read = anyio.Event()
        self._fault = ""

    async def read_stdout(self) -> None:
        """Pass messages on until the server's output ends; then only drain it."""
        await load_sdk()
        from patina.mcp.sdk import decode

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
                    message = decode(line)
                    if message is None:
                        self._refuse(line)
                    elif hasattr(message.message, "id") or self._in_measure():
                        self._wire.received(line)
                        await self._deliver(message)
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
            pass
        finally:
            self.end()

    async def _deliver(self, message: "SessionMessage") -> None:
        try:
            await self._arrivals.send(message)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            # The session is gone. Reading on lets the server write its last and exit.
            return

    def _in_measure(self) -> bool:
        """Whether one more notification may pass. Answers and questions always may."""
        now = anyio.current_time()
        if now >= self._second + 1:
            self._second, self._notices = now, 0
        self._notices += 1
        if self._notices == MOST_NOTICES + 1:
            self._log.note(f"over {MOST_NOTICES} notifications in a second; the rest is dropped")
        return self._notices <= MOST_NOTICES

    def _refuse(self, line: bytes) -> None:
        text = visible(line.decode("utf-8", "replace").strip())
        if text and len(self._rubbish) < _RUBBISH_LINES:
            self._rubbish.append(shortened(text, 300))
            self._log.note(f"not a message, on stdout: {shortened(text, 300)}")

    async def read_stderr(self) -> None:
        """Keep what the server says for people."""
        stderr = self._process.stderr
        assert stderr is not None
        try:
            while True:
                self._log.feed(await stderr.receive())
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
            pass
        finally:
            self._stderr_read.set()

    async def write_stdin(self) -> None:
        """Send what the session says until it is closed or the server does not listen."""
        await load_sdk()
        from patina.mcp.sdk import encode

        stdin = self._process.stdin
        assert stdin is not None
        try:
            async for message in self._departures:
                line = encode(message)
                self._wire.sent(line)
                await stdin.send(line)
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
        if self._rubbish:
            words += f"; it printed text that is no MCP message on stdout: {self._rubbish[0]}"
        if tail := self._log.tail():
            words += f"; last lines of its log: {shortened(' | '.join(tail), 800)}"
        return words

    def log(self, text: str) -> None:
        """Note `text` in the server's log file."""
        self._log.note(shortened(text, 2000))

    def close(self) -> None:
        """As `Link.close`, once the process is gone."""
        self._log.note(f"the process {processes.exit_text(self._process.returncode)}")
        self._log.close()
        super().close()
