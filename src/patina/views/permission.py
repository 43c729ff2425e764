"""The question about a tool call as view state, the same words and keys in every front end (C-17).

What stands here comes from models and servers: hidden characters are made visible, but a front end
still passes each text through the sanitiser of its sink.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from patina.model.chat import ToolInfo
from patina.model.items import Ask, Choice
from patina.model.settings import PermissionRule

TITLE: Final = "Allow tool?"
ROUNDS_TITLE: Final = "Go on?"
PRICE_TITLE: Final = "Send it all the same?"
CLAIMS: Final = {
    "reads": "reads",
    "writes": "writes",
    "destructive": "destructive",
    "open_world": "reaches other machines",
}
_CHOICES: Final[dict[Choice, tuple[str, str]]] = {
    "allow_once": ("A", "Allow once"),
    "allow_session": ("S", "Allow for session"),
    "allow_always": ("W", "Always…"),
    "deny": ("D", "Deny"),
}
_ROUNDS_CHOICES: Final[dict[Choice, tuple[str, str]]] = {
    "allow_once": ("A", "Go on"),
    "deny": ("D", "Stop"),
}
_PRICE_CHOICES: Final[dict[Choice, tuple[str, str]]] = {
    "allow_once": ("A", "Send once"),
    "allow_session": ("S", "Always in this conversation"),
    "deny": ("D", "Do not send"),
}
# What a screen shows as nothing at all, though it counts as printable: fillers, the blank of
# Braille, joiners and the variation selectors that emoji do not use.
# Sources: Unicode Standard 23.4 (variation selectors), 13.5 (those of Mongolian), 18.6 (Hangul
# fillers), 21.1 (Braille).
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | frozenset(
    map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE0F), *range(0xE0100, 0xE01F0)))
)
_EMOJI: Final = "\ufe0f"  # the selector of emoji; behind other text it is nothing either
_KEYCAPS: Final = frozenset("#*0123456789")


class Key(Struct, frozen=True):
    """One choice of a question, with the key that gives it and its words."""

    choice: Choice
    key: str
    label: str


class Offer(Struct, frozen=True):
    """A rule that "always" may write: itself, in words, and as it will stand in config.toml."""

    rule: PermissionRule
    words: str
    text: str


class QuestionView(Struct, frozen=True, kw_only=True):
    """A question as it is shown. `arguments` are lines of indented JSON, in full.

    `claims` is what the server says of its tool. `danger` says that it claims to destroy.
    `position` of `count` is its place among those that are put together. `editable` says that the
    arguments may be changed before they are allowed.
    """

    ask_id: str
    title: str
    tool: str
    server: str
    claims: tuple[str, ...]
    why: str
    arguments: tuple[str, ...]
    choices: tuple[Key, ...]
    offers: tuple[Offer, ...] = ()
    position: int = 1
    count: int = 1
    danger: bool = False
    editable: bool = True

    def choice_of(self, key: str) -> Choice | None:
        """Return the choice that `key` (any case) gives, if this question has it."""
        wanted = key.strip().upper()
        return next((one.choice for one in self.choices if one.key == wanted), None)


def question_view(ask: Ask, together: Sequence[Ask] = ()) -> QuestionView:
    """Return `ask` as it is shown; `together` are the open questions, of which its batch counts."""
    if ask.kind != "call":
        rounds = ask.kind == "rounds"
        return QuestionView(
            ask_id=ask.id,
            title=ROUNDS_TITLE if rounds else PRICE_TITLE,
            tool="",
            server="",
            claims=(),
            why=visible(ask.reason),
            arguments=(),
            choices=_keys(ask, _ROUNDS_CHOICES if rounds else _PRICE_CHOICES),
            editable=False,
        )
    batch = [one.id for one in together if ask.batch and one.batch == ask.batch]
    return QuestionView(
        ask_id=ask.id,
        title=TITLE,
        tool=visible(f"{ask.server}.{ask.tool}"),
        server=visible(ask.display_name or ask.server),
        claims=tuple(CLAIMS[effect] for effect in ask.effects if effect in CLAIMS),
        why=visible(ask.reason),
        arguments=argument_lines(ask.arguments),
        choices=_keys(ask, _CHOICES),
        offers=tuple(Offer(rule, rule_words(rule), rule_text(rule)) for rule in ask.offers),
        position=batch.index(ask.id) + 1 if ask.id in batch else 1,
        count=max(len(batch), 1),
        danger="destructive" in ask.effects,
    )


def _keys(ask: Ask, words: dict[Choice, tuple[str, str]]) -> tuple[Key, ...]:
    return tuple(Key(option, *words[option]) for option in ask.options if option in words)


def effects_of(tool: ToolInfo) -> tuple[str, ...]:
    """Return what a tool's server claims of it, as `Ask.effects`."""
    reads = ("reads",) if tool.read_only else ("writes",) if tool.read_only is False else ()
    destroys = ("destructive",) if tool.destructive and not tool.read_only else ()
    return (*reads, *destroys, *(("open_world",) if tool.open_world else ()))


def argument_lines(arguments: str) -> tuple[str, ...]:
    """Return JSON text as indented lines, nothing left out and nothing hidden.

    What is shown is what will be run: of a key that stands twice only the one that counts.
    """
    try:
        value = msgspec.json.decode(arguments)
        pretty = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        pretty = arguments
    return tuple(visible(line) for line in pretty.split("\n"))


def visible(text: str) -> str:
    """Return `text` on one line, with an escape in place of each character that is not seen."""
    if text.isprintable() and _BLANK.isdisjoint(text) and _EMOJI not in text:
        return text
    before = ("", *text)
    return "".join(
        char if _is_seen(char, last) else _escaped(char)
        for last, char in zip(before, text, strict=False)
    )


def _is_seen(char: str, before: str) -> bool:
    if char == _EMOJI:
        return before in _KEYCAPS or not (before.isascii() or before == _EMOJI)
    return char.isprintable() and char not in _BLANK


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def rule_words(rule: PermissionRule) -> str:
    """Return a rule in words, such as "Always allow github.search"."""
    verbs = {"allow": "Always allow", "ask": "Always ask about", "deny": "Always deny"}
    words = [verbs[rule.action], _which(rule)]
    given = [f"{name} {_json(_unescaped(glob))}" for name, glob in rule.args.items() if glob]
    absent = [name for name, glob in rule.args.items() if not glob]
    if given:
        words.append(f"with {', '.join(given)}")
    if absent:
        words.append(f"{'and ' if given else ''}without {', '.join(absent)}")
    if rule.expires:
        words.append(f"until {rule.expires}")
    return visible(" ".join(words))


def _which(rule: PermissionRule) -> str:
    kinds = {
        None: "tools",
        "read": "tools that only read",
        "write": "tools that write",
        "destructive": "destructive tools",
        "open_world": "tools that reach other machines",
    }
    if rule.tool != "*":
        name = f"{_unescaped(rule.server)}.{_unescaped(rule.tool)}"
        return name if rule.effect is None else f"{name}, of the {kinds[rule.effect]}"
    servers = "every server" if rule.server == "*" else _unescaped(rule.server)
    return f"all {kinds[rule.effect]} of {servers}"


def _unescaped(glob: str) -> str:
    for char in "*?[":
        glob = glob.replace(f"[{char}]", char)
    return glob


def rule_text(rule: PermissionRule) -> str:
    """Return a rule as it will stand in config.toml."""
    fields: dict[str, Any] = msgspec.to_builtins(rule)
    lines = ["[[permissions.rules]]"]
    for name, value in fields.items():
        if isinstance(value, dict):
            inner = ", ".join(f"{_json(key)} = {_json(glob)}" for key, glob in value.items())
            lines.append(f"{name} = {{ {inner} }}")
        else:
            lines.append(f"{name} = {_json(value)}")
    return "\n".join(visible(line) for line in lines)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
