"""Lists of a server, page by page. One wrong entry never costs the others. Import it late."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from patina.mcp.text import shortened, visible
from patina.model.faults import McpFault

MOST_PAGES: Final = 500
MOST_ENTRIES: Final = 10_000
_MOST_TOLD: Final = 20

M = TypeVar("M", bound=BaseModel)
Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]


class Listing:
    """Reads whole lists of one server. `ask` sends a request; `log` hears of wrong entries."""

    def __init__(self, ask: Ask, log: Callable[[str], None]) -> None:
        self._ask = ask
        self._log = log

    async def all(self, method: str, key: str, kind: type[M], noun: str) -> list[M]:
        """Return the entries that stand under `key` in the answers to `method`.

        `noun` is what they are called for people. Raises `McpFault` where the paging has no end,
        where there is too much, or where no entry is one; else as `ask`.
        """
        found: list[M] = []
        wrong: list[str] = []
        seen: set[str] = set()
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._ask(method, {} if cursor is None else {"cursor": cursor})
            found += self._entries(page.get(key), key, kind, wrong)
            if len(found) > MOST_ENTRIES:
                raise McpFault(f"The server lists more than {MOST_ENTRIES:,} {noun}.")
            cursor = _cursor(page)
            if cursor is None:
                self._tell(wrong, noun, none_right=not found)
                return found
            if cursor in seen:
                raise McpFault(f"The server's list of {noun} goes round in circles.")
            seen.add(cursor)
        raise McpFault(f"The server's list of {noun} has more than {MOST_PAGES} pages.")

    def _entries(self, given: object, key: str, kind: type[M], wrong: list[str]) -> list[M]:
        if not isinstance(given, list):
            raise _demanded(f"{key}: it should be a list")
        found: list[M] = []
        for entry in given:
            try:
                found.append(kind.model_validate(entry, by_name=False))
            except ValidationError as error:
                if len(wrong) < _MOST_TOLD:
                    wrong.append(_told(entry, error))
        return found

    def _tell(self, wrong: list[str], noun: str, *, none_right: bool) -> None:
        for words in wrong:
            self._log(f"one of its {noun} is not as the protocol demands: {words}")
        if wrong and none_right:
            raise _demanded(wrong[0])


def _cursor(page: dict[str, Any]) -> str | None:
    cursor = page.get("nextCursor")
    if cursor is not None and not isinstance(cursor, str):
        raise _demanded("nextCursor: it should be a string")
    return cursor


def _demanded(words: str) -> McpFault:
    return McpFault(f"its answer is not as the protocol demands, {words}")


def _told(entry: object, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(step) for step in first["loc"])
    name = entry.get("name", "") if isinstance(entry, dict) else ""
    of = f" of {name!r}" if isinstance(name, str) and name else ""
    return shortened(visible(f"{where or 'entry'}{of}: {first['msg']}"), 300)
