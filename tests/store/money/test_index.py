"""holds.db is an index only: gone, damaged, of another version, or not writable, money is safe."""

import errno
import os
import shutil
import sys
from decimal import Decimal
from pathlib import Path
from subprocess import PIPE, Popen

import apsw
import pytest
from tests.store.money.making import Now, ended, files, limit, opened, written
from tests.store.test_disk import Faulty

from patina.model.faults import StoreFault
from patina.model.money import Hold
from patina.ports.ledger import OverLimit
from patina.store import lock
from patina.store.money.ledger import FileLedger
from patina.store.money.lines import encode, settle_line
from patina.store.money.place import Place
from patina.store.money.schema import VERSION

pytestmark = pytest.mark.anyio

DAY = "2026-11-21"
LIMITS = [limit("day", "1")]
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX files")


async def held_and_spent(ledger: FileLedger, now: Now) -> Hold:
    """Hold 0.60 and spend 0.30."""
    open_one, other = now.hold("0.60"), now.hold("0.40")
    await ledger.reserve(open_one, LIMITS)
    await ledger.reserve(other, LIMITS)
    await ledger.settle(ended(other, "0.30"))
    return open_one


async def check(ledger: FileLedger, now: Now) -> None:
    (day,) = await ledger.standing(LIMITS, DAY)
    assert (day.spent, day.held) == (Decimal("0.3"), Decimal("0.6"))
    with pytest.raises(OverLimit):
        await ledger.reserve(now.hold("0.11"), LIMITS)


async def test_a_deleted_state_folder_forgets_no_hold(tmp_path: Path) -> None:
    now = Now()
    async with opened(tmp_path, now) as ledger:
        hold = await held_and_spent(ledger, now)
    shutil.rmtree(tmp_path / "state")
    async with opened(tmp_path, now) as ledger:
        await check(ledger, now)
        await ledger.settle(ended(hold, "0.10"))
        (day,) = await ledger.standing(LIMITS, DAY)
    assert (day.spent, day.held) == (Decimal("0.4"), Decimal(0))


@posix
async def test_a_state_folder_deleted_while_processes_run(tmp_path: Path) -> None:
    now = Now()
    async with opened(tmp_path, now) as first, opened(tmp_path, now) as second:
        await held_and_spent(first, now)
        await check(second, now)
        shutil.rmtree(tmp_path / "state")
        async with opened(tmp_path, now) as third:
            await check(third, now)
            await third.reserve(now.hold("0.10"), LIMITS)
        for ledger in (first, second):
            with pytest.raises(OverLimit):
                await ledger.reserve(now.hold("0.01"), LIMITS)


@pytest.mark.parametrize("how", ["rubbish", "empty", "cut", "zeros", "other", "older", "newer"])
async def test_an_index_that_is_none_is_made_anew(tmp_path: Path, how: str) -> None:
    now = Now()
    async with opened(tmp_path, now) as ledger:
        await held_and_spent(ledger, now)
    place = tmp_path / "state" / "holds.db"
    data = place.read_bytes()
    if how in ("older", "newer", "other"):
        db = apsw.Connection(str(place))
        db.pragma("user_version", {"older": 0, "newer": 99}.get(how, VERSION))
        db.pragma("application_id", 5 if how == "other" else db.pragma("application_id"))
        db.close()
    else:
        changed = {
            "rubbish": os.urandom(len(data)),
            "empty": b"",
            "cut": data[: len(data) // 3],
            "zeros": data[:4096] + b"\0" * (len(data) - 4096),
        }
        place.write_bytes(changed[how])
    async with opened(tmp_path, now) as ledger:
        await check(ledger, now)
    async with opened(tmp_path, now) as ledger:
        await check(ledger, now)
    assert apsw.Connection(str(place)).pragma("user_version") == VERSION


@posix
async def test_a_read_only_state_folder_keeps_limits(tmp_path: Path) -> None:
    now = Now()
    state = tmp_path / "state"
    state.write_text("a file where the folder should be")
    async with opened(tmp_path, now) as first, opened(tmp_path, now) as second:
        hold = await held_and_spent(first, now)
        await check(second, now)
        await second.reserve(now.hold("0.10"), LIMITS)
        with pytest.raises(OverLimit):
            await first.reserve(now.hold("0.01"), LIMITS)
        await first.settle(ended(hold, "0"))
        await second.reserve(now.hold("0.01"), LIMITS)
    assert state.is_file()
    assert len(files(tmp_path)) == 2, "each process is a device of its own"


async def test_a_network_drive_gets_no_database(tmp_path: Path) -> None:
    place = Place(tmp_path / "state")
    place.give_up()
    db = place.open(1)
    assert db.filename in ("", ":memory:")
    db.close()
    assert not (tmp_path / "state").exists()


@posix
async def test_a_full_disk_sends_nothing(tmp_path: Path) -> None:
    now = Now()
    disk = Faulty()
    async with opened(tmp_path, now, files=disk) as ledger:
        await held_and_spent(ledger, now)
        for room in (0, 100):
            disk.room = room
            with pytest.raises(StoreFault, match="disk is full"):
                await ledger.reserve(now.hold("0.01"), LIMITS)
        await check(ledger, now)
        disk.room, disk.sync_error = 1 << 30, errno.EIO
        with pytest.raises(StoreFault, match="could not be written"):
            await ledger.reserve(now.hold("0.01"), LIMITS)
        disk.sync_error = 0
        await ledger.reserve(now.hold("0.05"), LIMITS)


@posix
async def test_a_disk_full_for_the_index_only_goes_on_with_the_lines(tmp_path: Path) -> None:
    now = Now()
    async with opened(tmp_path, now) as ledger, opened(tmp_path, now) as other:
        await held_and_spent(ledger, now)
        await check(other, now)
        place = tmp_path / "state" / "holds.db"
        db = apsw.Connection(str(place))
        db.execute("BEGIN IMMEDIATE")  # nobody can write it now
        impatient = opened(tmp_path, now, lock_wait=0.05)
        async with impatient:
            await check(impatient, now)
            await impatient.reserve(now.hold("0.10"), LIMITS)
        db.execute("ROLLBACK")
        db.close()
        for each in (ledger, other):
            with pytest.raises(OverLimit):
                await each.reserve(now.hold("0.01"), LIMITS)


@posix
async def test_a_program_that_hangs_with_the_lock_is_named(tmp_path: Path) -> None:
    now = Now()
    async with opened(tmp_path, now, lock_wait=0.05) as ledger:
        await held_and_spent(ledger, now)
        descriptor = os.open(tmp_path / "data" / "usage" / ".lock", os.O_RDWR)
        assert lock.acquire(descriptor, 1)
        with pytest.raises(StoreFault, match="locked") as fault:
            await ledger.reserve(now.hold("0.01"), LIMITS)
        assert "hangs" in fault.value.failure.hint
        os.close(descriptor)
        await check(ledger, now)


_READER = """
import sys
from pathlib import Path
from patina.store.files import FileSystem
from patina.store.money.book import Book
home = Path(sys.argv[1])
now = lambda: "2026-11-21T10:00:00.000Z"
book = Book(home / "data", home / "state", "a", FileSystem(), now, 0.4, step=100_000)
print(book.ask(lambda index: index.find("none")))
"""


@posix
def test_who_makes_the_index_lets_others_in_between(tmp_path: Path) -> None:
    """Whoever has much to read takes turns with those who wait, however short they wait."""
    now = Now()
    usage = tmp_path / "data/usage"
    usage.mkdir(parents=True)
    ends = (settle_line(ended(now.hold()), 1, now(), "a") for _ in range(20_000))
    (usage / "2026-11.a.jsonl").write_bytes(b"".join(map(encode, ends)))
    command = [sys.executable, "-c", _READER, str(tmp_path)]
    readers = [Popen(command, stdout=PIPE, stderr=PIPE, text=True) for _ in range(3)]
    for reader in readers:
        out, error = reader.communicate(timeout=60)
        assert out == "None\n", error


async def test_rebuilding_changes_nothing(tmp_path: Path) -> None:
    now = Now()
    async with opened(tmp_path, now) as ledger:
        await held_and_spent(ledger, now)
        before = await ledger.sums("model")
        await ledger.rebuild()
        await check(ledger, now)
        assert await ledger.sums("model") == before


async def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    """What the index has taken in is not read again: it may even be damaged since."""
    now = Now()
    async with opened(tmp_path, now) as ledger:
        await held_and_spent(ledger, now)
    (path,) = files(tmp_path)
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    async with opened(tmp_path, now) as ledger:
        await ledger.reserve(now.hold("0.05"), LIMITS)
        (day,) = await ledger.standing(LIMITS, DAY)
        assert day.held == Decimal("0.65")
        await ledger.rebuild()
        (day,) = await ledger.standing(LIMITS, DAY)
        assert day.held == Decimal("0.05")


async def test_looking_writes_nothing(tmp_path: Path) -> None:
    now = Now()
    async with opened(tmp_path, now) as ledger:
        assert await ledger.sums("day") == ()
        (day,) = await ledger.standing(LIMITS, DAY)
        assert day.spent == 0
    assert not (tmp_path / "data").exists()


async def test_a_closed_ledger_says_so(tmp_path: Path) -> None:
    now = Now()
    ledger = opened(tmp_path, now)
    await ledger.aclose()
    with pytest.raises(StoreFault, match="closed"):
        await ledger.reserve(now.hold(), [])
    assert not written(tmp_path)
