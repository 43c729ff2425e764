"""Items to lines and back; what is damaged or unknown is told apart."""

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.model import codec, commands, events, items
from patina.model.parts import Text
from tests.model.strategies import any_items


@given(any_items())
def test_a_line_brings_the_item_back(item: items.AnyItem) -> None:
    line = codec.encode_line(item)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert codec.decode_line(line[:-1]) == item


@given(any_items())
def test_a_line_is_json_sealed_by_a_checksum_anyone_can_check(item: items.AnyItem) -> None:
    line = codec.encode_line(item).rstrip(b"\n")
    data = json.loads(line)
    assert next(iter(data)) == "v"
    assert list(data)[-1] == "c"
    body, _, _ = line.rpartition(b',"c":')
    assert int(data["c"], 16) == zlib.crc32(body + b"}")


@given(any_items(), st.data())
def test_any_changed_byte_is_noticed(item: items.AnyItem, data: st.DataObject) -> None:
    line = bytearray(codec.encode_line(item)[:-1])
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(codec.DamagedLineError):
        codec.decode_line(bytes(line))


def sealed(**keys: object) -> bytes:
    body = json.dumps(keys, separators=(",", ":")).encode()
    return b'%b,"c":"%08x"}' % (body[:-1], zlib.crc32(body))


def test_an_unknown_kind_is_kept_and_not_used() -> None:
    item = codec.decode_line(sealed(v=1, k="mood", id="a", p="b", ts="t", by="d", happy=True))
    assert item == codec.Unknown(id="a", ts="t", parent="b", device="d", kind="mood")


def test_a_newer_format_is_kept_and_not_used() -> None:
    item = codec.decode_line(
        sealed(v=2, k="note", id="a", ts="t", level="info", text="from the future")
    )
    assert isinstance(item, codec.Unknown)


def test_unknown_keys_are_ignored() -> None:
    item = codec.decode_line(sealed(k="note", id="a", ts="t", level="info", text="x", new=[1], v=1))
    assert item == items.Note(id="a", ts="t", level="info", text="x")


def seal(body: bytes) -> bytes:
    return b'%b,"c":"%08x"}' % (body[:-1], zlib.crc32(body))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\0" * 37,
        b"{}",
        sealed(v=1),
        sealed(v=1, k="note"),
        seal(b'{"k":"note","id":"a","ts":"\xff","level":"info"}'),
        seal(b'{"k":"note","deep":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
        seal(b"[1,2]"),
    ],
)
def test_what_has_no_id_or_kind_is_damaged(line: bytes) -> None:
    with pytest.raises(codec.DamagedLineError):
        codec.decode_line(line)


def test_a_line_over_the_bound_is_refused_before_it_is_written() -> None:
    item = items.Note(id="a", ts="t", level="info", text="x" * codec.MAX_LINE)
    with pytest.raises(ValueError, match="over 1000000"):
        codec.encode_line(item)


def test_commands_and_events_cross_a_wire() -> None:  # P-07
    command = commands.SendMessage(conversation="c", message_id="m", parts=(Text("hi"),))
    data = codec.encode_json(command)
    assert json.loads(data)["type"] == "message.send"
    assert json.loads(data)["session_id"] == "c"
    assert codec.decode_command(data) == command
    event = events.TextDelta(conversation="c", item_id="m", text="hi", seq=3, ts="t")
    assert codec.decode_event(codec.encode_json(event)) == event
