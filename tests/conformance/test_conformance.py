"""The protocol's own conformance suite against Patina's connection code (`client.py`).

Every scenario of both pinned wires runs but those of `auth/`. The suite is
`@modelcontextprotocol/conformance`, pinned in `tests/node`; it needs Node 22, pinned there too.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from tests.stand_ins import node_binary

ROOT: Final = Path(__file__).parent.parent.parent
PACKAGE: Final = ROOT / "tests/node/node_modules/@modelcontextprotocol/conformance"
CLIENT: Final = "tests/conformance/client.py"
DOCS: Final = ROOT / "docs/conformance.md"
WIRES: Final = ("2025-11-25", "2026-07-28")
AT_ONCE: Final = 2
# The client gives up before the suite does, and the suite before the test.
SUITE_SECONDS: Final = 60
RUN_SECONDS: Final = 90


class Run(NamedTuple):
    """One scenario on one wire: how many checks there were, and what went wrong ("": nothing)."""

    scenario: str
    wire: str
    passed: int
    total: int
    skipped: int
    wrong: str

    @property
    def good(self) -> bool:
        return not self.wrong and 0 < self.total == self.passed


def _suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT", "COMSPEC", "TEMP", "USERPROFILE")
    return subprocess.run(
        [node_binary("node"), str(PACKAGE / "dist/index.js"), *arguments],
        cwd=ROOT,
        env={name: os.environ[name] for name in kept if name in os.environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=RUN_SECONDS,
    )


def _for_shell(*command: str) -> str:
    """Return `command` as the shell reads it to which the suite hands it."""
    return subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)


def _listed(wire: str) -> Iterator[str]:
    listing = _suite("list", "--client", "--spec-version", wire)
    assert listing.returncode == 0, listing.stderr
    for line in listing.stdout.splitlines():
        name = line.removeprefix("  - ").partition(" [")[0]
        if name != line and not name.startswith("auth/"):
            yield name


def _run(scenario: str, wire: str, results: Path) -> Run:
    results.mkdir()
    ended = _suite(
        "client",
        *("--command", _for_shell(sys.executable, "-P", CLIENT)),
        *("--scenario", scenario, "--spec-version", wire),
        *("--timeout", str(SUITE_SECONDS * 1000), "--output-dir", str(results)),
    )
    found = list(results.glob("*/checks.json"))
    if len(found) != 1:
        return Run(
            scenario, wire, 0, 0, 0, f"no checks: {ended.stdout[-500:]}{ended.stderr[-2000:]}"
        )
    checks = json.loads(found[0].read_text("utf-8"))
    status = [check["status"] for check in checks]
    wrong = [
        f"{check['id']}: {check.get('errorMessage') or check['description']}"
        for check in checks
        if check["status"] in ("FAILURE", "WARNING")
    ]
    if ended.returncode:
        wrong += [
            f"ended with {ended.returncode}",
            (found[0].parent / "stderr.txt").read_text("utf-8"),
        ]
    passed, skipped = status.count("SUCCESS"), status.count("SKIPPED")
    total = passed + status.count("FAILURE") + status.count("WARNING")
    return Run(scenario, wire, passed, total, skipped, "\n    ".join(wrong))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, ...]:
    folder = tmp_path_factory.mktemp("conformance")
    wanted = [(scenario, wire) for wire in WIRES for scenario in _listed(wire)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        started = [
            pool.submit(_run, scenario, wire, folder / f"{scenario}-{wire}")
            for scenario, wire in wanted
        ]
        return tuple(one.result() for one in started)


def test_every_scenario_passes(runs: tuple[Run, ...]) -> None:  # C-02 C-13
    assert {run.wire for run in runs} == set(WIRES)
    failed = [run for run in runs if not run.good]
    assert not failed, "\n".join(
        f"{run.scenario} on {run.wire}: {run.passed}/{run.total}\n    {run.wrong}" for run in failed
    )


def test_the_table_in_the_docs_is_that_of_this_run(
    runs: tuple[Run, ...], request: pytest.FixtureRequest
) -> None:
    page = _page(runs)
    if request.config.getoption("write_docs", default=False):
        DOCS.write_text(page, "utf-8")
    assert DOCS.read_text("utf-8") == page, (
        f"{DOCS.relative_to(ROOT)} is not what the suite found: "
        "`./test tests/conformance --write-docs` writes it anew"
    )


def _page(runs: tuple[Run, ...]) -> str:
    version = json.loads((PACKAGE / "package.json").read_text("utf-8"))["version"]
    rows = "\n".join(
        f"| `{run.scenario}` | {run.wire} | {run.passed} of {run.total} | {run.skipped or ''} |"
        for run in runs
    )
    good = sum(run.good for run in runs)
    return f"""\
# Conformance

What the protocol's own suite, `@modelcontextprotocol/conformance` {version}, finds when it drives
Patina's connection code (`tests/conformance/client.py`) over Streamable HTTP. `./test` runs it and
fails where this page is not what it found; `./test tests/conformance --write-docs` writes the page.

{good} of {len(runs)} pass. *Skipped* are checks of what a client may leave out, or of what the wire
does not have. The scenarios of `auth/` are not run yet: Patina cannot sign in to servers yet. Those
of extensions belong to no wire.

| Scenario | Wire | Checks passed | Skipped |
|---|---|---|---|
{rows}
"""
