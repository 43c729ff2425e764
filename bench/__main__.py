"""Measures everything and prints one table; `README.md` says what it means."""

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from bench import reference
from bench.processes import NotMeasuredError
from bench.table import Row, table

from patina import __version__
from patina.model.faults import Fault

ROUNDS = 11
QUICK_ROUNDS = 3
GROUPS = (
    "start",
    "ask",
    "burst",
    "messages",
    "store",
    "library",
    "tools",
    "mcp",
    "memory",
    "providers",
    "money",
)


def main() -> int:
    """Run the command line. 1 where something could not be measured, whatever the figures say."""
    parser = argparse.ArgumentParser(prog="python bench/run.py", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs, for a first look")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--only", action="append", choices=GROUPS, help="can be repeated")
    parser.add_argument("--peers", action="store_true", help="install and measure llm, too")
    options = parser.parse_args()
    chosen = options.only or GROUPS
    compile_all()
    with tempfile.TemporaryDirectory(prefix="patina-bench-") as folder:
        rows, failures = measure(chosen, Path(folder), quick=options.quick, peers=options.peers)
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    if options.json:
        plain = {"machine": machine(rounds), "rows": [row.plain() for row in rows]}
        print(json.dumps({**plain, "not_measured": failures}, indent=2))
    else:
        print(f"{machine(rounds)}\n\n{table(rows)}\n")
        print(f"Peers without “now”: {reference.DATE}, {reference.MACHINE}.")
        print("A peer's ratio is to the floor of its own hour: compare ratios.")
        for failure in failures:
            print(f"Not measured: {failure}")
    return 1 if failures else 0


def compile_all() -> None:
    """Compile first: otherwise the first start does it, where the environment lets it."""
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "compileall", "-q", "src"]
    subprocess.run(command, check=False, env=environ)


def machine(rounds: int) -> str:
    """Say what was measured where."""
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"Patina {__version__}, {python}, {system}, {today}, medians of up to {rounds} rounds"


def measure(
    chosen: Collection[str], folder: Path, *, quick: bool, peers: bool
) -> tuple[list[Row], list[str]]:
    """Return the rows of the chosen groups, and why others are missing."""
    failures: list[str] = []
    rows: list[Row] = []
    for name, group in groups(folder, failures, quick=quick, peers=peers).items():
        if name not in chosen:
            continue
        show(f"{name} ")
        try:
            rows += group()
        except (NotMeasuredError, Fault, OSError, ExceptionGroup) as error:
            failures.append(f"{name}: {error}")
        show("\n")
    return rows, failures


def groups(
    folder: Path, failures: list[str], *, quick: bool, peers: bool
) -> dict[str, Callable[[], list[Row]]]:
    """Return what can be measured, in the order of the table."""
    from bench import library, mcp_calls, mcp_many, messages, money, store, usage_report, wire_rows
    from bench.peers import Llm
    from bench.whole import Whole

    llm = None
    if peers:
        try:
            llm = Llm.installed(folder)
        except NotMeasuredError as error:
            failures.append(str(error))
    rounds = QUICK_ROUNDS if quick else ROUNDS

    def progress() -> None:
        show(".")

    whole = Whole(folder, rounds, llm, progress)
    return {
        "start": whole.start,
        "ask": whole.ask,
        "burst": whole.burst,
        "messages": lambda: messages.rows(5 if quick else 20),
        "store": store.rows,
        "library": lambda: library.rows(folder, rounds, llm, progress),
        "tools": mcp_calls.rows,
        "mcp": lambda: mcp_many.rows(1 if quick else 5, progress),
        "memory": whole.idle,
        "providers": lambda: [
            *wire_rows.bursts(1 if quick else 5, progress),
            *wire_rows.first_words(progress),
            *wire_rows.imports(folder, rounds, progress),
        ],
        "money": lambda: [
            *money.rows(progress, 100_000 if quick else money.REQUESTS),
            *usage_report.rows(
                folder, rounds, progress, 120_000 if quick else usage_report.REQUESTS
            ),
        ],
    }


def show(text: str) -> None:
    """Show progress to a person, who has some minutes to wait."""
    if sys.stderr.isatty():
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
