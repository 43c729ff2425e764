"""An app with many MCP servers: a program of `mcp_many.py`, which reads what it prints.

    python -m bench.mcp_fleet connect|idle|restarts FOLDER [KEY=VALUE…]

`local` is how many servers over stdio, `urls` those over HTTP, `base` the address of the model,
`seconds` how long to be idle, `rounds` how often all servers are ended and started again. It prints
one line of JSON. Times are seconds, memory is MB of 2^20 bytes.
"""

import gc
import json
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
import psutil
from bench.idle_app import setup_in
from bench.messages import MODEL

from patina.assembly.app import App, open_app
from patina.model import commands, events
from patina.model.ids import new_id
from patina.model.parts import Text
from patina.model.settings import ProviderSettings, ServerSettings, Settings
from patina.permission.approvals import Approvals

FAKE = Path(__file__).resolve().parent.parent / "tests/mcp/fakes/fake.py"
TOOLS = 10
LIMIT = 30.0
Given = dict[str, str]


def fake(way: str) -> tuple[str, ...]:
    """Return the command of the smallest server, over stdio or HTTP."""
    return (sys.executable, "-S", "-E", "-I", str(FAKE), way, str(TOOLS))


def servers(given: Given) -> dict[str, ServerSettings]:
    """Return the settings of all servers."""
    command, *args = fake("stdio")
    local = {
        f"local{number}": ServerSettings(command=command, args=tuple(args))
        for number in range(int(given.get("local", "0")))
    }
    urls = given["urls"].split(",") if given.get("urls") else []
    remote = {
        f"remote{number}": ServerSettings(transport="streamable-http", url=url)
        for number, url in enumerate(urls)
    }
    return {**local, **remote}


@asynccontextmanager
async def app_with(folder: Path, given: Given) -> AsyncIterator[App]:
    """Run the app of a chat: it goes on after an answer."""
    provider = ProviderSettings(
        kind="openai_compatible", base_url=given.get("base", ""), local=True
    )
    configured = servers(given)
    settings = Settings(
        default_model=f"mock/{MODEL}", providers={"mock": provider}, mcp_servers=configured
    )
    setup = msgspec.structs.replace(
        setup_in(folder, settings),
        lives_on=True,
        approvals=Approvals(start=frozenset(configured)),
    )
    async with open_app(setup) as app:
        yield app


def memory() -> float:
    """Return what this process holds now."""
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


def cpu() -> float:
    """Return the CPU seconds of this process, without those that it started."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def all_connected(app: App) -> None:
    """Return when every server is. Raises `RuntimeError` where one is not in time."""
    supervisor = app.supervisor
    with anyio.move_on_after(LIMIT), app.engine.subscribe() as subscription:
        if all(map(supervisor.connected, supervisor.servers)):
            return
        async for event in subscription:
            if isinstance(event, events.ServerChanged) and all(
                map(supervisor.connected, supervisor.servers)
            ):
                return
    told = (status for status in supervisor.status() if status.state != "connected")
    raise RuntimeError("; ".join(f"{one.server}: {one.state} {one.text}" for one in told))


async def connect(folder: Path, given: Given) -> dict[str, Any]:
    """Open the app, and send a message at the same moment as all servers begin to connect."""
    states: dict[str, dict[str, float]] = {}
    message = commands.SendMessage(conversation=new_id(), message_id=new_id(), parts=(Text("hi"),))
    ended = anyio.Event()

    async def hear(app: App, heard: anyio.Event) -> None:
        with app.engine.subscribe() as subscription:
            heard.set()
            async for event in subscription:
                if isinstance(event, events.ServerChanged):
                    states.setdefault(event.server, {}).setdefault(event.state, time.monotonic())
                elif isinstance(event, events.TurnEnded | events.CommandFailed):
                    if event.error is not None:
                        raise RuntimeError(event.error.message)
                    ended.set()

    async with app_with(folder, given) as app, anyio.create_task_group() as tasks:
        heard = anyio.Event()
        tasks.start_soon(hear, app, heard)
        await heard.wait()
        begun = time.monotonic()
        app.supervisor.start_background()
        app.engine.submit(message)
        with anyio.fail_after(LIMIT):
            await ended.wait()
        answered = time.monotonic()
        await all_connected(app)
        done = time.monotonic()
        await anyio.sleep(0.2)
        held = memory()
        tasks.cancel_scope.cancel()
    took = [state["connected"] - state["starting"] for state in states.values()]
    return {
        "begun": begun,
        "answered": answered - begun,
        "all": done - begun,
        "slowest": max(took, default=0.0),
        "memory": held,
        "tools": sum(status.tools for status in app.supervisor.status()),
    }


async def idle(folder: Path, given: Given) -> dict[str, Any]:
    """Connect all servers, then do nothing."""
    seconds = float(given["seconds"])
    async with app_with(folder, given) as app:
        with app.engine.subscribe():
            app.supervisor.start_background()
            await all_connected(app)
            await anyio.sleep(2)  # what connecting left to do is no part of being idle
            begun = cpu()
            await anyio.sleep(seconds)
            used = cpu() - begun
            await all_connected(app)
    return {"cpu": used}


async def restarts(folder: Path, given: Given) -> dict[str, Any]:
    """End and start all servers again and again, every other time by killing them."""
    me = psutil.Process()
    async with app_with(folder, given) as app:
        supervisor = app.supervisor
        names = tuple(supervisor.servers)
        await supervisor.connect_within(names, LIMIT)
        await all_connected(app)
        descriptors, processes = me.num_fds(), len(me.children(recursive=True))
        held = memory()
        begun = cpu()
        for number in range(int(given["rounds"])):
            if number % 2:
                for child in me.children():
                    child.kill()
            async with anyio.create_task_group() as tasks:
                for name in names:
                    tasks.start_soon(supervisor.stop, name)
            await supervisor.connect_within(names, LIMIT)
            await all_connected(app)
        used = cpu() - begun
        await anyio.sleep(1)
        left = {
            "descriptors": me.num_fds() - descriptors,
            "processes": len(me.children(recursive=True)) - processes,
            "memory": memory() - held,
            "cpu": used,
        }
    return {**left, "orphans": len(me.children(recursive=True))}


def main() -> None:
    """Run it."""
    what = {"connect": connect, "idle": idle, "restarts": restarts}[sys.argv[1]]
    given = dict(argument.split("=", 1) for argument in sys.argv[3:])
    print(json.dumps(anyio.run(what, Path(sys.argv[2]), given)))


if __name__ == "__main__":
    main()
