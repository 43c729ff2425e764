"""The PDF: what stands in it, and that hostile text is only text."""

import re
import time
from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.billing.making import ENTRIES, GONE, TALK, TODAY, entry, fill

from patina.billing.reports.collect import Report, collect
from patina.billing.reports.pdf import render
from patina.billing.reports.periods import Period, days_of
from patina.model.money import Entry
from patina.store.money.memory import MemoryLedger

MADE = "11 Nov 2026, 14:03"


async def report(entries: tuple[Entry, ...] = ENTRIES, **only: str) -> Report:
    ledger = MemoryLedger()
    await fill(ledger, entries)
    return await collect(ledger, Period("2026-11-01", TODAY), TODAY, only, 20)


def texts(data: bytes) -> list[str]:
    """The text of an uncompressed PDF, a piece for each time that the font was set."""
    found = []
    for raw in re.findall(rb"\((((?:\\.|[^\\()])*))\) Tj", data, re.DOTALL):
        plain = re.sub(
            rb"\\([0-7]{3}|.)",
            lambda match: bytes([int(match[1], 8)]) if len(match[1]) == 3 else match[1],
            raw[0],
        )
        # The fonts of readers take UTF-16, the others an old code page.
        found.append(plain.decode("utf-16-be" if b"\0" in plain[::2] else "cp1252", "replace"))
    return found


def fonts(data: bytes) -> set[bytes]:
    return set(re.findall(rb"/BaseFont /(?:[A-Z]{6}\+)?([\w-]+)", data))


def shown(found: Report) -> str:
    return "\n".join(texts(render(found, made=MADE, app="Patina 1.2", compress=False)))


# M-19
@pytest.mark.anyio
async def test_what_stands_in_it() -> None:
    text = shown(replace(await report(), titles={TALK: "Trains to Rome"}))
    for expected in (
        "Usage",
        "1 Nov 2026 to 11 Nov 2026",
        f"Made {MADE}. Days are local; amounts are US dollars.",
        *("Spent", "$2.25", "Requests", "7", "Tokens", "8.4k", "Dearest model", "openai/gpt-5.2"),
        "2 requests without a price: what they cost is unknown, and in no sum.",
        *("By model", "By provider", "By purpose", "By conversation", "By the server that asked"),
        *("unknown", "$0.0000", "<$0.0001", "forecast", "github"),
        *("?", "with requests of unknown cost"),
        "Trains to Rome · 01936f3e-7b00",
        "(deleted) · 01936f3e-7c00",
        *("Where the prices come from", "genai-prices", "2026-10-01"),
        *("Patina 1.2", "Page 1 of 2", "Page 2 of 2"),
    ):
        assert expected in text.split("\n"), expected


@pytest.mark.anyio
async def test_a_narrowed_report_says_so() -> None:
    text = shown(replace(await report(conversation=GONE), titles={}))
    assert "Only conversation: (deleted) (01936f3e-7c00)" in text
    assert "Only model: nobody/new" in shown(await report(model="nobody/new"))


@pytest.mark.anyio
async def test_a_time_without_requests() -> None:
    text = shown(await report(()))
    assert "$0.00" in text
    assert "Cost per day" not in text


HOSTILE = (
    "<b>bold</b> &amp; </para> <img src='file:///etc/passwd'/>",
    ") Tj ET Q q (",
    "\\) \\( \\\\",
    "\x1b[31mred\x00\u202eright",
    "%%EOF endstream endobj",
    "x" * 100_000,
    "\ud800 half",
    "",
)


@pytest.mark.anyio
@pytest.mark.parametrize("title", HOSTILE)
async def test_a_hostile_title_is_only_text(title: str) -> None:
    name = f"p/{title}" if "\ud800" not in title else "p/m"
    hostile = entry(TODAY, name, "1", tier="x")
    found = replace(await report((*ENTRIES, hostile)), titles={TALK: title})
    data = render(found, made=MADE, app="Patina", compress=False)
    plain = render(replace(found, titles={TALK: "x"}), made=MADE, app="Patina", compress=False)
    assert data.startswith(b"%PDF-")
    # Text brings no picture, link or structure: there are as many objects with it as without.
    assert len(re.findall(rb"^\d+ 0 obj", data, re.MULTILINE)) == len(
        re.findall(rb"^\d+ 0 obj", plain, re.MULTILINE)
    )
    assert b"\x1b" not in data
    assert b"/Annot" not in data
    assert b"/URI" not in data


@pytest.mark.anyio
async def test_markup_is_shown_as_it_stands() -> None:
    assert "<b>x</b> &amp;" in shown(replace(await report(), titles={TALK: "<b>x</b> &amp;"}))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("title", "font"),
    [
        ("旅行の計画", b"HeiseiKakuGo-W5"),
        ("日本語のメモ", b"HeiseiKakuGo-W5"),
        ("简体中文标题", b"STSong-Light"),
        ("여행 계획", b"HYGothic-Medium"),
        ("Привет", b"STSong-Light"),
        ("žluťoučký", b"BitstreamVeraSans-Roman"),
        ("naïve café €", b"Helvetica"),
    ],
)
async def test_titles_of_the_world_are_readable(title: str, font: bytes) -> None:
    found = replace(await report(), titles={TALK: title})
    data = render(found, made=MADE, app="Patina", compress=False)
    assert font in fonts(data)
    if font not in (b"Helvetica", b"BitstreamVeraSans-Roman"):
        # What the reader's fonts take is UTF-16, so that it can be searched and copied, too.
        for word in title.split():
            assert word.encode("utf-16-be") in _unescaped(data)


@pytest.mark.anyio
async def test_what_no_font_has_is_replaced() -> None:
    text = shown(replace(await report(), titles={TALK: "a 🎉 ع ť b"}))
    assert "a ? ? t b" in "".join(text)


def _unescaped(data: bytes) -> bytes:
    return re.sub(
        rb"\\([0-7]{3}|[\\()])",
        lambda match: bytes([int(match[1], 8)]) if len(match[1]) == 3 else match[1],
        data,
    )


@pytest.mark.anyio
async def test_nothing_of_this_machine_stands_in_it() -> None:
    import getpass
    import socket

    data = render(await report(), made=MADE, app="Patina", compress=False)
    assert socket.gethostname().encode() not in data
    author = re.search(rb"/Author \((.*?)\)", data)
    assert author is not None
    assert author[1] in (b"", b"\\376\\377")
    assert getpass.getuser().encode() not in author[1]


@pytest.mark.anyio
async def test_a_year_has_many_bars_and_few_pages() -> None:
    days = days_of("2025-11-12", TODAY)
    entries = tuple(
        entry(day, f"p/m{n}", str(Decimal(n + 1) / 7)) for day in days for n in range(8)
    )
    ledger = MemoryLedger()
    await fill(ledger, entries)
    found = await collect(ledger, Period(days[0], days[-1]), TODAY, {}, 20)
    start = time.process_time()
    data = render(found, made=MADE, app="Patina", compress=False)
    assert time.process_time() - start < 2
    assert data.count(b" re f") >= 365 * 7  # a bar for each day and series
    assert b"/Count 2" in data
