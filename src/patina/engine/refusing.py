"""Questions of servers that no person is shown: they are declined at once, and told of."""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from patina.model.codec import encode_json
from patina.model.faults import Failure, Fault
from patina.model.pages import page_of
from patina.model.parts import well_formed
from patina.model.questions import Asked

MOST_BYTES: Final = 512 * 1024  # of a question as JSON: it has to stand in one line of a transcript
MOST_TEXT: Final = 10_000  # characters of the server's words


class Refusal(Struct, frozen=True):
    """Why a question is declined: `rule` for the record, `note` for the user."""

    rule: str
    note: Failure


def checked(asked: Asked, server: str) -> Asked | Refusal:
    """Return the question as it may be shown, or why it may not. `server` is its name for people.

    A form must be one, and ask for no secrets; a page must be one of the web, over an encrypted
    line unless it is on this machine, with no name or password in its address.
    """
    asked = replace(asked, text=well_formed(asked.text)[:MOST_TEXT])
    try:
        size = len(encode_json(asked))
    except (ValueError, TypeError, OverflowError, RecursionError):  # no line could hold it
        return _refusal("bad form", f"{server} asked something that is no JSON. It was declined.")
    if size > MOST_BYTES:
        return _refusal("too long", f"{server} asked something too long to be shown.")
    if asked.kind == "form":
        return _checked_form(asked, server)
    return _checked_page(asked, server) if asked.kind == "url" else asked


def _checked_form(asked: Asked, server: str) -> Asked | Refusal:
    from patina.model.forms import asks_for_secret, fields_of

    try:
        fields = fields_of(asked.form)
    except Fault as fault:
        return _refusal("bad form", f"What {server} asked was declined. {fault}")
    if asks_for_secret(fields, asked.text):
        return _refusal(
            "no secrets",
            f"{server} asked for a secret, such as a password or a key, in a form. "
            "It was declined without being shown.",
            "Give a server its secrets in its settings, or on a page of its own.",
        )
    return asked


def _checked_page(asked: Asked, server: str) -> Asked | Refusal:
    try:
        page = page_of(asked.url)
    except Fault as fault:
        return _refusal("unsafe address", f"{server} asked to open a page. {fault}")
    return replace(asked, url=page.url, host=page.host)


def _refusal(rule: str, said: str, hint: str = "") -> Refusal:
    return Refusal(rule, Failure("mcp", said, hint))


def too_many(server: str) -> Refusal:
    """Return the refusal of questions over the number that one call may ask."""
    return _refusal("rate limit", f"{server} asks too much; some of it was declined unseen.")
