"""Everything about one server at once: how it is reached, how its start goes, what it offers.

The start is the real one: the transport, session and connection that a conversation uses, only
listened to.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import msgspec
from msgspec import Struct

from patina.mcp.causes import diagnose
from patina.mcp.connection import LEGACY, Connection
from patina.mcp.definitions import Definition
from patina.mcp.exchange import Exchange, Listener, heard_by
from patina.mcp.facts import Diagnosis, Facts
from patina.mcp.ground import withheld
from patina.mcp.look import Look, look
from patina.mcp.opening import Surroundings, opener, remote_of
from patina.mcp.server_log import log_path
from patina.mcp.text import shortened, visible
from patina.mcp.transports.link import Link, Opener
from patina.model.faults import Failure, Fault, McpFault
from patina.model.settings import ServerSettings
from patina.model.sign_in import SignIn

TAIL_LINES: Final = 20
_READ_LINES: Final = 60
_LAST_WORDS_WAIT: Final = 2.0
_MOST_NAMES: Final = 50
_NAME_LENGTH: Final = 200


class Step(Struct, frozen=True):
    """Something that happened `at_ms` after the beginning."""

    at_ms: int
    text: str


class Report(Struct, frozen=True, kw_only=True):
    """How connecting went. `era` is "handshake", "stateless" or "" where it did not come so far.

    Capabilities are as `resources (subscribe, listChanged)`; `lines` is the end of what the
    server wrote for people. Text of the server is harmless and bounded, but for `tools`. Not
    connected: there is a `diagnosis`. `stray` is text on its standard output that is no message.
    """

    server: str
    connected: bool
    took_ms: int
    tried: str = ""
    timeline: tuple[Step, ...] = ()
    era: str = ""
    protocol: str = ""
    name: str = ""
    version: str = ""
    capabilities: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    session_id: str = ""
    tools: tuple[Definition, ...] = ()
    stray: str = ""
    lines: tuple[str, ...] = ()
    failure: Failure | None = None
    diagnosis: Diagnosis | None = None
    look: Look | None = None


class _Watch:
    """Opens links as `opener` does, and keeps what is known of the last one at its end."""

    def __init__(self, way: Opener) -> None:
        self.listener = Listener()
        self.opened_ms: list[int] = []
        self.tried = self.words = self.rubbish = ""
        self._way = way

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Link]:
        async with AsyncExitStack() as stack:
            with heard_by(self.listener):
                link = await stack.enter_async_context(self._way())
            self.opened_ms.append(self.listener.now_ms())
            self.tried = link.tried
            try:
                yield link
            finally:
                self.rubbish = link.rubbish()
                with anyio.move_on_after(_LAST_WORDS_WAIT, shield=True):
                    self.words = await link.last_words()


async def examine(
    server: str, settings: ServerSettings, around: Surroundings, *, wait: float, deep: bool = False
) -> Report:
    """Connect `server`, list its tools, and end it again. Consent is the caller's to check.

    `wait` is the seconds that connecting may take. A remote server is looked at from outside
    where it cannot be connected, or if `deep`. Raises nothing of the server's. Bounded.
    """
    watch = _Watch(opener(server, settings, around, wait))
    failure: Failure | None = None
    report = Report(server=server, connected=False, took_ms=0)
    async with anyio.create_task_group() as tasks:
        connection = Connection(
            server,
            watch.open,
            tasks,
            lambda: None,
            wait=wait,
            protocol=settings.protocol_version,
            remote=settings.transport != "stdio",
        )
        try:
            await connection.connect()
            report = _connected(server, connection, watch)
            await connection.close()
        except McpFault as fault:
            # It ends by itself then, undisturbed: how it looks at its end is what is asked for.
            failure = fault.failure
            report = Report(server=server, connected=False, took_ms=watch.listener.now_ms())
    seen = None
    if settings.transport != "stdio" and (deep or failure is not None):
        seen = await _look(server, settings, around, wait)
    return await _finished(report, settings, around, watch, failure, seen)


async def _look(
    server: str, settings: ServerSettings, around: Surroundings, wait: float
) -> Look | None:
    try:
        remote = await remote_of(server, settings, around, wait)
    except McpFault:
        return None  # a key for its headers is missing: nobody was asked
    return await look(remote)


async def _sign_in(server: str, settings: ServerSettings, around: Surroundings) -> SignIn | None:
    """Return how far the sign-in to a server is, None where nobody can sign in to it."""
    sign_ins = around.sign_ins
    if sign_ins is None or not sign_ins.can_sign_in(settings):
        return None
    try:
        return await sign_ins.state(server, settings)
    except Fault:
        return SignIn(server=server, state="disconnected")


def _connected(server: str, connection: Connection, watch: _Watch) -> Report:
    asked = [one for one in watch.listener.exchanges if one.result]
    result = asked[-1].result if asked else {}
    info = _info(result)
    capabilities = _table(result.get("capabilities"))
    return Report(
        server=server,
        connected=True,
        took_ms=watch.listener.now_ms(),
        era="handshake" if connection.protocol <= LEGACY else "stateless",
        protocol=visible(connection.protocol),
        name=_short(info.get("name")),
        version=_short(info.get("version")),
        capabilities=tuple(
            _capability(*pair) for pair in sorted(capabilities.items())[:_MOST_NAMES]
        ),
        extensions=tuple(_short(name) for name in sorted(_table(capabilities.get("extensions")))),
        session_id=_short(connection.session_id),
        tools=connection.tools,
    )


async def _finished(
    report: Report,
    settings: ServerSettings,
    around: Surroundings,
    watch: _Watch,
    failure: Failure | None,
    seen: Look | None,
) -> Report:
    lines: tuple[str, ...] = ()
    if watch.opened_ms and settings.transport == "stdio":
        lines = await anyio.to_thread.run_sync(_said, log_path(around.state, report.server))
    diagnosis = None
    if failure is not None:
        sign_in = await _sign_in(report.server, settings, around)
        facts = Facts(
            server=report.server,
            settings=settings,
            failure=failure,
            opened=bool(watch.opened_ms),
            words=watch.words,
            rubbish=watch.rubbish,
            lines=lines,
            exchanges=tuple(watch.listener.exchanges),
            withheld=frozenset(withheld(around.environ)),
            look=seen,
            sign_in=sign_in,
        )
        diagnosis = diagnose(facts)
    return msgspec.structs.replace(
        report,
        tried=watch.tried,
        timeline=_timeline(watch, local=settings.transport == "stdio"),
        stray=watch.rubbish,
        lines=lines[-TAIL_LINES:],
        failure=failure,
        diagnosis=diagnosis,
        look=seen,
    )


def _timeline(watch: _Watch, *, local: bool) -> tuple[Step, ...]:
    steps = [Step(at, "process started" if local else "reached") for at in watch.opened_ms]
    if watch.listener.first_ms is not None:
        steps.append(Step(watch.listener.first_ms, "first message received"))
    for one in watch.listener.exchanges:
        steps.append(Step(one.asked_ms, f"{_short(one.method)} asked"))
        if one.answered_ms is not None:
            steps.append(Step(one.answered_ms, f"{_short(one.method)} {_outcome(one)}"))
    return tuple(sorted(steps, key=lambda step: step.at_ms))


def _outcome(exchange: Exchange) -> str:
    if exchange.error is None:
        return "answered"
    said = shortened(visible(exchange.message), 100)
    return f"refused: {said} (error {exchange.error})"


def _said(path: Path) -> tuple[str, ...]:
    """Return what the server wrote since it was started last, without Patina's own notes."""
    try:
        lines = path.read_text("utf-8", "replace").split("\n")
    except OSError:
        return ()
    texts: list[str] = []
    for line in lines:
        text = line.partition(" ")[2]
        if text.startswith("-- started as process "):
            texts.clear()
        elif text and not text.startswith("-- "):
            texts.append(text)
    return tuple(texts[-_READ_LINES:])


def _info(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the server names itself, in the words of either era."""
    if found := _table(result.get("serverInfo")):
        return found
    return _table(_table(result.get("_meta")).get("io.modelcontextprotocol/serverInfo"))


def _capability(name: str, value: object) -> str:
    flags = [_short(flag) for flag, on in sorted(_table(value).items()) if on is True]
    return f"{_short(name)} ({', '.join(flags[:_MOST_NAMES])})" if flags else _short(name)


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _short(value: object) -> str:
    return shortened(visible(value), _NAME_LENGTH) if isinstance(value, str) else ""
