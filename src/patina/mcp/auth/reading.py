"""Reading what strangers say: JSON of metadata and answers, addresses in it, words of errors.

Facts: RFC 6749 5.2 (errors), RFC 8252 7.3 and 8.3 (loopback), RFC 8414 2, RFC 9728 2.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from patina.mcp.auth.failing import SignInFault, Step
from patina.mcp.auth.shapes import Answer
from patina.mcp.text import shortened, visible
from patina.model.pages import host_of

MOST_BYTES: Final = 1024 * 1024
_MOST_TEXT: Final = 64 * 1024
_MOST_ENTRIES: Final = 500
# Of all texts of a list together: they are kept with the sign-in.
_MOST_LISTED: Final = 32 * 1024
_PLAIN: Final = re.compile(r"[\x21-\x7e]+")
# What no field may be, read or not: a page that shows it would run it.
_RUNS: Final = re.compile(r"[\x00-\x20]*(javascript|data|vbscript|file|blob)[\x00-\x20]*:", re.I)


def json_object(answer: Answer) -> dict[str, Any] | None:
    """Return the JSON object in `answer`, None where there is none: other JSON, too deep, HTML."""
    import msgspec

    if len(answer.body) > MOST_BYTES:
        return None
    try:
        found = msgspec.json.decode(answer.body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def text(fields: Mapping[str, Any], name: str) -> str:
    """Return the text in a field, "" where there is none, or none of a sensible size."""
    value = fields.get(name)
    return value if isinstance(value, str) and len(value) <= _MOST_TEXT else ""


def plain(fields: Mapping[str, Any], name: str) -> str:
    """Return the text in a field if it is fit for a header: ASCII that shows, and no spaces."""
    value = text(fields, name)
    return value if _PLAIN.fullmatch(value) else ""


def texts(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the texts in a list, as many as are sensible; () where there is no list."""
    value = fields.get(name)
    if not isinstance(value, list):
        return ()
    found, left = [], _MOST_LISTED
    for entry in value[:_MOST_ENTRIES]:
        if isinstance(entry, str) and len(entry) <= left:
            found.append(entry)
            left -= len(entry)
    return tuple(found)


def is_loopback(url: str) -> bool:
    """Whether `url` is on this machine."""
    from ipaddress import ip_address

    try:
        host = urlsplit(url).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def check_address(url: str, what: str, *, step: Step, home: str) -> str:
    """Return `url` if it is one to go to: https, or on loopback where `home` is there too.

    `what` names it in the fault. Raises `SignInFault`.
    """
    host, wrong = host_of(url)
    if host and is_loopback(url) and not is_loopback(home):
        wrong = "its address is on this machine, and the server is not"
    if wrong:
        raise SignInFault(
            f"{what} cannot be used: {wrong} ({quoted(url)}).",
            step=step,
            hint="Ask whoever runs the server to mend its metadata; nothing was opened or sent.",
        )
    return url


def check_fields(fields: Mapping[str, Any], what: str, *, step: Step) -> None:
    """Refuse metadata in which any text would run if somebody opened it. Raises `SignInFault`."""
    for name, value in fields.items():
        for entry in value if isinstance(value, list) else (value,):
            if isinstance(entry, str) and _RUNS.match(entry):
                raise SignInFault(
                    f"{what} cannot be used: {quoted(name)} holds {quoted(entry)}.",
                    step=step,
                    hint="No honest server says that. Do not sign in to it.",
                )


def quoted(value: str, limit: int = 120) -> str:
    """Return words of a stranger, fit for one sentence of ours."""
    return shortened(visible(value[: 4 * limit]), limit)


def said(fields: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return the code of an OAuth error, "" where there is none, and its words, with the code."""
    fields = fields or {}
    error = quoted(text(fields, "error"))
    words = quoted(text(fields, "error_description"), 300)
    return error, f"{error} ({words})" if error and words else error


def place(url: str) -> str:
    """Return the host of `url` with its port, to name it in a sentence."""
    try:
        return quoted(urlsplit(url).netloc.rpartition("@")[2] or url)
    except ValueError:
        return quoted(url)


def unwell(status: int) -> bool:
    """Whether `status` says that the same may go well later."""
    return status >= 500 or status in (408, 425, 429)
