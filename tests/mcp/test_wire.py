"""`--debug-mcp`: what is said to and by servers stands in the log, and no secret does."""

import json
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mcp.house import House, tool_of
from tests.mcp.servers import http_raw, socket_server

from patina.assembly.log import install_log, remove_log
from patina.mcp.toolset import Toolset
from patina.mcp.wire import LONGEST, Wire
from patina.model.settings import ServerSettings
from patina.secrets.redact import Redactor

CANARY = "canary-0123456789-secret"
OTHER = "another-9876543210-secret"
UNKNOWN = {"code": -32601, "message": "unknown"}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "logs" / "patina.log"
    remove_log()


def wire_lines(file: Path) -> list[str]:
    if not file.exists():
        return []
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [line["msg"] for line in lines if line["logger"] == "patina.mcp.wire"]


# C-15
@pytest.mark.anyio
@pytest.mark.skipif(os.name == "nt", reason="the server is a POSIX script")
@pytest.mark.parametrize("debug", [True, False])
async def test_a_call_is_traced_when_asked_for(house: House, file: Path, *, debug: bool) -> None:
    redactor = Redactor()
    install_log(file, "info", redactor, debug_mcp=debug)
    redactor.add(OTHER)
    house.keys.secrets["s/TOKEN"] = CANARY
    # The tool answers with its environment, the secret included.
    settings = house.odd("env", env={"MY_TOKEN": "secret:s/TOKEN", "PLAIN": "in-plain-view"})
    async with house.supervisor({"s": settings}) as supervisor:
        tools = Toolset(supervisor)
        tool = await tool_of(tools, "s.echo")
        arguments = {"text": f"hello {OTHER}", "env": {"A": "hidden-too"}}
        outcome = await tools.call(tool, arguments)
    assert CANARY in str(outcome.parts)
    lines = wire_lines(file)
    if not debug:
        assert not lines
        return
    (call,) = [line for line in lines if '"tools/call"' in line]
    assert call.startswith("to s: {")
    assert '"text":"hello ***"' in call
    assert '"env":{"A":"***"}' in call
    (answer,) = [line for line in lines if "in-plain-view" in line]
    assert answer.startswith("from s: {")
    everything = "".join(lines)
    assert not any(secret in everything for secret in (CANARY, OTHER, "hidden-too"))


# C-15
@pytest.mark.anyio
@pytest.mark.parametrize("transport", ["streamable-http", "sse", "websocket"])
@pytest.mark.parametrize("level", ["info", "debug"])
async def test_no_header_and_no_address_is_traced(
    house: House, file: Path, transport: Any, level: str
) -> None:
    redactor = Redactor()
    install_log(file, level, redactor, debug_mcp=True)
    house.keys.secrets["key"] = CANARY
    headers = {"Authorization": "Bearer secret:key", "X-Plain": OTHER}
    query = "?api_key=third-1357924680-secret"
    async with AsyncExitStack() as stack:
        if transport == "websocket":
            # What the server's own end would log is not what is looked for.
            quiet = logging.Logger("quiet", logging.CRITICAL)
            running = socket_server.running(logger=quiet)
            url = (await stack.enter_async_context(running)).url
        elif transport == "sse":
            url = await stack.enter_async_context(_old_stream())
        else:
            raw = await stack.enter_async_context(http_raw.serving(http_raw.OldServer()))
            url = raw.url
        settings = ServerSettings(transport=transport, url=url + query, headers=headers)
        async with house.supervisor({"s": settings}) as supervisor:
            with anyio.fail_after(10):
                tools = await Toolset(supervisor).list(None)
            assert tools
    lines = wire_lines(file)
    assert any('"tools/list"' in line for line in lines)
    assert any(line.startswith("from s: {") for line in lines)
    everything = text_of(file) + house.log("s")
    assert not any(secret in everything for secret in (CANARY, OTHER, "third-1357924680"))
    assert "uthorization" not in everything


def text_of(file: Path) -> str:
    return file.read_text(encoding="utf-8")


@asynccontextmanager
async def _old_stream() -> AsyncIterator[str]:
    """A server over the older HTTP transport, for one client."""
    answers, waiting = anyio.create_memory_object_stream[dict[str, Any]](10)
    results: dict[str, Any] = {
        "initialize": {
            "protocolVersion": "2024-11-05",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "old", "version": "1"},
        },
        "tools/list": {"tools": [{"name": "do", "inputSchema": {"type": "object"}}]},
    }

    async def handler(request: http_raw.Request, wire: http_raw.Wire) -> None:
        if request.method == "POST":
            if "id" in request.message:
                known = request.rpc in results
                found = {"result": results[request.rpc]} if known else {"error": UNKNOWN}
                message = {"jsonrpc": "2.0", "id": request.message["id"], **found}
                await answers.send(message)
            await wire.status("202 Accepted")
            return
        await wire.events()
        await wire.raw(b"event: endpoint\ndata: /messages?session=1\n\n")
        async for message in waiting:
            await wire.raw(b"event: message\n")
            await wire.event(message)

    async with answers, waiting, http_raw.serving(handler) as raw:
        yield raw.url


def shown(caplog: pytest.LogCaptureFixture, message: object, *secrets: str) -> str:
    caplog.clear()
    with caplog.at_level(logging.DEBUG, logger="patina.mcp.wire"):
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        Wire("s", secrets).received(line)
    return caplog.messages[0].removeprefix("from s: ")


def test_fields_that_are_named_like_secrets(caplog: pytest.LogCaptureFixture) -> None:
    message = {
        "Authorization": "Bearer x",
        "api_key": "a",
        "tokens": ["b", 1],
        "headers": {"X-Any": "c"},
        "env": [{"name": "N", "value": "d"}],
        "progressToken": 7,
        "properties": {"password": {"type": "string"}},
        "name": "tool",
    }
    found = json.loads(shown(caplog, message))
    assert found == {
        "Authorization": "***",
        "api_key": "***",
        "tokens": ["***", 1],
        "headers": {"X-Any": "***"},
        "env": [{"name": "***", "value": "***"}],
        "progressToken": 7,
        "properties": {"password": {"type": "string"}},
        "name": "tool",
    }


def test_a_message_is_cut_between_words(caplog: pytest.LogCaptureFixture) -> None:
    for before in range(LONGEST - 60, LONGEST, 7):
        text = shown(caplog, {"t": f"{'x' * before} {CANARY} and {'more' * 20}"})
        assert len(text) < LONGEST + 30
        assert text.endswith(" bytes)")
        assert "canary" not in text or CANARY in text
    assert shown(caplog, {"t": "x" * 10_000}).endswith(" bytes)")


@pytest.mark.parametrize("line", [b"", b"{", b"\xff", b'"\\ud800"', b"[" * 100_000])
def test_what_cannot_be_shown(caplog: pytest.LogCaptureFixture, line: bytes) -> None:
    assert shown(caplog, line) == f"(a message of {len(line)} bytes that cannot be shown)"


def test_nothing_steers_what_shows_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert shown(caplog, {"t": "\u202e\x1b[2J\x9b"}).isascii()


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=30)))
def test_the_servers_own_secrets_never_show(message: dict[str, str]) -> None:
    records: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record.getMessage())

    logger = logging.getLogger("patina.mcp.wire")
    keeper = Keeper()
    logger.addHandler(keeper)
    logger.setLevel(logging.DEBUG)
    try:
        line = json.dumps({**message, "a": f"x{CANARY}", "b": [CANARY]})
        Wire("s", [CANARY]).sent(line.encode())
    finally:
        logger.setLevel(logging.NOTSET)
        logger.removeHandler(keeper)
    assert len(records) == 1
    assert CANARY not in records[0]
