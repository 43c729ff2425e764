"""Questions of servers that no person is shown: they are declined at once, and told of."""

import re
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from patina.model.codec import encode_json
from patina.model.faults import Failure, Fault
from patina.model.parts import well_formed
from patina.model.questions import Asked

MOST_BYTES: Final = 512 * 1024  # of a question as JSON: it has to stand in one line of a transcript
MOST_TEXT: Final = 10_000  # characters of the server's words
_ODD: Final = re.compile(r"[\x00-\x20\x7f-\x9f\\<>\"\u200b-\u200f\u202a-\u202e\u2060-\u2069]")
_LOOPBACK: Final = re.compile(r"localhost|.*\.localhost|127(\.[0-9]{1,3}){3}|::1")


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
    host, wrong = host_of(asked.url)
    if wrong:
        return _refusal(
            "unsafe address", f"{server} asked to open a page, which was declined: {wrong}."
        )
    return replace(asked, host=host)


def host_of(url: str) -> tuple[str, str]:
    """Return the host of a page that a person may be sent to, or else what is wrong with it."""
    from urllib.parse import urlsplit

    if len(url) > MOST_TEXT or _ODD.search(url):
        return "", "its address has characters that no address has, or is too long"
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()  # names that look alike show here
        _ = parts.port
    except ValueError:
        return "", "its address cannot be read"
    if not host or parts.scheme not in ("http", "https"):
        return "", "its address is not one of the web"
    if parts.username is not None or parts.password is not None:
        return "", "its address has a name or a password in it"
    if parts.scheme == "http" and not _LOOPBACK.fullmatch(host):
        return "", "its address is not encrypted (https)"
    return host, ""


def _refusal(rule: str, said: str, hint: str = "") -> Refusal:
    return Refusal(rule, Failure("mcp", said, hint))


def too_many(server: str) -> Refusal:
    """Return the refusal of questions over the number that one call may ask."""
    return _refusal("rate limit", f"{server} asks too much; some of it was declined unseen.")
