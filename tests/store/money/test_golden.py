"""Lines of every released format count for ever."""

import shutil
from decimal import Decimal
from pathlib import Path

import pytest
from tests.store.money.making import Now, limit, opened

from patina.model.money import Entry
from patina.store.money.lines import AnyLine, decode, encode

GOLDEN = Path(__file__).with_name("golden")


def lines() -> list[tuple[bytes, AnyLine]]:
    written = (GOLDEN / "v1.jsonl").read_bytes().splitlines(keepends=True)
    found = [(line, decode(line)) for line in written]
    return [(line, item) for line, item in found if item is not None]


@pytest.mark.anyio
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.jsonl")), ids=lambda path: path.stem)
async def test_a_released_format_counts(tmp_path: Path, path: Path) -> None:
    usage = tmp_path / "data" / "usage"
    usage.mkdir(parents=True)
    shutil.copy(path, usage / "2026-11.0a1b2c3d.jsonl")
    entries: list[Entry] = []
    async with opened(tmp_path, Now("2026-11-22T00:13:30+00:00")) as ledger:
        (day,) = await ledger.standing([limit("day")], "2026-11-22")
        await ledger.entries(entries.extend)
        told = await ledger.told(limit("model", "0.25", "openai/gpt-6"), "2026-11", Decimal("0.8"))
    assert (day.spent, day.held, day.unknown) == (Decimal("0.2125"), Decimal(0), 1)
    assert [entry.outcome for entry in entries] == ["cut", "lost", "held"]
    assert not told


def test_version_1_is_written_as_it_was() -> None:
    assert len(lines()) == len((GOLDEN / "v1.jsonl").read_bytes().splitlines())
    for written, line in lines():
        assert encode(line) == written


def test_version_1_has_every_kind_with_every_key() -> None:
    seen: dict[str, set[str]] = {}
    for _, line in lines():
        filled = {name for name in line.__struct_fields__ if getattr(line, name) not in (None, "")}
        seen.setdefault(type(line).__name__, set()).update(filled)
    assert set(seen) == {kind.__name__ for kind in AnyLine.__args__}
    for kind in AnyLine.__args__:
        assert seen[kind.__name__] >= set(kind.__struct_fields__) - {"parent"}
