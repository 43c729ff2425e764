"""`patina ask` is killed at any moment, and nothing it had printed is lost."""

import json
import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.cli.model_server import ModelServer, model_server
from tests.cli.support import home, in_process, patina

from patina.model.codec import Unknown
from patina.model.durable import DURABLE
from patina.ports.journal import Transcript
from patina.store.journal import FileJournal

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kill -9 is a POSIX signal")
ROUNDS = 20
TOOL = 'call demo__echo {"text": "smoke"}'
DURABLE_TYPES = {event.__struct_config__.tag for event in DURABLE}


def test_what_was_printed_is_on_disk_whenever_it_is_killed() -> None:
    """Rounds differ in what runs (a tool, a stream) and in how many lines it may print.

    Every second round goes on with the conversation that was just killed.
    """
    dice = random.Random(7)
    with model_server() as server:
        configure(server)
        damaged: dict[str, int] = {}
        for number in range(ROUNDS):
            question = TOOL if number % 4 < 2 else "slow 400"
            more = ["-c"] if number % 2 and damaged else []
            # A tool's turn prints some 14 lines before its end, a stream as many as it has words.
            lines = dice.randint(0, 13) if question == TOOL else dice.randint(0, 60)
            printed = killed(question, more, lines, dice.uniform(0, 0.03))
            durable = [event for event in printed if event["type"] in DURABLE_TYPES]
            if not durable:
                continue  # it was killed before it had said anything
            session = str(durable[0]["session_id"])
            transcript = read(session)
            kept = {item.id for item in transcript.items if not isinstance(item, Unknown)}
            lost = [event["type"] for event in durable if event["item"]["id"] not in kept]
            assert not lost, f"round {number} lost {lost}"
            torn = transcript.damaged - damaged.get(session, 0)
            assert torn <= 1, f"round {number} left {torn} damaged lines"
            damaged[session] = transcript.damaged
        assert len(damaged) >= ROUNDS // 4
        for session, count in damaged.items():
            goes_on(session, count)


def configure(server: ModelServer) -> None:
    home().mkdir(parents=True)
    (home() / "config.toml").write_text(
        'default_model = "near/one"\n[providers.near]\nkind = "openai_compatible"\n'
        f'base_url = "{server.url}"\n'
    )
    command = (sys.executable, "-m", "patina.mcp.demo_server")
    assert in_process("mcp", "add", "demo", "--", *command) == 0
    assert in_process("mcp", "tools", "demo") == 0


def killed(question: str, more: list[str], lines: int, pause: float) -> list[dict[str, Any]]:
    """Ask, kill it after `lines` lines and `pause` seconds; the whole lines it had printed."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "patina", "ask", question, *more),
            *("--events", "--approve", "all"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    guard = threading.Timer(60, process.kill)
    guard.start()
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(lines)]
    threading.Event().wait(pause)
    process.kill()
    rest, _ = process.communicate(timeout=60)
    guard.cancel()
    whole = b"".join([*seen, rest]).split(b"\n")[:-1]  # a line without its end was not said
    return [json.loads(line) for line in whole if line]


def read(session: str) -> Transcript:
    async def main() -> Transcript:
        async with FileJournal(home() / "data", home() / "state") as journal:
            return await journal.read(session)

    return anyio.run(main)


def goes_on(session: str, damaged: int) -> None:
    """The conversation opens, is answered in, and its file has no more damage than before."""
    done = patina("ask", "hello", "-s", session, "--json")
    assert done.returncode == 0, done.stdout
    answer = json.loads(done.stdout)
    assert answer["session_id"] == session
    assert answer["message"]["text"] == "Hello from the endpoint."
    assert read(session).damaged == damaged
    shown = patina("sessions", "show", session, "--json")
    rows = json.loads(shown.stdout)["messages"]
    assert [row["kind"] for row in rows[-2:]] == ["user", "assistant"]
    # Every call of the model has exactly one result: providers refuse anything else.
    (path,) = home().glob(f"data/transcripts/*/*/{session}.*.jsonl")
    calls, results = call_ids(path)
    assert sorted(calls) == sorted(results)


def call_ids(path: Path) -> tuple[list[str], list[str]]:
    calls, results = [], []
    for line in path.read_bytes().split(b"\n"):
        try:
            item = json.loads(line)
        except ValueError:
            continue
        if item["k"] == "msg":
            calls += [item["id"] for part in item["parts"] if part["type"] == "tool_call"]
        elif item["k"] == "result":
            results.append(item["message"])
    return calls, results
