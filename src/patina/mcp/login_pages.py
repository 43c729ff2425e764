"""The page on which a server wants its own sign-in, found in what a tool says went wrong (P-08).

A server that signs people in by itself can ask for a visit to a page in the protocol's own words.
Many do not: their tool fails, and the address stands in its text, or in a field of it.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from patina.model.faults import UsageFault
from patina.model.pages import Page, page_of
from patina.model.settings import ServerSettings

if TYPE_CHECKING:
    from mcp_types import CallToolResult

# In these modes a server may sign people in by itself.
_MODES: Final = frozenset({"auto", "bearer", "server"})
_FIELDS: Final = frozenset(
    {"auth_url", "login_url", "authorization_url", "authUrl", "loginUrl", "authorizationUrl"}
)
# A field of this name is one only where words beside it speak of a sign-in.
_FIELD_BESIDE_WORDS: Final = "url"
_WORDS: Final = re.compile(
    r"\b(sign(ing|ed)?[ -]?in|log(ging|ged)?[ -]?in|authori[sz](e|ed|ing|ation)"
    r"|authenticat(e|ed|ing|ion)|unauthori[sz]ed|auth required|re-?connect"
    r"|(connect|link) your (\S+ ){0,2}account|grant access|consent)\b",
    re.IGNORECASE,
)
_ADDRESS: Final = re.compile(r"https?://[^\s<>\"'`\\]+", re.IGNORECASE)
_AFTER: Final = ".,;:!?*_"
_BRACKETS: Final = {")": "(", "]": "[", "}": "{"}
_LONGEST: Final = 20_000


def login_page(result: "CallToolResult", settings: ServerSettings) -> Page | None:
    """Return the one page on which `result`, a failure, wants a person to sign in.

    None where there is none, more than one, or one that nobody should be sent to; and where the
    settings say that the server signs nobody in.
    """
    if not result.is_error or settings.auth_mode not in _MODES:
        return None
    texts = [block.text for block in result.content if block.type == "text"]
    if sum(map(len, texts)) > _LONGEST:
        return None
    tables = [result.structured_content, *map(_table, texts)]
    fields = [table for table in tables if isinstance(table, Mapping)]
    named = {page for table in fields for page in _named(table, _FIELDS)}
    if not named and _speaks_of_it([*texts, *_strings(fields)]):
        named = {page for table in fields for page in _named(table, {_FIELD_BESIDE_WORDS})}
        named = named or set(_in_text("\n".join(texts)))
    pages = {page for address in named if (page := _plausible(address, settings)) is not None}
    return pages.pop() if len(pages) == 1 and len(named) == 1 else None


def _speaks_of_it(texts: Iterable[str]) -> bool:
    """Whether the words, not those of an address, are about signing in."""
    return any(_WORDS.search(_ADDRESS.sub(" ", text).replace("_", " ")) for text in texts)


def _table(text: str) -> Any:  # noqa: ANN401 - any JSON value
    if not text.lstrip().startswith("{"):
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _named(table: Mapping[str, Any], fields: Iterable[str]) -> Iterable[str]:
    """Yield the addresses in `fields` of `table`, or of a table in it."""
    inner = [value for value in table.values() if isinstance(value, Mapping)]
    for one in (table, *inner):
        for field in fields:
            value = one.get(field)
            if isinstance(value, str) and _ADDRESS.fullmatch(value):
                yield value


def _strings(tables: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for table in tables:
        yield from (value for value in table.values() if isinstance(value, str))


def _in_text(text: str) -> Iterable[str]:
    for found in _ADDRESS.findall(text):
        yield _ended(found)


def _ended(address: str) -> str:
    """Return `address` without what ends a sentence, or a bracket that was opened before it."""
    while address:
        last = address[-1]
        opening = _BRACKETS.get(last)
        unopened = opening is not None and address.count(opening) < address.count(last)
        if last not in _AFTER and not unopened:
            return address
        address = address[:-1]
    return address


def _plausible(address: str, settings: ServerSettings) -> Page | None:
    """Return the page at `address`, None where nobody should be sent there.

    A page of this machine is one only of a server of this machine.
    """
    try:
        page = page_of(address)
    except UsageFault:
        return None
    if page.url.startswith("https:"):
        return page
    here = settings.transport == "stdio" or _is_here(settings.url)
    return page if here else None


def _is_here(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host in ("localhost", "::1") or host.startswith("127.")
