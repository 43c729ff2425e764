"""What the verbs that change conversations share: find all, then change each, then say so."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import anyio

from patina.cli.context import Context
from patina.cli.output import print_json
from patina.cli.secret_values import mask_of
from patina.engine.clock import SystemClock, later
from patina.model.faults import UsageFault
from patina.model.ids import new_id
from patina.model.items import Meta
from patina.model.masking import masked
from patina.model.tree import Tree
from patina.store.journal import FileJournal
from patina.views.terminal_text import safe_line

T = TypeVar("T")


def keys(journal: FileJournal) -> dict[str, Any]:
    """Return the keys of a new item that is no node of the tree."""
    return {"id": new_id(), "ts": SystemClock().now(), "device": journal.device}


async def found(journal: FileJournal, names: Sequence[str]) -> list[str]:
    """Return the conversations meant by ids or beginnings of ids, each once, in this order.

    Raises `UsageFault` where one means none or several, before anything is changed.
    """
    return list(dict.fromkeys([await journal.find(name) for name in names]))


async def write_facts(journal: FileJournal, conversation: str, **facts: Any) -> None:  # noqa: ANN401 - as in `Meta`
    """Write facts about a conversation, newer than those it has. Raises `StoreFault`."""
    own = keys(journal)
    meta = (await journal.summary(conversation)).meta
    own["ts"] = later(own["ts"], [meta.ts] if meta else [])
    await journal.append(conversation, [Meta(**own, **facts)])


def with_journal(run: Context, body: Callable[[FileJournal], Awaitable[T]]) -> T:
    """Run `body` with the journal of this user and return what it returns."""

    async def main() -> T:
        async with FileJournal(run.paths.data, run.paths.state) as journal:
            return await body(journal)

    run.start_log()
    return anyio.run(main)


def change(run: Context, names: Sequence[str], what: str, *, as_json: bool, **facts: Any) -> None:  # noqa: ANN401 - as in `Meta`
    """Write the same facts about several conversations; `what` says that on stderr.

    Secrets in them are masked, and in `what`.
    """
    mask = mask_of(run)
    facts, what = masked(facts, mask), mask(what)

    async def body(journal: FileJournal) -> list[str]:
        conversations = await found(journal, names)
        for conversation in conversations:
            await write_facts(journal, conversation, **facts)
        return conversations

    changed = with_journal(run, body)
    report(changed, what, as_json=as_json, **facts)


def report(changed: Sequence[str], what: str, *, as_json: bool, **facts: object) -> None:
    """Say what was changed: an array of objects, or a line each on stderr."""
    if as_json:
        print_json([{"session_id": conversation, **facts} for conversation in changed])
        return
    for conversation in changed:
        print(f"{conversation} {safe_line(what)}", file=sys.stderr)


def agreed(question: str, command: str, *, yes: bool) -> bool:
    """Whether a person agrees, now or with --yes. Raises `PermissionFault` without a person."""
    if yes:
        return True
    from patina.cli.mcp_edit import confirm

    return confirm(question, command)


def item_of(tree: Tree, name: str) -> str:
    """Return the item whose id starts with `name`. Raises `UsageFault` unless there is just one."""
    if name in tree:
        return name
    matching = [node.id for node in tree.nodes() if name and node.id.startswith(name)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UsageFault(
            f"{len(matching)} items have an id that starts with {name[:60]!r}.",
            hint="Give more of the id.",
        )
    raise UsageFault(
        f"This conversation has no item {name[:60]!r}.",
        hint="`patina sessions show ID --json` shows the ids of its items.",
    )
