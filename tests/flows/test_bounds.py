"""The most input of a request: true for every tokeniser that works on bytes."""

import json
from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.engine.bounds import IMAGE, PAGE, Counted, most_input
from patina.model.chat import ChatMessage, ChatRequest, ModelInfo, ToolAnswer, ToolSpec
from patina.model.codec import encode_json
from patina.model.parts import File, Image, Text, Thinking, ToolCall, text_of
from patina.model.usage import Usage

BLOB = "0" * 64


def tokens(text: str, merges: Mapping[tuple[bytes, bytes], int]) -> int:
    """What a byte-level tokeniser with these merges makes of a text."""
    pieces = [bytes([byte]) for byte in text.encode()]
    while True:
        pairs = {pair: rank for pair in pairwise(pieces)
                 if (rank := merges.get(pair)) is not None}  # fmt: skip
        if not pairs:
            return len(pieces)
        best = min(pairs, key=lambda pair: pairs[pair])
        merged: list[bytes] = []
        for piece in pieces:
            if merged and (merged[-1], piece) == best:
                merged[-1] += piece
            else:
                merged.append(piece)
        pieces = merged


texts = st.text(st.characters(codec="utf-8"), max_size=200)
pairs = st.tuples(st.binary(min_size=1, max_size=2), st.binary(min_size=1, max_size=2))
vocabularies = st.lists(pairs, max_size=30).map(
    lambda found: {pair: rank for rank, pair in enumerate(found)}
)


def request(*messages: ChatMessage, system: str = "", **more: object) -> ChatRequest:
    return ChatRequest(model="m", messages=messages, system=system, **more)  # type: ignore[arg-type]


def user(text: str) -> ChatMessage:
    return ChatMessage("user", (Text(text),))


@given(st.lists(texts, min_size=1, max_size=5), texts, vocabularies)
def test_no_tokeniser_of_bytes_passes_the_bound(
    said: list[str], system: str, merges: dict[tuple[bytes, bytes], int]
) -> None:
    tool = ToolSpec("github__search", said[0], {"type": "object"})
    call = ToolCall("call_1", "github__search", said[0])
    sent = request(
        *map(user, said),
        ChatMessage("assistant", (Thinking(said[0], "signed"), call)),
        ChatMessage("tool", answers=(ToolAnswer("call_1", "completed", (Text(said[-1]),)),)),
        system=system,
        tools=(tool,),
    )
    words = [*said, system, said[0], "signed", "call_1", "github__search", said[0], said[-1]]
    words.append(encode_json((tool,)).decode())
    # Templates of chats encode calls and results as JSON once more.
    for encoded in (said[0], said[-1]):
        words.remove(encoded)
        words.append(json.dumps(encoded, ensure_ascii=False)[1:-1])
    # Around each message most have four tokens, around the prompt three.
    true = sum(tokens(text, merges) for text in words) + 4 * len(sent.messages) + 3
    assert true <= most_input(sent)


@given(st.lists(texts, min_size=2, max_size=6), st.data(), vocabularies)
def test_nor_where_a_provider_counted_the_beginning(
    said: list[str], data: st.DataObject, merges: dict[tuple[bytes, bytes], int]
) -> None:
    split = data.draw(st.integers(1, len(said) - 1))

    def true(request: ChatRequest) -> int:
        words = (request.system, *(text_of(message.parts) for message in request.messages))
        return sum(tokens(text, merges) for text in words) + 4 * len(request.messages) + 3

    before = request(*map(user, said[:split]), system="Be brief.")
    after = request(*map(user, said), system="Be brief.")
    counted = Counted.of(before, Usage(true(before), 5))
    assert true(after) <= most_input(after, counted)
    assert true(after) <= most_input(after, None, (split, true(before)))


def test_what_was_counted_tightens_the_bound() -> None:
    long = user("word " * 10_000)
    before = request(long)
    after = request(long, ChatMessage("assistant", (Text("yes"),)), user("And?"))
    counted = Counted.of(before, Usage(10_020, 1))
    assert most_input(after) > 50_000
    assert 10_020 < most_input(after, counted) < 10_200
    assert 10_020 < most_input(after, None, (1, 10_020)) < 10_500


@pytest.mark.parametrize(
    "other",
    [
        request(user("something else")),
        request(user("first"), system="Other."),
        request(user("first"), tools=(ToolSpec("t", "", {}),)),
        ChatRequest(model="other", messages=(user("first"),)),
        request(user("first"), schema={"type": "object"}),
    ],
)
def test_a_count_of_another_request_counts_for_nothing(other: ChatRequest) -> None:
    counted = Counted.of(request(user("first")), Usage(1, 1))
    assert most_input(other, counted) == most_input(other)


def test_a_count_before_results_counts_for_that_request_only() -> None:
    answer = ToolAnswer("c", "completed", (Text("result " * 1_000),))
    sent = request(user("hi"), ChatMessage("tool", answers=(answer,)), user("next"))
    assert most_input(sent, None, (2, 10)) == most_input(sent)  # more of it may be told by now


def test_pictures_and_documents_are_taken_for_the_most_that_providers_count() -> None:
    picture = ChatMessage("user", (Image(BLOB, "image/png"),))
    assert IMAGE < most_input(request(picture)) < IMAGE + 500
    assert most_input(ChatRequest(model="gpt-4o-mini", messages=(picture,))) > 48_000
    document = ChatMessage("user", (File(BLOB, "application/pdf", "a.pdf"),))
    two = {BLOB: b"%PDF-1.7 /Type /Page /Type /Page"}
    assert 2 * PAGE < most_input(request(document, blobs=two)) < 2 * PAGE + 500
    unknown = {BLOB: b"%PDF-1.7 all of it is packed"}
    assert most_input(request(document, blobs=unknown)) > 1_000_000
    info = ModelInfo("p", "m", context_window=200_000)
    assert most_input(request(document, blobs=unknown, info=info)) < 201_000
    words = ChatMessage("user", (File(BLOB, "text/plain", "a.txt"),))
    assert 5_000 < most_input(request(words, blobs={BLOB: b"a" * 5_000})) < 5_500
