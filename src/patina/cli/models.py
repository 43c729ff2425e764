"""`patina models`: the models that can be used, and what is known of them."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio
import click

from patina.cli.context import context
from patina.cli.errors import show_failure
from patina.cli.output import print_listing
from patina.model.chat import ModelRef
from patina.model.faults import Failure, ProviderFault

if TYPE_CHECKING:
    from decimal import Decimal

    from patina.assembly.app import App
    from patina.model.chat import ModelInfo
    from patina.model.money import Tariff
    from patina.providers.catalog.catalog import Listing
    from patina.providers.catalog.prices import Origin

AT_ONCE: Final = 8
_CAN: Final = ("images", "files", "tools", "thinking")
_COLUMNS: Final = {
    "model": "MODEL",
    "context_window": "CONTEXT",
    "cost": "PRICE",
    "cache": "CACHE",
    "can": "CAN",
    "source": "SOURCE",
}
_PRICES: Final = ("input", "output", "cache_read", "cache_write")

_Amounts: TypeAlias = "dict[str, Decimal | None]"
_Found: TypeAlias = "tuple[dict[str, Listing], list[tuple[ModelInfo, Listing, Tariff]], Origin]"


@click.command()
@click.argument("query", nargs=-1)
@click.option("--refresh", is_flag=True, help="Ask the providers, however new their lists are.")
@click.option("--refresh-prices", is_flag=True, help="Download today's list of prices first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def models(
    ctx: click.Context, query: tuple[str, ...], refresh: bool, refresh_prices: bool, as_json: bool
) -> None:
    r"""List the models of all usable providers that all words of QUERY are found in.

    Lists are kept for a day; then, and with --refresh, the providers are asked. One that cannot
    be reached is told on stderr, with the date of its last list; the exit code is 3 where that
    leaves nothing. Of one that was never reached, those models are listed that
    Patina came with. Prices are USD per million tokens in and out, then those of what is read from
    and written to a cache.

    \b
    Examples:
      patina models
      patina models gpt mini
      patina models --refresh-prices
      patina models --refresh --json
    """
    from patina.cli.running import run_app, setup_of
    from patina.engine.clock import SystemClock

    run = context(ctx)
    words = " ".join(query).lower().split()

    async def body(app: "App") -> _Found:
        origin = await app.providers.prices(refresh=refresh_prices)
        found: dict[str, Listing] = {}
        places = anyio.Semaphore(AT_ONCE)

        async def listed(provider: str) -> None:
            async with places:
                found[provider] = await app.providers.models(provider, refresh=refresh)

        providers = app.providers.listable()
        async with anyio.create_task_group() as tasks:
            for provider in providers:
                tasks.start_soon(listed, provider)
        rows = [
            (info, found[provider], await app.providers.tariff(ModelRef(provider, info.model)))
            for provider in providers
            for info in found[provider].models
            if _matches(info, words)
        ]
        return {provider: found[provider] for provider in providers}, rows, origin

    listings, found, origin = run_app(setup_of(run, save=False), body, discover="all")
    rows = [_row(*one, as_json=as_json) for one in found]
    failures = list(_failures(listings, offline=run.offline))
    missing = [failure for failure, old in failures if not old]
    for failure, _ in failures if rows or not missing else ():
        show_failure(failure, run)
    if missing and not rows:
        for failure in missing[1:]:
            show_failure(failure, run)
        raise ProviderFault.of(missing[0])
    empty = "No model matches. `patina doctor` says what is missing."
    print_listing(rows, _COLUMNS, as_json=as_json, empty=empty)
    if not as_json and (refresh_prices or any(_is_ours(one[2], origin) for one in found)):
        print(_origin_words(origin, SystemClock().now()), file=sys.stderr)


def _matches(info: "ModelInfo", words: list[str]) -> bool:
    text = f"{info.provider}/{info.model} {info.title}".lower()
    return all(word in text for word in words)


def _row(
    info: "ModelInfo", listing: "Listing", tariff: "Tariff", *, as_json: bool
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "model": f"{info.provider}/{info.model}",
        "provider": info.provider,
        "context_window": info.context_window,
        "max_output": info.max_output,
    }
    steps = _steps(tariff)
    if not as_json:
        can = ", ".join(name for name in _CAN if getattr(info, name))
        cost = "free" if _is_free(steps) and not tariff.per_request else _over(steps, _PRICES[:2])
        if tariff.per_request:
            cost = f"{cost} + {tariff.per_request:f} each".strip()
        cache = "" if _is_free(steps) else _over(steps, _PRICES[2:])
        return {**row, "cost": cost, "cache": cache, "can": can, "source": tariff.source}
    return {
        **row,
        "title": info.title,
        **{name: getattr(info, name) for name in _CAN},
        "price": _amounts(steps[0][1]) if steps else None,
        "tiers": [{"over": above, **_amounts(amounts)} for above, amounts in steps[1:]],
        "per_request": f"{tariff.per_request:f}" if tariff.per_request else None,
        "services": sorted({*tariff.services, *tariff.factors}),
        "price_source": tariff.source or None,
        "price_date": tariff.date or None,
        "source": info.source,
        "fetched": listing.fetched.isoformat(timespec="seconds") if listing.fetched else None,
    }


def _steps(tariff: "Tariff") -> "list[tuple[int, _Amounts]]":
    """Return the prices by kind from each length of the input on; none where nothing is known."""
    kinds = {name: getattr(tariff, name) for name in _PRICES}
    if not any(kinds.values()):
        return []
    places = sorted({0, *(step.above for steps in kinds.values() for step in steps)})
    return [
        (
            above,
            {
                name: next((s.price for s in reversed(steps) if s.above <= above), None)
                for name, steps in kinds.items()
            },
        )
        for above in places
    ]


def _is_free(steps: "list[tuple[int, _Amounts]]") -> bool:
    known = [amount for _, amounts in steps for amount in amounts.values() if amount is not None]
    return bool(known) and not any(known)


def _over(steps: "list[tuple[int, _Amounts]]", names: tuple[str, ...]) -> str:
    """Return two of the prices for people, such as "3 / 15, over 200000: 6 / 22.5"."""
    texts: list[str] = []
    for above, amounts in steps:
        pair = [amounts[name] for name in names]
        if all(amount is None for amount in pair):
            return ""
        text = " / ".join("?" if amount is None else f"{amount:f}" for amount in pair)
        texts.append(f"over {above}: {text}" if above else text)
    return ", ".join(texts)


def _amounts(amounts: "_Amounts") -> dict[str, str | None]:
    return {name: None if amount is None else f"{amount:f}" for name, amount in amounts.items()}


def _is_ours(tariff: "Tariff", origin: "Origin") -> bool:
    return bool(origin.source) and origin.source in tariff.source.split(", ")


def _origin_words(origin: "Origin", now: str) -> str:
    date = origin.date(now)
    if origin.downloaded:
        return f"Prices are those of {origin.source}, downloaded on {date}."
    return (
        f"Prices are those of {origin.source}, as of {date}."
        " For newer ones: patina models --refresh-prices"
    )


def _failures(listings: dict[str, "Listing"], *, offline: bool) -> Iterator[tuple[Failure, bool]]:
    """Yield what went wrong, and whether there is an older list all the same."""
    for provider, listing in listings.items():
        failure = listing.failure
        if failure is None:
            continue
        if listing.fetched is None and listing.models:
            why = "" if offline else f"{failure.message} "
            text = f"{why}The models of {provider} are those that Patina came with."
            yield Failure(failure.kind, text), True
            continue
        if listing.fetched is None:
            # Nobody asked for the network with --offline, and it is no fault of the provider.
            if not offline:
                yield failure, False
            continue
        date = listing.fetched.date().isoformat()
        why = "" if offline else f"{failure.message} "
        text = f"{why}The models of {provider} are as of {date}."
        yield Failure(failure.kind, text), True
