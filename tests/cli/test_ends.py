"""However a command is ended, short of kill -9, it leaves no server behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.cli.support import patina
from tests.cli.terminal import CTRL_C, terminal

ODD = Path(__file__).parents[1] / "mcp/servers/odd.py"
CALL = ("mcp", "call", "odd", "echo", "--approve", "all")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def server(folder: Path) -> int:
    """Wait for the server to have started; its process id."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        place = folder / "starts"
        if place.exists() and place.read_text().endswith("\n"):
            return int(place.read_text().split()[-1])
        threading.Event().wait(0.02)
    raise AssertionError("the server did not start")


def ends(pid: int) -> bool:
    """Whether that process is gone within the time that ending it may take."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        threading.Event().wait(0.02)
    os.kill(pid, signal.SIGKILL)
    return False


def add_stubborn(folder: Path) -> None:
    """Add a server that ignores the end of its input and SIGTERM, and answers no call."""
    words = (sys.executable, str(ODD), "stubborn_hang", str(folder))
    added = patina("mcp", "add", "odd", "--", *words)
    assert added.returncode == 0, added.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_command_and_its_server(number: int, tmp_path: Path) -> None:
    add_stubborn(tmp_path)
    command = [sys.executable, "-m", "patina", *CALL]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    pid = server(tmp_path)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else 128 + number), said
    assert b"Traceback" not in said
    assert ends(pid)


def test_leaving_a_chat_by_force_ends_its_servers(tmp_path: Path) -> None:
    add_stubborn(tmp_path)
    with terminal("chat", "-m", "demo/demo", "--approve", "all") as screen:
        screen.see("> ")
        screen.type("use echo\n")
        screen.see("Using odd.echo...")
        pid = server(tmp_path)
        screen.process.send_signal(signal.SIGHUP)
        screen.end()
    assert ends(pid)


def test_pressing_twice_does_not_leave_a_server(tmp_path: Path) -> None:
    add_stubborn(tmp_path)
    with terminal("ask", "use echo", "-m", "demo/demo", "--approve", "all") as screen:
        screen.see("Using odd.echo...")
        pid = server(tmp_path)
        screen.type(CTRL_C)
        screen.type(CTRL_C)
        assert screen.end() == 130
    assert ends(pid)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_servers_are_closed_does_not_leave_one(number: int, tmp_path: Path) -> None:
    add_stubborn(tmp_path)
    command = [sys.executable, "-m", "patina", "mcp", "tools", "odd", "--refresh"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    pid = server(tmp_path)
    assert process.stdout is not None
    closed = threading.Event()
    closed.wait(1.0)  # the listing is done by now; closing a stubborn server takes seconds
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode >= 0
    assert ends(pid)


def test_sigterm_during_an_answer_says_so_in_the_exit_code(tmp_path: Path) -> None:
    add_stubborn(tmp_path)
    command = [sys.executable, "-m", "patina", "ask", "use echo", "-m", "demo/demo"]
    process = subprocess.Popen(
        [*command, "--approve", "all", "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    pid = server(tmp_path)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert json.loads(out)["stop_reason"] == "cancelled"
    assert ends(pid)
