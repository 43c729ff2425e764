"""Disks that fail at every single call, and disks that are really full or read-only."""

import errno
import shutil
import subprocess
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest
from tests.store.faults import points, work
from tests.store.ram import ram_folder
from tests.store.talk import Talk

from patina.config.files import update_file
from patina.model.faults import ConfigFault, StoreFault, UsageFault
from patina.secrets.vault import key_file_vault
from patina.store.backup import back_up
from patina.store.journal import FileJournal
from patina.store.restore import restore
from patina.store.verify import verify

POINTS = 400


@pytest.mark.anyio
async def test_a_disk_that_fails_at_any_call_loses_nothing() -> None:
    done = 0
    with ram_folder() as home:
        disk, wrong = await work(home / "sound", None)
        assert not wrong
        assert disk.calls > 20
        for point in points(disk.calls):
            folder = home / str(done)
            failing, wrong = await work(folder, point)
            assert not wrong, f"{point}: {wrong}"
            assert failing.failed, point
            done += 1
            shutil.rmtree(folder)
    assert done >= POINTS


def _takes(file: FileIO, data: bytes) -> bool:
    try:
        return file.write(data) > 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


class Mounted:
    """A small file system of its own that can be filled and made read-only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> Path:
        """Take all the space there is with one file, and return it."""
        ballast = self.folder / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for size in (65536, 4096, 512, 1):
                while _takes(file, bytes(size)):
                    pass
        return ballast

    def turn(self, how: str) -> None:
        options = ["mount", "-o", f"remount,{how}", str(self.folder)]
        subprocess.run(options, check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Mounted]:
    if sys.platform != "linux" or not shutil.which("mount"):
        pytest.skip("only Linux can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user or container may not mount")
    yield Mounted(folder)
    subprocess.run(["umount", str(folder)], check=True)


def never(content: bytes) -> bytes:
    return content + bytes(100_000)


def test_settings_and_secrets_on_a_full_disk(disk: Mounted, tmp_path: Path) -> None:
    settings = disk.folder / "config.toml"
    keys = key_file_vault(disk.folder / "secrets.enc", tmp_path / "key", update_file)
    update_file(settings, lambda _: b"a = 1\n")
    keys.set("openai", "first")
    ballast = disk.fill()
    with pytest.raises(ConfigFault, match=r"config\.toml cannot be written") as refused:
        update_file(settings, never)
    assert "free space" in refused.value.failure.hint
    with pytest.raises(ConfigFault, match=r"secrets\.enc cannot be written"):
        keys.set("openai", "second" * 1000)
    assert settings.read_bytes() == b"a = 1\n"
    assert keys.get("openai") == "first"
    ballast.unlink()
    update_file(settings, lambda _: b"a = 2\n")
    keys.set("openai", "second")
    assert settings.read_bytes() == b"a = 2\n"
    assert keys.get("openai") == "second"
    assert not list(disk.folder.glob("*.tmp")) + list(disk.folder.glob(".*.tmp"))


@pytest.mark.anyio
async def test_a_disk_that_becomes_read_only(disk: Mounted, tmp_path: Path) -> None:
    talk = Talk()
    settings = disk.folder / "config.toml"
    update_file(settings, lambda _: b"a = 1\n")
    async with FileJournal(disk.folder / "data", tmp_path / "state") as journal:
        first = talk.say("first")
        await journal.append(talk.conversation, [talk.head(), first])
        disk.turn("ro")
        second = talk.say("second")
        with pytest.raises(StoreFault, match="may not write"):
            await journal.append(talk.conversation, [second])
        with pytest.raises(StoreFault, match="may not write"):
            await journal.put_blob(b"x")
        with pytest.raises(ConfigFault, match="cannot be written"):
            update_file(settings, lambda _: b"a = 2\n")
        assert first in (await journal.read(talk.conversation)).items
        assert not verify(disk.folder / "data").damaged
        disk.turn("rw")
        await journal.append(talk.conversation, [second])
        assert {first, second} <= set((await journal.read(talk.conversation)).items)


@pytest.mark.anyio
async def test_backup_and_restore_on_a_full_disk(disk: Mounted, tmp_path: Path) -> None:
    talk = Talk()
    data = tmp_path / "data"
    async with FileJournal(data, tmp_path / "state") as journal:
        await journal.append(talk.conversation, [talk.head(), talk.say("x")])
        await journal.put_blob(bytes(300_000))
    archive = tmp_path / "a.tar.gz"
    back_up(data, archive)
    ballast = disk.fill()
    with pytest.raises(StoreFault, match="disk is full"):
        back_up(data, disk.folder / "b.tar.gz")
    assert [each.name for each in disk.folder.iterdir()] == ["ballast"]
    ballast.write_bytes(bytes(300_000))
    with pytest.raises(StoreFault, match=r"unpacks to|disk is full"):
        restore(archive, disk.folder / "data")
    ballast.unlink()
    try:
        restore(archive, disk.folder / "data")
    except UsageFault:
        restore(archive, disk.folder / "data", merge=True)
    assert not verify(disk.folder / "data").damaged
    assert verify(disk.folder / "data").blobs == 1
