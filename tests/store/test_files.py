"""Names, permissions, devices, locks and threads of the journal on disk."""

import os
import stat
import sys
import threading
from pathlib import Path

import anyio
import pytest
from tests.store.conftest import Child
from tests.store.talk import Talk, files_below

from patina.model.faults import StoreFault, UsageFault
from patina.model.ids import new_id
from patina.model.items import Message
from patina.store import lock
from patina.store.journal import FileJournal

pytestmark = pytest.mark.anyio


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "data"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def texts(items: object) -> list[str]:
    assert isinstance(items, tuple)
    return [item.parts[0].text for item in items if isinstance(item, Message)]  # type: ignore[union-attr]


def made(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


def writer_threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("patina-journal")]


async def begin(journal: FileJournal, talk: Talk) -> None:
    await journal.append(talk.conversation, [talk.head(), talk.say("first")])


async def test_a_transcript_is_one_file_of_its_month_and_device(data: Path, state: Path) -> None:
    # P-16
    talk = Talk()
    async with FileJournal(data, state) as journal:
        await begin(journal, talk)
        await journal.append(talk.conversation, [talk.say("second")])
        path = talk.file(data, journal.device)
    assert files_below(data) == [path]
    assert path.read_bytes().count(b"\n") == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
async def test_files_and_folders_are_their_owners_only(
    tmp_path: Path, data: Path, state: Path
) -> None:
    talk = Talk()
    mask = os.umask(0)
    try:
        async with FileJournal(data, state) as journal, journal.turn(talk.conversation):
            await begin(journal, talk)
            await journal.put_blob(b"picture")
            modes = {(each.is_dir(), stat.S_IMODE(each.stat().st_mode)) for each in made(tmp_path)}
    finally:
        os.umask(mask)
    assert modes == {(True, 0o700), (False, 0o600)}


async def test_a_device_keeps_its_id_in_state(tmp_path: Path, data: Path, state: Path) -> None:
    first = FileJournal(data, state).device
    assert FileJournal(data, state).device == first
    assert FileJournal(data, tmp_path / "elsewhere").device != first
    assert files_below(data) == []
    (state / "device").write_text("../../evil")
    second = FileJournal(data, state).device
    assert second not in (first, "../../evil")
    assert FileJournal(data, state).device == second


async def test_a_state_folder_that_cannot_be_made_stops_nothing(data: Path, state: Path) -> None:
    os.close(os.open(state, os.O_CREAT))  # a file where a folder should be
    talk = Talk()
    for text in ("one", "two"):
        async with FileJournal(data, state) as journal, journal.turn(talk.conversation):
            await journal.append(talk.conversation, [talk.head(), talk.say(text)])
            with pytest.raises(UsageFault):
                await journal.turn(talk.conversation).__aenter__()
    assert texts((await journal.read(talk.conversation)).items) == ["one", "two"]
    assert len(files_below(data)) == 2


async def test_no_thread_runs_before_the_first_append_or_after_closing(
    data: Path, state: Path
) -> None:
    talk = Talk()
    async with FileJournal(data, state) as journal:
        assert await journal.list() == ()
        assert writer_threads() == []
        assert files_below(data) == []
        await begin(journal, talk)
        assert len(writer_threads()) == 1
    assert writer_threads() == []
    with pytest.raises(StoreFault, match="closed"):
        await journal.append(talk.conversation, [talk.say("too late")])
    await journal.aclose()
    assert texts((await journal.read(talk.conversation)).items) == ["first"]


async def test_closing_finishes_what_was_begun(data: Path, state: Path) -> None:
    talk = Talk()
    async with FileJournal(data, state) as journal:
        await begin(journal, talk)
        async with anyio.create_task_group() as group:
            for n in range(20):
                group.start_soon(journal.append, talk.conversation, [talk.say(str(n))])
            await anyio.wait_all_tasks_blocked()
            await journal.aclose()
    kept = texts((await journal.read(talk.conversation)).items)
    assert kept == ["first", *map(str, range(20))]


async def test_an_append_that_was_begun_is_finished_when_cancelled(data: Path, state: Path) -> None:
    talk = Talk()
    async with FileJournal(data, state) as journal:
        await begin(journal, talk)
        descriptor = os.open(talk.file(data, journal.device), os.O_RDWR)
        assert lock.acquire(descriptor, 0)
        returned = False

        async def append() -> None:
            nonlocal returned
            await journal.append(talk.conversation, [talk.say("second")])
            returned = True

        async with anyio.create_task_group() as group:
            group.start_soon(append)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
            os.close(descriptor)
        assert returned
        assert texts((await journal.read(talk.conversation)).items) == ["first", "second"]


async def test_a_stuck_lock_leads_to_another_file(data: Path, state: Path, child: Child) -> None:
    talk = Talk()
    async with FileJournal(data, state, lock_wait=0.05) as journal:
        await begin(journal, talk)
        path = talk.file(data, journal.device)
        with child("hold_file", path) as answer:
            assert answer == {"held": True}
            await journal.append(talk.conversation, [talk.say("second")])
        await journal.append(talk.conversation, [talk.say("third")])
        beside = talk.file(data, f"{journal.device}-{os.getpid()}")
        assert sorted(path.parent.iterdir()) == sorted([path, beside])
        assert b'"k":"head"' in beside.read_bytes().splitlines()[0]
        assert beside.read_bytes().count(b"\n") == 3
        transcript = await journal.read(talk.conversation)
        assert texts(transcript.items) == ["first", "second", "third"]
        assert len(transcript.items) == 4
        (summary,) = await journal.list()
        assert summary.created == transcript.items[0].ts


async def test_a_short_lock_is_waited_for(data: Path, state: Path) -> None:
    talk = Talk()
    async with FileJournal(data, state) as journal:
        await begin(journal, talk)
        path = talk.file(data, journal.device)
        descriptor = os.open(path, os.O_RDWR)
        assert lock.acquire(descriptor, 0)
        second = os.open(path, os.O_RDWR)
        assert not lock.acquire(second, 0.01)
        os.close(second)
        async with anyio.create_task_group() as group:
            group.start_soon(journal.append, talk.conversation, [talk.say("second")])
            await anyio.wait_all_tasks_blocked()
            os.close(descriptor)
        assert list(path.parent.iterdir()) == [path]
        assert texts((await journal.read(talk.conversation)).items) == ["first", "second"]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be replaced there")
async def test_a_file_replaced_while_waiting_is_not_written(data: Path, state: Path) -> None:
    talk = Talk()
    async with FileJournal(data, state) as journal:
        await begin(journal, talk)
        path = talk.file(data, journal.device)
        descriptor = os.open(path, os.O_RDWR)
        assert lock.acquire(descriptor, 0)
        async with anyio.create_task_group() as group:
            group.start_soon(journal.append, talk.conversation, [talk.say("second")])
            await anyio.wait_all_tasks_blocked()
            draft = path.with_name("draft")
            draft.write_bytes(path.read_bytes())
            draft.replace(path)
            os.close(descriptor)
        assert texts((await journal.read(talk.conversation)).items) == ["first", "second"]


async def test_an_erased_conversation_does_not_come_back(data: Path, state: Path) -> None:
    talk = Talk()
    async with FileJournal(data, state) as journal:
        await begin(journal, talk)
        path = talk.file(data, journal.device)
        path.unlink()
        with pytest.raises(StoreFault, match="no transcript"):
            await journal.append(talk.conversation, [talk.say("second")])
        assert list(path.parent.iterdir()) == []


async def test_other_things_in_the_folder_are_not_transcripts(data: Path, state: Path) -> None:
    talk = Talk()
    async with FileJournal(data, state) as journal:
        await begin(journal, talk)
        path = talk.file(data, journal.device)
        for name in ("notes.txt", ".jsonl", f"{new_id()}.json", f"x{new_id()}.00000000.jsonl"):
            (path.parent / name).write_text("mine\n")
        (path.parent / f"{new_id()}.00000000.jsonl").touch()
        (path.parent / f"{new_id()}.00000000.jsonl").mkdir()
        (data / "transcripts" / "readme").write_text("mine")
        (data / "transcripts" / "2026x").mkdir()
        assert [each.conversation for each in await journal.list()] == [talk.conversation]
        assert await journal.find(talk.conversation[:8]) == talk.conversation


async def test_a_conflict_copy_of_a_sync_tool_is_merged(data: Path, state: Path) -> None:
    talk = Talk()
    async with FileJournal(data, state) as journal:
        await begin(journal, talk)
        path = talk.file(data, journal.device)
        copy = path.with_name(f"{path.stem}.sync-conflict-20261121-101010-ABCDEFG.jsonl")
        copy.write_bytes(path.read_bytes())
        await journal.append(talk.conversation, [talk.say("second")])
        transcript = await journal.read(talk.conversation)
        assert texts(transcript.items) == ["first", "second"]
        assert await journal.tail(talk.conversation, 5) == transcript
        assert len(await journal.list()) == 1


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "../evil", "a/b", "nul", "..\\evil", "\x00", "0" * 36),
        *("{id}\n", "{id}/..", "{ID}"),
        "e677d21f-dc00-7000-8000-000000000000",  # the year 10000
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
    ],
)
async def test_names_from_outside_never_become_paths(data: Path, state: Path, name: str) -> None:
    name = name.replace("{id}", new_id()).replace("{ID}", new_id().upper())
    talk = Talk(conversation=name or " ")
    async with FileJournal(data, state) as journal:
        with pytest.raises(UsageFault, match="not the id"):
            await journal.append(name, [talk.head()])
        with pytest.raises(UsageFault, match="not the id"):
            await journal.read(name)
        with pytest.raises(UsageFault, match="not the id"):
            await journal.mark(name)
        with pytest.raises(UsageFault, match="not the id"):
            await journal.turn(name).__aenter__()
    assert files_below(data) == []


async def test_a_clock_that_is_far_ahead(data: Path, state: Path) -> None:
    last = "e677d21f-dbff-7000-8000-000000000000"
    talk = Talk(conversation=last)
    async with FileJournal(data, state) as journal:
        await begin(journal, talk)
        assert await journal.mark(last)
        assert (await journal.read(last)).items
    assert (data / "transcripts" / "9999" / "12").is_dir()


async def test_a_turn_is_held_against_other_processes(
    data: Path, state: Path, child: Child
) -> None:
    talk = Talk()
    async with FileJournal(data, state) as journal:
        with child("hold_turn", data, state, talk.conversation) as answer:
            assert answer == {"held": True}
            with pytest.raises(UsageFault, match="Another Patina process is answering"):
                await journal.turn(talk.conversation).__aenter__()
            async with journal.turn(new_id()):
                pass
        async with journal.turn(talk.conversation):
            pass
    assert list((state / "run").iterdir()) == []
