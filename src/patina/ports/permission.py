"""The permission gate, and who writes the rules that people make of their answers."""

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from patina.model.chat import ToolInfo
from patina.model.items import Choice
from patina.model.settings import PermissionRule


class Case(Struct, frozen=True, kw_only=True):
    """A call to be decided about.

    `granted` holds what the user allowed for this session in this conversation, as `grant` names
    it; `today` is the date, YYYY-MM-DD. `private` and `untrusted` say that the turn holds data of
    a server marked private, and content that anyone may have written.
    """

    tool: ToolInfo
    arguments: Mapping[str, Any]
    today: str
    granted: frozenset[str] = frozenset()
    private: bool = False
    untrusted: bool = False


class Allow(Struct, frozen=True):
    """Run it. `rule` names what allows it."""

    rule: str


class Deny(Struct, frozen=True):
    """Do not run it. The model is told `reason`."""

    rule: str
    reason: str


class AskUser(Struct, frozen=True):
    """A person decides between `options`.

    `reason` says why they are asked, "" where that is the default. `offers` are the rules that
    "allow_always" may write, the narrowest first: each of them allows this very call; without
    one, "allow_always" is no option.
    """

    options: tuple[Choice, ...]
    reason: str
    offers: tuple[PermissionRule, ...] = ()


Verdict = Allow | Deny | AskUser


class Gate(Protocol):
    """Decides about tool calls. The same case under the same rules has the same answer."""

    def decide(self, case: Case) -> Verdict:
        """Decide about one call."""


class RuleWriter(Protocol):
    """Keeps the rules that a person's "always" makes."""

    async def write(self, rule: PermissionRule) -> str:
        """Add `rule` to the configuration and return its id (`model.rules.rule_id`).

        From then on the gate knows it; a rule that is there already is not added again. Raises
        `UsageFault` where the rule is wrong, and `ConfigFault` where the configuration is, or
        cannot be written.
        """


def grant(tool: ToolInfo) -> str:
    """Return the name of a session's grant: it holds for this definition of `tool` only."""
    return f"{tool.name}@{tool.hash}"
