"""Requests of a small ledger: two months, five models, one without a price, one local."""

from decimal import Decimal
from typing import Any

from patina.model.ids import new_id
from patina.model.money import Entry
from patina.model.usage import Usage
from patina.ports.ledger import Ledger

TALK = "01936f3e-7b00-7000-8000-00000000000a"
GONE = "01936f3e-7c00-7000-8000-00000000000b"
TODAY = "2026-11-11"


def entry(day: str, model: str, cost: str | None, **values: Any) -> Entry:
    """One request at noon of `day`, to "provider/model"."""
    provider, _, name = model.partition("/")
    known: dict[str, Any] = {
        "id": new_id(),
        "at": f"{day}T12:00:00.000Z",
        "day": day,
        "provider": provider,
        "model": name,
        "purpose": "chat",
        "outcome": "done",
        "usage": Usage(1000, 200, 300, 0, 50),
        "cost": None if cost is None else Decimal(cost),
        "held": Decimal("0.5"),
        "conversation": TALK,
        "source": "" if cost is None else "genai-prices",
        "price_date": "" if cost is None else "2026-10-01",
        "duration_ms": 1500,
    }
    return Entry(**known | values)


ENTRIES = (
    entry("2026-10-30", "openai/gpt-5.2", "2.5"),
    entry("2026-11-01", "openai/gpt-5.2", "0.75"),
    entry("2026-11-01", "anthropic/claude-sonnet-5", "0.25", purpose="tools"),
    entry("2026-11-03", "openai/gpt-5.2", "1.25", conversation=GONE, estimated=True),
    entry("2026-11-03", "nobody/new", None, purpose="title"),
    entry("2026-11-03", "nobody/new", None, estimated=True),
    entry("2026-11-04", "ollama/llama3.2", "0", source="local", price_date=""),
    entry("2026-11-10", "openai/gpt-5.2", "0.00002", server="github", purpose="sampling"),
    # Neither of these is a request that ended.
    entry("2026-11-10", "openai/gpt-5.2", None, outcome="void"),
)


async def fill(ledger: Ledger, entries: tuple[Entry, ...] = ENTRIES) -> None:
    """Write requests down."""
    for each in entries:
        await ledger.settle(each)
