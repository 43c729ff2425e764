"""The gate: one pure function from a call and the rules to allow, deny or ask.

Precedence, first match decides:

1. a **deny** rule, whatever else matches;
2. that it is one of Patina's own tools, which reach only what the conversation has already;
3. what the user allowed in this conversation for this session;
4. the run's own approvals (`--approve`), which are answers given in advance;
5. an **ask** rule;
6. an **allow** rule;
7. the default of the configuration: ask, deny, or allow what only reads.

The order in which rules are written does not matter. What a server says of its own tools
(read-only, destructive, open-world) is a claim: a deny or ask rule also catches a tool that says
nothing, an allow rule only one that says so.
"""

import fnmatch
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from patina.model.chat import ToolInfo
from patina.model.items import Choice
from patina.model.settings import Effect, PermissionRule, PermissionSettings
from patina.permission.approvals import Approvals
from patina.ports.permission import Allow, AskUser, Deny, Verdict

OPTIONS: Final[tuple[Choice, ...]] = ("allow_once", "allow_session", "deny")


class PolicyGate(Struct, frozen=True):
    """`ports.permission.Gate` over the configuration and the approvals of this run."""

    settings: PermissionSettings = PermissionSettings()
    approvals: Approvals = Approvals()

    def decide(
        self, tool: ToolInfo, arguments: Mapping[str, Any], granted: frozenset[str], today: str
    ) -> Verdict:
        """Decide about one call, by the precedence above."""
        matching = {
            rule.action: f"permissions.rules[{number}]"
            for number, rule in reversed(list(enumerate(self.settings.rules)))
            if _matches(rule, tool, arguments, today)
        }
        if "deny" in matching:
            return Deny(matching["deny"], f"A rule of the user denies {tool.name}.")
        if tool.built_in:
            return Allow("built-in")
        if tool.name in granted:
            return Allow("session")
        if approved := self.approvals.verdict(tool):
            return approved
        if "ask" in matching:
            return self._unanswered(tool, f"{matching['ask']} asks.")
        if "allow" in matching:
            return Allow(matching["allow"])
        if self.settings.default == "deny":
            return Deny("permissions.default", f"The user's settings deny {tool.name}.")
        if self.settings.default == "reads" and tool.read_only is True:
            return Allow("permissions.default")
        return self._unanswered(tool, "")

    def _unanswered(self, tool: ToolInfo, reason: str) -> Verdict:
        if self.approvals.deny:
            return Deny("--approve deny", f"The user denies {tool.name} for this run.")
        return AskUser(OPTIONS, reason)


def _matches(
    rule: PermissionRule, tool: ToolInfo, arguments: Mapping[str, Any], today: str
) -> bool:
    return (
        not (rule.expires and rule.expires < today)
        and fnmatch.fnmatchcase(tool.server, rule.server)
        and fnmatch.fnmatchcase(tool.tool, rule.tool)
        and (rule.effect is None or _has(tool, rule.effect, strict=rule.action == "allow"))
        and all(_argument(arguments, name, glob) for name, glob in rule.args.items())
    )


def _has(tool: ToolInfo, effect: Effect, *, strict: bool) -> bool:
    """Whether `tool` has `effect`; where it says nothing, `strict` means no."""
    silent = not strict
    if effect == "read":
        return tool.read_only is True
    if effect == "write":
        return tool.read_only is False or (silent and tool.read_only is None)
    if tool.read_only is True and effect == "destructive":
        return False
    claim = tool.destructive if effect == "destructive" else tool.open_world
    return claim is True or (silent and claim is None)


def _argument(arguments: Mapping[str, Any], name: str, glob: str) -> bool:
    if name not in arguments:
        return False
    value = arguments[name]
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return fnmatch.fnmatchcase(text, glob)
