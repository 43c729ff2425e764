"""Streaming: the provider layer against bare loops over the same bytes, CPU seconds of a process.

    python bench/stream.py [--runs N]

Each row is a whole process that asks the local mock server once and prints the answer into a
pipe. "start" is what the same process needs for 1 delta, so "per delta" is without start-up.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
LOOPS = {
    "patina providers": "loop_patina.py",
    "httpx2 loop": "loop_httpx2.py",
    "http.client loop": "loop_http_client.py",
}
COUNTS = (1, 200, 10_000)


class Run(NamedTuple):
    """One measured process: CPU seconds and peak memory in MB."""

    cpu: float
    rss: float


def measure(script: Path, port: str) -> Run:
    """Run `script` against the server at `port` once."""
    process = subprocess.Popen([sys.executable, str(script), port], stdout=subprocess.PIPE)
    assert process.stdout is not None
    words = len(process.stdout.read().split())
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not words:
        raise SystemExit(f"{script.name} failed")
    per_mb = 1024 * 1024 if sys.platform == "darwin" else 1024
    return Run(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / per_mb)


def measure_all(count: int, runs: int) -> dict[str, list[Run]]:
    """Measure every loop in turn, so that a busy moment meets all of them."""
    server = subprocess.Popen(
        [sys.executable, str(HERE / "mock_server.py"), "--deltas", str(count)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        measured: dict[str, list[Run]] = {name: [] for name in LOOPS}
        for _ in range(runs):
            for name, script in LOOPS.items():
                measured[name].append(measure(HERE / script, port))
        return measured
    finally:
        server.terminate()
        server.communicate(timeout=10)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure streaming.")
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    results = {count: measure_all(count, runs) for count in COUNTS}
    cpu = {
        (name, count): statistics.median(run.cpu for run in results[count][name])
        for name in LOOPS
        for count in COUNTS
    }
    print(f"{'CPU s, median of ' + str(runs):<24}{'start':>8}{'200':>8}{'10,000':>8}", end="")
    print(f"{'µs/delta':>10}{'vs httpx2':>11}{'peak MB':>9}")
    for name in LOOPS:
        start, short, long = (cpu[name, count] for count in COUNTS)
        ratio = long / cpu["httpx2 loop", COUNTS[-1]]
        each = (long - start) / COUNTS[-1] * 1e6
        rss = statistics.median(run.rss for run in results[COUNTS[-1]][name])
        print(f"{name:<24}{start:>8.3f}{short:>8.3f}{long:>8.3f}{each:>10.1f}", end="")
        print(f"{ratio:>10.2f}x{rss:>9.1f}")


if __name__ == "__main__":
    main()
