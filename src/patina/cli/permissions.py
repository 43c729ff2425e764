"""`patina permissions`: the rules about tools."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

import click

from patina.cli.context import Context, context
from patina.cli.output import print_json, print_listing
from patina.model.faults import UsageFault
from patina.model.rules import named_rule, rule_id
from patina.model.settings import Configured, Effect, PermissionRule, RuleAction
from patina.views.permission import rule_words
from patina.views.terminal_text import safe_line, safe_text

if TYPE_CHECKING:
    from patina.assembly.app import App
    from patina.permission.replay import Past, Replayed

LAST: Final = 1000
_ACTIONS: Final = get_args(RuleAction)
_F = TypeVar("_F", bound=Callable[..., Any])


@click.group()
def permissions() -> None:
    r"""Say what tools may do unasked. Deny beats ask beats allow, whatever the order.

    \b
    Examples:
      patina permissions list
      patina permissions add allow --server github --effect read
      patina permissions test deny --tool "delete_*"
    """


def _rule_options(command: _F) -> _F:
    """Add the options that make a rule."""
    options = (
        click.option("--server", metavar="GLOB", default="*", help="Servers; all unless set."),
        click.option("--tool", metavar="GLOB", default="*", help="Tools; all unless set."),
        click.option(
            "--effect",
            type=click.Choice(get_args(Effect)),
            help="Only tools of which their server claims this.",
        ),
        click.option(
            "--arg",
            "args",
            metavar="NAME=GLOB",
            multiple=True,
            help="Only with such a value; NAME= is one that is empty or absent. Repeatable.",
        ),
        click.option("--expires", metavar="DATE", default="", help="Its last day, as 2026-12-31."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@permissions.command("list")
@click.option("--used", is_flag=True, help=f"Count what each decided in the last {LAST:,} calls.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def list_(ctx: click.Context, used: bool, as_json: bool) -> None:
    r"""List the rules, and what happens to a call that none decides.

    \b
    Examples:
      patina permissions list
      patina permissions list --used --json
    """
    run = context(ctx)
    configured = run.load()
    today = _today()
    rows = [_row(rule, configured, today) for rule in configured.settings.permissions.rules]
    columns = {"rule_id": "RULE", "says": "SAYS", "state": "STATE"}
    if used:
        decided = _decided(_past(run, LAST))
        rows = [
            {**row, "decided": len(times), "last": max(times, default=None)}
            for row in rows
            for times in [decided.get(row["rule_id"], [])]
        ]
        columns |= {"decided": "DECIDED", "last": "LAST"}
    print_listing(rows, columns, as_json=as_json, empty="No rules.")
    if not as_json:
        default = configured.settings.permissions.default
        click.echo(f"What no rule decides: {default} (permissions.default).", err=True)


@permissions.command()
@click.argument("action", type=click.Choice(_ACTIONS))
@_rule_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def add(ctx: click.Context, /, action: RuleAction, as_json: bool, **given: Any) -> None:  # noqa: ANN401 - values of `_rule_options`
    r"""Add a rule. A Patina that runs takes it up within seconds.

    \b
    Examples:
      patina permissions add deny --tool "delete_*"
      patina permissions add ask --server files --arg "path=/etc/*"
      patina permissions add allow --server github --effect read --expires 2026-12-31
    """
    from patina.config.rules import add_rule

    run = context(ctx)
    rule = _rule(action, **given)
    add_rule(run.paths, rule)
    configured = run.load()
    _warn_of_names(rule, configured)
    _show(rule, configured, as_json=as_json, said="Added")


@permissions.command()
@click.argument("rule_id", metavar="RULE")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def revoke(ctx: click.Context, rule_id: str, as_json: bool) -> None:
    r"""Take a rule away. RULE is its id, or the first characters of it.

    What was allowed for a session stays allowed until that ends.

    \b
    Example:
      patina permissions revoke 3f9a1c2b
    """
    from patina.config.rules import revoke_rule

    run = context(ctx)
    configured = run.load()
    rule = revoke_rule(run.paths, rule_id)
    _show(rule, configured, as_json=as_json, said="Revoked")


@permissions.command()
@click.argument("action", type=click.Choice(_ACTIONS), required=False)
@_rule_options
@click.option(
    "--last",
    type=click.IntRange(1),
    metavar="N",
    default=LAST,
    help=f"How many calls, the newest; {LAST} unless set.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def test(
    ctx: click.Context,
    /,
    action: RuleAction | None,
    last: int,
    as_json: bool,
    **given: Any,  # noqa: ANN401 - values of `_rule_options`
) -> None:
    r"""Say what the rules, and one more, would have done with past calls. Nothing is changed.

    Without an action, the rules as they are. Calls are taken from all conversations, and decided
    as if they were made today, without what was allowed for a session and by --approve.

    \b
    Examples:
      patina permissions test allow --server github --effect read
      patina permissions test deny --tool "delete_*" --last 200 --json
      patina permissions test
    """
    from msgspec.structs import replace

    from patina.config.rules import check_rule
    from patina.permission.gate import Policy, auto_approving
    from patina.permission.replay import replay

    run = context(ctx)
    settings = run.load().settings
    rule = _rule(action, **given) if action is not None else None
    if rule is None and given != {"server": "*", "tool": "*", "effect": None} | {
        "args": (),
        "expires": "",
    }:
        raise UsageFault("A rule needs an action.", hint=f"Say one of {', '.join(_ACTIONS)}.")
    before = Policy(settings=settings.permissions, auto_approve=auto_approving(settings))
    after = before
    if rule is not None:
        check_rule(rule)
        rules = (*settings.permissions.rules, rule)
        after = replace(before, settings=replace(settings.permissions, rules=rules))
    found = replay(_past(run, last), before, after, _today())
    if as_json:
        print_json(_report(rule, found))
    else:
        _print_report(rule, found)


def _rule(
    action: RuleAction,
    server: str,
    tool: str,
    effect: Effect | None,
    args: tuple[str, ...],
    expires: str,
) -> PermissionRule:
    globs: dict[str, str] = {}
    for pair in args:
        name, equals, glob = pair.partition("=")
        if not equals or not name:
            raise UsageFault(f"--arg {pair} is not NAME=GLOB.", hint='As --arg "path=/etc/*".')
        if name in globs:
            raise UsageFault(f"--arg names {name} twice.", hint="Add two rules.")
        globs[name] = glob
    return PermissionRule(
        action=action, server=server, tool=tool, effect=effect, args=globs, expires=expires
    )


def _row(rule: PermissionRule, configured: Configured, today: str) -> dict[str, Any]:
    source = configured.source("permissions.rules")
    return {
        "rule_id": rule_id(rule),
        "action": rule.action,
        "server": rule.server,
        "tool": rule.tool,
        "effect": rule.effect,
        "args": rule.args,
        "expires": rule.expires or None,
        "pin": rule.pin or None,
        "state": "expired" if rule.expires and rule.expires < today else "in force",
        "source": source.kind,
        "where": source.where,
        "says": rule_words(rule),
    }


def _show(rule: PermissionRule, configured: Configured, *, as_json: bool, said: str) -> None:
    if as_json:
        print_json(_row(rule, configured, _today()))
    else:
        click.echo(safe_text(f"{said} {rule_id(rule)}: {rule_words(rule)}."))


def _warn_of_names(rule: PermissionRule, configured: Configured) -> None:
    """Say where a rule names a server that is not there: a slip of the pen, or a plan."""
    known = {*configured.settings.mcp_servers, "patina"}
    if not any(char in rule.server for char in "*?[") and rule.server not in known:
        click.echo(f"No MCP server is named {safe_line(rule.server)} yet.", err=True)


def _today() -> str:
    from patina.engine.clock import SystemClock

    return SystemClock().now()[:10]


def _past(run: Context, most: int) -> "list[Past]":
    from patina.cli.past_calls import past_calls
    from patina.cli.running import run_app, setup_of

    async def body(app: "App") -> "list[Past]":
        return await past_calls(run, app.tools.known(), most)

    return run_app(setup_of(run, save=False), body, discover=False)


def _decided(past: "list[Past]") -> dict[str, list[str]]:
    """Return when each rule decided, by its id."""
    times: dict[str, list[str]] = {}
    for call in past:
        if decider := named_rule(call.rule):
            times.setdefault(decider, []).append(call.ts)
    return times


def _report(rule: PermissionRule | None, found: "tuple[Replayed, ...]") -> dict[str, Any]:
    from patina.permission.replay import WORDS

    return {
        "rule_id": rule_id(rule) if rule is not None else None,
        "calls": len(found),
        "before": {word: sum(one.before == word for one in found) for word in WORDS},
        "after": {word: sum(one.after == word for one in found) for word in WORDS},
        "changes": [
            {
                "session_id": one.past.conversation,
                "item_id": one.past.item,
                "ts": one.past.ts,
                "tool": one.past.tool.name,
                "arguments": one.past.arguments,
                "before": one.before,
                "after": one.after,
                "decided": one.past.choice,
                "rule": one.past.rule,
            }
            for one in found
            if one.before != one.after
        ],
    }


def _print_report(rule: PermissionRule | None, found: "tuple[Replayed, ...]") -> None:
    from patina.model.codec import encode_json

    report = _report(rule, found)
    if not found:
        click.echo("No calls yet: the transcripts hold none.", err=True)
        return
    calls = "1 call" if len(found) == 1 else f"{len(found):,} calls"
    click.echo(f"The rules as they are, over the last {calls}: {_counts(report['before'])}.")
    if rule is None:
        return
    click.echo(safe_text(f"{rule_words(rule)}: {_counts(report['after'])}."))
    rows = [
        {**change, "arguments": encode_json(change["arguments"]).decode()}
        for change in report["changes"]
    ]
    columns = {"ts": "WHEN", "tool": "TOOL", "arguments": "ARGUMENTS"}
    columns |= {"before": "BEFORE", "after": "AFTER"}
    print_listing(rows, columns, as_json=False, empty="It changes nothing.")


def _counts(counts: dict[str, int]) -> str:
    words = {"allow": "allowed", "ask": "asked about", "deny": "denied"}
    return ", ".join(f"{counts[word]:,} {said}" for word, said in words.items())
