"""The sign-in to a server as view state, in the same words in every front end (A-51 to A-55)."""

from typing import Final, Literal

from msgspec import Struct

from patina.model.sign_in import SignIn
from patina.views.terminal_text import safe_line

WAITING: Final = "Waiting for authorization..."
DENIED: Final = "Authorization denied"
GIVEN_SECONDS: Final = 120.0  # to a person, where the sign-in does not say it
Mark = Literal["done", "now", "failed", "waiting"]
_LONGEST_NAME: Final = 80
_LONGEST_MESSAGE: Final = 500
_PROVIDERS: Final = {"github": "GitHub", "google": "Google"}
# The steps of `mcp.auth.failing`, as what was being done.
_DOING: Final = {
    "discovery": "finding the sign-in server",
    "registration": "registering with the sign-in server",
    "authorization": "asking for authorization",
    "callback": "reading the answer of the browser",
    "token": "exchanging the code",
    "refresh": "renewing the sign-in",
}
# What is shown as a step, and the names of it.
_STEPS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Found the sign-in server", ("discovery",)),
    ("Registered", ("registration",)),
    ("Waiting for the browser", ("authorization", "callback")),
    ("Exchanged the code", ("token",)),
    ("Connected", ("refresh",)),
)
_BROWSER: Final = 2


class SignInStep(Struct, frozen=True):
    """One step of a sign-in. `reason` says why it failed, "" elsewhere."""

    text: str
    mark: Mark
    reason: str = ""


class SignInView(Struct, frozen=True, kw_only=True):
    """The sign-in to one server as it is shown. `text` is its status, `button` what can be done
    ("" nothing).

    `busy`: a person is waited for, a spinner is shown and the button cannot be pressed. `retry`: it
    failed, and a button offers to try again. `steps` are all of them, in their order; () where
    nobody can sign in, or nobody has begun to.
    """

    text: str
    button: str = ""
    busy: bool = False
    retry: bool = False
    steps: tuple[SignInStep, ...] = ()


def sign_in_view(sign_in: SignIn) -> SignInView:
    """Return how `sign_in` is shown. Text of servers is made harmless and short."""
    if sign_in.state == "none":
        return SignInView(text="No sign-in needed")
    provider = provider_name(sign_in)
    authorize = f"Authorize with {provider}"
    if sign_in.state == "disconnected":
        return SignInView(text="Not connected", button=authorize)
    steps = _steps(sign_in)
    if sign_in.state == "authorizing":
        return SignInView(text=WAITING, button=authorize, busy=True, steps=steps)
    if sign_in.state == "connected":
        account = _short(sign_in.account, _LONGEST_NAME)
        text = f"Connected as {account}" if account else "Connected"
        return SignInView(text=text, button=f"Reauthorize with {provider}", steps=steps)
    return SignInView(text=_failed_text(sign_in), button=authorize, retry=True, steps=steps)


def sign_in_words(sign_in: SignIn) -> str:
    """Return the sign-in in a few words for a list of servers; "" where nobody can sign in."""
    if sign_in.state == "none":
        return ""
    if sign_in.state == "disconnected":
        return "sign in needed"
    if sign_in.state == "connected":
        account = _short(sign_in.account, _LONGEST_NAME)
        return f"signed in as {account}" if account else "signed in"
    return sign_in_view(sign_in).text


def provider_name(sign_in: SignIn) -> str:
    """Return who signs people in: by name, else the host of its pages, else the server."""
    known = _PROVIDERS.get(sign_in.provider, sign_in.provider)
    return _short(known or sign_in.host or sign_in.server, _LONGEST_NAME)


def time_in_words(seconds: float) -> str:
    """Return a span of time: "2 minutes", "90 seconds"."""
    if seconds >= 60 and seconds % 60 == 0:
        number, unit = seconds / 60, "minute"
    else:
        number, unit = seconds, "second"
    return f"{number:g} {unit}" if number == 1 else f"{number:g} {unit}s"


def _failed_text(sign_in: SignIn) -> str:
    if sign_in.state == "denied":
        return f"Error: {DENIED}"
    if sign_in.state == "timeout":
        given = time_in_words(sign_in.until or GIVEN_SECONDS)
        return f"Authorization timed out after {given}"
    message = _short(sign_in.message, _LONGEST_MESSAGE) or "it failed"
    doing = _DOING.get(sign_in.step, "")
    return f"Error: {doing}: {message}" if doing else f"Error: {message}"


def _steps(sign_in: SignIn) -> tuple[SignInStep, ...]:
    """Return the steps; those before the one that is named, or that waits, are done."""
    if sign_in.state == "connected":
        return tuple(SignInStep(text, "done") for text, _ in _STEPS)
    place = next((n for n, (_, names) in enumerate(_STEPS) if sign_in.step in names), -1)
    if sign_in.state == "authorizing":
        mark: Mark = "now"
        place = max(place, _BROWSER if sign_in.url else 0)
        reason = ""
    else:
        mark = "failed"
        place = place if place >= 0 else _BROWSER
        # A refusal and a time-out say it all themselves.
        reason = _short(sign_in.message, _LONGEST_MESSAGE) or _failed_text(sign_in)
    before = [SignInStep(text, "done") for text, _ in _STEPS[:place]]
    after = [SignInStep(text, "waiting") for text, _ in _STEPS[place + 1 :]]
    return (*before, SignInStep(_STEPS[place][0], mark, reason), *after)


def _short(text: str, most: int) -> str:
    line = safe_line(text)
    return line if len(line) <= most else f"{line[: most - 1]}…"
