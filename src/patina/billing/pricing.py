"""Tokens times prices. Exact: nothing here is rounded, and nothing is a float.

A price may have steps by the length of the whole input, as most providers' have: past a step, its
price counts for every token of the request, and not only for those beyond it.
"""

from collections.abc import Iterator
from decimal import Context, Decimal, localcontext
from typing import Final

from patina.model.money import Step, Tariff
from patina.model.usage import Usage

_MILLION: Final = Decimal(1_000_000)
# Amounts of 2**53 tokens at prices of 28 digits stay exact in it.
_EXACT: Final = Context(prec=60)
_NOTHING: Final = Decimal(0)


def cost_of(usage: Usage, tariff: Tariff, tier: str = "") -> Decimal | None:
    """Return what `usage` costs in USD, None where `tariff` does not say it.

    Cached tokens whose own price is not known cost what other input does. Counts that cannot be
    (negative, more cached than read) are taken as far as they can. `tier` is the provider's word
    for the service, "" for the usual one; whether its price is known says `knows_tier`, and one
    that is not costs as the usual.
    """
    if tariff.local:
        return _NOTHING
    service = tariff.services.get(tier) if tier else None
    known = service or tariff
    if not known.known:
        return None
    factor = tariff.factors.get(tier) if tier and service is None else None
    sent = max(usage.input_tokens, 0)
    read = min(max(usage.cache_read_tokens, 0), sent)
    written = min(max(usage.cache_write_tokens, 0), sent - read)
    with localcontext(_EXACT):
        total = (
            (sent - read - written) * _at(known.input, sent)
            + read * _at(known.cache_read or known.input, sent)
            + written * _at(known.cache_write or known.input, sent)
            + max(usage.output_tokens, 0) * _at(known.output, sent)
        )
        amount = total / _MILLION + known.per_request
        return amount if factor is None else amount * factor


def worst_case(most_input: int, max_tokens: int, tariff: Tariff) -> Decimal | None:
    """Return the most USD that a request can cost in the usual service, None if nobody knows.

    It has at most `most_input` tokens of input, whatever of it is cached, and `max_tokens` of
    output. Shorter input at the dearest step that it can reach is covered, too.
    """
    if tariff.local:
        return _NOTHING
    if not tariff.known:
        return None
    sent, received = max(most_input, 0), max(max_tokens, 0)
    kinds = (tariff.input, tariff.cache_read or tariff.input, tariff.cache_write or tariff.input)
    dearest = max(price for kind in kinds for price in _reachable(kind, sent))
    output = max(_reachable(tariff.output, sent))
    with localcontext(_EXACT):
        return (sent * dearest + received * output) / _MILLION + tariff.per_request


def knows_tier(tariff: Tariff, tier: str) -> bool:
    """Whether `tariff` has figures of its own for the service `tier`; the usual one is ""."""
    return not tier or tariff.local or tier in tariff.services or tier in tariff.factors


def _at(steps: tuple[Step, ...], whole: int) -> Decimal:
    """Return the price of each token where the whole input is `whole` tokens."""
    price = steps[0].price
    for step in steps:
        if whole > step.above:
            price = step.price
    return price


def _reachable(steps: tuple[Step, ...], most: int) -> Iterator[Decimal]:
    """Yield the prices that an input of at most `most` tokens can have."""
    yield steps[0].price
    for step in steps:
        if most > step.above:
            yield step.price
