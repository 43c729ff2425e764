"""Servers of a Patina that was killed: ended by the next one, and nobody else's process is."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import msgspec
import psutil
import pytest
from tests.mcp.house import House, alive, until

from patina.mcp.leftovers import Running, reap, running_folder, running_in
from patina.mcp.survivors import MARK, ServerProcess

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name == "nt", reason="the misbehaving servers are POSIX scripts"),
]
ROOT = Path(__file__).parent.parent.parent
LONG_AGO = 1_000_000.0


@contextmanager
def another_patina(house: House, *modes: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a Patina whose servers are those of `modes`, all connected."""
    script = Path(__file__).parent / "servers" / "crashing.py"
    process = subprocess.Popen(
        [sys.executable, str(script), str(house.root), *modes],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


@contextmanager
def stranger(
    words: str, env: Mapping[str, str] | None = None, *, gone: bool = False
) -> Iterator[int]:
    """Run a shell in a session of its own; gives its number, once it is `gone` if that is asked.

    What is left of it is killed.
    """
    process = subprocess.Popen(
        ["/bin/sh", "-c", words],
        start_new_session=True,
        env={**os.environ, **(env or {})},
        stdout=subprocess.DEVNULL,
    )
    try:
        if gone:
            process.wait(10)
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def record(house: House, *lines: object, name: str = "dead") -> Path:
    path = running_folder(house.root / "state") / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def records(house: House) -> list[Path]:
    return list(running_folder(house.root / "state").glob("*"))


def session(leader: int) -> list[int]:
    """The processes in the session of `leader`, without those that are only waited for."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (psutil.Error, ProcessLookupError):
            pass
    return found


OWNER = {"run": "a-mark", "pid": 1}


async def test_a_killed_patina_leaves_no_orphans(house: House) -> None:
    with another_patina(house, "stubborn", "children") as patina:
        stubborn, parent = house.pid("stubborn"), house.pid("children")
        child = int((house.root / "child").read_text())
        patina.kill()
        patina.wait(10)
    # The one ends with its input, and leaves its child; the other listens to nothing.
    await until(lambda: not alive(parent))
    assert alive(stubborn)
    assert alive(child)
    started = time.monotonic()
    with anyio.fail_after(10):
        assert await reap(house.root / "state") == 2
    assert time.monotonic() - started < 8
    assert not alive(stubborn)
    assert not alive(child)
    assert records(house) == []
    assert await reap(house.root / "state") == 0


async def test_a_living_patina_keeps_its_servers(house: House) -> None:
    async with house.supervisor({"mine": house.odd("fine")}) as supervisor:
        await supervisor.connect("mine")
        with another_patina(house, "fine"):
            assert len(records(house)) == 2
            assert await reap(house.root / "state") == 0
            assert alive(house.pid("fine"))
            assert alive(house.pid("mine"))
        await until(lambda: not alive(house.pid("fine")))
        # The servers went with their Patina; what remains is its record.
        assert await reap(house.root / "state") == 0
        assert len(records(house)) == 1
        assert supervisor.connected("mine")


async def test_a_clean_end_leaves_no_record(house: House) -> None:
    async with house.supervisor({"s": house.odd("fine"), "t": house.odd("fine")}) as supervisor:
        await supervisor.connect("s")
        assert len(records(house)) == 1
        assert records(house)[0].stat().st_mode & 0o077 == 0
        await supervisor.connect("t")
        await supervisor.stop("s")
        assert len(records(house)) == 1
        await supervisor.stop("t")
        assert records(house) == []
        await supervisor.connect("s")
        assert len(records(house)) == 1
    assert records(house) == []


async def test_a_number_that_is_anothers_now(house: House) -> None:
    with stranger("sleep 60 & wait") as pid:
        await until(lambda: len(session(pid)) == 2)
        created = psutil.Process(pid).create_time()
        record(house, OWNER, ServerProcess(pid, created - 60), ServerProcess(1, LONG_AGO))
        assert await reap(house.root / "state") == 0
        assert len(session(pid)) == 2
        assert records(house) == []
        record(house, OWNER, ServerProcess(pid, created))
        assert await reap(house.root / "state") == 2
        assert session(pid) == []


@pytest.mark.parametrize("mark", ["", "another"])
async def test_a_session_whose_leader_is_gone(house: House, mark: str) -> None:
    env = {MARK: mark} if mark else {}
    with stranger("sleep 60 &", env, gone=True) as pid:
        await until(lambda: len(session(pid)) == 1)
        record(house, OWNER, ServerProcess(pid, LONG_AGO))
        assert await reap(house.root / "state") == 0
        assert len(session(pid)) == 1
    with stranger("sleep 60 &", {MARK: "a-mark"}, gone=True) as pid:
        await until(lambda: len(session(pid)) == 1)
        record(house, OWNER, ServerProcess(pid, LONG_AGO))
        assert await reap(house.root / "state") == 1
        assert session(pid) == []


async def test_what_bears_the_mark_is_ended_in_whichever_session(house: House) -> None:
    env, other = {MARK: "a-mark.7"}, {MARK: "a-marked.7"}
    with stranger("exec sleep 60", env) as pid, stranger("exec sleep 60", other) as another:
        record(house, OWNER)  # killed before the process was noted
        assert await reap(house.root / "state") == 1
        assert not alive(pid)
        assert alive(another)


async def test_what_the_desktop_opened_for_a_person_goes_on(house: House) -> None:
    """A browser that a server has the desktop open inherits the mark, and is no child of it."""
    env = {MARK: "a-mark.7", "GIO_LAUNCHED_DESKTOP_FILE_PID": "4711"}
    with stranger("sleep 60", env) as pid:
        record(house, OWNER, ServerProcess(pid, LONG_AGO))
        assert await reap(house.root / "state") == 0
        assert alive(pid)


async def test_what_had_ended_is_not_looked_for(house: House) -> None:
    with stranger("sleep 60") as pid:
        created = psutil.Process(pid).create_time()
        record(house, OWNER, ServerProcess(pid, created), ServerProcess(pid, ended=True))
        assert await reap(house.root / "state") == 0
        assert alive(pid)


async def test_patina_itself_is_spared(house: House) -> None:
    """As where it runs in a terminal that is a server of a Patina that crashed."""
    me = psutil.Process()
    parents = [ServerProcess(one.pid, one.create_time()) for one in me.parents() if one.pid > 1]
    parents = [one for one in parents if os.getsid(one.pid) != one.pid]
    record(house, OWNER, ServerProcess(me.pid, me.create_time()), *parents)
    assert await reap(house.root / "state") == 0


@pytest.mark.parametrize("content", [b"\xff\x00 rubbish", b'{"run": 5}\n', b"[" * 100_000, b"{}\n"])
async def test_a_record_that_cannot_be_read_is_removed(house: House, content: bytes) -> None:
    record(house).write_bytes(content)
    assert await reap(house.root / "state") == 0
    assert records(house) == []


async def test_a_record_that_was_cut_is_read_as_far_as_it_goes(house: House) -> None:
    with stranger("sleep 60") as pid:
        path = record(house, OWNER, ServerProcess(pid, psutil.Process(pid).create_time()))
        path.write_bytes(path.read_bytes() + b'{"pid": 12')
        assert await reap(house.root / "state") >= 1
        assert session(pid) == []


async def test_an_empty_record_may_be_of_one_who_just_begins(house: House) -> None:
    path = record(house)
    assert await reap(house.root / "state") == 0
    assert path.exists()
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert await reap(house.root / "state") == 0
    assert not path.exists()


async def test_cancelling_leaves_the_rest_to_the_next_time(house: House) -> None:
    with stranger("trap '' TERM; while :; do sleep 1; done") as pid:
        path = record(house, OWNER, ServerProcess(pid, psutil.Process(pid).create_time()))
        with anyio.move_on_after(0.5):
            await reap(house.root / "state")
        assert path.exists()
        assert alive(pid)
        assert await reap(house.root / "state") >= 1
        assert session(pid) == []
    assert records(house) == []


def test_a_folder_that_cannot_be_written_stops_no_server(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    running = Running(tmp_path / "file" / "running")
    running.prepare()
    running.began(os.getpid(), "s")
    running.ended(os.getpid())


def test_one_record_for_each_folder(tmp_path: Path) -> None:
    assert running_in(tmp_path) is running_in(tmp_path)
    assert running_in(tmp_path) is not running_in(tmp_path / "other")


def test_nothing_left_is_found_out_without_psutil(tmp_path: Path) -> None:
    script = (
        "import sys, anyio\n"
        "from pathlib import Path\n"
        "from patina.mcp.leftovers import reap\n"
        "assert anyio.run(reap, Path(sys.argv[1])) == 0\n"
        "print('psutil' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "False"
