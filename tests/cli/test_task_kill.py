"""`patina ask` is killed while a server works on a task, and the next one waits for its end."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.cli.model_server import model_server
from tests.cli.support import home, in_process, patina
from tests.mcp.task_desk import ERAS, SCRIPT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kill -9 is a POSIX signal")
WORDS = 'call desk__works {"polls": 8, "every": 200}'


@ERAS
def test_a_task_outlives_the_patina_that_began_it(era: str, tmp_path: Path) -> None:
    with model_server() as server:
        home().mkdir(parents=True)
        (home() / "config.toml").write_text(
            'default_model = "near/one"\n[providers.near]\nkind = "openai_compatible"\n'
            f'base_url = "{server.url}"\n'
        )
        command = (sys.executable, str(SCRIPT), era, str(tmp_path))
        assert in_process("mcp", "add", "desk", "--", *command) == 0
        assert in_process("mcp", "tools", "desk") == 0
        session = killed_with_a_task()
        done = patina("ask", "hello", "-s", session, "--json")
        assert done.returncode == 0, done.stdout
        last = server.requests[-1][1]["messages"]
    # Begun once, polled to its end by another process, and the model is told before the question.
    (task,) = json.loads((tmp_path / "tasks.json").read_text()).values()
    assert (task["status"], task["left"]) == ("completed", 0)
    told = [message["content"] for message in last if message["role"] == "tool"]
    assert told == [f"done after {task['polled']} polls"]
    assert last[-1] == {"role": "user", "content": "hello"}


def killed_with_a_task() -> str:
    """Ask, kill it once its task was polled; the session."""
    process = subprocess.Popen(
        [sys.executable, "-m", "patina", "ask", WORDS, "--events", "--approve", "all"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    guard = threading.Timer(60, process.kill)
    guard.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["type"] == "task.changed" and event["item"]["state"]["text"] == "polled 1":
                return str(event["session_id"])
    finally:
        process.kill()
        process.communicate(timeout=60)
        guard.cancel()
    raise AssertionError("it began no task")
