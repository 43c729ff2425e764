"""The gate is a pure function; its precedence is the table of `precedence.txt`."""

import itertools
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.permission.cases import TODAY, TOOLS, Row, table

from patina.model.faults import UsageFault
from patina.model.rules import named_rule, rule_id, rule_name
from patina.model.settings import PermissionRule, PermissionSettings
from patina.permission.approvals import Approvals, flag_for, parse_approvals
from patina.permission.gate import ALWAYS, FLOW, SESSION, Policy, PolicyGate, decide
from patina.permission.matching import matches
from patina.permission.offers import offers
from patina.ports.permission import Allow, AskUser, Case, Deny, Verdict, grant

ROWS = table()
SEARCH, DELETE, MOVE = TOOLS["search"], TOOLS["delete"], TOOLS["move"]
GENEROUS = Approvals(every=True, reads=True, tools=frozenset(one.name for one in TOOLS.values()))


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_precedence(row: Row) -> None:
    assert row.said() == row.verdict


def test_the_table_is_long_enough() -> None:
    assert len(ROWS) >= 150


def rule(action: str, **fields: Any) -> PermissionRule:
    return PermissionRule(action=action, **fields)  # type: ignore[arg-type]


def case(tool: str = "search", arguments: dict[str, Any] | None = None, **fields: Any) -> Case:
    return Case(tool=TOOLS[tool], arguments=arguments or {}, today=TODAY, **fields)


def policy(*rules: PermissionRule, **fields: Any) -> Policy:
    return Policy(settings=PermissionSettings(rules=rules), **fields)


# Laws: whatever the rules and the call.

GLOBS = st.sampled_from(["*", "github", "g*", "files", "search", "delete_*", "[sm]*", "?ove"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
RULES = st.builds(
    PermissionRule,
    action=st.sampled_from(["deny", "ask", "allow"]),
    server=GLOBS,
    tool=GLOBS,
    effect=st.sampled_from([None, "read", "write", "destructive", "open_world"]),
    args=st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["*", "", "1", "x*"])),
    expires=st.sampled_from(["", "2026-11-20", "2026-11-21", "2027-01-01"]),
    pin=st.sampled_from(["", "h1", "h0"]),
)
CASES = st.builds(
    Case,
    tool=st.sampled_from([*TOOLS.values()]),
    arguments=st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, max_size=3),
    today=st.just(TODAY),
    granted=st.sampled_from([frozenset(), frozenset(grant(one) for one in TOOLS.values())]),
    private=st.booleans(),
    untrusted=st.booleans(),
)
POLICIES = st.builds(
    Policy,
    settings=st.builds(
        PermissionSettings,
        default=st.sampled_from(["ask", "deny", "reads"]),
        rules=st.lists(RULES, max_size=4).map(tuple),
    ),
    approvals=st.sampled_from([Approvals(), Approvals(deny=True), Approvals(reads=True), GENEROUS]),
    auto_approve=st.sampled_from([frozenset(), frozenset({"github", "files"})]),
)


def freedom(verdict: Verdict) -> int:
    """How much a verdict lets through: nothing, what a person says, everything."""
    return (Deny, AskUser, Allow).index(type(verdict))


def with_rule(policy: Policy, added: PermissionRule) -> Policy:
    rules = (*policy.settings.rules, added)
    return replace(policy, settings=replace(policy.settings, rules=rules))


@given(POLICIES, CASES)
def test_no_call_passes_that_a_rule_denies(policy: Policy, case: Case) -> None:
    denying = [r for r in policy.settings.rules if r.action == "deny" and matches(r, case)]
    if denying:
        assert decide(policy, case) == Deny(
            rule_name(denying[0]), f"A rule of the user denies {case.tool.name}."
        )


@given(POLICIES, CASES)
def test_no_tool_passes_that_nobody_looked_at(policy: Policy, case: Case) -> None:
    if case.tool.change:
        assert isinstance(decide(policy, case), Deny)


@given(POLICIES, CASES)
def test_nothing_passes_while_the_rules_cannot_be_read(policy: Policy, case: Case) -> None:
    assert isinstance(decide(replace(policy, broken="x"), case), Deny)


@given(POLICIES, CASES, RULES)
def test_one_more_deny_or_ask_rule_never_allows_more(
    policy: Policy, case: Case, added: PermissionRule
) -> None:
    before = freedom(decide(policy, case))
    denied = freedom(decide(with_rule(policy, replace(added, action="deny")), case))
    asked = freedom(decide(with_rule(policy, replace(added, action="ask")), case))
    assert denied <= before
    # Where the default denies, an ask rule is there to have some calls asked about.
    assert asked <= (max(before, 1) if policy.settings.default == "deny" else before)


@given(POLICIES, CASES, RULES)
def test_one_more_allow_rule_never_allows_less(
    policy: Policy, case: Case, added: PermissionRule
) -> None:
    after = decide(with_rule(policy, replace(added, action="allow")), case)
    assert freedom(after) >= freedom(decide(policy, case))


@given(POLICIES, CASES)
def test_the_order_of_rules_does_not_matter(policy: Policy, case: Case) -> None:
    orders = itertools.permutations(policy.settings.rules)
    found = {
        freedom(decide(replace(policy, settings=replace(policy.settings, rules=order)), case))
        for order in orders
    }
    assert len(found) == 1


@given(RULES, CASES, st.dates().map(str), st.dates().map(str))
def test_a_rule_that_has_ended_never_holds_again(
    rule: PermissionRule, case: Case, one: str, other: str
) -> None:
    earlier, later = sorted((one, other))
    if matches(rule, replace(case, today=later)):
        assert matches(rule, replace(case, today=earlier))


@given(POLICIES, CASES)
def test_the_same_case_has_the_same_verdict(policy: Policy, case: Case) -> None:
    assert decide(policy, case) == decide(policy, case)


@given(POLICIES, CASES)
def test_what_may_carry_data_out_is_never_allowed_by_the_way(policy: Policy, case: Case) -> None:
    risky = case.private and case.untrusted and case.tool.open_world is not False
    verdict = decide(policy, case)
    if risky and not case.tool.built_in and isinstance(verdict, Allow):
        assert verdict.rule == f"--approve {case.tool.name}"


@given(POLICIES, CASES)
def test_what_always_writes_allows_this_very_call(policy: Policy, case: Case) -> None:
    verdict = decide(policy, case)
    if isinstance(verdict, AskUser):
        assert ("allow_always" in verdict.options) == bool(verdict.offers)
        for offer in verdict.offers:
            allowed = decide(with_rule(policy, offer), case)
            assert allowed == Allow(rule_name(offer))


# What "always" offers.


def test_offers_go_from_narrow_to_wide() -> None:
    schema: dict[str, Any] = {"properties": {"query": {}, "limit": {}, "sort": {}}}
    asked = replace(
        case("search", {"query": "a*b", "limit": 5}), tool=replace(SEARCH, schema=schema)
    )
    verdict = decide(policy(), asked)
    assert verdict == AskUser(ALWAYS, "", offers(asked))
    assert offers(asked) == (
        rule(
            "allow",
            server="github",
            tool="search",
            args={"query": "a[*]b", "limit": "5", "sort": ""},
            pin="h1",
        ),
        rule("allow", server="github", tool="search", pin="h1"),
        rule("allow", server="github", effect="read"),
        rule("allow", server="github"),
    )
    wider = replace(asked, arguments={"query": "a*b", "limit": 5, "sort": "new"})
    assert not matches(offers(asked)[0], wider)
    assert not matches(offers(asked)[0], replace(asked, arguments={"query": "axb", "limit": 5}))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"text": "x" * 81},
        {"text": "two\nlines"},
        {"text": "\u202e"},
        dict.fromkeys("abcde", 1),
        {"x" * 81: 1},
    ],
)
def test_a_rule_that_nobody_would_read_is_not_offered(arguments: dict[str, Any]) -> None:
    assert [offer.args for offer in offers(case("move", arguments))] == [{}, {}]


def test_a_changed_definition_voids_what_always_wrote() -> None:
    written = decide(policy(), case()).offers[0]  # type: ignore[union-attr]
    assert decide(policy(written), case()) == Allow(rule_name(written))
    swapped = replace(case(), tool=replace(SEARCH, hash="h2"))
    assert isinstance(decide(policy(written), swapped), AskUser)
    session = replace(swapped, granted=frozenset({grant(SEARCH)}))
    assert isinstance(decide(policy(), session), AskUser)


# What a verdict says.


def test_a_verdict_names_what_decided() -> None:
    asks = rule("ask")
    assert decide(policy(asks), case()) == AskUser(SESSION, f"Rule {rule_id(asks)} asks.")
    flow = decide(policy(), case(private=True, untrusted=True))
    assert isinstance(flow, AskUser)
    assert flow.reason == FLOW
    unseen = decide(policy(), case("changed"))
    assert unseen == Deny(
        "mcp review",
        "web.changed was changed by its server and nobody has looked at it yet. The user can, "
        "with `patina mcp review web`.",
    )
    broken = decide(policy(broken="config.toml line 3: no."), case())
    assert broken == Deny(
        "permissions",
        "No tool runs until the user's rules are right. config.toml line 3: no.",
    )


def test_the_id_of_a_rule_is_made_of_what_it_says() -> None:
    one = rule("deny", tool="delete_*", args={"a": "1", "b": "2"})
    same = rule("deny", tool="delete_*", args={"b": "2", "a": "1"}, server="*")
    assert rule_id(one) == rule_id(same)
    assert named_rule(rule_name(one)) == rule_id(one)
    assert named_rule("session") == named_rule("permissions.rules[0]") == ""
    changed = [replace(one, **{field: "x"}) for field in ("server", "tool", "pin", "expires")]
    assert len({rule_id(each) for each in [one, *changed]}) == 5


def test_the_gate_follows_the_policy_that_is_in_force() -> None:
    gate = PolicyGate(PermissionSettings())
    assert isinstance(gate.decide(case()), AskUser)
    gate.policy = policy(rule("allow"))
    assert isinstance(gate.decide(case()), Allow)


def test_deep_and_large_arguments_are_no_way_around() -> None:
    deep: Any = "/etc/passwd"
    for _ in range(5000):
        deep = [deep]
    denied = rule("deny", args={"to": "/etc/*"})
    assert isinstance(decide(policy(denied), case("move", {"to": deep})), Deny)
    huge = {"to": 10**40}
    assert isinstance(decide(policy(rule("deny", args={"to": "1*"})), case("move", huge)), Deny)


def test_a_number_is_the_same_however_it_is_written() -> None:
    denied = policy(rule("deny", args={"port": "22"}))
    for port in (22, 22.0, 2.2e1, "22", [22.0], {"is": 22.0}):
        assert isinstance(decide(denied, case("move", {"port": port})), Deny), port
    for port in (22.5, 220.0, 1e400):
        assert isinstance(decide(denied, case("move", {"port": port})), AskUser), port


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("github.search", "--approve github.search"),
        ("a.b c", "--approve 'a.b c'"),
        ("a.b; rm -rf ~", "--approve 'a.b; rm -rf ~'"),
        # No flag means these, or these alone.
        ("a.b,all", ""),
        ("a.b,start:c", ""),
        ("a.b ", ""),
        ("a.\u202eb", ""),
        ("a.b\nc", ""),
    ],
)
def test_a_name_gets_the_flag_that_allows_it_and_nothing_else(name: str, flag: str) -> None:
    assert flag_for(name) == flag
    if flag:
        value = shlex.split(flag)[1]
        assert parse_approvals(value) == Approvals(tools=frozenset({name}))


@pytest.mark.parametrize("text", ["yes", "all,deny", "search", "start:", "all,,nobody", "."])
def test_a_wrong_approval_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageFault):
        parse_approvals(text)


def test_approvals_combine() -> None:
    assert parse_approvals("reads, github.search,start:files") == Approvals(
        reads=True, tools=frozenset({"github.search"}), start=frozenset({"files"})
    )
