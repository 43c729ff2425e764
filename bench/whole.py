"""Whole processes: starting, one question of 200 deltas, a burst of 10,000, an idle app."""

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from bench import kept_keys, reference
from bench.peers import Llm
from bench.processes import PYTHON, Output, Program, Run, compare, mock_server, script
from bench.table import Peer, Row, Unit

ROOT = Path(__file__).resolve().parent.parent
PATINA = "patina"
BARE = "python -c pass"
HTTPX2 = "httpx2 loop"
HTTP_CLIENT = "http.client loop"
PROVIDERS = "provider layer alone"
SHELL = "./run --version, its shell included"
BURST = 10_000
# What pip writes for the command; the one of .venv is there only if somebody installed it.
_ENTRY = """\
import re
import sys
from patina.__main__ import main
if __name__ == "__main__":
    sys.argv[0] = re.sub(r"(-script\\.pyw|\\.exe)?$", "", sys.argv[0])
    sys.exit(main())
"""
_PEERS: dict[Output, Peer] = {
    "pipe": reference.BURST_PIPE,
    "terminal": reference.BURST_TERMINAL,
}


class Figure(NamedTuple):
    """Which figure of a run, how it is called, and in which unit, of which a second has `scale`."""

    field: Literal["cpu", "wall", "peak", "request"]
    name: str
    unit: Unit
    scale: float = 1.0


CPU = Figure("cpu", "CPU", "s")
REQUEST = Figure("request", "start to request", "ms", 1000.0)
EXIT = Figure("wall", "start to exit", "ms", 1000.0)
PEAK = Figure("peak", "peak memory", "MB")


class Whole:
    """Measures whole processes in `folder`, which is theirs, as medians of `rounds` runs.

    With `llm`, that is measured in the same rounds. `progress` is told after each round.
    """

    def __init__(
        self, folder: Path, rounds: int, llm: Llm | None, progress: Callable[[], None]
    ) -> None:
        self._folder = folder
        self._rounds = rounds
        self._llm = llm
        self._progress = progress
        self._entry = folder / "patina"
        self._entry.write_text(_ENTRY, encoding="utf-8")

    def start(self) -> list[Row]:
        """`--version` and `--help`."""
        programs = {
            "version": self._patina("--version"),
            "help": self._patina("--help"),
            SHELL: Program((str(ROOT / "run"), "--version")),
            BARE: Program((PYTHON, "-c", "pass")),
        }
        if self._llm:
            programs["llm version"] = self._llm.program("--version")
            programs["llm help"] = self._llm.program("--help")
        runs = self._compare(programs, self._rounds)
        version = self._row(runs, "version", CPU, BARE, reference.VERSION, "llm version")
        help_cpu = self._row(runs, "help", CPU, BARE, reference.HELP, "llm help")
        help_peak = self._row(runs, "help", PEAK, BARE, reference.HELP_PEAK, "llm help")
        return [
            version._replace(name="--version: CPU", limit=0.02),
            help_cpu._replace(name="--help: CPU", limit=0.045),
            help_peak._replace(name="--help: peak memory", limit=20.0),
            self._row(runs, SHELL, CPU, BARE),
        ]

    def ask(self) -> list[Row]:
        """`ask`, 200 deltas; then the same with the key among the secrets."""
        with mock_server(200) as port:
            runs = self._compare(self._loops(port), self._rounds, port)
        rows = [
            self._row(runs, PATINA, CPU, HTTPX2, reference.ASK_CPU, "llm", limit=0.22, wish=0.19),
            self._row(runs, PATINA, REQUEST, HTTPX2, reference.ASK_REQUEST, "llm", limit=180.0),
            self._row(runs, PATINA, EXIT, HTTPX2, reference.ASK_EXIT, "llm", limit=220.0),
            self._row(runs, PATINA, PEAK, HTTPX2, reference.ASK_PEAK, "llm", limit=42.0),
        ]
        named = [row._replace(name=row.name.replace(PATINA, "ask, 200 deltas")) for row in rows]
        return [
            *named,
            *self._beside(runs),
            *kept_keys.rows(self._entry, self._rounds, self._progress),
        ]

    def burst(self) -> list[Row]:
        """`ask`, 10,000 deltas as fast as they can be read, into a pipe and onto a terminal."""
        rows: list[Row] = []
        with mock_server(BURST) as port:
            for output, peer in _PEERS.items():
                runs = self._compare(self._loops(port), max(3, self._rounds // 2), port, output)
                row = self._row(runs, PATINA, CPU, HTTPX2, peer, "llm", times=1.3)
                name = f"ask, {BURST:,} deltas, {output}: CPU"
                rows += [row._replace(name=name), *self._beside(runs)]
        return rows

    def idle(self) -> list[Row]:
        """Memory of an open app that does nothing."""
        programs = {PATINA: script("idle_app.py"), BARE: Program((PYTHON, "-c", "pass"))}
        row = self._row(self._compare(programs, 3), PATINA, PEAK, BARE)
        return [row._replace(name="an open app that is idle: peak memory")]

    def _beside(self, runs: Mapping[str, list[Run]]) -> list[Row]:
        """What else asked the same question, for comparison."""
        others = (HTTP_CLIENT, PROVIDERS)
        rows = [self._row(runs, name, CPU, HTTPX2) for name in others]
        return [row._replace(name=f"   {row.name}") for row in rows]

    def _loops(self, port: str) -> dict[str, Program]:
        environ = {
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
        }
        programs = {
            PATINA: self._patina("ask", "-m", "openai/gpt-5.2", "hello", environ=environ),
            HTTPX2: script("loop_httpx2.py", port),
            HTTP_CLIENT: script("loop_http_client.py", port),
            PROVIDERS: script("loop_patina.py", port),
        }
        if self._llm:
            programs["llm"] = self._llm.ask(port)
        return programs

    def _patina(self, *arguments: str, environ: Mapping[str, str] | None = None) -> Program:
        own = {"PATINA_HOME": str(self._folder / "home"), **(environ or {})}
        return Program((PYTHON, str(self._entry), *arguments), own)

    def _compare(
        self,
        programs: Mapping[str, Program],
        rounds: int,
        port: str = "",
        output: Output = "pipe",
    ) -> dict[str, list[Run]]:
        return compare(
            programs,
            folder=self._folder,
            rounds=rounds,
            port=port,
            output=output,
            progress=self._progress,
        )

    def _row(
        self,
        runs: Mapping[str, list[Run]],
        program: str,
        figure: Figure,
        floor: str,
        reference_peer: Peer | None = None,
        live: str = "",
        *,
        limit: float | None = None,
        times: float | None = None,
        wish: float | None = None,
    ) -> Row:
        """Return the row of `program`; `live` names the runs of a peer measured beside it."""
        values = {
            name: figure.scale * statistics.median(getattr(run, figure.field) for run in got)
            for name, got in runs.items()
        }
        peers = [reference_peer] if reference_peer else []
        if self._llm and live:
            peers.append(Peer(f"{self._llm.name} now", values[live], values[floor]))
        return Row(
            f"{program}: {figure.name}",
            values[program],
            figure.unit,
            values[floor],
            floor,
            tuple(peers),
            limit,
            times,
            wish,
        )
