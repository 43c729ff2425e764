"""Events of a Cohere answer to ours. The bytes are after the streams in its documentation."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.providers.cohere import wire
from tests.providers.cohere.wire import block, citation, end, event, message, plan, start, tool_call
from tests.providers.endpoint import Told, endpoint_of, fold

from patina.model.chat import StreamEvent, TextDelta, ThinkingDelta
from patina.model.parts import Citation
from patina.model.usage import Usage
from patina.providers.cohere.names import legal_name, renamed
from patina.providers.cohere.stream import CohereReader, usage_of
from patina.providers.trouble import TransportError

MODEL = "command-a-plus-05-2026"


def events_of(*pieces: bytes, cut: bool = False, tools: tuple[str, ...] = ()) -> list[StreamEvent]:
    """What a reader gives out for `pieces`, each one read from the network."""
    endpoint = endpoint_of("http://127.0.0.1:1", "cohere")
    reader = CohereReader(endpoint, MODEL, renamed(tools))
    events: list[StreamEvent] = []
    for piece in pieces:
        events.extend(reader.feed(piece))
        if reader.ended:
            break
    events.extend(reader.lose(TransportError("cut", "lost")) if cut else reader.finish())
    return events


def read(*pieces: bytes, cut: bool = False, tools: tuple[str, ...] = ()) -> Told:
    return fold(events_of(*pieces, cut=cut, tools=tools))


CITED = [
    start(),
    *block(0, "text", "It is currently ", "24°C in Madrid.")[:3],
    *citation(
        0,
        start=16,
        end=20,
        text="24°C",
        sources=[
            {
                "type": "tool",
                "id": "get_weather_m3kdvxncg1p8:0",
                "tool_output": {"temperature": '{"madrid":"24°C"}'},
            },
            {
                "type": "document",
                "id": "doc:1",
                "document": {"id": "doc:1", "title": "Weather", "text": "24°C", "url": "https://w"},
            },
        ],
        type="TEXT_CONTENT",
    ),
    event("content-end", index=0),
    end(),
]
ANSWERS = {
    "text": wire.text("Hel", "lo wörld 😀 \u2028", "end"),
    "thinking": wire.thinking_then_text(),
    "call": wire.call("search", '{"q": "é😀"}', "call_1"),
    "calls": wire.two_calls(),
    "citations": CITED,
}


def told(*pieces: bytes) -> tuple[object, ...]:
    """What was said, however many deltas it came in."""
    one = read(*pieces)
    return one.text, one.thinking, one.calls, one.end


@pytest.mark.parametrize("name", ANSWERS)
def test_any_split_gives_the_same_answer(name: str) -> None:
    data = b"".join(ANSWERS[name])
    expected = told(data)
    assert read(data).finished.raw_reason
    for at in range(len(data) + 1):
        assert told(data[:at], data[at:]) == expected, at
    assert told(*(data[i : i + 1] for i in range(len(data)))) == expected


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_cut_at_any_byte_is_cut(name: str) -> None:
    data = b"".join(ANSWERS[name])
    whole = read(data)
    for at in range(len(data) - 1):
        cut = read(data[:at], cut=True)
        assert cut.failure.kind == "cut", at
        assert whole.text.startswith(cut.text)
        assert whole.thinking.startswith(cut.thinking)


def test_a_text_and_its_usage() -> None:
    told = read(*ANSWERS["text"])
    assert told.text == "Hello wörld 😀 \u2028end"
    assert (told.finished.reason, told.finished.raw_reason) == ("stop", "COMPLETE")
    assert told.finished.usage == Usage(37, 28)
    assert read(*wire.text("a", usage=False)).finished.usage is None


def test_text_of_one_read_is_one_delta() -> None:
    events = events_of(b"".join(wire.text("a", "b", "c")))
    assert events[0] == TextDelta("abc", 0)


def test_thinking_and_text_are_parts_of_their_own() -> None:
    events = events_of(b"".join(ANSWERS["thinking"]))
    assert events[:3] == [
        ThinkingDelta("", 0, opaque="cohere:thinking"),
        ThinkingDelta("Let me see.", 0),
        TextDelta("It is 42.", 1),
    ]


def test_calls_and_the_plan_that_led_to_them() -> None:
    events = events_of(b"".join(ANSWERS["calls"]))
    assert events[0] == ThinkingDelta("", 0, opaque="cohere:plan")
    told = fold(events)
    assert told.thinking == "I look."
    assert told.calls == [
        ("search", "search_a1", '{"query": "téa 🍵"}'),
        ("read", "read_b2", "{}"),
    ]
    assert (told.finished.reason, told.finished.raw_reason) == ("tool_calls", "TOOL_CALL")


def test_a_plan_thinking_and_text_before_a_call() -> None:
    told = read(
        start(),
        *block(0, "thinking", "hm"),
        *plan("I look. "),
        *block(1, "text", "Wait."),
        *tool_call(0, "t", "c", "{}"),
        end("TOOL_CALL"),
    )
    assert (told.thinking, told.text, told.calls) == ("hmI look. ", "Wait.", [("t", "c", "{}")])


def test_ids_of_our_own_where_there_is_none_or_one_twice() -> None:
    told = read(
        *tool_call(0, "t", "", "{}"),
        *tool_call(1, "u", "a", "{}"),
        *tool_call(2, "v", "a", "{}"),
        end("TOOL_CALL"),
    )
    assert [name for name, _, _ in told.calls] == ["t", "u", "v"]
    assert len({identifier for _, identifier, _ in told.calls}) == 3
    assert all(identifier for _, identifier, _ in told.calls)


def test_names_that_cohere_does_not_take_come_back_as_they_were() -> None:
    #
    tools = ("my-server__read-it", "9lives__x", "plain__tool")
    names = [legal_name(tool) for tool in tools]
    assert all(name.isidentifier() and name.isascii() for name in names)
    assert names[2] == "plain__tool"
    assert len(set(map(legal_name, ("a-b", "a_b", "a.b")))) == 3
    pieces = [piece for i, n in enumerate(names) for piece in tool_call(i, n, f"c{i}", "{}")]
    told = read(*pieces, end("TOOL_CALL"), tools=tools)
    assert [name for name, _, _ in told.calls] == list(tools)


def test_citations_name_their_sources() -> None:
    events = events_of(*CITED)
    (cited,) = [e for e in events if isinstance(e, TextDelta) and e.citations]
    assert cited == TextDelta(
        "",
        0,
        (
            Citation("", "get_weather_m3kdvxncg1p8:0", '{"madrid":"24°C"}', 16, 20),
            Citation("https://w", "Weather", "24°C", 16, 20),
        ),
    )
    assert fold(events).text == "It is currently 24°C in Madrid."


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "PLAN", "sources": [{"id": "a"}]},
        {"type": "THINKING_CONTENT", "sources": [{"id": "a"}]},
        {"sources": []},
        {"sources": None},
        {"sources": "x"},
        {"sources": [3, None, {}]},
        {"content_index": 7, "sources": [{"id": "a"}]},
    ],
)
def test_citations_of_nothing_are_left_out(fields: dict[str, Any]) -> None:
    events = events_of(*wire.text("a")[:3], *citation(0, start=0, end=1, **fields), end())
    assert not [e for e in events if isinstance(e, TextDelta) and e.citations]
    assert fold(events).finished.raw_reason == "COMPLETE"


def test_odd_citations_do_no_harm() -> None:
    source = {"id": 5, "document": {"text": 3, "title": None, "x": "long" * 1000}}
    events = events_of(
        *wire.text("a")[:3], *citation(0, start=-1, end=True, sources=[source]), end()
    )
    (found,) = [e.citations for e in events if isinstance(e, TextDelta) and e.citations]
    assert found == (Citation("", "", ("long" * 1000)[:1000]),)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("NEW", "stop"),
        ("", "stop"),
    ],
)
def test_reasons(said: str, reason: str) -> None:
    finished = read(*wire.text("a")[:-1], end(said)).finished
    assert (finished.reason, finished.raw_reason) == (reason, said)


@pytest.mark.parametrize(
    ("last", "kind", "words"),
    [
        (end("ERROR", error="internal server error"), "server", "internal server error"),
        (end("ERROR"), "server", ""),
        (end("TIMEOUT"), "timeout", ""),
        (end("ERROR_LIMIT"), "context_too_long", ""),
        (end("COMPLETE", error="it broke"), "server", "it broke"),
        (event("error", message="overloaded", code=503), "overloaded", "overloaded"),
        (b'data: {"message": "internal server error"}\n\n', "server", "internal server error"),
        (b'event: error\ndata: {"message": "oops"}\n\n', "server", "oops"),
    ],
)
def test_an_error_after_200(last: bytes, kind: str, words: str) -> None:
    told = read(start(), *block(0, "text", "part")[:2], last, end())
    assert told.text == "part"
    assert told.failure.kind == kind
    assert words in told.failure.message


def test_what_is_filtered() -> None:
    """A prompt is a failure; of an answer what was said stays."""
    # M-30
    assert read(start(), end("ERROR_TOXIC")).failure.kind == "content_filter"
    finished = read(start(), *block(0, "text", "part")[:2], end("ERROR_TOXIC")).finished
    assert (finished.reason, finished.raw_reason) == ("content_filter", "ERROR_TOXIC")


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ({"tokens": {"input_tokens": 5.0, "output_tokens": 2}}, Usage(5, 2)),
        ({"billed_units": {"input_tokens": 5, "output_tokens": 2}}, Usage(5, 2)),
        ({"tokens": {"input_tokens": 5}, "cached_tokens": 9}, Usage(5, 0, 5)),
        ({"tokens": {"input_tokens": -1, "output_tokens": "x"}}, None),
        ({}, None),
        (None, None),
    ],
)
def test_usage(plain: Any, expected: Usage | None) -> None:
    assert usage_of(plain) == expected


WHOLE: dict[str, Any] = {
    "id": "1",
    "finish_reason": "TOOL_CALL",
    "message": {
        "role": "assistant",
        "tool_plan": "I look.",
        "content": [
            {"type": "thinking", "thinking": "hm"},
            {"type": "text", "text": "hello"},
        ],
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "t", "arguments": "{}"}}
        ],
        "citations": [{"start": 0, "end": 1, "sources": [{"id": "d"}], "content_index": 1}],
    },
    "usage": wire.USAGE,
}


def test_an_answer_that_was_not_streamed() -> None:
    body = json.dumps(WHOLE, indent=1).encode()
    for pieces in ([body], [b"\n ", body[:9], body[9:]]):
        told = read(*pieces)
        assert (told.text, told.thinking) == ("hello", "I look.hm")
        assert told.calls == [("t", "c", "{}")]
        assert told.finished.usage == Usage(37, 28)
    assert read(body[:-5]).failure.kind == "server"
    assert read(b'{"message": "model \'x\' not found"}').failure.kind == "model_not_found"
    assert read(b'{"hello": "there"}').failure.kind == "server"


def test_a_body_without_an_end_is_cut() -> None:
    for told in (
        read(*wire.text("part")[:-1]),
        read(*wire.text("part")[:-1], b"data: [DONE]\n\n"),
        read(*wire.text("part")[:-1], cut=True),
        read(),
    ):
        assert told.failure.kind == "cut"


def test_what_follows_the_end_is_ignored() -> None:
    told = read(*wire.text("a"), b"data: [DONE]\n\n" + wire.text("b")[2] + b"data: {")
    assert told.text == "a"
    assert read(b"".join(wire.text("a")) + b"data: [DONE]\n\n").finished.reason == "stop"


def test_an_emoji_split_over_two_events() -> None:
    for key in (b"text", b"thinking"):
        halves = [
            b'data: {"type":"content-delta","delta":{"message":{"content":{"%b":"%b"}}}}\n\n'
            % (key, half)
            for half in (b"\\ud83d", b"\\ude00")
        ]
        told = read(*halves, end())
        assert told.text + told.thinking == "😀"


@pytest.mark.parametrize(
    "value", ["NaN", "1e999", "1" * 5000, "[" * 50 + "]" * 50, '"\\ud800"', "{}", "true"]
)
def test_odd_values_do_no_harm(value: str) -> None:
    odd = (
        '{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"ok"},'
        '"tool_plan":null,"x":ODD},"usage":ODD,"logprobs":ODD},"id":ODD}'
    ).replace("ODD", value)
    told = read(f"data: {odd}\n\n".encode(), end())
    assert told.text == "ok"


def test_events_of_other_shapes_are_ignored() -> None:
    odd = [b"data: %b\n\n" % one for one in (b"5", b"null", b"[]", b'"ping"', b"{}")]
    odd += [event("debug", prompt="x"), event("new", delta=5), event("new", delta={"message": 5})]
    odd += [message("tool-call-delta", 3, tool_calls={"function": {"arguments": "x"}})]
    told = read(*odd, *wire.text("a")[:3], *odd, end())
    assert (told.text, told.calls) == ("a", [])


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><html><body>Welcome</body></html>",
        b"Internal proxy error",
        b"\x00\x01\x02\xff\xfe" * 100,
        b"data: Welcome\n\n",
        b"data: {oops}\n\n",
    ],
)
def test_rubbish_is_one_clear_sentence(body: bytes) -> None:
    failure = read(body).failure
    assert failure.kind == "server"
    assert failure.message.startswith("Cohere sent something that is not an answer")
    assert failure.message.isprintable()


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    told = read(f'data: {{"type":"content-delta","delta":{deep}}}\n\n'.encode())
    assert told.failure.kind in {"server", "cut"}


JSON_EVENTS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "delta", "message", "content", "text", "thinking", "tool_plan"),
                    *("tool_calls", "function", "arguments", "name", "id", "index", "usage"),
                    *("finish_reason", "citations", "sources", "error", "tokens"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
).map(lambda value: b"data: " + json.dumps(value).encode() + b"\n\n")
EVENTS: list[bytes] = [*wire.text("a"), *wire.two_calls(), *CITED, b": x\n", b"\r\n"]


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(EVENTS) | st.binary(max_size=10) | JSON_EVENTS, max_size=12),
    st.booleans(),
)
def test_nothing_makes_a_reader_raise(pieces: list[bytes], cut: bool) -> None:
    """Exactly one terminal event, whatever the bytes (`fold` checks it), and no lone surrogates."""
    told = read(*pieces, cut=cut)
    (told.text + told.thinking + "".join("".join(c) for c in told.calls)).encode()
