"""The event-stream parser, under every split of the bytes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.model.sse import EventParser, EventTooLargeError, ServerSentEvent

# name -> (bytes, the events of the standard)
CASES: dict[str, tuple[bytes, list[tuple[str, bytes, str]]]] = {
    "lf": (b"data: one\n\ndata: two\n\n", [("message", b"one", ""), ("message", b"two", "")]),
    "cr": (b"data: one\r\rdata: two\r\r", [("message", b"one", ""), ("message", b"two", "")]),
    "crlf": (
        b"data: one\r\n\r\ndata: two\r\n\r\n",
        [("message", b"one", ""), ("message", b"two", "")],
    ),
    "mixed ends": (b"data: a\r\ndata: b\rdata: c\n\r\n", [("message", b"a\nb\nc", "")]),
    "bom": (b"\xef\xbb\xbfdata: one\n\n", [("message", b"one", "")]),
    "bom in the middle": (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [("message", b"a", "")]),
    "two boms": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
    "line separators": (
        "data: a\u2028b\u2029c\u0085d\x0ce\x0bf\x1cg\n\n".encode(),
        [("message", "a\u2028b\u2029c\u0085d\x0ce\x0bf\x1cg".encode(), "")],
    ),
    "many bytes": ("data: 😀é한\n\n".encode(), [("message", "😀é한".encode(), "")]),
    "comments": (b": hi\n\n:\ndata: a\n: b\ndata: c\n\n: end\n\n", [("message", b"a\nc", "")]),
    "fields": (
        b"event: error\nid: 7\nretry: 10\ndata: a\n\ndata: b\n\n",
        [("error", b"a", "7"), ("message", b"b", "7")],
    ),
    "event without data": (b"event: ping\n\ndata: a\n\n", [("message", b"a", "")]),
    "empty data": (b"data\n\ndata:\n\n", [("message", b"", ""), ("message", b"", "")]),
    "empty lines of data": (b"data\ndata\n\n", [("message", b"\n", "")]),
    "one space only": (b"data:  a\ndata:b\n\n", [("message", b" a\nb", "")]),
    "colons": (b"data: a: b\n\n", [("message", b"a: b", "")]),
    "unknown field": (b"dat: a\nDATA: b\ndata : c\nother\ndata: d\n\n", [("message", b"d", "")]),
    "id with nul": (b"id: a\0\ndata: x\n\n", [("message", b"x", "")]),
    "many blank lines": (b"\n\n\r\n\rdata: a\n\n\n\n", [("message", b"a", "")]),
    "unfinished": (b"data: a\n\ndata: b\n", [("message", b"a", "")]),
    "nothing": (b"", []),
}


def parsed(pieces: list[bytes], parser: EventParser | None = None) -> list[tuple[str, bytes, str]]:
    parser = parser or EventParser()
    return [(e.event, e.data, e.id) for piece in pieces for e in parser.feed(piece)]


@pytest.mark.parametrize("name", CASES)
def test_every_split_in_two_and_three(name: str) -> None:
    data, expected = CASES[name]
    assert parsed([data]) == expected
    for first in range(len(data) + 1):
        assert parsed([data[:first], data[first:]]) == expected, first
        for second in range(first, len(data) + 1):
            pieces = [data[:first], data[first:second], data[second:]]
            assert parsed(pieces) == expected, (first, second)


@pytest.mark.parametrize("name", CASES)
def test_byte_by_byte(name: str) -> None:
    data, expected = CASES[name]
    pieces = [data[i : i + 1] for i in range(len(data))]
    assert parsed(pieces) == expected
    assert parsed([part for piece in pieces for part in (b"", piece, b"")]) == expected


def reference(data: bytes) -> list[tuple[str, bytes, str]]:
    """The algorithm of the standard, read literally, on the whole stream at once."""
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events, buffer, name, last_id = [], b"", "", ""
    for line in text.split(b"\n")[:-1]:
        if not line:
            if buffer:
                events.append((name or "message", buffer[:-1], last_id))
            buffer, name = b"", ""
            continue
        field, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if field == b"event":
            name = value.decode(errors="replace")
        elif field == b"data":
            buffer += value + b"\n"
        elif field == b"id" and b"\0" not in value:
            last_id = value.decode(errors="replace")
    return events


PIECES = st.sampled_from(
    [
        *(b"data: ", b"data", b":", b" ", b"\n", b"\r", b"\r\n", b"\n\n", b"event: x", b"id: 1"),
        *(b"{}", b"\xef\xbb\xbf", b"\xf0\x9f", b"\x98\x80", "\u2028".encode(), b"\x0c"),
        b"data: {}\n\n",
    ]
)


@given(
    st.lists(st.one_of(PIECES, st.binary(max_size=4)), max_size=30),
    st.lists(st.integers(0, 200), max_size=6),
)
def test_any_bytes_any_split(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    assert parsed(pieces) == reference(data)
    edges = [0, *sorted(cuts), max(200, len(data))]
    assert parsed([data[a:b] for a, b in pairwise(edges)]) == reference(data)


def test_reconnection_time() -> None:
    parser = EventParser()
    parser.feed(b"retry: 2500\nretry: soon\nretry: 99999999999\n")
    assert parser.retry == 2500


def test_the_end_gives_out_a_last_event_without_its_blank_line() -> None:
    for tail in (b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r"):
        parser = EventParser()
        assert parser.feed(tail) == []
        assert [e.data for e in parser.flush()] == [b"[DONE]"]
        assert parser.flush() == []
    parser = EventParser()
    parser.feed(b"\xef\xbb\xbf")
    assert parser.flush() == []


def test_an_event_has_a_bound_in_one_line_and_in_many() -> None:
    for pieces in (
        [b"data: " + b"x" * 40] * 1,
        [b"data: "] + [b"x" * 8] * 5,
        [b"data: xxxxxxxx\n"] * 5,
        [b"data: " + b"x" * 40 + b"\n\n"],
    ):
        with pytest.raises(EventTooLargeError):
            parsed(pieces, EventParser(max_event=32))
    assert parsed([b"data: xxxxxxxx\n\n"] * 50, EventParser(max_event=32))


def test_a_large_event_in_small_pieces_is_not_slow() -> None:
    parser = EventParser()
    piece = b"x" * 1024
    assert parser.feed(b"data: ") == []
    for _ in range(20_000):  # 20 MB: quadratic joining would take minutes
        assert parser.feed(piece) == []
    assert parser.feed(b"\n\n") == [ServerSentEvent(piece * 20_000)]
