"""Several devices over one synced folder, and what is done to the folder as a whole."""

import os
import shutil
from decimal import Decimal
from pathlib import Path

import pytest
from tests.store.money.making import Now, ended, files, limit, opened, written
from tests.store.talk import Talk

from patina.model.ids import new_id
from patina.ports.ledger import OverLimit
from patina.store.backup import back_up
from patina.store.journal import FileJournal
from patina.store.restore import restore
from patina.store.verify import verify

pytestmark = pytest.mark.anyio

DAY = "2026-11-21"


def carry(source: Path, target: Path) -> None:
    """Bring the files of one device to another, as a sync tool does: each is replaced whole."""
    for path in files(source):
        place = target / "data" / "usage" / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_suffix(".tmp")
        draft.write_bytes(path.read_bytes())
        draft.replace(place)


async def test_what_another_device_spent_counts(tmp_path: Path) -> None:
    now = Now()
    desk, lap = tmp_path / "desk", tmp_path / "lap"
    async with opened(desk, now, "0000000a") as ours, opened(lap, now, "0000000b") as theirs:
        for amount in ("0.4", "0.2"):
            hold = now.hold(amount)
            await ours.reserve(hold, [limit("day")])
            carry(desk, lap)
            with pytest.raises(OverLimit):
                await theirs.reserve(now.hold("0.7"), [limit("day")])
        await theirs.reserve(now.hold("0.3"), [limit("day")])
        carry(lap, desk)
        (day,) = await ours.settle(ended(hold, "0.1"))
        assert (day.spent, day.held) == (Decimal("0.1"), Decimal("0.7"))
        assert not await told_twice(ours, theirs, desk, lap)
    assert len(files(desk)) == 2


async def told_twice(ours: object, theirs: object, desk: Path, lap: Path) -> bool:
    first = await ours.told(limit("day"), DAY, Decimal("0.8"))  # type: ignore[attr-defined]
    assert first
    carry(desk, lap)
    again: bool = await theirs.told(limit("day"), DAY, Decimal("0.8"))  # type: ignore[attr-defined]
    return again


async def test_copies_of_files_count_once(tmp_path: Path) -> None:
    now = Now()
    async with opened(tmp_path, now, "0000000a") as ledger:
        hold = now.hold("0.4")
        await ledger.reserve(hold, [])
        await ledger.settle(ended(hold, "0.3"))
        before = await ledger.sums("day")
        (path,) = files(tmp_path)
        shutil.copy(path, path.with_name("2026-11.0000000a (conflict).jsonl"))
        shutil.copy(path, path.with_name("2026-11.0000000b.jsonl"))
        assert await ledger.sums("day") == before
    async with opened(tmp_path, now, "0000000c") as ledger:
        assert await ledger.sums("day") == before


async def test_a_file_that_shrank_or_went_is_followed(tmp_path: Path) -> None:
    now = Now()
    async with opened(tmp_path, now, "0000000a") as ledger:
        for _ in range(2):
            await ledger.reserve(now.hold("0.4"), [])
        (path,) = files(tmp_path)
        first = path.read_bytes().split(b"\n")[0]
        path.write_bytes(first + b"\n")
        (day,) = await ledger.standing([limit("day")], DAY)
        assert day.held == Decimal("0.4")
        path.write_bytes(b"\n" * 5000)
        (day,) = await ledger.standing([limit("day")], DAY)
        assert day.held == 0
        path.unlink()
        (day,) = await ledger.standing([limit("day")], DAY)
        assert day.held == 0
        await ledger.reserve(now.hold("0.7"), [limit("day")])


async def test_what_is_no_file_of_ours_is_left_alone(tmp_path: Path) -> None:
    now = Now()
    folder = tmp_path / "data" / "usage"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    (folder / "2026-11.folder.jsonl").mkdir()
    (folder / "2026-11.jsonl").write_text("x")
    (folder / ".2026-11.a.jsonl").write_text("x")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "2026-11.pipe.jsonl")
    async with opened(tmp_path, now) as ledger:
        await ledger.reserve(now.hold("0.7"), [limit("day")])


async def test_a_conversation_that_is_erased_keeps_its_money(tmp_path: Path) -> None:
    """M-14, M-17."""
    now = Now()
    talk = Talk()
    async with (
        FileJournal(tmp_path / "data", tmp_path / "state") as journal,
        opened(tmp_path, now) as ledger,
    ):
        await journal.append(talk.conversation, [talk.head(), talk.say("What does it cost?")])
        hold = now.hold("0.4", conversation=talk.conversation)
        await ledger.reserve(hold, [limit("day")])
        await ledger.settle(ended(hold, "0.3"))
        before = written(tmp_path)
        await journal.erase(talk.conversation)
        assert not list((tmp_path / "data" / "transcripts").rglob("*.jsonl"))
        assert written(tmp_path) == before
        (total,) = await ledger.sums("conversation")
        assert (total.key, total.cost) == (talk.conversation, Decimal("0.3"))
        with pytest.raises(OverLimit):
            await ledger.reserve(now.hold("0.8"), [limit("day")])


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
async def test_a_backup_has_the_money(tmp_path: Path, name: str) -> None:
    now = Now()
    home, other = tmp_path / "home", tmp_path / "other"
    async with opened(home, now, "0000000a") as ledger:
        hold = now.hold("0.4")
        await ledger.reserve(hold, [])
        back_up(home / "data", tmp_path / name)
        await ledger.settle(ended(hold, "0.3"))
        await ledger.reserve(now.hold("0.2", conversation=new_id()), [])
        sums = await ledger.sums("day")
    restored = restore(tmp_path / name, other / "data")
    assert restored.verified.damaged == ()
    async with opened(other, now, "0000000b") as ledger:
        (day,) = await ledger.standing([limit("day")], DAY)
        assert (day.spent, day.held) == (Decimal(0), Decimal("0.4"))
        # What was spent since comes with another archive: each line once.
        back_up(home / "data", tmp_path / f"2{name}")
        restore(tmp_path / f"2{name}", other / "data", merge=True)
        restore(tmp_path / name, other / "data", merge=True)
        (day,) = await ledger.standing([limit("day")], DAY)
        assert (day.spent, day.held) == (Decimal("0.3"), Decimal("0.2"))
        assert await ledger.sums("day") == sums


async def test_verify_names_damaged_lines_of_the_ledger(tmp_path: Path) -> None:
    now = Now()
    async with opened(tmp_path, now, "0000000a") as ledger:
        for _ in range(3):
            await ledger.reserve(now.hold("0.4"), [])
    found = verify(tmp_path / "data")
    assert (found.damaged, found.usage_files, found.usage_lines) == ((), 1, 3)
    (path,) = files(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(b"\n") + 20] ^= 1
    path.write_bytes(data)
    path.with_name("lost.jsonl").write_bytes(data)
    found = verify(tmp_path / "data")
    assert (found.usage_files, found.usage_lines, found.damaged_lines) == (1, 2, 1)
    assert {(damage.file, damage.line) for damage in found.damaged} == {
        ("usage/2026-11.0000000a.jsonl", 2),
        ("usage/lost.jsonl", 0),
    }
