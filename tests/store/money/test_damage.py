"""Files that crashes, power cuts and other programs have left: what is sound counts, once."""

from decimal import Decimal
from pathlib import Path

import pytest
from tests.store.money.making import Now, ended, files, limit, opened, written
from tests.store.ram import ram_folder
from tests.store.talk import Hurried

from patina.model.codec import MAX_LINE, decode_line, encode_line
from patina.model.ids import new_id
from patina.model.items import Note
from patina.model.money import Entry
from patina.store.money.lines import decode, encode, hold_line

pytestmark = pytest.mark.anyio

DAY = "2026-11-21"


async def state(home: Path, now: Now, state: str = "") -> tuple[Decimal, Decimal, set[str]]:
    """What is spent, what is held, and of which requests."""
    entries: list[Entry] = []
    async with opened(home, now, state) as ledger:
        (day,) = await ledger.standing([limit("day")], DAY)
        await ledger.entries(entries.extend)
    return day.spent, day.held, {entry.id for entry in entries}


async def two_requests(home: Path, now: Now) -> tuple[Path, list[str]]:
    holds = [now.hold("0.10"), now.hold("0.20")]
    async with opened(home, now) as ledger:
        for hold in holds:
            await ledger.reserve(hold, [])
        await ledger.settle(ended(holds[0], "0.04"))
    (path,) = files(home)
    return path, [hold.id for hold in holds]


async def test_a_file_cut_at_every_byte_goes_on() -> None:
    now = Now()
    with ram_folder() as room:
        path, (first, second) = await two_requests(room / "whole", now)
        data = path.read_bytes()
        # Where the two holds and the end of the first are whole, with or without a line's end.
        ends = [place for place, byte in enumerate(data) if byte == ord("\n")]
        for cut in range(len(data) + 1):
            home = room / str(cut)
            copy = home / "data" / "usage" / path.name
            copy.parent.mkdir(parents=True)
            copy.write_bytes(data[:cut])
            whole = sum(cut >= end for end in ends)
            expected = [
                (Decimal(0), Decimal(0), set[str]()),
                (Decimal(0), Decimal("0.1"), {first}),
                (Decimal(0), Decimal("0.3"), {first, second}),
                (Decimal("0.04"), Decimal("0.2"), {first, second}),
            ]
            assert await state(home, now, path.name[8:16]) == expected[whole], cut
            third = now.hold("0.5")
            async with opened(home, now, path.name[8:16], files=Hurried()) as ledger:
                (day,) = await ledger.reserve(third, [limit("day")])
            spent, held, known = expected[whole]
            assert (day.spent, day.held) == (spent, held + Decimal("0.5")), cut
            assert await state(home, now, "b") == (
                spent,
                held + Decimal("0.5"),
                known | {third.id},
            ), cut


async def test_damaged_and_strange_lines_are_passed_over(tmp_path: Path) -> None:
    now = Now()
    path, known = await two_requests(tmp_path, now)
    sound = path.read_bytes()
    flipped = bytearray(sound.split(b"\n")[0])
    flipped[20] ^= 1
    strange = now.hold("7").id.encode()
    hold = encode(hold_line(now.hold("7", day="2026-11-21"), ""))
    body = b'{"v":1,"k":"hold","id":"%s","ts":"x","day":"2026-11-21"}' % strange
    path.write_bytes(
        b"\n\r\n"
        + b"\0" * 5000
        + b"\n"
        + bytes(flipped)
        + b"\n"
        + sealed(body)
        + sealed(hold[:-17].replace(b'"amount":"7"', b'"amount":"NaN"') + b"}")
        + sealed(hold[:-17].replace(b'"v":1', b'"v":2') + b"}")
        + sealed(hold[:-17].replace(b'"k":"hold"', b'"k":"tax"') + b"}")
        + sealed(hold[:-17].replace(b'"day":"2026', b'"day":"././') + b"}")
        + encode_line(Note(id=new_id(), ts=now(), level="info", text="not ours"))
        + b"x" * (MAX_LINE + 10)
        + b"\n"
        + b"[" * 100_000
        + b"\n\xff\xfe\n"
        + sound.replace(b"\n", b"\r\n")
        + b"\0" * (2 * MAX_LINE)
    )
    assert await state(tmp_path, now) == (Decimal("0.04"), Decimal("0.2"), set(known))
    async with opened(tmp_path, now) as ledger:
        await ledger.reserve(now.hold("0.5"), [])
        (day,) = await ledger.standing([limit("day")], DAY)
    assert day.held == Decimal("0.7")


async def test_unknown_keys_purposes_and_outcomes_count(tmp_path: Path) -> None:
    """What a newer version writes is money, too."""
    now = Now()
    path, known = await two_requests(tmp_path, now)
    body = path.read_bytes().split(b"\n")[2][:-16]
    newer = body.replace(b'"outcome":"done"', b'"outcome":"paused","colour":[1]')
    newer = newer.replace(b'"purpose":"chat"', b'"purpose":"speech"')
    newer = newer.replace(b'"rev":1,', b"").replace(b'"cost":"0.04"', b'"cost":"0.05","rev":2')
    with path.open("ab") as file:
        file.write(sealed(newer + b"}"))
    assert await state(tmp_path, now) == (Decimal("0.05"), Decimal("0.2"), set(known))


async def test_an_end_whose_hold_is_damaged_counts(tmp_path: Path) -> None:
    now = Now()
    path, (first, _) = await two_requests(tmp_path, now)
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([b"rubbish", b"more", *lines[2:]]))
    assert await state(tmp_path, now, "new") == (Decimal("0.04"), Decimal(0), {first})


async def test_lines_in_any_order_mean_the_same(tmp_path: Path) -> None:
    now = Now()
    path, known = await two_requests(tmp_path, now)
    async with opened(tmp_path, now) as ledger:
        entries: list[Entry] = []
        await ledger.entries(entries.extend)
        await ledger.settle(ended(now.hold(id=known[0]), "0.06"))
    lines = written(tmp_path)
    for turn in range(len(lines)):
        path.write_bytes(b"\n".join([*lines[turn:], *reversed(lines[:turn])]) + b"\n")
        expected = (Decimal("0.06"), Decimal("0.2"), set(known))
        assert await state(tmp_path, now, str(turn)) == expected


async def test_our_lines_can_be_read_by_who_reads_transcripts(tmp_path: Path) -> None:
    now = Now()
    async with opened(tmp_path, now) as ledger:
        hold = now.hold(server="Grüße, 世界 🦉\u2028", model="line\nbreak\0")
        await ledger.reserve(hold, [])
        await ledger.settle(ended(hold))
        await ledger.told(limit("day"), DAY, Decimal("0.8"))
    lines = written(tmp_path)
    assert [getattr(decode_line(line), "kind", "") for line in lines] == ["hold", "settle", "told"]
    assert [type(decode(line)).__name__ for line in lines] == ["HoldLine", "SettleLine", "ToldLine"]
    assert len({decode_line(line).id for line in lines}) == 3


def sealed(body: bytes) -> bytes:
    import zlib

    return b'%b,"c":"%08x"}\n' % (body[:-1], zlib.crc32(body))
