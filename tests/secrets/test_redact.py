"""No form of a secret gets through the mask, and little else is lost."""

import base64
import json
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.model.masking import MASK
from patina.secrets.redact import MIN_SECRET, Redactor

CANARY = 'cÄn"ary+/=&\\ 7\u20ac'
FORMS = {
    "plain": CANARY,
    "repr": repr(CANARY),
    "json": json.dumps(CANARY),
    "json, not ascii": json.dumps(CANARY, ensure_ascii=False),
    "json twice": json.dumps(json.dumps(CANARY)),
    "url": quote(CANARY, safe=""),
    "url path": quote(CANARY),
    "url, small letters": quote(CANARY, safe="").lower().replace("cän", "cän"),
    "form": quote_plus(CANARY),
    "base64": base64.b64encode(CANARY.encode()).decode(),
    "base64 for urls": base64.urlsafe_b64encode(CANARY.encode()).decode(),
    "basic": base64.b64encode(f"user:{CANARY}".encode()).decode(),
    "basic, shifted": base64.b64encode(f"me:{CANARY}x".encode()).decode(),
    "basic, shifted again": base64.b64encode(f"you:{CANARY}xx".encode()).decode(),
}
PARTS = ("ary", "canary", quote("Än"), base64.b64encode(CANARY.encode())[4:12].decode())


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_is_masked(form: str) -> None:
    redacted = Redactor([CANARY])(f"before {form} after")
    assert redacted.startswith("before ")
    assert redacted.endswith(" after")
    assert MASK in redacted
    assert not any(part in redacted for part in PARTS)


@given(
    st.text(min_size=MIN_SECRET, max_size=40).filter(lambda text: "*" not in text),
    st.text(max_size=20),
    st.text(max_size=20),
    st.sampled_from([lambda text: text, json.dumps, repr, quote_plus]),
)
def test_no_secret_survives(secret: str, before: str, after: str, write: object) -> None:
    assert callable(write)
    secret = secret.encode("utf-8", "replace").decode()
    assert secret not in Redactor([secret])(write(f"{before}{secret}{after}"))


def test_secrets_learned_later_and_lines_of_long_keys() -> None:
    redactor = Redactor()
    assert redactor("my-secret-value") == "my-secret-value"
    redactor.add("my-secret-value")
    redactor.add("-----BEGIN KEY-----\nMIIabcdefghijk\n-----END KEY-----")
    assert redactor("my-secret-value") == MASK
    assert "MIIabcdefghijk" not in redactor("a line MIIabcdefghijk of it")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("key sk-proj-abcDEF0123456789 here", f"key {MASK} here"),
        ("sk-ant-api03-aaaaaaaaaaaaaaaaaa", MASK),
        ("ghp_0123456789abcdefABCDEF", MASK),
        ("github_pat_0123456789abcdefABCDEF", MASK),
        ("hf_0123456789abcdefABCDEF", MASK),
        ("AIzaSyA0123456789abcdefghijklmnopqrstuv", MASK),
        ("xoxb-123456789012-abcdef", MASK),
        ("eyJhbGciOiJIUzI1.eyJzdWIiOiIx.c2lnbmF0dXJl", MASK),
        ("Authorization: Bearer abc.def-123", f"Authorization: Bearer {MASK}"),
        ("authorization: Basic dXNlcjpwYXNz", f"authorization: Basic {MASK}"),
        ('{"x-api-key": "abcdef123456"}', f'{{"x-api-key": "{MASK}"}}'),
        (r"{\"api_key\": \"abcdef123456\"}", rf"{{\"api_key\": \"{MASK}\"}}"),
        ("https://h/v?api-key=abcdef123456&x=1", f"https://h/v?api-key={MASK}&x=1"),
        ("OPENAI_API_KEY=abcdef123456", f"OPENAI_API_KEY={MASK}"),
        ("http://user:hunter22@proxy:1", f"http://user:{MASK}@proxy:1"),
        ("password = 'hunter22'", f"password = '{MASK}'"),
    ],
)
def test_what_looks_secret_is_masked(text: str, left: str) -> None:
    assert Redactor()(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "the key is missing: set OPENAI_API_KEY",
        "token: 12",
        "task-list, risk-averse, desk-top-computers-are-fine",
        "max_tokens: 8192000",
        "https://host:8080/path?x=1",
        "a secret: never tell",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert Redactor(["abc"])(text) == text


def test_it_is_fast() -> None:
    redactor = Redactor(f"secret-number-{number}" for number in range(20))
    line = '{"ts":"2026-11-21T21:36:44.666Z","level":"info","msg":"turn ended","data":{"n":1}}' * 3
    redactor(line)
    began = time.process_time()
    for _ in range(200):
        redactor(line)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "piece",
    ["a-", "a_", "api-", "token", "://a:", "bearer ", "-eyJabcdefgh", "eyJabcdefgh.", "sk-", "= '"],
)
def test_hostile_text_takes_no_square_of_its_length(piece: str) -> None:
    redactor = Redactor()
    redactor("")
    text = (piece * 100_000)[:100_000]
    began = time.process_time()
    redactor(text)
    assert time.process_time() - began < 2  # it was a minute


def test_a_reference_to_a_secret_is_none() -> None:
    redactor = Redactor()
    for text in (
        "--env MY_TOKEN=secret:server/MY_TOKEN",
        'GITHUB_TOKEN = "secret:github/GITHUB_TOKEN"',
        "Authorization=Bearer secret:server",
        "token=keyfile:~/.token_of_mine",
    ):
        assert redactor(text) == text
    assert redactor("token=secret-0123456789") == "token=***"
    assert redactor("A=secret:sk-0123456789abcdef") == "A=secret:***"
    assert redactor("the secret:0123456789 of yours") == "the secret:*** of yours"
    assert Redactor(["server/MY"])("A=secret:server/MY") == "A=secret:***"
