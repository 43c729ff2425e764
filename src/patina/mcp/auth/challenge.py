"""What a server says when it refuses: `WWW-Authenticate`.

Facts: RFC 9110 11.6.1 (several challenges, one header), RFC 6750 3, RFC 9449 7.1, RFC 9728 5.1.
"""

import re
from collections.abc import Mapping
from typing import Final

from patina.mcp.auth.reading import quoted
from patina.mcp.auth.shapes import Challenge

_MOST: Final = 8192
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r'[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
# RFC 6749 3.3: ASCII that shows but for the quote and the backslash, one space between.
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")
_PLAIN: Final = re.compile(r"[\x21-\x7e]{1,1024}")
_OURS: Final = ("bearer", "dpop")


def challenge_of(status: int, headers: Mapping[str, str]) -> Challenge:
    """Return what a refusal with `status` says. `headers` have names in small letters.

    Of several challenges those for access tokens count (Bearer, DPoP); a field is of the first
    that has it. Never raises: what cannot be read is absent.
    """
    said = challenges(headers.get("www-authenticate", ""))
    ours = [one for one in said if one[0].lower() in _OURS]
    fields: dict[str, str] = {}
    for _, parameters in ours:
        fields = parameters | fields
    scope = " ".join(fields.get("scope", "").split())
    nonce = headers.get("dpop-nonce", "")
    return Challenge(
        status=status,
        scheme=(ours or said or [("", {})])[0][0],
        resource_metadata=fields.get("resource_metadata", ""),
        authorization_uri=fields.get("authorization_uri", ""),
        scope=scope if _SCOPE.fullmatch(scope) else "",
        error=quoted(fields.get("error", "")),
        description=quoted(fields.get("error_description", ""), 300),
        dpop_nonce=nonce if _PLAIN.fullmatch(nonce) else "",
    )


def challenges(header: str) -> list[tuple[str, dict[str, str]]]:
    """Return the challenges of a header: scheme and parameters, whose names are in small letters.

    What is no challenge is passed over, and so is all behind the first 8192 characters.
    """
    header = header[:_MOST]
    found: list[tuple[str, dict[str, str]]] = []
    at = 0
    while at < len(header):
        word = _TOKEN.match(header, at)
        if word is None:
            at += 1
            continue
        at = word.end()
        value = _VALUE.match(header, at)
        if value is None:
            found.append((word[0], {}))
            continue
        at = value.end()
        if found:
            text = _ESCAPED.sub(r"\1", value[1]) if value[1] is not None else value[2]
            found[-1][1].setdefault(word[0].lower(), text)
    return found
