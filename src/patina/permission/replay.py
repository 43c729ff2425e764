"""What rules would have said of calls that were made."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from patina.model.chat import ToolInfo
from patina.model.items import Choice
from patina.permission.gate import Policy, decide
from patina.ports.permission import Allow, Case, Deny

Word = Literal["allow", "ask", "deny"]
WORDS: Final[tuple[Word, ...]] = ("allow", "ask", "deny")


class Past(Struct, frozen=True, kw_only=True):
    """A call that was decided: `choice` of what `rule` names, "user" being a person.

    `item` is the message of `conversation` that made it, `ts` when it was decided.
    """

    conversation: str
    item: str
    ts: str
    tool: ToolInfo
    arguments: Mapping[str, Any]
    choice: Choice
    rule: str


class Replayed(Struct, frozen=True):
    """What a policy and another one say of the same call."""

    past: Past
    before: Word
    after: Word


def replay(
    calls: Iterable[Past], before: Policy, after: Policy, today: str
) -> tuple[Replayed, ...]:
    """Decide about each of `calls` by both policies, as if it were made today.

    Grants of a session count for nothing, nor what its turn held, and every tool counts as seen:
    it is the rules that are looked at.
    """
    found = []
    for past in calls:
        tool = replace(past.tool, change="")
        case = Case(tool=tool, arguments=past.arguments, today=today)
        found.append(Replayed(past, _word(before, case), _word(after, case)))
    return tuple(found)


def _word(policy: Policy, case: Case) -> Word:
    verdict = decide(policy, case)
    if isinstance(verdict, Allow):
        return "allow"
    return "deny" if isinstance(verdict, Deny) else "ask"
