"""Masks secrets in text that leaves the process: the log, error sentences, reports."""

import re
from collections.abc import Iterable
from functools import cache

MASK = "***"
MIN_SECRET = 6  # shorter values are words, and masking them would blank half of every log

_CHARACTER = r"[A-Za-z0-9._~+/=-]"
# What stands in place of a secret in settings and hints is none, and is kept.
_REFERENCE = r"(?:secret|env|keyfile):[\w./~-]+"
_NO_REFERENCE = rf"(?!{_REFERENCE})"
# Public forms of keys, and the places in which a key follows a name.
_PATTERNS = (
    rf"(?P<reference>=\s*[\\\"']*(?:bearer\s+)?{_REFERENCE})"
    r"|\b(?:sk|pk|rk)-[A-Za-z0-9_-]{12,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{16,}|\bgithub_pat_[A-Za-z0-9_]{16,}"
    r"|\bxox[a-z]-[A-Za-z0-9-]{10,}|\bAIza[A-Za-z0-9_-]{30,}|\bhf_[A-Za-z0-9]{16,}"
    r"|\bAKIA[A-Z0-9]{16}\b|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    rf"|(?P<scheme>\b(?:bearer|basic)\s+){_NO_REFERENCE}{_CHARACTER}{{6,}}"
    r"|(?P<userinfo>://[^\s/:@\"]*:)[^\s/@\"]+(?=@)"
    r"|(?P<name>\b(?:[a-z0-9]+[-_])*(?:api[-_]?key|access[-_]?key|authorization|auth[-_]?token"
    r"|access[-_]?token|refresh[-_]?token|client[-_]?secret|password|passwd|secret|token)"
    rf"[\\\"']*\s*[:=]\s*[\\\"']*)(?!(?:bearer|basic)\s){_NO_REFERENCE}{_CHARACTER}{{6,}}"
)


@cache
def _patterns() -> re.Pattern[str]:
    # Compiling takes milliseconds, and many runs mask nothing.
    return re.compile(_PATTERNS, re.IGNORECASE)


class Redactor:
    """Masks what it was told, in every form in which it may be written, and what looks secret."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: set[str] = set()
        self._new: list[str] = []
        self._forms: tuple[str, ...] = ()
        for value in values:
            self.add(value)

    def add(self, value: str) -> None:
        """Mask `value` from now on. Values under `MIN_SECRET` characters are left alone."""
        if len(value) >= MIN_SECRET and value not in self._values:
            self._values.add(value)
            self._new.append(value)

    def __call__(self, text: str) -> str:
        """Return `text` with every secret in it masked."""
        if self._new:
            fresh = {form for value in self._new for form in _forms(value)}
            self._new = []
            self._forms = tuple(sorted(fresh.union(self._forms), key=len, reverse=True))
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return _patterns().sub(_masked, text)


def _masked(match: re.Match[str]) -> str:
    if match["reference"]:
        head, colon, name = match[0].rpartition(":")
        return head + colon + _patterns().sub(_masked, name)
    return "".join(part for part in match.groups() if part) + MASK


def _forms(value: str) -> set[str]:
    """Return how `value` may be written: as it is, escaped for JSON, Python and URLs, base64."""
    import json
    from urllib.parse import quote, quote_plus

    # Beside both quotes, Python escapes the single one.
    forms = {value, repr(value)[1:-1], repr(f"{value}\"'")[1:-4]}
    for ascii_only in (True, False):
        escaped = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        forms |= {escaped, json.dumps(escaped)[1:-1]}
    for escape in (quote, quote_plus):
        for safe in ("", "/"):
            escaped = escape(value, safe=safe)
            forms |= {escaped, re.sub("%..", lambda match: match[0].lower(), escaped)}
    forms |= _base64_forms(value.encode("utf-8", "surrogatepass"))
    # A key of several lines may be shown line by line.
    forms |= {line for line in value.splitlines() if len(line) >= 2 * MIN_SECRET}
    return forms


def _base64_forms(data: bytes) -> set[str]:
    """Return the characters that `data` gives in base64 wherever in a longer text it stands.

    Base64 turns three bytes into four characters, so there are three ways to meet `data`; the
    characters at the ends also depend on its neighbours and are left out.
    """
    import base64

    forms = set()
    for before in range(3):
        start = (0, 2, 3)[before]
        bits = 8 * (before + len(data))
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            form = encode(bytes(before) + data).decode()[start : bits // 6]
            if len(form) >= MIN_SECRET:
                forms.add(form)
    return forms
