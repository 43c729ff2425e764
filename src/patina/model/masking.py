"""Finds values that must not be told, in every form in which they may be written, and fast.

Text is looked at in words of four bytes, one in every `stride`. Each form of a value is longer
than that, so one of these words lies in it wherever it stands, and all words that can are known.
A text without secrets costs one look-up for each word.
"""

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

Mask = Callable[[str], str]
MASK: Final = "***"
# Shorter values are words, and would blank half of what people say.
SHORTEST: Final = 8
# Of those that come and go, so many are remembered: else an app that stays open only gets slower.
MOST_PASSING: Final = 512

T = TypeVar("T")
_WORD: Final = 4  # bytes
_LARGEST_STRIDE: Final = 32
_LONGEST_WORD: Final = 16  # characters
# Fields that hold no words of anybody: names, times and kinds. Most of them stand in every item.
_BOOKKEEPING: Final = frozenset(
    (
        *("id", "ts", "seq", "v", "parent", "device", "conversation", "message", "call_id"),
        *("item_id", "message_id", "turn_id", "turn", "ask", "question", "item", "covers", "hold"),
        *("kind", "status", "role", "choice", "state", "level", "blob", "media_type", "usage"),
        *("cost", "provider", "model", "server", "format", "app", "batch"),
    )
)
_PLAIN: Final = re.compile(r"[A-Za-z0-9._~-]*")
# Words that stand in place of a password, or are one that nobody need guess.
_COMMON: Final = frozenset(
    (
        *("administrator", "anonymous", "changeit", "changeme", "database", "development"),
        *("disabled", "external", "insecure", "internal", "localhost", "optional", "passphrase"),
        *("password", "placeholder", "postgres", "production", "required", "secretkey"),
        *("undefined", "unlimited", "username"),
    )
)
# A line of a key that has several, and what looks like one beside words and addresses.
_LINE: Final = re.compile(r"^[A-Za-z0-9+/=]{12,}$|[A-Za-z0-9+/=_-]{32,}", re.MULTILINE)


def unmasked(text: str) -> str:
    """Return `text`: for who has nothing to mask."""
    return text


class Known:
    """Masks what it was told, in all its forms; other text stays as it is, letter by letter.

    `add` may be called in another thread than the masking.
    """

    def __init__(self, mask: str = MASK) -> None:
        self._mask = mask.encode()
        self._values: set[str] = set()
        self._forms: dict[bytes, int] = {}  # form: its characters
        self._passing: dict[str, dict[bytes, int]] = {}  # the oldest first
        self._index: _Index | None = _Index({})

    def add(self, value: str, *, kept: bool = False) -> None:
        """Mask `value` from now on. One under `SHORTEST` characters is left alone, and so is a
        plain word, which is no secret worth the holes in what people say. Where it was `kept` as
        a secret it may well be a password, and only words as common as "production" are left.
        """
        used = value.strip()
        value = used if self.masks(used, kept=kept) else value
        if value in self._values or not self.masks(value, kept=kept):
            return
        self._values.add(value)
        self._forms = self._forms | _encoded(value)
        self._index = None

    def add_passing(self, value: str) -> None:
        """As `add` of what is kept, for the tokens of a sign-in: when there are more than
        `MOST_PASSING`, the one is forgotten that was not added again for the longest time.
        """
        others = {**self._passing}
        forms = others.pop(value, None)
        if forms is None:
            if value in self._values or not self.masks(value, kept=True):
                return
            forms = _encoded(value)
        if len(others) >= MOST_PASSING:
            del others[next(iter(others))]
        new = value not in self._passing
        self._passing = {**others, value: forms}
        if new:
            self._index = None

    @staticmethod
    def masks(value: str, *, kept: bool = False) -> bool:
        """Whether `value` is one to mask."""
        if len(value) < SHORTEST or value.lower() in _COMMON:
            return False
        return kept or len(value) >= _LONGEST_WORD or not _is_word(value)

    def __call__(self, text: str) -> str:
        """Return `text` with every secret in it masked; `text` itself where there is none."""
        index = self._index or self._indexed()
        if len(text) < index.shortest:
            return text
        data = text.encode("utf-8", "surrogatepass")
        spans = index.spans(data)
        if not spans:
            return text
        kept, end = [], 0
        for start, after in spans:
            kept += [data[end:start], self._mask]
            end = after
        kept.append(data[end:])
        return b"".join(kept).decode("utf-8", "surrogatepass")

    def _indexed(self) -> "_Index":
        forms, passing = self._forms, self._passing
        every = dict(forms)
        for more in passing.values():
            every |= more
        index = _Index(every)
        if forms is self._forms and passing is self._passing:  # else a value came meanwhile
            self._index = index
        return index


def _encoded(value: str) -> dict[bytes, int]:
    return {form.encode("utf-8", "surrogatepass"): len(form) for form in forms_of(value)}


def _is_word(value: str) -> bool:
    letters = value.isascii() and value.isalpha()
    return letters and (value[1:].islower() or value.isupper())


class _Index:
    """Where forms begin, by the words that may be met of them."""

    def __init__(self, forms: Mapping[bytes, int]) -> None:
        self.shortest = min(forms.values(), default=sys.maxsize)  # characters
        least = min(map(len, forms), default=SHORTEST)
        self._step = max(min(least - _WORD + 1, _LARGEST_STRIDE) // _WORD, 1)  # words
        self._words: dict[int, list[tuple[int, bytes]]] = {}
        for form in forms:
            for offset in range(self._step * _WORD):
                word = int.from_bytes(form[offset : offset + _WORD], sys.byteorder)
                self._words.setdefault(word, []).append((offset, form))
        self._known = frozenset(self._words)

    def spans(self, data: bytes) -> list[tuple[int, int]]:
        """Return where forms stand in `data`, in order; those that touch are one."""
        view = memoryview(data)[: len(data) // _WORD * _WORD].cast("I")[:: self._step]
        hits = self._known.intersection(view)
        if not hits:
            return []
        found = []
        for place in [place for place, word in enumerate(view) if word in hits]:
            for offset, form in self._words[view[place]]:
                start = place * self._step * _WORD - offset
                if start >= 0 and data.startswith(form, start):
                    found.append((start, start + len(form)))
        spans: list[tuple[int, int]] = []
        for start, end in sorted(found):
            if spans and start <= spans[-1][1]:
                spans[-1] = spans[-1][0], max(end, spans[-1][1])
            else:
                spans.append((start, end))
        return spans


def forms_of(value: str) -> set[str]:
    """Return how `value` may be written: as it is, escaped for JSON, Python, URLs and HTML, in
    base64, and each line of a key that has several.
    """
    forms = {value, *_base64_forms(value.encode("utf-8", "surrogatepass"))}
    if not _PLAIN.fullmatch(value):  # else nothing in it needs an escape
        forms |= _escaped(value)
    if "\n" in value:
        lines = value.replace("\r\n", "\n")
        forms |= {lines, lines.replace("\n", "\r\n")}
        forms |= {line for line in _LINE.findall(value) if not line.startswith("-----")}
    return forms


def _escaped(value: str) -> set[str]:
    import json
    from html import escape
    from urllib.parse import quote, quote_plus

    # Beside both quotes, Python escapes the single one.
    forms = {
        repr(value)[1:-1],
        repr(f"{value}\"'")[1:-4],
        escape(value),
        escape(value, quote=False),
    }
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        forms |= {text, json.dumps(text)[1:-1]}
    for quoted in (quote, quote_plus):
        for safe in ("", "/"):
            text = quoted(value, safe=safe, errors="surrogatepass")
            forms |= {text, re.sub("%..", lambda match: match[0].lower(), text)}
    return forms


def _base64_forms(data: bytes) -> set[str]:
    """Return the characters that `data` gives in base64 wherever in a longer text it stands.

    Base64 turns three bytes into four characters, so there are three ways to meet `data`; the
    characters at the ends also depend on its neighbours and are left out.
    """
    from binascii import b2a_base64

    forms = set()
    for before in range(3):
        text = b2a_base64(bytes(before) + data, newline=False).decode()
        form = text[(0, 2, 3)[before] : 8 * (before + len(data)) // 6]
        if len(form) >= SHORTEST:
            forms |= {form, form.replace("+", "-").replace("/", "_")}
    return forms


def masked(value: T, mask: Mask) -> T:
    """Return `value` with `mask` applied to every text in it: structs, tuples, lists, mappings.

    Fields of structs that hold names and kinds (`_BOOKKEEPING`) are left as they are.
    What holds nothing to mask is returned as it is, not as a copy.
    """
    if mask is unmasked:
        return value
    found: Any = _masked(value, mask)
    return found  # type: ignore[no-any-return]


def _masked(value: Any, mask: Mask) -> Any:  # noqa: ANN401 - any value, and one of its type
    kind = type(value)
    if kind is str:
        return mask(value)
    if value is None or kind in (int, float, bool, bytes):
        return value
    if isinstance(value, Struct):
        changed = _changed(value, mask)
        return replace(value, **changed) if changed else value
    if isinstance(value, tuple | list):
        items = [_masked(one, mask) for one in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else kind(items)
    if isinstance(value, Mapping):
        pairs = [(_masked(name, mask), _masked(one, mask)) for name, one in value.items()]
        same = all(
            name is old and one is was
            for (name, one), (old, was) in zip(pairs, value.items(), strict=True)
        )
        return value if same else dict(pairs)
    return value


def _changed(value: Struct, mask: Mask) -> dict[str, Any]:
    changed = {}
    for name in value.__struct_fields__:
        if name in _BOOKKEEPING:
            continue
        old = getattr(value, name)
        new = _masked(old, mask)
        if new is not old:
            changed[name] = new
    return changed


def mask_in_place(value: Struct, mask: Mask) -> None:
    """Apply `mask` to every text of `value`, which is not frozen."""
    for name, new in _changed(value, mask).items():
        setattr(value, name, new)


def masked_json(values: T, mask: Mask) -> T:
    """Return `values`, which JSON can hold, as `masked`: faster where there is nothing to mask."""
    if mask is unmasked:
        return values
    text = msgspec.json.encode(values).decode()
    return values if mask(text) is text else masked(values, mask)


def masked_bytes(content: bytes, mask: Mask) -> bytes:
    """Return the bytes of a file with what is secret in them masked.

    What is no UTF-8 is read byte by byte: a secret of ASCII is found in it, too.
    """
    if mask is unmasked:
        return content
    encoding = "utf-8"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        encoding = "latin-1"
        text = content.decode(encoding)
    found = mask(text)
    return content if found is text else found.encode(encoding)
