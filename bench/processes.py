"""Whole processes, measured in turns so that the machine's moods meet all of them alike."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

HERE = Path(__file__).resolve().parent
PYTHON = sys.executable
LIMIT = 120.0
# What would change what a measured program does.
_UNWANTED = ("PYTHON", "PATINA_", "OPENAI_", "AZURE_", "LLM_", "OLLAMA_", "HF_", "GEMINI_")

Output = Literal["pipe", "terminal"]


class NotMeasuredError(Exception):
    """Something could not be measured."""


class Program(NamedTuple):
    """What to start, and what of the environment is its own."""

    arguments: tuple[str, ...]
    environ: Mapping[str, str] = {}


class Run(NamedTuple):
    """One run. `cpu`, `wall` and `request` (from the start to the request's arrival at the server)
    are seconds, `peak` is memory in MB (2**20 bytes).
    """

    cpu: float
    wall: float
    peak: float
    request: float


def script(name: str, *arguments: str) -> Program:
    """Return a script of this folder as a program."""
    return Program((PYTHON, "-P", str(HERE / name), *arguments))


@contextmanager
def mock_server(deltas: int) -> Iterator[str]:
    """Serve answers of so many deltas; give the port."""
    command = [PYTHON, str(HERE / "mock_server.py"), "--deltas", str(deltas)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def compare(
    programs: Mapping[str, Program],
    *,
    folder: Path,
    rounds: int,
    port: str = "",
    output: Output = "pipe",
    progress: Callable[[], None],
) -> dict[str, list[Run]]:
    """Run all programs in `folder`, `rounds` times in turns, after one round that counts nothing.

    With `port`, each is to make exactly one request of that server. Raises `NotMeasuredError`
    where a program fails, prints nothing although it asked, or hangs.
    """
    measured: dict[str, list[Run]] = {name: [] for name in programs}
    for number in range(rounds + 1):
        for name, program in programs.items():
            run = _measure(name, program, folder, port, output)
            if number:
                measured[name].append(run)
        progress()
    return measured


def _measure(name: str, program: Program, folder: Path, port: str, output: Output) -> Run:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(_UNWANTED)}
    environ |= {"TERM": "xterm-256color", **program.environ}
    before = len(arrivals(port)) if port else 0
    spawn = [PYTHON, "-I", "-S", str(HERE / "spawn.py"), output, *program.arguments]
    try:
        done = subprocess.run(
            spawn, cwd=folder, env=environ, capture_output=True, timeout=LIMIT, check=True
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise NotMeasuredError(f"{name}: {error}") from error
    line, _, end = done.stdout.partition(b"\n")
    code, begun, wall, cpu, peak, printed = line.decode().split()
    if code != "0" or (port and printed == "0"):
        said = (end + done.stderr).decode(errors="backslashreplace").strip()
        raise NotMeasuredError(f"{name}: ended with {code}: {said[-500:]}")
    request = 0.0
    if port:
        arrived = arrivals(port)[before:]
        if len(arrived) != 1:
            raise NotMeasuredError(f"{name}: {len(arrived)} requests where one was expected")
        request = arrived[0] - float(begun)
    return Run(float(cpu), float(wall), int(peak) / 2**20, request)


def arrivals(port: str) -> list[float]:
    """Return when requests arrived at the mock server, by the clock that processes share."""
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
    try:
        connection.request("GET", "/stats")
        arrived: list[float] = json.load(connection.getresponse())["arrivals"]
        return arrived
    finally:
        connection.close()
