"""What models cost, against what providers publish and against the package's own arithmetic.

The figures were written out by hand. Of Anthropic's all but the long requests of Sonnet 4.5 were
compared with copies of its pricing page, and those of GPT-5.5, GPT-5.2, GPT-5 and its mini, GPT-4o
and its mini, GPT-4.1, o3 and Mistral Large 3 (the cached ones only of GPT-5.5, 5.2 and 4o) with
what others quote, in November 2026. The rest are as they are widely known, and no page was opened
for them; the address above each group is where its provider publishes prices, to compare again.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patina.billing.pricing import cost_of
from patina.engine.clock import ManualClock
from patina.model.money import Tariff
from patina.model.settings import ProviderSettings
from patina.model.usage import Usage
from patina.providers.catalog.catalog import Catalog, Place
from patina.providers.catalog.prices import Prices

ADDRESSES = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
    "mistral": "https://api.mistral.ai/v1",
    "groq": "https://api.groq.com/openai/v1",
    "deepseek": "https://api.deepseek.com",
    "xai": "https://api.x.ai/v1",
    "cohere": "https://api.cohere.com",
}
# Provider, model, USD per million tokens: input, read from the cache, written to it, output; then
# the same from the length on at which it is another.
PUBLISHED: list[tuple[str, str, str, str]] = [
    # developers.openai.com/api/docs/pricing
    ("openai", "gpt-4o", "2.50 1.25 - 10", ""),
    ("openai", "gpt-4o-mini", "0.15 0.075 - 0.60", ""),
    ("openai", "gpt-4.1", "2 0.50 - 8", ""),
    ("openai", "gpt-4.1-mini", "0.40 0.10 - 1.60", ""),
    ("openai", "gpt-4.1-nano", "0.10 0.025 - 0.40", ""),
    ("openai", "o3", "2 0.50 - 8", ""),
    ("openai", "o4-mini", "1.10 0.275 - 4.40", ""),
    ("openai", "gpt-5", "1.25 0.125 - 10", ""),
    ("openai", "gpt-5-mini", "0.25 0.025 - 2", ""),
    ("openai", "gpt-5-nano", "0.05 0.005 - 0.40", ""),
    ("openai", "gpt-5.1", "1.25 0.125 - 10", ""),
    ("openai", "gpt-5.2", "1.75 0.175 - 14", ""),
    ("openai", "gpt-5.5", "5 0.50 - 30", "272000: 10 1 - 45"),
    # platform.claude.com/docs/en/about-claude/pricing
    ("anthropic", "claude-opus-4-1-20250805", "15 1.50 18.75 75", ""),
    ("anthropic", "claude-opus-4-5-20251101", "5 0.50 6.25 25", ""),
    ("anthropic", "claude-opus-4-6", "5 0.50 6.25 25", ""),
    ("anthropic", "claude-sonnet-4-5", "3 0.30 3.75 15", "200000: 6 0.60 7.50 22.50"),
    ("anthropic", "claude-sonnet-4-6", "3 0.30 3.75 15", ""),
    ("anthropic", "claude-haiku-4-5", "1 0.10 1.25 5", ""),
    ("anthropic", "claude-3-5-haiku-latest", "0.80 0.08 1 4", ""),
    # ai.google.dev/gemini-api/docs/pricing
    ("google", "gemini-2.5-pro", "1.25 0.125 - 10", "200000: 2.50 0.25 - 15"),
    ("google", "gemini-2.5-flash", "0.30 0.03 - 2.50", ""),
    ("google", "gemini-2.5-flash-lite", "0.10 0.01 - 0.40", ""),
    ("google", "gemini-3-pro-preview", "2 0.20 - 12", "200000: 4 0.40 - 18"),
    # mistral.ai/pricing
    ("mistral", "mistral-large-2512", "0.50 0.05 - 1.50", ""),
    ("mistral", "codestral-2508", "0.30 0.03 - 0.90", ""),
    # groq.com/pricing
    ("groq", "llama-3.3-70b-versatile", "0.59 - - 0.79", ""),
    ("groq", "openai/gpt-oss-120b", "0.15 0.075 - 0.60", ""),
    # docs.x.ai/docs/models
    ("xai", "grok-3-mini", "0.30 0.075 - 0.50", ""),
    # cohere.com/pricing
    ("cohere", "command-a-03-2025", "2.50 - - 10", ""),
    ("cohere", "command-r7b-12-2024", "0.0375 - - 0.15", ""),
]


def clock_at(day: str) -> ManualClock:
    clock = ManualClock()
    now = datetime.fromisoformat(clock.now())
    clock.advance((datetime.fromisoformat(f"{day}T12:00:00+00:00") - now).total_seconds())
    return clock


async def tariff_of(provider: str, model: str, day: str = "2026-11-20") -> Tariff:
    kinds = {"openai", "anthropic", "google", "cohere"}
    settings = ProviderSettings(kind=provider if provider in kinds else "openai_compatible")
    place = Place(provider, settings, ADDRESSES[provider])
    return await Catalog(CACHE, clock_at(day)).tariff(place, model)


CACHE = Path()


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The list is read out of the package once."""
    global CACHE  # noqa: PLW0603 - one folder for the whole module
    CACHE = tmp_path_factory.mktemp("prices")


def figures(text: str) -> tuple[Decimal | None, ...]:
    return tuple(None if word == "-" else Decimal(word) for word in text.split())


@pytest.mark.anyio
@pytest.mark.parametrize(("provider", "model", "first", "more"), PUBLISHED)
async def test_what_providers_publish(provider: str, model: str, first: str, more: str) -> None:
    # M-34
    tariff = await tariff_of(provider, model)
    kinds = (tariff.input, tariff.cache_read, tariff.cache_write, tariff.output)
    assert tuple(one[0].price if one else None for one in kinds) == figures(first)
    place, _, then = more.partition(":")
    for steps, amount in zip(kinds, figures(then) or (None,) * 4, strict=True):
        wanted = [(int(place), amount)] if amount is not None else []
        assert [(step.above, step.price) for step in steps[1:]] == wanted
    assert tariff.source.startswith("genai-prices 0.")
    assert "2024-01-01" < tariff.date <= "2026-11-20"


def test_there_are_thirty_of_them() -> None:
    assert len({(provider, model) for provider, model, *_ in PUBLISHED}) >= 30


@pytest.mark.anyio
async def test_prices_change_with_the_day() -> None:
    """Anthropic gave up the higher price of long requests on 2026-03-13."""
    long = Usage(500_000, 1000, 100_000)
    before = await tariff_of("anthropic", "claude-opus-4-6", "2026-03-12")
    after = await tariff_of("anthropic", "claude-opus-4-6", "2026-03-13")
    assert cost_of(long, before) == Decimal("4.1375")
    assert cost_of(long, after) == Decimal("2.075")
    assert after.date == "2026-03-13"


SERVICES = [
    # Provider, model, service, and USD for a million tokens in, of which 400,000 are cached, and
    # 100,000 out; for OpenAI 200,000, 80,000 and 100,000: there are two lengths.
    ("openai", "gpt-5.5", "", "3.64"),
    ("openai", "gpt-5.5", "flex", "1.82"),
    ("openai", "gpt-5.5", "batch", "1.82"),
    ("openai", "gpt-5.5", "priority", "9.10"),
    ("anthropic", "claude-opus-4-6", "", "5.70"),
    ("anthropic", "claude-opus-4-6", "batch", "2.85"),
    ("anthropic", "claude-opus-4-6", "us", "6.27"),
    ("google", "gemini-2.5-flash", "", "0.442"),
    # What is cached costs the same in a batch, by genai-prices.
    ("google", "gemini-2.5-flash", "batch", "0.227"),
    ("groq", "openai/gpt-oss-120b", "flex", "0.18"),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("provider", "model", "tier", "amount"), SERVICES)
async def test_services(provider: str, model: str, tier: str, amount: str) -> None:
    usage = Usage(1_000_000, 100_000, 400_000)
    if provider == "openai":
        usage = Usage(200_000, 100_000, 80_000)
    assert cost_of(usage, await tariff_of(provider, model), tier) == Decimal(amount)


# All of the package, by its own arithmetic.

CONTEXTS: list[dict[str, str]] = [
    {},
    {"service_tier": "flex"},
    {"service_tier": "priority"},
    {"processing": "batch"},
    {"speed": "fast"},
    {"service_tier": "fast"},
]
# Kinds of tokens and things that Patina sends and asks for none of.
OTHER = {"output_reasoning_mtok", "output_citation_mtok", "input_mchars"}


def package_models() -> Iterator[tuple[Any, Any]]:
    from genai_prices.data_snapshot import get_snapshot

    for provider in get_snapshot().providers:
        for model in provider.models:
            yield provider, model


MODELS = list(package_models())


@pytest.mark.anyio
@settings(max_examples=200)
@given(
    sent=st.integers(0, 1_200_000),
    shares=st.tuples(st.integers(0, 100), st.integers(0, 100)),
    received=st.integers(0, 200_000),
    days=st.integers(-900, 0),
    seconds=st.integers(0, 86_399),
    context=st.sampled_from(CONTEXTS),
    start=st.integers(0, 40),
)
async def test_all_models_cost_what_the_package_says(
    sent: int,
    shares: tuple[int, int],
    received: int,
    days: int,
    seconds: int,
    context: dict[str, str],
    start: int,
) -> None:
    """Each example looks at every 41st model, at any day and hour of two years."""
    from genai_prices import Usage as TheirUsage

    read = sent * shares[0] // 100
    written = (sent - read) * shares[1] // 100
    usage = Usage(sent, received, read, written)
    theirs = TheirUsage(
        input_tokens=sent,
        output_tokens=received,
        cache_read_tokens=read,
        cache_write_tokens=written,
    )
    now = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(days=days, seconds=seconds)
    (service,) = context.values() or ("",)
    compared = 0
    for provider, model in MODELS[start::41]:
        names = [name for v in model.price_variants or () for name in v.when.items()]
        if any(name not in context.items() and name[1] == service for name in names):
            continue  # the same word for another condition
        price = model.get_prices(now, context)
        if provider.find_model(model.id) is not model or OTHER & {
            k for k, v in price.__dict__.items() if v is not None
        }:
            continue
        found = PRICES.find(provider.id, model.id, now.isoformat())
        assert found is not None
        tariff = found.tariff or Tariff()
        real = model.calc_price(
            theirs, provider, genai_request_timestamp=now, price_context=context
        )
        amount = cost_of(usage, tariff, service)
        if amount is None:
            assert price.input_mtok is None or price.output_mtok is None, model.id
        else:
            assert amount == real.total_price, (provider.id, model.id)
            compared += 1
    assert compared > 20


PRICES = Prices(None)


@pytest.fixture(autouse=True, scope="module")
def prepared() -> None:
    import anyio

    anyio.run(PRICES.prepare, "2026-11-20T00:00:00Z")
