"""Exact secrets are masked in every form, and nothing else is: code and prose stay whole."""

import base64
import html
import json
import random
import string
import threading
from urllib.parse import quote, quote_plus

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.model.chat import ToolInfo
from patina.model.items import Message
from patina.model.masking import (
    MASK,
    MOST_PASSING,
    Known,
    masked,
    masked_bytes,
    masked_json,
    unmasked,
)
from patina.model.parts import Text, ToolCall
from patina.secrets.redact import Redactor

PEM = f"-----BEGIN KEY-----\n{'QUJDREVGR0hJSktMTU5PUA' * 3}\nc2hvcnRsaW5l\n-----END KEY-----"
SECRETS = {
    "a token": "sk-proj-0123456789abcdef",
    "eight characters": "p4ssw0rd",
    "quotes": 'it\'s "quoted" \\ and <b>&amp; 100%',
    "letters": "schlüssel-日本-0123",
    "several lines": PEM,
}


def wrap(encode: object, secret: str) -> str:
    assert callable(encode)
    return str(encode(secret))


FORMS = {
    "plain": str,
    "repr": lambda text: repr(text)[1:-1],
    "json": json.dumps,
    "json, not ascii": lambda text: json.dumps(text, ensure_ascii=False),
    "json twice": lambda text: json.dumps(json.dumps(text)),
    "url": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "html": html.escape,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "basic": lambda text: base64.b64encode(f"me:{text}".encode()).decode(),
    "url base64": lambda text: base64.urlsafe_b64encode(f"u:{text}!".encode()).decode(),
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("encode", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("shift", range(5))
def test_every_form_wherever_it_stands(encode: object, secret: str, shift: int) -> None:
    known = Redactor([secret]).known
    written = wrap(encode, secret)
    text = known(f"{'.' * shift}{written} after")
    assert secret not in text
    assert MASK in text
    assert text.startswith("." * shift)
    assert text.endswith(" after")
    left = text.replace(MASK, "")
    assert not any(line in left for line in secret.splitlines() if len(line) > 12)


@given(
    st.lists(st.text(min_size=8, max_size=30).filter(Known.masks), min_size=1, max_size=5),
    st.text(max_size=100),
    st.text(max_size=100),
)
def test_no_secret_survives(secrets: list[str], before: str, after: str) -> None:
    known = Known("#")
    for secret in secrets:
        known.add(secret)
    text = known(before + "\0".join(secrets) + after)
    # The mask itself may complete what stands beside it, and is no secret.
    assert not any(secret in text for secret in secrets if "#" not in secret)


@given(st.text(), st.lists(st.text(alphabet="abcdef0123456789", min_size=16, max_size=40)))
def test_other_text_is_the_very_same(text: str, secrets: list[str]) -> None:
    known = Redactor(secrets).known
    if not any(secret in text for secret in secrets):
        assert known(text) is text


@pytest.mark.parametrize(
    "text",
    [
        "api_key = os.environ['OPENAI_API_KEY']  # sk-... goes here",
        "Authorization: Bearer abc.def-1234567890",
        "password = 'hunter2222'",
        "sk-ant-REDACTED",
        "the production database of changeme",
        "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END KEY-----",
    ],
)
def test_what_only_looks_secret_stays(text: str) -> None:
    known = Redactor(["a-secret-of-mine-0123", "production", "Changeme", PEM]).known
    assert known(text) is text


def test_words_that_are_kept_as_secrets_are_masked_but_for_common_ones() -> None:
    redactor = Redactor(["correcthorse"])  # of the environment: a word
    assert redactor.known("a correcthorse") == "a correcthorse"
    for secret in ("correcthorse", "Mydoglikesme", "production", "PASSWORD", "sevenseven"):
        redactor.add_kept(secret)
    assert redactor.known("correcthorse Mydoglikesme sevenseven") == f"{MASK} {MASK} {MASK}"
    assert redactor.known("the password of production") == "the password of production"
    assert redactor("in production") == f"in {MASK}"  # the log is no prose


def test_tokens_that_come_and_go_do_not_pile_up() -> None:
    redactor = Redactor()
    redactor.add_kept("a-secret-that-stays-0123")
    tokens = [f"token-number-{number:06}" for number in range(MOST_PASSING + 10)]
    for token in tokens:
        redactor.add_passing(token)
        redactor.add_passing(tokens[0])  # is in use, and told again whenever the file is read
    assert redactor.known("a-secret-that-stays-0123") == MASK
    masked_ones = [redactor.known(token) == MASK for token in tokens]
    assert masked_ones[0]
    assert masked_ones[-MOST_PASSING + 1 :] == [True] * (MOST_PASSING - 1)
    assert masked_ones.count(True) == MOST_PASSING


def test_space_around_a_secret_and_ends_of_lines_make_no_difference() -> None:
    redactor = Redactor()
    redactor.add_kept(" canary-0123456789\n")
    redactor.add("first secret line\r\nsecond secret line\r\n")
    assert redactor.known("<canary-0123456789>") == f"<{MASK}>"
    for end in ("\n", "\r\n"):
        assert redactor.known(f"first secret line{end}second secret line") == MASK


def test_short_values_stay_in_texts_and_go_from_logs() -> None:
    redactor = Redactor(["s3cret!", "production"])
    assert redactor.known("s3cret! production") == "s3cret! production"
    assert redactor("it is s3cret! in production") == f"it is {MASK} in {MASK}"


def test_neighbours_and_overlaps_are_one() -> None:
    known = Known()
    for secret in ("abcdefgh1234", "1234ijklmnop", "efgh1234ijkl"):
        known.add(secret)
    assert known("x abcdefgh1234ijklmnop y") == f"x {MASK} y"
    assert known("abcdefgh12341234ijklmnop") == MASK


def test_halves_of_characters_are_no_hindrance() -> None:
    known = Known()
    known.add("a-secret-0123")
    assert known("\ud800 a-secret-0123 \udfff") == f"\ud800 {MASK} \udfff"


def test_what_is_learned_late_is_learned_once_and_only_where_it_may_matter() -> None:
    learned: list[str] = []
    redactor = Redactor()

    def learn() -> None:
        learned.append("once")
        redactor.add("late-secret-0123456789")

    redactor.learn_by(learn)
    assert redactor.known("Hello, how are you today? It is 12:30 on 2026-11-22.")
    assert not learned
    assert redactor.known("my late-secret-0123456789") == f"my {MASK}"
    assert redactor.known("again late-secret-0123456789") == f"again {MASK}"
    assert learned == ["once"]


def test_adding_in_another_thread() -> None:
    known = Known()
    secrets = [f"secret-number-{number:04}" for number in range(300)]

    def add() -> None:
        for secret in secrets:
            known.add(secret)

    thread = threading.Thread(target=add)
    thread.start()
    while thread.is_alive():
        known(" ".join(secrets))
    thread.join(10)
    assert set(known(" ".join(secrets)).split()) == {MASK}


def test_structs_are_masked_all_through_and_names_stay() -> None:
    known = Known()
    known.add("a-secret-0123")
    call = ToolCall("a-secret-0123", "a.tool", '{"key": "a-secret-0123"}')
    message = Message(
        id="a-secret-0123",
        ts="",
        role="user",
        parts=(Text("my a-secret-0123"), call),
        sources=("a-secret-0123",),
    )
    found = masked(message, known)
    assert found.id == "a-secret-0123"  # a name that Patina gives
    assert found.parts[0] == Text(f"my {MASK}")
    assert found.parts[1] == ToolCall("a-secret-0123", "a.tool", f'{{"key": "{MASK}"}}')
    assert found.sources == (MASK,)
    plain = Message(id="1", ts="", role="user", parts=(Text("nothing"),))
    assert masked(plain, known) is plain
    assert masked(message, unmasked) is message


def test_json_and_bytes() -> None:
    known = Known()
    known.add("a-secret-0123")
    tool = ToolInfo(
        server="s",
        tool="t",
        alias="s__t",
        display_name="S",
        schema={"properties": {"a-secret-0123": {"enum": ["a-secret-0123", 1]}}},
    )
    found = masked_json((tool,), known)
    assert "a-secret" not in msgspec.json.encode(found).decode()
    assert found[0].schema == {"properties": {MASK: {"enum": [MASK, 1]}}}
    clean = ({"a": [1, None, "b"]},)
    assert masked_json(clean, known) is clean
    assert masked_bytes(b"text a-secret-0123", known) == f"text {MASK}".encode()
    assert masked_bytes(b"\xff\x00a-secret-0123\xfe", known) == b"\xff\x00***\xfe"
    data = bytes(range(256))
    assert masked_bytes(data, known) is data


def test_large_results_are_searched_whole() -> None:
    chance = random.Random(1)
    letters = string.ascii_letters + string.digits
    secrets = ["sk-" + "".join(chance.choices(letters, k=40)) for _ in range(20)]
    text = "".join(chance.choices(letters + "     \n", k=1_000_000))
    known = Redactor(secrets).known
    assert known(text) is text
    places = sorted(chance.sample(range(len(text)), 20))
    for place, secret in zip(reversed(places), secrets, strict=True):
        text = text[:place] + secret + text[place:]
    found = known(text)
    assert found.count(MASK) == 20
    assert not any(secret in found for secret in secrets)
