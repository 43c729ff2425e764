"""What `patina usage` writes into files, or to the standard output."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from patina.billing.reports.lines import header, lines, matches
from patina.billing.reports.periods import Period
from patina.model.faults import StoreFault, UsageFault
from patina.model.money import Entry
from patina.ports.ledger import Ledger
from patina.views.terminal_text import safe_text

STDOUT: Final = "-"


async def write_csv(
    ledger: Ledger, over: Period, only: Mapping[str, str], file: str, *, force: bool
) -> int:
    """Write a line for each request as they are read; return how many. Raises `UsageFault` and
    `StoreFault`.
    """
    count = 0

    with opened(file, force=force) as out:
        terminal = file == STDOUT and sys.stdout.isatty()

        def put(text: str) -> None:
            out.write((safe_text(text) if terminal else text).encode("utf-8", "replace"))

        def take(entries: Sequence[Entry]) -> None:
            nonlocal count
            wanted = [entry for entry in entries if matches(entry, only)] if only else entries
            count += len(wanted)
            put(lines(wanted))

        put(header())
        await ledger.entries(take, over.since, over.until)
    return count


@contextmanager
def opened(file: str, *, force: bool) -> Iterator[BinaryIO]:
    """Open `file` for writing, "-" for the standard output. Nobody sees a file half written.

    Raises `UsageFault` where it is there and `force` is not, and `StoreFault` where it cannot be
    written.
    """
    if file == STDOUT:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(os.path.realpath(file))
    if path.is_dir():
        raise UsageFault(f"{file} is a folder.", hint="Name a file in it.")
    # A device or pipe takes what is written, and stays what it is.
    special = path.exists() and not path.is_file()
    if path.exists() and not special and not force:
        raise UsageFault(
            f"{file} is there already.", hint="Choose another place, or replace it with --force."
        )
    draft = path if special else path.with_name(f".{os.urandom(6).hex()}.tmp")
    try:
        with draft.open("wb") as out:
            yield out
        if not special:
            draft.replace(path)
    except OSError as error:
        raise StoreFault(
            f"{file} could not be written: {error.strerror or error}.",
            hint="Check the folder and the free space.",
        ) from error
    finally:
        if not special:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
