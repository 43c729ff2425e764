"""A conversation as one HTML file that loads nothing and runs nothing.

Every text is escaped; there is no script, and a policy in the file forbids any. Pictures of four
types that cannot run anything are inlined. Colours follow the reader's system; it prints in black.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from html import escape
from typing import Final

from patina.model.parts import File, Image, Part, ResultPart, Text, Thinking, ToolCall
from patina.store.exporting.document import Document, Entry, heading
from patina.store.exporting.media import PICTURES, media_type

SUFFIX: Final = ".html"
MOST_PICTURE_BYTES: Final = 20_000_000

# Controls other than tab and line feed, and halves of characters, are not allowed in HTML.
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_FENCED: Final = re.compile(
    r"^ {0,3}(`{3,}|~{3,})[^`\n]*\n(.*?)(?:^ {0,3}\1[`~]*[ \t]*$|\Z)", re.M | re.S
)
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #fff; --soft: #f4f3f0; --line: #d8d5ce;
  --dim: #63605a; --user: #e8f1ee }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e6e1; --paper: #171716; --soft: #22211f;
  --line: #3b3935; --dim: #a5a199; --user: #1d2b27 } }
body { margin: 0 auto; padding: 2rem 1rem; max-width: 50rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.5rem } h2 { font-size: .85rem; margin: 0 0 .4rem; color: var(--dim) }
.facts { color: var(--dim); font-size: .85rem }
section { border-top: 1px solid var(--line); padding: 1rem 0 }
section.user { background: var(--user); padding: 1rem; border-radius: .5rem }
p { margin: 0 0 .6rem; white-space: pre-wrap; unicode-bidi: isolate }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: .4rem;
  padding: .7rem; overflow: auto; white-space: pre-wrap; font-size: .85rem; unicode-bidi: isolate }
details { color: var(--dim); margin: 0 0 .6rem } img { max-width: 100%; height: auto }
@media print { :root { --ink: #000; --paper: #fff; --soft: #fff; --line: #999; --dim: #333;
  --user: #fff } body { max-width: none; padding: 0 } h2 { break-after: avoid }
  img { break-inside: avoid } }
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY: Final = (
    f"default-src 'none'; img-src data:; style-src 'sha256-{_HASH}'; base-uri 'none'; "
    "form-action 'none'"
)


def render(document: Document, pictures: Mapping[str, bytes]) -> str:
    """Return `document` as HTML. `pictures` are the bytes of images by their blob."""
    title = _text(" ".join(document.title.split()) or "Untitled")
    facts = [document.created, document.model, document.folder, *document.tags]
    if document.damaged:
        facts.append(f"{document.damaged} damaged lines left out")
    out = [
        '<!doctype html>\n<html lang="und">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="referrer" content="no-referrer">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>",
        f"<style>{_STYLE}</style>\n</head>\n<body>",
        f"<h1>{title}</h1>",
        f'<p class="facts">{_text(" · ".join(filter(None, facts)))}</p>',
    ]
    if document.system:
        out.append(f"<details><summary>System</summary>{_prose(document.system)}</details>")
    out += [_section(entry, pictures) for entry in document.messages]
    out.append("</body>\n</html>\n")
    return "\n".join(out)


def _text(text: str) -> str:
    return escape(_CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def _section(entry: Entry, pictures: Mapping[str, bytes]) -> str:
    body = [_part(part, pictures, tool=entry.kind == "tool") for part in entry.parts]
    if entry.kind in ("question", "task"):
        body = [f"<pre>{_text(entry.text)}</pre>"]
    elif not entry.parts:
        body = [_prose(entry.text)]
    return (
        f'<section class="{entry.kind}">\n<h2>{heading(entry, _text(entry.name))} · '
        f"<time>{_text(entry.ts)}</time></h2>\n" + "\n".join(body) + "\n</section>"
    )


def _part(part: Part | ResultPart, pictures: Mapping[str, bytes], *, tool: bool) -> str:
    if isinstance(part, Text):
        if tool:
            return f"<pre>{_text(part.text)}</pre>"
        sources = "".join(f"<p>{_text(f'{each.title} {each.url}')}</p>" for each in part.citations)
        return _prose(part.text) + (
            f"<details><summary>Sources</summary>{sources}</details>" * bool(sources)
        )
    if isinstance(part, Thinking):
        return f"<details><summary>Thinking</summary>{_prose(part.text)}</details>"
    if isinstance(part, ToolCall):
        return f"<p>Calls {_text(part.name)}:</p>\n<pre>{_text(part.arguments)}</pre>"
    return _attached(part, pictures)


def _attached(part: Image | File, pictures: Mapping[str, bytes]) -> str:
    name = _text(part.name or part.media_type)
    content = pictures.get(part.blob, b"")
    kind = media_type(content)
    if isinstance(part, File) or kind not in PICTURES or len(content) > MOST_PICTURE_BYTES:
        return f'<p class="facts">[{name}]</p>'
    data = base64.b64encode(content).decode()
    return f'<p><img alt="{name}" src="data:{kind};base64,{data}"></p>'


def _prose(text: str) -> str:
    """Return a message as paragraphs, with its fenced code as blocks of code."""
    text = text.replace("\r\n", "\n")
    out: list[str] = []
    last = 0
    for block in _FENCED.finditer(text):
        out += [_paragraph(text[last : block.start()]), f"<pre>{_text(block[2])}</pre>"]
        last = block.end()
    out.append(_paragraph(text[last:]))
    return "\n".join(filter(None, out))


def _paragraph(text: str) -> str:
    text = text.strip("\n")
    return f"<p>{_text(text)}</p>" if text else ""
