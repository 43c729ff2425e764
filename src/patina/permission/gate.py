"""The gate: one pure function from a call and the policy to allow, deny or ask.

Precedence, the first that applies decides:

 1. rules that cannot be read: every call is denied until they are right;
 2. a **deny** rule;
 3. a tool that is new, or that changed, and that nobody has looked at yet: denied;
 4. that it is one of Patina's own tools, which reach only what the conversation has already;
 5. what the user allowed in this conversation for this session;
 6. the run's own approvals (`--approve`), which are answers given in advance;
 7. an **ask** rule;
 8. an **allow** rule;
 9. that its server's tools run unasked (`auto_approve`);
10. the default of the configuration: ask, deny, or allow what only reads.

Over 5 to 10 stands the rule of the data flow: where the turn holds private data and content that
anyone may have written, a tool that may send data out is asked about each time, unless it is
denied, or this run's `--approve` names it.

The order in which rules are written does not matter. What a server says of its own tools
(read-only, destructive, open-world) is a claim: see `matching`.
"""

from typing import Final

from msgspec import Struct

from patina.model.items import Choice
from patina.model.rules import rule_id, rule_name
from patina.model.settings import PermissionSettings, Settings
from patina.permission.approvals import Approvals
from patina.permission.matching import is_destructive, matches, may_send_out
from patina.permission.offers import offers
from patina.ports.permission import Allow, AskUser, Case, Deny, Verdict, grant

ONCE: Final[tuple[Choice, ...]] = ("allow_once", "deny")
SESSION: Final[tuple[Choice, ...]] = ("allow_once", "allow_session", "deny")
ALWAYS: Final[tuple[Choice, ...]] = ("allow_once", "allow_session", "allow_always", "deny")
FLOW: Final = (
    "This turn holds private data and content that anyone may have written, and this tool may "
    "send data out."
)


class Policy(Struct, frozen=True, kw_only=True):
    """What is in force. `auto_approve` names servers. `broken` says what is wrong with the rules,
    "" where nothing is.
    """

    settings: PermissionSettings = PermissionSettings()
    approvals: Approvals = Approvals()
    auto_approve: frozenset[str] = frozenset()
    broken: str = ""


def auto_approving(settings: Settings) -> frozenset[str]:
    """Return the servers whose tools run unasked."""
    return frozenset(name for name, one in settings.mcp_servers.items() if one.auto_approve)


class PolicyGate:
    """`ports.permission.Gate` over the policy that is in force. Who changes that sets `policy`."""

    def __init__(self, settings: PermissionSettings, approvals: Approvals | None = None) -> None:
        self.policy = Policy(settings=settings, approvals=approvals or Approvals())

    def decide(self, case: Case) -> Verdict:
        """As `Gate.decide`."""
        return decide(self.policy, case)


def decide(policy: Policy, case: Case) -> Verdict:
    """Decide about one call, by the precedence above."""
    tool = case.tool
    verdict = _decide(policy, case)
    if isinstance(verdict, Deny) or not (case.private and case.untrusted and may_send_out(tool)):
        return verdict
    if tool.name in policy.approvals.tools:
        return Allow(f"--approve {tool.name}")
    return _unanswered(policy, case, AskUser(ONCE, FLOW))


def _decide(policy: Policy, case: Case) -> Verdict:
    tool, rules = case.tool, policy.settings.rules
    if policy.broken:
        reason = f"No tool runs until the user's rules are right. {policy.broken}"
        return Deny("permissions", reason)
    matching = {rule.action: rule for rule in reversed(rules) if matches(rule, case)}
    if denied := matching.get("deny"):
        return Deny(rule_name(denied), f"A rule of the user denies {tool.name}.")
    if tool.change:
        return _unseen(case)
    if tool.built_in:
        return Allow("built-in")
    if grant(tool) in case.granted:
        return Allow("session")
    if approved := policy.approvals.verdict(tool):
        return approved
    if asked := matching.get("ask"):
        # No offers: an ask rule beats whatever "always" would write.
        return _unanswered(policy, case, AskUser(SESSION, f"Rule {rule_id(asked)} asks."))
    if allowed := matching.get("allow"):
        return Allow(rule_name(allowed))
    if tool.server in policy.auto_approve:
        return Allow(f"mcp_servers.{tool.server}.auto_approve")
    if policy.settings.default == "deny":
        return Deny("permissions.default", f"The user's settings deny {tool.name}.")
    if policy.settings.default == "reads" and tool.read_only is True:
        return Allow("permissions.default")
    return _unanswered(policy, case, AskUser(ALWAYS, "", offers(case)))


def _unseen(case: Case) -> Deny:
    tool = case.tool
    what = "is new" if tool.change == "new" else "was changed by its server"
    return Deny(
        "mcp review",
        f"{tool.name} {what} and nobody has looked at it yet. The user can, with "
        f"`patina mcp review {tool.server}`.",
    )


def _unanswered(policy: Policy, case: Case, question: AskUser) -> Verdict:
    """Return `question`, as far as it may be put and as this tool allows."""
    if policy.approvals.deny:
        return Deny("--approve deny", f"The user denies {case.tool.name} for this run.")
    if is_destructive(case.tool):
        return AskUser(ONCE, question.reason)
    return question
