"""A conversation as Markdown (CommonMark) that reads well as plain text too.

Messages are Markdown already and stay so, but for two things that would reach beyond them: a code
fence left open is closed, and tags of HTML are shown instead of obeyed. Arguments and results of
tools stand in fences that are longer than any inside.
"""

import re
from collections.abc import Callable
from typing import Final

from patina.model.parts import Citation, File, Image, Part, ResultPart, Text, Thinking, ToolCall
from patina.store.exporting.document import Document, Entry, heading

SUFFIX: Final = ".md"
# Where an attachment is, for a link; "" where there is no file of it.
Link = Callable[[Image | File], str]

_FENCE: Final = re.compile(r"( {0,3})(`{3,}|~{3,})(.*)")
_RUN: Final = re.compile(r"`{3,}|~{3,}")
_TICKS: Final = re.compile(r"`+")
_TAG: Final = re.compile(r"(\\*)<(?=[A-Za-z/!?])")
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|!~&])")
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_NO_LINK: Final[Link] = lambda _: ""  # noqa: E731 - a default of one expression


def render(document: Document, link: Link = _NO_LINK) -> str:
    """Return `document` as Markdown that ends in a line feed."""
    head = [f"# {line(document.title) or 'Untitled'}", ""]
    facts = {
        "Conversation": document.session_id,
        "Begun": document.created,
        "Model": document.model,
        "Folder": document.folder,
        "Tags": ", ".join(document.tags),
    }
    head += [f"- {name}: {line(value)}" for name, value in facts.items() if value]
    if document.damaged:
        head.append(f"- Damaged lines left out: {document.damaged}")
    if document.system:
        head += ["", "## System", "", *_prose(document.system)]
    for entry in document.messages:
        head += ["", f"## {_title(entry)}", "", *_body(entry, link)]
    return "\n".join(head).rstrip("\n") + "\n"


def line(text: str) -> str:
    """Return `text` as words on one line that mean nothing in Markdown."""
    return _SPECIAL.sub(r"\\\1", " ".join(_CONTROL.sub(" ", text).split()))


def fenced(text: str, language: str = "") -> list[str]:
    """Return the lines of a code block that nothing in `text` can end."""
    text = _CONTROL.sub("", text.replace("\r\n", "\n"))
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", *text.split("\n"), fence]


def _title(entry: Entry) -> str:
    return f"{heading(entry, line(entry.name))} · {line(entry.ts)}"


def _body(entry: Entry, link: Link) -> list[str]:
    if entry.parts:
        return _parts(entry, link)
    return fenced(entry.text) if entry.kind in ("question", "task") else _prose(entry.text)


def _parts(entry: Entry, link: Link) -> list[str]:
    out: list[str] = []
    for part in entry.parts:
        if out and out[-1]:
            out.append("")
        out += _part(part, link, tool=entry.kind == "tool")
    return out


def _part(part: Part | ResultPart, link: Link, *, tool: bool) -> list[str]:
    if isinstance(part, Text):
        return fenced(part.text) if tool else [*_prose(part.text), *_sources(part.citations)]
    if isinstance(part, Thinking):
        quoted = [f"> {each}".rstrip() for each in _prose(part.text)]
        return ["> **Thinking**", ">", *quoted] if part.text else []
    if isinstance(part, ToolCall):
        return [f"Calls **{line(part.name)}**:", "", *fenced(part.arguments, "json")]
    target = link(part)
    name = line(part.name or part.media_type)
    if not target:
        kind = "Image" if isinstance(part, Image) else "File"
        return [f"[{kind} {name}]".replace("[", "\\[").replace("]", "\\]")]
    return [f"{'!' if isinstance(part, Image) else ''}[{name}](<{target}>)"]


def _sources(citations: tuple[Citation, ...]) -> list[str]:
    if not citations:
        return []
    seen = dict.fromkeys((each.title or each.url, each.url) for each in citations)
    listed = [f"- {line(title)}" + _address(url, title) for title, url in seen]
    return ["", "Sources:", "", *listed]


def _address(url: str, title: str) -> str:
    return f" ({line(url)})" if url and url != title else ""


def _prose(text: str) -> list[str]:
    """Return the lines of a message, which end whatever they begin.

    Fences move to the left margin: one in an item of a list ends where the item does, and what
    follows would be read as code here and as HTML there.
    """
    out: list[str] = []
    fence = indent = ""
    sure = True  # whether no code span of an earlier line may still be open
    for each in _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).split("\n"):
        match = _FENCE.match(each)
        if fence:
            closes = match and match[2].startswith(fence) and not match[3].strip()
            fence = "" if closes else fence
            blank = len(each) - len(each.lstrip(" "))
            each = each[min(blank, len(match[1]) if match and closes else len(indent)) :]
        elif match and not (match[2][0] == "`" and "`" in match[3]):
            indent, fence, sure = match[1], match[2], True
            each = each[len(indent) :]
        else:
            each, sure = _shown(each, sure=sure or not each.strip())
        out.append(each)
    if fence:
        out.append(fence)
    return out


def _shown(text: str, *, sure: bool) -> tuple[str, bool]:
    """Return a line outside of fences with its tags escaped, and whether its code spans are sure.

    Tags in a code span stay, unless a reader might see the span begin or end somewhere else.
    """
    spans = _spans(text) if sure else None
    out: list[str] = []
    last = 0
    for start, end in spans or ():
        out += [_TAG.sub(_escaped, text[last:start]), text[start:end]]
        last = end
    out.append(_TAG.sub(_escaped, text[last:]))
    return "".join(out), spans is not None


def _escaped(tag: re.Match[str]) -> str:
    return tag[0] if len(tag[1]) % 2 else f"{tag[1]}\\<"


def _spans(text: str) -> list[tuple[int, int]] | None:
    """Return where the code spans of a line are; None where that depends on other lines."""
    runs = list(_TICKS.finditer(text))
    following: dict[int, int] = {}
    closes: list[int | None] = [None] * len(runs)
    for place in range(len(runs) - 1, -1, -1):
        length = len(runs[place][0])
        closes[place] = following.get(length)
        following[length] = place
    found: list[tuple[int, int]] = []
    place = 0
    while place < len(runs):
        begin, closing = runs[place].start(), closes[place]
        # A backslash would make it a plain backtick; a bar parts the cells of a table.
        if closing is None or text[begin - 1 : begin] == "\\":
            return None
        end = runs[closing].end()
        if "|" in text[begin:end]:
            return None
        found.append((begin, end))
        place = closing + 1
    return found
