"""Money in words, the same in every front end (M-12, M-20). What is not known is never 0.

Amounts are USD. What is spent is rounded to the cent; what it cannot pass is rounded up. Figures
that are compared, or are a limit, keep what they have below a cent.
"""

from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import Final, Literal

from msgspec import Struct

from patina.model.money import Limit, LimitKind, Quote, Standing, Sum
from patina.model.usage import Cost

CENT: Final = Decimal("0.01")
UNKNOWN: Final = "unknown"
LOCAL: Final = "$0.00 (local)"
# From this likely cost on a message is quoted before it is sent, though nobody asked.
QUOTED_FROM: Final = Decimal("0.10")
BAR: Final = 10  # characters
_NOTHING: Final = Decimal(0)
_NAMES: Final[dict[LimitKind, str]] = {
    "request": "limit of one request",
    "turn": "limit of one message",
    "conversation": "limit of a conversation",
    "day": "daily limit",
    "month": "monthly limit",
    "model": "monthly limit of",
    "provider": "monthly limit of",
    "budget": "budget of this run",
}
_WORDS: Final[dict[LimitKind, str]] = {
    "request": "request",
    "turn": "turn",
    "conversation": "conversation",
    "day": "daily",
    "month": "monthly",
}
State = Literal["ok", "warning", "reached"]


def amount_text(amount: Decimal | None, *, local: bool = False) -> str:
    """Return an amount: "$0.02", "less than $0.01", "$0.00 (local)", "unknown"."""
    if amount is None:
        return UNKNOWN
    if local and not amount:
        return LOCAL
    if _NOTHING < amount < CENT:
        return "less than $0.01"
    return _cents(amount, ROUND_HALF_UP)


def about_text(amount: Decimal | None, *, local: bool = False) -> str:
    """Return an amount that is an estimate: "about $0.02"."""
    text = amount_text(amount, local=local)
    return f"about {text}" if text.startswith("$") and text != LOCAL else text


def most_text(amount: Decimal | None) -> str:
    """Return an amount that surely is not passed, so rounded up: "at most $0.11"."""
    return UNKNOWN if amount is None else f"at most {_cents(amount, ROUND_CEILING)}"


def exact_text(amount: Decimal) -> str:
    """Return an amount as it was set: "$5.00", "$0.0025"."""
    exponent = amount.normalize().as_tuple().exponent
    places = -exponent if isinstance(exponent, int) else 0
    return f"${amount:,.{max(places, 2)}f}"


def fine_text(amount: Decimal | None, *, local: bool = False) -> str:
    """Return an amount to be compared: two figures below a cent ("$0.0013"), else the cents."""
    if amount is None or amount >= CENT or amount <= 0:
        return amount_text(amount, local=local)
    return exact_text(_figures(amount, ROUND_HALF_UP))


def cost_text(cost: Cost | None) -> str:
    """Return what an answer cost: "$0.02", "about $0.02" where it is an estimate, "unknown"."""
    if cost is None:
        return UNKNOWN
    words = about_text if cost.estimated else amount_text
    return words(cost.amount, local=cost.source == "local")


def sum_text(total: Sum) -> str:
    """Return what requests cost together: "$1.23 + 2 requests without a price"."""
    missing = f"{_count(total.unknown, 'request')} without a price"
    if total.unknown and not total.cost:
        return missing if total.unknown == total.requests else f"$0.00 + {missing}"
    words = about_text if total.estimated else amount_text
    text = words(total.cost)
    return f"{text} + {missing}" if total.unknown else text


def quote_text(quote: Quote) -> str:
    """Return what a message would cost, to be shown before it is sent:
    "about $0.02, at most $0.11 (4,120 tokens in, up to 8,192 out)".
    """
    tokens = f"{_count(quote.input, 'token')} in, up to {quote.max_tokens:,} out"
    if quote.tariff.local:
        return f"{LOCAL}, {tokens}"
    if quote.likely is None or quote.most is None:
        return f"price {UNKNOWN} ({tokens})"
    return f"{about_text(quote.likely)}, {most_text(quote.most)} ({tokens})"


def running_text(cost: Cost) -> str:
    """Return what an answer that streams has cost so far: "about $0.02 so far"."""
    return f"{cost_text(cost)} so far"


def is_dear(quote: Quote) -> bool:
    """Whether a message is quoted before it is sent, though nobody asked."""
    return quote.likely is not None and quote.likely >= QUOTED_FROM


class ContextMeter(Struct, frozen=True, kw_only=True):
    """How full the context window of a model is. `share` is 0 to 1, None where the window is not
    known; `bar` is "" then.
    """

    tokens: int
    window: int | None
    share: float | None
    text: str
    bar: str = ""


def context_meter(tokens: int, window: int | None) -> ContextMeter:
    """Return the meter of a conversation with `tokens` for a model that takes `window`."""
    if not window:
        text = f"{_count(tokens, 'token')}; how many the model takes is not known"
        return ContextMeter(tokens=tokens, window=None, share=None, text=text)
    share = min(tokens / window, 1.0)
    text = f"{tokens:,} of {window:,} tokens ({_percent(tokens / window)})"
    return ContextMeter(tokens=tokens, window=window, share=share, text=text, bar=bar(share))


def bar(share: float) -> str:
    """Return a bar of `BAR` characters: empty only at nothing, full only at all."""
    full = int(min(max(share, 0.0), 1.0) * BAR)
    if share > 0 and not full:
        full = 1
    return "█" * full + "░" * (BAR - full)


class ServerCost(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an MCP server costs with each request: the tokens of its tools' schemas, and those of
    the results that the conversation has of it. Amounts None are unknown.
    """

    server: str
    schemas: int = 0
    results: int = 0
    schemas_cost: Decimal | None = None
    results_cost: Decimal | None = None
    local: bool = False


def server_text(cost: ServerCost) -> str:
    """Return a server's cost as a line: "files: tools 1,204 tokens ($0.0015), results 310 tokens
    ($0.0004) with every request".
    """
    parts = []
    if cost.schemas:
        money = fine_text(cost.schemas_cost, local=cost.local)
        parts.append(f"tools {_count(cost.schemas, 'token')} ({money})")
    if cost.results:
        money = fine_text(cost.results_cost, local=cost.local)
        parts.append(f"results {_count(cost.results, 'token')} ({money})")
    return f"{cost.server}: {', '.join(parts) or 'nothing'} with every request"


class ModelCost(Struct, frozen=True, kw_only=True):
    """What the next message would cost with `model`. `text` is for a list to choose from."""

    model: str
    quote: Quote
    text: str


def model_costs(quotes: Iterable[tuple[str, Quote]]) -> list[ModelCost]:
    """Return what the next message would cost with each model, cheapest first, unknown last."""
    found = [
        ModelCost(model=model, quote=quote, text=_choice_text(quote)) for model, quote in quotes
    ]
    return sorted(
        found,
        key=lambda one: (one.quote.likely is None, one.quote.likely or _NOTHING, one.model),
    )


def _choice_text(quote: Quote) -> str:
    if quote.tariff.local:
        return LOCAL
    if quote.likely is None or quote.most is None:
        return f"price {UNKNOWN}"
    likely = fine_text(quote.likely)
    most = quote.most if quote.most >= CENT else _figures(quote.most, ROUND_CEILING)
    bound = _cents(most, ROUND_CEILING) if most >= CENT else exact_text(most)
    return f"about {likely}, at most {bound}"


class LimitView(Struct, frozen=True, kw_only=True):
    """One limit as it is shown. `share` is what is spent and reserved, 1 being all of it."""

    name: str
    state: State
    share: float
    bar: str
    text: str


def limit_view(standing: Standing, warn_at: float = 0.8) -> LimitView:
    """Return how far a limit is used: "daily limit: $4.10 of $5.00 (82%)"."""
    limit, used = standing.limit, standing.spent + standing.held
    share = float(used / limit.amount) if limit.amount else 1.0
    state: State = "reached" if share >= 1 else "warning" if share >= warn_at else "ok"
    name = limit_name(limit)
    text = f"{name}: {amount_text(standing.spent)} of {exact_text(limit.amount)}"
    if standing.held:
        text += f", {amount_text(standing.held)} reserved"
    text += f" ({_percent(share)})"
    if standing.unknown:
        text += f" + {_count(standing.unknown, 'request')} without a price"
    return LimitView(name=name, state=state, share=share, bar=bar(share), text=text)


def limit_name(limit: Limit) -> str:
    """Return what people call the limit: "daily limit", "monthly limit of openai/gpt-5.2"."""
    named = limit.kind in ("model", "provider")
    return f"{_NAMES[limit.kind]} {limit.name}" if named else _NAMES[limit.kind]


def limit_word(limit: Limit) -> str:
    """Return the limit's word for `patina limits set`: "daily", "model:NAME"; "" for a budget."""
    if limit.kind in ("model", "provider"):
        return f"{limit.kind}:{limit.name}"
    return _WORDS.get(limit.kind, "")


def raise_text(word: str, amount: str) -> str:
    """Return the words of the offer at a hard stop: "Raise the daily limit to $6.00 and send
    again". `word` is as in `limit_word`.
    """
    kind, _, name = word.partition(":")
    kinds = {said: kind for kind, said in _WORDS.items()}
    limit = Limit(kind=kinds.get(kind, "model"), amount=Decimal(amount), name=name)
    return f"Raise the {limit_name(limit)} to {exact_text(limit.amount)} and send again"


def totals(sums: Sequence[tuple[str, Sum | None]]) -> list[str]:
    """Return lines such as "today: $1.23 (14 requests)"; without a sum, nothing was asked."""
    return [
        f"{name}: {sum_text(total)} ({_count(total.requests, 'request')})"
        if total is not None and total.requests
        else f"{name}: no requests"
        for name, total in sums
    ]


def _cents(amount: Decimal, rounding: str) -> str:
    return f"${amount.quantize(CENT, rounding):,}"


def _figures(amount: Decimal, rounding: str) -> Decimal:
    """Return `amount` with two figures."""
    if not amount:
        return amount
    return amount.quantize(Decimal(1).scaleb(amount.adjusted() - 1), rounding)


def _percent(share: float) -> str:
    return f"{int(share * 100)}%"  # never "100%" of what is not used up


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"
