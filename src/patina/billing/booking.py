"""What a request is booked with once it ended: the provider's word where that can be true.

what is known                                    what is booked
─────────────────────────────────────────────────────────────────────────────────────────────
it never left, or was refused                    nothing
the provider says what it costs                  that, as the provider's own figure
usage that can be                                the tokens at their price
no usage, or some that cannot be                 our estimate at its price, marked
far less than what went and came                 our estimate at its price, marked
far more than was possible                       the worst case that was held, marked
no price                                         no cost: unknown, never 0
"""

from decimal import Decimal
from typing import Final

from msgspec import Struct

from patina.billing.pricing import cost_of, knows_tier
from patina.model.money import Tariff, Used, Wanted
from patina.model.usage import Usage

_MOST_BILLED: Final = Decimal(100_000)
# Some endpoints put words of their own before every request.
_HIDDEN_TOKENS: Final = 10_000
# A count of output is believed up to so much of what came: some reasoning is never shown.
_SEEN_FACTOR: Final = 4
_SEEN_TOKENS: Final = 1_000
# A count is believed down to such a share of our own estimate: runs of signs have fewer tokens than
# that says, pictures far fewer; nobody reads thousands as one or two.
_LEAST_OUTPUT: Final = 16
_LEAST_INPUT: Final = 1_000


class Booked(Struct, frozen=True):
    """Tokens, USD (None: unknown), whose figures these are, and whether they are estimates."""

    usage: Usage
    cost: Decimal | None
    source: str
    estimated: bool


def booked(wanted: Wanted, tariff: Tariff, most: Decimal | None, used: Used) -> Booked:
    """Return what a request is booked with for which `most` was held."""
    if not used.sent or used.outcome == "void":
        return Booked(Usage(), Decimal(0), tariff.source, estimated=False)
    usage, estimated = _usage(wanted, used)
    if used.billed is not None and used.billed.is_finite() and 0 <= used.billed <= _MOST_BILLED:
        return Booked(usage, used.billed, wanted.provider, estimated=False)
    cost = cost_of(usage, tariff, used.tier)
    if estimated and used.usage is not None and most is not None and _is_over(wanted, used):
        cost = max(most, cost or most)
    known = cost is None or tariff.local or knows_tier(tariff, used.tier)
    return Booked(usage, cost, tariff.source, estimated=(estimated or not known))


def _usage(wanted: Wanted, used: Used) -> tuple[Usage, bool]:
    """Return the tokens of a request, and whether they are an estimate."""
    told = used.usage
    if told is not None and _can_be(told, wanted, used) and not _is_over(wanted, used):
        if used.outcome == "done" or told.output_tokens >= used.output:
            return told, False
        # What was told before the end may know less of the output than what came.
        return (
            Usage(
                told.input_tokens,
                used.output,
                told.cache_read_tokens,
                told.cache_write_tokens,
                told.reasoning_tokens,
            ),
            True,
        )
    return Usage(max(wanted.input, 0), max(used.output, 0)), True


def _can_be(usage: Usage, wanted: Wanted, used: Used) -> bool:
    """Whether counts can be true; no tokens at all are what some say who do not count."""
    counts = [getattr(usage, name) for name in usage.__struct_fields__]
    cached = usage.cache_read_tokens + usage.cache_write_tokens
    if min(counts) < 0 or cached > usage.input_tokens:
        return False
    if usage.input_tokens <= wanted.input // _LEAST_INPUT:
        return False
    # Of an answer that was broken off, some count what had come before they said so.
    return used.outcome != "done" or usage.output_tokens >= used.output // _LEAST_OUTPUT


def _is_over(wanted: Wanted, used: Used) -> bool:
    """Whether counts are absurdly high, for what was sent and for what came."""
    told = used.usage or Usage()
    seen = _SEEN_FACTOR * used.output + _SEEN_TOKENS
    most_input = 2 * wanted.most_input + _HIDDEN_TOKENS
    most_output = max(2 * wanted.max_tokens, seen)
    return told.input_tokens > most_input or told.output_tokens > most_output
