"""Masks secrets in text that leaves the process: the log, error sentences, reports."""

import re
from collections.abc import Callable, Iterable
from functools import cache

from patina.model.masking import MASK, Known, forms_of

MIN_SECRET = 6  # shorter values are words, and masking them would blank half of every log

_SHORTEST_MADE = 12  # characters
_LARGE = 10_000
_DIGIT = re.compile("[0-9]")
_LETTER = re.compile("[^0-9_.:,;%()-]")
_CHARACTER = r"[A-Za-z0-9._~+/=-]"
# What stands in place of a secret in settings and hints is none, and is kept.
_REFERENCE = r"(?:secret|env|keyfile):[\w./~-]+"
_NO_REFERENCE = rf"(?!{_REFERENCE})"
# Public forms of keys, and the places in which a key follows a name. No part of it reads far ahead
# of where it may begin again: hostile text must not take the square of its length.
_PATTERNS = (
    rf"(?P<reference>=\s*[\\\"']*(?:bearer\s+)?{_REFERENCE})"
    r"|\b(?:sk|pk|rk)-[A-Za-z0-9_-]{12,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{16,}|\bgithub_pat_[A-Za-z0-9_]{16,}"
    r"|\bxox[a-z]-[A-Za-z0-9-]{10,}|\bAIza[A-Za-z0-9_-]{30,}|\bhf_[A-Za-z0-9]{16,}"
    r"|\bAKIA[A-Z0-9]{16}\b|\beyJ[A-Za-z0-9_-]{8,2000}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    rf"|(?P<scheme>\b(?:bearer|basic)\s+){_NO_REFERENCE}{_CHARACTER}{{6,}}"
    r"|(?P<userinfo>://[^\s/:@\"]*:)[^\s/@\"]+(?=@)"
    r"|(?P<name>(?<![a-z0-9])(?:api[-_]?key|access[-_]?key|authorization|auth[-_]?token"
    r"|access[-_]?token|refresh[-_]?token|client[-_]?secret|password|passwd|secret|token)"
    rf"[\\\"']*\s*[:=]\s*[\\\"']*)(?!(?:bearer|basic)\s){_NO_REFERENCE}{_CHARACTER}{{6,}}"
)


@cache
def _patterns() -> re.Pattern[str]:
    # Compiling takes milliseconds, and many runs mask nothing.
    return re.compile(_PATTERNS, re.IGNORECASE)


class Redactor:
    """Masks what it was told, in every form in which it may be written, and what looks secret.

    `known` masks the former only. Not all that is secret is known from the beginning, for it costs
    time to open where it is kept: `learn_by` says how to learn the rest of it.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._learn: Callable[[], None] | None = None
        self._short: dict[str, tuple[str, ...]] = {}
        self._known = Known()
        for value in values:
            self.add(value)

    def add(self, value: str, *, kept: bool = False) -> None:
        """Mask `value` from now on. Values under `MIN_SECRET` characters are left alone.

        One that was `kept` as a secret is masked in texts even where it is a plain word.
        """
        self._known.add(value, kept=kept)
        for one in (value, value.strip()):
            if len(one) >= MIN_SECRET and not self._known.masks(one, kept=kept):
                self._short[one] = ()

    def add_kept(self, value: str) -> None:
        """Mask `value`, which somebody keeps as a secret, from now on."""
        self.add(value, kept=True)

    def add_passing(self, value: str) -> None:
        """Mask `value`, a token of a sign-in, until very many others came after it."""
        self._known.add_passing(value)

    def learn_by(self, learn: Callable[[], None]) -> None:
        """Have `learn` add all that is secret, once `known` meets what may be a secret."""
        self._learn = learn

    def known(self, text: str) -> str:
        """Return `text` with the exact values masked that are known, and nothing else: code and
        prose stay whole. Those under `SHORTEST` characters, and plain words, stay, too.

        May block once, for as long as it takes to learn them.
        """
        if self._learn is not None and _may_have_secrets(text):
            learn, self._learn = self._learn, None
            learn()
        return self._known(text)

    def __call__(self, text: str) -> str:
        """Return `text` with every secret in it masked."""
        text = self._known(text)
        for value, forms in [*self._short.items()]:
            if not forms:
                forms = tuple(sorted(forms_of(value), key=len, reverse=True))
                self._short[value] = forms
            for form in forms:
                if form in text:
                    text = text.replace(form, MASK)
        return _patterns().sub(_masked, text)


def _may_have_secrets(text: str) -> bool:
    """Whether something in `text` looks as if it were made to be secret: long, with digits.

    A large text may, without a look: that would take longer than to learn them.
    """
    if not _SHORTEST_MADE <= len(text) <= _LARGE:
        return len(text) > _LARGE
    words = (word for word in text.split() if len(word) >= _SHORTEST_MADE)
    return any(_DIGIT.search(word) and _LETTER.search(word) for word in words)


def _masked(match: re.Match[str]) -> str:
    if match["reference"]:
        head, colon, name = match[0].rpartition(":")
        return head + colon + _patterns().sub(_masked, name)
    return "".join(part for part in match.groups() if part) + MASK
