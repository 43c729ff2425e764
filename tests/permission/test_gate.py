"""The gate is a pure function; its precedence is this table."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.model.chat import ToolInfo
from patina.model.faults import UsageFault
from patina.model.items import Ask
from patina.model.settings import PermissionRule, PermissionSettings
from patina.permission import wording
from patina.permission.approvals import Approvals, parse_approvals
from patina.permission.gate import OPTIONS, PolicyGate
from patina.ports.permission import Allow, AskUser, Deny, Verdict

TODAY = "2026-11-21"
SEARCH = ToolInfo(
    server="github", tool="search", alias="github__search", display_name="GitHub", read_only=True
)
DELETE = ToolInfo(
    server="github",
    tool="delete_repo",
    alias="github__delete_repo",
    display_name="GitHub",
    read_only=False,
    destructive=True,
)
SILENT = ToolInfo(server="files", tool="move", alias="files__move", display_name="Files")


def rule(action: str, **fields: object) -> PermissionRule:
    return PermissionRule(action=action, **fields)  # type: ignore[arg-type]


def decide(
    tool: ToolInfo,
    *rules: PermissionRule,
    default: str = "ask",
    approve: str = "ask",
    granted: frozenset[str] = frozenset(),
    arguments: dict[str, object] | None = None,
) -> Verdict:
    settings = PermissionSettings(default=default, rules=rules)  # type: ignore[arg-type]
    return PolicyGate(settings, parse_approvals(approve)).decide(
        tool, arguments or {}, granted, TODAY
    )


@pytest.mark.parametrize(
    ("tool", "rules", "more", "expected"),
    [
        (SEARCH, [], {}, AskUser),
        (SEARCH, [], {"default": "deny"}, Deny),
        (SEARCH, [], {"default": "reads"}, Allow),
        (DELETE, [], {"default": "reads"}, AskUser),
        (SILENT, [], {"default": "reads"}, AskUser),
        (SEARCH, [rule("allow")], {}, Allow),
        (SEARCH, [rule("allow"), rule("ask")], {}, AskUser),
        (SEARCH, [rule("allow"), rule("ask"), rule("deny")], {}, Deny),
        (SEARCH, [rule("deny", server="other")], {}, AskUser),
        (DELETE, [rule("deny", tool="delete_*"), rule("allow")], {}, Deny),
        (DELETE, [rule("deny", effect="destructive")], {"approve": "all"}, Deny),
        (SILENT, [rule("deny", effect="destructive")], {}, Deny),
        (SILENT, [rule("allow", effect="read")], {}, AskUser),
        (SILENT, [rule("allow", effect="open_world")], {}, AskUser),
        (SILENT, [rule("ask", effect="open_world"), rule("allow")], {}, AskUser),
        (SEARCH, [rule("deny", effect="destructive")], {}, AskUser),
        (SEARCH, [rule("deny", expires="2026-11-20")], {}, AskUser),
        (SEARCH, [rule("deny", expires="2026-11-21")], {}, Deny),
        (SILENT, [rule("deny", args={"to": "/etc/*"})], {"arguments": {"to": "/etc/x"}}, Deny),
        (SILENT, [rule("deny", args={"to": "/etc/*"})], {"arguments": {"to": "/tmp"}}, AskUser),
        (SILENT, [rule("deny", args={"n": "[[]1,2]"})], {"arguments": {"n": [1, 2]}}, Deny),
        (SILENT, [rule("deny", args={"to": "*"})], {}, AskUser),
        (SEARCH, [], {"approve": "all"}, Allow),
        (SEARCH, [], {"approve": "reads"}, Allow),
        (DELETE, [], {"approve": "reads"}, AskUser),
        (DELETE, [], {"approve": "github.delete_repo"}, Allow),
        (SEARCH, [], {"approve": "github.delete_repo"}, AskUser),
        (SEARCH, [], {"approve": "deny"}, Deny),
        (SEARCH, [rule("allow")], {"approve": "deny"}, Allow),
        (SEARCH, [rule("ask")], {"approve": "all"}, Allow),
        (SEARCH, [rule("ask")], {"granted": frozenset({"github.search"})}, Allow),
        (SEARCH, [rule("deny")], {"granted": frozenset({"github.search"})}, Deny),
        (DELETE, [], {"granted": frozenset({"github.search"})}, AskUser),
    ],
)
def test_precedence(
    tool: ToolInfo, rules: list[PermissionRule], more: dict[str, object], expected: type[Verdict]
) -> None:
    assert isinstance(decide(tool, *rules, **more), expected)  # type: ignore[arg-type]


_RULES = st.builds(
    PermissionRule,
    action=st.sampled_from(["deny", "ask", "allow"]),
    server=st.sampled_from(["*", "github", "files"]),
    tool=st.sampled_from(["*", "search", "delete_*"]),
    effect=st.sampled_from([None, "read", "write", "destructive", "open_world"]),
)


@given(st.lists(_RULES, max_size=4), st.sampled_from([SEARCH, DELETE, SILENT]))
def test_the_order_of_rules_does_not_matter(rules: list[PermissionRule], tool: ToolInfo) -> None:
    kinds = {type(decide(tool, *order)) for order in itertools.permutations(rules)}
    assert len(kinds) == 1


@given(st.lists(_RULES, max_size=4), st.sampled_from([SEARCH, DELETE, SILENT]))
def test_nothing_overrides_a_deny_rule(rules: list[PermissionRule], tool: ToolInfo) -> None:
    denied = isinstance(decide(tool, *rules), Deny)
    generous = decide(tool, *rules, approve="all", granted=frozenset({tool.name}))
    assert isinstance(generous, Deny) == denied


def test_a_verdict_names_what_decided() -> None:
    assert decide(SEARCH, rule("ask"), rule("deny")) == Deny(
        "permissions.rules[1]", "A rule of the user denies github.search."
    )
    assert decide(SEARCH, approve="reads") == Allow("--approve reads")
    assert decide(SEARCH) == AskUser(OPTIONS, "")  # C-18: the three choices


@pytest.mark.parametrize("text", ["yes", "all,deny", "search", "start:", "all,,nobody", "."])
def test_a_wrong_approval_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageFault):
        parse_approvals(text)


def test_approvals_combine() -> None:
    assert parse_approvals("reads, github.search,start:files") == Approvals(
        reads=True, tools=frozenset({"github.search"}), start=frozenset({"files"})
    )


def test_the_question_names_tool_server_and_all_arguments() -> None:  # C-17, C-18
    ask = Ask(
        id="x",
        ts="t",
        message="m",
        call_id="c",
        server="github",
        tool="search",
        arguments='{"query":"rust","limits":[1,2]}',
        display_name="GitHub",
        options=OPTIONS,
    )
    assert wording.TITLE == "Allow tool?"
    assert wording.summary(ask) == "github.search  (GitHub)\n  query: rust\n  limits: [1,2]"
    assert wording.choices(ask) == "[A] Allow once   [S] Allow for session   [D] Deny"
    assert [wording.choice_of(ask, key) for key in "aSdx"] == [
        "allow_once",
        "allow_session",
        "deny",
        None,
    ]


def test_an_argument_cannot_pass_for_further_lines_of_the_question() -> None:
    ask = Ask(
        id="x",
        ts="t",
        message="m",
        call_id="c",
        server="files",
        tool="write",
        arguments='{"path":"/tmp/x\\n  content: harmless\\n[A] Allow once","to\\u202eyp.exe":" y"}',
        display_name="Files\n[A]",
        options=OPTIONS,
    )
    lines = wording.summary(ask).split("\n")
    assert lines == [
        'files.write  ("Files\\n[A]")',
        '  path: "/tmp/x\\n  content: harmless\\n[A] Allow once"',
        '  "to\\u202eyp.exe": " y"',
    ]
