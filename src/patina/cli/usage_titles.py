"""The titles of conversations that cost something."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import anyio

from patina.billing.reports.shape import Table
from patina.cli.context import Context

if TYPE_CHECKING:
    from patina.ports.library import Library

# How long the titles may take, and how long the index is waited for, in seconds.
_PATIENCE: Final = 5.0
_INDEX_PATIENCE: Final = 0.3
_PAGE: Final = 1_000
# So few are read from their transcripts sooner than a large index is followed and gone through.
_FEW: Final = 50


async def titles_of(
    run: Context, *tables: Table, also: Mapping[str, str] | None = None
) -> dict[str, str] | None:
    """Return the titles of the conversations of tables, None where that takes too long."""
    wanted = {
        row.key for table in tables if table.by == "conversation" for row in table.rows if row.key
    }
    wanted |= {value for name, value in (also or {}).items() if name == "conversation"}
    if not wanted:
        return {}
    if len(wanted) <= _FEW:
        few: dict[str, str] = {}
        with anyio.move_on_after(_PATIENCE):
            await _look_up(run, wanted, few)
            return few
        return None
    from patina.assembly.library import open_library

    with anyio.move_on_after(_PATIENCE):
        async with open_library(run.paths, patience=_INDEX_PATIENCE) as library:
            current = False
            with anyio.move_on_after(_INDEX_PATIENCE):
                await library.catch_up()
                current = True
            found = await _listed(library, wanted)
        if not current:
            await _look_up(run, wanted - found.keys(), found)
        return found
    return None


async def _listed(library: "Library", wanted: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for archived in (False, True):
        last = ""
        while len(found) < len(wanted):
            page = await library.page(limit=_PAGE, after=last, archived=archived)
            if not page:
                break
            found |= {each.conversation: each.title for each in page if each.conversation in wanted}
            last = page[-1].conversation
    return found


async def _look_up(run: Context, wanted: set[str], found: dict[str, str]) -> None:
    """Find titles in the transcripts themselves."""
    from patina.model.faults import Fault
    from patina.store.journal import FileJournal

    async with FileJournal(run.paths.data, run.paths.state) as journal:
        for conversation in wanted:
            try:
                summary = await journal.summary(conversation)
            except Fault:
                continue  # there is none any more
            if not (summary.meta and summary.meta.deleted):
                found[conversation] = summary.title
