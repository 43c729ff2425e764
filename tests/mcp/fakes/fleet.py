"""Starts fakes, and counts what is left of them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from tests.mcp.house import House

from patina.model.settings import ServerSettings

ROOT = Path(__file__).resolve().parents[3]
FAKE = Path(__file__).with_name("fake.py")
# Without site-packages: a virtual environment's own `python` looks for them in any case.
PYTHON = sys.executable
LEAN = ("-S", "-E", "-I", str(FAKE))


def fake(tools: int = 0) -> ServerSettings:
    """A good server over stdio with `tools` tools more than two."""
    args = (*LEAN, "stdio", str(tools))
    return ServerSettings(command=PYTHON, args=args, idle_timeout=0.0)


@contextmanager
def http_server(command: tuple[str, ...] = (), *, tools: int = 0) -> Iterator[str]:
    """Run a server over HTTP, a good one if no other is named; its URL."""
    command = command or (PYTHON, *LEAN, "http", str(tools))
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def started(house: House, server: str) -> list[int]:
    """All processes that were ever started for the server."""
    folder = house.root / "state/logs/mcp"
    texts = (path.read_text() for path in folder.glob(f"{server}.log*"))
    return [int(pid) for text in texts for pid in re.findall(r"started as process (\d+)", text)]


def groups_alive(house: House, *servers: str) -> list[int]:
    """The processes that live in a group of a process of these servers."""
    groups = {pid for server in servers for pid in started(house, server)}
    found = []
    for process in psutil.process_iter(["status"]):
        try:
            if os.getpgid(process.pid) in groups and process.info["status"] != "zombie":
                found.append(process.pid)
        except ProcessLookupError:
            continue
    return found
