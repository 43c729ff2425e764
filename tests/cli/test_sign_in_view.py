"""The states of a sign-in, in the words and with the buttons of every front end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.cli.status_line import progress_text
from patina.model.sign_in import SignIn, SignInState
from patina.views.sign_in import WAITING, SignInView, sign_in_view, sign_in_words, time_in_words

GITHUB = "GitHub"


STATES: tuple[SignInState, ...] = ("connected", "error", "disconnected", "authorizing")


def view(
    state: SignInState,
    *,
    step: str = "",
    message: str = "",
    account: str = "",
    url: str = "",
    until: float = 0.0,
) -> SignInView:
    return sign_in_view(
        SignIn(
            server="github",
            state=state,
            provider=GITHUB,
            step=step,
            message=message,
            account=account,
            url=url,
            until=until,
        )
    )


def marks(shown: SignInView) -> str:
    return " ".join(step.mark for step in shown.steps)


def test_nobody_is_signed_in() -> None:
    shown = view("disconnected")
    assert (shown.text, shown.button) == ("Not connected", "Authorize with GitHub")
    assert not shown.busy
    assert not shown.retry
    assert shown.steps == ()


def test_a_person_is_waited_for() -> None:
    shown = view("authorizing", step="authorization", url="https://github.com/login", until=120)
    assert (shown.text, shown.button) == ("Waiting for authorization...", "Authorize with GitHub")
    assert shown.busy
    assert marks(shown) == "done done now waiting waiting"


@pytest.mark.parametrize(
    ("account", "text"), [("@acoliver", "Connected as @acoliver"), ("", "Connected")]
)
def test_somebody_is_signed_in(account: str, text: str) -> None:
    shown = view("connected", account=account)
    assert (shown.text, shown.button) == (text, "Reauthorize with GitHub")
    assert not shown.busy
    assert marks(shown) == "done done done done done"


def test_the_person_said_no() -> None:
    shown = view("denied", step="callback")
    assert (shown.text, shown.button) == ("Error: Authorization denied", "Authorize with GitHub")
    assert shown.retry
    assert marks(shown) == "done done failed waiting waiting"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "2 minutes"), (120, "2 minutes"), (60, "1 minute"), (90, "90 seconds"), (1, "1 second")],
)
def test_nobody_did_anything(seconds: float, words: str) -> None:
    shown = view("timeout", step="authorization", until=seconds)
    assert shown.text == f"Authorization timed out after {words}"
    assert shown.retry
    assert not shown.busy


@pytest.mark.parametrize(
    ("step", "words", "at"),
    [
        ("discovery", "finding the sign-in server", 0),
        ("registration", "registering with the sign-in server", 1),
        ("authorization", "asking for authorization", 2),
        ("callback", "reading the answer of the browser", 2),
        ("token", "exchanging the code", 3),
        ("refresh", "renewing the sign-in", 4),
    ],
)
def test_the_step_that_failed_is_named(step: str, words: str, at: int) -> None:
    shown = view("error", step=step, message="It did not answer.")
    assert shown.text == f"Error: {words}: It did not answer."
    assert shown.retry
    failed = [place for place, one in enumerate(shown.steps) if one.mark == "failed"]
    assert failed == [at]
    assert shown.steps[at].reason == "It did not answer."


def test_who_signs_people_in() -> None:
    def button(provider: str = "", host: str = "") -> str:
        found = SignIn(server="tracker", state="disconnected", provider=provider, host=host)
        return sign_in_view(found).button

    assert button(provider="google") == "Authorize with Google"
    assert button(provider="login.example.com") == "Authorize with login.example.com"
    assert button(host="login.example.com") == "Authorize with login.example.com"
    assert button() == "Authorize with tracker"


def test_where_nobody_can_sign_in_there_is_no_button() -> None:
    shown = sign_in_view(SignIn(server="files"))
    assert not shown.button
    assert not shown.retry
    assert not sign_in_words(SignIn(server="files"))


def test_the_words_of_a_list() -> None:
    assert sign_in_words(SignIn(server="a", state="disconnected")) == "sign in needed"
    assert sign_in_words(SignIn(server="a", state="connected")) == "signed in"
    words = sign_in_words(SignIn(server="a", state="connected", account="@me"))
    assert words == "signed in as @me"
    assert sign_in_words(SignIn(server="a", state="denied")) == "Error: Authorization denied"


@given(st.text(), st.text(), st.text())
def test_text_of_servers_stays_harmless(account: str, message: str, provider: str) -> None:
    """Whatever a server calls itself or its users, it is one printable line of bounded length."""
    for state in STATES:
        found = SignIn(server="s", state=state, account=account, message=message, provider=provider)
        shown = sign_in_view(found)
        for text in (shown.text, shown.button, *(step.reason for step in shown.steps)):
            assert "\n" not in text
            assert "\x1b" not in text
            assert "\u202e" not in text
            assert len(text) < 700


def test_spans_of_time() -> None:
    assert [time_in_words(span) for span in (2, 0.5, 150, 180)] == [
        *("2 seconds", "0.5 seconds", "150 seconds", "3 minutes")
    ]


def test_a_wait_that_counts_nothing_shows_no_number() -> None:
    assert progress_text("s.t", 0, None, WAITING) == f"s.t: {WAITING}"
    assert progress_text("s.t", 0, 5, "reading") == "s.t 0 of 5 (0%): reading"
    assert progress_text("s.t", 3, None, "reading") == "s.t 3: reading"
