"""A backup is whole, also while somebody writes; a restore adds and never overwrites."""

import os
import random
import stat
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
from tests.store.money.making import Now
from tests.store.talk import Hurried, Talk, files_below

from patina.model.faults import StoreFault, UsageFault
from patina.model.items import Message
from patina.model.parts import Image
from patina.store.backup import back_up
from patina.store.journal import FileJournal
from patina.store.money.lines import encode, hold_line
from patina.store.restore import drill, restore
from patina.store.verify import verify

pytestmark = pytest.mark.anyio
SUFFIXES = (".tar.gz", ".zip")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files_below(folder)}


class Home:
    """A data folder with a bit of everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.talks = [Talk(), Talk()]

    def journal(self, device: str = "state") -> FileJournal:
        return FileJournal(self.data, self.folder / device, files=Hurried())

    async def fill(self) -> "Home":
        async with self.journal() as desk, self.journal("lap") as lap:
            for talk in self.talks:
                await desk.append(talk.conversation, [talk.head(), talk.say("from the desk")])
                await lap.append(talk.conversation, [talk.say("from the lap")])
            blob = await desk.put_blob(b"picture" * 5000)
            said = talk.say("")
            image = (Image(blob, "image/png"),)
            picture = Message(id=said.id, ts=said.ts, parent=said.parent, role="user", parts=image)
            await desk.append(talk.conversation, [picture])
        hold = encode(hold_line(Now().hold(), "0a1b2c3d"))
        usage = ("usage/2026-11.0a1b2c3d.jsonl", hold)
        for name, content in (("drafts/new.json", b"{}\n"), usage, ("trust.json", b"{}\n")):
            (self.data / name).parent.mkdir(exist_ok=True)
            (self.data / name).write_bytes(content)
        for name in ("secrets.enc", ".trust.json.lock", "trust.json.0a.tmp"):
            (self.data / name).write_bytes(b"private")
        return self


@pytest.fixture
async def home(tmp_path: Path) -> Home:
    return await Home(tmp_path / "home").fill()


def public(home: Home) -> dict[str, bytes]:
    return {name: content for name, content in contents(home.data).items() if content != b"private"}


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_what_is_backed_up_comes_back(tmp_path: Path, home: Home, suffix: str) -> None:
    archive = tmp_path / f"backup{suffix}"
    done = back_up(home.data, archive)
    assert (done.files, done.conversations, done.left_out) == (8, 2, ())
    assert done.archive_bytes == archive.stat().st_size < done.bytes
    assert os.name == "nt" or stat.S_IMODE(archive.stat().st_mode) == 0o600
    tried = drill(archive)
    assert (tried.opened, tried.verified.conversations, tried.verified.blobs) == (2, 2, 1)
    restored = restore(archive, tmp_path / "other" / "data")
    assert (restored.added, restored.present, restored.kept) == (8, 0, ())
    assert contents(tmp_path / "other" / "data") == public(home)
    before = home.data / "transcripts"
    for path in files_below(before):
        copy = tmp_path / "other" / "data" / "transcripts" / path.relative_to(before)
        assert copy.stat().st_mtime_ns == path.stat().st_mtime_ns
        assert os.name == "nt" or stat.S_IMODE(copy.stat().st_mode) == 0o600


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_the_same_folder_gives_the_same_archive(
    tmp_path: Path, home: Home, suffix: str
) -> None:
    listed = []
    for name in ("a", "b"):
        back_up(home.data, tmp_path / f"{name}{suffix}")
        if suffix == ".zip":
            with zipfile.ZipFile(tmp_path / f"{name}.zip") as archive:
                listed.append(archive.namelist())
        else:
            with tarfile.open(tmp_path / f"{name}.tar.gz") as tar:
                listed.append(tar.getnames())
    assert listed[0] == listed[1]
    assert listed[0][-1] == "manifest.json"
    growing = [name for name in listed[0] if name.startswith(("data/transcripts", "data/usage"))]
    assert listed[0][: len(growing)] == sorted(growing)


async def test_configuration_only_when_asked_for(tmp_path: Path, home: Home) -> None:
    settings = home.folder / "config.toml"
    settings.write_text("a = 1\n")
    archive = tmp_path / "a.zip"
    back_up(home.data, archive, config={"config.toml": settings, "settings.toml": tmp_path / "no"})
    without = restore(archive, tmp_path / "one" / "data")
    assert without.kept == ("config/config.toml",)
    restore(archive, tmp_path / "two" / "data", config=tmp_path / "two")
    assert (tmp_path / "two" / "config.toml").read_text() == "a = 1\n"
    settings.write_text("a = 2\n")
    again = restore(archive, home.data, config=home.folder, merge=True)
    assert again.kept == ("config/config.toml",)
    assert settings.read_text() == "a = 2\n"


async def test_where_a_backup_may_not_go(tmp_path: Path, home: Home) -> None:
    for target, words in (
        (home.data / "a.zip", "part of what it is a backup of"),
        (home.data / "drafts" / "a.zip", "part of what it is a backup of"),
        (tmp_path / "a.rar", "what archive to make"),
        (tmp_path / "none" / "a.zip", "no folder"),
    ):
        with pytest.raises(UsageFault, match=words):
            back_up(home.data, target)
    there = tmp_path / "a.zip"
    there.write_bytes(b"precious")
    with pytest.raises(UsageFault, match="exists already"):
        back_up(home.data, there)
    assert there.read_bytes() == b"precious"
    back_up(home.data, there, force=True)
    assert drill(there).opened == 2
    assert [path.name for path in files_below(tmp_path) if path.parent == tmp_path] == ["a.zip"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has links for administrators only")
async def test_links_are_left_out_and_said(tmp_path: Path, home: Home) -> None:
    (tmp_path / "elsewhere").write_text("not part of it")
    (home.data / "drafts" / "link.json").symlink_to(tmp_path / "elsewhere")
    (home.data / "presets").symlink_to(tmp_path)
    done = back_up(home.data, tmp_path / "a.zip")
    assert done.left_out == ("data/presets", "data/drafts/link.json")
    assert "link.json" not in str(drill(tmp_path / "a.zip").manifest)


async def test_a_backup_while_somebody_writes_is_whole(tmp_path: Path, home: Home) -> None:
    """Lines that are half written at that moment stay out; attachments that are named are in."""
    stop = threading.Event()
    talk = home.talks[0]

    def write() -> None:
        import anyio

        async def main() -> None:
            async with home.journal() as journal:
                while not stop.is_set():
                    blob = await journal.put_blob(os.urandom(2000))
                    for _ in range(20):
                        said = talk.say("")
                        image = (Image(blob, "image/png"),)
                        message = Message(id=said.id, ts=said.ts, role="user", parts=image)
                        await journal.append(talk.conversation, [message])

        anyio.run(main)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        counts = []
        for number in range(4):
            archive = tmp_path / f"{number}.tar.gz"
            back_up(home.data, archive)
            tried = drill(archive)
            assert tried.verified.damaged == ()
            assert tried.opened == 2
            counts.append(tried.verified.lines)
    finally:
        stop.set()
        thread.join(60)
    assert counts == sorted(counts)


async def test_a_torn_tail_stays_out(tmp_path: Path, home: Home) -> None:
    path = next((home.data / "transcripts").rglob("*.jsonl"))
    whole = path.read_bytes()
    for tail in (whole[:40], b"\0" * 9):
        path.write_bytes(whole + tail)
        archive = tmp_path / f"{len(tail)}.zip"
        back_up(home.data, archive)
        assert drill(archive).verified.damaged == ()
    path.write_bytes(whole[:-1])
    back_up(home.data, tmp_path / "end.zip")
    assert drill(tmp_path / "end.zip").verified.lines == 9


async def test_a_restore_needs_an_empty_folder(tmp_path: Path, home: Home) -> None:
    archive = tmp_path / "a.tar.gz"
    back_up(home.data, archive)
    before = contents(home.data)
    with pytest.raises(UsageFault, match="holds something already") as refused:
        restore(archive, home.data)
    assert "--merge" in refused.value.failure.hint
    assert contents(home.data) == before


async def test_a_merge_adds_what_is_missing(tmp_path: Path, home: Home) -> None:
    archive = tmp_path / "a.tar.gz"
    back_up(home.data, archive)
    first, second = home.talks
    async with home.journal() as journal:
        ids = {item.id for item in (await journal.read(second.conversation)).items}
        await journal.append(first.conversation, [first.say("newer")])
        await journal.erase(second.conversation)
    (home.data / "trust.json").write_bytes(b"newer")
    before = public(home)
    restored = restore(archive, home.data, merge=True)
    assert restored.kept == ("data/trust.json",)
    after = public(home)
    assert before.items() <= after.items(), "nothing that was there has changed"
    assert restored.conversations == 1
    async with home.journal() as journal:
        found = await journal.read(second.conversation)
        assert {item.id for item in found.items} == ids
        assert len((await journal.read(first.conversation)).items) == 4
    assert verify(home.data).damaged == ()
    again = restore(archive, home.data, merge=True)
    assert (again.added, again.conversations) == (0, 0)
    assert public(home) == after


async def test_a_merge_adds_lines_that_a_file_has_lost(tmp_path: Path, home: Home) -> None:
    """An old copy of the same device's file, as when a disk was put back to an older state."""
    archive = tmp_path / "a.zip"
    talk = home.talks[0]
    async with home.journal() as journal:
        old = contents(home.data)
        await journal.append(talk.conversation, [talk.say("lost"), talk.title("Lost")])
        whole = await journal.read(talk.conversation)
    back_up(home.data, archive)
    for name, content in old.items():
        (home.data / name).write_bytes(content)
    async with home.journal() as journal:
        await journal.append(talk.conversation, [newer := talk.say("newer")])
        restored = restore(archive, home.data, merge=True)
        assert (restored.added, restored.conversations) == (1, 1)
        found = await journal.read(talk.conversation)
        ids = {item.id for item in found.items}
        assert ids == {item.id for item in whole.items} | {newer.id}
        assert (await journal.list())[0].title == "Lost"
    again = restore(archive, home.data, merge=True)
    assert again.added == 0
    assert verify(home.data).damaged == ()


async def test_a_damaged_blob_is_mended(tmp_path: Path, home: Home) -> None:
    archive = tmp_path / "a.zip"
    back_up(home.data, archive)
    (blob,) = files_below(home.data / "blobs")
    blob.write_bytes(b"rubbish")
    assert verify(home.data).damaged
    restore(archive, home.data, merge=True)
    assert not verify(home.data).damaged


async def test_a_restore_that_was_cut_short_can_be_ended(tmp_path: Path, home: Home) -> None:
    class Failing(Hurried):
        left = 4

        def replace(self, draft: Path, path: Path) -> None:
            self.left -= 1
            if self.left < 0:
                raise OSError(5, os.strerror(5))
            super().replace(draft, path)

    archive = tmp_path / "a.zip"
    back_up(home.data, archive)
    target = tmp_path / "other"
    with pytest.raises(StoreFault, match="could not be written"):
        restore(archive, target, files=Failing())
    assert 0 < len(files_below(target)) < 8
    # As a crash would have left it.
    (target / ".restoring-abc").mkdir()
    (target / ".restoring-abc" / "rest").write_bytes(b"")
    restore(archive, target, merge=True)
    assert contents(target) == public(home)


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_every_damage_of_an_archive_is_found(tmp_path: Path, home: Home, suffix: str) -> None:
    archive = tmp_path / f"a{suffix}"
    back_up(home.data, archive)
    content = archive.read_bytes()
    luck = random.Random(11)
    refused = 0
    for _ in range(60):
        cut = luck.randrange(len(content))
        damaged = bytearray(content)
        damaged[cut] ^= 1 << luck.randrange(8)
        for each in (bytes(damaged), content[:cut]):
            archive.write_bytes(each)
            try:
                tried = drill(archive)
            except StoreFault:
                refused += 1
            else:
                # A bit of a time stamp or of a field that nobody reads.
                assert (tried.opened, tried.verified.damaged) == (2, ())
    assert refused > 100
    assert not (tmp_path / "data").exists()
