"""The question about a call and the card of a call, as they are shown."""

from typing import Any

import pytest

from patina.model.items import Ask, Call, CallStatus, Result
from patina.model.parts import Text
from patina.model.settings import PermissionRule
from patina.views.permission import (
    argument_lines,
    question_view,
    rule_text,
    rule_words,
    visible,
)
from patina.views.tool_card import finished_card, running_card


def ask(**changed: Any) -> Ask:
    given: dict[str, Any] = {
        "id": "a1",
        "ts": "",
        "message": "m",
        "call_id": "c",
        "server": "github",
        "tool": "search",
        "arguments": '{"query":"rust"}',
        "display_name": "GitHub",
        "options": ("allow_once", "allow_session", "allow_always", "deny"),
        **changed,
    }
    return Ask(**given)


def test_the_question_names_tool_server_arguments_and_choices() -> None:  # C-17, C-18
    view = question_view(ask(effects=("writes", "open_world"), reason="A rule asks."))
    assert (view.title, view.tool, view.server) == ("Allow tool?", "github.search", "GitHub")
    assert view.claims == ("writes", "reaches other machines")
    assert view.why == "A rule asks."
    assert view.arguments == ("{", '  "query": "rust"', "}")
    assert [(one.key, one.label) for one in view.choices] == [
        ("A", "Allow once"),
        ("S", "Allow for session"),
        ("W", "Always…"),
        ("D", "Deny"),
    ]
    assert view.choice_of("s ") == "allow_session"
    assert view.choice_of("x") is None


def test_only_its_own_choices_have_keys() -> None:
    view = question_view(ask(options=("allow_once", "deny"), effects=("destructive",)))
    assert view.danger
    assert view.choice_of("s") is None
    assert view.choice_of("w") is None


def test_a_question_about_the_turn_has_its_own_words() -> None:
    view = question_view(ask(kind="rounds", reason="25.", options=("allow_once", "deny")))
    assert (view.title, view.why, view.arguments) == ("Go on?", "25.", ())
    assert [one.label for one in view.choices] == ["Go on", "Stop"]
    assert not view.editable


def test_the_place_in_its_batch() -> None:
    together = [ask(id=name, batch="a1") for name in ("a1", "a2")]
    other = ask(id="b1", server="files", batch="b1")
    view = question_view(together[1], [*together, other])
    assert (view.position, view.count) == (2, 2)
    assert question_view(other, [*together, other]).count == 1


@pytest.mark.parametrize(
    "char",
    [
        *"\x1b\x00\x7f\x9b\u200b\u200e\u202e\u2066\ufeff\u3164\u034f\ufe00\xad\u2800",
        *"\u180b\u180d\u180f\ufe0f\U000e0041\U000e0101\U0001d173",
    ],
)
def test_what_is_not_seen_is_shown(char: str) -> None:
    code = ord(char)
    escape = f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
    assert visible(f"a{char}b") == f"a{escape}b"
    view = question_view(ask(tool=f"se{char}arch", display_name=f"Git{char}Hub", reason=char))
    assert char not in view.tool + view.server + view.why


def test_arguments_are_whole_and_cannot_draw_lines_of_their_own() -> None:
    for seen in ("schön 日本 🙂", "❤\ufe0f 1\ufe0f\u20e3"):
        assert visible(seen) == seen
    assert visible("\ufe0fa❤\ufe0f\ufe0f") == "\\ufe0fa❤\ufe0f\\ufe0f"
    lines = argument_lines('{"a":"x\\ny\\u202e","b":[1,{"c":null}],"a":"last"}')
    assert "\n".join(lines) == (
        '{\n  "a": "last",\n  "b": [\n    1,\n    {\n      "c": null\n    }\n  ]\n}'
    )
    assert argument_lines('{"a":"x\\ny\\u202e"}')[1] == '  "a": "x\\ny\\u202e"'
    assert argument_lines("no json\n\x1b[2J") == ("no json", "\\u001b[2J")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"server": "github", "tool": "search"}, "Always allow github.search"),
        (
            {"server": "github", "tool": "search", "args": {"query": "a[*]", "page": ""}},
            'Always allow github.search with query "a*" and without page',
        ),
        ({"server": "github"}, "Always allow all tools of github"),
        (
            {"server": "github", "effect": "read"},
            "Always allow all tools that only read of github",
        ),
        (
            {"server": "github", "tool": "search", "expires": "2026-12-31"},
            "Always allow github.search until 2026-12-31",
        ),
        ({}, "Always allow all tools of every server"),
    ],
)
def test_offers_in_words(rule: dict[str, Any], words: str) -> None:
    assert rule_words(PermissionRule(action="allow", **rule)) == words


def test_an_offer_shows_what_will_stand_in_the_configuration() -> None:
    import tomllib

    rule = PermissionRule(action="allow", server="github", args={"q u": 'a"\u202e'}, pin="ab")
    text = rule_text(rule)
    assert tomllib.loads(text) == {
        "permissions": {
            "rules": [
                {"action": "allow", "server": "github", "args": {"q u": 'a"\u202e'}, "pin": "ab"}
            ]
        }
    }
    assert question_view(ask(offers=(rule,))).offers[0].text == text


@pytest.mark.parametrize(
    ("status", "text", "mark"),
    [
        ("completed", "github.search completed", "check"),
        ("failed", "github.search failed", "error"),
        ("timed_out", "github.search timed out after 30s", "error"),
        ("denied", "github.search denied", "none"),
        ("interrupted", "github.search interrupted", "none"),
    ],
)
def test_the_card_of_a_call(status: CallStatus, text: str, mark: str) -> None:
    call = Call(
        id="1", ts="", message="m", call_id="c", server="github", tool="search", arguments=""
    )
    running = running_card(call)
    assert (running.text, running.mark) == ("Using github.search...", "spinner")
    result = Result(
        id="2",
        ts="",
        message="m",
        call_id="c",
        server="github",
        tool="search",
        status=status,
        parts=(Text("found"),),
        duration_ms=812,
    )
    card = finished_card(result)
    assert (card.text, card.mark, card.state) == (text, mark, status)
    assert (card.duration_ms, card.parts) == (812, (Text("found"),))
