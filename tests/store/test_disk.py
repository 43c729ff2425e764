"""Disks that are full, read-only or broken: a clear sentence, and nothing acknowledged is lost."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.store.conftest import Child
from tests.store.talk import Hurried, Talk, files_below

from patina.model.faults import StoreFault
from patina.model.items import Message
from patina.store.files import FileSystem
from patina.store.journal import FileJournal

pytestmark = pytest.mark.anyio
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits and users")


class Faulty(Hurried):
    """Takes `room` more bytes, at most `step` at a time, then fails with `error`."""

    def __init__(self) -> None:
        self.room = 1 << 40
        self.step = 1 << 40
        self.error = errno.ENOSPC
        self.sync_error = 0

    def write(self, descriptor: int, data: memoryview) -> int:
        allowed = min(self.room, self.step, len(data))
        if not allowed:
            raise OSError(self.error, os.strerror(self.error))
        self.room -= allowed
        return os.write(descriptor, data[:allowed])

    def sync(self, descriptor: int) -> None:
        if self.sync_error:
            raise OSError(self.sync_error, os.strerror(self.sync_error))


async def ids(journal: FileJournal, talk: Talk) -> set[str]:
    return {item.id for item in (await journal.read(talk.conversation)).items}


async def saved(journal: FileJournal, talk: Talk, message: Message) -> bool:
    """Append `message`; False where the disk was full, which must be said in so many words."""
    try:
        await journal.append(talk.conversation, [message])
    except StoreFault as fault:
        if "disk is full" in str(fault) and "saved before is safe" in fault.failure.hint:
            return False
        raise
    return True


async def test_short_writes_are_gone_on_with(tmp_path: Path) -> None:
    disk, talk = Faulty(), Talk()
    disk.step = 7
    async with FileJournal(tmp_path / "data", tmp_path / "state", files=disk) as journal:
        first, second = talk.say("first"), talk.say("second")
        await journal.append(talk.conversation, [talk.head(), first, second])
        transcript = await journal.read(talk.conversation)
    assert transcript.items[1:] == (first, second)
    assert transcript.damaged == 0


async def test_a_disk_that_fills_at_any_byte_loses_nothing(tmp_path: Path) -> None:
    disk, talk = Faulty(), Talk()
    async with FileJournal(tmp_path / "data", tmp_path / "state", files=disk) as journal:
        await journal.append(talk.conversation, [talk.head()])
        acknowledged = {talk.conversation}
        torn = 0
        for room in range(0, 300, 3):
            disk.room = room
            message = talk.say("x" * 20)
            if await saved(journal, talk, message):
                acknowledged.add(message.id)
            else:
                torn += 1
            disk.room = 1 << 40
            message = talk.say("after")
            await journal.append(talk.conversation, [message])
            acknowledged.add(message.id)
        assert acknowledged <= await ids(journal, talk)
        assert 10 < torn < 100


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC, "disk is full"),
        (errno.EROFS, "may not write"),
        (errno.EACCES, "may not write"),
        (errno.EFBIG, "largest size"),
        (errno.EIO, "could not be written"),
    ],
)
async def test_every_failure_is_a_sentence(tmp_path: Path, error: int, words: str) -> None:
    disk, talk = Faulty(), Talk()
    async with FileJournal(tmp_path / "data", tmp_path / "state", files=disk) as journal:
        first = talk.say("first")
        await journal.append(talk.conversation, [talk.head(), first])
        disk.room, disk.error = 5, error
        with pytest.raises(StoreFault, match=words) as fault:
            await journal.append(talk.conversation, [talk.say("second")])
        assert fault.value.failure.hint
        disk.room, disk.sync_error = 1 << 40, error
        with pytest.raises(StoreFault, match=words):
            await journal.append(talk.conversation, [talk.say("third")])
        disk.sync_error = 0
        last = talk.say("fourth")
        await journal.append(talk.conversation, [last])
        assert {first.id, last.id} <= await ids(journal, talk)


async def test_a_checkpoint_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    disk, talk = Faulty(), Talk()
    async with FileJournal(tmp_path / "data", tmp_path / "state", files=disk) as journal:
        await journal.append(talk.conversation, [talk.head()])
        disk.sync_error = errno.EIO
        chunk = talk.checkpoint("so far")
        await journal.append(talk.conversation, [chunk])
        with pytest.raises(StoreFault):
            await journal.append(talk.conversation, [talk.checkpoint("more"), talk.say("done")])
        assert chunk.id in await ids(journal, talk)


async def test_one_append_is_one_write_and_one_sync(tmp_path: Path) -> None:
    class Counting(FileSystem):
        writes = syncs = 0

        def write(self, descriptor: int, data: memoryview) -> int:
            self.writes += 1
            return super().write(descriptor, data)

        def sync(self, descriptor: int) -> None:
            self.syncs += 1
            super().sync(descriptor)

    disk, talk = Counting(), Talk()
    async with FileJournal(tmp_path / "data", tmp_path / "state", files=disk) as journal:
        await journal.append(talk.conversation, [talk.head(), *(talk.say("x") for _ in range(50))])
    assert (disk.writes, disk.syncs) == (1, 1)


async def test_a_blob_that_could_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    disk = Faulty()
    async with FileJournal(tmp_path / "data", tmp_path / "state", files=disk) as journal:
        disk.room = 100
        with pytest.raises(StoreFault, match="disk is full"):
            await journal.put_blob(b"x" * 1000)
        assert files_below(tmp_path) == []
        disk.room = 1 << 40
        blob = await journal.put_blob(b"x" * 1000)
        assert await journal.get_blob(blob) == b"x" * 1000
        assert len(files_below(tmp_path)) == 1


async def test_a_damaged_blob_is_told_from_a_good_one_and_mended(tmp_path: Path) -> None:
    async with FileJournal(tmp_path / "data", tmp_path / "state") as journal:
        blob = await journal.put_blob(b"picture")
        path = tmp_path / "data" / "blobs" / blob[:2] / blob
        path.write_bytes(b"picturf")
        with pytest.raises(StoreFault, match="is damaged"):
            await journal.get_blob(blob)
        assert await journal.put_blob(b"picture") == blob
        assert await journal.get_blob(blob) == b"picture"


async def test_a_folder_that_is_no_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    talk = Talk()
    async with FileJournal(tmp_path / "data", tmp_path / "state") as journal:
        with pytest.raises(StoreFault, match="could not be written"):
            await journal.append(talk.conversation, [talk.head()])
        with pytest.raises(StoreFault, match="could not be read"):
            await journal.list()
        with pytest.raises(StoreFault, match="could not be read"):
            await journal.find(talk.conversation)
        with pytest.raises(StoreFault, match="could not be read"):
            await journal.read(talk.conversation)
        with pytest.raises(StoreFault, match="could not be written"):
            await journal.put_blob(b"x")


@posix
async def test_a_file_that_may_not_grow(tmp_path: Path, child: Child) -> None:
    data, state = tmp_path / "data", tmp_path / "state"
    with child("fill", data, state) as answer:
        pass
    assert "largest size" in answer["message"]
    assert "safe" in answer["hint"]
    assert len(answer["acknowledged"]) > 40
    journal = FileJournal(data, state)
    transcript = await journal.read(answer["acknowledged"][0])
    assert {item.id for item in transcript.items} >= set(answer["acknowledged"])
    assert transcript.damaged == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB, where this system lets us make one."""
    if sys.platform != "linux" or os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root on Linux can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this container may not mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    talk = Talk()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(64 * 1024))
    async with FileJournal(small_disk / "data", tmp_path / "state") as journal:
        await journal.append(talk.conversation, [talk.head()])
        acknowledged = {talk.conversation}
        while await saved(journal, talk, message := talk.say("x" * 700)):
            acknowledged.add(message.id)
        assert len(acknowledged) > 100
        assert acknowledged <= await ids(journal, talk)
        with pytest.raises(StoreFault, match="disk is full"):
            await journal.put_blob(bytes(100_000))
        ballast.unlink()
        message = talk.say("after")
        await journal.append(talk.conversation, [message])
        assert acknowledged | {message.id} <= await ids(journal, talk)


def close(home: Path, locked: Path | None) -> None:
    """Let everybody write everything below `home`, but nobody what is below `locked`."""
    for each in (home, *home.rglob("*")):
        shut = locked is not None and (each == home or each.is_relative_to(locked))
        each.chmod(0o555 if shut else 0o777)


@posix
@pytest.mark.parametrize("locked", ["data", "state"])
async def test_folders_that_may_not_be_written(child: Child, locked: str) -> None:
    talk = Talk()
    # Not below tmp_path, which another user (the child gives up being root) cannot enter.
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        data, state = home / "data", home / "state"
        async with FileJournal(data, state) as journal, journal.turn(talk.conversation):
            await journal.append(talk.conversation, [talk.head(), talk.say("first")])
        close(home, home / locked)
        with child("visit", data, state, talk.conversation) as answer:
            pass
        close(home, None)
    assert answer["read"] == answer["list"] == answer["turn"] == "done"
    assert "Another Patina process" in answer["second turn"]
    if locked == "data":
        assert "may not write" in answer["append"]
        assert "may not write" in answer["put_blob"]
    else:
        assert answer["append"] == answer["put_blob"] == "done"
