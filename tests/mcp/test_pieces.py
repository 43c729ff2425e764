"""Small parts: results, argument checks, the demo server, text."""

import base64
import json
import subprocess
import sys
import time
from typing import Any

import anyio
import mcp_types as types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mcp.shop import Person

from patina.mcp.dispatching import readable
from patina.mcp.frames import decode
from patina.mcp.patience import Patience
from patina.mcp.results import LARGEST_IMAGE, outcome_of
from patina.mcp.schema import Checker
from patina.mcp.text import visible
from patina.mcp.transports import inprocess
from patina.model.faults import McpFault
from patina.model.parts import File, Image, ResultPart, Text
from patina.model.questions import VISIT_SECONDS, Answered, Asked

pytestmark = pytest.mark.anyio


async def parts_of(
    *content: dict[str, Any], structured: object = None
) -> tuple[tuple[ResultPart, ...], list[bytes]]:
    blobs: list[bytes] = []

    async def put_blob(data: bytes) -> str:
        blobs.append(data)
        return "b" * 64

    result = types.CallToolResult.model_validate(
        {"content": list(content), "structuredContent": structured}
    )
    return (await outcome_of(result, put_blob)).parts, blobs


async def test_kinds_of_content() -> None:
    parts, blobs = await parts_of(
        {"type": "text", "text": "a\x1b[2Jb"},
        {"type": "image", "data": inprocess.PIXEL, "mimeType": "image/PNG"},
        {"type": "audio", "data": "AAAA", "mimeType": "audio/wav"},
        {"type": "resource_link", "uri": "file:///x", "name": "x", "mimeType": "text/plain"},
        {"type": "resource", "resource": {"uri": "file:///y", "text": "content"}},
        {"type": "resource", "resource": {"uri": "file:///z", "blob": "AAAA"}},
        structured={"found": 2},
    )
    assert parts[0] == Text("a\x1b[2Jb")
    assert parts[1] == Image("b" * 64, "image/png")
    assert blobs == [base64.b64decode(inprocess.PIXEL), bytes(3), bytes(3)]
    assert parts[2] == File("b" * 64, "audio/wav", "audio")
    assert parts[3] == Text("[resource link: x, file:///x, text/plain]")
    assert parts[4] == Text("[resource: file:///y]\ncontent")
    assert parts[5:] == (
        Text("[resource: file:///z]"),
        File("b" * 64, "application/octet-stream", "z"),
        Text('{"found":2}'),
    )


async def test_bytes_do_not_stand_in_words_too() -> None:
    image = {"type": "image", "data": inprocess.PIXEL, "mimeType": "image/png"}
    structured = {
        "shots": [inprocess.PIXEL, f"data:image/png;base64,{inprocess.PIXEL}"],
        "note": "blue",
    }
    parts, _ = await parts_of(image, structured=structured)
    assert isinstance(parts[0], Image)
    words = "[the bytes beside it]"
    data = f"data:image/png;base64,{words}"
    assert parts[1] == Text(f'{{"shots":["{words}","{data}"],"note":"blue"}}')
    parts, _ = await parts_of({"type": "text", "text": json.dumps(structured)}, image)
    assert parts[0] == Text(f'{{"shots": ["{words}", "{data}"], "note": "blue"}}')


async def test_a_resource_that_is_a_picture() -> None:
    resource = {"uri": "demo://a/b%20c.png", "blob": inprocess.PIXEL, "mimeType": "image/png"}
    parts, _ = await parts_of({"type": "resource", "resource": resource})
    assert parts[1] == Image("b" * 64, "image/png", "b c.png")


async def test_structured_content_alone_is_json() -> None:
    parts, _ = await parts_of(structured={"a": [1, "ü"]})
    assert parts == (Text('{"a":[1,"ü"]}'),)
    assert (await parts_of())[0] == ()


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        ("not base64!", "image/png", "not valid base64"),
        ("AAAA", "text/html", "unknown type"),
        ("AAAA", "image/../../x", "unknown type"),
        ("A" * (LARGEST_IMAGE * 4 // 3 + 100), "image/png", "over 20 MB"),
    ],
)
async def test_pictures_that_are_none(data: str, kind: str, words: str) -> None:
    parts, blobs = await parts_of({"type": "image", "data": data, "mimeType": kind})
    assert isinstance(parts[0], Text)
    assert words in parts[0].text
    assert blobs == []


def check(schema: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    return Checker().parse("s.t", schema, json.dumps(arguments))


@pytest.mark.parametrize(
    ("schema", "arguments", "words"),
    [
        ({"properties": {"n": {"type": "integer"}}}, {"n": "x"}, "`$.n`: must be of type integer"),
        ({"properties": {"c": {"enum": ["a", "b"]}}}, {"c": "z"}, 'must be one of ["a","b"]'),
        ({"properties": {"c": {"const": 1}}}, {"c": 2}, "must be 1, is 2"),
        ({"required": ["q"]}, {}, '["q"] is missing'),
        (
            {"properties": {"a": {}}, "additionalProperties": False},
            {"b": 1},
            '["b"] is not known, allowed are ["a"]',
        ),
        ({"properties": {"l": {"items": {"type": "string"}}}}, {"l": ["a", 1]}, "`$.l[1]`"),
        ({"properties": {"n": {"maximum": 5}}}, {"n": 6}, "maximum of 5"),
    ],
)
def test_the_sentence_names_the_place_and_what_is_allowed(
    schema: dict[str, Any], arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(McpFault) as caught:
        check({"type": "object", **schema}, arguments)
    assert words in caught.value.failure.message
    assert len(caught.value.failure.message) < 1000


DEEP: dict[str, object] = {}
for _ in range(100):
    DEEP = {"properties": {"a": DEEP}}
DOUBLING = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no such type"},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"$defs": {**DOUBLING, "d60": {}}, "$ref": "#/$defs/d0"},
        DEEP,
        {"enum": ["x" * 600_000]},
        {"properties": {"a": {"pattern": "(a+)+$"}}},
        {"patternProperties": {"(a+)+$": False}, "additionalProperties": False},
        {"properties": {"a": {"pattern": "("}}},
    ],
)
def test_hostile_schemas_are_bounded_and_let_pass(schema: dict[str, Any]) -> None:
    started = time.monotonic()
    arguments = {"a": "a" * 40 + "!"}
    assert check(schema, arguments) == arguments
    assert time.monotonic() - started < 5


def test_a_property_called_pattern_is_still_checked() -> None:
    schema = {"type": "object", "properties": {"pattern": {"type": "string"}}}
    assert check(schema, {"pattern": "x"}) == {"pattern": "x"}
    with pytest.raises(McpFault):
        check(schema, {"pattern": 1})


@settings(deadline=None)
@given(st.text())
def test_visible_text_is_one_line_without_anything_hidden(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert visible(shown) == shown


@settings(deadline=None)
@given(st.text("abc äß€漢字🙂"))
def test_visible_leaves_ordinary_text_alone(text: str) -> None:
    assert visible(text) == text


def talk(*lines: bytes | dict[str, Any]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "patina.mcp.demo_server"],
        input=b"".join(
            line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines
        ),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == b""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_demo_server_speaks_the_protocol_and_survives_nonsense() -> None:
    ask: dict[str, Any] = {"jsonrpc": "2.0"}
    words = {"name": "word_count", "arguments": {"text": "a b  c"}}
    half = {"name": "add", "arguments": {"a": 1}}
    version = {"protocolVersion": "2025-06-18"}
    answers = talk(
        ask | {"id": 1, "method": "initialize", "params": version},
        ask | {"method": "notifications/initialized"},
        ask | {"id": "two", "method": "tools/list"},
        b"rubbish\n",
        b"[" * 100_000 + b"\n",
        b"[]\n",
        ask | {"id": 3, "method": "server/discover"},
        ask | {"id": 4, "method": "tools/call", "params": {"name": "nothing"}},
        ask | {"id": 5, "method": "tools/call", "params": half},
        ask
        | {
            "id": 6,
            "method": "tools/call",
            "params": words,
        },
        ask | {"id": 7, "method": "tools/call", "params": 5},
        ask | {"id": 8, "method": "ping"},
    )
    by_id = {answer["id"]: answer for answer in answers if answer["id"] is not None}
    assert by_id[1]["result"]["protocolVersion"] == "2025-06-18"
    assert [tool["name"] for tool in by_id["two"]["result"]["tools"]] == [
        "now",
        "add",
        "echo",
        "word_count",
    ]
    assert by_id[3]["error"]["code"] == -32601
    assert by_id[4]["error"]["code"] == -32602
    assert by_id[5]["result"]["isError"]
    assert by_id[6]["result"]["content"] == [{"type": "text", "text": "3"}]
    assert by_id[7]["error"]["code"] == -32600
    assert by_id[8]["result"] == {}
    assert len([answer for answer in answers if answer["id"] is None]) == 3


@pytest.mark.parametrize(
    ("texts", "structured", "expected"),
    [
        (['{\n "a": [1, "\\u00fc"]}'], {"a": [1, "ü"]}, True),
        (["1", "2"], {"result": [1, 2]}, True),
        (['{"a": 1}', '{"a": 2}'], {"result": [{"a": 1}, {"a": 2}]}, True),
        (["some\nwords"], {"result": "some\nwords"}, True),
        (["Chicago: 3.5 degrees, 1,200 m, sunny: true"], {"t": 3.5, "h": 1200, "s": True}, True),
        (["Nothing to add."], {"more": None, "rows": []}, True),
        (["Found 3 rows."], {"rows": 3, "names": ["Ada"]}, False),
        (["Found 13 rows."], {"rows": 3}, False),
        (["Done."], {"done": False}, False),
        (["x" * 70_000 + " Ada"], {"name": "Ada"}, False),
        ([" ".join(map(str, range(300)))], {"numbers": list(range(300))}, False),
        ([], {"a": 1}, False),
    ],
)
async def test_structured_content_is_lost_to_no_sentence(
    texts: list[str], structured: dict[str, Any], expected: bool
) -> None:
    parts, _ = await parts_of(
        *({"type": "text", "text": one} for one in texts), structured=structured
    )
    told = tuple(Text(one) for one in texts)
    assert parts[: len(told)] == told
    rest = [json.loads(part.text) for part in parts[len(told) :] if isinstance(part, Text)]
    assert rest == ([] if expected else [structured])


async def test_bytes_of_a_resource_do_not_stand_in_words_too() -> None:
    resource = {"uri": "demo://a.png", "blob": inprocess.PIXEL, "mimeType": "image/png"}
    parts, _ = await parts_of(
        {"type": "resource", "resource": resource}, structured={"shot": inprocess.PIXEL}
    )
    assert parts[2] == Text('{"shot":"[the bytes beside it]"}')


def test_one_wrong_block_costs_no_other() -> None:
    fine = {"type": "text", "text": "fine"}
    content: list[object] = [fine, {"type": "smell", "data": "x"}, {"type": "text"}, 7]
    told = readable({"content": content, "structuredContent": [1], "isError": True}, modern=False)
    texts = ['{"type":"smell","data":"x"}', '{"type":"text"}', "7", "[1]"]
    assert told == {
        "content": [fine, *({"type": "text", "text": text} for text in texts)],
        "isError": True,
    }
    newer = {"content": [fine], "structuredContent": [1]}
    assert readable(newer, modern=True) == newer
    assert readable({"content": "none"}, modern=False) == {"content": "none"}


@given(
    st.text(st.characters(min_codepoint=0xD700, max_codepoint=0xE010) | st.sampled_from('\\u"d😀'))
)
def test_half_a_pair_of_surrogates_costs_no_other_character(text: str) -> None:
    """JavaScript writes what it cut in two as an escape, which is JSON and no Unicode."""
    line = json.dumps({"jsonrpc": "2.0", "method": text}).encode()
    message = decode(line)
    assert message is not None
    whole = json.loads(json.dumps(text))  # halves that meet are a pair
    expected = "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in whole)
    assert getattr(message.message, "method", None) == expected


@pytest.mark.parametrize(
    ("kind", "action", "longer"),
    [("url", "accept", True), ("url", "decline", False), ("form", "accept", False)],
)
async def test_a_visit_to_a_page_has_time(kind: Any, action: Any, longer: bool) -> None:
    patience = Patience(Person(Answered(action=action)), 5)
    await patience.ask(Asked(kind=kind, text="", url="https://example.org"))
    patience.progress(1, None, "")
    left = patience.scope.deadline - anyio.current_time()
    assert left == pytest.approx(VISIT_SECONDS if longer else 5, abs=2)
