"""`docs/transcripts.md` is true: its program works, and no kind or key is missing or made up."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from tests.store.talk import Talk

from patina.model import parts
from patina.model.codec import FORMAT, MAX_LINE
from patina.model.items import AnyItem, CallStatus, Choice, Item, NoteLevel, Role, StopReason
from patina.model.usage import Cost, Usage
from patina.store.journal import FileJournal
from patina.store.writer import LOCK_WAIT

DOC = (Path(__file__).parents[2] / "docs" / "transcripts.md").read_text("utf-8")


def wire_keys(kind: type) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


def sections() -> Iterator[tuple[str, str]]:
    kinds = DOC.split("\n## Kinds\n")[1].split("\n## Parts\n")[0]
    for section in kinds.split("\n### ")[1:]:
        name, _, body = section.partition("\n")
        yield name.strip("`"), body


def rows(text: str) -> set[str]:
    return set(re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE))


def test_every_kind_is_described_with_its_keys() -> None:
    described = {name: rows(body) for name, body in sections()}
    common = wire_keys(Item)
    written = {
        str(kind.__struct_config__.tag): wire_keys(kind) - common for kind in get_args(AnyItem)
    }
    assert described == written


def test_the_common_keys_are_described() -> None:
    before_kinds = DOC.split("\n## Kinds\n")[0]
    assert rows(before_kinds) == wire_keys(Item) | {"k"}


def test_every_part_is_described_with_its_keys() -> None:
    table = DOC.split("\n## Parts\n")[1].split("\n## ")[0]
    for kind in (parts.Text, parts.Thinking, parts.Image, parts.File, parts.ToolCall):
        (row,) = re.findall(rf"^\| `{kind.__struct_config__.tag}` \| (.*) \|$", table, re.MULTILINE)
        assert wire_keys(kind) <= set(re.findall("`([a-z_]+)`", row))


def test_every_value_of_a_choice_is_named() -> None:
    named = set(re.findall("`([a-z_]+)`", DOC))
    for choice in (Role, StopReason, CallStatus, Choice, NoteLevel):
        assert set(get_args(choice)) <= named
    assert wire_keys(Usage) | wire_keys(Cost) <= named


def test_numbers_are_those_of_the_code() -> None:
    assert f"at most {MAX_LINE:,} bytes" in DOC
    assert f"Format of the line, {FORMAT} so far" in DOC
    assert f"locked for {LOCK_WAIT:.0f} seconds" in DOC


@pytest.mark.anyio
async def test_the_verifier_works_on_a_real_file(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)
    assert len(program.strip().splitlines()) <= 12
    talk = Talk()
    async with FileJournal(tmp_path / "data", tmp_path / "state") as journal:
        items: list[AnyItem] = [
            talk.head(),
            talk.say("Grüße \u2028 🦉"),
            talk.title("A title"),
            talk.say("More"),
        ]
        await journal.append(talk.conversation, items)
        path = talk.file(tmp_path / "data", journal.device)
    expected = [
        f"{n} {kind} {item.id}"
        for n, kind, item in zip((1, 2, 3, 4), ("head", "msg", "meta", "msg"), items, strict=True)
    ]
    assert run(program, path) == expected
    data = bytearray(path.read_bytes())
    data[data.index(b"A title")] ^= 1
    path.write_bytes(data + b'{"v":1,"k":"msg"')
    expected[2] = "3 damaged"
    assert run(program, path) == [*expected, "5 damaged"]


def run(program: str, path: Path) -> list[str]:
    answer = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.splitlines()
