"""What is known of models, and where it comes from."""

import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patina.engine.clock import ManualClock
from patina.model.chat import ModelInfo, Price
from patina.model.faults import ProviderFault
from patina.model.money import Step, Tariff
from patina.model.settings import ModelSettings, ProviderKind, ProviderSettings
from patina.providers.catalog.catalog import Ask, Catalog, Listing, Place
from patina.providers.catalog.families import family_of
from patina.providers.catalog.figures import Dated, Figures, tariff_from
from patina.providers.catalog.genai import read_tables
from patina.providers.catalog.lists import Lists
from patina.providers.catalog.merge import merged
from patina.providers.catalog.prices import Known, Prices
from patina.providers.catalog.schema import config_schema
from patina.providers.catalog.tariffs import price_of, tariff_of
from patina.providers.kinds import BUILT_IN

DAY = 24 * 3600
OPENAI = "https://api.openai.com/v1"
ROUTER = "https://openrouter.ai/api/v1"


class Endpoint:
    """Lists models, or fails as `kind` says; counts how often it was asked."""

    def __init__(self, *models: ModelInfo, kind: Any = None) -> None:
        self.models = models
        self.kind = kind
        self.asked = 0

    async def __call__(self) -> tuple[ModelInfo, ...]:
        self.asked += 1
        if self.kind is not None:
            raise ProviderFault("It does not answer.", kind=self.kind)
        return self.models


def place(
    name: str = "openai", base_url: str = OPENAI, kind: ProviderKind = "openai", **more: Any
) -> Place:
    return Place(name, ProviderSettings(kind=kind, **more), base_url)


async def listing(catalog: Catalog, where: Place, ask: Ask, *, refresh: bool = False) -> Listing:
    with anyio.fail_after(5):
        return await catalog.listing(where, ask, refresh=refresh)


async def info(cache: Path | None, where: Place, model: str) -> ModelInfo:
    with anyio.fail_after(5):
        return await Catalog(cache, ManualClock()).info(where, model)


# Lists.


@pytest.mark.anyio
async def test_a_list_is_asked_for_once_a_day(tmp_path: Path) -> None:  # M-02
    clock = ManualClock()
    endpoint = Endpoint(ModelInfo("openai", "one", 1000, source="endpoint"))
    first = await listing(Catalog(tmp_path, clock), place(), endpoint)
    assert [model.model for model in first.models] == ["one"]
    clock.advance(DAY - 1)
    # Another run of Patina reads the same list.
    again = await listing(Catalog(tmp_path, clock), place(), endpoint)
    assert (again.models, again.fetched, endpoint.asked) == (first.models, first.fetched, 1)
    await listing(Catalog(tmp_path, clock), place(), endpoint, refresh=True)
    assert endpoint.asked == 2
    clock.advance(DAY)
    await listing(Catalog(tmp_path, clock), place(), endpoint)
    assert endpoint.asked == 3


@pytest.mark.anyio
async def test_a_list_of_this_machine_is_asked_for_every_time(tmp_path: Path) -> None:
    where = place("near", "http://127.0.0.1:1/v1", "openai_compatible", local=True)
    endpoint = Endpoint(ModelInfo("near", "one"))
    for _ in range(2):
        await listing(Catalog(tmp_path, ManualClock()), where, endpoint)
    assert endpoint.asked == 2


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["network", "timeout", "server", "overloaded", "rate_limit"])
async def test_an_old_list_will_do_while_the_endpoint_is_away(  # M-28
    tmp_path: Path, kind: str
) -> None:
    clock = ManualClock()
    kept = await listing(Catalog(tmp_path, clock), place(), Endpoint(ModelInfo("openai", "one")))
    clock.advance(30 * DAY)
    away = await listing(Catalog(tmp_path, clock), place(), Endpoint(kind=kind))
    assert (away.models, away.fetched) == (kept.models, kept.fetched)
    assert away.failure is not None
    assert away.failure.kind == kind


@pytest.mark.anyio
async def test_a_refusal_is_no_absence(tmp_path: Path) -> None:
    clock = ManualClock()
    await listing(Catalog(tmp_path, clock), place(), Endpoint(ModelInfo("openai", "one")))
    refused = await listing(Catalog(tmp_path, clock), place(), Endpoint(kind="auth"), refresh=True)
    assert (refused.models, refused.fetched) == ((), None)
    assert refused.failure is not None


@pytest.mark.anyio
async def test_a_driver_that_raises_while_it_lists_is_told(tmp_path: Path) -> None:
    async def ask() -> tuple[ModelInfo, ...]:
        raise ZeroDivisionError

    found = await Catalog(tmp_path, ManualClock()).listing(
        place("parrot", "http://127.0.0.1:1/v1", "openai_compatible"), ask
    )
    assert found.failure is not None
    assert "parrot could not be listed (ZeroDivisionError)" in found.failure.message


@pytest.mark.anyio
async def test_a_list_belongs_to_its_address(tmp_path: Path) -> None:
    await listing(Catalog(tmp_path, ManualClock()), place(), Endpoint(ModelInfo("openai", "one")))
    elsewhere = Endpoint(ModelInfo("openai", "two"))
    moved = place(base_url="https://proxy.example/v1")
    found = await listing(Catalog(tmp_path, ManualClock()), moved, elsewhere)
    assert ([model.model for model in found.models], elsewhere.asked) == (["two"], 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"\xff" * 100),
        lambda file: file.write_bytes(b"[" * 100_000),
        lambda file: file.write_bytes(file.read_bytes()[:-20]),
        lambda file: file.write_bytes(file.read_bytes().replace(b'"version":1', b'"version":2')),
        lambda file: file.write_bytes(file.read_bytes().replace(b"+00:00", b"")),
        lambda file: (file.unlink(), file.mkdir()),
    ],
)
@pytest.mark.anyio
async def test_a_broken_cache_breaks_nothing(
    tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    endpoint = Endpoint(ModelInfo("openai", "gpt-4o", 77))
    for _ in range(2):
        found = await listing(Catalog(tmp_path, ManualClock()), place(), endpoint)
        assert found.models[0].context_window == 77
        assert found.models[0].price is not None
        damage_all(tmp_path, damage)


def damage_all(folder: Path, damage: Callable[[Path], object]) -> None:
    for file in list(folder.rglob("*.json")):
        if file.is_file():
            damage(file)


@pytest.mark.anyio
async def test_without_a_cache_all_is_there_all_the_same(tmp_path: Path) -> None:
    endpoint = Endpoint(ModelInfo("openai", "gpt-4o"))
    blocked = tmp_path / "file"
    blocked.write_text("")
    for cache in (None, blocked):
        for _ in range(2):
            found = await listing(Catalog(cache, ManualClock()), place(), endpoint)
            assert found.models[0].price is not None
    assert endpoint.asked == 4


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such bits")
@pytest.mark.anyio
async def test_what_is_kept_is_the_users_own(tmp_path: Path) -> None:
    await listing(Catalog(tmp_path, ManualClock()), place(), Endpoint(ModelInfo("openai", "one")))
    kept = list((tmp_path / "models").iterdir())
    assert len(kept) == 2
    assert all(file.stat().st_mode & 0o077 == 0 for file in (*kept, tmp_path / "models"))


@given(
    st.lists(
        st.text(
            st.characters(exclude_categories=("Cs", "Cc", "Zs"), exclude_characters="/:"),
            min_size=1,
            max_size=64,
        ),
        min_size=1,
        max_size=5,
        unique=True,
    )
)
def test_any_names_of_providers_keep_their_lists_apart(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("lists")
    lists, now = Lists(folder), datetime(2026, 1, 1, tzinfo=UTC)
    for name in names:
        lists.save(name, OPENAI, (ModelInfo(name, "m/" + name),), now)
    for name in names:
        kept = Lists(folder).load(name, OPENAI)
        assert kept is not None
        assert kept.models == (ModelInfo(name, "m/" + name),)
        found = (ModelInfo(name, "m/" + name), "2026-01-01")
        assert Lists(folder).find(name, OPENAI, "m/" + name) == found
        assert Lists(folder).find(name, OPENAI, "other") is None
        lists.forget(name)
        assert Lists(folder).load(name, OPENAI) is None
    assert all(len(file.name) < 100 and file.name.isascii() for file in folder.iterdir())


# Prices.


@pytest.mark.anyio
async def test_prices_are_those_of_the_package(tmp_path: Path) -> None:  # M-02
    """For every model of every provider of genai-prices, and for names that it has not."""
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import TieredPrices

    prices = Prices(tmp_path)
    await prices.prepare("2026-11-20T00:00:00Z")
    now = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)
    providers = get_snapshot().providers
    odd = ["gpt-5.2-20251211", "gpt-4o-2024-08-06", "claude-opus-4-8-20260101", "no-such-model"]
    looked = 0
    for provider in providers:
        for name in [*(model.id for model in provider.models), *odd]:
            looked += 1
            found = provider.find_model(name, all_providers=providers)
            known = prices.find(provider.id, name.upper(), now.isoformat())
            if found is None:
                assert known is None, (provider.id, name)
                continue
            assert known is not None, (provider.id, name)
            assert known.context_window == found.context_window
            real = found.get_prices(now)
            amounts = [
                (value.base if isinstance(value, TieredPrices) else value)
                for value in (
                    getattr(real, field)
                    for field in (
                        "input_mtok",
                        "output_mtok",
                        "cache_read_mtok",
                        "cache_write_mtok",
                    )
                )
            ]
            price = (price_of(known.tariff) if known.tariff else None) or Price()
            assert [price.input, price.output, price.cache_read, price.cache_write] == amounts
            assert price.tiered == any(
                isinstance(getattr(real, f"{field}_mtok"), TieredPrices)
                for field in ("input", "output", "cache_read", "cache_write")
            )
    assert looked > 2000


@pytest.mark.anyio
async def test_the_file_of_prices_is_made_once_for_a_package(tmp_path: Path) -> None:
    await Prices(tmp_path).prepare("2026-11-20T00:00:00Z")
    file = tmp_path / "prices.json"
    book = json.loads(file.read_bytes())
    assert {"openai", "anthropic", "google", "groq", "mistral", "x-ai"} <= set(book["tables"])
    # It is read as it is...
    book["tables"]["openai"]["rows"][0] = [[["=made-up"]], [[[[[0, "7"]]]]], 55, "Made up"]
    file.write_text(json.dumps(book))
    again = Prices(tmp_path)
    await again.prepare("2026-11-20T00:00:00Z")
    known = again.find("openai", "made-up", "2026-01-01T00:00:00Z")
    assert known is not None
    assert (known.title, known.context_window) == ("Made up", 55)
    assert known.tariff is not None
    assert known.tariff.input == (Step(0, Decimal(7)),)
    # ... until another package is installed.
    file.write_text(json.dumps({**book, "stamp": "older"}))
    newer = Prices(tmp_path)
    await newer.prepare("2026-11-20T00:00:00Z")
    assert newer.find("openai", "made-up", "2026-01-01T00:00:00Z") is None
    assert newer.find("openai", "gpt-4o", "2026-01-01T00:00:00Z") is not None


def test_reading_the_package_leaves_nothing_behind() -> None:
    before = set(sys.modules)
    assert len(read_tables()) > 20
    added = set(sys.modules) - before
    assert not {name for name in added if "genai" in name and not name.startswith("patina")}
    assert not {name for name in added if name.endswith(".types")}


@pytest.mark.parametrize(
    ("now", "amount"),
    [
        ("2026-01-01T00:00:00Z", 1),
        ("2026-06-01T00:00:00Z", 2),
        ("2026-12-01T12:00:00Z", 2),
        ("2026-12-01T17:00:00Z", 3),
        ("2026-12-01T00:29:59.9Z", 3),
        ("2026-12-01T00:30:00Z", 2),
    ],
)
def test_prices_of_days_and_hours(now: str, amount: int) -> None:
    def dated(price: int, *bounds: str) -> Dated:
        return Dated(Figures((Step(0, Decimal(price)),)), *bounds)

    prices = (dated(1), dated(2, "2026-06-01"), dated(3, "2026-07-01", "16:30:00", "00:30:00"))
    tariff = tariff_from(prices, (), now, source="a list", date="2026-07-07")
    assert tariff is not None
    assert tariff.input == (Step(0, Decimal(amount)),)
    days = {1: "2026-07-07", 2: "2026-06-01", 3: "2026-07-01"}
    assert (tariff.source, tariff.date) == ("a list", days[amount])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("where", "model", "known"),
    [
        (place(), "gpt-5.2", True),
        (place("mine", "https://proxy.example/v1"), "gpt-5.2", True),
        (place(), "no-such-model", False),
        (place("azure_openai", "https://x.openai.azure.com", "azure_openai"), "gpt-4o", True),
        (place("anthropic", "https://api.anthropic.com", "anthropic"), "claude-opus-4-5", True),
        (place("google", "https://g.example", "google"), "models/gemini-2.5-pro", True),
        (
            place("groq", "https://api.groq.com/openai/v1", "openai_compatible"),
            "qwen/qwen3-32b",
            True,
        ),
        (place("r", ROUTER, "openai_compatible"), "openai/gpt-5.2", True),
        # The protocol alone says nothing of who answers.
        (place("lab", "https://lab.example/v1", "openai_compatible"), "gpt-5.2", False),
    ],
)
async def test_whose_prices_count(where: Place, model: str, known: bool) -> None:
    found = await info(None, where, model)
    assert (found.price is not None) == known
    assert found.source == ("genai-prices" if known else found.source)


@pytest.mark.anyio
async def test_a_price_that_depends_on_the_length_says_so() -> None:
    google = place("google", "https://generativelanguage.googleapis.com", "google")
    price = (await info(None, google, "gemini-2.5-pro")).price
    assert price is not None
    assert (price.tiered, price.input) == (True, Decimal("1.25"))


@pytest.mark.anyio
async def test_who_runs_a_model_of_hugging_face_decides_its_price() -> None:
    router = place("huggingface", "https://router.huggingface.co/v1", "huggingface")
    assert (await info(None, router, "openai/gpt-oss-120b:groq")).price is not None
    assert (await info(None, router, "openai/gpt-oss-120b")).price is None


@pytest.mark.anyio
async def test_local_models_cost_nothing_by_rule_and_never_by_address() -> None:
    free = Price(Decimal(0), Decimal(0), Decimal(0), Decimal(0))
    for where in (
        place("ollama", "https://far.example", "ollama"),
        place("lab", "https://far.example/v1", "openai_compatible", local=True),
    ):
        found = await info(None, where, "gpt-4o")
        assert (found.price, found.source) == (free, "local")
    near = await info(None, place("lab", "http://127.0.0.1:1/v1", "openai_compatible"), "llama")
    assert near.price is None


# One answer out of all.


def test_settings_go_before_lists_before_prices_before_families() -> None:
    listed = ModelInfo(
        "p", "gpt-4o", 1000, 100, "Listed", images=False, price=Price(Decimal(2)), source="endpoint"
    )
    tariff = Tariff(input=(Step(0, Decimal(3)),), source="a list")
    known = Known("Known", 5000, tariff)

    def put_together(
        one: ModelInfo, own: ModelSettings | None, known: Known | None, *, local: bool
    ) -> ModelInfo:
        tariff = tariff_of(
            own=own.price if own else {},
            listed=one.price,
            known=known.tariff if known else None,
            local=local,
            provider="p",
            fetched="2026-11-01",
            table="openai",
        )
        return merged(one, own, known, tariff)

    own = ModelSettings(context_window=9, tools=False, price={"input": "1.5", "KIND": "3"})
    found = put_together(listed, own, known, local=False)
    assert found == ModelInfo(
        "p",
        "gpt-4o",
        9,
        100,
        "Listed",
        images=False,
        files=True,
        tools=False,
        thinking=False,
        price=Price(Decimal("1.5")),
        source="settings",
    )
    found = put_together(listed, None, known, local=False)
    assert (found.context_window, found.price, found.source) == (1000, listed.price, "endpoint")
    found = put_together(ModelInfo("p", "gpt-4o"), None, known, local=False)
    assert (found.title, found.context_window, found.source) == ("Known", 5000, "genai-prices")
    found = put_together(ModelInfo("p", "gpt-4o"), None, None, local=False)
    assert (found.images, found.price, found.source) == (True, None, "patina")
    assert put_together(ModelInfo("p", "x"), None, None, local=False) == ModelInfo("p", "x")
    own = ModelSettings(price={"input": "0.5"})
    assert put_together(ModelInfo("p", "x"), own, None, local=True).source == "settings"


@pytest.mark.parametrize(
    ("model", "can"),
    [
        ("gpt-4o", (True, True, True, False)),
        ("openai/gpt-4o-mini-2024-07-18", (True, True, True, False)),
        ("gpt-4o-audio-preview", (None, None, None, None)),
        ("gpt-4o-mini-tts", (None, None, None, None)),
        ("gpt-3.5-turbo", (False, False, True, False)),
        ("gpt-5.2", (True, True, True, True)),
        ("gpt-5-mini", (True, True, True, True)),
        ("gpt-5-chat-latest", (None, None, None, None)),
        ("gpt-6.1-terra", (True, None, None, True)),
        ("o3", (True, True, True, True)),
        ("o3-mini", (False, None, True, True)),
        ("o1-mini", (None, None, None, None)),
        ("anthropic/claude-3-haiku-20240307", (True, None, True, False)),
        ("claude-3-7-sonnet-latest", (True, True, True, True)),
        ("claude-sonnet-4-6", (True, True, True, True)),
        ("claude-opus-5-5", (True, True, True, True)),
        ("claude-2.1", (None, None, None, None)),
        ("gemini-2.0-flash-001", (True, True, True, False)),
        ("gemini-2.5-pro", (True, True, True, True)),
        ("gemini-2.5-flash-image", (None, None, None, None)),
        ("openai/gpt-oss-120b:groq", (False, None, True, True)),
        ("my-gpt-4o", (None, None, None, None)),
        ("", (None, None, None, None)),
    ],
)
def test_only_what_is_certain_is_said_of_families(model: str, can: tuple[bool | None, ...]) -> None:
    family = family_of(model)
    assert (family.images, family.files, family.tools, family.thinking) == can


@given(st.text(max_size=200))
def test_any_name_may_be_asked_for(name: str) -> None:
    family_of(name)
    assert Place("p", ProviderSettings(kind="openai"), OPENAI).table(name) == ("openai", name)


@pytest.mark.anyio
async def test_a_model_of_a_long_list_is_found_without_reading_the_others(tmp_path: Path) -> None:
    """Work is counted, not time: the other models may be anything."""
    catalog = Catalog(tmp_path, ManualClock())
    many = tuple(ModelInfo("openai", f"model-{number}", number) for number in range(1, 4001))
    await listing(catalog, place(), Endpoint(*many))
    (file,) = (tmp_path / "models").glob("list-*.json")
    content = json.loads(file.read_bytes())
    content["models"] = {
        name: model if name == "model-7" else "?" for name, model in content["models"].items()
    }
    file.write_text(json.dumps(content))
    assert (await info(tmp_path, place(), "model-7")).context_window == 7


@pytest.mark.parametrize("kind", list(BUILT_IN))
def test_each_kind_has_a_schema(kind: str) -> None:  # M-02
    import jsonschema

    schema = config_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    table = {
        "kind": kind,
        "base_url": "https://x.example/v1",
        "api_key": "secret:x",
        "concurrency": 2,
        "models": {"m": {"context_window": 5, "price": {"input": "1"}}},
    }
    jsonschema.validate(table, schema)
    for wrong in ({**table, "kind": "other"}, {**table, "enabled": "yes"}, {}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
    assert ("deployment" in schema["properties"]) == (kind == "azure_openai")
    assert ("keep_alive" in schema["properties"]) == (kind == "ollama")
    assert all(part.get("description") for part in schema["properties"].values())
