"""`patina sessions show`."""

import sys
from typing import Final

import anyio
import click
from msgspec import Struct

from patina.cli.context import Context, context
from patina.cli.output import print_json, print_long, use_color
from patina.cli.spent import spent_json, spent_on
from patina.config.environment import process_environment
from patina.engine.large import whole_items
from patina.model.faults import UsageFault
from patina.model.items import Leaf
from patina.model.money import Sum
from patina.model.tree import Tree
from patina.ports.journal import Journal, Transcript
from patina.store.journal import FileJournal
from patina.views.conversation import Row, rows
from patina.views.money import cost_text, sum_text
from patina.views.terminal_text import safe_text

# What a person gets who did not say how much, and what stands around a message they look for.
_TAIL: Final = 200
_AROUND: Final = 5
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


class _Asked(Struct, frozen=True):
    """What is to be shown of which conversation. `last`: of how many messages, from the end."""

    session: str
    last: int | None
    branch: str | None
    at: str | None
    whole: bool

    @property
    def tail(self) -> int | None:
        """How many messages are enough; None where all must be read."""
        if self.whole or self.branch is not None or self.at is not None:
            return None
        return self.last


class _Shown(Struct, frozen=True):
    """What there is to show. `more`: whether there are earlier or later rows.

    `spent` is what all its requests cost, None where nothing is written down of them.
    """

    conversation: str
    title: str
    rows: list[Row]
    damaged: int
    more: bool = False
    spent: Sum | None = None


@click.command()
@click.argument("session_id", metavar="ID")
@click.option("--last", type=click.IntRange(1), metavar="N", help="Only the last N messages.")
@click.option("--branch", metavar="ITEM", help="The branch that ends in this item.")
@click.option("--at", metavar="ITEM", help="The messages around this item, as search finds it.")
@click.option("--no-pager", is_flag=True, help="Print it all, however long it is.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def show(
    ctx: click.Context,
    session_id: str,
    last: int | None,
    branch: str | None,
    at: str | None,
    no_pager: bool,
    as_json: bool,
) -> None:
    r"""Show a conversation as text. Damaged lines of its file are counted and left out.

    On a terminal it opens in a pager (PAGER, else less) where it is longer than the window, with
    the last 200 messages unless more are asked for. ITEM may be the first characters of one.

    \b
    Examples:
      patina sessions show 01a1ffe8
      patina sessions show 01a1ffe8 --at 01a1ffe9
      patina sessions show 01a1ffe8 --json
    """
    if at is not None and (last is not None or branch is not None):
        raise UsageFault("Give --at, or --last and --branch, not both.")
    paged = not as_json and not no_pager and _is_terminal()
    if last is None and branch is None and at is None and paged:
        last = _TAIL
    asked = _Asked(session_id, last, branch, at, whole=as_json)
    shown = anyio.run(_shown, context(ctx), asked)
    if as_json:
        head = {"session_id": shown.conversation, "title": shown.title, "damaged": shown.damaged}
        spent = None if shown.spent is None else spent_json(shown.spent)
        print_json({**head, "cost": spent, "messages": shown.rows})
        return
    bold = use_color(process_environment(), sys.stdout)
    pieces = [
        _text(row, bold=bold, found=at is not None and row.item_id.startswith(at))
        for row in shown.rows
    ]
    if pieces:
        print_long("\n".join(pieces), pager=paged)
    if shown.more and paged:
        click.echo("This is a part: --last N shows more, --no-pager all.", err=True)
    if shown.spent is not None and paged:
        click.echo(f"It cost {sum_text(shown.spent)} in all.", err=True)
    if shown.damaged:
        lines = (
            "1 damaged line was" if shown.damaged == 1 else f"{shown.damaged} damaged lines were"
        )
        click.echo(f"{lines} left out and kept in the file.", err=True)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


async def _shown(run: Context, asked: _Asked) -> _Shown:
    run.start_log()
    async with FileJournal(run.paths.data, run.paths.state) as journal:
        conversation = await journal.find(asked.session)
        transcript = await _read(journal, conversation, asked.tail)
        tree = Tree(await whole_items(transcript.items, journal))
    found = _rows(tree, transcript, asked)
    more = not transcript.complete
    if asked.last is not None:
        more = more or len(_newest(found, asked.last)) < len(found)
        found = _newest(found, asked.last)
    elif asked.at is not None:
        around = _around(found, asked.at)
        found, more = around, len(around) < len(found)
    spent = await spent_on(run, conversation)
    return _Shown(conversation, _title(tree), found, transcript.damaged, more, spent)


async def _read(journal: Journal, conversation: str, messages: int | None) -> Transcript:
    if messages is None:
        return await journal.read(conversation)
    transcript = await journal.tail(conversation, messages)
    if any(isinstance(item, Leaf) for item in transcript.items):
        # The branch that was chosen may begin before the tail.
        return await journal.read(conversation)
    return transcript


def _rows(tree: Tree, transcript: Transcript, asked: _Asked) -> list[Row]:
    """Return the rows of the branch that is asked for. Raises `UsageFault`."""
    if asked.branch is not None and asked.branch not in tree:
        raise _no_item(asked, asked.branch)
    found = rows(tree, asked.branch)
    if asked.at is None or _place(found, asked.at) is not None:
        return found
    # It may stand on another branch: on the newest that goes through it.
    items = [item for item in transcript.items if item.id.startswith(asked.at) and item.id in tree]
    if not items:
        raise _no_item(asked, asked.at)
    through = {items[0].id}
    end = items[0].id
    for item in transcript.items:
        if item.parent in through and item.id in tree:
            through.add(item.id)
            end = item.id
    found = rows(tree, end)
    if _place(found, asked.at) is None:
        raise UsageFault(
            f"The item {asked.at} of this conversation is not shown: it is hidden, or no message.",
            hint=f"`patina sessions show {asked.session}` shows the rest.",
        )
    return found


def _no_item(asked: _Asked, item: str) -> UsageFault:
    return UsageFault(
        f"This conversation has no item {item}.",
        hint=f"`patina sessions show {asked.session} --json` shows the ids of its items.",
    )


def _place(shown: list[Row], at: str) -> int | None:
    return next((n for n, row in enumerate(shown) if at and row.item_id.startswith(at)), None)


def _around(shown: list[Row], at: str) -> list[Row]:
    place = _place(shown, at)
    assert place is not None
    return shown[max(0, place - _AROUND) : place + _AROUND + 1]


def _title(tree: Tree) -> str:
    """Return the title as listings have it: without one, how the first message begins."""
    first = next((row.text for row in rows(tree) if row.kind == "user"), "")
    return tree.fact("title") or " ".join(first.split())[:60]


def _newest(shown: list[Row], messages: int) -> list[Row]:
    """Return the rows from the `messages`-th message from the end on."""
    places = [n for n, row in enumerate(shown) if row.kind in ("user", "assistant")]
    return shown[places[-messages] :] if len(places) > messages else shown


def _text(row: Row, *, bold: bool, found: bool) -> str:
    name = row.name or ("you" if row.kind == "user" else row.kind)
    name = {"question": f"{name} asks", "task": f"task of {name}"}.get(row.kind, name)
    state = "" if row.kind in ("user", "assistant") else f" · {row.state}"
    cut = " · partial" if row.partial else ""
    cost = f" · {cost_text(row.cost)}" if row.cost is not None and row.cost.amount else ""
    mark = "▶ " if found else ""
    head = safe_text(f"── {mark}{name}{state}{cut}{cost} · {row.ts} · {row.item_id}")
    return f"{_BOLD}{head}{_PLAIN}\n{_body(row)}" if bold else f"{head}\n{_body(row)}"


def _body(row: Row) -> str:
    return safe_text(f"{row.text.rstrip()}\n")
