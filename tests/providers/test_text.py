"""Surrogate halves, and foreign words in messages."""

import re

from hypothesis import given
from hypothesis import strategies as st

from patina.providers.text import SurrogateJoiner, words

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)
HALVES = st.sampled_from(["\ud83d", "\ude00", "a", "é", "😀", "\udbff", "\udc00"])


def joined(pieces: list[str]) -> str:
    joiner = SurrogateJoiner()
    return "".join([*(joiner.feed(piece) for piece in pieces), joiner.flush()])


def reference(text: str) -> str:
    """Pairs become their character, lone halves U+FFFD."""

    def pair(match: re.Match[str]) -> str:
        high, low = (ord(half) for half in match.group())
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))

    text = re.sub("[\ud800-\udbff][\udc00-\udfff]", pair, text)
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def test_an_emoji_in_two_deltas() -> None:
    joiner = SurrogateJoiner()
    assert joiner.feed("hi \ud83d") == "hi "
    assert joiner.feed("\ude00!") == "😀!"
    assert joiner.flush() == ""


def test_a_half_that_stays_alone() -> None:
    assert joined(["\ud83d"]) == "\ufffd"
    assert joined(["\ud83d", "x"]) == "\ufffdx"
    assert joined(["\ude00"]) == "\ufffd"
    assert joined(["\ud83d", "\ud83d", "\ude00"]) == "\ufffd😀"
    assert joined(["\ud83d", "", "\ude00"]) == "😀"


@given(st.lists(st.one_of(HALVES, ANY_TEXT), max_size=10))
def test_joining_does_not_depend_on_the_split(pieces: list[str]) -> None:
    text = joined(pieces)
    assert text == reference("".join(pieces))
    text.encode()


def test_words_are_one_harmless_line() -> None:
    assert words("a\x1b[31m b\n\n\tc\u202e d\u200b\x00") == "a [31m b c d"
    assert words("é 한 😀") == "é 한 😀"


def test_words_do_not_hold_secrets() -> None:
    assert words("bad key abc123!", ("abc123",)) == "bad key [key]!"
    assert words("bad key", ("",)) == "bad key"


def test_words_are_short() -> None:
    assert words("x" * 1000) == "x" * 299 + "…"
    assert len(words("y " * 1_000_000)) <= 300
