"""Starts the independent stand-ins of `tests/node`, which `./test` installs."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final, Literal

MODULES: Final = Path(__file__).parent / "node" / "node_modules"
BINARIES = MODULES / ".bin"
START_SECONDS = 60.0
END_SECONDS = 10.0


def node_binary(name: str) -> str:
    """Return the path of an installed Node program, or fail with what to do."""
    found = shutil.which(name, path=str(BINARIES))
    if found is None or shutil.which("node") is None:
        raise AssertionError(f"{name} is not installed: run ./test, which installs what it needs")
    return found


def node_script(package: str) -> str:
    """Return the path of the program of an installed package that Patina is to start itself."""
    found = MODULES / package / "dist/index.js"
    if not found.is_file() or shutil.which("node") is None:
        raise AssertionError(f"{package} is not installed: run ./test, which installs it")
    return str(found)


@contextmanager
def aimock(fixtures: Path) -> Iterator[str]:
    """Run aimock with the fixture files of a folder; its base URL, without a version segment."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{url}/__aimock/journal", timeout=1):
            return True
        return False

    with _running(
        [node_binary("llmock"), "-p", str(port), "-f", str(fixtures), "--strict"], answers
    ):
        yield url


def aimock_journal(url: str) -> list[dict[str, Any]]:
    """Return the requests that aimock received, oldest first."""
    with urllib.request.urlopen(f"{url}/__aimock/journal", timeout=END_SECONDS) as response:
        journal = json.load(response)
    assert isinstance(journal, list)
    return journal


@contextmanager
def everything(transport: Literal["sse", "streamable-http"]) -> Iterator[str]:
    """Run server-everything, which has all that MCP has; the URL of its endpoint."""
    argument, path = {"sse": ("sse", "sse"), "streamable-http": ("streamableHttp", "mcp")}[
        transport
    ]
    script = node_script("@modelcontextprotocol/server-everything")
    with listening(lambda _: ["node", script, argument], by_variable=True) as origin:
        yield f"{origin}/{path}"


@contextmanager
def oidc_provider(script: Path, life: int, *kinds: str) -> Iterator[str]:
    """Run `script`, an authorization server on `oidc-provider`; its origin, which is its name.

    `life` is the seconds that access tokens live.
    """
    if not (MODULES / "oidc-provider").is_dir():
        raise AssertionError("oidc-provider is not installed: run ./test, which installs it")
    node = node_binary("node")  # of tests/node: the package needs a newer one than most have
    with listening(lambda port: [node, str(script), str(port), str(life), *kinds]) as origin:
        yield origin


@contextmanager
def listening(
    command: Callable[[int], Sequence[str]], *, by_variable: bool = False
) -> Iterator[str]:
    """Run `command`, which listens on the port it is given; its origin.

    `by_variable`: the port is given as `PORT` in its environment, too.
    """
    port = _free_port()

    def answers() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    with _running(command(port), answers, {"PORT": str(port)} if by_variable else None):
        yield f"http://127.0.0.1:{port}"


def _free_port() -> int:
    """Return a port that is free now; the stand-ins take no listening socket."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


@contextmanager
def _running(
    command: Sequence[str], answers: Callable[[], bool], environ: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run `command` from when it `answers` on, and end it."""
    with TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_for(process, answers, output)
            yield
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(END_SECONDS)


def _wait_for(
    process: subprocess.Popen[bytes], answers: Callable[[], bool], output: IO[bytes]
) -> None:
    """Return when it answers. Fails with its output if it ends, or after a minute."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if answers():
            return
        with suppress(subprocess.TimeoutExpired):
            ended = process.wait(0.05)
            output.seek(0)
            said = output.read().decode(errors="replace")
            raise AssertionError(f"{process.args!r} ended with {ended}: {said[-2000:]}")
    raise AssertionError(f"{process.args!r} did not answer within {START_SECONDS:g} s")
