"""`patina usage`: the real command over a real ledger."""

import csv
import json
import os
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from time import process_time

import anyio
import pytest
from tests.billing.making import ENTRIES, GONE, TALK, entry, fill
from tests.cli.support import home, patina

from patina.billing.reports.shape import Row, Table, table
from patina.cli.usage_table import Bars, cells, lines
from patina.model.items import Head, Message, Meta
from patina.model.money import Entry
from patina.model.parts import Text
from patina.store.journal import FileJournal
from patina.store.money.ledger import FileLedger
from patina.store.money.memory import MemoryLedger

FIXED = ("--since", "2026-10", "--until", "2026-11-10")
ESC = "\x1b"


def spend(*entries: Entry) -> None:
    async def write() -> None:
        async with FileLedger(home() / "data", home() / "state") as ledger:
            await fill(ledger, entries or ENTRIES)

    anyio.run(write)


def begin(conversation: str, title: str, *, deleted: bool = False) -> None:
    async def write() -> None:
        async with FileJournal(home() / "data", home() / "state") as journal:
            ts = "2026-11-01T10:00:00.000Z"
            head = Head(id=conversation, ts=ts, conversation=conversation, format=1, app="test")
            text = Message(id=f"{conversation[:-1]}c", ts=ts, role="user", parts=(Text("Hello."),))
            meta = Meta(id=f"{conversation[:-1]}d", ts=ts, title=title, deleted=deleted or None)
            await journal.append(conversation, (head, text, meta))

    anyio.run(write)


@pytest.fixture
def spent() -> None:
    spend()


# M-19
@pytest.mark.usefixtures("spent")
def test_the_table_by_model() -> None:
    result = patina("usage", *FIXED, "--by", "model", "--chart", variables={"COLUMNS": "100"})
    assert result.returncode == 0, result.stderr
    assert (
        result.stdout
        == """\
Usage, 1 Oct 2026 to 10 Nov 2026

MODEL                      REQUESTS    IN   OUT  CACHED     COST  SHARE  NO PRICE  ESTIMATED
openai/gpt-5.2                    4  4.0k   800    1.2k  $4.5000    95%                    1  ██████
anthropic/claude-sonnet-5         1  1.0k   200     300  $0.2500     5%                       ▍
nobody/new                        2  2.0k   400     600  unknown                2          1
ollama/llama3.2                   1  1.0k   200     300  $0.0000     0%
total                             8  8.0k  1.6k    2.4k  $4.7500   100%         2          2

$4.75 in 8 requests with 9.6k tokens. Dearest model: openai/gpt-5.2, $4.50.
2 requests without a price: what they cost is unknown, and in no sum.
2 requests are estimated: the provider did not say all.
"""
    )


@pytest.mark.usefixtures("spent")
def test_bars_where_there_is_room_and_ascii_without_colour() -> None:
    wide = {"COLUMNS": "110"}
    result = patina("usage", *FIXED, "--by", "month", "--chart", variables=wide)
    assert "2026-10         1  1,000    200     300  $2.5000    53%" in result.stdout
    assert "█" in result.stdout
    for more, variables in (
        ((), {**wide, "NO_COLOR": "1"}),
        (("--plain",), wide),
        ((), {**wide, "TERM": "dumb"}),
    ):
        result = patina("usage", *FIXED, "--by", "month", "--chart", *more, variables=variables)
        assert result.stdout.isascii()
        assert "####" in result.stdout
    assert "█" not in patina("usage", *FIXED, "--by", "month", "--no-chart").stdout


@pytest.mark.usefixtures("spent")
def test_a_pipe_gets_cells_and_no_chart() -> None:
    result = patina("usage", *FIXED)
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[0] for row in rows] == [
        "2026-10-30", "2026-11-01", "2026-11-03", "2026-11-04", "2026-11-10",
    ]  # fmt: skip
    assert rows[2] == [
        "2026-11-03", "3", "3000", "600", "900", "1.25", "26%", "2 without a price, 2 estimated",
    ]  # fmt: skip
    assert patina("usage", *FIXED, "--model", "nobody/new").stdout.split("\t")[5] == "unknown"


@pytest.mark.usefixtures("spent")
def test_json_is_an_array_in_which_unknown_is_null() -> None:
    rows = json.loads(patina("usage", *FIXED, "--by", "model", "--json").stdout)
    assert [row["model"] for row in rows] == [
        "openai/gpt-5.2", "anthropic/claude-sonnet-5", "nobody/new", "ollama/llama3.2",
    ]  # fmt: skip
    assert rows[0]["cost"] == {"amount": "4.50002", "currency": "USD"}
    assert rows[2]["cost"] is None
    assert rows[2]["unknown"] == 2
    assert rows[3]["cost"] == {"amount": "0", "currency": "USD"}
    assert rows[0].keys() == {
        "model", "requests", "input_tokens", "output_tokens", "cache_read_tokens",
        "cache_write_tokens", "reasoning_tokens", "cost", "share", "unknown", "estimated",
        "duration_ms",
    }  # fmt: skip


@pytest.mark.usefixtures("spent")
def test_the_money_of_a_deleted_conversation_stays() -> None:
    begin(TALK, f"Trains {ESC}[31m to Rome")
    begin(GONE, "A secret title", deleted=True)
    rows = json.loads(patina("usage", *FIXED, "--by", "conversation", "--json").stdout)
    assert [(row["session_id"], row["title"], row["deleted"]) for row in rows] == [
        (TALK, f"Trains {ESC}[31m to Rome", False),
        (GONE, None, True),
    ]
    result = patina("usage", *FIXED, "--by", "conversation", "--chart")
    assert "01936f3e-7b00  Trains [31m to Rome" in result.stdout
    assert "01936f3e-7c00  (deleted)" in result.stdout
    assert "secret" not in result.stdout
    assert ESC not in result.stdout


def test_what_was_spent_further_east_is_not_hidden() -> None:
    now = datetime.now(tz=UTC)
    days = [(now + timedelta(days)).date().isoformat() for days in (1, 200)]
    for day in days:
        spend(entry(day, "p/m", "0.5"))
    west = {"TZ": "UTC0"}
    assert patina("usage", variables=west).stdout.startswith(f"{days[0]}\t1\t")
    shown = patina("usage", "--since", "all", variables=west).stdout.splitlines()
    assert [line[:10] for line in shown] == days
    assert patina("usage", "--until", "today", variables=west).stdout == ""
    report = patina("usage", "--since", "all", "--chart", "--by", "month", variables=west)
    assert "$1.00 in 2 requests" in report.stdout


@pytest.mark.usefixtures("spent")
def test_narrowing_by_short_names() -> None:
    assert patina("usage", *FIXED, "--by", "provider", "--model", "gpt-5.2").stdout.count("\n") == 1
    row = patina("usage", *FIXED, "--by", "purpose", "--conversation", "01936f3e-7c").stdout
    assert row.startswith("chat\t1\t")
    assert patina("usage", *FIXED, "--provider", "nobody").stdout.startswith("2026-11-03\t2\t")
    missing = patina("usage", "--model", "gpt-9")
    assert missing.returncode == 2
    assert "There was no request of the model 'gpt-9'." in missing.stderr
    several = patina("usage", "--conversation", "01936f3e")
    assert several.returncode == 2
    assert "may be 2 conversations" in several.stderr


@pytest.mark.usefixtures("spent")
def test_server_rows() -> None:
    rows = json.loads(patina("usage", *FIXED, "--by", "server", "--json").stdout)
    assert [(row["server"], row["requests"]) for row in rows] == [(None, 7), ("github", 1)]


def test_without_options_it_is_this_month() -> None:
    now = datetime.now(tz=UTC).astimezone()
    spend(entry(now.date().isoformat(), "a/b", "1"), entry("2020-01-01", "a/b", "1"))
    rows = json.loads(patina("usage", "--json").stdout)
    assert [row["day"] for row in rows] == [now.date().isoformat()]


def test_nothing_was_spent() -> None:
    result = patina("usage", *FIXED)
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "No requests: 1 Oct 2026 to 10 Nov 2026.\n"
    assert patina("usage", "--json").stdout == "[]\n"


# -- files


def requests(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(text)))


@pytest.mark.usefixtures("spent")
def test_csv_on_the_standard_output_and_in_a_file(tmp_path: Path) -> None:
    piped = patina("usage", *FIXED, "--csv", "-")
    rows = requests(piped.stdout)
    assert [row["day"] for row in rows] == [each.day for each in ENTRIES]
    assert piped.stderr == ""
    file = tmp_path / "out.csv"
    written = patina("usage", *FIXED, "--csv", str(file), "--model", "nobody/new")
    assert written.stderr == f"2 requests written to {file}.\n"
    assert len(requests(file.read_text())) == 2
    again = patina("usage", *FIXED, "--csv", str(file))
    assert (again.returncode, "--force" in again.stderr) == (2, True)
    assert patina("usage", *FIXED, "--csv", str(file), "--force").returncode == 0
    assert len(requests(file.read_text())) == len(ENTRIES)
    assert [path.name for path in tmp_path.glob("*.tmp")] == []


@pytest.mark.usefixtures("spent")
def test_pdf_in_a_file_and_a_pipe(tmp_path: Path) -> None:
    begin(TALK, "Trains to Rome")
    file = tmp_path / "out.pdf"
    result = patina("usage", *FIXED, "--pdf", str(file))
    assert (result.returncode, result.stderr) == (0, f"The report written to {file}.\n")
    assert file.read_bytes().startswith(b"%PDF-")
    assert file.read_bytes().rstrip().endswith(b"%%EOF")


@pytest.mark.usefixtures("spent")
def test_a_link_is_followed_and_a_folder_is_none(tmp_path: Path) -> None:
    target = tmp_path / "real.csv"
    target.write_text("old")
    link = tmp_path / "link.csv"
    link.symlink_to(target)
    assert patina("usage", *FIXED, "--csv", str(link), "--force").returncode == 0
    assert link.is_symlink()
    assert target.read_text().startswith("id,at,day,")
    folder = patina("usage", "--csv", str(tmp_path), "--force")
    assert (folder.returncode, "is a folder" in folder.stderr) == (2, True)
    missing = patina("usage", "--csv", str(tmp_path / "no" / "out.csv"))
    assert (missing.returncode, "could not be written" in missing.stderr) == (1, True)


@pytest.mark.usefixtures("spent")
@pytest.mark.skipif(os.name == "nt", reason="a device of its own")
def test_a_device_stays_one() -> None:
    assert patina("usage", *FIXED, "--csv", os.devnull, "--force").returncode == 0
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--csv", "-", "--json"), "Only one of"),
        (("--csv", "-", "--limit", "3"), "--csv has all requests."),
        (("--since", "soon"), "'soon' is no day."),
        (("--since", "2026-11-02", "--until", "2026-11-01"), "ends (2026-11-01) before"),
        (("--by", "week"), "week"),
    ],
)
def test_what_cannot_be(arguments: tuple[str, ...], said: str) -> None:
    result = patina("usage", *arguments)
    assert result.returncode == 2
    assert said in result.stderr + result.stdout


def test_it_starts_no_engine() -> None:
    spend()
    result = patina("usage", *FIXED, variables={"PYTHONPROFILEIMPORTTIME": "1"})
    modules = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "patina.store.money.ledger" in modules
    loaded = {name for name in modules if name.startswith("patina.")}
    assert not [name for name in loaded if name.startswith(("patina.engine", "patina.mcp"))]
    heavy = {"mcp", "pydantic", "reportlab", "httpcore2", "httpx2", "genai_prices", "tomlkit"}
    assert not {name.partition(".")[0] for name in modules} & heavy


# -- the layout


async def made(by: str, limit: int | None = None) -> Table:
    ledger = MemoryLedger()
    await fill(ledger)
    return table("model", await ledger.sums("model"), limit)


@pytest.mark.anyio
@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 140])
@pytest.mark.parametrize("bars", ["blocks", "ascii", "none"])
async def test_it_fits_the_window(width: int, bars: Bars) -> None:
    drawn = lines(await made("model", 2), None, width=width, bars=bars)
    assert max(map(len, drawn)) <= max(width, 24)
    assert drawn[0].startswith("MODEL")
    assert drawn[-1].startswith("total")
    assert "(2 others)" in drawn[-2]


@pytest.mark.anyio
async def test_a_narrow_window_says_that_a_price_is_missing() -> None:
    drawn = lines(await made("provider", None), None, width=30, bars="none")
    assert max(map(len, drawn)) <= 30
    assert [line.split()[1] for line in drawn] == [
        "COST", "$4.5000", "$0.2500", "unknown", "$0.0000", "$4.7500+?",
    ]  # fmt: skip


def test_hostile_names_are_cells_only() -> None:
    row = Row(key=f"p/{ESC}]0;x\x07\n\tname", requests=1)
    drawn = lines(Table(by="model", rows=(row,), total=row), None, width=80, bars="none")
    assert len(drawn) == 2
    assert ESC not in "".join(drawn)
    assert not any("\n" in cell or "\t" in cell or ESC in cell for cell in cells(row, row.key))


def test_ten_years_of_days_are_drawn_at_once() -> None:
    days = tuple(Row(key=f"{2000 + number:04}-11-01", requests=number) for number in range(4_000))
    begun = process_time()
    drawn = lines(Table(by="day", rows=days, total=Row()), None, width=80, bars="blocks")
    assert len(drawn) == 4_002
    # Longer by ten where each cell measured its whole column.
    assert process_time() - begun < 1


def test_a_name_without_end_is_cut_at_once() -> None:
    row = Row(key="p/" + "m\u0301" * 500_000, requests=1)
    begun = process_time()
    drawn = lines(Table(by="model", rows=(row,), total=row), None, width=80, bars="blocks")
    assert max(map(len, drawn)) < 200
    assert process_time() - begun < 1


def test_wide_characters_stay_in_their_columns() -> None:
    rows = (Row(key="a", requests=1), Row(key="b", requests=1))
    of = Table(by="conversation", rows=rows, total=Row(requests=2))
    drawn = lines(of, {"a": "旅行の計画", "b": "Trip"}, width=80, bars="none")
    assert drawn[1].index("1 ") + 5 == drawn[2].index("1 ")
