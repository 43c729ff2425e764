"""Pages of the web that a person may be sent to."""

import re
from typing import Final

from msgspec import Struct

MOST_CHARACTERS: Final = 10_000
_ODD: Final = re.compile(r"[\x00-\x20\x7f-\x9f\\<>\"\u200b-\u200f\u202a-\u202e\u2060-\u2069]")
_LOOPBACK: Final = re.compile(r"localhost|.*\.localhost|127(\.[0-9]{1,3}){3}|::1")


class Page(Struct, frozen=True):
    """A page that may be opened: its address, and its host as people can tell it apart."""

    url: str
    host: str


def host_of(url: str) -> tuple[str, str]:
    """Return the host of a page that a person may be sent to, or else what is wrong with it."""
    from urllib.parse import urlsplit

    if len(url) > MOST_CHARACTERS or _ODD.search(url):
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
