"""Starts the independent stand-ins of `tests/node`, which `./test` installs."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

BINARIES = Path(__file__).parent / "node" / "node_modules" / ".bin"
START_SECONDS = 60.0
END_SECONDS = 10.0


def node_binary(name: str) -> str:
    """Return the path of an installed Node program, or fail with what to do."""
    found = shutil.which(name, path=str(BINARIES))
    if found is None or shutil.which("node") is None:
        raise AssertionError(f"{name} is not installed: run ./test, which installs what it needs")
    return found


@contextmanager
def aimock(fixtures: Path) -> Iterator[str]:
    """Run aimock with the fixture files of a folder; its base URL, without a version segment."""
    # The port is free now; aimock takes no listening socket and cannot pick a port itself.
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [node_binary("llmock"), "-p", str(port), "-f", str(fixtures), "--strict"]
    url = f"http://127.0.0.1:{port}"
    with TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_for(process, url, output)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(END_SECONDS)


def aimock_journal(url: str) -> list[dict[str, Any]]:
    """Return the requests that aimock received, oldest first."""
    with urllib.request.urlopen(f"{url}/__aimock/journal", timeout=END_SECONDS) as response:
        journal = json.load(response)
    assert isinstance(journal, list)
    return journal


def _wait_for(process: subprocess.Popen[bytes], url: str, output: IO[bytes]) -> None:
    """Return when it answers. Fails with its output if it ends, or after a minute."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"{url}/__aimock/journal", timeout=1):
            return
        with suppress(subprocess.TimeoutExpired):
            ended = process.wait(0.05)
            output.seek(0)
            said = output.read().decode(errors="replace")
            raise AssertionError(f"aimock ended with {ended}: {said[-2000:]}")
    raise AssertionError(f"aimock did not answer within {START_SECONDS:g} s")
