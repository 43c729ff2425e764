"""Which limits a request is under, what stands there in words, and what would let it pass.

Everything here is arithmetic: the ledger says how far limits are used.
"""

import re
from decimal import ROUND_CEILING, Decimal
from typing import Final

from patina.billing.days import month_of
from patina.model.money import Limit, LimitKind, Standing, Wanted
from patina.model.settings import BillingSettings
from patina.views.money import exact_text, fine_text, limit_word

_CENT: Final = Decimal("0.01")
_PLAIN_WORD: Final = re.compile(r"[A-Za-z0-9_./:@%+=-]+")


def limits_of(wanted: Wanted, settings: BillingSettings) -> tuple[Limit, ...]:
    """Return the limits that a request is under, the narrowest first."""
    limits = [
        _limit("request", settings.request_limit),
        _limit("turn", settings.turn_limit, wanted.turn) if wanted.turn else None,
        None
        if wanted.budget is None
        else Limit(kind="budget", amount=wanted.budget, name=wanted.run or wanted.turn),
    ]
    if wanted.conversation:
        limits.append(_limit("conversation", settings.conversation_limit, wanted.conversation))
    names = (f"{wanted.provider}/{wanted.model}", wanted.model)
    for name, amount in settings.per_model_limits.items():
        if name in names:
            limits.append(_limit("model", amount, name))
    amount = settings.per_provider_limits.get(wanted.provider, "")
    limits.append(_limit("provider", amount, wanted.provider))
    limits.append(_limit("day", settings.daily_limit))
    limits.append(_limit("month", settings.monthly_limit))
    return tuple(limit for limit in limits if limit is not None)


def all_limits(settings: BillingSettings, conversation: str = "") -> tuple[Limit, ...]:
    """Return all limits that can be looked at without a request."""
    limits = [_limit("day", settings.daily_limit), _limit("month", settings.monthly_limit)]
    limits += (_limit("provider", text, it) for it, text in settings.per_provider_limits.items())
    limits += (_limit("model", text, it) for it, text in settings.per_model_limits.items())
    if conversation:
        limits.append(_limit("conversation", settings.conversation_limit, conversation))
    return tuple(limit for limit in limits if limit is not None)


def period_of(limit: Limit, day: str) -> str:
    """Return the period that `limit` counts on a local `day`: that day, its month, or ""."""
    if limit.kind == "day":
        return day
    return month_of(day) if limit.kind in ("month", "model", "provider") else ""


def limit_words(limit: Limit) -> str:
    """Return a limit as a sentence names it, such as "the daily limit of $5.00"."""
    amount = exact_text(limit.amount)
    if limit.kind == "budget":
        return f"the budget of {amount} for this run"
    if limit.kind in ("model", "provider"):
        return f"the monthly limit of {amount} for {limit.name}"
    words = {"day": "daily limit", "month": "monthly limit"}
    return f"the {words.get(limit.kind, f'limit per {limit.kind}')} of {amount}"


def refusal(standing: Standing, needed: Decimal | None) -> tuple[str, str]:
    """Return why a request that needs so much (None: nobody knows) does not pass `standing`, and
    what would let it pass.
    """
    limit = standing.limit
    words = limit_words(limit)
    may = f"This request may cost {fine_text(needed)}"
    if limit.kind == "request":
        text = f"{may}, more than {words}."
    elif needed is None:
        text = f"{words[:1].upper()}{words[1:]} is used up: {_used(standing)}."
    else:
        text = f"{may}, and {words} has {fine_text(left(standing))} left: {_used(standing)}."
    return f"{text} It was not sent.", raise_hint(standing, needed)


def raise_hint(standing: Standing, needed: Decimal | None) -> str:
    """Return what raises a limit so far that a request of `needed` passes, as a sentence."""
    limit, amount = standing.limit, raised(standing, needed)
    if limit.kind == "budget":
        return f"Give the run more: --budget {amount:f}"
    return f"Raise it: patina limits set {_quoted(limit_word(limit))} {amount:f}"


def raised(standing: Standing, needed: Decimal | None) -> Decimal:
    """Return the next round amount under which a request of `needed` passes."""
    least = standing.spent + standing.held + (needed or 0)
    least = max(least, standing.limit.amount + _CENT)
    # One digit below ten dollars, two above: 5.19 becomes 6, and 12.30 becomes 13.
    step = Decimal(1).scaleb(least.adjusted() - (1 if least >= 10 else 0))
    step = max(step, _CENT)
    return (least / step).to_integral_value(ROUND_CEILING) * step


def left(standing: Standing) -> Decimal:
    """Return what may still be reserved under a limit."""
    return max(standing.limit.amount - standing.spent - standing.held, Decimal(0))


def _used(standing: Standing) -> str:
    words = f"{fine_text(standing.spent)} is spent"
    if standing.held:
        words += f", {fine_text(standing.held)} held for requests that are under way"
    if standing.unknown:
        requests = "1 request" if standing.unknown == 1 else f"{standing.unknown} requests"
        words += f", and {requests} cost nobody knows what"
    return words


def _limit(kind: LimitKind, amount: str, name: str = "") -> Limit | None:
    return Limit(kind=kind, amount=Decimal(amount), name=name) if amount else None


def _quoted(word: str) -> str:
    if _PLAIN_WORD.fullmatch(word):
        return word
    import shlex

    return shlex.quote(word)
