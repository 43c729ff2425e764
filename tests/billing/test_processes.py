"""Real processes: what is held when one is killed, what another is told, exit codes."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import anyio
import pytest
from tests.cli.model_server import ModelServer, model_server
from tests.cli.support import home, patina

from patina.billing.days import local_day
from patina.model.money import Entry, Limit
from patina.store.money.ledger import FileLedger, utc_now

D = Decimal


def configure(server: ModelServer, billing: str = "") -> None:
    home().mkdir(parents=True, exist_ok=True)
    (home() / "config.toml").write_text(
        'default_model = "near/one"\n[providers.near]\nkind = "openai_compatible"\n'
        f'base_url = "{server.url}"\n'
        '[providers.near.models.one.price]\ninput = "1"\noutput = "10"\n'
        f"[billing]\n{billing}\n"
    )


def lines(later: timedelta = timedelta()) -> list[Entry]:
    """The ledger, as it is `later` than now."""
    found: list[Entry] = []

    def take(entries: Sequence[Entry]) -> None:
        found.extend(entries)

    def now() -> str:
        moment = datetime.now(UTC) + later
        return f"{moment.isoformat(timespec='milliseconds')[:-6]}Z"

    async def read() -> None:
        # A state folder of its own: the index is made anew from the lines.
        state = home() / f"state-{len(list(home().iterdir()))}"
        async with FileLedger(home() / "data", state, now=now) as ledger:
            await ledger.entries(take)

    anyio.run(read)
    return found


def test_each_question_has_its_line() -> None:
    with model_server() as server:
        configure(server)
        assert patina("ask", "say hello").returncode == 0
        assert patina("ask", "say hello", "--no-save").returncode == 0
        kept, unkept = lines()
        assert (kept.purpose, kept.provider, kept.model) == ("chat", "near", "one")
        assert kept.conversation
        assert unkept.conversation == ""
        assert (kept.outcome, kept.cost is None) == ("done", False)


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is a POSIX signal")
def test_a_kill_between_hold_and_settle_keeps_the_money_held_until_it_expires() -> None:
    with model_server() as server:
        configure(server, 'daily_limit = "0.10"')
        process = subprocess.Popen(
            [sys.executable, "-m", "patina", "ask", "slow 2000", "--max-tokens", "8000"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        guard = threading.Timer(60, process.kill)
        guard.start()
        assert process.stdout is not None
        assert process.stdout.read(1)  # the answer has begun
        process.kill()
        process.communicate(timeout=60)
        guard.cancel()
        [held] = lines()
        assert (held.outcome, held.cost) == ("held", None)
        assert held.held is not None
        assert D("0.08") < held.held < D("0.10")
        # It counts for others, which says so; a deleted state folder changes nothing.
        for _ in range(2):
            refused = patina("ask", "say hello", "--max-tokens", "8000")
            assert refused.returncode == 5
            assert "daily limit of $0.10" in refused.stderr
            assert "held for requests that are under way" in refused.stderr
            assert "patina limits set daily 0.2" in refused.stderr
            remove_state()
        assert patina("ask", "say hello", "--max-tokens", "100").returncode == 0
        # Once nobody can be waiting for its end, it is booked at its worst case.
        lost = lines(later=timedelta(hours=1))[0]
        assert (lost.outcome, lost.cost, lost.estimated) == ("lost", held.held, True)


def remove_state() -> None:
    for path in sorted((home() / "state").rglob("holds*")):
        path.unlink()


def test_an_unknown_price_without_a_person() -> None:
    with model_server() as server:
        configure(server, 'daily_limit = "1"')
        asked = patina("ask", "say hello", "-m", "near/two")
        assert asked.returncode == 5
        assert "Nobody knows what near/two costs" in asked.stderr
        assert "patina config set billing.on_unknown_price allow" in asked.stderr
        assert [path for path, _ in server.requests if path.endswith("completions")] == []
        assert patina("config", "set", "billing.on_unknown_price", "allow").returncode == 0
        assert patina("ask", "say hello", "-m", "near/two").returncode == 0
        [line] = lines()
        assert (line.cost, line.held) == (None, None)


def test_a_limit_is_changed_as_the_hint_says() -> None:
    with model_server() as server:
        configure(server, 'request_limit = "0.0001"')
        refused = patina("ask", "say hello")
        assert refused.returncode == 5
        hint = next(line for line in refused.stderr.splitlines() if "patina limits set" in line)
        command = hint.partition("patina ")[2].split()
        assert patina(*command).returncode == 0
        assert patina("ask", "say hello").returncode == 0


@pytest.mark.anyio
async def test_a_warning_is_told_once_by_two_ledgers(tmp_path: Path) -> None:
    limit = Limit(kind="day", amount=D(5))
    day = local_day(utc_now())
    async with (
        FileLedger(tmp_path, tmp_path / "a", "one") as first,
        FileLedger(tmp_path, tmp_path / "a", "one") as second,
    ):
        told = [await one.told(limit, day, D("0.8")) for one in (first, second, first)]
        assert told == [True, False, False]


def test_questions_at_once_hold_no_more_than_the_limit_together() -> None:
    """Of holds of $0.08 three fit at a time; what they leave over may be used after."""
    with model_server() as server:
        configure(server, 'daily_limit = "0.25"')
        command = [sys.executable, "-m", "patina", "ask", "slow 40", "--max-tokens", "8000"]
        processes = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for _ in range(8)
        ]
        told = [process.communicate(timeout=60)[1] for process in processes]
        codes = [process.returncode for process in processes]
        assert set(codes) <= {0, 5}, told
        assert all("daily limit of $0.25" in told[n] for n, code in enumerate(codes) if code)
        asked = [path for path, _ in server.requests if path.endswith("completions")]
        assert len(asked) == codes.count(0) >= 3
        found = lines()
        assert sum((line.cost or line.held or D(0) for line in found), D(0)) <= D("0.25")
        begun = [(datetime.fromisoformat(line.at), line) for line in found]
        for moment, _ in begun:
            at_once = [
                line.held or D(0)
                for since, line in begun
                if since <= moment < since + timedelta(milliseconds=line.duration_ms)
            ]
            assert sum(at_once, D(0)) <= D("0.25")
