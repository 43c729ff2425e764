"""Joins the small HTTP chunks of one network read into one.

Model servers send every token as an HTTP chunk of its own (RFC 9112, section 7.1), and the HTTP
library above spends most of its time per chunk: with a burst of 10,000 deltas the chunks were
three quarters of the cost. Nothing waits: what was read is passed on at once. The library stays
the judge of the protocol: heads, error answers, sizes with extensions, the last chunk with its
trailers, and whatever looks odd pass as they are.
"""

import re
from typing import Final

_SIZE: Final = re.compile(rb"([0-9a-fA-F]{1,8})\r\n")
_UNFINISHED_SIZE: Final = re.compile(rb"[0-9a-fA-F]{0,8}\r?")
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
_INTERIM: Final = re.compile(rb"HTTP/1\.1 1(?!01)\d\d")
_STATUS: Final = b"HTTP/1.1 "
_CRLF: Final = b"\r\n"
_NO_SIZE: Final = b"!\r\n"  # no chunk can begin like this: the library refuses it
_MAX_HEAD: Final = 100 * 1024


class ChunkJoiner:
    """The incoming bytes of one connection. `restart` it with every request that leaves."""

    __slots__ = ("_closing", "_head", "_in_body", "_left", "_passing", "_rest")

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Expect the head of a response next."""
        self._head = b""
        self._in_body = False
        self._passing = False  # the rest of this response goes through as it is
        self._left = 0  # bytes of data that the current chunk still lacks
        self._closing = False  # the CRLF after a chunk's data is still to come
        self._rest = b""  # the beginning of a size or CRLF that is not whole yet

    def feed(self, data: bytes) -> bytes:
        """Return what stands for `data`; b"" where more must be read to say anything."""
        if self._passing:
            return data
        return self._join(data) if self._in_body else self._find_body(data)

    def _find_body(self, data: bytes) -> bytes:
        """Let the head through, and join what follows it."""
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            like_http = _STATUS.startswith(self._head[: len(_STATUS)])
            self._passing = not like_http or len(self._head) > _MAX_HEAD
            return data
        head, body = self._head[: end + 4], self._head[end + 4 :]
        passed = data[: len(data) - len(body)]
        self._head = b""
        if _INTERIM.match(head):
            return passed + (self._find_body(body) if body else b"")
        self._in_body = True
        self._passing = not (head.startswith(b"HTTP/1.1 2") and _CHUNKED.search(head))
        return passed + (self.feed(body) if body else b"")

    def _join(self, data: bytes) -> bytes:
        if self._rest:
            data, self._rest = self._rest + data, b""
        pieces: list[bytes] = []
        at = self._go_on(data, pieces)
        length = len(data)
        while at < length and not self._passing and not self._rest:
            match = _SIZE.match(data, at)
            if match is None or (size := int(match[1], 16)) == 0:
                self._rest = data[at:]
                self._passing = match is not None or not _UNFINISHED_SIZE.fullmatch(data, at)
                break
            start = match.end()
            end = start + size
            if data[end : end + 2] == _CRLF:
                pieces.append(data[start:end])
                at = end + 2
            else:
                self._left = size
                at = start + self._go_on(data[start:], pieces)
        joined = b"".join(pieces)
        out = b"%x\r\n%b\r\n" % (len(joined), joined) if joined else b""
        if self._passing:
            out, self._rest = out + self._rest, b""
        return out

    def _go_on(self, data: bytes, pieces: list[bytes]) -> int:
        """Take what belongs to the chunk that was begun. How many bytes that were."""
        at = 0
        if self._left:
            piece = data[: self._left]
            pieces.append(piece)
            at = len(piece)
            self._left -= at
            self._closing = not self._left
        if self._closing:
            mark = data[at : at + 2]
            if mark == _CRLF:
                self._closing = False
                return at + 2
            if _CRLF.startswith(mark):
                self._rest = mark
            else:
                self._passing = True
                self._rest = _NO_SIZE + data[at:]
            return len(data)
        return at
