"""What recorded answers cost: shapes as providers send them, totals worked out by hand.

Shapes: the API references of the providers, "Usage accounting" of OpenRouter, "Cost tracking" of
xAI. Prices: the pages that `test_prices_oracle.py` names.
"""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.providers.endpoint import HELLO, always, ask, driver_for, serving, whole

from patina.billing.pricing import cost_of, knows_tier
from patina.engine.clock import ManualClock
from patina.model.chat import Failed, Finished
from patina.model.money import Tariff
from patina.model.settings import ModelSettings, ProviderKind, ProviderSettings
from patina.model.usage import Usage
from patina.providers.catalog.catalog import Catalog, Place
from patina.providers.charges import billed_of, service_of
from patina.providers.openai_chat.dialects import KNOWN
from patina.providers.openai_chat.request import encode_body

RECORDED = Path(__file__).parent / "fixtures" / "usage"
OPENAI = "https://api.openai.com/v1"
XAI = "https://api.x.ai/v1"
ROUTER = "https://openrouter.ai/api/v1"
CLAUDE = "https://api.anthropic.com"
GEMINI = "https://generativelanguage.googleapis.com"
OTHER: ProviderKind = "openai_compatible"

# File, kind, what is asked for by it, the endpoint whose prices count, model, tokens, tier, whether
# the provider itself says the cost, and the total in millionths of a dollar.
RECORDS: list[tuple[str, ProviderKind, str, str, str, Usage, str, bool, str]] = [
    # 86 x 1.75 + 1,920 x 0.175 + 300 x 14
    ("openai_cached.sse", "openai", "chat", OPENAI, "gpt-5.2", Usage(2006, 300, 1920, 0, 192), "",
     False, "4686.5"),
    # 5,904 x 0.625 + 4,096 x 0.0625 + 2,000 x 5
    ("openai_flex.sse", "openai", "chat", OPENAI, "gpt-5.1", Usage(10000, 2000, 4096, 0, 1024),
     "flex", False, "13946"),
    # 100,000 x 10 + 200,000 x 1 + 1,000 x 45
    ("openai_long.sse", "openai", "chat", OPENAI, "gpt-5.5", Usage(300000, 1000, 200000), "",
     False, "1245000"),
    # 1,600 x 3.5 + 6,400 x 0.35 + 900 x 28
    ("responses_priority.sse", "openai", "responses", OPENAI, "gpt-5.2",
     Usage(8000, 900, 6400, 0, 640), "priority", False, "33040"),
    ("responses_xai.sse", OTHER, "responses", XAI, "grok-4.7", Usage(199, 1, 163), "", True,
     "159.5"),
    ("xai_ticks.sse", OTHER, "chat", XAI, "grok-3-mini", Usage(125, 240, 98, 0, 192), "", True,
     "135.45"),
    ("openrouter_cost.sse", OTHER, "chat", ROUTER, "anthropic/claude-sonnet-4.5",
     Usage(10339, 60, 10318), "", True, "4058.4"),
    # What OpenRouter charges and what the owner of the key is charged by OpenAI.
    ("openrouter_own_key.sse", OTHER, "chat", ROUTER, "openai/gpt-5.2",
     Usage(1000, 1000, 0, 0, 64), "", True, "16537.5"),
    # At noon, 520 x 0.66 + 4,480 x 0.022 + 700 x 1.98
    ("deepseek_cached.sse", OTHER, "chat", "https://api.deepseek.com", "deepseek-v4-pro",
     Usage(5000, 700, 4480, 0, 400), "", False, "1827.76"),
    # 128 x 0.5 + 3,072 x 0.05 + 250 x 1.5
    ("mistral_cached.sse", OTHER, "chat", "https://api.mistral.ai/v1", "mistral-large-2512",
     Usage(3200, 250, 3072), "", False, "592.6"),
    # 33 x 0.15 + 4,608 x 0.075 + 1,817 x 0.6
    ("groq_cached.sse", OTHER, "chat", "https://api.groq.com/openai/v1", "openai/gpt-oss-120b",
     Usage(4641, 1817, 4608, 0, 1200), "", False, "1440.75"),
    # 900 x 0.15 + 120 x 0.75
    ("huggingface_groq.sse", "huggingface", "chat", "https://router.huggingface.co/v1",
     "openai/gpt-oss-120b:groq", Usage(900, 120, 0, 0, 40), "", False, "225"),
    ("perplexity_cost.sse", OTHER, "chat", "https://api.perplexity.ai", "sonar", Usage(26, 832),
     "", True, "5858"),
    # 476 x 2 + 1,024 x 0.5 + 100 x 8
    ("azure_cached.sse", "azure_openai", "chat", "https://x.openai.azure.com", "gpt-4.1",
     Usage(1500, 100, 1024), "", False, "2264"),
    # 21 x 3 + 1,886 x 3.75 + 18,240 x 0.3 + 503 x 15
    ("anthropic_cached.sse", "anthropic", "auto", CLAUDE, "claude-sonnet-4-5",
     Usage(20147, 503, 18240, 1886), "", False, "20152.5"),
    # Over 200,000 in all: 50,000 x 6 + 20,000 x 7.5 + 180,000 x 0.6 + 2,000 x 22.5
    ("anthropic_long.sse", "anthropic", "auto", CLAUDE, "claude-sonnet-4-5",
     Usage(250000, 2000, 180000, 20000), "", False, "603000"),
    # Half of 1,000 x 5 + 4,000 x 0.5 + 800 x 25
    ("anthropic_batch.sse", "anthropic", "auto", CLAUDE, "claude-opus-4-6", Usage(5000, 800, 4000),
     "batch", False, "13500"),
    # 1.1 times 1,000 x 5 + 1,000 x 25
    ("anthropic_us.sse", "anthropic", "auto", CLAUDE, "claude-opus-4-6", Usage(1000, 1000), "us",
     False, "33000"),
    # 2,000 x 0.3 + 10,000 x 0.03 + 1,500 x 2.5: thoughts are output
    ("google_cached.sse", "google", "auto", GEMINI, "gemini-2.5-flash",
     Usage(12000, 1500, 10000, 0, 1100), "", False, "4650"),
    # Over 200,000, results of its own tools included: 145,000 x 2.5 + 100,000 x 0.25 + 4,000 x 15
    ("google_long.sse", "google", "auto", GEMINI, "gemini-2.5-pro",
     Usage(245000, 4000, 100000, 0, 3000), "", False, "447500"),
    # Half of 1,000 x 0.3 + 1,000 x 2.5
    ("google_flex.sse", "google", "auto", GEMINI, "gemini-2.5-flash", Usage(1000, 1000), "flex",
     False, "1400"),
    # What is billed, not what the model read: 1,200 x 2.5 + 340 x 10
    ("cohere_billed.sse", "cohere", "auto", "https://api.cohere.com", "command-a-03-2025",
     Usage(1200, 340), "", False, "6400"),
    ("ollama.ndjson", "ollama", "auto", "http://127.0.0.1:11434", "qwen3:8b", Usage(26, 290), "",
     False, "0"),
]  # fmt: skip


async def answered(file: str, kind: ProviderKind, api: str, model: str) -> Finished | Failed:
    """How the recorded answer ends, as the driver of `kind` reads it."""
    body = (RECORDED / file).read_bytes()
    response = whole(body, content_type="text/event-stream")
    settings: dict[str, Any] = {"api": api} if kind not in {"anthropic", "google", "cohere"} else {}
    if kind == "azure_openai":
        settings |= {"api_version": "2024-12-01-preview", "deployment": model}
    if kind == "ollama":
        settings = {"models": {model: ModelSettings(context_window=8192)}}
    async with serving(always(response)) as server, driver_for(server.url, kind, **settings) as one:
        end = (await ask(one, replace(HELLO, model=model))).end
    assert end is not None
    return end


async def tariff(kind: ProviderKind, url: str, model: str, hour: int = 12) -> Tariff:
    clock = ManualClock()
    then = datetime.fromisoformat(f"2026-11-20T{hour:02}:00:00+00:00")
    clock.advance((then - datetime.fromisoformat(clock.now())).total_seconds())
    name = "openrouter" if url == ROUTER else kind
    return await Catalog(None, clock).tariff(Place(name, ProviderSettings(kind=kind), url), model)


@pytest.mark.anyio
@pytest.mark.parametrize("record", RECORDS, ids=[record[0] for record in RECORDS])
async def test_recorded_answers_cost_what_was_worked_out(record: Any) -> None:  # M-34
    file, kind, api, url, model, usage, tier, billed, millionths = record
    end = await answered(file, kind, api, model)
    assert isinstance(end, Finished)
    assert (end.usage, end.tier) == (usage, tier)
    assert (end.billed is not None) == billed
    wanted = Decimal(millionths) / 1_000_000
    if end.billed is not None:
        assert end.billed == wanted
        return
    price = await tariff(kind, url, model)
    assert knows_tier(price, end.tier)
    assert cost_of(usage, price, end.tier) == wanted


@pytest.mark.anyio
async def test_a_cut_answer_tells_what_the_provider_said_before() -> None:
    end = await answered("anthropic_cut.sse", "anthropic", "auto", "claude-sonnet-4-5")
    assert isinstance(end, Failed)
    assert end.usage == Usage(3095, 4, 1000)
    price = await tariff("anthropic", CLAUDE, "claude-sonnet-4-5")
    assert cost_of(end.usage, price) == Decimal("0.006645")


@pytest.mark.anyio
async def test_prices_of_the_hour() -> None:
    """DeepSeek costs twice as much at its busiest hours."""
    usage = Usage(5000, 700, 4480, 0, 400)
    url = "https://api.deepseek.com"
    quiet = cost_of(usage, await tariff(OTHER, url, "deepseek-v4-pro", 12))
    busy = cost_of(usage, await tariff(OTHER, url, "deepseek-v4-pro", 2))
    assert (quiet, busy) == (Decimal("0.00182776"), Decimal("0.00365552"))


@pytest.mark.parametrize(
    ("usage", "amount"),
    [
        ({"cost": 0.00014}, "0.00014"),
        ({"cost": "0.5"}, "0.5"),
        ({"cost": 0, "cost_details": {"upstream_inference_cost": 0.25}, "is_byok": True}, "0.25"),
        ({"cost": 0.25, "cost_details": {"upstream_inference_cost": 0.25}}, "0.25"),
        ({"cost": {"total_cost": 0.006}}, "0.006"),
        ({"estimated_cost": 1.5e-7}, "1.5e-7"),
        ({"cost_in_usd_ticks": 37756000}, "0.0037756"),
        ({"cost_in_usd_ticks": 0}, "0"),
        # One's own key, and nobody says what its owner pays: not known, rather than too little.
        ({"cost": 0.01, "is_byok": True}, None),
        ({"cost": -1}, None),
        ({"cost": True}, None),
        ({"cost": "much"}, None),
        ({"cost": 1e300}, None),
        ({"cost": float("nan")}, None),
        ({"cost": {"total_cost": "-0.1"}}, None),
        ({"cost": []}, None),
        ({}, None),
        ("cost", None),
        (None, None),
    ],
)
def test_what_is_an_amount(usage: object, amount: str | None) -> None:
    assert billed_of(usage) == (None if amount is None else Decimal(amount))


@pytest.mark.parametrize(
    ("word", "service"),
    [
        ("default", ""),
        ("standard", ""),
        ("on_demand", ""),
        ("Priority", "priority"),
        ("flex", "flex"),
        ("\x1b[2J", ""),
        ("x" * 40, ""),
        ("", ""),
        (None, ""),
        (7, ""),
    ],
)
def test_words_for_services(word: object, service: str) -> None:
    assert service_of(word) == service


def test_openrouter_is_asked_for_the_cost() -> None:
    sent = json.loads(encode_body(HELLO, KNOWN["openrouter"]))
    assert (sent["usage"], sent["stream_options"]) == ({"include": True}, {"include_usage": True})
    assert "usage" not in json.loads(encode_body(HELLO, KNOWN["groq"]))
