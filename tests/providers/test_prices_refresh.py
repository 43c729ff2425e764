"""New prices come when somebody asks for them, and only as a list that can be right."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.providers.endpoint import KEY, OneKey, always, serving, torn, whole

from patina.engine.clock import ManualClock
from patina.model.chat import ModelRef
from patina.model.faults import ProviderFault
from patina.model.money import Step, Tariff
from patina.model.settings import ProviderSettings, Settings
from patina.providers.catalog.genai import read_tables
from patina.providers.catalog.published import read_published
from patina.providers.http import HttpClient
from patina.providers.registry import ProviderRegistry

Plain = list[dict[str, Any]]


def published() -> Plain:
    """The list of the installed package, in the shape in which it is published."""
    from genai_prices.data_snapshot import get_snapshot

    return [
        {
            "id": provider.id,
            "name": provider.name,
            "fallback_model_providers": provider.fallback_model_providers,
            "models": [model_of(model) for model in provider.models],
        }
        for provider in get_snapshot().providers
    ]


def model_of(model: Any) -> dict[str, Any]:
    prices = model.prices
    several = isinstance(prices, list)
    return {
        "id": model.id,
        "name": model.name,
        "match": clause(model.match),
        "context_window": model.context_window,
        "deprecated": model.deprecated,
        "prices": [bounded(one) for one in prices] if several else amounts(prices),
        "price_variants": [
            {"when": one.when, **bounded(one)} for one in model.price_variants or ()
        ],
    }


def clause(match: Any) -> dict[str, Any]:
    for name in ("or_", "and_"):
        if hasattr(match, name):
            return {name[:2].rstrip("_") + "d" * (name == "and_"): list_of(getattr(match, name))}
    return dict(vars(match))


def list_of(clauses: Any) -> list[dict[str, Any]]:
    return [clause(one) for one in clauses]


def bounded(one: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"prices": amounts(one.prices)}
    if one.constraint is not None:
        values = vars(one.constraint).items()
        plain["constraint"] = {name: value.isoformat() for name, value in values}
    return plain


def amounts(prices: Any) -> dict[str, Any]:
    return {name: amount(value) for name, value in vars(prices).items() if value is not None}


def amount(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    tiers = [{"start": tier.start, "price": float(tier.price)} for tier in value.tiers]
    return {"base": float(value.base), "tiers": tiers}


PUBLISHED = published()
OURS = read_tables()


def test_what_is_published_is_read_as_what_is_installed() -> None:
    assert read_published(json.dumps(PUBLISHED).encode()) == OURS


def changed(how: Callable[[Plain], object]) -> bytes:
    copy: Plain = json.loads(json.dumps(PUBLISHED))
    how(copy)
    return json.dumps(copy).encode()


def openai(plain: Plain) -> dict[str, Any]:
    return next(one for one in plain if one["id"] == "openai")


def gpt(plain: Plain) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in openai(plain)["models"] if one["id"] == "gpt-4o")
    return found


NONSENSE: dict[str, bytes] = {
    "nothing": b"",
    "a page": b"<!doctype html>",
    "no list": b"{}",
    "a list of nothing": b"[]",
    "half of it": json.dumps(PUBLISHED).encode()[:-20],
    "deep": b"[" * 100_000,
    "no provider": b"[1, 2, 3]",
    "one provider": json.dumps(PUBLISHED[:1]).encode(),
    "nobody that matters": changed(lambda p: p.remove(openai(p))),
    "a negative price": changed(lambda p: gpt(p)["prices"].update(input_mtok=-1)),
    "an absurd price": changed(lambda p: gpt(p)["prices"].update(output_mtok=1e9)),
    "a price in words": changed(lambda p: gpt(p)["prices"].update(input_mtok="dear")),
    "yes for a price": changed(lambda p: gpt(p)["prices"].update(input_mtok=True)),
    "no number": json.dumps(
        json.loads(changed(lambda p: gpt(p)["prices"].update(input_mtok=float("nan"))))
    ).encode(),
    "steps that fall back": changed(
        lambda p: gpt(p)["prices"].update(
            input_mtok={"base": 1, "tiers": [{"start": 5, "price": 1}, {"start": 4, "price": 1}]}
        )
    ),
    "a step below nothing": changed(
        lambda p: gpt(p)["prices"].update(
            input_mtok={"base": 1, "tiers": [{"start": -5, "price": 1}]}
        )
    ),
    "another way of matching": changed(lambda p: gpt(p).update(match={"sounds_like": "gpt"})),
    "a pattern that takes for ever": changed(lambda p: gpt(p).update(match={"regex": "(a+)+$"})),
    "another condition": changed(
        lambda p: gpt(p).update(
            prices=[{"constraint": {"weekday": "sunday"}, "prices": {"input_mtok": 1}}]
        )
    ),
    "a window of nothing": changed(lambda p: gpt(p).update(context_window=0)),
    "an endless name": changed(lambda p: gpt(p).update(match={"equals": "x" * 1000})),
}


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE)
def test_what_cannot_be_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^it |^month|^Invalid"):
        read_published(body)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_anything_may_come(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_published(body)


# Downloads.


@asynccontextmanager
async def registry(
    cache: Path | None, url: str = "http://127.0.0.1:1", *, offline: bool = False
) -> AsyncIterator[ProviderRegistry]:
    settings = Settings(providers={"openai": ProviderSettings(kind="openai")})
    http = HttpClient()
    clock, where = ManualClock(), f"{url}/data.json"
    try:
        yield ProviderRegistry(
            settings,
            OneKey(KEY),
            http,
            clock,
            cache=cache,
            offline=offline,
            prices_url=where,
        )
    finally:
        await http.aclose()


async def price(cache: Path | None, known: ProviderRegistry | None = None) -> Tariff:
    """What gpt-4o costs, as `known` or a process that starts now knows it."""
    async with registry(cache) as fresh:
        return await (known or fresh).tariff(ModelRef("openai", "gpt-4o"))


DEARER = changed(lambda p: gpt(p).update(prices={"input_mtok": 7, "output_mtok": 9}))


@pytest.mark.anyio
async def test_new_prices_count_from_then_on(tmp_path: Path) -> None:
    before = await price(tmp_path)
    assert before.input == (Step(0, Decimal("2.5")),)
    async with (
        serving(always(whole(DEARER))) as server,
        registry(tmp_path, server.url) as asker,
    ):
        origin = await asker.prices(refresh=True)
        same = await price(tmp_path, asker)
    now = ManualClock().now()[:10]
    assert (origin.downloaded, origin.source, origin.date(now)) == (True, "genai-prices", now)
    for found in (same, await price(tmp_path)):
        assert found.input == (Step(0, Decimal(7)),)
        assert (found.source, found.date) == ("genai-prices", now)
    assert not any("key" in name or "auth" in name for name in server.requests[0].headers)


@pytest.mark.anyio
@pytest.mark.parametrize("response", ["nonsense", "gone", "cut", "404"])
async def test_a_broken_download_changes_nothing(tmp_path: Path, response: str) -> None:
    handlers = {
        "nonsense": always(whole(NONSENSE["a negative price"])),
        "gone": torn(b""),
        "cut": torn(whole(DEARER)[:-1000]),
        "404": always(whole(b"Not found", 404)),
    }
    before = await price(tmp_path)
    file = tmp_path / "models" / "prices.json"
    content = file.read_bytes()
    async with (
        serving(handlers[response]) as server,
        registry(tmp_path, server.url) as asker,
    ):
        with pytest.raises(ProviderFault) as fault:
            await asker.prices(refresh=True)
        assert await price(tmp_path, asker) == before
    assert fault.value.failure.hint
    assert await price(tmp_path) == before
    assert file.read_bytes() == content


@pytest.mark.anyio
async def test_offline_nobody_is_asked(tmp_path: Path) -> None:
    async with (
        serving(always(whole(DEARER))) as server,
        registry(tmp_path, server.url, offline=True) as asker,
    ):
        with pytest.raises(ProviderFault, match="offline"):
            await asker.prices(refresh=True)
    assert server.requests == []


@pytest.mark.anyio
async def test_prices_that_cannot_be_kept_are_told(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    async with serving(always(whole(DEARER))) as server, registry(blocked, server.url) as asker:
        before = await price(blocked, asker)
        with pytest.raises(ProviderFault, match="cannot be written"):
            await asker.prices(refresh=True)
        assert await price(blocked, asker) == before


@pytest.mark.anyio
@pytest.mark.parametrize(("day", "kept"), [(ManualClock().now()[:10], True), ("2020-01-01", False)])
async def test_another_package_takes_the_place_of_an_older_download(
    tmp_path: Path, day: str, kept: bool
) -> None:
    async with serving(always(whole(DEARER))) as server, registry(tmp_path, server.url) as asker:
        await asker.prices(refresh=True)
    file = tmp_path / "models" / "prices.json"
    book = json.loads(file.read_bytes())
    book["origin"]["days"] = [day]
    file.write_text(json.dumps({**book, "stamp": "another package"}))
    first = (await price(tmp_path)).input[0].price
    assert first == (Decimal(7) if kept else Decimal("2.5"))
    assert json.loads(file.read_bytes())["origin"]["downloaded"] == kept
