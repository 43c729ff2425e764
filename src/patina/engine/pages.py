"""How many pages a PDF has at most, without reading it: by the marks of its pages."""

import re
import zlib
from typing import Final

_MARK: Final = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
# Objects may stand packed in streams (PDF 1.5 and later, ISO 32000-1, 7.5.7).
_PACKED: Final = re.compile(rb"/Type\s*/ObjStm\b")
_STREAM: Final = re.compile(rb"stream\r?\n")
_ENCRYPTED: Final = b"/Encrypt"
_DICTIONARY: Final = 1_000  # bytes within which a dictionary is followed by its stream
_MOST_UNPACKED: Final = 64 << 20
_STEP: Final = 1 << 16


def pages_of(data: bytes) -> int | None:
    """Return the number of pages of a PDF, counting those that it replaces too; None: unknown."""
    pages = len(_MARK.findall(data))
    room = _MOST_UNPACKED
    for packed in _PACKED.finditer(data):
        begin = _STREAM.search(data, packed.end(), packed.end() + _DICTIONARY)
        if begin is None or _ENCRYPTED in data:
            return None
        plain = _unpacked(data, begin.end(), room)
        if plain is None:
            return None
        room -= len(plain)
        pages += len(_MARK.findall(plain))
    return pages or None


def _unpacked(data: bytes, begin: int, room: int) -> bytes | None:
    """Return a packed stream of at most `room` bytes; None where it cannot be read."""
    unpacker, plain = zlib.decompressobj(), bytearray()
    try:
        # In small steps, for nobody knows where it ends.
        for place in range(begin, len(data), _STEP):
            plain += unpacker.decompress(data[place : place + _STEP], room - len(plain) + 1)
            if len(plain) > room:
                return None
            if unpacker.eof:
                return bytes(plain)
    except zlib.error:
        return None
    return None
