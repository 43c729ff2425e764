"""What sign-ins leave behind: kept among the secrets, and changed by one at a time."""

import subprocess
import sys
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from tests.secrets.places import Computer

from patina.config.files import try_lock
from patina.model.faults import ConfigFault
from patina.ports.grants import Grants
from patina.secrets.grants import VaultGrants

pytestmark = pytest.mark.anyio
HOLDER = """\
import sys, anyio
from pathlib import Path
from patina.config.files import try_lock
from patina.secrets.grants import VaultGrants
from tests.secrets.places import Computer

async def main(folder):
    grants = VaultGrants(Computer(folder).vault(), folder / "locks", try_lock)
    async with grants.alone("far"):
        print("in", flush=True)
        await anyio.sleep(60)

anyio.run(main, Path(sys.argv[1]))
"""


def holding(folder: Path) -> subprocess.Popen[str]:
    """A process that is in it and stays there."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def computer(tmp_path: Path) -> Computer:
    return Computer(tmp_path / "home")


def grants_of(computer: Computer) -> VaultGrants:
    return VaultGrants(computer.vault(), computer.folder / "locks", try_lock)


def test_records(computer: Computer) -> None:
    grants: Grants = grants_of(computer)
    assert (grants.read("far"), grants.servers()) == (None, ())
    assert not computer.folder.exists()
    grants.write("far", b'{"token":"at-canary"}', ("at-canary", "rt-canary"))
    grants.write("a b/\u00e9", b"\xff")
    assert {"at-canary", "rt-canary"} <= set(computer.seen)
    computer.seen.clear()
    other = grants_of(computer)
    assert other.servers() == ("a b/\u00e9", "far")
    assert other.read("far") == b'{"token":"at-canary"}'
    assert {"at-canary", "rt-canary"} <= set(computer.seen)
    assert other.read("a b/\u00e9") == b"\xff"
    assert computer.vault().names() == []
    grants.write("far", None)
    assert other.servers() == ("a b/\u00e9",)
    for path in computer.folder.rglob("*"):
        assert path.is_dir() or b"canary" not in path.read_bytes()


async def test_one_task_at_a_time(computer: Computer) -> None:
    both = [grants_of(computer), grants_of(computer)]
    inside: list[int] = []
    most = []

    async def work(number: int) -> None:
        async with both[number % 2].alone("far"):
            inside.append(number)
            most.append(len(inside))
            await anyio.lowlevel.checkpoint()
            inside.remove(number)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(work, number)
        assert most == [1] * 10
        async with both[0].alone("far"), both[0].alone("near"), both[1].alone("x" * 500):
            pass


async def test_where_files_cannot_be_locked_tasks_still_wait(computer: Computer) -> None:
    grants = VaultGrants(computer.vault(), computer.folder / "locks", lambda _: True)
    entered = anyio.Event()

    async def second() -> None:
        async with grants.alone("far"):
            entered.set()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            async with grants.alone("far"):
                tasks.start_soon(second)
                await anyio.wait_all_tasks_blocked()
                assert not entered.is_set()
            await entered.wait()


async def test_who_is_cancelled_lets_others_in(computer: Computer) -> None:
    grants = grants_of(computer)
    with anyio.fail_after(20):
        async with grants.alone("far"):
            with anyio.move_on_after(0.05) as scope:
                async with grants_of(computer).alone("far"):
                    raise AssertionError("two are in it")
            assert scope.cancelled_caught
        async with grants_of(computer).alone("far"):
            pass


async def test_a_process_that_is_killed_lets_others_in(computer: Computer) -> None:
    with holding(computer.folder) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "in\n"
            with anyio.move_on_after(0.2) as scope:
                async with grants_of(computer).alone("far"):
                    raise AssertionError("two are in it")
            assert scope.cancelled_caught
        finally:
            holder.kill()
    with anyio.fail_after(20):
        async with grants_of(computer).alone("far"):
            pass


async def test_a_folder_that_cannot_be_made(computer: Computer) -> None:
    computer.folder.mkdir()
    (computer.folder / "locks").write_text("")
    grants = grants_of(computer)
    for _ in range(2):
        with pytest.raises(ConfigFault, match="cannot be written"):
            async with grants.alone("far"):
                raise AssertionError("it is not locked")
