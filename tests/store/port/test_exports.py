"""Markdown, HTML and JSON show what is meant to be read, and obey nothing that stands in it."""

import json
import re
import time
from collections.abc import Iterator
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.port.support import png

from patina.model.ids import new_id
from patina.model.items import (
    Answer,
    AnyItem,
    Head,
    Hide,
    Message,
    Meta,
    Note,
    Question,
    Result,
    Task,
)
from patina.model.parts import Citation, File, Image, Spoken, Text, Thinking, ToolCall
from patina.model.questions import Answered, Asked, Sampling, TaskState
from patina.model.tree import Tree
from patina.model.usage import Cost, Usage
from patina.store.exporting import html, markdown
from patina.store.exporting import json as as_json
from patina.store.exporting.csv_cells import csv_text, safe_cell
from patina.store.exporting.document import Document, document
from patina.store.exporting.names import Names, name_key, safe_name
from patina.views.conversation import rows

BLOB = "ab" * 32
HOSTILE = (
    "</pre></p></section><script>alert(1)</script><img src=x onerror=alert(1)>"
    "<!-- <style>*{display:none}</style> <a href='javascript:x'>x</a> \x1b]0;own\x07 ]]> &lt; "
    "\"' <svg/onload=x> ``` ````` ~~~ <title>"
)
_PIECES = [*"ab <>/!-&\"'`~\n\r\t=[]()\\#*_\x00\x1b\u202e\u2028", "<b>", "```", "~~~~", "</pre>"]
WORDS = st.lists(st.sampled_from(_PIECES), max_size=40).map("".join)


class Made:
    """A conversation, message by message."""

    def __init__(self) -> None:
        self.id = new_id()
        self._last: str | None = None
        self._second = 0
        head = {**self.keys(), "id": self.id}
        self.items: list[AnyItem] = [Head(**head, conversation=self.id, format=1, app="test")]

    def keys(self) -> dict[str, Any]:
        self._second += 1
        return {"id": new_id(), "ts": f"2026-11-21T10:00:{self._second:02}.000Z"}

    def say(self, role: Any, *parts: Any, **more: Any) -> Message:
        item = Message(**self.keys(), parent=self._last, role=role, parts=parts, **more)
        self.put(item)
        return item

    def put(self, item: AnyItem) -> None:
        self.items.append(item)
        self._last = item.id

    def result(self, call: str, *parts: Any) -> None:
        more: dict[str, Any] = {
            "server": "files",
            "tool": "read",
            "status": "completed",
            "message": self._last,
        }
        self.put(Result(**self.keys(), parent=self._last, call_id=call, parts=parts, **more))

    def ask(self, call: str, asked: Asked, answered: Answered) -> None:
        more: dict[str, Any] = {"message": self._last, "call_id": call}
        question = Question(
            **self.keys(),
            parent=self._last,
            server="files",
            display_name="Files",
            asked=asked,
            **more,
        )
        self.put(question)
        more.update(question=question.id, answered=answered)
        self.put(Answer(**self.keys(), parent=question.id, **more))

    def task(self, call: str, status: Any, text: str) -> None:
        more: dict[str, Any] = {"message": self._last, "call_id": call}
        state = TaskState(task_id="t1", status=status, text=text)
        self.put(
            Task(**self.keys(), parent=self._last, server="files", tool="read", state=state, **more)
        )

    def facts(self, **facts: Any) -> None:
        self.items.append(Meta(**self.keys(), **facts))

    def read(self, thinking: bool = True) -> Document:
        return document(Tree(self.items), self.id, 0, thinking=thinking)


def owls() -> Made:
    made = Made()
    made.facts(title="Owls & others", tags=("a", "b"), folder="birds", system="Be brief.")
    made.say("user", Text("Which owl?"), Image(BLOB, "image/png", "owl.png"))
    made.say(
        "assistant",
        Thinking("It has a round face.", signature="SIGNED", opaque="OPAQUE"),
        Text("Let me read.\n\n```python\nprint(1)\n```", opaque="OPAQUE"),
        ToolCall("c1", "files.read", '{"path": "a ``` b"}', opaque="OPAQUE"),
        provider="openai",
        model="gpt-5.2",
        stop_reason="tool_calls",
        usage=Usage(10, 5),
        cost=Cost(Decimal("0.0012"), "list"),
    )
    made.result("c1", Text("Line 1\n````\nLine 2"))
    made.say(
        "assistant",
        Text("A barn owl.", citations=(Citation("https://example.org/owl", "Owls"),)),
        provider="openai",
        model="gpt-5.2",
        partial=True,
    )
    made.put(Note(**made.keys(), parent=made.items[-1].id, level="warning", text="It was cut."))
    return made


def test_markdown_reads_well() -> None:
    made = owls()
    text = markdown.render(made.read(), lambda part: f"blobs/{part.blob[:4]}.png")
    assert text == (
        "# Owls \\& others\n\n"
        f"- Conversation: {made.id}\n"
        "- Begun: 2026-11-21T10:00:01.000Z\n"
        "- Folder: birds\n"
        "- Tags: a, b\n\n"
        "## System\n\nBe brief.\n\n"
        "## You · 2026-11-21T10:00:03.000Z\n\n"
        "Which owl?\n\n![owl.png](<blobs/abab.png>)\n\n"
        "## openai/gpt-5.2 · 2026-11-21T10:00:04.000Z\n\n"
        "> **Thinking**\n>\n> It has a round face.\n\n"
        "Let me read.\n\n```python\nprint(1)\n```\n\n"
        "Calls **files.read**:\n\n````json\n" + '{"path": "a ``` b"}\n````\n\n'
        "## Result of files.read, completed · 2026-11-21T10:00:05.000Z\n\n"
        "`````\nLine 1\n````\nLine 2\n`````\n\n"
        "## openai/gpt-5.2, cut off · 2026-11-21T10:00:06.000Z\n\n"
        "A barn owl.\n\nSources:\n\n- Owls (https://example.org/owl)\n\n"
        "## Note · 2026-11-21T10:00:07.000Z\n\nIt was cut.\n"
    )


def test_json_is_the_object_of_show_with_parts() -> None:
    made = owls()
    value = json.loads(as_json.render(made.read()))
    assert (value["session_id"], value["title"], value["damaged"]) == (made.id, "Owls & others", 0)
    assert (value["tags"], value["folder"], value["system"]) == (["a", "b"], "birds", "Be brief.")
    first, reply, result, *_ = value["messages"]
    assert first["parts"][1] == {
        "type": "image",
        "blob": BLOB,
        "media_type": "image/png",
        "name": "owl.png",
    }
    assert reply["name"] == "openai/gpt-5.2"
    assert reply["usage"]["input_tokens"] == 10
    assert reply["cost"] == {
        "amount": "0.0012",
        "source": "list",
        "currency": "USD",
        "estimated": False,
    }
    assert (result["kind"], result["state"], result["call_id"]) == ("tool", "completed", "c1")


def test_questions_of_servers_and_tasks_are_in_all() -> None:
    made = Made()
    made.say("assistant", ToolCall("c1", "files.read", "{}"))
    asked = Asked(kind="form", text="Which\n```\nfile?", form={"type": "object"})
    made.ask("c1", asked, Answered(action="accept", content={"path": "a.txt", "deep": True}))
    made.task("c1", "completed", "All\n```\nread")
    markup = markdown.render(made.read())
    assert (
        "## Question of Files, accept · 2026-11-21T10:00:03.000Z\n\n"
        "````\nWhich\n```\nfile?\npath: a.txt\ndeep: yes\n````\n\n"
        "## Task of files.read, completed · 2026-11-21T10:00:05.000Z\n\n"
        "````\nAll\n```\nread\n````\n"
    ) in markup
    page = parsed(html.render(made.read(), {}))
    assert "path: a.txt" in "".join(page.words)
    shown = [(row.item_id, row.kind, row.text) for row in rows(Tree(made.items))]
    assert shown == [(entry.item_id, entry.kind, entry.text) for entry in made.read().messages]


def test_a_prompt_for_a_model_stands_as_it_was_allowed() -> None:
    made = Made()
    made.say("assistant", ToolCall("c1", "files.read", "{}"))
    said = (Spoken(role="user", parts=(Text("theirs"),)), Spoken(role="user", parts=(Text("b"),)))
    sampling = Sampling(messages=said, max_tokens=9, model="near/one")
    asked = Asked(kind="sampling", text="It wants a model.", sampling=sampling)
    for content in ({}, {"messages": {"0": "mine"}}, {"messages": "odd"}):
        made.ask("c1", asked, Answered(action="accept", content=content))
    texts = [entry.text for entry in made.read().messages if entry.kind == "question"]
    theirs = "It wants a model.\nuser: theirs\nuser: b"
    assert texts == [theirs, "It wants a model.\nuser: mine\nuser: b", theirs]


def everything(made: Made, thinking: bool = True) -> Iterator[str]:
    of = made.read(thinking)
    yield markdown.render(of)
    yield html.render(of, {BLOB: png()})
    yield as_json.render(of)


def test_signatures_and_hidden_items_are_in_none() -> None:
    made = owls()
    secret = made.say("user", Text("SECRET"))
    made.items.append(Hide(**made.keys(), item=secret.id))
    for text in everything(made):
        assert not re.search("SIGNED|OPAQUE|SECRET", text)
        assert "round face" in text
        assert "barn owl" in text


def test_thinking_can_be_left_out() -> None:
    for text in everything(owls(), thinking=False):
        assert "round face" not in text
        assert "barn owl" in text


# -- HTML


class Elements(HTMLParser):
    """The elements and the words of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.words = ""
        self.odd: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, tuple(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_comment(self, data: str) -> None:
        self.odd.append(data)

    def handle_pi(self, data: str) -> None:
        self.odd.append(data)

    def unknown_decl(self, data: str) -> None:
        self.odd.append(data)


def parsed(text: str) -> Elements:
    parser = Elements()
    parser.feed(text)
    parser.close()
    return parser


def hostile(text: str) -> Made:
    made = Made()
    made.facts(title=text, tags=(text,), folder=text, system=text, model=text)
    made.say("user", Text(text), Image(BLOB, text, text), File("cd" * 32, text, text))
    call = ToolCall(text, text, text)
    cited = Text(text, citations=(Citation(text, text, text),))
    made.say("assistant", Thinking(text), cited, call, provider=text, model=text)
    made.put(
        Result(
            **made.keys(), parent=made.items[-1].id, message="m", call_id=text, server=text,
            tool=text, status="completed", parts=(Text(text), Image(BLOB, "image/svg+xml", text)),
        )
    )  # fmt: skip
    made.put(Note(**made.keys(), parent=made.items[-1].id, level="info", text=text, hint=text))
    return made


def shape(text: str, pictures: dict[str, bytes]) -> list[tuple[str, frozenset[str]]]:
    found = parsed(html.render(hostile(text).read(), pictures))
    assert not found.odd
    return [(tag, frozenset(name for name, _ in attrs)) for tag, attrs in found.seen]


@pytest.mark.parametrize("text", [HOSTILE, "<script>", "<!--", "]]>", "</style>", "&#60;b&#62;"])
def test_no_element_of_a_page_comes_from_what_was_said(text: str) -> None:
    pictures = {BLOB: png()}
    plain = [each for each in shape("plain", pictures) if each[0] != "pre"]
    assert [each for each in shape(text, pictures) if each[0] != "pre"] == plain
    assert {tag for tag, _ in shape(text, pictures)} <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "details", "summary"),
        *("section", "time", "pre", "img"),
    }


@settings(max_examples=150, deadline=None)
@given(WORDS)
def test_no_text_makes_an_element(text: str) -> None:
    found = parsed(html.render(hostile(text).read(), {}))
    assert not found.odd
    assert not {tag for tag, _ in found.seen} & {"script", "b", "img", "a", "iframe", "svg"}
    attributes = {name for tag, attrs in found.seen if tag != "meta" for name, _ in attrs}
    assert attributes <= {"class", "lang", "alt", "src"}


def test_a_page_loads_and_runs_nothing() -> None:
    text = html.render(owls().read(), {BLOB: png()})
    found = parsed(text)
    metas = [dict(attrs) for tag, attrs in found.seen if tag == "meta"]
    (policy,) = [each["content"] for each in metas if "http-equiv" in each]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    (source,) = [dict(attrs)["src"] for tag, attrs in found.seen if tag == "img"]
    assert source is not None
    assert source.startswith("data:image/png;base64,")
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in found.seen}
    assert "@media print" in text
    assert "prefers-color-scheme: dark" in text


def test_the_policy_allows_the_style_that_is_there() -> None:
    import base64
    import hashlib

    text = html.render(owls().read(), {})
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in text


@pytest.mark.parametrize(
    "content",
    [b"<svg onload='alert(1)'/>", b"<html>", b"GIF8", b"", b"%PDF-1.4", b"\x89PNG"],
)
def test_only_pictures_that_cannot_run_are_inlined(content: bytes) -> None:
    made = Made()
    made.say("user", Image(BLOB, "image/png", "x.png"))
    assert "<img" not in html.render(made.read(), {BLOB: content})


def test_words_of_a_page_are_all_there() -> None:
    words = parsed(html.render(hostile(HOSTILE).read(), {})).words
    assert words.count("<script>alert(1)</script>") >= 8


# -- Markdown


def fences(text: str) -> list[str]:
    """The blocks of fenced code of a page, read by the rules of CommonMark, section 4.5."""
    blocks: list[str] = []
    fence = ""
    lines: list[str] = []
    for each in text.split("\n"):
        match = re.match(r" {0,3}(`{3,}|~{3,})(.*)$", each)
        if fence:
            if match and match[1].startswith(fence) and not match[2].strip():
                blocks.append("\n".join(lines))
                fence = ""
            else:
                lines.append(each)
        elif match and not (match[1][0] == "`" and "`" in match[2]):
            fence, lines = match[1], []
    assert not fence, "a fence was left open"
    return blocks


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS, WORDS)
def test_fences_hold(said: str, arguments: str, result: str) -> None:
    made = Made()
    made.say("user", Text(said))
    made.say("assistant", ToolCall("c", "files.read", arguments))
    made.result("c", Text(result))
    made.say("user", Text("The end"))
    text = markdown.render(made.read())
    *_, inner, outer = fences(text)
    control = "[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    clean = [re.sub(control, "", each.replace("\r\n", "\n")) for each in (arguments, result)]
    assert [inner, outer] == clean
    assert text.endswith("\n\nThe end\n")


@settings(max_examples=200, deadline=None)
@given(WORDS)
def test_no_tag_of_a_message_is_obeyed(said: str) -> None:
    """Outside of code every `<` that could begin a tag or comment is escaped."""
    made = Made()
    made.say("user", Text(said))
    made.say("assistant", Text("after"))
    body = markdown.render(made.read()).partition("## You")[2]
    out: list[str] = []
    fence = ""
    for each in body.split("\n"):
        match = re.match(r" {0,3}(`{3,}|~{3,})(.*)$", each)
        if fence:
            fence = "" if match and match[1].startswith(fence) and not match[2].strip() else fence
        elif match and not (match[1][0] == "`" and "`" in match[2]):
            fence = match[1]
        else:
            out.append(each)
    assert not [each for each in out if re.match(r" {0,3}<[A-Za-z/!?]", each)]


def test_code_keeps_its_tags() -> None:
    made = Made()
    made.say("user", Text("Use `<b>` or <b>:\n\n```html\n<b>x</b>\n"))
    text = markdown.render(made.read())
    assert "Use `<b>` or \\<b>:\n\n```html\n<b>x</b>\n\n```\n" in text


# Read by the rules of CommonMark 0.31: sections 6.1 for spans, 5.2 for fences in items, 2.4 for
# backslashes; of tables by those of GitHub.
@pytest.mark.parametrize(
    "said",
    [
        "``<img src=x>`",
        "one ` here\n`<img src=x>`",
        "\\`<img src=x>`",
        "\\\\<img src=x>",
        "|a|b|\n|-|-|\n|`a|<img src=x>`|",
    ],
)
def test_what_only_looks_like_code_is_escaped(said: str) -> None:
    made = Made()
    made.say("user", Text(said))
    text = markdown.render(made.read())
    assert len(re.findall(r"(\\*)<img", text)[0]) % 2


@pytest.mark.parametrize(
    "said",
    ["- item\n\n  ```\n  code\n<img src=x>", "- ```\n  code\n  ```\n<img src=x>"],
)
def test_a_fence_does_not_end_with_an_item_of_a_list(said: str) -> None:
    made = Made()
    made.say("user", Text(said))
    text = markdown.render(made.read())
    assert "<img src=x>" in fences(text)[-1]
    assert not re.search(r"^ +```", text, re.M)


def test_a_line_of_backticks_takes_no_time() -> None:
    made = Made()
    runs = "".join("`" * length + "a" for length in range(1, 600))
    made.say("user", Text("<b>" + "`" * 300_000), Text(f"<b>{runs}"))
    began = time.process_time()
    markdown.render(made.read())
    assert time.process_time() - began < 2


# -- names


RESERVED = ["con", "PRN", "aux.txt", "NUL.tar.gz", "com1", "LPT9.md", "COM\u00b9", "conin$"]


@pytest.mark.parametrize("name", RESERVED)
def test_names_of_devices_are_avoided(name: str) -> None:
    assert safe_name(name) == f"_{name}"


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Owls", "Owls"),
        ('a/b\\c:d*e?f"g<h>i|j', "a b c d e f g h i j"),
        ("../../etc/passwd", "etc passwd"),
        ("...", "untitled"),
        ("", "untitled"),
        ("-rf *", "rf"),
        ("ends. . .", "ends"),
        ("\x1b]0;x\x07\n\ttabs", "]0;x tabs"),
        ("\u202etxt.exe\u2066", "txt.exe"),
        ("e\u0301", "\u00e9"),
        ("\U0001f989 owl", "\U0001f989 owl"),
        ("~root", "root"),
    ],
)
def test_names_are_safe(title: str, name: str) -> None:
    assert safe_name(title) == name


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_any_title_is_a_name(title: str) -> None:
    name = safe_name(title)
    assert 0 < len(name.encode()) <= 121
    assert not re.search(r'[<>:"/\\|?*\x00-\x1f\x7f]', name)
    assert name[-1] not in ". "
    assert name[0] not in ".- "
    assert safe_name(name) == name


_ALIKE = ["Owl", "owl", "OWL", "\uff2f\uff37\uff2c", "e\u0301", "\u00c9", ""]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(_ALIKE), max_size=8), st.booleans())
def test_no_two_conversations_share_a_name(titles: list[str], same_end: bool) -> None:
    names = Names()
    made = []
    for number, title in enumerate(titles):
        end = 0 if same_end else number
        identifier = f"01a1ffe8-{number:04x}-7000-8000-{end:012x}"
        made.append(names.name(identifier, "2026-11-21T10:00:00.000Z", title, ".md"))
    assert len({name_key(name) for name in made}) == len(titles)
    assert all(len(name.encode()) <= 140 for name in made)


def test_a_name_says_when_and_what() -> None:
    name = Names().name("01a1ffe8-0000-7000-8000-00003f9c21ab", "2026-11-21T1", "Owls", ".md")
    assert name == "2026-11-21 Owls 3f9c21ab.md"


# -- CSV


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        " =1",
        "\n=1",
        "\uff1d1",
        "=cmd|' /C calc'!A0",
    ],
)
def test_formulas_are_text(cell: str) -> None:
    assert safe_cell(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "a=1", "1-1", "x@y", "'=1", "Owls"])
def test_other_text_stays(cell: str) -> None:
    assert safe_cell(cell) == cell


def test_numbers_stay_numbers() -> None:
    assert safe_cell(-1.5) == -1.5
    assert safe_cell(None) == ""
    assert csv_text(["a", "=b"], [[1, '=x"y'], [None, "z,\n"]]) == (
        'a,\'=b\r\n1,"\'=x""y"\r\n,"z,\n"\r\n'
    )


def test_documents_are_plain_data() -> None:
    assert msgspec.json.decode(as_json.render(hostile(HOSTILE).read()))
