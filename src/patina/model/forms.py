"""The forms that servers put to a person: their fields, and values that fit them.

A form is the part of JSON Schema that MCP allows for elicitation (2025-11-25 and 2026-07-28): an
object of texts, numbers, yes or no, one of several, and several of several, none of them nested.
A schema comes from a server and is hostile: what a form cannot be is a `McpFault`, never a crash.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, Literal, cast
from urllib.parse import urlsplit

from msgspec import Struct

from patina.model.faults import McpFault, UsageFault
from patina.model.parts import well_formed

FieldKind = Literal["text", "number", "integer", "boolean", "one", "several"]
MOST_FIELDS: Final = 100
MOST_OPTIONS: Final = 500
MOST_WORDS: Final = 2_000  # characters of a name, a title or a description
MOST_TEXT: Final = 64 * 1024  # characters of all values
_FORMATS: Final = {
    "email": "an e-mail address",
    "uri": "an address such as https://example.org",
    "date": "a date such as 2026-12-31",
    "date-time": "a moment such as 2026-12-31T09:30:00Z",
}
_PLAIN: Final[dict[str, FieldKind]] = {
    "string": "text",
    "number": "number",
    "integer": "integer",
    "boolean": "boolean",
}
_YES: Final = ("y", "yes", "true", "on", "1")
_NO: Final = ("n", "no", "false", "off", "0")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET: Final = re.compile(
    r"\b(pass ?(words?|wd|phrase|code|wort)|pwd|kennwort|contraseña|senha|mot de passe|secrets?"
    r"|token|pin( code| number)?|cvv2?|cvc2?|otp|totp|credentials?"
    r"|(api|access|private|secret|signing|encryption|recovery|seed) ?(key|phrase|code)"
    r"|(security|verification|authenticator|authentication|backup|mfa|2fa|one time) code"
    r"|one time password|(credit|debit) card|card number|connection string|mnemonic)\b"
)
_WANTED: Final = re.compile(r"\b(enter|type|paste|provide|give|your|tell|supply)\b")
_UNWANTED: Final = re.compile(r"\b(not|never|don t) (enter|type|paste|provide|give|tell|supply)\b")


class Option(Struct, frozen=True):
    """A value that may be chosen, and the words for it."""

    value: str
    title: str


class Field(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One field. "one" and "several" have `options`; a value of "several" is a list.

    `least` and `most` bound the characters of a text, a number itself, or how many are chosen.
    `default` is None where there is none. `format` is that of a text: "email", "uri", "date",
    "date-time" or "". `secret` marks a field whose schema says that it hides what is typed.
    """

    name: str
    kind: FieldKind
    title: str = ""
    description: str = ""
    required: bool = False
    default: Any = None
    options: tuple[Option, ...] = ()
    format: str = ""
    least: float | None = None
    most: float | None = None
    secret: bool = False

    @property
    def label(self) -> str:
        """What the field is called for people."""
        return self.title or self.name


def fields_of(schema: Mapping[str, Any]) -> tuple[Field, ...]:
    """Return the fields of a form in the server's order. Raises `McpFault` for what is none."""
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    if schema.get("type", "object") != "object" or not isinstance(properties, dict):
        raise _bad("it is no object of fields")
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise _bad("what it requires is no list of names")
    if len(properties) > MOST_FIELDS:
        raise _bad(f"it has {len(properties)} fields, more than {MOST_FIELDS}")
    missing = [name for name in required if name not in properties]
    if missing:
        raise _bad(f"it requires {_short(missing[0])}, which it does not have")
    return tuple(_field(name, spec, required=name in required) for name, spec in properties.items())


def _bad(why: str) -> McpFault:
    return McpFault(
        f"A server's form cannot be shown: {why}.",
        hint="Its author can say what the server needs to ask.",
    )


def _short(text: object) -> str:
    words = well_formed(str(text))
    return repr(words if len(words) <= 60 else words[:59] + "…")


def _field(name: object, spec: object, *, required: bool) -> Field:
    if not isinstance(name, str) or not name or len(name) > MOST_WORDS:
        raise _bad("a field has no usable name")
    if not isinstance(spec, dict):
        raise _bad(f"the field {_short(name)} is not described")
    spec = _without_null(spec)
    kind, options = _kind(name, spec)
    text, several = kind == "text", kind == "several"
    bounds = ("minLength", "maxLength") if text else ("minItems", "maxItems")
    bounds = bounds if text or several else ("minimum", "maximum")
    least, most = (_bound(name, spec, key) for key in bounds)
    if least is not None and most is not None and least > most:
        raise _bad(f"no value fits the field {_short(name)}")
    form = spec.get("format", "")
    field = Field(
        name=name,
        kind=kind,
        title=_words(name, spec, "title"),
        description=_words(name, spec, "description"),
        required=required,
        options=options,
        format=form if text and form in _FORMATS else "",
        least=least,
        most=most,
        secret=form == "password" or spec.get("writeOnly") is True,
    )
    default = spec.get("default")
    if default is None or _misfit(field, default):
        return field  # a default that does not fit helps nobody
    return Field(
        **{key: getattr(field, key) for key in field.__struct_fields__ if key != "default"},
        default=default,
    )


def _without_null(spec: dict[str, Any]) -> dict[str, Any]:
    """Return `spec` without the null that some servers allow in place of leaving a field out."""
    variants = spec.get("anyOf")
    if "type" not in spec and isinstance(variants, list) and len(variants) == 2:
        others = [one for one in variants if isinstance(one, dict) and one.get("type") != "null"]
        if len(others) == 1:
            return {**others[0], **{key: spec[key] for key in spec if key != "anyOf"}}
    kinds = spec.get("type")
    if isinstance(kinds, list):
        left = [kind for kind in kinds if kind != "null"]
        if len(left) == 1:
            return {**spec, "type": left[0]}
    return spec


def _kind(name: str, spec: dict[str, Any]) -> tuple[FieldKind, tuple[Option, ...]]:
    kind = spec.get("type", "string" if "enum" in spec or "oneOf" in spec else None)
    if kind == "array":
        items = spec.get("items")
        options = _options(name, items, "anyOf") if isinstance(items, dict) else ()
        if not options:
            raise _bad(f"the list {_short(name)} does not say what may be chosen")
        return "several", options
    if kind == "string" and ("enum" in spec or "oneOf" in spec):
        return "one", _options(name, spec, "oneOf")
    if not isinstance(kind, str) or kind not in _PLAIN:
        raise _bad(f"the field {_short(name)} is of the type {_short(kind)}")
    return _PLAIN[kind], ()


def _options(name: str, spec: dict[str, Any], titled: str) -> tuple[Option, ...]:
    """Return what may be chosen: `enum`, with the older `enumNames`, or a list with titles."""
    values = spec.get("enum")
    names: object
    if values is not None:
        names = spec.get("enumNames")
    else:
        variants = spec.get(titled, spec.get("oneOf"))
        if not isinstance(variants, list) or not all(isinstance(one, dict) for one in variants):
            raise _bad(f"the choices of {_short(name)} are no list")
        values = [one.get("const") for one in variants]
        names = [one.get("title", one.get("const")) for one in variants]
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _bad(f"the choices of {_short(name)} are no list of texts")
    if not values or len(values) > MOST_OPTIONS:
        raise _bad(f"{_short(name)} has {len(values)} choices, not 1 to {MOST_OPTIONS}")
    if not isinstance(names, list) or len(names) != len(values):
        names = values
    if any(not isinstance(word, str) or len(word) > MOST_WORDS for word in (*values, *names)):
        raise _bad(f"a choice of {_short(name)} is no text, or too long")
    chosen = dict(zip(values, names, strict=True))  # each value once
    return tuple(Option(value, title or value) for value, title in chosen.items())


def _words(name: str, spec: dict[str, Any], key: str) -> str:
    words = spec.get(key, "")
    if words is None:
        return ""
    if not isinstance(words, str):
        raise _bad(f"the {key} of {_short(name)} is no text")
    return well_formed(words[:MOST_WORDS])


def _bound(name: str, spec: dict[str, Any], key: str) -> float | None:
    bound = spec.get(key)
    if bound is not None and not _is_number(bound):
        raise _bad(f"the {key} of {_short(name)} is no number")
    return cast("float | None", bound)


def _is_number(value: object) -> bool:
    # Neither infinite nor a whole number that JSON encoders refuse.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) if isinstance(value, float) else -(2**63) <= value < 2**63


def asks_for_secret(fields: Iterable[Field], text: str = "") -> bool:
    """Whether the form wants what nobody should type into one: passwords, keys, tokens, PINs.

    Judged by the names and titles of the fields, by what their schema says, and by orders to enter
    such a thing in the descriptions and in `text`, the server's words for the whole form.
    """
    fields = [field for field in fields if field.kind in ("text", "number", "integer")]
    return any(field.secret or _names_secret(field) for field in fields) or (
        any(field.kind == "text" for field in fields) and _orders_secret(text)
    )


def _names_secret(field: Field) -> bool:
    found = [_SECRET.search(_plain(words)) for words in (field.name, field.title)]
    if field.kind != "text":  # a number is no token, but may be a PIN
        found = [match for match in found if match and match[0] != "token"]
    return any(found) or _orders_secret(field.description)


def _orders_secret(text: str) -> bool:
    sentences = map(_plain, re.split(r"[.!?;\n]", text[: 4 * MOST_WORDS]))
    return any(
        _WANTED.search(one) and _SECRET.search(one) and not _UNWANTED.search(one)
        for one in sentences
    )


def _plain(words: str) -> str:
    """Return words in small letters, parted by single spaces: `apiKey` and `API_KEY` are one."""
    return " ".join(re.split(r"[\W_]+", _CAMEL.sub(" ", words))).casefold()


def with_defaults(fields: Iterable[Field], content: Mapping[str, Any]) -> dict[str, Any]:
    """Return `content` with the default of each field that it lacks."""
    known = {field.name: field.default for field in fields if field.default is not None}
    return {**known, **content}


def problems(fields: Sequence[Field], content: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the values, a sentence each; none where the form is filled in."""
    known = {field.name: field for field in fields}
    found = [f"There is no field {_short(name)}." for name in content if name not in known]
    for field in fields:
        if field.name not in content:
            if field.required:
                found.append(f"{field.label} is needed.")
        elif wrong := _misfit(field, content[field.name]):
            found.append(f"{field.label} must {wrong}.")
    if sum(map(len, _texts(content.values()))) > MOST_TEXT:
        found.append(f"The values are longer than {MOST_TEXT} characters in all.")
    return found


def _texts(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from _texts(value)


def _misfit(field: Field, value: object) -> str:
    """Return what the value must do or be instead, "" where it fits."""
    if field.kind == "boolean":
        return "" if isinstance(value, bool) else "be yes or no"
    if field.kind == "one":
        known = {option.value for option in field.options}
        return "" if isinstance(value, str) and value in known else "be one of the choices"
    if field.kind == "several":
        return _misfit_list(field, value)
    if field.kind == "text":
        return _misfit_text(field, value)
    whole = field.kind == "integer"
    if not _is_number(value) or (whole and value != math.floor(cast("float", value))):
        return "be a whole number" if whole else "be a number"
    return _outside(field, cast("float", value), "")


def _misfit_list(field: Field, value: object) -> str:
    known = {option.value for option in field.options}
    if not isinstance(value, list | tuple):
        return "be a list of choices"
    if any(not isinstance(one, str) or one not in known for one in value):
        return "be some of the choices"
    if len(set(value)) != len(value):
        return "be choices that differ"
    return _outside(field, len(value), "choices")


def _misfit_text(field: Field, value: object) -> str:
    if not isinstance(value, str) or well_formed(value) != value:
        return "be a text"
    fits = {"email": _is_email, "uri": _is_uri, "date": _is_date, "date-time": _is_moment}
    if field.format and not fits[field.format](value):
        return f"be {_FORMATS[field.format]}"
    return _outside(field, len(value), "characters")


def _outside(field: Field, size: float, unit: str) -> str:
    does, words = ("have", f" {unit}") if unit else ("be", "")
    if field.least is not None and size < field.least:
        return f"{does} at least {field.least:g}{words}"
    if field.most is not None and size > field.most:
        return f"{does} at most {field.most:g}{words}"
    return ""


def _is_email(text: str) -> bool:
    name, _, host = text.rpartition("@")
    return bool(name and host) and not re.search(r"\s|@", name + host)


def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and (parts.netloc or parts.path)) and not re.search(r"\s", text)


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _is_moment(text: str) -> bool:
    """Whether `text` is a time of RFC 3339, section 5.6: it has a date, a time and an offset."""
    try:
        return "T" in text.upper() and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def parse(field: Field, typed: str) -> Any:  # noqa: ANN401 - as the kind of field has it
    """Return the value that a person typed for `field`. Raises `UsageFault` where it does not fit.

    Choices go by value, by title in any case, or by number from 1; several are parted by commas.
    """
    value: Any = typed if field.kind == "text" else _read(field, typed.strip())
    wrong = _misfit(field, value)
    if wrong:
        raise UsageFault(f"{field.label} must {wrong}.")
    return value


def _read(field: Field, typed: str) -> object:
    if field.kind == "boolean":
        word = typed.casefold()
        return True if word in _YES else False if word in _NO else None
    if field.kind == "one":
        return _chosen(field, typed)
    if field.kind == "several":
        whole = _chosen(field, typed) if typed else None  # one whose own words have a comma
        several = [one.strip() for one in typed.split(",") if one.strip()]
        return [whole] if whole is not None else [_chosen(field, one) for one in several]
    try:
        return int(typed) if re.fullmatch(r"[+-]?[0-9]{1,30}", typed) else float(typed)
    except ValueError:
        return None


def _chosen(field: Field, typed: str) -> str | None:
    for option in field.options:
        if typed == option.value:
            return option.value
    for option in field.options:
        if typed.casefold() == option.title.casefold():
            return option.value
    number = int(typed) if re.fullmatch(r"[0-9]{1,4}", typed) else 0
    return field.options[number - 1].value if 1 <= number <= len(field.options) else None
