"""Money: what a request may cost, what it did cost, and what it was for. Never a float.

`billing` does the arithmetic, `store` keeps the lines (`docs/transcripts.md`, Money).
"""

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from patina.model.usage import Usage

# Who wanted the request: the user's message, the follow-up of tools, ours, or a server.
Purpose = Literal["chat", "tools", "title", "summary", "retry", "compare", "sampling"]
# "held" is open; "lost" is one whose end nobody saw, booked at its worst case.
Outcome = Literal["held", "done", "cut", "failed", "cancelled", "void", "lost"]
LimitKind = Literal[
    "request", "turn", "conversation", "day", "month", "model", "provider", "budget"
]
TokenKind = Literal["input", "output", "cache_read", "cache_write"]


class Step(Struct, frozen=True, array_like=True):
    """A price in USD per million tokens for requests whose input is over `above` tokens."""

    above: int
    price: Decimal


class Tariff(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a model costs at one moment.

    For each kind of token the steps in ascending order, () where unknown; the last whose `above`
    the whole input passes counts for every token of the request. `per_request` is USD for each
    request. `source` says whose figures these are, `date` (YYYY-MM-DD) of when. `local`: it costs
    nothing, by rule. `factors` multiply everything for a service tier, such as "batch"; `services`
    are whole tariffs of tiers whose figures are known one by one, and go before factors.
    """

    input: tuple[Step, ...] = ()
    output: tuple[Step, ...] = ()
    cache_read: tuple[Step, ...] = ()
    cache_write: tuple[Step, ...] = ()
    per_request: Decimal = Decimal(0)
    source: str = ""
    date: str = ""
    local: bool = False
    factors: dict[str, Decimal] = {}
    services: dict[str, "Tariff"] = {}

    @property
    def known(self) -> bool:
        """Whether it says what a request costs."""
        return self.local or bool(self.input and self.output)


class Wanted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request that is about to be sent.

    `most_input` is tokens that its input surely does not pass, `input` a fair estimate of it;
    `max_tokens` the bound of its output that is sent with it, reasoning included. `turn` is the
    message that it belongs to, `server` the one that it is made for (sampling). `timeout` is the
    seconds that the request may take. `budget` is the bound of this run alone, `run` its name.
    """

    provider: str
    model: str
    purpose: Purpose
    most_input: int
    input: int
    max_tokens: int
    conversation: str = ""
    turn: str = ""
    server: str = ""
    timeout: float = 120.0
    budget: Decimal | None = None
    run: str = ""


class Used(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a request ended. `usage` None: the provider told nothing; then `output` is an estimate
    of the tokens that came, those that may have come unseen among them. `billed` is what the
    provider itself says that it costs, `tier` its word for the service that it was (such as
    "batch"). `sent`: whether it can have been charged.
    """

    outcome: Outcome
    usage: Usage | None = None
    output: int = 0
    billed: Decimal | None = None
    tier: str = ""
    sent: bool = True
    first_token_ms: int | None = None
    duration_ms: int = 0


class Hold(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Money that is reserved for one request. `amount` None: the price is not known.

    `at` is UTC; `day` is the local day (YYYY-MM-DD) that it counts for, for good. `expires` (UTC):
    when nobody can be waiting for its end any more.
    """

    id: str
    at: str
    day: str
    expires: str
    provider: str
    model: str
    purpose: Purpose
    amount: Decimal | None
    conversation: str = ""
    turn: str = ""
    server: str = ""
    run: str = ""
    source: str = ""
    price_date: str = ""


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the ledger: a request, and what became of it.

    `cost` None is unknown, never zero; `estimated`: tokens or price are not the provider's word.
    `held` is what was reserved for it.
    """

    id: str
    at: str
    day: str
    provider: str
    model: str
    purpose: Purpose
    outcome: Outcome
    usage: Usage = Usage()
    cost: Decimal | None = None
    estimated: bool = False
    held: Decimal | None = None
    conversation: str = ""
    turn: str = ""
    server: str = ""
    run: str = ""
    source: str = ""
    price_date: str = ""
    tier: str = ""
    first_token_ms: int | None = None
    duration_ms: int = 0


class Limit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One limit: `amount` USD for all that `kind` and `name` cover.

    `name` is the model or provider, the id of the conversation, turn or run; "" for the others.
    """

    kind: LimitKind
    amount: Decimal
    name: str = ""


class Standing(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a limit is used: `spent` is booked, `held` reserved; `unknown` counts requests that
    are in neither, for want of a price.
    """

    limit: Limit
    spent: Decimal = Decimal(0)
    held: Decimal = Decimal(0)
    unknown: int = 0


class Sum(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Requests added up under `key`, such as a day or a model. `unknown` of them have no price,
    `estimated` are not the provider's word; `cost` is that of all others.
    """

    key: str
    requests: int = 0
    usage: Usage = Usage()
    cost: Decimal = Decimal(0)
    unknown: int = 0
    estimated: int = 0
    duration_ms: int = 0


class Top(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The dearest of many sums, dearest first. `left` others are added up in `rest`."""

    sums: tuple[Sum, ...] = ()
    rest: Sum = Sum(key="")
    left: int = 0


class Quote(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a request would cost: about `likely`, surely no more than `most`; None is unknown.

    `blocked` is the limit that it would pass, if any.
    """

    likely: Decimal | None = None
    most: Decimal | None = None
    input: int = 0
    max_tokens: int = 0
    tariff: Tariff = Tariff()
    blocked: Standing | None = None
