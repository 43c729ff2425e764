"""Addresses of the web: read strictly, so that whatever reads them after us reads the same.

Programs differ in what they make of odd addresses, and somebody who knows how can show one host to
the program that checks and another to the one that connects. So an address is taken apart once, by
a grammar narrower than RFC 3986, and used only as it was put together again from its pieces.
"""

import re
from typing import Final

from msgspec import Struct

from patina.model.faults import UsageFault

MOST_CHARACTERS: Final = 10_000
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# What no address may have, and what shells, browsers and terminals each take for something else.
_ODD: Final = re.compile(r"[\x00-\x20\x7f\"<>\\`]|%(?![0-9A-Fa-f]{2})")
_ADDRESS: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)"
    r"(?P<path>/[^?#]*)?(\?(?P<query>[^#]*))?(#(?P<fragment>.*))?"
)
_AUTHORITY: Final = re.compile(r"(\[(?P<six>[^\[\]@]*)\]|(?P<name>[^\[\]:@]*))(:(?P<port>[0-9]+))?")
_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.(?!-)[a-z0-9_-]{1,63})*")
# Hosts that are taken for a number, whatever stands before (WHATWG URL, "ends in a number").
_NUMBER: Final = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")
_LOOPBACK: Final = re.compile(r"localhost|.*\.localhost|127(\.[0-9]{1,3}){3}|::1")
# All that RFC 3986 lets stand for itself, but "'", which ends words of a shell.
_PLAIN: Final = "!$&()*+,;=:@/?%~-._"


class Page(Struct, frozen=True):
    """A page that may be opened: its address, and its host as people can tell it apart."""

    url: str
    host: str


class WebAddress(Struct, frozen=True):
    """An http or https address in its pieces, all of them ASCII.

    `host` is in small letters, names of other scripts in their ASCII form, IPv6 without brackets;
    `port` is always there; `target` is the path with the query, "/" at least; `fragment` has its
    "#", or is "".
    """

    scheme: str
    host: str
    port: int
    target: str
    fragment: str = ""

    @property
    def origin(self) -> str:
        """Scheme, host, and the port where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == _DEFAULT_PORTS[self.scheme]
        return f"{self.scheme}://{host}" + ("" if usual else f":{self.port}")

    @property
    def url(self) -> str:
        """The address put together, without its fragment."""
        return f"{self.origin}{self.target}"

    @property
    def is_here(self) -> bool:
        """Whether its host is by its name this machine."""
        return bool(_LOOPBACK.fullmatch(self.host))


def page_of(url: str) -> Page:
    """Return the page at `url`, which a person may be sent to: what is opened is what was checked.

    It is of the web, over an encrypted line unless it is on this machine, without a name or a
    password. Raises `UsageFault` for any other.
    """
    try:
        address = safe_address(url)
    except ValueError as error:
        raise UsageFault(
            f"The page was not opened: {error}.",
            hint="Open no such address by hand, unless you know who made it.",
        ) from None
    return Page(address.url + address.fragment, address.host)


def host_of(url: str) -> tuple[str, str]:
    """Return the host of a page that a person may be sent to, or else what is wrong with it."""
    try:
        return safe_address(url).host, ""
    except ValueError as error:
        return "", str(error)


def safe_address(url: str) -> WebAddress:
    """Return `url` in its pieces, if it is encrypted (https) or on this machine.

    Raises `ValueError`, whose text is what is wrong: "its address ...".
    """
    address = web_address(url)
    if address.scheme == "http" and not address.is_here:
        raise ValueError("its address is not encrypted (https)")
    return address


def web_address(url: str) -> WebAddress:
    """Return `url` in its pieces. Raises `ValueError`, whose text is what is wrong with it.

    Refused are all but http and https, names and passwords, hosts that are numbers in any but the
    usual form, and characters that do not show or that a program may take for something else.
    """
    if len(url) > MOST_CHARACTERS or _ODD.search(url) or not _shows(url):
        raise ValueError("its address has characters that no address has, or is too long")
    found = _ADDRESS.fullmatch(url)
    scheme = found["scheme"].lower() if found else ""
    if found is None or scheme not in _DEFAULT_PORTS:
        raise ValueError("its address is not one of the web")
    if "@" in found["authority"]:
        raise ValueError("its address has a name or a password in it")
    authority = _AUTHORITY.fullmatch(found["authority"])
    if authority is None:
        raise ValueError("its address cannot be read")
    port = int(authority["port"][:6]) if authority["port"] else _DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise ValueError("its address has a port that does not exist")
    host = _six(authority["six"]) if authority["six"] is not None else _name(authority["name"])
    query = "" if found["query"] is None else f"?{_quoted(found['query'])}"
    fragment = "" if found["fragment"] is None else f"#{_quoted(found['fragment'])}"
    return WebAddress(scheme, host, port, _quoted(found["path"] or "/") + query, fragment)


def _shows(url: str) -> bool:
    """Whether each character has a form that people can see, and is one."""
    if url.isascii():
        return True
    from unicodedata import category

    return all(category(character)[0] not in "CZ" for character in url if character > "\x7f")


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe=_PLAIN)


def _six(text: str) -> str:
    from ipaddress import IPv6Address

    try:
        address = IPv6Address(text)
    except ValueError:
        raise ValueError("its address cannot be read") from None
    if address.scope_id is not None:
        raise ValueError("its address names an interface of this machine")
    return address.compressed


def _name(text: str) -> str:
    name = text.lower()
    if not name.isascii():
        name = _in_ascii(name)
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise ValueError("its address has a host that is none")
    if _NUMBER.fullmatch(name):
        from ipaddress import AddressValueError, IPv4Address

        try:
            return IPv4Address(name).compressed
        except AddressValueError:
            raise ValueError("its address has a number for a host") from None
    return name


def _in_ascii(name: str) -> str:
    """Return the ASCII form of a name, if it is the form of this name and of no other.

    Digits in circles, full-width letters and the like become plain ones on the way; signs that
    look like a slash stay.
    """
    from unicodedata import category

    try:
        found = name.encode("idna").decode()
        same = found.encode().decode("idna") == name and all(
            sign in "-._" or category(sign)[0] in "LMN" for sign in name
        )
    except UnicodeError:
        same = False
    if not same:
        raise ValueError("its address has a host that can be read in several ways")
    return found
