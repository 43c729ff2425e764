"""Erasing for good: nothing of it is left anywhere, and nothing else is touched."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.store.conftest import Child
from tests.store.talk import Hurried, Talk, files_below

from patina.model.codec import encode_line
from patina.model.faults import Fault, StoreFault, UsageFault
from patina.model.ids import new_id
from patina.model.items import (
    Answer,
    AnyItem,
    Ask,
    Call,
    Checkpoint,
    Message,
    Note,
    Question,
    ReplyStart,
    Result,
    Task,
)
from patina.model.parts import Image, Part, Text, ToolCall
from patina.model.questions import Answered, Asked, TaskState
from patina.store.erase import Eraser
from patina.store.journal import FileJournal
from patina.store.layout import Layout

pytestmark = pytest.mark.anyio
SECRET = "xyzzy-plugh"


def journal_in(folder: Path, device: str = "state") -> FileJournal:
    return FileJournal(folder / "data", folder / device, files=Hurried(), lock_wait=0.2)


def holds(folder: Path, words: str) -> list[str]:
    """The files below `folder` that hold `words`, in their content or in their name."""
    return [
        path.name
        for path in files_below(folder)
        if words.encode() in path.read_bytes() or words in path.name
    ]


class Story:
    """A conversation with a secret in everything that may hold one."""

    def __init__(self) -> None:
        self.talk = Talk()
        self.items: list[AnyItem] = [self.talk.head()]

    async def write(self, journal: FileJournal) -> None:
        blob = await journal.put_blob(f"picture {SECRET}".encode())
        talk = self.talk
        self.asked = self._add(talk.say("open question"))
        start: dict[str, Any] = {"message": new_id(), "turn": self.asked.id}
        start |= {"provider": "p", "model": "m"}
        self._add(ReplyStart(id=new_id(), ts=talk.now(), parent=self.asked.id, **start))
        self._add(
            Checkpoint(id=new_id(), ts=talk.now(), message=start["message"], text=f"half {SECRET}")
        )
        parts: tuple[Part, ...] = (
            Text(f"said {SECRET}"),
            Image(blob, "image/png", name=SECRET),
            ToolCall("c1", "files.read", f'{{"path":"{SECRET}"}}'),
        )
        message = replace(talk.say(""), id=start["message"], role="assistant", parts=parts)
        talk.last = message.id
        self.said = self._add(message)
        about = {"message": message.id, "call_id": "c1", "server": "files", "tool": "read"}
        arguments = f'{{"path":"{SECRET}"}}'
        self._node(
            Ask, **about, arguments=arguments, display_name="Files", options=("allow_once", "deny")
        )
        self._node(Call, **about, arguments=arguments)
        place = {"message": message.id, "call_id": "c1"}
        asked = Asked(kind="form", text=f"Which {SECRET}?", form={"title": SECRET})
        question = self._node(Question, **place, server="files", display_name="Files", asked=asked)
        answered = Answered(action="accept", content={"which": SECRET})
        self._node(Answer, **place, question=question.id, answered=answered)
        state = TaskState(task_id="t1", status="working", text=f"reads {SECRET}")
        self._node(Task, **about, state=state)
        self.result = self._node(
            Result, **about, status="completed", parts=(Text("a plain result"),)
        )
        self.note = self._node(Note, level="info", text="a plain note")
        self.after = self._add(talk.say("and then?"))
        self.blob = blob
        await journal.append(talk.conversation, self.items)

    def _add(self, item: AnyItem) -> AnyItem:
        self.items.append(item)
        return item

    def _node(self, kind: type, **fields: object) -> AnyItem:
        talk = self.talk
        item: AnyItem = kind(id=new_id(), ts=talk.now(), parent=talk.last, **fields)
        talk.last = item.id
        return self._add(item)


async def test_nothing_of_an_erased_conversation_is_left(tmp_path: Path) -> None:
    story, other = Story(), Talk()
    async with journal_in(tmp_path) as journal, journal_in(tmp_path, "elsewhere") as device:
        await story.write(journal)
        conversation = story.talk.conversation
        await device.append(conversation, [story.talk.say(f"from another device {SECRET}")])
        await journal.append(other.conversation, [other.head(), other.say("stays")])
        drafts = tmp_path / "data/drafts"
        drafts.mkdir()
        (drafts / f"{conversation}.json").write_text(SECRET)
        month = story.talk.file(tmp_path / "data", "x").parent
        (month / f"{conversation}.0a1b2c3d.jsonl.0f0f0f0f.tmp").write_text(SECRET)
        await journal.erase(conversation)
        assert holds(tmp_path, SECRET) == []
        assert holds(tmp_path / "data", conversation) == []
        assert files_below(tmp_path / "data/blobs") == []
        with pytest.raises(UsageFault):
            await journal.read(conversation)
        assert [each.conversation for each in await journal.list()] == [other.conversation]
        # Whoever has it open still cannot bring a part of it back.
        for writer in (journal, device):
            with pytest.raises(StoreFault, match="no transcript"):
                await writer.append(conversation, [story.talk.say("late")])
        assert await journal.mark(conversation) == ""


async def test_blobs_that_others_name_stay(tmp_path: Path) -> None:
    async with journal_in(tmp_path) as journal:
        blobs = [await journal.put_blob(name.encode()) for name in ("mine", "ours", "drafted")]
        talks = [Talk(), Talk()]
        for talk, named in zip(talks, (blobs, blobs[1:2]), strict=True):
            parts = tuple(Image(blob, "image/png") for blob in named)
            await journal.append(
                talk.conversation, [talk.head(), replace(talk.say(""), parts=parts)]
            )
        (tmp_path / "data/drafts").mkdir()
        (tmp_path / "data/drafts/new.json").write_text(f'{{"blob":"{blobs[2]}"}}')
        await journal.erase(talks[0].conversation)
        assert {path.name for path in files_below(tmp_path / "data/blobs")} == set(blobs[1:])
        await journal.erase(talks[1].conversation)
        assert {path.name for path in files_below(tmp_path / "data/blobs")} == {blobs[2]}


async def test_an_item_loses_what_it_said_and_nothing_else_changes(tmp_path: Path) -> None:
    story = Story()
    async with journal_in(tmp_path) as journal, journal_in(tmp_path, "elsewhere") as device:
        await story.write(journal)
        conversation = story.talk.conversation
        await device.append(conversation, [story.talk.say("from another device")])
        torn = encode_line(story.said)[:-30] + b"\n"  # of a write that was cut
        own = story.talk.file(tmp_path / "data", journal.device)
        with own.open("ab") as file:
            file.write(torn + b"rubbish\r\n\n")
        foreign = story.talk.file(tmp_path / "data", device.device)
        before, theirs = own.read_bytes().split(b"\n"), foreign.read_bytes()
        await journal.erase(conversation, story.said.id)
        assert holds(tmp_path, SECRET) == []
        assert files_below(tmp_path / "data/blobs") == []
        assert foreign.read_bytes() == theirs
        after = own.read_bytes().split(b"\n")
        before.remove(torn[:-1])
        assert len(before) == len(after)
        changed = [n for n, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        kinds = [type(story.items[n]) for n in changed]
        assert kinds == [Checkpoint, Message, Ask, Call, Question, Answer, Task]
        transcript = await journal.read(conversation)
        assert [item.id for item in transcript.items][:-1] == [item.id for item in story.items]
        # And again: nothing is left to be done.
        content = own.read_bytes()
        await journal.erase(conversation, story.said.id)
        assert own.read_bytes() == content
        # Writing goes on in the new file.
        late = story.talk.say("late")
        await journal.append(conversation, [late])
        assert (await journal.read(conversation)).items[-1] == late


async def test_results_and_notes_can_be_erased_too(tmp_path: Path) -> None:
    story = Story()
    async with journal_in(tmp_path) as journal:
        await story.write(journal)
        conversation = story.talk.conversation
        await journal.erase(conversation, story.result.id)
        await journal.erase(conversation, story.note.id)
        assert holds(tmp_path, "a plain") == []
        assert (await journal.read(conversation)).damaged == 0


async def test_the_mark_shows_it_even_at_the_same_size(tmp_path: Path) -> None:
    story = Story()
    async with journal_in(tmp_path) as journal:
        await story.write(journal)
        conversation = story.talk.conversation
        before = await journal.mark(conversation)
        await journal.erase(conversation, story.note.id)
        after = await journal.mark(conversation)
        assert before != after
        assert await journal.since(conversation, before) is None


@pytest.mark.parametrize("step", range(12))
async def test_a_crash_leaves_all_or_nothing_to_be_found(tmp_path: Path, step: int) -> None:
    class Crash(Hurried):
        left = step

        def sync(self, descriptor: int) -> None:
            self.sync_folder(tmp_path)

        def sync_folder(self, folder: Path) -> None:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1

    story = Story()
    async with journal_in(tmp_path) as journal, journal_in(tmp_path, "elsewhere") as device:
        await story.write(journal)
        conversation = story.talk.conversation
        await device.append(conversation, [story.talk.say("x")])
        eraser = Eraser(Layout(tmp_path / "data", tmp_path / "state"), Crash(), 0.2)
        with suppress(KeyboardInterrupt):
            eraser.conversation(conversation)
    async with journal_in(tmp_path) as journal:
        found = await journal.list()
        if found:
            assert len((await journal.read(conversation)).items) == len(story.items) + 1
            assert SECRET.encode() in await journal.get_blob(story.blob)
            await journal.erase(conversation)
        else:
            with pytest.raises(UsageFault):
                await journal.find(conversation)
            with pytest.raises(UsageFault):
                await journal.find(conversation[:30])
            assert await journal.mark(conversation) == ""
            await journal.finish_erasing()
        assert holds(tmp_path, SECRET) == []
        assert holds(tmp_path / "data", conversation) == []


async def test_it_is_refused_while_another_process_answers(tmp_path: Path, child: Child) -> None:
    story = Story()
    async with journal_in(tmp_path) as journal:
        await story.write(journal)
        conversation = story.talk.conversation
        with child("hold_turn", tmp_path / "data", tmp_path / "state", conversation):
            for item in (None, story.said.id):
                with pytest.raises(UsageFault, match="Another Patina process is answering"):
                    await journal.erase(conversation, item)
        assert len((await journal.read(conversation)).items) == len(story.items)
        path = story.talk.file(tmp_path / "data", journal.device)
        with child("hold_file", path), pytest.raises(StoreFault, match="nothing was erased"):
            await journal.erase(conversation)
        assert len((await journal.read(conversation)).items) == len(story.items)
        await journal.erase(conversation)


async def test_what_cannot_be_erased_is_said(tmp_path: Path) -> None:
    story = Story()
    async with journal_in(tmp_path) as journal:
        await story.write(journal)
        conversation = story.talk.conversation
        before = story.talk.file(tmp_path / "data", journal.device).read_bytes()
        call = next(item for item in story.items if isinstance(item, Call))
        for item, says in (
            (call.id, "no message, result or note"),
            (conversation, "no message, result or note"),
            (new_id(), "has no item"),
            ("", "has no item"),
            ("../x", "has no item"),
        ):
            with pytest.raises(UsageFault, match=says):
                await journal.erase(conversation, item)
        with pytest.raises(UsageFault, match="There is no conversation"):
            await journal.erase(new_id())
        with pytest.raises(UsageFault, match="not the id"):
            await journal.erase("../../etc")
        assert story.talk.file(tmp_path / "data", journal.device).read_bytes() == before


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="needs folders that bind the user"
)
async def test_a_folder_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    story = Story()
    async with journal_in(tmp_path) as journal:
        await story.write(journal)
        month = story.talk.file(tmp_path / "data", "x").parent
        month.chmod(0o500)
        try:
            with pytest.raises(Fault, match="may not write"):
                await journal.erase(story.talk.conversation)
        finally:
            month.chmod(0o700)
        assert (await journal.read(story.talk.conversation)).items
