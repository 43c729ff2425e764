"""How many pages a PDF has at most, without reading it."""

import zlib

import pytest

from patina.engine.bounds import MOST_PAGES, PAGE, most_input
from patina.engine.pages import pages_of
from patina.model.chat import ChatMessage, ChatRequest, ModelInfo
from patina.model.parts import File, Image, Text
from patina.model.usage import Usage

BLOB = "0" * 64


def packed(plain: bytes, name: bytes = b"/Type /ObjStm") -> bytes:
    body = zlib.compress(plain)
    return b"7 0 obj\n<< %s /N 3 >>\nstream\r\n%s\nendstream\n" % (name, body)


def test_pages_are_counted_by_their_marks() -> None:
    assert pages_of(b"%PDF-1.7 << /Type /Pages /Count 2 >> <</Type/Page>> <</Type  /Page >>") == 2
    assert pages_of(b"%PDF-1.7 nothing that is known") is None


def test_pages_in_packed_objects_are_counted_too() -> None:
    """Files that are made for the web have their first page outside, and the others packed."""
    first = b"%PDF-1.5 << /Linearized 1 >> << /Type /Page >>"
    rest = packed(b"<< /Type /Page >> " * 300) + packed(b"<< /Type /Page >> " * 200)
    assert pages_of(first + rest) == 501


@pytest.mark.parametrize(
    "bad",
    [
        b"<< /Type /ObjStm >> no stream",
        b"<< /Type /ObjStm >> stream\nnot deflated",
        packed(b"x" * 100)[:-30],
        packed(b"\0" * (80 << 20)),
        packed(b"<< /Type /Page >>") + b"trailer << /Encrypt 5 0 R >>",
    ],
)
def test_what_cannot_be_looked_into_is_unknown(bad: bytes) -> None:
    data = b"%PDF-1.5 << /Type /Page >>" + bad
    assert pages_of(data) is None
    document = ChatMessage("user", (File(BLOB, "application/pdf", "a.pdf"),))
    sent = ChatRequest(model="m", messages=(document,), blobs={BLOB: data})
    assert most_input(sent) >= MOST_PAGES * PAGE


def test_a_count_without_sight_counts_for_nothing_once_pictures_go_along() -> None:
    from patina.engine.bounds import Counted

    messages = (ChatMessage("user", (Image(BLOB, "image/png"), Text("What is it?"))),)
    blind = ChatRequest(model="m", messages=messages, info=ModelInfo("p", "m", images=False))
    counted = Counted.of(blind, Usage(60, 1))
    assert most_input(blind, counted) == 60
    seeing = ChatRequest(
        model="m", messages=messages, blobs={BLOB: b"png"}, info=ModelInfo("p", "m", images=True)
    )
    assert most_input(seeing, counted) == most_input(seeing)
    # Other pictures that come later change nothing for those that were counted.
    known = Counted.of(seeing, Usage(900, 1))
    other = "1" * 64
    later = ChatRequest(
        model="m",
        messages=(*messages, ChatMessage("user", (Image(other, "image/png"),))),
        blobs={BLOB: b"png", other: b"png"},
        info=seeing.info,
    )
    assert 900 < most_input(later, known) < most_input(later)
