"""Forms of servers: every kind of field, values that fit and do not, and hostile schemas."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.model.faults import Fault, McpFault, UsageFault
from patina.model.forms import (
    Field,
    Option,
    asks_for_secret,
    fields_of,
    parse,
    problems,
    with_defaults,
)

EVERYTHING: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2, "maxLength": 5, "default": "Ada"},
        "mail": {"type": "string", "format": "email", "title": "E-mail"},
        "home": {"type": "string", "format": "uri"},
        "day": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "date-time"},
        "share": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.5},
        "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
        "sure": {"type": "boolean", "default": False, "description": "Really?"},
        "plain": {"type": "string", "enum": ["a", "b"], "default": "b"},
        "titled": {
            "type": "string",
            "oneOf": [{"const": "r", "title": "Red"}, {"const": "g", "title": "Green, dark"}],
        },
        "legacy": {"type": "string", "enum": ["x", "y"], "enumNames": ["Ex", "Why"]},
        "many": {
            "type": "array",
            "items": {"type": "string", "enum": ["p", "q", "r"]},
            "minItems": 1,
            "maxItems": 2,
            "default": ["p"],
        },
        "titles": {
            "type": "array",
            "items": {"anyOf": [{"const": "1", "title": "One"}, {"const": "2", "title": "Two"}]},
        },
    },
    "required": ["name", "day"],
}
FIELDS = {field.name: field for field in fields_of(EVERYTHING)}


def test_every_kind_of_field_is_read_in_the_order_of_the_schema() -> None:
    assert [(field.name, field.kind) for field in FIELDS.values()] == [
        ("name", "text"),
        ("mail", "text"),
        ("home", "text"),
        ("day", "text"),
        ("at", "text"),
        ("share", "number"),
        ("count", "integer"),
        ("sure", "boolean"),
        ("plain", "one"),
        ("titled", "one"),
        ("legacy", "one"),
        ("many", "several"),
        ("titles", "several"),
    ]
    assert FIELDS["name"] == Field(
        name="name", kind="text", required=True, default="Ada", least=2, most=5
    )
    assert FIELDS["mail"].label == "E-mail"
    assert FIELDS["titled"].options == (Option("r", "Red"), Option("g", "Green, dark"))
    assert FIELDS["legacy"].options == (Option("x", "Ex"), Option("y", "Why"))
    assert FIELDS["titles"].options == (Option("1", "One"), Option("2", "Two"))
    assert FIELDS["sure"].description == "Really?"


def test_defaults_of_every_kind_fill_what_is_missing() -> None:
    filled = with_defaults(FIELDS.values(), {"day": "2026-12-01", "sure": True})
    assert filled == {
        "name": "Ada",
        "day": "2026-12-01",
        "share": 0.5,
        "count": 3,
        "sure": True,
        "plain": "b",
        "many": ["p"],
    }
    assert problems(tuple(FIELDS.values()), filled) == []


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("name", "A", "name must have at least 2 characters."),
        ("name", "Augusta", "name must have at most 5 characters."),
        ("name", 5, "name must be a text."),
        ("name", "\ud800x", "name must be a text."),
        ("mail", "ada", "E-mail must be an e-mail address."),
        ("mail", "a@b@c", "E-mail must be an e-mail address."),
        ("home", "example.org", "home must be an address such as https://example.org."),
        ("home", "http://[", "home must be an address such as https://example.org."),
        ("day", "1.12.2026", "day must be a date such as 2026-12-31."),
        ("day", "20261201", "day must be a date such as 2026-12-31."),
        ("day", "2026-02-30", "day must be a date such as 2026-12-31."),
        ("at", "2026-12-01", "at must be a moment such as 2026-12-31T09:30:00Z."),
        ("at", "2026-12-01T09:30:00", "at must be a moment such as 2026-12-31T09:30:00Z."),
        ("share", 1.5, "share must be at most 1."),
        ("share", "1", "share must be a number."),
        ("share", True, "share must be a number."),
        ("share", float("nan"), "share must be a number."),
        ("count", 2.5, "count must be a whole number."),
        ("count", 0, "count must be at least 1."),
        ("count", 2**80, "count must be a whole number."),
        ("sure", "yes", "sure must be yes or no."),
        ("plain", "c", "plain must be one of the choices."),
        ("plain", ["a"], "plain must be one of the choices."),
        ("titled", "Red", "titled must be one of the choices."),
        ("many", [], "many must have at least 1 choices."),
        ("many", ["p", "q", "r"], "many must have at most 2 choices."),
        ("many", ["p", "p"], "many must be choices that differ."),
        ("many", ["p", 1], "many must be some of the choices."),
        ("many", "p", "many must be a list of choices."),
        ("other", 1, "There is no field 'other'."),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(name: str, value: object, told: str) -> None:
    content = {"name": "Ada", "day": "2026-12-01", name: value}
    assert problems(tuple(FIELDS.values()), content) == [told]


def test_what_is_needed_is_named_and_too_much_is_refused() -> None:
    assert problems(tuple(FIELDS.values()), {}) == ["name is needed.", "day is needed."]
    fields = fields_of({"properties": {"text": {"type": "string"}}})
    assert problems(fields, {"text": "x" * 65_536}) == []
    assert len(problems(fields, {"text": "x" * 65_537})) == 1


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("name", " Ada ", " Ada "),
        ("share", "0.25", 0.25),
        ("share", "1", 1),
        ("count", " 7 ", 7),
        ("sure", "Yes", True),
        ("sure", "off", False),
        ("plain", "a", "a"),
        ("plain", "2", "b"),
        ("titled", "red", "r"),
        ("titled", "Green, dark", "g"),
        ("legacy", "why", "y"),
        ("many", "p, 2", ["p", "q"]),
        ("titles", "2", ["2"]),  # a value goes before a number
        ("titles", "one,Two", ["1", "2"]),
        ("titles", "", []),
        ("at", "2026-12-01T09:30:00+01:00", "2026-12-01T09:30:00+01:00"),
    ],
)
def test_what_a_person_types_becomes_a_value(name: str, typed: str, value: object) -> None:
    assert parse(FIELDS[name], typed) == value


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("name", "A"),
        ("share", "half"),
        ("share", "nan"),
        ("share", "inf"),
        ("count", "1.5"),
        ("count", "9" * 5_000),
        ("sure", "perhaps"),
        ("plain", "3"),
        ("plain", "0"),
        ("many", "p,z"),
        ("many", ""),
        ("day", "tomorrow"),
    ],
)
def test_what_a_person_types_wrongly_is_told(name: str, typed: str) -> None:
    with pytest.raises(UsageFault, match=f"^{name} must "):
        parse(FIELDS[name], typed)


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ({"a": {"type": "object", "properties": {}}}, "'a' is of the type 'object'"),
        ({"a": {"type": "array", "items": {"type": "object"}}}, "the choices of 'a'"),
        ({"a": {"type": "array"}}, "does not say what may be chosen"),
        ({"a": {"type": "null"}}, "of the type 'null'"),
        ({"a": {}}, "of the type 'None'"),
        ({"a": {"$ref": "#/x"}}, "of the type"),
        ({"a": "string"}, "is not described"),
        ({"": {"type": "string"}}, "no usable name"),
        ({"a": {"type": "string", "title": 1}}, "the title of 'a' is no text"),
        ({"a": {"type": "string", "minLength": "2"}}, "the minLength of 'a' is no number"),
        ({"a": {"type": "integer", "minimum": 3, "maximum": 2}}, "no value fits"),
        ({"a": {"type": "string", "enum": []}}, "0 choices"),
        ({"a": {"type": "string", "enum": ["x"] * 501}}, "501 choices"),
        ({"a": {"type": "string", "enum": [1]}}, "no list of texts"),
        ({"a": {"type": "string", "oneOf": [{"title": "x"}]}}, "no list of texts"),
        ({"a": {"type": "string", "oneOf": [1]}}, "are no list"),
        ({"a": {"type": "string", "enum": ["x" * 3_000]}}, "too long"),
        ({f"f{n}": {"type": "string"} for n in range(1000)}, "1000 fields"),
        ([], "no object of fields"),
    ],
)
def test_a_schema_that_is_no_form_is_refused_in_words(properties: Any, told: str) -> None:
    with pytest.raises(McpFault, match=told):
        fields_of({"type": "object", "properties": properties})


def test_requirements_that_cannot_be_met_are_refused() -> None:
    with pytest.raises(McpFault, match="requires 'b'"):
        fields_of({"properties": {}, "required": ["b"]})
    with pytest.raises(McpFault, match="list of names"):
        fields_of({"properties": {}, "required": "b"})
    with pytest.raises(McpFault, match="no object"):
        fields_of({"type": "array"})
    assert fields_of({}) == ()


def test_what_servers_write_otherwise_is_understood() -> None:
    fields = fields_of(
        {
            "properties": {
                "a": {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "A"},
                "b": {"type": ["integer", "null"], "default": None},
                "c": {"enum": ["x"], "enumNames": ["too", "many"]},
                "d": {"type": "string", "default": 7, "format": "hostname"},
            }
        }
    )
    assert [(field.kind, field.default, field.format) for field in fields] == [
        ("text", None, ""),
        ("integer", None, ""),
        ("one", None, ""),
        ("text", None, ""),
    ]
    assert fields[0].title == "A"
    assert fields[2].options == (Option("x", "x"),)


@pytest.mark.parametrize(
    "properties",
    [
        {"password": {"type": "string"}},
        {"userPassword": {"type": "string"}},
        {"api_key": {"type": "string"}},
        {"APIKey": {"type": "string"}},
        {"a": {"type": "string", "title": "Your GitHub token"}},
        {"a": {"type": "string", "title": "Private-Key"}},
        {"a": {"type": "string", "title": "Passphrase"}},
        {"pin": {"type": "integer"}},
        {"cvv": {"type": "number"}},
        {"client_secret": {"type": "string"}},
        {"verificationCode": {"type": "string"}},
        {"mfa_code": {"type": "integer"}},
        {"card": {"type": "string", "title": "Credit card"}},
        {"credentials": {"type": "string"}},
        {"a": {"type": "string", "format": "password"}},
        {"a": {"type": "string", "writeOnly": True}},
        {"a": {"type": "string", "description": "Please enter your API key here."}},
        {"Passwort": {"type": "string"}},
    ],
)
def test_forms_that_ask_for_secrets_are_known(properties: dict[str, Any]) -> None:
    assert asks_for_secret(fields_of({"properties": properties}))


@pytest.mark.parametrize(
    "properties",
    [
        {"name": {"type": "string"}, "passport": {"type": "string"}},
        {"max_tokens": {"type": "integer"}, "token_count": {"type": "integer"}},
        {"pin": {"type": "boolean", "title": "Pin the message"}},
        {"spinning": {"type": "string"}, "secretary": {"type": "string"}},
        {"reset_password": {"type": "boolean"}},
        {"key": {"type": "string", "description": "The key of the song."}},
        {"a": {"type": "string", "description": "Passwords are not needed. Enter a name."}},
        {"method": {"type": "string", "enum": ["password", "key"]}},
    ],
)
def test_harmless_forms_are_not_taken_for_such(properties: dict[str, Any]) -> None:
    assert not asks_for_secret(fields_of({"properties": properties}), "Please fill this in.")


def test_the_words_of_the_whole_form_may_ask_for_a_secret() -> None:
    text = fields_of({"properties": {"value": {"type": "string"}}})
    assert asks_for_secret(text, "Enter your password to go on.")
    choice = fields_of({"properties": {"value": {"type": "boolean"}}})
    assert not asks_for_secret(choice, "Shall your password be reset?")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "enum", "oneOf", "anyOf", "items", "const", "title", "default"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KINDS = st.sampled_from(["string", "number", "integer", "boolean", "array", "object", "null"])
SPEC = st.fixed_dictionaries(
    {"type": KINDS | JSON},
    optional={
        "enum": st.lists(st.text(max_size=3), max_size=4) | JSON,
        "oneOf": JSON,
        "anyOf": JSON,
        "items": st.fixed_dictionaries({"enum": st.lists(st.text(max_size=3))}) | JSON,
        "default": JSON,
        "format": st.sampled_from(["email", "uri", "date", "date-time", "password"]) | JSON,
        "minLength": JSON,
        "maxLength": st.integers(0, 5) | JSON,
        "minimum": st.integers() | JSON,
        "maxItems": JSON,
        "title": st.text(max_size=9) | JSON,
        "writeOnly": JSON,
    },
)
FORM = st.fixed_dictionaries(
    {"properties": st.dictionaries(st.text(max_size=4), SPEC | JSON, max_size=4) | JSON},
    optional={"type": st.just("object") | JSON, "required": JSON},
)


@given(FORM, st.dictionaries(st.text(max_size=4), JSON, max_size=4), st.text(max_size=12))
def test_no_schema_and_no_value_breaks_anything(
    schema: dict[str, Any], content: dict[str, Any], typed: str
) -> None:
    try:
        fields = fields_of(schema)
    except McpFault:
        return
    names = {field.name for field in fields}
    asks_for_secret(fields, typed)
    wrong = problems(fields, with_defaults(fields, content))
    assert all(sentence.endswith(".") for sentence in wrong)
    if not content:
        needed = {field.name for field in fields if field.required and field.default is None}
        assert len(wrong) == len(needed)  # a default that is taken always fits
    assert names.issuperset(with_defaults(fields, {}))
    for field in fields:
        try:
            value = parse(field, typed)
        except Fault:
            continue
        assert problems((field,), {field.name: value}) == []
        json.dumps(value)


@given(st.integers(-(10**6), 10**6) | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_that_is_typed_is_that_number(number: float) -> None:
    field = Field(name="a", kind="number")
    assert parse(field, repr(number)) == number


@given(st.lists(st.text(min_size=1), min_size=1, max_size=9, unique=True), st.data())
def test_a_choice_is_taken_by_its_value_and_else_by_its_number(
    values: list[str], data: st.DataObject
) -> None:
    values = [value for value in values if value.strip() == value] or ["x"]
    field = fields_of({"properties": {"a": {"type": "string", "enum": values}}})[0]
    chosen = data.draw(st.integers(1, len(values)))
    assert parse(field, values[chosen - 1]) == values[chosen - 1]
    if str(chosen) not in values:
        assert parse(field, str(chosen)) == values[chosen - 1]
