"""Holds and entries, and a clock that is turned by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from patina.model.ids import new_id
from patina.model.money import Entry, Hold, Limit, LimitKind
from patina.model.usage import Usage
from patina.store.money.ledger import FileLedger

TIMEOUT = timedelta(minutes=12)


class Now:
    """What time it is; `zone` is hours east of UTC, for local days."""

    def __init__(self, text: str = "2026-11-21T10:00:00+00:00", zone: float = 0) -> None:
        self.moment = datetime.fromisoformat(text)
        self.zone = zone

    def __call__(self) -> str:
        return stamp(self.moment)

    def on(self, **by: float) -> None:
        self.moment += timedelta(**by)

    @property
    def day(self) -> str:
        return (self.moment + timedelta(hours=self.zone)).date().isoformat()

    def hold(self, amount: str | None = "0.10", **values: Any) -> Hold:
        known: dict[str, Any] = {
            "id": new_id(),
            "at": self(),
            "day": self.day,
            "expires": stamp(self.moment + TIMEOUT),
            "provider": "anthropic",
            "model": "claude-sonnet-5",
            "purpose": "chat",
            "amount": None if amount is None else Decimal(amount),
        }
        return Hold(**known | values)


def stamp(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return f"{text.removesuffix('+00:00')}Z"


def ended(hold: Hold, cost: str | None = "0.04", **values: Any) -> Entry:
    """How a hold ended."""
    same = ("id", "at", "day", "provider", "model", "purpose", "conversation", "turn", "server")
    known: dict[str, Any] = {
        **{name: getattr(hold, name) for name in (*same, "run")},
        "outcome": "done",
        "usage": Usage(1000, 200, 300, 100, 50),
        "cost": None if cost is None else Decimal(cost),
        "held": hold.amount,
        "source": "genai-prices",
        "price_date": "2026-11-01",
        "duration_ms": 1200,
    }
    return Entry(**known | values)


def limit(kind: LimitKind, amount: str = "1", name: str = "") -> Limit:
    return Limit(kind=kind, amount=Decimal(amount), name=name)


def opened(home: Path, now: Now, device: str = "", **values: Any) -> FileLedger:
    """A ledger in `home`, of a device of its own if one is named."""
    return FileLedger(home / "data", home / f"state{device}", device, now=now, **values)


def files(home: Path) -> list[Path]:
    """The ledger's files."""
    return sorted((home / "data" / "usage").glob("*.jsonl"))


def written(home: Path) -> list[bytes]:
    """All lines of the ledger's files."""
    return [line for path in files(home) for line in path.read_bytes().split(b"\n") if line]
