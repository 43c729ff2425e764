"""Tools, and the notation of `precedence.txt`."""

import json
from pathlib import Path
from typing import Any

from msgspec import Struct

from patina.model.chat import ToolInfo
from patina.model.items import Choice
from patina.model.rules import rule_name
from patina.model.settings import PermissionRule, PermissionSettings
from patina.permission.approvals import Approvals, parse_approvals
from patina.permission.gate import ALWAYS, ONCE, SESSION, Policy, decide
from patina.ports.permission import Allow, AskUser, Case, Deny, Verdict

TODAY = "2026-11-21"


def tool(server: str, name: str, **fields: Any) -> ToolInfo:
    return ToolInfo(
        server=server, tool=name, alias=f"{server}__{name}", display_name=server, **fields
    )


TOOLS = {
    "search": tool("github", "search", read_only=True, hash="h1"),
    "delete": tool("github", "delete_repo", read_only=False, destructive=True),
    "move": tool("files", "move"),
    "write": tool("files", "write", read_only=False, destructive=False, open_world=False),
    "fetch": tool("web", "fetch", read_only=True, open_world=True),
    "odd": tool("web", "odd", read_only=True, destructive=True),
    "new": tool("web", "new", read_only=True, change="new"),
    "changed": tool("web", "changed", read_only=True, change="changed"),
    "own": tool("patina", "read_result", read_only=True, built_in=True),
}
_QUESTIONS: dict[tuple[Choice, ...], str] = {ONCE: "once", SESSION: "session", ALWAYS: "always"}


class Row(Struct, frozen=True):
    """One row of the table."""

    tool: ToolInfo
    rules: tuple[PermissionRule, ...]
    words: tuple[str, ...]
    verdict: str

    def decided(self) -> Verdict:
        """Return what the gate says."""
        policy, case = self._read()
        return decide(policy, case)

    def said(self) -> str:
        """Return what the gate says, in the words of the table."""
        verdict = self.decided()
        if isinstance(verdict, AskUser):
            return f"ask {_QUESTIONS[verdict.options]}"
        for number, rule in enumerate(self.rules, 1):
            if verdict.rule == rule_name(rule):
                return f"{_word(verdict)} rule {number}"
        if verdict.rule.endswith("auto_approve"):
            return f"{_word(verdict)} auto"
        return f"{_word(verdict)} {verdict.rule}"

    def _read(self) -> tuple[Policy, Case]:
        arguments: dict[str, Any] = {}
        granted: set[str] = set()
        default, approvals = "ask", Approvals()
        for word in self.words:
            name, _, value = word.partition("=")
            if name.endswith(":"):
                arguments[name[:-1]] = json.loads(value)
            elif name == "default":
                default = value
            elif name == "approve":
                approvals = parse_approvals(value)
            elif name == "granted":
                granted.add(f"{self.tool.name}@{value or self.tool.hash}")
            else:
                assert word in ("auto", "private", "untrusted", "broken"), word
        policy = Policy(
            settings=PermissionSettings(default=default, rules=self.rules),  # type: ignore[arg-type]
            approvals=approvals,
            auto_approve=frozenset({self.tool.server} if "auto" in self.words else ()),
            broken="config.toml line 3 is wrong." if "broken" in self.words else "",
        )
        case = Case(
            tool=self.tool,
            arguments=arguments,
            today=TODAY,
            granted=frozenset(granted),
            private="private" in self.words,
            untrusted="untrusted" in self.words,
        )
        return policy, case


def read_rule(text: str) -> PermissionRule:
    """Return a rule in the notation of the table."""
    action, *rest = text.split()
    fields: dict[str, Any] = {}
    args: dict[str, str] = {}
    for word in rest:
        name, tilde, glob = word.partition("~")
        if tilde:
            args[name] = glob
        else:
            name, _, value = word.partition("=")
            fields[name] = value
    return PermissionRule(action=action, args=args, **fields)  # type: ignore[arg-type]


def table() -> dict[str, Row]:
    """Return the rows, by the line on which each stands."""
    lines = Path(__file__).with_name("precedence.txt").read_text(encoding="utf-8").splitlines()
    rows = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        named, rules, words, verdict = (cell.strip() for cell in line.split("|"))
        read = tuple(read_rule(rule) for rule in rules.split(";") if rule.strip())
        rows[f"{number}: {line}"] = Row(TOOLS[named], read, tuple(words.split()), verdict)
    return rows


def _word(verdict: Allow | Deny) -> str:
    return type(verdict).__name__.lower()
