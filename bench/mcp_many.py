"""Many MCP servers in one app: 40 over stdio and 10 over HTTP, each the standard library's least.

Beside it: the same app without servers, and the SDK's own clients holding the same servers
(`mcp_loop.py`). The app is `mcp_fleet.py`, a process of its own in every run.
"""

import json
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.mcp_calls import served
from bench.mcp_fleet import fake
from bench.processes import LIMIT, PYTHON, NotMeasuredError, arrivals, mock_server
from bench.table import Row

ROOT = Path(__file__).resolve().parent.parent
LOCAL, REMOTE = 40, 10
IDLE_LOCAL, IDLE_REMOTE = 7, 3
IDLE_SECONDS = 60
RESTARTED, ROUNDS = 10, 20
LISTED_WITHIN = 3.0
MEMORY_MB = 150.0
IDLE_SHARE = 0.005
# What the first message may come later: no more than it varies by itself.
LATER_MS = 20.0
_RAW = "raw SDK"
Progress = Callable[[], None]


def rows(rounds: int, progress: Progress) -> list[Row]:
    """Measure everything: some seconds a round, and a good minute of doing nothing."""
    with ExitStack() as stack:
        urls = [stack.enter_context(served(fake("http"))) for _ in range(REMOTE)]
        return [*_connecting(rounds, urls, progress), *_restarting(progress), *_idling(urls)]


def _run(module: str, *arguments: str) -> dict[str, Any]:
    command = [PYTHON, "-m", f"bench.{module}", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT + IDLE_SECONDS, check=False
    )
    if done.returncode:
        raise NotMeasuredError(f"{module} {arguments[0]}: {done.stderr[-500:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _connecting(rounds: int, urls: list[str], progress: Progress) -> list[Row]:
    many = (f"local={LOCAL}", f"urls={','.join(urls)}")
    alone: list[dict[str, Any]] = []
    first: list[dict[str, Any]] = []
    later: list[dict[str, Any]] = []
    raw: list[dict[str, Any]] = []
    with mock_server(1) as port, tempfile.TemporaryDirectory(prefix="patina-bench-") as folder:

        def connect(where: str, *given: str) -> dict[str, Any]:
            before = len(arrivals(port))
            base = f"base=http://127.0.0.1:{port}/v1"
            place = Path(folder, where)
            place.mkdir(exist_ok=True)
            found = _run("mcp_fleet", "connect", str(place), base, *given)
            # The title that a chat asks for comes after the answer.
            return found | {"request": arrivals(port)[before] - found["begun"]}

        for number in range(rounds):
            alone.append(connect("alone"))
            first.append(connect(f"many{number}", *many))
            later.append(connect(f"many{number}", *many))
            raw.append(_run("mcp_loop", str(LOCAL), ",".join(urls)))
            if not first[-1]["tools"] == later[-1]["tools"] == raw[-1]["tools"]:
                raise NotMeasuredError("not all tools were listed")
            progress()

    def median(found: list[dict[str, Any]], key: str) -> float:
        return statistics.median(float(one[key]) for one in found)

    without = median(alone, "request") * 1000
    request = median(later, "request") * 1000
    count = LOCAL + REMOTE
    return [
        Row(f"{count} servers: first message", request, "ms", without, "no servers"),
        Row("   it is sent later by", request - without, "ms", limit=LATER_MS),
        Row("   where they were never seen", median(first, "request") * 1000, "ms", without),
        Row(
            "   slowest, start to listed",
            *(median(first, "slowest"), "s", median(raw, "slowest"), _RAW),
            limit=LISTED_WITHIN,
        ),
        Row("   all of them listed", median(first, "all"), "s", median(raw, "all"), _RAW),
        Row(
            "   memory",
            *(median(first, "memory") - median(alone, "memory"), "MB"),
            *(median(raw, "memory"), _RAW),
            limit=MEMORY_MB,
        ),
    ]


def _restarting(progress: Progress) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="patina-bench-") as folder:
        found = _run("mcp_fleet", "restarts", folder, f"local={RESTARTED}", f"rounds={ROUNDS}")
    progress()
    lives = RESTARTED * ROUNDS
    return [
        Row(f"{lives} restarts: CPU of one", found["cpu"] / lives * 1000, "ms"),
        Row("   descriptors left", found["descriptors"], "", limit=0),
        Row("   processes left", found["processes"] + found["orphans"], "", limit=0),
        Row("   memory left", found["memory"], "MB"),
    ]


def _idling(urls: list[str]) -> list[Row]:
    """Both at the same time, for neither is to do anything."""
    servers = (f"local={IDLE_LOCAL}", f"urls={','.join(urls[:IDLE_REMOTE])}")
    used = []
    with ExitStack() as stack:
        running = []
        for given in (servers, ()):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="patina-bench-"))
            command = [PYTHON, "-m", "bench.mcp_fleet", "idle", folder, *given]
            running.append(
                stack.enter_context(
                    subprocess.Popen(
                        [*command, f"seconds={IDLE_SECONDS}"], cwd=ROOT, stdout=subprocess.PIPE
                    )
                )
            )
        for process in running:
            said, _ = process.communicate(timeout=LIMIT + IDLE_SECONDS)
            if process.returncode:
                raise NotMeasuredError(f"being idle: exit code {process.returncode}")
            used.append(float(json.loads(said)["cpu"]))
    name = f"idle, {IDLE_LOCAL + IDLE_REMOTE} servers: CPU of {IDLE_SECONDS} s"
    limit = IDLE_SHARE * IDLE_SECONDS * 1000
    return [Row(name, used[0] * 1000, "ms", used[1] * 1000, "no servers", limit=limit)]
