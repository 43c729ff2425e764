"""The store. Each figure stands beside a floor: the bare system calls that no store could do
without, on the same disk at the same time.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import anyio
from bench.table import Row

from patina.model.codec import encode_line
from patina.model.ids import id_month, new_id
from patina.model.items import AnyItem, Head, Message, Meta
from patina.model.parts import Text
from patina.store.journal import FileJournal

APPENDS = 1_000
MESSAGES = 100_000
CONVERSATIONS = 1_000
REPEATS = 7
_TEXT = "The quick brown fox jumps over the lazy dog. " * 16
_TS = "2026-11-21T10:00:00.000Z"


def rows() -> list[Row]:
    """Measure everything and return it. Takes some seconds and 200 MB of the temporary folder."""
    with tempfile.TemporaryDirectory(prefix="patina-bench-") as folder:
        home = Path(folder)
        return [
            *anyio.run(_appends, home / "append"),
            anyio.run(_tail, home / "tail"),
            anyio.run(_list, home / "list"),
        ]


def _conversation(messages: int) -> tuple[str, list[AnyItem]]:
    conversation = new_id()
    items: list[AnyItem] = [
        Head(id=conversation, ts=_TS, conversation=conversation, format=1, app="bench")
    ]
    parent: str | None = None
    for n in range(messages):
        role: Literal["user", "assistant"] = "assistant" if n % 2 else "user"
        message = Message(
            id=new_id(), ts=_TS, parent=parent, role=role, parts=(Text(f"{n} {_TEXT}"),)
        )
        parent = message.id
        items.append(message)
        if n == 1:
            items.append(Meta(id=new_id(), ts=_TS, title=f"Conversation {conversation}"))
    return conversation, items


def put_conversation(home: Path, messages: int) -> tuple[str, Path]:
    """Write a conversation of so many messages. Return its id and its file."""
    conversation, items = _conversation(messages)
    year, month = id_month(conversation)
    folder = home / "data" / "transcripts" / f"{year:04}" / f"{month:02}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{conversation}.0a1b2c3d.jsonl"
    path.write_bytes(b"".join(map(encode_line, items)))
    return conversation, path


async def _appends(home: Path) -> list[Row]:
    conversation, items = _conversation(APPENDS)
    ours: list[float] = []
    floor: list[float] = []
    raw = os.open(home.with_name("raw"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sync = getattr(os, "fdatasync", os.fsync)
    async with FileJournal(home / "data", home / "state") as journal:
        for item in items:
            begun = time.perf_counter()
            await journal.append(conversation, [item])
            ours.append(time.perf_counter() - begun)
            line = encode_line(item)
            begun = time.perf_counter()
            os.write(raw, line)
            sync(raw)
            floor.append(time.perf_counter() - begun)
    os.close(raw)
    return [
        _row("append with sync, median", ours, floor, "write, fdatasync")._replace(limit=1.0),
        Row("append with sync, 99th percentile", _p99(ours), "ms", _p99(floor), "write, fdatasync"),
    ]


async def _tail(home: Path) -> Row:
    conversation, path = put_conversation(home, MESSAGES)
    journal = FileJournal(home / "data", home / "state")

    def backwards() -> None:
        with path.open("rb") as file:
            file.seek(-(64 << 10), os.SEEK_END)
            file.read().split(b"\n")

    ours = await _timed(lambda: journal.tail(conversation, 50))
    floor = await _timed(lambda: _in_place(backwards))
    name = f"last 50 of {MESSAGES:,} messages"
    return _row(name, ours, floor, "read the end of the file")._replace(limit=20.0)


async def _list(home: Path) -> Row:
    paths = [put_conversation(home, 100)[1] for _ in range(CONVERSATIONS)]
    journal = FileJournal(home / "data", home / "state")

    def read_all() -> None:
        for path in paths:
            with path.open("rb") as file:
                file.read()

    ours = await _timed(journal.list)
    floor = await _timed(lambda: _in_place(read_all))
    name = f"list {CONVERSATIONS:,} conversations"
    return _row(name, ours, floor, "read the files")


async def _in_place(work: Callable[[], None]) -> None:
    work()


async def _timed(work: Callable[[], Awaitable[object]]) -> list[float]:
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        await work()
        times.append(time.perf_counter() - begun)
    return times


def _row(name: str, ours: list[float], floor: list[float], floor_is: str) -> Row:
    return Row(name, _median(ours), "ms", _median(floor), floor_is)


def _median(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1000


def _p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98] * 1000
