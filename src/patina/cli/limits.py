"""`patina limits`: how far the spending limits are used, and changing them."""

import re
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import anyio
import click

from patina.billing.days import local_day
from patina.cli.context import context
from patina.cli.output import print_json, print_listing, use_color
from patina.cli.signs import only_ascii
from patina.cli.spent import standings as standings_of
from patina.config.environment import process_environment
from patina.config.keys import join_key
from patina.model.faults import UsageFault
from patina.model.money import Limit, LimitKind, Standing
from patina.model.settings import BillingSettings
from patina.store.money.ledger import utc_now
from patina.views.terminal_text import safe_text

if TYPE_CHECKING:
    from patina.config.paths import Paths
    from patina.views.money import LimitView

_AMOUNT: Final = re.compile(r"\$?(\d{1,12}(?:\.\d{1,12})?)", re.ASCII)
_NAMES: Final = "daily, monthly, request, turn, conversation, model:NAME or provider:NAME"
_SETTINGS: Final[dict[str, tuple[str, LimitKind]]] = {
    "daily": ("daily_limit", "day"),
    "monthly": ("monthly_limit", "month"),
    "request": ("request_limit", "request"),
    "turn": ("turn_limit", "turn"),
    "conversation": ("conversation_limit", "conversation"),
}
_TABLES: Final[dict[str, tuple[str, LimitKind]]] = {
    "model": ("per_model_limits", "model"),
    "provider": ("per_provider_limits", "provider"),
}
# These bound each one of many; how far one is used stands beside it, not here.
EACH: Final = ("request", "turn", "conversation")
_EPILOG: Final = f"""LIMIT is {_NAMES}; AMOUNT is in USD.
Limits of models and providers are per month."""


@click.group()
def limits() -> None:
    r"""Say how much may be spent. Nothing is sent that could pass a limit.

    \b
    Examples:
      patina limits show
      patina limits set daily 5
      patina limits set model:openai/gpt-5.2 10.00
      patina limits clear monthly
    """


@limits.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def show(ctx: click.Context, as_json: bool) -> None:
    r"""Show all limits, and how far those of today and of this month are used.

    \b
    Examples:
      patina limits show
      patina limits show --json
    """
    run = context(ctx)
    billing = run.load().settings.billing
    known = limits_of(billing)
    counted = [limit for limit in known if limit.kind not in EACH]
    found = anyio.run(standings_of, run, counted, local_day(utc_now()))
    standings = {(one.limit.kind, one.limit.name): one for one in found}
    if as_json:
        print_json([_row(one, standings, billing.warn_at) for one in known])
        return
    if not known:
        print("No limits are set: `patina limits set daily 5` sets one.", file=sys.stderr)
        return
    if sys.stdout.isatty():
        color = use_color(process_environment(), sys.stdout)
        for line in limit_lines(known, standings, billing, color=color):
            click.echo(line)
        return
    rows = [_row(one, standings, billing.warn_at) for one in known]
    keys = ("limit", "amount", "spent", "held", "state")
    print_listing(rows, {key: key.upper() for key in keys}, as_json=False)


@limits.command("set", epilog=_EPILOG)
@click.argument("limit")
@click.argument("amount")
@click.pass_context
def set_(ctx: click.Context, limit: str, amount: str) -> None:
    r"""Set a limit, or change it: from the next request on, in all that runs.

    \b
    Examples:
      patina limits set daily 6
      patina limits set request 0.25
      patina limits set provider:openai 20
    """
    run = context(ctx)
    write_limit(run.paths, limit, amount_of(amount))


@limits.command(epilog=_EPILOG)
@click.argument("limit")
@click.pass_context
def clear(ctx: click.Context, limit: str) -> None:
    r"""Remove a limit.

    \b
    Examples:
      patina limits clear daily
      patina limits clear model:openai/gpt-5.2
    """
    from patina.config.save import unset_value

    run = context(ctx)
    if not unset_value(run.paths, join_key(_path(limit))):
        raise UsageFault(
            f"There is no {limit} limit in {run.paths.config_file().name}.",
            hint="`patina limits show` shows those that are set.",
        )


def write_limit(paths: "Paths", limit: str, amount: Decimal) -> None:
    """Set the limit of that word ("daily", "model:NAME"). Raises `UsageFault`, `ConfigFault`."""
    from patina.config.save import set_value

    set_value(paths, join_key(_path(limit)), f"{amount:f}")


def amount_of(text: str) -> Decimal:
    """Return an amount in USD that a person wrote. Raises `UsageFault`."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise UsageFault(
            f"{text} is not an amount.", hint='Write it in USD with a point, such as "5" or "0.25".'
        )
    return max(Decimal(match[1]), Decimal("0.00")) if "." in match[1] else Decimal(f"{match[1]}.00")


def limits_of(billing: BillingSettings) -> list[Limit]:
    """Return the limits that are set, in the order in which they are shown."""
    found = [
        Limit(kind=kind, amount=Decimal(text))
        for field, kind in _SETTINGS.values()
        if (text := getattr(billing, field))
    ]
    for field, kind in _TABLES.values():
        table: dict[str, str] = getattr(billing, field)
        found += [Limit(kind=kind, amount=Decimal(text), name=name) for name, text in table.items()]
    return found


def limit_lines(
    known: list[Limit],
    standings: dict[tuple[LimitKind, str], Standing],
    billing: BillingSettings,
    *,
    color: bool = False,
) -> list[str]:
    """Return the lines for a person: a bar and how far each limit is used. Safe to print."""
    from patina.views.money import bar, exact_text, limit_name, limit_view

    lines = []
    for limit in known:
        standing = standings.get((limit.kind, limit.name))
        if standing is None:
            lines.append(
                safe_text(f"{_signs(bar(0))}  {limit_name(limit)}: {exact_text(limit.amount)}")
            )
            continue
        lines.append(_line(limit_view(standing, billing.warn_at), color=color))
    unknown = {
        "ask": "A model without a price: you are asked.",
        "allow": "A model without a price is used all the same.",
        "refuse": "A model without a price is not used.",
    }
    return [*lines, unknown[billing.on_unknown_price]]


def _line(view: "LimitView", *, color: bool) -> str:
    codes = {"ok": "32", "warning": "33", "reached": "31"}
    signs = _signs(view.bar)
    shown = f"\x1b[{codes[view.state]}m{signs}\x1b[0m" if color else signs
    return f"{shown}  {safe_text(view.text)}"


def _signs(bar: str) -> str:
    return bar.translate({ord("█"): "#", ord("░"): "-"}) if only_ascii() else bar


def _row(
    limit: Limit, standings: dict[tuple[LimitKind, str], Standing], warn_at: float
) -> dict[str, Any]:
    from patina.views.money import limit_view, limit_word

    row: dict[str, Any] = {"limit": limit_word(limit), "amount": f"{limit.amount:f}"}
    standing = standings.get((limit.kind, limit.name))
    if standing is None:
        return {**row, "spent": None, "held": None, "unknown": None, "share": None, "state": None}
    view = limit_view(standing, warn_at)
    return {
        **row,
        "spent": f"{standing.spent:f}",
        "held": f"{standing.held:f}",
        "unknown": standing.unknown,
        "share": round(view.share, 4),
        "state": view.state,
    }


def _path(word: str) -> tuple[str, str] | tuple[str, str, str]:
    """Return the key of a limit's setting. Raises `UsageFault`."""
    kind, colon, name = word.partition(":")
    if kind in _SETTINGS and not colon:
        return "billing", _SETTINGS[kind][0]
    if kind == "model" and "/" not in name.strip("/"):
        raise UsageFault(
            f"{word} names no model.",
            hint="Models are written provider/model, as in model:openai/gpt-5.2.",
        )
    if kind in _TABLES and name:
        return "billing", _TABLES[kind][0], name
    raise UsageFault(f"There is no limit called {word}.", hint=f"Limits are {_NAMES}.")
