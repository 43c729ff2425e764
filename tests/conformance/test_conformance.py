"""The protocol's own conformance suite against Patina's connection code (`client.py`).

Every scenario of both pinned wires runs, and of the suite's default leg those that are on neither:
the extensions and the older ways to sign in. The suite is `@modelcontextprotocol/conformance`,
pinned in `tests/node`; it needs Node 22, pinned there too.
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
CLIENT: Final = "tests.conformance.client"
DOCS: Final = ROOT / "docs/conformance.md"
WIRES: Final = ("2025-11-25", "2026-07-28")
COUNTS: Final = {"2025-11-25": 19, "2026-07-28": 33}
DEFAULT: Final = "default"
AT_ONCE: Final = 4
# Scenarios of the default leg that cannot pass, and why. Those of the wires have no exceptions.
NOT_THERE: Final = {
    f"sep-2640-client-{what}": "Patina does not know skills: it lists none and loads none."
    for what in ("no-prefetch", "verify-digest", "verify-size", "verify-frontmatter")
}
LEGS: Final = {
    "2025-11-25": "wire 2025-11-25",
    "2026-07-28": "wire 2026-07-28",
    DEFAULT: "default leg, beside the wires",
}
# The client gives up before the suite does, and the suite before the test.
SUITE_SECONDS: Final = 60
RUN_SECONDS: Final = 90


class Run(NamedTuple):
    """One scenario on one wire: how many checks there were, and what went wrong ("": nothing).

    The wire "default" is that which the suite takes for a scenario of neither pinned one.
    """

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
    listing = _suite("list", "--client", *_on(wire))
    assert listing.returncode == 0, listing.stderr
    for line in listing.stdout.splitlines():
        name = line.removeprefix("  - ").partition(" [")[0]
        if name != line:
            yield name


def _wanted() -> Iterator[tuple[str, str]]:
    """Each scenario with its wire."""
    pinned = [(scenario, wire) for wire in WIRES for scenario in _listed(wire)]
    yield from pinned
    seen = {scenario for scenario, _ in pinned}
    yield from ((scenario, DEFAULT) for scenario in _listed(DEFAULT) if scenario not in seen)


def _on(wire: str) -> tuple[str, ...]:
    return () if wire == DEFAULT else ("--spec-version", wire)


def _run(scenario: str, wire: str, results: Path) -> Run:
    results.mkdir()
    ended = _suite(
        "client",
        *("--command", _for_shell(sys.executable, "-m", CLIENT)),
        *("--scenario", scenario, *_on(wire)),
        *("--timeout", str(SUITE_SECONDS * 1000), "--output-dir", str(results)),
    )
    found = list(results.glob("**/checks.json"))
    if len(found) != 1:
        return Run(
            scenario, wire, 0, 0, 0, f"no checks: {ended.stdout[-500:]}{ended.stderr[-2000:]}"
        )
    checks = json.loads(found[0].read_text("utf-8"))
    # What each request is checked for counts once: how many there are is not always the same.
    ranks = ("SKIPPED", "SUCCESS", "WARNING", "FAILURE")
    worst: dict[tuple[str, str], str] = {}
    for check in checks:
        one, status = (check["id"], check["description"]), check["status"]
        if status in ranks and ranks.index(status) >= ranks.index(worst.get(one, ranks[0])):
            worst[one] = status
    wrong = [
        f"{check['id']}: {check.get('errorMessage') or check['description']}"
        for check in checks
        if check["status"] in ("FAILURE", "WARNING")
    ]
    if ended.returncode:
        said = (found[0].parent / "stderr.txt").read_text("utf-8")
        wrong += [f"ended with {ended.returncode}", said[-2000:]]
    counted = {status: list(worst.values()).count(status) for status in ranks}
    passed, skipped = counted["SUCCESS"], counted["SKIPPED"]
    return Run(scenario, wire, passed, len(worst) - skipped, skipped, "\n    ".join(wrong))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, ...]:
    folder = tmp_path_factory.mktemp("conformance")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        started = [
            pool.submit(_run, scenario, wire, folder / f"{scenario.replace('/', '-')}-{wire}")
            for scenario, wire in _wanted()
        ]
        return tuple(one.result() for one in started)


def test_every_scenario_passes(runs: tuple[Run, ...]) -> None:  # C-02 C-13
    assert {wire: sum(run.wire == wire for run in runs) for wire in WIRES} == COUNTS
    failed = [run for run in runs if not run.good and run.scenario not in NOT_THERE]
    assert not failed, "\n".join(
        f"{run.scenario} on {run.wire}: {run.passed}/{run.total}\n    {run.wrong}" for run in failed
    )


def test_what_is_not_there_is_still_not_there(runs: tuple[Run, ...]) -> None:
    missing = {run.scenario for run in runs if run.wire == DEFAULT and not run.good}
    assert missing == set(NOT_THERE)


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
    legs = "\n".join(
        f"- {LEGS[wire]}: {sum(run.good for run in runs if run.wire == wire)} of "
        f"{sum(run.wire == wire for run in runs)}"
        for wire in LEGS
    )
    every = {run.scenario for run in runs}
    bad = {run.scenario for run in runs if not run.good}
    gone = "\n".join(f"- `{scenario}`: {why}" for scenario, why in NOT_THERE.items())
    return f"""\
# Conformance

What the protocol's own suite, `@modelcontextprotocol/conformance` {version}, finds when it drives
Patina's connections and sign-ins (`tests/conformance/client.py`) over Streamable HTTP. `./test`
runs it and fails where this page is not what it found; `./test tests/conformance --write-docs`
writes the page.

Scenarios that pass:

{legs}
- default leg in all: {len(every - bad)} of {len(every)}

The default leg has every scenario once. The table has it by the two wires, and below them what is
on neither, as `default`. A check that is made for every request counts once. *Skipped* are checks
of what a client may leave out, or of what the wire does not have.

What is not there:

{gone}

| Scenario | Wire | Checks passed | Skipped |
|---|---|---|---|
{rows}
"""
