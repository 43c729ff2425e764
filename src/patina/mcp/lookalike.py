"""Signs that a tool wants to be taken for another, or to steer others.

Three are looked for: names that look like those of other tools, texts that mention other servers
or their tools, and characters that nobody sees. They are hints for a person and decide nothing.
Source of the look-alikes: Unicode Technical Standard 39, of which only the letters are here that
pass for ASCII ones.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

from msgspec import Struct

from patina.mcp.definitions import Definition
from patina.mcp.hidden import hidden, spelled
from patina.mcp.pins import Listing
from patina.mcp.text import shortened, visible

Kind = Literal["hidden", "look-alike", "same-name", "mention"]

# After case folding. `i`, `l` and `1` are one letter here: a capital `I` passes for both.
_LOOKS: Final = str.maketrans(
    {
        **dict(zip("авекмнорстухіјѕһԁԛԝӏ", "abekmhopctyxijshdqwl", strict=True)),
        **dict(zip("αβεζηικνορτυχγω", "abeznlkvoptuxyw", strict=True)),
        **dict(zip("\u0131\u0261\u025101i", "lgaoll", strict=True)),
    }
)
_SHORTEST_NEAR: Final = 6
_SHORTEST_NAME: Final = 3
_MOST_NAMED: Final = 3
_MOST_SHOWN: Final = 8
_LONGEST_SPELLED: Final = 200
_WORD: Final = re.compile(r"\w+(?:[-.:/]\w+)*")
_CUT: Final = re.compile(r"[.:/]")
_PARTED: Final = re.compile(r"[\W_]+")
# A word that may be an ordinary one counts as a name where it is quoted, qualified, or called one.
_MARKED: Final = (
    "[`'\"\u2018\u201c]{0}[`'\"\u2019\u201d]"
    r"|(?<!\w){0}(?:\.|__|/|:)\w"
    r"|(?<!\w){0}\s+(?:mcp|server|tools?)\b"
    r"|\b(?:mcp|server|tools?)\s+{0}(?!\w)"
)
_ORDINARY: Final = frozenset(
    {
        "browser",
        "calendar",
        "code",
        "database",
        "demo",
        "docs",
        "everything",
        "fetch",
        "file",
        "files",
        "filesystem",
        "git",
        "mail",
        "memory",
        "notes",
        "search",
        "shell",
        "terminal",
        "test",
        "time",
        "weather",
        "web",
    }
)


class Flag(Struct, frozen=True):
    """One sign. `tool` is "" where it is about the server's instructions; `text` is safe to show,
    and says it all.
    """

    kind: Kind
    tool: str
    text: str


def flags(
    server: str, listing: Listing, others: Mapping[str, Listing], display: Mapping[str, str]
) -> tuple[Flag, ...]:
    """Return what is suspicious in `listing`, given what all `others` list.

    `display` maps names of servers to those that people read.
    """
    return (
        *_hiding(listing),
        *_looking_alike(server, listing, others),
        *_mentioning(server, listing, others, display),
    )


def skeleton(name: str) -> str:
    """Return what is left of `name` when case, separators and look-alike letters do not count."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    return _PARTED.sub("", plain.translate(_LOOKS)).replace("rn", "m").replace("vv", "w")


def _hiding(listing: Listing) -> Iterator[Flag]:
    for definition in listing.tools:
        for place, text in _texts(definition):
            yield from _hidden_in(definition.name, f"Its {place}", text)
    yield from _hidden_in("", "Its instructions", listing.instructions)


def _hidden_in(tool: str, place: str, text: str) -> Iterator[Flag]:
    found = hidden(text)
    if found:
        shown = ", ".join(visible(one) for one in dict.fromkeys(found[:_MOST_SHOWN]))
        more = ", …" if len(found) > _MOST_SHOWN else ""
        words = f"{place} hides {_count(len(found), 'character')}: {shown}{more}"
        if text_of_tags := spelled(found):
            words += f". They spell “{shortened(text_of_tags, _LONGEST_SPELLED)}”"
        yield Flag("hidden", tool, f"{words}.")
    mixed = [] if text.isascii() else [word for word in _WORD.findall(text) if _is_mixed(word)]
    if mixed:
        shown = shortened(visible(mixed[0]), 80)
        escaped = mixed[0].encode("ascii", "backslashreplace").decode()
        words = f"{place} mixes alphabets in a word: {shown} is {shortened(escaped, 200)}."
        yield Flag("look-alike", tool, words)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _is_mixed(word: str) -> bool:
    """Whether ASCII letters stand beside letters of others that pass for them."""
    folded = word.casefold()
    return (
        len(word) >= _SHORTEST_NAME
        and any(char.isascii() and char.isalpha() for char in folded)
        and any(not char.isascii() and ord(char) in _LOOKS for char in folded)
    )


def _texts(definition: Definition) -> Iterator[tuple[str, str]]:
    yield "name", definition.name
    yield "title", definition.title
    yield "description", definition.description
    yield "schema", "\n".join(_strings(definition.schema))
    yield "output schema", "\n".join(_strings(definition.output_schema))


def _strings(value: object) -> Iterator[str]:
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping):
            waiting += part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _looking_alike(server: str, listing: Listing, others: Mapping[str, Listing]) -> Iterator[Flag]:
    own = [definition.name for definition in listing.tools]
    theirs = {
        (name, one.name) for name, its in others.items() if name != server for one in its.tools
    }
    found: dict[str, list[str]] = {}
    same: dict[str, list[str]] = {}
    forms = _Forms(own)
    for where, name in sorted(theirs):
        for mine in forms.like(name):
            (same if mine == name else found).setdefault(mine, []).append(f"{where}.{name}")
    for first, second in forms.twins():
        found.setdefault(first, []).append(f"{server}.{second}")
    for mine, names in sorted(found.items()):
        text = f"Its name {visible(mine)} looks like {_named(names)}."
        yield Flag("look-alike", mine, text)
    for mine, names in sorted(same.items()):
        yield Flag("same-name", mine, f"Its name is also that of {_named(names)}.")


def _named(names: list[str]) -> str:
    shown = ", ".join(shortened(visible(name), 100) for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown


class _Forms:
    """Finds which of `names` another name looks like."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_form: dict[str, list[str]] = {}
        self._by_gap: dict[str, list[str]] = {}
        for name in dict.fromkeys(names):
            form = skeleton(name)
            self._by_form.setdefault(form, []).append(name)
            for gap in _gaps(form):
                self._by_gap.setdefault(gap, []).append(name)

    def like(self, name: str) -> tuple[str, ...]:
        form = skeleton(name)
        if not form:
            return ()
        near = dict.fromkeys(self._by_form.get(form, ()))
        for gap in _gaps(form):
            for mine in self._by_gap.get(gap, ()):
                if _is_near(skeleton(mine), form):
                    near[mine] = None
        return tuple(near)

    def twins(self) -> Iterator[tuple[str, str]]:
        """Yield pairs that differ in nothing a person would see at once."""
        for form, names in self._by_form.items():
            if form:
                yield from ((names[0], other) for other in names[1:])


def _gaps(form: str) -> Iterable[str]:
    """Yield `form`, and `form` without each of its characters, where it is long enough."""
    if len(form) < _SHORTEST_NEAR or len(form) > 2 * 64:
        return ()
    return {form, *(form[:place] + form[place + 1 :] for place in range(len(form)))}


def _is_near(one: str, other: str) -> bool:
    """Whether one step leads from one to the other: a letter more, less, other, or two swapped.

    Digits count: `v2` beside `v3` is no disguise.
    """
    if one == other:
        return True
    start = next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    left, right = one[start:], other[start:]
    while left and right and left[-1] == right[-1]:
        left, right = left[:-1], right[:-1]
    if any(char.isdigit() for char in left + right):
        return False
    return (len(left) <= 1 and len(right) <= 1) or (len(left) == 2 and left[::-1] == right)


def _mentioning(
    server: str, listing: Listing, others: Mapping[str, Listing], display: Mapping[str, str]
) -> Iterator[Flag]:
    own = {definition.name for definition in listing.tools}
    owners: dict[str, str] = {}
    for name, its in sorted(others.items()):
        if name != server:
            for one in its.tools:
                for form in (f"{name}.{one.name}", f"{name}__{one.name}"):
                    owners[form.casefold()] = name
                if one.name not in own and _is_certain(one.name):
                    owners.setdefault(one.name.casefold(), name)
    words = _server_words(server, others, display)
    loose = _loose_names(server, own, others)
    for tool, place, text in _read(listing):
        said = text.casefold()
        if not said:
            continue
        tokens = {part for word in _WORD.findall(said) for part in (word, *_CUT.split(word))}
        named = {token: owners[token] for token in tokens & owners.keys()}
        tools = [f"{token} of {owner}" for token, owner in sorted(named.items())]
        tools += [f"{name} of {owner}" for name, owner in loose.items() if _is_marked(name, said)]
        if tools:
            yield Flag("mention", tool, f"{place} mentions the tool {_named(tools)}.")
        servers = [
            name
            for name, forms in words.items()
            if name not in named.values() and any(_is_said(form, said) for form in forms)
        ]
        if servers:
            yield Flag("mention", tool, f"{place} mentions the server {_named(servers)}.")


def _read(listing: Listing) -> Iterator[tuple[str, str, str]]:
    """Yield what a model reads: the tool ("" for the server), the place, and the text."""
    for definition in listing.tools:
        yield definition.name, "Its description", f"{definition.title}\n{definition.description}"
        yield definition.name, "Its schema", "\n".join(_strings(definition.schema))
    yield "", "Its instructions", listing.instructions


def _server_words(
    server: str, others: Mapping[str, Listing], display: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Return the words by which the other servers are known."""
    own = {server.casefold(), display.get(server, server).casefold()}
    found = {}
    for name in others:
        forms = {name.casefold(), display.get(name, name).casefold()} - own
        if name != server and forms:
            found[name] = tuple(form for form in sorted(forms) if len(form) >= _SHORTEST_NAME)
    return found


def _loose_names(server: str, own: set[str], others: Mapping[str, Listing]) -> dict[str, str]:
    """Return the tools of others whose names are ordinary words."""
    return {
        one.name.casefold(): name
        for name, its in sorted(others.items())
        if name != server
        for one in its.tools
        if one.name not in own and not _is_certain(one.name) and len(one.name) >= _SHORTEST_NAME
    }


def _is_certain(name: str) -> bool:
    """Whether `name` can be no word of a sentence: it has parts, digits or capitals inside."""
    return len(name) > _SHORTEST_NAME and (
        not name.isalpha() or not (name[1:].islower() or name.isupper())
    )


def _is_said(form: str, said: str) -> bool:
    if form not in said:
        return False
    if form in _ORDINARY:
        return _is_marked(form, said)
    return re.search(rf"(?<!\w){re.escape(form)}(?!\w)", said) is not None


def _is_marked(form: str, said: str) -> bool:
    """Whether `form` stands in `said` as a name: quoted, qualified, or called a tool or server."""
    if form not in said:
        return False
    return re.search(_MARKED.format(re.escape(form)), said) is not None
