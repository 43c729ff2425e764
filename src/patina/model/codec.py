"""Between items and transcript lines, between commands or events and JSON.

A line is one JSON object that ends in `,"c":"<crc32>"}` and a newline. The checksum is that of
the object without its `c` key: the bytes before `,"c":` plus the closing brace.
"""

import zlib
from typing import Any, Final

import msgspec

from patina.model.commands import AnyCommand
from patina.model.events import AnyEvent
from patina.model.items import AnyItem, Item

FORMAT: Final = 1
MAX_LINE: Final = 1_000_000
_SEAL: Final = len(b',"c":"00000000"}')
_PREFIX: Final = b'{"v":1,'

# Not JSON, nested too deeply, or not UTF-8: a checksum does not make rubbish readable.
_RUBBISH: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

_encoder = msgspec.json.Encoder()
_items: msgspec.json.Decoder[AnyItem] = msgspec.json.Decoder(AnyItem)
_anything: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])
_commands: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_events: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


class Unknown(Item, frozen=True, kw_only=True, tag="unknown"):
    """An item of a kind or format this version does not know: kept in the file, not used."""

    kind: str = ""


class DamagedLineError(ValueError):
    """A line whose checksum, JSON or shape is wrong. Readers skip and count it."""


def encode_line(item: Item) -> bytes:
    """Return `item` as a whole transcript line, newline included.

    Raises `ValueError` where the line would be longer than `MAX_LINE` bytes: large content
    belongs into blobs.
    """
    body = _PREFIX + _encoder.encode(item)[1:]
    line = b'%b,"c":"%08x"}\n' % (body[:-1], zlib.crc32(body))
    if len(line) > MAX_LINE:
        raise ValueError(f"a transcript line of {len(line)} bytes is over {MAX_LINE}")
    return line


def decode_line(line: bytes) -> AnyItem | Unknown:
    """Return the item of one line, given without its newline.

    Raises `DamagedLineError`. Unknown kinds, and formats newer than ours, become `Unknown`;
    unknown keys are ignored.
    """
    body = unseal(line)
    try:
        item = _items.decode(body)
    except msgspec.ValidationError:
        return _unknown(body)
    except _RUBBISH as error:
        raise DamagedLineError(str(error)) from None
    return item if item.v <= FORMAT else _unknown(body)


def unseal(line: bytes) -> bytes:
    """Return the object of one line, given without its newline. Raises `DamagedLineError`."""
    body = line[:-_SEAL] + b"}"
    if line[-_SEAL:] != b',"c":"%08x"}' % zlib.crc32(body):
        raise DamagedLineError("checksum")
    return body


def _unknown(body: bytes) -> Unknown:
    try:
        data = _anything.decode(body)
    except (msgspec.ValidationError, *_RUBBISH) as error:
        raise DamagedLineError(str(error)) from None
    identifier, kind = data.get("id"), data.get("k")
    if not isinstance(identifier, str) or not isinstance(kind, str):
        raise DamagedLineError("no id or kind")
    parent = data.get("p")
    return Unknown(
        id=identifier,
        ts=str(data.get("ts", "")),
        parent=parent if isinstance(parent, str) else None,
        device=str(data.get("by", "")),
        kind=kind,
    )


def encode_json(value: Any) -> bytes:  # noqa: ANN401 - any plain data is welcome
    """Return compact JSON of any event, command or plain data."""
    return _encoder.encode(value)


def decode_command(data: bytes) -> AnyCommand:
    """Return the command in `data`. Raises `msgspec.ValidationError` with the path of the fault."""
    return _commands.decode(data)


def decode_event(data: bytes) -> AnyEvent:
    """Return the event in `data`. Raises `msgspec.ValidationError`."""
    return _events.decode(data)
