"""The way through the browser, and back."""

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.mcp.auth.strangers import ISSUER, SERVER

from patina.mcp.auth.authorization import CUSTOM_REDIRECT, Pending, begin, code_of, verdict
from patina.mcp.auth.failing import DENIED, SignInFault
from patina.mcp.auth.shapes import AuthServer, Client

LOOPBACK = "http://127.0.0.1:5000/oauth/callback"
CLIENT = Client(client_id="my client", issuer=ISSUER)
RESOURCE = "https://mcp.example/mcp"


def begun(
    server: AuthServer = SERVER, redirect: str = LOOPBACK, scope: str = "", **more: Any
) -> Pending:
    return begin(server, CLIENT, redirect_uri=redirect, resource=RESOURCE, scope=scope, **more)


def came(pending: Pending, **fields: str | None) -> str:
    given = {"code": "abc", "state": pending.state, **fields}
    kept = {name: value for name, value in given.items() if value is not None}
    return f"{pending.redirect_uri}?{urlencode(kept)}"


def refused(pending: Pending, address: str) -> SignInFault:
    with pytest.raises(SignInFault) as caught:
        code_of(pending, address)
    assert caught.value.step == "callback"
    return caught.value


#
def test_the_page_to_sign_in_on() -> None:
    pending = begun(redirect=CUSTOM_REDIRECT, scope="repo,read:org")
    query = parse_qs(urlsplit(pending.url).query, strict_parsing=True)
    assert pending.url.startswith(f"{ISSUER}/authorize?")
    challenge = urlsafe_b64encode(sha256(pending.verifier.encode()).digest()).rstrip(b"=").decode()
    assert query == {
        "response_type": ["code"],
        "client_id": ["my client"],
        "redirect_uri": ["patina://oauth/callback"],
        "scope": ["repo,read:org"],
        "state": [pending.state],
        "code_challenge": [challenge],
        "code_challenge_method": ["S256"],
        "resource": [RESOURCE],
    }
    assert "scope=repo,read:org&" in pending.url
    assert len(pending.state) == 32
    assert 43 <= len(pending.verifier) <= 128


#
def test_no_state_and_no_verifier_is_there_twice() -> None:
    made = [begun() for _ in range(200)]
    assert len({pending.state for pending in made}) == 200
    assert len({pending.verifier for pending in made}) == 200
    assert {len(pending.state) for pending in made} == {32}


def test_what_is_left_out_and_what_is_added() -> None:
    assert "scope=" not in begun().url
    assert "prompt=" not in begun(scope="a").url
    assert "prompt=consent" in begun(scope="a offline_access").url
    assert "audience=x%20y" in begun(extra={"audience": "x y"}).url
    server = replace(
        SERVER, authorization_endpoint=f"{ISSUER}/a?access_type=offline&prompt=consent"
    )
    url = begun(server, scope="offline_access").url
    assert url.startswith(f"{ISSUER}/a?access_type=offline&prompt=consent&response_type=code&")
    assert url.count("prompt") == 1
    assert (
        "resource=" not in begin(SERVER, CLIENT, redirect_uri=LOOPBACK, resource="", scope="").url
    )


@pytest.mark.parametrize(
    "server",
    [
        replace(SERVER, authorization_endpoint=""),
        replace(SERVER, authorization_endpoint="javascript:alert(1)"),
        replace(SERVER, authorization_endpoint="http://as.example/a"),
        replace(SERVER, authorization_endpoint="http://127.0.0.1/a"),
        replace(SERVER, authorization_endpoint=f"{ISSUER}/a#x"),
        replace(SERVER, authorization_endpoint=f"{ISSUER}/a?redirect_uri=https://evil.example"),
        replace(SERVER, authorization_endpoint=f"{ISSUER}/a?state="),
        replace(SERVER, challenges=()),
        replace(SERVER, challenges=("plain",)),
    ],
)
def test_nobody_is_sent_to_a_page_that_is_not_safe(server: AuthServer) -> None:
    with pytest.raises(SignInFault):
        begun(server)


def test_a_server_without_metadata_gets_a_challenge_all_the_same() -> None:
    server = replace(SERVER, challenges=(), assumed=True)
    assert "code_challenge_method=S256" in begun(server).url


# --- what comes back ---


#
@pytest.mark.parametrize("redirect", [LOOPBACK, CUSTOM_REDIRECT])
def test_the_code_of_an_answer(redirect: str) -> None:
    pending = begun(redirect=redirect)
    assert code_of(pending, came(pending, code="a/b+c d")) == "a/b+c d"


#
def test_access_denied() -> None:
    pending = begun()
    fault = refused(pending, came(pending, code=None, error="access_denied", error_description="x"))
    assert str(fault) == "Authorization denied."
    assert fault.failure.code == DENIED
    assert fault.error == "access_denied"


#
@pytest.mark.parametrize("state", [None, "", "x" * 32, "é"])
def test_a_state_of_somebody_else_is_refused(state: str | None) -> None:
    pending = begun()
    assert "state" in str(refused(pending, came(pending, state=state)))
    assert "state" in str(refused(pending, came(pending, state=state, error="access_denied")))
    # It was not the answer, so the answer may still come.
    assert code_of(pending, came(pending)) == "abc"


def test_an_answer_counts_once() -> None:
    pending = begun()
    assert code_of(pending, came(pending)) == "abc"
    assert "answered already" in str(refused(pending, came(pending)))
    assert "answered already" in str(refused(pending, came(pending, code="other")))
    denied = begun()
    refused(denied, came(denied, error="access_denied"))
    assert "answered already" in str(refused(denied, came(denied)))


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:5001/oauth/callback?",
        "http://localhost:5000/oauth/callback?",
        "https://127.0.0.1:5000/oauth/callback?",
        "http://127.0.0.1:5000/oauth/callback/?",
        "http://127.0.0.1:5000/oauth/Callback?",
        "http://127.0.0.1:5000/oauth/callback/../callback?",
        "http://x@127.0.0.1:5000/oauth/callback?",
        "http://127.0.0.1:5000?",
        "patina://oauth/callback?",
        "?",
        "",
    ],
)
def test_an_answer_elsewhere_is_none(address: str) -> None:
    pending = begun()
    fault = refused(pending, f"{address}code=abc&state={pending.state}")
    assert "Paste the whole address" in fault.failure.hint
    assert not pending.used


def test_an_answer_that_somebody_pasted() -> None:
    pending = begun()
    address = came(pending) + "#_=_"
    assert code_of(pending, f"  {address[:40]}\n{address[40:]}\r\n") == "abc"


@pytest.mark.parametrize("name", ["code", "state", "error", "iss"])
def test_nothing_is_said_twice(name: str) -> None:
    pending = begun()
    address = came(pending, error="access_denied", iss=ISSUER)
    assert "twice" in str(refused(pending, f"{address}&{name}=x"))


@pytest.mark.parametrize("code", [None, "", "a\nb", "é", "\x00"])
def test_an_answer_without_a_code(code: str | None) -> None:
    pending = begun()
    assert "no code" in str(refused(pending, came(pending, code=code)))


def test_an_answer_of_no_end() -> None:
    pending = begun()
    assert "too long" in str(refused(pending, came(pending, code="x" * 20_000)))
    many = came(pending) + "&a=b" * 100
    assert "cannot be read" in str(refused(pending, many))


def test_words_of_an_error_are_made_safe() -> None:
    pending = begun()
    words = "\x1b[31m" + "\u202e" + "y" * 4000
    fault = refused(pending, came(pending, error="server\n_error", error_description=words))
    assert "\x1b" not in str(fault)
    assert "\u202e" not in str(fault)
    assert "\n" not in str(fault)
    assert len(str(fault)) < 500


# --- who answered (RFC 9207) ---


def test_an_issuer_that_is_the_one() -> None:
    for promised in (True, False):
        pending = begun(replace(SERVER, iss=promised))
        assert code_of(pending, came(pending, iss=ISSUER)) == "abc"
    silent = begun()
    assert code_of(silent, came(silent)) == "abc"


@pytest.mark.parametrize("promised", [True, False])
@pytest.mark.parametrize(
    "iss", ["https://evil.example", ISSUER + "/", ISSUER.upper(), "https://as.example:443", ""]
)
@pytest.mark.parametrize("error", [None, "access_denied", "server_error"])
def test_an_issuer_that_is_not_the_one(promised: bool, iss: str, error: str | None) -> None:
    pending = begun(replace(SERVER, iss=promised))
    fault = refused(
        pending, came(pending, iss=iss, error=error, error_description="call 555-EVIL now")
    )
    assert "not from" in str(fault)
    assert "EVIL" not in str(fault) + fault.failure.hint
    assert fault.failure.code != DENIED
    assert pending.used


@pytest.mark.parametrize("error", [None, "access_denied"])
def test_an_issuer_that_was_promised_and_is_missing(error: str | None) -> None:
    pending = begun(replace(SERVER, iss=True))
    fault = refused(pending, came(pending, error=error, error_description="EVIL"))
    assert "promised" in str(fault)
    assert "EVIL" not in str(fault)


# --- for the page that is shown ---


def test_a_verdict_uses_nothing_up() -> None:
    pending = begun(replace(SERVER, iss=True))
    good = came(pending, iss=ISSUER)
    assert verdict(pending, good) == "good"
    assert verdict(pending, came(pending)) == "failed"
    assert verdict(pending, came(pending, iss=ISSUER, error="access_denied")) == "failed"
    assert verdict(pending, came(pending, iss=ISSUER, state="x")) == "foreign"
    assert verdict(pending, "https://evil.example") == "foreign"
    assert code_of(pending, good) == "abc"


@given(st.text(max_size=200))
def test_no_answer_is_too_odd(text: str) -> None:
    pending = begun()
    for address in (text, f"{LOOPBACK}?{text}", f"{LOOPBACK}?state={pending.state}&{text}"):
        trial = replace(pending)
        words = ""
        try:
            assert code_of(trial, address)
            assert trial.used
        except SignInFault as fault:
            words = str(fault)
        assert words.isprintable()


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80))
def test_every_code_comes_back_whole(code: str) -> None:
    pending = begun()
    address = f"{LOOPBACK}?state={pending.state}&code={quote(code, safe='')}"
    assert code_of(pending, address) == code
