"""NDJSON on bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.model.sse import EventTooLargeError
from patina.providers.lines import LineParser


def parse(*chunks: bytes) -> list[bytes]:
    parser = LineParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return [event.data for event in (*events, *parser.flush())]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b'{"a":1}\n{"b":2}\n', [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}\r\n{"b":2}\r\n', [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}\n{"b":2}', [b'{"a":1}', b'{"b":2}']),
        (b'\n\r\n \n{"a":1}\n\n', [b'{"a":1}']),
        (b'\xef\xbb\xbf{"a":1}\n', [b'{"a":1}']),
        ('{"a":"\u2028\u0085\u000b"}\n'.encode(), ['{"a":"\u2028\u0085\u000b"}'.encode()]),
        (b'{"a":"\r"}\n', [b'{"a":"\r"}']),
    ],
)
def test_lines(data: bytes, expected: list[bytes]) -> None:
    assert parse(data) == expected
    assert parse(*(data[i : i + 1] for i in range(len(data)))) == expected


@given(st.lists(st.binary(max_size=12) | st.sampled_from([b"\n", b"\r\n"])), st.data())
def test_any_split_gives_the_same_lines(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(pieces)
    at = data.draw(st.integers(0, len(whole)))
    assert parse(whole) == parse(*pieces) == parse(whole[:at], whole[at:])


def test_a_line_has_a_bound() -> None:
    parser = LineParser(max_line=10)
    assert [event.data for event in parser.feed(b"0123456789\nab")] == [b"0123456789"]
    with pytest.raises(EventTooLargeError):
        parser.feed(b"cdefghijk")
    with pytest.raises(EventTooLargeError):
        LineParser(max_line=3).feed(b"abcd\n")
