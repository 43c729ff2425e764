"""Joining HTTP chunks: what the HTTP library makes of the bytes stays the same."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.providers.chunking import ChunkJoiner

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%X\r\n%b\r\n" % (len(data), data)


def understood(pieces: Sequence[bytes]) -> tuple[int | None, bytes, str]:
    """Status, body and end of a response as h11 reads it: "whole", "broken" or "cut"."""
    connection = h11.Connection(our_role=h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    status, body = None, b""
    for piece in [*pieces, b""]:
        try:
            if piece or connection.their_state is not h11.DONE:
                connection.receive_data(piece)
            while (event := connection.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    return status, body, "whole"
                elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                    break
        except h11.RemoteProtocolError:
            return status, body, "broken"
    return status, body, "cut"


def joined(pieces: Sequence[bytes]) -> list[bytes]:
    joiner = ChunkJoiner()
    return [out for piece in pieces if (out := joiner.feed(piece))]


CASES: dict[str, bytes] = {
    "events": HEAD + b"".join(chunk(b"data: %d\n\n" % n) for n in range(3)) + END,
    "one chunk": HEAD + chunk(b"hello") + END,
    "no chunk": HEAD + END,
    "small letters": HEAD + b"0a\r\n0123456789\r\n" + END,
    "data like sizes": HEAD + chunk(b"5\r\nhello\r\n0\r\n\r\n") + chunk(b"\r\n") + END,
    "extensions": HEAD + chunk(b"a") + b'1;x="y"\r\nb\r\n' + chunk(b"c") + END,
    "trailers": HEAD + chunk(b"a") + b"0\r\nX-Sum: 1\r\n\r\n",
    "end with zeros": HEAD + chunk(b"a") + b"000\r\n\r\n",
    "bad size": HEAD + chunk(b"a") + b"xyz\r\n",
    "no size": HEAD + chunk(b"a") + b"\r\n",
    "negative size": HEAD + chunk(b"a") + b"-1\r\nb\r\n" + END,
    "huge size": HEAD + chunk(b"a") + b"fffffffffffff\r\nb",
    "too long a size": HEAD + b"0" * 30 + b"1\r\na\r\n" + END,
    "size and space": HEAD + chunk(b"a") + b"1 \r\nb\r\n" + END,
    "no closing CRLF": HEAD + b"1\r\nab\r\n" + END,
    "LF alone": HEAD + b"1\r\na\n" + END,
    "cut in data": HEAD + chunk(b"abc") + b"5\r\nhel",
    "cut in a size": HEAD + chunk(b"abc") + b"5",
    "cut before the end": HEAD + chunk(b"abc"),
    "content length": b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n1\r\na\r\n0\r",
    "until it closes": b"HTTP/1.1 200 OK\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "refusal": b"HTTP/1.1 400 No\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"no") + END,
    "interim": b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + chunk(b"a") + chunk(b"b") + END,
    "two interims": b"HTTP/1.1 103 Hints\r\nA: b\r\n\r\n" * 2 + HEAD + chunk(b"a") + END,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\nhello",
    "old server": b"ICY 200 OK\r\n\r\nhello",
    "no HTTP": b"\x05\x00hello",
    "nothing": b"",
}


@pytest.mark.parametrize("name", CASES)
def test_the_meaning_stays_under_every_split(name: str) -> None:
    data = CASES[name]
    expected = understood([data])
    assert understood(joined([data])) == expected
    for at in range(len(data) + 1):
        assert understood(joined([data[:at], data[at:]])) == expected, at
    assert understood(joined([data[i : i + 1] for i in range(len(data))])) == expected


def test_chunks_of_one_read_become_one() -> None:
    sent = [b"data: %d\n\n" % n for n in range(100)]
    joiner = ChunkJoiner()
    assert joiner.feed(HEAD) == HEAD
    assert joiner.feed(b"".join(map(chunk, sent))) == b"%x\r\n%b\r\n" % (990, b"".join(sent))
    # The end goes through as it is.
    assert joiner.feed(chunk(b"x") + END) == b"1\r\nx\r\n" + END


def test_nothing_of_the_data_waits() -> None:
    joiner = ChunkJoiner()
    joiner.feed(HEAD)
    whole = chunk(b"0123456789")
    told = [joiner.feed(whole[i : i + 1]) for i in range(len(whole))]
    assert [piece[3:-2] for piece in told[3:13]] == [b"%d" % n for n in range(10)]


def test_a_connection_is_used_again() -> None:
    joiner = ChunkJoiner()
    for _ in range(3):
        joiner.restart()
        assert understood([joiner.feed(CASES["events"])]) == understood([CASES["events"]])
        joiner.restart()
        assert joiner.feed(CASES["content length"]) == CASES["content length"]


def test_a_head_without_end_is_passed_on() -> None:
    joiner = ChunkJoiner()
    line = b"X: " + b"y" * 1000 + b"\r\n"
    assert joiner.feed(b"HTTP/1.1 200 OK\r\n")
    for _ in range(200):
        assert joiner.feed(line) == line


BODY = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=40).map(chunk),
        st.sampled_from([b"\r\n", b"1;a\r\nb\r\n", b"0\r\n", b"5\r\n", b"a", b"\r", END]),
        st.binary(max_size=6),
    ),
    max_size=12,
).map(b"".join)
HEADS = st.sampled_from([HEAD, CASES["interim"][:25] + HEAD, b"HTTP/1.1 200 OK\r\n\r\n", b""])


def cut_up(data: bytes, cuts: list[int]) -> list[bytes]:
    return [data[a:b] for a, b in pairwise([0, *sorted(cuts), max(len(data), 1000)])]


@given(HEADS, BODY, st.booleans(), st.lists(st.integers(0, 600), max_size=8))
def test_any_body_any_split(head: bytes, body: bytes, ended: bool, cuts: list[int]) -> None:
    data = head + body + (END if ended else b"")
    once: Callable[[Sequence[bytes]], tuple[int | None, bytes, str]] = understood
    assert once(joined(cut_up(data, cuts))) == once([data])
