"""Whose prices count, where they come from, and what stays unknown."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.providers.endpoint import KEY, OneKey

from patina.billing.pricing import cost_of, knows_tier, worst_case
from patina.engine.clock import ManualClock
from patina.model.chat import ModelInfo, ModelRef, Price
from patina.model.money import Step, Tariff
from patina.model.settings import ModelSettings, ProviderKind, ProviderSettings, Settings
from patina.model.usage import Usage
from patina.ports.tariffs import Tariffs
from patina.providers.catalog.catalog import Catalog, Place
from patina.providers.catalog.lists import Lists
from patina.providers.http import HttpClient
from patina.providers.openai_chat.listing import models_in
from patina.providers.registry import ProviderRegistry

OPENAI = "https://api.openai.com/v1"
ROUTER = "https://openrouter.ai/api/v1"
NOW = "2026-11-20T12:00:00+00:00"


def clock() -> ManualClock:
    made = ManualClock()
    then = datetime.fromisoformat(NOW) - datetime.fromisoformat(made.now())
    made.advance(then.total_seconds())
    return made


def place(
    name: str = "openai", url: str = OPENAI, kind: ProviderKind = "openai", **more: Any
) -> Place:
    return Place(name, ProviderSettings(kind=kind, **more), url)


def own(**price: str) -> dict[str, ModelSettings]:
    return {"gpt-5.5": ModelSettings(price=price)}


async def tariff(where: Place, model: str = "gpt-5.5", cache: Path | None = None) -> Tariff:
    return await Catalog(cache, clock()).tariff(where, model)


def first(steps: tuple[Step, ...]) -> Decimal | None:
    return steps[0].price if steps else None


@pytest.mark.anyio
async def test_the_settings_go_before_all() -> None:
    whole = {"input": "1", "output": "2", "cache_read": "0.1", "cache_write": "1.5"}
    found = await tariff(place(models=own(**whole)))
    assert (found.source, found.date) == ("settings", "")
    # No step of other figures: what the user says holds for requests of any length.
    assert cost_of(Usage(1_000_000, 1_000_000), found) == 3


@pytest.mark.anyio
async def test_what_the_settings_leave_out_is_completed() -> None:
    found = await tariff(place(models=own(input="1")))
    assert found.source.startswith("settings, genai-prices 0.")
    assert first(found.input) == 1
    assert first(found.output) == 30
    assert found.date


@pytest.mark.anyio
async def test_half_a_price_is_none() -> None:
    where = place("lab", "https://lab.example/v1", "openai_compatible", models=own(input="1"))
    found = await tariff(where)
    assert not found.known
    assert cost_of(Usage(1, 1), found) is None


@pytest.mark.anyio
async def test_local_models_cost_nothing_by_rule_and_never_by_address() -> None:
    for where in (
        place("ollama", "https://far.example", "ollama"),
        place("lab", "https://far.example/v1", "openai_compatible", local=True),
    ):
        found = await tariff(where)
        assert (found.local, found.known, found.source) == (True, True, "local")
        assert worst_case(10**6, 10**6, found) == 0
    near = await tariff(place("lab", "http://127.0.0.1:1/v1", "openai_compatible"))
    assert (near.local, near.known) == (False, False)
    priced = await tariff(place("ollama", "http://127.0.0.1:1", "ollama", models=own(input="1")))
    assert not priced.local  # electricity, as its owner counts it


# The provider's own list.


def keep(cache: Path, *models: ModelInfo) -> None:
    fetched = datetime(2026, 11, 19, 8, tzinfo=UTC)
    Lists(cache / "models").save("openrouter", ROUTER, models, fetched)


def router(**more: Any) -> Place:
    return place("openrouter", ROUTER, "openai_compatible", **more)


@pytest.mark.anyio
async def test_the_providers_own_list_goes_before_others(tmp_path: Path) -> None:
    price = Price(Decimal(7), Decimal(9), per_request=Decimal("0.01"))
    keep(tmp_path, ModelInfo("openrouter", "some/new-model", price=price, source="endpoint"))
    found = await tariff(router(), "some/new-model", tmp_path)
    assert (found.source, found.date) == ("list of openrouter", "2026-11-19")
    assert cost_of(Usage(1_000_000, 1_000_000), found) == Decimal("16.01")
    # A list says nothing of services: who knows what they cost.
    assert not knows_tier(found, "flex")


@pytest.mark.anyio
async def test_lists_have_no_steps_but_long_requests_have_their_price(tmp_path: Path) -> None:
    """OpenRouter lists what short requests cost; a hold has to cover the long ones."""
    name = "google/gemini-2.5-pro"
    same = Price(Decimal("1.25"), Decimal(10), Decimal("0.125"))
    keep(tmp_path, ModelInfo("openrouter", name, price=same, source="endpoint"))
    found = await tariff(router(), name, tmp_path)
    assert found.source.startswith("list of openrouter")
    assert cost_of(Usage(100_000, 1000), found) == Decimal("0.135")
    assert cost_of(Usage(300_000, 1000), found) == Decimal("0.765")
    half = Price(Decimal("0.625"), Decimal(5))
    keep(tmp_path, ModelInfo("openrouter", name, price=half, source="endpoint"))
    found = await tariff(router(), name, tmp_path)
    assert cost_of(Usage(300_000, 1000), found) == Decimal("0.3825")
    assert found.cache_read == ()  # nobody says what that costs there: it counts as other input


@pytest.mark.anyio
async def test_a_listing_says_the_same(tmp_path: Path) -> None:
    """`ModelInfo.price` is the tariff's, for short requests."""
    price = Price(Decimal("1.25"), Decimal(10))
    keep(tmp_path, ModelInfo("openrouter", "google/gemini-2.5-pro", price=price, source="endpoint"))
    catalog = Catalog(tmp_path, clock())
    for where, model in ((router(), "google/gemini-2.5-pro"), (place(), "gpt-5.5")):
        info = await catalog.info(where, model)
        found = await catalog.tariff(where, model)
        assert info.price is not None
        kinds = ("input", "output", "cache_read", "cache_write")
        for kind in kinds:
            assert getattr(info.price, kind) == first(getattr(found, kind))
        assert info.price.tiered


def test_a_price_for_each_request_is_read_from_a_list() -> None:
    body = (
        b'{"data":[{"id":"a/b","pricing":{"prompt":"0.000001","completion":"0.000002",'
        b'"request":"0.005","input_cache_read":"0.0000001"}},'
        b'{"id":"a/c","pricing":{"prompt":"0","completion":"0","request":"0"}}]}'
    )
    found = models_in("openrouter", body)
    assert found["a/b"].price == Price(
        Decimal(1), Decimal(2), Decimal("0.1"), per_request=Decimal("0.005")
    )
    assert found["a/c"].price == Price(Decimal(0), Decimal(0))


# The registry.


@pytest.mark.anyio
async def test_the_registry_knows_tariffs_by_reference() -> None:
    settings = Settings(
        providers={
            "openai": ProviderSettings(kind="openai"),
            "off": ProviderSettings(kind="openai", enabled=False),
        }
    )
    http = HttpClient()
    registry: Tariffs = ProviderRegistry(settings, OneKey(KEY), http, clock())
    assert first((await registry.tariff(ModelRef("openai", "gpt-5.5"))).input) == 5
    assert (await registry.tariff(ModelRef("demo", "demo"))).local
    for name in ("off", "nobody"):
        assert not (await registry.tariff(ModelRef(name, "gpt-5.5"))).known
    await http.aclose()
