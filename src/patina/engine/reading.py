"""Parts of a large text for a model: by lines, by bytes, and where something stands in it.

Texts are read as `as_read` gives them. Lines end in a line feed and count from 1, bytes (of UTF-8)
from 0.
"""

import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import msgspec
from msgspec import Struct

MOST_BYTES: Final = 16 * 1024  # of one reading
LINES: Final = 200  # of one reading, unless it is said how many
LONG_LINE: Final = 2_000  # characters, from which on JSON is put on lines of its own
MOST_HITS: Final = 50
MOST_CONTEXT: Final = 10  # lines
SHOWN: Final = 300  # characters of a line around what was found
LONGEST_JSON: Final = 32 * 1024 * 1024  # characters


class Hit(Struct, frozen=True):
    """Where something stands: the number of a line, from 0, and the characters in it."""

    line: int
    start: int
    end: int


def as_read(text: str) -> str:
    """Return `text` as it is read: JSON that stands on one long line is indented."""
    if not is_json_like(text) or max(map(len, text.split("\n"))) <= LONG_LINE:
        return text
    try:
        return msgspec.json.format(text.encode(), indent=2).decode()
    except (msgspec.DecodeError, RecursionError):
        return text


def is_json_like(text: str) -> bool:
    """Whether it is worth the time to find out whether `text` is JSON."""
    return len(text) <= LONGEST_JSON and text[:1_000].lstrip()[:1] in ("{", "[")


def lines_from(text: str, first: int, count: int | None) -> str:
    """Return `count` lines from the line `first` on, at most `MOST_BYTES`, and where to go on."""
    lines = text.split("\n")
    if not 1 <= first <= len(lines):
        return f"[There is no line {first:,}: the text has {len(lines):,} lines.]"
    kept: list[str] = []
    room = MOST_BYTES
    for line in lines[first - 1 : first - 1 + min(count or LINES, LINES * 10)]:
        room -= len(line.encode()) + 1
        if room < 0:
            break
        kept.append(line)
    if not kept:  # the first one is too long by itself
        offset = len("\n".join(lines[: first - 1]).encode()) + (first > 1)
        return f"[Line {first:,} is long, so it is read by bytes.]\n" + bytes_from(
            text, offset, min(len(lines[first - 1].encode()), MOST_BYTES)
        )
    last = first + len(kept) - 1
    more = f" Go on with from_line {last + 1}." if last < len(lines) else " That is the end."
    head = f"[Lines {first:,} to {last:,} of {len(lines):,}.{more}]"
    return "\n".join([head, *kept])


def bytes_from(text: str, first: int, count: int | None) -> str:
    """Return `count` bytes from the byte `first` on, at most `MOST_BYTES`, and where to go on.

    It ends with a whole character. One that `first` cuts in two is left out.
    """
    data = text.encode()
    if not 0 <= first < max(len(data), 1):
        return f"[There is no byte {first:,}: the text has {len(data):,} bytes.]"
    end = min(first + min(count or MOST_BYTES, MOST_BYTES), len(data))
    while end < len(data) and data[end] & 0xC0 == 0x80:  # inside a character
        end += 1
    more = f" Go on with from_byte {end}." if end < len(data) else " That is the end."
    head = f"[Bytes {first:,} to {end:,} of {len(data):,}.{more}]"
    return f"{head}\n{data[first:end].decode(errors='ignore')}"


def find_plain(text: str, query: str) -> list[Hit]:
    """Return where `query` stands first in each line that has it, whatever its case."""
    pattern = re.compile(re.escape(query), re.IGNORECASE)  # no quantifier: it takes no long time
    found = ((number, pattern.search(line)) for number, line in enumerate(text.split("\n")))
    return [Hit(number, match.start(), match.end()) for number, match in found if match]


def told_hits(text: str, hits: Sequence[Hit], context: int, first: int = 1) -> str:
    """Return the lines of `hits` from the line `first` on, with `context` lines around each.

    Lines that are found begin as "12: ", others as "12- ". Long lines are cut, with the byte at
    which what was found stands.
    """
    lines = text.split("\n")
    wanted = [hit for hit in hits if hit.line + 1 >= first]
    context = min(context, MOST_CONTEXT)
    by_line = {hit.line: hit for hit in wanted}
    told: list[str] = []
    room, done, last = MOST_BYTES, 0, -1
    starts: list[int] = []
    for hit in wanted[:MOST_HITS]:
        group: list[str] = []
        for number in range(max(hit.line - context, last + 1), hit.line + context + 1):
            if number >= len(lines):
                break
            here = by_line.get(number)
            if len(lines[number]) > SHOWN and not starts:
                starts = [0, *accumulate(len(line.encode()) + 1 for line in lines)]
            group.append(_told(lines[number], number, here, starts))
        room -= sum(len(line.encode()) + 1 for line in group)
        if room < 0:
            break
        if told and context and hit.line - context > last + 1:
            told.append("--")
        told += group
        last = max(last, hit.line + context)
        done += 1
    return "\n".join([_summary(len(hits), wanted, done), *told])


def _summary(total: int, wanted: Sequence[Hit], done: int) -> str:
    if not total:
        return "[It stands nowhere in the text.]"
    if done == len(wanted):
        rest = "" if total == done else f" The last {done:,} of them follow."
        return f"[{total:,} lines have it.{rest}]"
    following = wanted[done].line + 1
    return f"[{total:,} lines have it. {done:,} follow; go on with from_line {following}.]"


def _told(line: str, number: int, hit: Hit | None, starts: Sequence[int]) -> str:
    if hit is None:
        return f"{number + 1}- {line if len(line) <= SHOWN else line[:SHOWN] + '…'}"
    if len(line) <= SHOWN:
        return f"{number + 1}: {line}"
    begin = max(hit.start - SHOWN // 2, 0)
    end = max(min(hit.end, begin + 2 * SHOWN), begin + SHOWN)
    byte = starts[number] + len(line[: hit.start].encode())
    before, after = "…" if begin else "", "…" if end < len(line) else ""
    return f"{number + 1} (byte {byte}): {before}{line[begin:end]}{after}"
